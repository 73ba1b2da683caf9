//! Pages on their way out of an address space (Linux: mm/mmu_gather.c).
//!
//! A page may be freed only after every CPU has forgotten its translation. The gather collects
//! pages while entries are cleared and frees a batch of them after one flush.

use core::mem::MaybeUninit;
use core::ops::Range;

use crate::arch::Freed;
use crate::mm::Pfn;
use crate::mm::page::PageRef;
use crate::mm::pgtable::PageTable;

/// Pages of one batch: half a KiB of stack.
const BATCH: usize = 64;

/// Collects pages; the rest of them goes when it is dropped.
pub struct MmuGather<'a> {
    /// Whose translations are flushed; `None` when nobody uses the tables any more.
    tables: Option<&'a PageTable>,
    /// Hull of the ranges whose entries were cleared since the last flush.
    range: Range<u64>,
    /// Page tables are among the pages.
    freed: Freed,
    len: usize,
    pages: [MaybeUninit<Pfn>; BATCH],
}

impl<'a> MmuGather<'a> {
    const NOTHING: Range<u64> = Range {
        start: u64::MAX,
        end: 0,
    };

    /// For tables that may be in use.
    pub fn new(tables: &'a PageTable) -> Self {
        Self {
            tables: Some(tables),
            range: Self::NOTHING,
            freed: Freed::Pages,
            len: 0,
            pages: [const { MaybeUninit::uninit() }; BATCH],
        }
    }

    /// For tables that no CPU uses any more: nothing needs a flush
    /// (Linux: `tlb_gather_mmu_fullmm`).
    pub fn new_exiting() -> MmuGather<'static> {
        MmuGather {
            tables: None,
            range: MmuGather::NOTHING,
            freed: Freed::Pages,
            len: 0,
            pages: [const { MaybeUninit::uninit() }; BATCH],
        }
    }

    /// Whether nobody uses the tables any more.
    pub fn is_exiting(&self) -> bool {
        self.tables.is_none()
    }

    /// Notes that entries in the range were cleared or restricted.
    #[inline]
    pub fn cleared(&mut self, range: Range<u64>) {
        self.range.start = self.range.start.min(range.start);
        self.range.end = self.range.end.max(range.end);
    }

    /// Takes a page whose entry was cleared in a range that `cleared` knows.
    /// False if the batch is full: the caller flushes, and tells the range again.
    #[inline]
    #[must_use]
    pub fn add(&mut self, page: PageRef) -> bool {
        // There is always room for one: a full batch is flushed before the next page comes.
        self.pages[self.len].write(page.into_pfn());
        self.len += 1;
        self.len < BATCH
    }

    /// Takes a page table whose entry for `range` was cleared.
    pub fn add_table(&mut self, range: Range<u64>, table: PageRef) {
        self.cleared(range);
        self.freed = Freed::Tables;
        if !self.add(table) {
            self.flush();
        }
    }

    /// Flushes, then frees what was collected.
    pub fn flush(&mut self) {
        if let Some(tables) = self.tables
            && self.range.start < self.range.end
        {
            let range = core::mem::replace(&mut self.range, Self::NOTHING);
            let freed = core::mem::replace(&mut self.freed, Freed::Pages);
            tables.flush_freed(range, freed);
        }
        for slot in &mut self.pages[..core::mem::take(&mut self.len)] {
            // SAFETY: the first `len` slots were written by `add_page`, each with a reference that
            // is taken back here, once, because `len` is 0 now.
            drop(unsafe { PageRef::from_pfn(slot.assume_init()) });
        }
    }
}

impl Drop for MmuGather<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
