//! The kernel's own page tables (Linux: arch/x86/mm/init.c, init_64.c).

use crate::arch::x86::asm::cr::read_cr3;
use crate::arch::x86::asm::page::phys_to_virt;
use crate::mm::{PhysAddr, VirtAddr};

/// Physical address behind `addr` in the page tables in use, whoever made them.
pub fn translate(addr: VirtAddr) -> Option<PhysAddr> {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let mut table = read_cr3() & ADDRESS;
    for level in (0..4).rev() {
        let shift = 12 + 9 * level;
        let index = (addr.as_u64() >> shift & 511) as usize;
        let entries = phys_to_virt(PhysAddr::new(table)).as_usize() as *const u64;
        // SAFETY: a table of the running address space, in the direct map (ours or the loader's).
        let entry = unsafe { entries.add(index).read_volatile() };
        if entry & 1 == 0 {
            return None;
        }
        if level == 0 || entry & 0x80 != 0 {
            let mask = (1u64 << shift) - 1;
            return Some(PhysAddr::new(
                entry & ADDRESS & !mask | addr.as_u64() & mask,
            ));
        }
        table = entry & ADDRESS;
    }
    None
}
