//! Changing what kernel memory allows (Linux: arch/x86/mm/pat/set_memory.c).
//!
//! All of them: `addr` is page aligned and mapped; large pages are split where the range cuts
//! them. Errors: ENOMEM, EFAULT.

use super::init_64::{KProt, change_entries, change_page_attr};
use crate::mm::VirtAddr;
use crate::prelude::*;

/// Writes fault.
pub fn set_memory_ro(addr: VirtAddr, nr_pages: u64) -> Result {
    let writable = KProt::RW | KProt::DIRTY;
    change_page_attr(addr, nr_pages, KProt::empty(), writable)
}
/// Writes fault, once the caller has flushed: for many ranges at a time.
pub(super) fn set_memory_ro_noflush(addr: VirtAddr, nr_pages: u64) -> Result {
    change_entries(addr, nr_pages, KProt::empty(), KProt::RW | KProt::DIRTY)
}
/// Writes are allowed.
pub fn set_memory_rw(addr: VirtAddr, nr_pages: u64) -> Result {
    let writable = KProt::RW | KProt::DIRTY;
    change_page_attr(addr, nr_pages, writable, KProt::empty())
}
/// Instruction fetches fault.
pub fn set_memory_nx(addr: VirtAddr, nr_pages: u64) -> Result {
    change_page_attr(addr, nr_pages, KProt::NX, KProt::empty())
}
/// Instruction fetches are allowed.
pub fn set_memory_x(addr: VirtAddr, nr_pages: u64) -> Result {
    change_page_attr(addr, nr_pages, KProt::empty(), KProt::NX)
}
