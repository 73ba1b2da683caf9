//! Memory management comes up (Linux: mm/mm_init.c, mm/memblock.c `memblock_free_all`).
//!
//! Order: `free_area_init` (setup_arch knows the RAM), `mm_core_init` (the allocators take over
//! from memblock), `setup_per_cpu_pageset`, and as an initcall the watermarks.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use super::memblock::{PhysRange, memblock, memblock_retire};
use super::mmzone::{MAX_DMA_PFN, MAX_DMA32_PFN, MAX_PAGE_ORDER, Zone, zone_index};
use super::page::Page;
use super::page_alloc::{
    PAGESET, TOTALRAM_PAGES, ZONES, build_zonelists, free_range, init_zero_page, nr_free_pages,
    totalram_pages,
};
use super::percpu::nr_cpu_ids;
use super::{Pfn, VirtAddr, page_poison, slub, vmalloc};
use crate::arch::{self, PAGE_SHIFT, PAGE_SIZE};
use crate::prelude::*;

/// First frame above each zone.
const ZONE_LIMITS: [u64; 3] = [MAX_DMA_PFN, MAX_DMA32_PFN, u64::MAX];

/// Sizes of the kernel image's parts in bytes, for the `Memory:` line.
#[derive(Clone, Copy, Default, Debug)]
pub struct ImageSections {
    /// Executable code.
    pub code: u64,
    /// Initialised data.
    pub rwdata: u64,
    /// Constants.
    pub rodata: u64,
    /// What `free_initmem` gives back.
    pub init: u64,
    /// Zeroed data.
    pub bss: u64,
}

/// The frames of `range` that lie in zone `index`.
fn clip_to_zone(range: &Range<Pfn>, index: usize) -> Range<u64> {
    let lowest = if index == 0 {
        0
    } else {
        ZONE_LIMITS[index - 1]
    };
    let start = range.start.0.max(lowest);
    start..range.end.0.min(ZONE_LIMITS[index]).max(start)
}

/// Lays the zones over the RAM that memblock knows, says so, and makes the `struct page` array
/// for it (Linux: `free_area_init`). The kernel runs on its own page tables. Errors: ENOMEM.
#[__init]
pub fn free_area_init() -> Result {
    // One range at a time: the array takes memory from memblock, which has a lock.
    let frames = |range: PhysRange| {
        let (start, end) = range.pfns();
        start..end
    };
    let range_at = |index: usize| memblock().memory().get(index).copied();
    let memory = (0..).map_while(move |index| range_at(index).map(frames));
    init_zones(memory.clone());
    for blocks in BlockRanges::over(memory) {
        arch::vmemmap_populate(blocks.start, blocks.end, size_of::<Page>())?;
    }
    Ok(())
}

/// Ranges of frames rounded out to blocks of the largest order, those that touch as one. The
/// buddy of every frame of a range is in it too, so that its page can be looked at.
struct BlockRanges<I: Iterator<Item = Range<Pfn>>> {
    ranges: core::iter::Peekable<I>,
}

impl<I: Iterator<Item = Range<Pfn>>> BlockRanges<I> {
    fn over(ranges: I) -> Self {
        let ranges = ranges.peekable();
        Self { ranges }
    }
}

impl<I: Iterator<Item = Range<Pfn>>> Iterator for BlockRanges<I> {
    type Item = Range<Pfn>;
    fn next(&mut self) -> Option<Range<Pfn>> {
        const BLOCK: u64 = 1 << MAX_PAGE_ORDER;
        let first = self.ranges.next()?;
        let start = first.start.0 & !(BLOCK - 1);
        let mut end = first.end.0.next_multiple_of(BLOCK);
        while let Some(more) = self
            .ranges
            .next_if(|more| more.start.0 & !(BLOCK - 1) <= end)
        {
            end = more.end.0.next_multiple_of(BLOCK);
        }
        Some(Pfn(start)..Pfn(end))
    }
}

/// Lays the zones over `memory`: sorted, disjoint ranges, reserved parts included.
#[__init]
fn init_zones(memory: impl Iterator<Item = Range<Pfn>> + Clone) {
    let lowest = memory.clone().map(|range| range.start.0).min().unwrap_or(0);
    let highest = memory.clone().map(|range| range.end.0).max().unwrap_or(0);
    pr_info!("Zone ranges:");
    for (index, zone) in ZONES.iter().enumerate() {
        let span = clip_to_zone(&(Pfn(lowest)..Pfn(highest)), index);
        if span.is_empty() {
            pr_info!("  {:<8} empty", zone.name);
        } else {
            pr_info!("  {:<8} {}", zone.name, MemSpan(&span));
        }
        set_zone_span(zone, index, span, memory.clone());
    }
    pr_info!("Movable zone start for each node");
    pr_info!("Early memory node ranges");
    for range in memory.clone() {
        pr_info!("  node   0: {}", MemSpan(&(range.start.0..range.end.0)));
    }
    pr_info!("Initmem setup node 0 {}", MemSpan(&(lowest..highest)));
    report_holes(memory);
}

