//! The page cache (Linux: mm/filemap.c).
#![forbid(unsafe_code)]

use super::page::PageRef;
use crate::prelude::*;

/// The cached pages of one file (Linux: `struct address_space`).
pub struct AddressSpace {}

impl AddressSpace {
    /// The page at `index` (in pages), read or created when it is not cached. May sleep.
    /// Errors: ENOMEM, EIO.
    pub fn read_mapping_page(&self, index: u64) -> Result<PageRef> {
        let _ = index;
        todo!()
    }
    /// Fills `pages` with the pages from `first` on that are cached and up to date; never sleeps.
    pub fn find_get_pages(&self, first: u64, pages: &mut [Option<PageRef>]) {
        let _ = (first, pages);
        todo!()
    }
    /// Zeroes of a fixed size that are shared by whoever maps them (Linux: `shmem_zero_setup`).
    pub fn new_anonymous(pages: u64) -> Result<Arc<AddressSpace>> {
        let _ = pages;
        todo!()
    }
    /// Size in pages of memory from `new_anonymous`.
    pub fn anonymous_pages(&self) -> u64 {
        todo!()
    }
}
