//! The format of page table entries and the top table's kernel half (Linux: asm/pgtable_64.h,
//! arch/x86/mm/pgtable.c). The walk itself is portable: `mm::pgtable`.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::super::asm::page::{PAGE_SIZE, phys_to_virt};
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
/// The kernel's own top table, noted when the first user table is made from it.
static KERNEL_PGD: AtomicU64 = AtomicU64::new(0);

/// Bits that may be set in an entry.
#[inline]
pub fn supported_pte_mask() -> u64 {
    SUPPORTED_PTE_MASK.load(Ordering::Relaxed)
}

/// Tells that the CPU has no NX bit. Boot calls it before the first user table is made.
pub fn clear_nx_support() {
    SUPPORTED_PTE_MASK.fetch_and(!pte_bits::NO_EXEC, Ordering::Relaxed);
}

#[inline]
fn read_cr3() -> PhysAddr {
    let cr3: u64;
    // SAFETY: ring 0; reading CR3 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) cr3, options(nomem, nostack, preserves_flags)) };
    PhysAddr::new(cr3 & pte_bits::FRAME)
}

#[inline]
fn write_cr3(pgd: PhysAddr) {
    // SAFETY: every top table carries the kernel half, so this code stays mapped. Not `nomem`:
    // accesses must not move across the switch.
    unsafe { asm!("mov cr3, {}", in(reg) pgd.as_u64(), options(nostack, preserves_flags)) };
}

/// Fills a new top table: user half empty, kernel half shared with every other table
/// (Linux: `pgd_ctor`). All kernel entries exist from boot on, so the copy never gets stale, and
/// the table that is loaded now serves as the pattern.
pub fn pgd_ctor(pgd: PhysAddr) {
    let loaded = read_cr3();
    let _ = KERNEL_PGD.compare_exchange(0, loaded.as_u64(), Ordering::Relaxed, Ordering::Relaxed);
    let from = phys_to_virt(loaded).as_usize() as *const u64;
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

/// Makes a top table this CPU's (Linux: `load_cr3`). The caller keeps it alive while loaded.
#[inline]
pub fn load_pgd(pgd: PhysAddr) {
    if read_cr3() != pgd {
        write_cr3(pgd);
    }
}

/// Whether this CPU uses the top table.
#[inline]
pub fn pgd_is_loaded(pgd: PhysAddr) -> bool {
    read_cr3() == pgd
}

/// Goes back to the kernel's own table if this CPU still borrows `pgd` (Linux: `leave_mm`).
pub fn leave_pgd(pgd: PhysAddr) {
    if pgd_is_loaded(pgd) {
        write_cr3(PhysAddr::new(KERNEL_PGD.load(Ordering::Relaxed)));
    }
}
