//! Device memory in the kernel's address space (Linux: arch/x86/mm/ioremap.c).
//!
//! Mappings live in a window of their own, so that they work before vmalloc does.

use super::init_64::{Cache, KProt, Level, map_range, slow_virt_to_phys, unmap_range};
use crate::arch::x86::asm::page::{IOREMAP_END, IOREMAP_START, PAGE_SIZE, phys_to_virt};
use crate::mm::{PhysAddr, VirtAddr};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
/// Most mappings at a time.
const MAX_AREAS: usize = 256;

/// Areas in use (start, end), sorted.
struct Areas {
    areas: [(u64, u64); MAX_AREAS],
    len: usize,
}

static AREAS: IrqSpinLock<Areas> = SpinLock::new(Areas {
    areas: [(0, 0); MAX_AREAS],
    len: 0,
});

impl Areas {
    /// Takes `size` bytes whose start is `phase` modulo `align`, with an unmapped page between
    /// two areas.
    fn take(&mut self, size: u64, align: u64, phase: u64) -> Result<u64> {
        if self.len == MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let mut gap_start = IOREMAP_START;
        for index in 0..=self.len {
            let gap_end = match self.areas[..self.len].get(index) {
                Some(area) => area.0 - PAGE,
                None => IOREMAP_END,
            };
            let start = gap_start + (phase.wrapping_sub(gap_start) & (align - 1));
            if start.checked_add(size).is_some_and(|end| end <= gap_end) {
                self.areas.copy_within(index..self.len, index + 1);
                self.areas[index] = (start, start + size);
                self.len += 1;
                return Ok(start);
            }
            if let Some(area) = self.areas[..self.len].get(index) {
                gap_start = area.1 + PAGE;
            }
        }
        Err(Errno::ENOMEM)
    }
    fn find(&self, addr: u64) -> Option<usize> {
        self.areas[..self.len]
            .iter()
            .position(|area| area.0 <= addr && addr < area.1)
    }
    fn drop_at(&mut self, index: usize) {
        self.areas.copy_within(index + 1..self.len, index);
        self.len -= 1;
    }
}

/// Maps `size` bytes of device memory at `phys`, both of any alignment, readable and writable.
/// Any context after `setup_arch` has switched to the kernel's tables. Errors: EINVAL for an
/// empty or impossible range; ENOMEM.
pub fn ioremap(phys: PhysAddr, size: usize, cache: Cache) -> Result<VirtAddr> {
    let end = phys.checked_add(size as u64).ok_or(Errno::EINVAL)?;
    if size == 0 || end.as_u64() > 1 << 52 {
        return Err(Errno::EINVAL);
    }
    let first = phys.align_down(PAGE);
    let bytes = end.align_up(PAGE) - first;
    // Large pages for large mappings: a framebuffer costs no tables and few TLB entries then.
    let align = if bytes >= Level::Pmd.size() {
        Level::Pmd.size()
    } else {
        PAGE
    };
    // The lock is held only for the addresses: a flush waits for other CPUs.
    let start = AREAS
        .lock()
        .take(bytes, align, first.as_u64() & (align - 1))?;
    let prot = KProt::KERNEL.with_cache(cache);
    let addr = VirtAddr::new(start);
    let mut mapped = map_range(addr, first, bytes, prot, Level::Pmd);
    if mapped == Err(Errno::EEXIST) {
        // A table that an earlier, smaller mapping left there: small pages fit into it.
        unmap_range(addr, bytes);
        mapped = map_range(addr, first, bytes, prot, Level::Pte);
    }
    if let Err(errno) = mapped {
        iounmap(addr);
        return Err(errno);
    }
    Ok(addr + phys.page_offset() as u64)
}

/// Undoes [`ioremap`]; `addr` is what that returned. Nothing happens for other addresses.
pub fn iounmap(addr: VirtAddr) {
    let range = |areas: &Areas| areas.find(addr.as_u64()).map(|index| areas.areas[index]);
    let found = range(&AREAS.lock());
    if let Some((start, end)) = found {
        unmap_range(VirtAddr::new(start), end - start);
        // Last: from here on somebody else may get the addresses.
        let mut areas = AREAS.lock();
        if let Some(index) = areas.find(addr.as_u64()) {
            areas.drop_at(index);
        }
    }
}

/// Address of memory that may be RAM or firmware's (ACPI tables, for example), cached: in the
/// direct map where that covers it, else newly mapped (Linux: kernel/iomem.c, `memremap`).
/// `iounmap` undoes it in either case. Errors: as [`ioremap`].
pub fn memremap(phys: PhysAddr, size: usize) -> Result<VirtAddr> {
    let end = phys.checked_add(size as u64).ok_or(Errno::EINVAL)?;
    if end.as_u64() > 1 << 46 {
        return Err(Errno::EINVAL);
    }
    let direct = |page: u64| slow_virt_to_phys(phys_to_virt(PhysAddr::new(page))).is_some();
    let first = phys.align_down(PAGE).as_u64();
    if (first..end.as_u64()).step_by(PAGE_SIZE).all(direct) {
        return Ok(phys_to_virt(phys));
    }
    ioremap(phys, size, Cache::WriteBack)
}
