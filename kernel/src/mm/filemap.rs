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
}
