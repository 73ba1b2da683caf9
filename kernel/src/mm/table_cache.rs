//! Page tables that wait for the next address space (Linux: the quicklists of asm/pgalloc.h).
//!
//! When a process ends, its tables are as empty as new ones must be. Keeping a few of them saves
//! clearing a page for each table of the next process.

use crate::arch::PAGE_SIZE;
use crate::mm::Pfn;
use crate::mm::page::PageRef;
use crate::prelude::*;

/// Tables that one cache keeps at most: 64 KiB.
const CAPACITY: usize = 16;

struct Stack {
    len: usize,
    tables: [Pfn; CAPACITY],
}

/// A few tables of one kind. Any context but interrupts.
pub struct TableCache(SpinLock<Stack>);

impl Default for TableCache {
    fn default() -> Self {
        Self::new()
    }
}

impl TableCache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self(SpinLock::new(Stack {
            len: 0,
            tables: [Pfn(0); CAPACITY],
        }))
    }

    /// Takes a table that is ready for use.
    pub fn take(&self) -> Option<PageRef> {
        let mut stack = self.0.lock();
        stack.len = stack.len.checked_sub(1)?;
        // SAFETY: `put` gave the reference to this place, and it is taken out once: the place is
        // above `len` now.
        Some(unsafe { PageRef::from_pfn(stack.tables[stack.len]) })
    }

    /// Gives a table back that no CPU uses and that is as a new one must be. The page is freed
    /// when there are enough.
    pub fn put(&self, table: PageRef) {
        let mut stack = self.0.lock();
        if stack.len < CAPACITY {
            let place = stack.len;
            stack.tables[place] = table.into_pfn();
            stack.len += 1;
        }
    }
}

/// Whether the first `entries` entries of a table are empty; for debugging.
pub fn is_empty_table(table: &PageRef, entries: usize) -> bool {
    let mut bytes = [0; PAGE_SIZE];
    table.read(0, &mut bytes);
    bytes[..entries * 8].iter().all(|&byte| byte == 0)
}
