//! The format of page table entries and the top table's kernel half (Linux: asm/pgtable_64.h,
//! arch/x86/mm/pgtable.c). The walk itself is portable: `mm::pgtable`.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::super::asm::page::{PAGE_SIZE, phys_to_virt};
use super::init_64::init_top_pgt;
use crate::mm::PhysAddr;

/// Bits of an entry (Linux: asm/pgtable_types.h, `_PAGE_*`).
pub mod pte_bits {
    /// The CPU may use the entry.
    pub const PRESENT: u64 = 1;
    /// Writes are allowed.
    pub const WRITE: u64 = 1 << 1;
    /// User mode may use the entry.
    pub const USER: u64 = 1 << 2;
    /// The CPU has used the entry.
    pub const ACCESSED: u64 = 1 << 5;
    /// The CPU has written through the entry.
    pub const DIRTY: u64 = 1 << 6;
    /// With PRESENT clear: a page that nobody may touch (PROT_NONE).
    pub const PROT_NONE: u64 = 1 << 8;
    /// Software: the entry holds no reference to its frame (zero page).
    pub const SPECIAL: u64 = 1 << 9;
    /// Software: the frame belongs to the private memory of a process.
    pub const ANON: u64 = 1 << 10;
    /// Instruction fetches fault.
    pub const NO_EXEC: u64 = 1 << 63;
    /// The frame's physical address.
    pub const FRAME: u64 = 0x000f_ffff_ffff_f000;
    /// An entry that points to a lower table; the leaf entries decide what is allowed.
    pub const TABLE: u64 = PRESENT | WRITE | USER | ACCESSED;
}

const ENTRIES: usize = 512;
const FIRST_KERNEL_ENTRY: usize = 256;

/// The bits this CPU understands; without NX, bit 63 is reserved (Linux: `__supported_pte_mask`).
static SUPPORTED_PTE_MASK: AtomicU64 = AtomicU64::new(u64::MAX);

/// Bits that may be set in an entry.
#[inline]
pub fn supported_pte_mask() -> u64 {
    SUPPORTED_PTE_MASK.load(Ordering::Relaxed)
}

/// Tells that the CPU has no NX bit. Boot calls it before the first user table is made.
pub fn clear_nx_support() {
    SUPPORTED_PTE_MASK.fetch_and(!pte_bits::NO_EXEC, Ordering::Relaxed);
}

/// Loads a top table.
#[inline]
pub(super) fn write_cr3(pgd: PhysAddr) {
    // SAFETY: every top table carries the kernel half, so this code stays mapped. Not `nomem`:
    // accesses must not move across the switch.
    unsafe { asm!("mov cr3, {}", in(reg) pgd.as_u64(), options(nostack, preserves_flags)) };
}

/// Fills a new top table: user half empty, kernel half shared with every other table
/// (Linux: `pgd_ctor`). All kernel entries exist from boot on, so the copy never gets stale.
pub fn pgd_ctor(pgd: PhysAddr) {
    let from = phys_to_virt(init_top_pgt()).as_usize() as *const u64;
    let to = phys_to_virt(pgd).as_usize() as *mut u64;
    // SAFETY: `pgd` is a whole page that the caller owns and has not published.
    unsafe { to.write_bytes(0, FIRST_KERNEL_ENTRY) };
    // SAFETY: both are whole top tables in the direct map, and they differ: `pgd` is new.
    unsafe {
        to.add(FIRST_KERNEL_ENTRY)
            .copy_from_nonoverlapping(from.add(FIRST_KERNEL_ENTRY), ENTRIES - FIRST_KERNEL_ENTRY);
    }
    const { assert!(ENTRIES * 8 == PAGE_SIZE) };
}
