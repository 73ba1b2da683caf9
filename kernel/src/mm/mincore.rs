//! Which pages are in memory (Linux: mm/mincore.c).
#![forbid(unsafe_code)]

use core::ops::Range;

use crate::arch::{PAGE_SHIFT, PAGE_SIZE, TASK_SIZE};
use crate::mm::UserAddr;
use crate::mm::mm_types::{MmStruct, current_mm};
use crate::mm::uaccess::copy_to_user;
use crate::mm::vma::{Backing, Vma};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
/// Pages that are looked at before the answers are copied out.
const CHUNK: usize = 256;

/// mincore(2). Errors: EFAULT, EINVAL, ENOMEM at a hole.
pub fn sys_mincore(start: u64, len: u64, vec: UserAddr) -> Result {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if start > TASK_SIZE || len > TASK_SIZE - start {
        return Err(Errno::ENOMEM);
    }
    let mm = current_mm()?;
    let end = start + len.next_multiple_of(PAGE);
    let mut answers = [0; CHUNK];
    let mut at = start;
    while at < end {
        let chunk = at..end.min(at + (CHUNK << PAGE_SHIFT) as u64);
        let pages = ((chunk.end - chunk.start) >> PAGE_SHIFT) as usize;
        mm.mincore(chunk.clone(), &mut answers[..pages])?;
        let out = vec
            .checked_add((at - start) >> PAGE_SHIFT)
            .ok_or(Errno::EFAULT)?;
        copy_to_user(out, &answers[..pages])?;
        at = chunk.end;
    }
    Ok(())
}

impl MmStruct {
    /// One byte for each page of the range: 1 if it is in memory. Errors: ENOMEM at a hole.
    pub fn mincore(&self, range: Range<u64>, answers: &mut [u8]) -> Result {
        let map = self.read();
        for (addr, answer) in range.step_by(PAGE_SIZE).zip(answers) {
            let vma = map.vmas.lookup(addr).ok_or(Errno::ENOMEM)?;
            *answer = u8::from(self.is_resident(vma, addr));
        }
        Ok(())
    }

    fn is_resident(&self, vma: &Vma, addr: u64) -> bool {
        if self.page_table().lookup(UserAddr::new(addr)).is_some() {
            return true;
        }
        let Backing::Cache(mapping) = &vma.backing else {
            return false;
        };
        let mut page = [None];
        mapping.find_get_pages(vma.page_index(addr), &mut page);
        page[0].is_some()
    }
}
