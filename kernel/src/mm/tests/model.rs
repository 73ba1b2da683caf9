//! Random operations, compared with a model that is an array of pages.

use uapi::mman::*;

use super::{PAGE, RW, map_at, new_mm, read, write};
use crate::arch::PAGE_SIZE;
use crate::mm::mmap::MmStruct;
use crate::prelude::*;

/// A page of the model: what may be done with it, and its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ModelPage {
    prot: u32,
    value: u8,
}

const MODEL_PAGES: usize = 48;
const MODEL_BASE: u64 = 0x1_4000_0000 - 20 * PAGE; // across a leaf table's end

/// Two address spaces and what they should look like.
struct Model {
    mm: Arc<MmStruct>,
    pages: [Option<ModelPage>; MODEL_PAGES],
    seed: u64,
}

impl Model {
    fn random(&mut self, below: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.seed >> 33) as usize % below
    }

    fn range(&mut self) -> (usize, usize) {
        let first = self.random(MODEL_PAGES);
        (first, 1 + self.random(12.min(MODEL_PAGES - first)))
    }

    fn step(&mut self) {
        let (first, count) = self.range();
        let (at, len) = (MODEL_BASE + first as u64 * PAGE, count as u64 * PAGE);
        let prot = [PROT_NONE, PROT_READ, RW, RW, RW][self.random(5)];
        match self.random(12) {
            0 | 1 => {
                map_at(&self.mm, at, count as u64, prot);
                self.pages[first..first + count].fill(Some(ModelPage { prot, value: 0 }));
            }
            2 => {
                self.mm.munmap(at, len).unwrap();
                self.pages[first..first + count].fill(None);
            }
            3 | 4 => self.protect(first, count, prot),
            5 => self.discard(first, count),
            6 => self.remap(first, count),
            _ => self.write(first, count),
        }
    }

    fn protect(&mut self, first: usize, count: usize, prot: u32) {
        let (at, len) = (MODEL_BASE + first as u64 * PAGE, count as u64 * PAGE);
        let whole = self.pages[first..first + count].iter().all(Option::is_some);
        assert_eq!(self.mm.mprotect(at, len, prot).is_ok(), whole);
        for page in &mut self.pages[first..first + count] {
            match page {
                Some(page) => page.prot = prot,
                None => break,
            }
        }
    }

    fn discard(&mut self, first: usize, count: usize) {
        let (at, len) = (MODEL_BASE + first as u64 * PAGE, count as u64 * PAGE);
        let _ = self.mm.madvise(at, len, MADV_DONTNEED);
        self.pages[first..first + count]
            .iter_mut()
            .flatten()
            .for_each(|page| page.value = 0);
    }

    /// Moves one page to another place.
    fn remap(&mut self, first: usize, count: usize) {
        let to = (first + count) % MODEL_PAGES;
        let address = |page: usize| MODEL_BASE + page as u64 * PAGE;
        if self.pages[first].is_none() || to == first {
            return;
        }
        let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        self.mm
            .mremap(address(first), PAGE, PAGE, flags, address(to))
            .unwrap();
        self.pages[to] = self.pages[first].take();
    }

    fn write(&mut self, first: usize, count: usize) {
        let value = self.random(255) as u8 + 1;
        for page in first..first + count {
            let allowed = self.pages[page].is_some_and(|page| page.prot & PROT_WRITE != 0);
            assert_eq!(
                write(&self.mm, MODEL_BASE + page as u64 * PAGE, value),
                allowed
            );
            if allowed {
                self.pages[page].as_mut().unwrap().value = value;
            }
        }
    }

    fn check(&self) {
        for (index, page) in self.pages.iter().enumerate() {
            let expected = page
                .filter(|page| page.prot != PROT_NONE)
                .map(|page| page.value);
            assert_eq!(
                read(&self.mm, MODEL_BASE + index as u64 * PAGE),
                expected,
                "page {index}"
            );
        }
        let mapped = self.pages.iter().flatten().count() as u64;
        let map = self.mm.read();
        assert_eq!(map.stat.total, mapped);
        assert_eq!(map.vmas.iter().map(|vma| vma.pages()).sum::<u64>(), mapped);
        assert!(
            map.vmas
                .iter()
                .zip(map.vmas.iter().skip(1))
                .all(|(a, b)| a.end <= b.start)
        );
    }
}

#[test]
fn a_storm_of_operations_leaves_what_a_simple_model_says() {
    for seed in 0..6 {
        let mut model = Model {
            mm: new_mm(),
            pages: [None; MODEL_PAGES],
            seed,
        };
        let mut relatives: Vec<Model> = Vec::new();
        for step in 0..600 {
            model.step();
            if step % 100 == 50 {
                // The child lives on with its own copy; parent and child go different ways.
                let mm = model.mm.dup().unwrap();
                relatives.push(Model {
                    mm,
                    pages: model.pages,
                    seed: seed + step,
                });
            }
            for relative in &mut relatives {
                relative.step();
            }
        }
        model.check();
        relatives.iter().for_each(Model::check);
        let mm = Arc::clone(&model.mm);
        mm.munmap(MODEL_BASE, MODEL_PAGES as u64 * PAGE).unwrap();
        assert_eq!(
            (
                mm.rss().anon(),
                mm.rss().file(),
                mm.page_table().size_bytes()
            ),
            (0, 0, PAGE_SIZE)
        );
    }
}