/// `[mem 0x...-0x...]` of a range of frames, last byte included.
struct MemSpan<'a>(&'a Range<u64>);

impl core::fmt::Display for MemSpan<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let last = (self.0.end << PAGE_SHIFT).saturating_sub(1);
        write!(f, "[mem {:#018x}-{last:#018x}]", self.0.start << PAGE_SHIFT)
    }
}

fn set_zone_span(
    zone: &Zone,
    index: usize,
    span: Range<u64>,
    memory: impl Iterator<Item = Range<Pfn>>,
) {
    let frames = |range: Range<Pfn>| {
        let part = clip_to_zone(&range, index);
        part.end - part.start
    };
    zone.start_pfn.store(span.start, Ordering::Relaxed);
    zone.spanned.store(span.end - span.start, Ordering::Relaxed);
    zone.present
        .store(memory.map(frames).sum(), Ordering::Relaxed);
}

/// Tells of the frames between ranges (Linux: `init_unavailable_range`).
fn report_holes(memory: impl Iterator<Item = Range<Pfn>>) {
    let mut hole_start = Pfn(0);
    for range in memory {
        for (index, zone) in ZONES.iter().enumerate() {
            let hole = clip_to_zone(&(hole_start..range.start), index);
            if !hole.is_empty() {
                let pages = hole.end - hole.start;
                let name = zone.name;
                pr_info!("On node 0, zone {name}: {pages} pages in unavailable ranges");
            }
        }
        hole_start = range.end;
    }
}

/// Hands memory over to the allocators, in Linux's order (Linux: `mm_core_init`).
///
/// On return: `alloc_pages`, kmalloc and the Rust heap, and vmalloc work; memblock is closed.
#[__init]
pub fn mm_core_init() {
    build_all_zonelists(); //         allocations know which zone to ask, and in which order
    page_poison::report_meminit(); // before the first page is handed over: poison covers all
    mem_init(); //                    the buddy allocator owns the free memory
    mem_init_print_info(&arch::image_sections());
    init_zero_page();
    slub::kmem_cache_init(); //       small objects: kmalloc, and the heap with it
    vmalloc::vmalloc_init(); //       needs kmalloc for its bookkeeping
}

/// Decides in which order zones are tried (Linux: `build_all_zonelists`).
#[__init]
pub fn build_all_zonelists() {
    let present = |index: usize| ZONES[index].present.load(Ordering::Relaxed);
    build_zonelists(|index| present(index) != 0);
    let pages: u64 = (0..ZONES.len()).map(present).sum();
    let spanned: u64 = ZONES
        .iter()
        .map(|z| z.spanned.load(Ordering::Relaxed))
        .sum();
    let memmap = (spanned * size_of::<Page>() as u64).div_ceil(PAGE_SIZE as u64);
    let total = pages.saturating_sub(memmap);
    pr_info!("Built 1 zonelists, mobility grouping off.  Total pages: {total}");
}

/// Gives all memory that is free to the buddy allocator (Linux: `mem_init`,
/// `memblock_free_all`). Partly free frames stay reserved.
#[__init]
fn mem_init() {
    for range in memblock().free_ranges() {
        let (start, end) = range.pfns();
        // Frame 0 means "no page" in lists; firmware owns it anyway.
        add_managed_range(Pfn(start.0.max(1)), end);
    }
    memblock_retire(); // page tables take their memory from the buddy allocator from here on
}

/// Gives frames to the allocator that were never its own.
fn add_managed_range(start: Pfn, end: Pfn) {
    if start.0 >= end.0 {
        return;
    }
    for (index, zone) in ZONES.iter().enumerate() {
        let part = clip_to_zone(&(start..end), index);
        zone.managed
            .fetch_add(part.end - part.start, Ordering::Relaxed);
    }
    TOTALRAM_PAGES.fetch_add(end.0 - start.0, Ordering::Relaxed);
    free_range(start, end);
}

/// Kilobytes of a number of pages.
const fn page_kb(pages: u64) -> u64 {
    pages << (PAGE_SHIFT - 10)
}

