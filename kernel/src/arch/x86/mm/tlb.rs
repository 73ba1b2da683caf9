//! Throwing away stale translations (Linux: arch/x86/mm/tlb.c). Every flush for user memory goes
//! through `flush_tlb_range`.

use core::arch::asm;

use super::pgtable::pgd_is_loaded;
use crate::arch::PAGE_SIZE;
use crate::mm::PhysAddr;
use crate::mm::mmap::MmStruct;

/// Above this many pages the whole TLB goes (Linux: `tlb_single_page_flush_ceiling`).
const SINGLE_PAGE_FLUSH_CEILING: u64 = 33;

/// Loads the page tables of the task that runs next. A kernel thread (`None`) borrows those that
/// are loaded: every table has the kernel half. Interrupts are off or the task is exec'ing.
#[inline]
pub fn switch_mm(next: Option<&MmStruct>) {
    if let Some(mm) = next {
        mm.page_table().activate();
    }
}

/// Forgets what the CPUs know about `start..end` of the address space with top table `pgd`, and
/// about its page tables there. On return nobody uses the old entries any more.
pub fn flush_tlb_range(pgd: PhysAddr, start: u64, end: u64) {
    // A table that is not loaded has left nothing: loading another one dropped its entries.
    if pgd_is_loaded(pgd) {
        flush_local(start, end);
    }
}

fn flush_local(start: u64, end: u64) {
    if (end - start) / PAGE_SIZE as u64 > SINGLE_PAGE_FLUSH_CEILING {
        return flush_all_local();
    }
    let mut addr = start;
    while addr < end {
        // SAFETY: dropping a translation is always allowed; not `nomem`, so that the entry's
        // store comes before it.
        unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) };
        addr += PAGE_SIZE as u64;
    }
}

/// Drops every non-global translation of this CPU.
fn flush_all_local() {
    // SAFETY: reloads the value that is there, whose kernel half maps this code.
    unsafe {
        asm!("mov {tmp}, cr3", "mov cr3, {tmp}", tmp = out(reg) _, options(nostack, preserves_flags));
    }
}
