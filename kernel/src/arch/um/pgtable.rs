//! A soft memory management unit: page tables in the simulated RAM, walked by the copy functions.

use std::cell::Cell;

use crate::kernel::sched::current;
use crate::mm::memory::{FaultAccess, handle_mm_fault};
use crate::mm::mmap::MmStruct;
use crate::mm::pgtable::Access;
use crate::mm::{PhysAddr, UserAddr};

use super::{PAGE_SIZE, TASK_SIZE, phys_to_virt};

/// Bits of an entry; the same as the real machine's, so that tests see what it would see.
pub mod pte_bits {
    /// The entry may be used.
    pub const PRESENT: u64 = 1;
    /// Writes are allowed.
    pub const WRITE: u64 = 1 << 1;
    /// User mode may use the entry.
    pub const USER: u64 = 1 << 2;
    /// The entry has been used.
    pub const ACCESSED: u64 = 1 << 5;
    /// The page has been written.
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
    /// An entry that points to a lower table.
    pub const TABLE: u64 = PRESENT | WRITE | USER | ACCESSED;
}

thread_local! {
    static ACTIVE_MM: Cell<*const MmStruct> = const { Cell::new(core::ptr::null()) };
}

/// Every bit is understood.
pub fn supported_pte_mask() -> u64 {
    u64::MAX
}
/// Empties a new top table; there is no kernel half.
pub fn pgd_ctor(pgd: PhysAddr) {
    let table = phys_to_virt(pgd).as_usize() as *mut u8;
    // SAFETY: `pgd` is a whole page that the caller owns.
    unsafe { table.write_bytes(0, PAGE_SIZE) };
}
/// Nobody has to be told anything.
#[derive(Default)]
pub struct MmContext;
impl MmContext {
    /// Nothing is kept.
    pub const fn new() -> Self {
        Self
    }
    /// Nothing is kept.
    pub fn left_by(&self, _cpu: usize) {}
}
/// Whether page tables go too, or only what they pointed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// Leaf entries changed.
    Pages,
    /// Tables are freed.
    Tables,
}
/// Nothing is borrowed.
pub fn enter_lazy_tlb() {}
/// The soft unit finds its tables through the active address space.
pub fn load_pgd(_pgd: PhysAddr, _context: &MmContext) {}
/// Nothing to leave.
pub fn leave_pgd(_pgd: PhysAddr, _context: &MmContext) {}
/// The soft unit remembers nothing.
pub fn flush_tlb_range(
    _pgd: PhysAddr,
    _context: &MmContext,
    _start: u64,
    _end: u64,
    _freed: Freed,
) {
}

/// Makes an address space the one that user copies of this thread use.
pub fn switch_mm(next: Option<&MmStruct>) {
    ACTIVE_MM.set(next.map_or(core::ptr::null(), |mm| mm));
}

/// Runs `copy(direct-map address, length)` for each page of the range, faulting as the CPU
/// would; returns the number of bytes that could not be reached.
fn for_each_page(
    addr: UserAddr,
    len: usize,
    access: Access,
    mut copy: impl FnMut(usize, usize),
) -> usize {
    let (mut addr, mut left) = (addr.as_u64(), len);
    // A task's host thread sees the switches of others only through the task itself.
    let own = if super::current_ptr().is_null() {
        None
    } else {
        current().mm()
    };
    // SAFETY: the test that activated the address space keeps it alive meanwhile.
    let Some(mm) = own.as_deref().or(unsafe { ACTIVE_MM.get().as_ref() }) else {
        return left;
    };
    while left > 0 && addr < TASK_SIZE {
        let offset = addr as usize % PAGE_SIZE;
        let step = left.min(PAGE_SIZE - offset);
        let page = UserAddr::new(addr - offset as u64);
        let lock = mm.page_table().lock();
        match lock.touch(page, access) {
            Some(pfn) => {
                copy(phys_to_virt(pfn.phys()).as_usize() + offset, step);
                addr += step as u64;
                left -= step;
            }
            None => {
                drop(lock);
                let fault = match access {
                    Access::Read => FaultAccess::empty(),
                    Access::Write => FaultAccess::WRITE,
                };
                if handle_mm_fault(mm, UserAddr::new(addr), fault).is_err() {
                    break;
                }
            }
        }
    }
    left
}

/// Copies from user memory; returns the number of bytes NOT copied.
///
/// # Safety
/// `dst` must be valid for `len` bytes.
pub unsafe fn raw_copy_from_user(dst: *mut u8, src: UserAddr, len: usize) -> usize {
    let mut done = 0;
    for_each_page(src, len, Access::Read, |from, step| {
        // SAFETY: `from..from + step` is inside a page of the simulated RAM; the caller vouches
        // for `dst`.
        unsafe { core::ptr::copy(from as *const u8, dst.add(done), step) };
        done += step;
    })
}
/// Copies to user memory; returns the number of bytes NOT copied.
///
/// # Safety
/// `src` must be valid for `len` bytes.
pub unsafe fn raw_copy_to_user(dst: UserAddr, src: *const u8, len: usize) -> usize {
    let mut done = 0;
    for_each_page(dst, len, Access::Write, |to, step| {
        // SAFETY: as in `raw_copy_from_user`, the other way round.
        unsafe { core::ptr::copy(src.add(done), to as *mut u8, step) };
        done += step;
    })
}