/// Linux: `mem_init_print_info`. "reserved" is RAM that the allocator does not own.
#[__init]
fn mem_init_print_info(image: &ImageSections) {
    let physpages = present_pages();
    pr_info!(
        "Memory: {}K/{}K available ({}K kernel code, {}K rwdata, {}K rodata, {}K init, {}K bss, {}K reserved, 0K cma-reserved)",
        page_kb(nr_free_pages()),
        page_kb(physpages),
        image.code >> 10,
        image.rwdata >> 10,
        image.rodata >> 10,
        image.init >> 10,
        image.bss >> 10,
        page_kb(physpages.saturating_sub(totalram_pages())),
    );
}

/// RAM in pages, reserved or not (Linux: `get_num_physpages`).
pub fn present_pages() -> u64 {
    ZONES
        .iter()
        .map(|z| z.present.load(Ordering::Relaxed))
        .sum()
}

/// Gives each CPU lists of a size that fits the zones (Linux: `setup_per_cpu_pageset`).
#[__init]
pub fn setup_per_cpu_pageset() {
    for (index, zone) in ZONES.iter().enumerate() {
        let batch = zone_batchsize(zone.managed.load(Ordering::Relaxed));
        for cpu in 0..nr_cpu_ids() {
            let lists = PAGESET.on(cpu).zone(index);
            lists.batch.store(batch, Ordering::Relaxed);
            lists.high.store(2 * batch, Ordering::Relaxed);
        }
    }
}

/// Pages that a per-CPU list gets or gives at once: a thousandth of the zone and at most 64
/// (Linux: `zone_batchsize`).
fn zone_batchsize(managed: u64) -> u32 {
    (managed / 1024).clamp(4, 64) as u32
}

/// Pages that no ordinary allocation may take (Linux: `totalreserve_pages`).
pub(super) fn totalreserve_pages() -> u64 {
    let reserve = |zone: &Zone| {
        let lowmem = zone
            .lowmem_reserve
            .iter()
            .map(|pages| pages.load(Ordering::Relaxed));
        zone.wmark_high.load(Ordering::Relaxed) + lowmem.max().unwrap_or(0)
    };
    ZONES.iter().map(reserve).sum()
}

/// Reserve for allocations that must not fail, in KiB (Linux: sysctl vm.min_free_kbytes).
static MIN_FREE_KBYTES: AtomicU64 = AtomicU64::new(0);

/// The reserve, in KiB.
pub fn min_free_kbytes() -> u64 {
    MIN_FREE_KBYTES.load(Ordering::Relaxed)
}

/// Sets the watermarks by the size of memory (Linux: `init_per_zone_wmark_min`).
///
/// Linux reserves `4 * sqrt(KiB of memory)`, so that its reclaim thread gets time to work. No
/// such thread has to be woken here: a quarter of it serves the allocations that must not fail.
#[__init]
pub fn init_per_zone_wmark_min() -> Result {
    let kbytes = page_kb(totalram_pages());
    MIN_FREE_KBYTES.store(kbytes.isqrt().clamp(128, 65536), Ordering::Relaxed);
    setup_per_zone_wmarks();
    setup_per_zone_lowmem_reserve();
    Ok(())
}
crate::postcore_initcall!(init_per_zone_wmark_min);

fn setup_per_zone_wmarks() {
    let pages_min = min_free_kbytes() >> (PAGE_SHIFT - 10);
    let total = totalram_pages().max(1);
    for zone in &ZONES {
        let min = pages_min * zone.managed.load(Ordering::Relaxed) / total;
        zone.wmark_min.store(min, Ordering::Relaxed);
        zone.wmark_low.store(min + min / 4, Ordering::Relaxed);
        zone.wmark_high.store(min + min / 2, Ordering::Relaxed);
    }
}

/// Keeps a part of the low zones from allocations that a higher zone could serve: a 256th of
/// the memory above (Linux: `setup_per_zone_lowmem_reserve`).
fn setup_per_zone_lowmem_reserve() {
    for (index, zone) in ZONES.iter().enumerate() {
        let mut above = 0;
        for (class, higher) in ZONES.iter().enumerate().skip(index + 1) {
            above += higher.managed.load(Ordering::Relaxed);
            zone.lowmem_reserve[class].store(above / 256, Ordering::Relaxed);
        }
    }
}

