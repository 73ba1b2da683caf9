//! The kernel's own address space (Linux: arch/x86/mm/init.c, init_64.c).

use super::init_64::{
    KProt, Level, alloc_pgt_page, init_top_pgt, lookup_address, map_range, preallocate_pgd,
    set_init_top_pgt, slow_virt_to_phys, unmap_range,
};
use super::set_memory::{set_memory_ro, set_memory_ro_noflush};
use super::tlb::flush_tlb_all;
use crate::arch::x86::asm::cr::{read_cr3, write_cr3};
use crate::arch::x86::asm::page::{
    IOREMAP_START, PAGE_OFFSET, PAGE_SIZE, VMALLOC_START, VMEMMAP_START, phys_to_virt,
};
use crate::arch::x86::kernel::cpu::{Feature, boot_cpu_has};
use crate::arch::x86::kernel::{head64, sections};
use crate::mm::memblock::{Memblock, PhysRange, memblock};
use crate::mm::mm_init::free_reserved_area;
use crate::mm::{Pfn, PhysAddr, VirtAddr};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
/// End of the range where PCs keep firmware data, video memory and ROMs.
pub const ISA_END_ADDRESS: u64 = 0x10_0000;
/// What poisoned init memory is filled with (Linux: `POISON_FREE_INITMEM`).
pub const POISON_FREE_INITMEM: u8 = 0xcc;

/// Physical address behind `addr` in the page tables in use, whoever made them. For the time
/// before our own; `init_64::slow_virt_to_phys` is for afterwards.
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

fn pages(start: VirtAddr, end: VirtAddr) -> impl Iterator<Item = VirtAddr> {
    (start.as_u64()..end.as_u64())
        .step_by(PAGE_SIZE)
        .map(VirtAddr::new)
}

/// What the image's page at `addr` allows until `mark_rodata_ro`.
fn image_prot(addr: VirtAddr) -> KProt {
    let within = |start, end| start <= addr && addr < end;
    let text = within(sections::text_start(), sections::text_end());
    let init_text = within(sections::init_text_start(), sections::init_text_end());
    let rodata = within(sections::rodata_start(), sections::rodata_end());
    let kallsyms = within(sections::kallsyms_start(), sections::image_end());
    if text || init_text {
        KProt::KERNEL_ROX
    } else if rodata || kallsyms {
        KProt::KERNEL_RO
    } else {
        KProt::KERNEL
    }
}

/// Reserves the frames of the image: where QEMU put it, or wherever the boot loader has the
/// file's pages.
#[__init]
pub fn reserve_kernel_image(memblock: &mut Memblock) -> Result {
    for page in pages(sections::text_start(), sections::image_end()) {
        if let Some(range) = translate(page).and_then(|at| PhysRange::new(at.as_u64(), PAGE)) {
            memblock.reserve(range)?;
        }
    }
    Ok(())
}

/// Builds the kernel's page tables and switches to them (Linux: `init_mem_mapping`).
///
/// On entry: memblock knows the RAM and what of it is taken, the loader's tables are in use.
/// On return: the direct map covers RAM and the first MiB and nothing else (device memory is
/// reached with `ioremap`); the image has its final permissions but for `mark_rodata_ro`; the
/// kernel half's top-level entries will never change again, so user tables copy them.
/// Errors: ENOMEM.
#[__init]
pub fn init_mem_mapping() -> Result {
    set_init_top_pgt(alloc_pgt_page()?);
    map_direct(0, ISA_END_ADDRESS)?;
    for index in 0.. {
        let Some(range) = memblock().memory().get(index).copied() else {
            break;
        };
        map_direct(
            range.start.as_u64().max(ISA_END_ADDRESS),
            range.end.as_u64(),
        )?;
    }
    map_image()?;
    for area in [VMALLOC_START, VMEMMAP_START, IOREMAP_START] {
        preallocate_pgd(VirtAddr::new(area))?;
    }
    // SAFETY: the new tables map this code, its data and its stack where they are now, and the
    // direct map where `phys_to_virt` looks for it.
    unsafe { write_cr3(init_top_pgt().as_u64()) };
    super::init_64::flush_tlb_all_local(); // global entries of the loader, should it make such
    Ok(())
}

/// Maps physical memory in the direct map: readable and writable, never executable.
fn map_direct(start: u64, end: u64) -> Result {
    if start >= end {
        return Ok(());
    }
    let largest = if boot_cpu_has(Feature::GBPAGES) {
        Level::Pud
    } else {
        Level::Pmd
    };
    let map = |from: u64, to: u64, largest| {
        let addr = VirtAddr::new(PAGE_OFFSET + from);
        map_range(addr, PhysAddr::new(from), to - from, KProt::KERNEL, largest)
    };
    // The first 2 MiB in small pages: the CPU's fixed range registers cut it up, and a large
    // page must not span two memory types.
    let small_end = end.min(Level::Pmd.size());
    if start < small_end {
        map(start, small_end, Level::Pte)?;
    }
    if end > small_end {
        map(start.max(small_end), end, largest)?;
    }
    Ok(())
}

