//! The page cache (Linux: mm/filemap.c).
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;

use super::gfp::Gfp;
use super::page::PageRef;
use super::page_alloc::alloc_pages;
use crate::prelude::*;

/// The cached pages of one file (Linux: `struct address_space`).
pub struct AddressSpace {
    pages: SpinLock<BTreeMap<u64, PageRef>>,
    anonymous_pages: u64,
}

impl AddressSpace {
    /// The page at `index` (in pages), read or created when it is not cached. May sleep.
    /// Errors: ENOMEM, EIO.
    pub fn read_mapping_page(&self, index: u64) -> Result<PageRef> {
        if let Some(page) = self.pages.lock().get(&index) {
            return Ok(page.clone());
        }
        let page = alloc_pages(Gfp::USER | Gfp::ZERO, 0).ok_or(Errno::ENOMEM)?;
        Ok(self.pages.lock().entry(index).or_insert(page).clone())
    }
    /// Fills `pages` with the pages from `first` on that are cached and up to date; never sleeps.
    pub fn find_get_pages(&self, first: u64, pages: &mut [Option<PageRef>]) {
        let cached = self.pages.lock();
        for (index, page) in (first..).zip(pages) {
            *page = cached.get(&index).cloned();
        }
    }
    /// Zeroes of a fixed size that are shared by whoever maps them (Linux: `shmem_zero_setup`).
    pub fn new_anonymous(pages: u64) -> Result<Arc<AddressSpace>> {
        Ok(Arc::new(AddressSpace {
            pages: SpinLock::new(BTreeMap::new()),
            anonymous_pages: pages,
        }))
    }
    /// Size in pages of memory from `new_anonymous`.
    pub fn anonymous_pages(&self) -> u64 {
        self.anonymous_pages
    }
}