/// Gives a part of the boot memory that is no longer needed to the page allocator: init code,
/// the initial RAM disk. Whole pages inside `[start, end)` only; they are filled with `poison`.
/// Returns the number of pages (Linux: `free_reserved_area`).
///
/// # Safety
/// The pages were reserved at boot, and nothing refers to them any more. (Mappings of the image
/// stay: the caller takes execute permission away.)
pub unsafe fn free_reserved_area(
    start: VirtAddr,
    end: VirtAddr,
    poison: Option<u8>,
    name: Option<&str>,
) -> u64 {
    let mut addr = start.align_up(PAGE_SIZE as u64);
    let end = end.align_down(PAGE_SIZE as u64);
    let mut pages = 0;
    let mut run = Pfn(0)..Pfn(0); // neighbours are given away together
    while addr < end {
        if let Some(pfn) = frame_of(addr) {
            poison_page(pfn, poison);
            if pfn != run.end {
                add_managed_range(run.start, run.end);
                run.start = pfn;
            }
            run.end = Pfn(pfn.0 + 1);
            pages += 1;
        }
        addr = addr + PAGE_SIZE as u64;
    }
    add_managed_range(run.start, run.end);
    if let Some(name) = name
        && pages != 0
    {
        pr_info!("Freeing {name} memory: {}K", page_kb(pages));
    }
    pages
}

/// The frame that a kernel address is mapped to; none for frame 0, which is never given away.
fn frame_of(addr: VirtAddr) -> Option<Pfn> {
    let phys = arch::direct_map_phys(addr).or_else(|| arch::slow_virt_to_phys(addr));
    phys.map(|phys| phys.pfn()).filter(|pfn| pfn.0 != 0)
}

fn poison_page(pfn: Pfn, poison: Option<u8>) {
    if let Some(byte) = poison {
        let base = arch::phys_to_virt(pfn.phys()).as_usize() as *mut u8;
        // SAFETY: a whole page of RAM that nobody uses, in the direct map.
        unsafe { base.write_bytes(byte, PAGE_SIZE) };
    }
}

/// Gives one frame of the boot memory to the page allocator; see `free_reserved_area`
/// (Linux: `free_reserved_page`).
///
/// # Safety
/// The frame was reserved at boot, and nothing refers to it any more.
pub unsafe fn free_reserved_page(pfn: Pfn) {
    if pfn.0 != 0 {
        add_managed_range(pfn, Pfn(pfn.0 + 1));
    }
}

/// The test port has no boot: its RAM comes in when memory is first asked for. True when this
/// call (or another thread meanwhile) brought it in.
pub(super) fn host_own_ram() -> bool {
    static DONE: spin::Once = spin::Once::new();
    let Some((start, end)) = arch::self_hosted_ram() else {
        return false;
    };
    let first = totalram_pages() == 0;
    DONE.call_once(|| {
        set_host_zones(start.pfn(), end.pfn());
        build_zonelists(|index| ZONES[index].present.load(Ordering::Relaxed) != 0);
        add_managed_range(start.pfn(), end.pfn());
    });
    first
}

fn set_host_zones(start: Pfn, end: Pfn) {
    for (index, zone) in ZONES.iter().enumerate() {
        let span = clip_to_zone(&(start..end), index);
        set_zone_span(zone, index, span, core::iter::once(start..end));
    }
    debug_assert!(zone_index(start.0) == 0, "host RAM begins in the DMA zone");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_borders_of_the_zones() {
        let all = Pfn(1)..Pfn(0x18_0000);
        assert_eq!(clip_to_zone(&all, 0), 1..0x1000);
        assert_eq!(clip_to_zone(&all, 1), 0x1000..0x10_0000);
        assert_eq!(clip_to_zone(&all, 2), 0x10_0000..0x18_0000);
        assert!(clip_to_zone(&(Pfn(1)..Pfn(0x800)), 1).is_empty());
    }

    #[test]
    fn the_page_array_covers_whole_blocks_without_overlap() {
        let memory = [1..0x9f, 0x100..0x7ff0, 0x9000..0x9001];
        let memory = memory.map(|range| Pfn(range.start)..Pfn(range.end));
        let blocks: Vec<_> = BlockRanges::over(memory.into_iter()).collect();
        assert_eq!(blocks, [Pfn(0)..Pfn(0x8000), Pfn(0x9000)..Pfn(0x9400)]);
    }

    #[test]
    fn a_span_prints_as_linux_prints_it() {
        let text = format!("{}", MemSpan(&(1..0x9f)));
        assert_eq!(text, "[mem 0x0000000000001000-0x000000000009efff]");
    }

    #[test]
    fn the_batch_grows_with_the_zone_within_limits() {
        assert_eq!(zone_batchsize(0), 4);
        assert_eq!(zone_batchsize(16 * 1024), 16);
        assert_eq!(zone_batchsize(1 << 20), 64);
    }
}