fn map_image() -> Result {
    let guard = VirtAddr::new(head64::init_stack().0 - PAGE);
    for page in pages(sections::text_start(), sections::image_end()) {
        if page == guard {
            continue; // below pid 0's stack: an overflow faults
        }
        if let Some(phys) = translate(page) {
            map_range(page, phys, PAGE, image_prot(page), Level::Pte)?;
        }
    }
    Ok(())
}

/// Maps the part of the `struct page` array for the frames `start..end`, zeroed
/// (Linux: `vmemmap_populate_hugepages`). `entry_size` is the size of one element. During boot.
/// Errors: ENOMEM.
#[__init]
pub fn vmemmap_populate(start: Pfn, end: Pfn, entry_size: usize) -> Result {
    let entry_size = entry_size as u64;
    let mut at = VirtAddr::new(VMEMMAP_START + start.0 * entry_size).align_down(PAGE);
    let last = VirtAddr::new(VMEMMAP_START + end.0 * entry_size);
    while at < last {
        // An entry above the lowest level means that nothing is mapped around `at` yet.
        let (_, found) = lookup_address(at);
        let huge = found >= Level::Pmd
            && at.as_u64() & (Level::Pmd.size() - 1) == 0
            && last - at >= Level::Pmd.size();
        let level = if huge { Level::Pmd } else { Level::Pte };
        if slow_virt_to_phys(at).is_none() {
            vmemmap_populate_one(at, level)?;
        }
        at = at + level.size();
    }
    Ok(())
}

#[__init]
fn vmemmap_populate_one(at: VirtAddr, level: Level) -> Result {
    let size = level.size();
    let phys = memblock()
        .phys_alloc(size, size, PhysAddr::new(u64::MAX))
        .ok_or(Errno::ENOMEM)?;
    let bytes = phys_to_virt(phys).as_usize() as *mut u8;
    // SAFETY: allocated just now, and the direct map covers all memory.
    unsafe { bytes.write_bytes(0, size as usize) };
    map_range(at, phys, size, KProt::KERNEL, level)
}

/// Makes constants and what boot alone wrote read-only, in the image and where the direct map
/// shows the same frames (Linux: `mark_rodata_ro`). Text and constants in the image were never
/// writable; their second view was. Process context, after `free_initmem`.
pub fn mark_rodata_ro() {
    let protected = sections::rodata_end() - sections::text_start();
    pr_info!(
        "Write protecting the kernel read-only data: {}k",
        protected >> 10
    );
    let ro_after_init = (
        sections::ro_after_init_start(),
        sections::ro_after_init_end(),
    );
    let done = protect_alias(sections::text_start(), sections::rodata_end())
        .and_then(|()| protect_alias(sections::kallsyms_start(), kallsyms_used_end()))
        .and_then(|()| protect_alias(ro_after_init.0, ro_after_init.1))
        .and_then(|()| set_memory_ro(ro_after_init.0, (ro_after_init.1 - ro_after_init.0) / PAGE));
    flush_tlb_all();
    if let Err(errno) = done {
        pr_warn!("mark_rodata_ro: {errno:?}, some read-only data stays writable");
    }
    free_kernel_image_gaps();
}

fn protect_alias(start: VirtAddr, end: VirtAddr) -> Result {
    for page in pages(start, end) {
        if let Some(phys) = slow_virt_to_phys(page) {
            set_memory_ro_noflush(phys_to_virt(phys), 1)?;
        }
    }
    Ok(())
}

/// Frees what only boot needed: code, data, the first page tables (Linux: `free_initmem`).
/// Nothing of `[__init_begin, __init_end)` is used afterwards.
///
/// On return: the addresses are not mapped, so that a late call of an init function faults.
pub fn free_initmem() {
    let (start, end) = (sections::init_begin(), sections::init_end());
    free_kernel_image_pages("unused kernel image (initmem)", start, end);
}

/// Frees the room in the image that the symbol table does not fill
/// (Linux: `mark_rodata_ro`, which frees the gaps between the sections).
fn free_kernel_image_gaps() {
    let (start, end) = (kallsyms_used_end(), sections::image_end());
    free_kernel_image_pages("unused kernel image (rodata/data gap)", start, end);
}

/// End of the symbol table's last page with something in it.
fn kallsyms_used_end() -> VirtAddr {
    let used = sections::kallsyms_blob().len() as u64;
    (sections::kallsyms_start() + used).align_up(PAGE)
}

/// Poisons, unmaps and frees pages of the image (Linux: `free_kernel_image_pages`).
fn free_kernel_image_pages(what: &str, start: VirtAddr, end: VirtAddr) {
    let mapped = |page| Some(phys_to_virt(slow_virt_to_phys(page)?));
    let aliases: Vec<VirtAddr> = pages(start, end).filter_map(mapped).collect();
    if start < end {
        unmap_range(start, end - start); // one flush for all, before the first page is freed
    }
    let mut freed = 0;
    for alias in aliases {
        // SAFETY: nobody uses the page by its image address any more (caller), which is the only
        // one that anybody knew; it was reserved with the image.
        freed +=
            unsafe { free_reserved_area(alias, alias + PAGE, Some(POISON_FREE_INITMEM), None) };
    }
    if freed != 0 {
        pr_info!("Freeing {what} memory: {}K", freed * PAGE / 1024);
    }
}
