//! Code that runs below 1 MiB (Linux: arch/x86/realmode/init.c).

mod trampoline_64;

use core::sync::atomic::{AtomicU64, Ordering};

use super::asm::cr::Cr4;
use super::asm::msr::{EFER_LME, EFER_NX, MSR_EFER, rdmsr};
use super::mm::init_64::{init_top_pgt, table_at};
use crate::arch::{PAGE_SIZE, phys_to_virt};
use crate::mm::PhysAddr;
use crate::mm::memblock::memblock;
use crate::prelude::*;
use trampoline_64::{Trampoline, TrampolineHeader};

const PAGE: u64 = PAGE_SIZE as u64;
/// The code, and three page tables for it.
const NR_PAGES: u64 = 4;
/// End of the memory that a start-up message can name; video memory begins there.
const LOW_END: PhysAddr = PhysAddr::new(0xa_0000);

/// The pages; 0 when there are none.
static REAL_MODE: AtomicU64 = AtomicU64::new(0);

/// Keeps the pages that other CPUs start in, before anything else can take memory below 1 MiB
/// (Linux: `reserve_real_mode`). A machine without room there stays on one CPU.
#[__init]
pub fn reserve_real_mode() {
    match memblock().phys_alloc(NR_PAGES * PAGE, PAGE, LOW_END) {
        Some(pages) => REAL_MODE.store(pages.as_u64(), Ordering::Relaxed),
        None => pr_info!("No sub-1M memory is available for the trampoline"),
    }
}

/// Where the code is, if there was room.
pub fn real_mode_base() -> Option<PhysAddr> {
    let base = REAL_MODE.load(Ordering::Relaxed);
    (base != 0).then(|| PhysAddr::new(base))
}

/// Puts the code and its page tables into their pages (Linux: `setup_real_mode`): the first
/// 2 MiB where they are, executable, and the kernel's half. No CPU but one that starts ever loads
/// the tables. Errors: ENOMEM without a place.
#[__init]
pub fn setup_real_mode() -> Result {
    const TABLE: u64 = 0x63; // present, writable, accessed, dirty
    const LARGE: u64 = 0x80;
    let base = real_mode_base().ok_or(Errno::ENOMEM)?;
    let (pgd, pud, pmd) = (base + PAGE, base + 2 * PAGE, base + 3 * PAGE);
    let (top, middle, low) = (table_at(pgd), table_at(pud), table_at(pmd));
    for (index, entry) in table_at(init_top_pgt()).iter().enumerate() {
        let kernel = if index >= 256 {
            entry.load(Ordering::Relaxed)
        } else {
            0
        };
        top[index].store(kernel, Ordering::Relaxed);
        middle[index].store(0, Ordering::Relaxed);
        low[index].store(0, Ordering::Relaxed);
    }
    top[0].store(pud.as_u64() | TABLE, Ordering::Relaxed);
    middle[0].store(pmd.as_u64() | TABLE, Ordering::Relaxed);
    low[0].store(TABLE | LARGE, Ordering::Relaxed);
    // SAFETY: reading the register has no effect.
    let efer = unsafe { rdmsr(MSR_EFER) } & EFER_NX | EFER_LME;
    let header = TrampolineHeader {
        start: trampoline_64::secondary_startup_64 as *const () as u64,
        efer,
        pgd: pgd.as_u64() as u32,
        cr4: Cr4::PAE.bits() as u32,
    };
    let page = phys_to_virt(base).as_usize() as *mut u8;
    // SAFETY: the page is reserved for this, mapped by the direct map, and no CPU runs in it yet.
    unsafe { Trampoline::new(base, header).write_to(page) };
    Ok(())
}
