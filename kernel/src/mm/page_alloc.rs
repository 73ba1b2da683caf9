//! The buddy allocator (Linux: mm/page_alloc.c).
//!
//! A single page comes from a list of this CPU, which costs no lock and touches one `Page`; the
//! list is filled from and drained to the zone's buddy lists in batches. Larger blocks come from
//! the zone. When the preferred zone runs low, the lower ones help out.
//!
//! Lock order: local section of the CPU, then one zone's lock; nothing else is taken inside.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::gfp::Gfp;
use super::mmzone::{
    MAX_NR_ZONES, MAX_PAGE_ORDER, Reserve, ZONE_DMA, ZONE_DMA32, ZONE_NORMAL, Zone, zone_index,
};
use super::page::{MemMap, Page, PageFlags, PageRef};
use super::percpu::PerCpu;
use super::{Pfn, mm_init, oom_kill, page_poison};
use crate::arch::{self, PAGE_SHIFT};
use crate::kernel::locking::local_lock_irqsave;
use crate::prelude::*;

/// The machine's zones, lowest first.
pub(super) static ZONES: [Zone; MAX_NR_ZONES] =
    [Zone::new("DMA"), Zone::new("DMA32"), Zone::new("Normal")];

/// Pages that the allocator owns, free or not.
pub(super) static TOTALRAM_PAGES: AtomicU64 = AtomicU64::new(0);

/// Highest zone with memory for allocations that may come from (DMA, DMA32, Normal) and below:
/// the heads of the zonelists.
static PREFERRED_ZONE: [AtomicUsize; MAX_NR_ZONES] = [
    AtomicUsize::new(ZONE_DMA),
    AtomicUsize::new(ZONE_DMA),
    AtomicUsize::new(ZONE_DMA),
];

/// Blocks of more than `1 << 3` pages may be impossible to get however much is free; nobody is
/// killed for them.
pub(super) const PAGE_ALLOC_COSTLY_ORDER: u32 = 3;

/// Single pages of one zone that this CPU keeps, last freed first. At two batches one goes back
/// to the zone, so that a CPU in balance reaches neither end.
pub(super) struct PerCpuPages {
    head: AtomicU32,
    count: AtomicU32,
    /// Length at which the list gives some back.
    pub(super) high: AtomicU32,
    /// Pages that the list gets or gives at once.
    pub(super) batch: AtomicU32,
    /// Pages allocated and freed here since boot.
    allocated: AtomicU64,
    freed: AtomicU64,
    /// Pages of private memory allocated less those freed here; only the sum over CPUs means
    /// something.
    anon: AtomicU64,
}

/// Per-CPU lists before `setup_per_cpu_pageset` knows the zones' sizes.
const BOOT_PCP_BATCH: u32 = 8;

/// One list per zone, in one cache line or two.
#[repr(align(64))]
pub(super) struct PerCpuPageset([PerCpuPages; MAX_NR_ZONES]);

/// Linux: `zone->per_cpu_pageset`. Only its CPU writes to it, in a local section.
#[per_cpu]
pub(super) static PAGESET: PerCpu<PerCpuPageset> =
    PerCpu::new(PerCpuPageset([const { PerCpuPages::new() }; MAX_NR_ZONES]));

/// A counter that only one context writes: no locked instruction.
#[inline]
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Relaxed,
    );
}

impl PerCpuPages {
    const fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            count: AtomicU32::new(0),
            high: AtomicU32::new(2 * BOOT_PCP_BATCH),
            batch: AtomicU32::new(BOOT_PCP_BATCH),
            allocated: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            anon: AtomicU64::new(0),
        }
    }

    /// Puts a page on the list; returns the new length.
    #[inline]
    fn push(&self, map: MemMap, pfn: u32) -> u32 {
        let head = self.head.load(Ordering::Relaxed);
        map.page(pfn).next.store(head, Ordering::Relaxed);
        self.head.store(pfn, Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed).wrapping_add(1);
        self.count.store(count, Ordering::Relaxed);
        count
    }

    #[inline]
    fn pop(&self, map: MemMap) -> Option<u32> {
        let pfn = self.head.load(Ordering::Relaxed);
        if pfn == 0 {
            return None;
        }
        let next = map.page(pfn).next.load(Ordering::Relaxed);
        self.head.store(next, Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed).wrapping_sub(1);
        self.count.store(count, Ordering::Relaxed);
        Some(pfn)
    }

    /// Gives up to `pages` pages back to the zone.
    fn trim(&self, map: MemMap, zone: &Zone, pages: u32) {
        let head = self.head.load(Ordering::Relaxed);
        let (rest, freed) = zone.free_list(map, head, pages);
        self.head.store(rest, Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed).wrapping_sub(freed);
        self.count.store(count, Ordering::Relaxed);
    }

    /// Pages on the list.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
    /// Pages that this CPU allocated and freed.
    pub(super) fn events(&self) -> (u64, u64) {
        let allocated = self.allocated.load(Ordering::Relaxed);
        (allocated, self.freed.load(Ordering::Relaxed))
    }
}

impl PerCpuPageset {
    /// The lists of one zone.
    #[inline]
    pub(super) fn zone(&self, index: usize) -> &PerCpuPages {
        &self.0[index]
    }
}

impl Gfp {
    /// Index of the highest zone that may serve the allocation (Linux: `gfp_zone`).
    #[inline]
    fn zone_class(self) -> usize {
        if !self.intersects(Gfp::DMA.union(Gfp::DMA32)) {
            ZONE_NORMAL
        } else if self.contains(Gfp::DMA) {
            ZONE_DMA
        } else {
            ZONE_DMA32
        }
    }
    fn reserve(self) -> Reserve {
        if self.contains(Gfp::NOFAIL) {
            Reserve::All
        } else if self.contains(Gfp::HIGH) {
            Reserve::Half
        } else {
            Reserve::None
        }
    }
    /// When waiting is of no use.
    fn last_reserve(self) -> Reserve {
        if oom_kill::makes_memory_free() {
            Reserve::All
        } else if oom_kill::is_dying() {
            self.reserve().max(Reserve::Half)
        } else {
            self.reserve()
        }
    }
}

/// Allocates `1 << order` contiguous frames, or `None` (Linux: `alloc_pages`).
/// Context: any with `Gfp::ATOMIC`; process context with `Gfp::RECLAIM`.
#[inline]
pub fn alloc_pages(gfp: Gfp, order: u32) -> Option<PageRef> {
    let pfn = alloc_frames(gfp, order)?;
    // SAFETY: `alloc_frames` made the block with one handle, this one.
    Some(unsafe { PageRef::from_pfn(pfn) })
}

/// Allocates one page. See `alloc_pages`.
#[inline]
pub fn alloc_page(gfp: Gfp) -> Option<PageRef> {
    alloc_pages(gfp, 0)
}

/// Allocates a block that carries one handle; the caller keeps account of it.
#[inline]
pub(super) fn alloc_frames(gfp: Gfp, order: u32) -> Option<Pfn> {
    let map = MemMap::global();
    let preferred = PREFERRED_ZONE[gfp.zone_class()].load(Ordering::Relaxed);
    let fast = if order == 0 {
        take_hot_page(map, preferred)
    } else {
        None
    };
    let pfn = match fast {
        Some(pfn) => pfn,
        None => alloc_slow(gfp, order)?,
    };
    if gfp.contains(Gfp::ANON) {
        map.page(pfn).prep_new(PageFlags::ANON, order);
        let _local = local_lock_irqsave();
        bump(&PAGESET.raw_this().zone(preferred).anon, 1 << order);
    } else {
        map.page(pfn).prep_new(PageFlags::empty(), order);
    }
    let pfn = Pfn(u64::from(pfn));
    if page_poison::active() {
        page_poison::allocated(pfn, order);
    }
    if gfp.contains(Gfp::ZERO) {
        clear_pages(pfn, order);
    }
    Some(pfn)
}

/// The fast path: a page off this CPU's list.
#[inline]
fn take_hot_page(map: MemMap, zone: usize) -> Option<u32> {
    let _local = local_lock_irqsave();
    let lists = PAGESET.raw_this().zone(zone);
    let pfn = lists.pop(map)?;
    bump(&lists.allocated, 1);
    Some(pfn)
}

/// The CPU's list is empty, or the block is larger than a page.
#[inline(never)]
fn alloc_slow(gfp: Gfp, order: u32) -> Option<u32> {
    if order > MAX_PAGE_ORDER {
        return None;
    }
    let reserve = if oom_kill::can_wait(gfp, order) {
        Reserve::None
    } else {
        gfp.reserve()
    };
    if let Some(pfn) = get_from_zones(gfp, order, reserve) {
        return Some(pfn);
    }
    if mm_init::host_own_ram() {
        return get_from_zones(gfp, order, reserve);
    }
    drain_local_pages();
    super::slub::shrink_all();
    if let Some(pfn) = get_from_zones(gfp, order, reserve) {
        return Some(pfn);
    }
    while oom_kill::wait_for_memory(gfp, order) {
        if let Some(pfn) = get_from_zones(gfp, order, reserve) {
            return Some(pfn);
        }
    }
    // A task that ends gives back more than it needs for that.
    let last = gfp.last_reserve();
    if last > reserve
        && let Some(pfn) = get_from_zones(gfp, order, last)
    {
        return Some(pfn);
    }
    if !gfp.contains(Gfp::NOWARN) && !oom_kill::is_dying() {
        super::show_mem::warn_alloc(gfp, order);
    }
    None
}

/// Whether an allocation that failed would succeed now, and leave some for others.
pub(super) fn memory_is_back(gfp: Gfp, order: u32) -> bool {
    let class = gfp.zone_class();
    ZONES[..=class].iter().any(|zone| {
        let low = zone.wmark_low.load(Ordering::Relaxed);
        zone.is_managed() && zone.watermark_ok((1 << order) + low, class, Reserve::None)
    })
}

/// Tries the zones from the preferred one down (Linux: `get_page_from_freelist`).
fn get_from_zones(gfp: Gfp, order: u32, reserve: Reserve) -> Option<u32> {
    let map = MemMap::global();
    let class = gfp.zone_class();
    let local = local_lock_irqsave();
    for index in (0..=class).rev() {
        let zone = &ZONES[index];
        if !zone.is_managed() {
            continue;
        }
        let lists = PAGESET.raw_this().zone(index);
        let found = if order == 0 {
            refill(map, lists, zone, class, reserve)
        } else {
            zone.alloc_block(map, order, class, reserve)
        };
        if let Some(pfn) = found {
            bump(&lists.allocated, 1 << order);
            return Some(pfn);
        }
    }
    drop(local);
    None
}

/// Fills this CPU's list of a zone with a batch and takes one page.
fn refill(
    map: MemMap,
    lists: &PerCpuPages,
    zone: &Zone,
    class: usize,
    reserve: Reserve,
) -> Option<u32> {
    // A page that stands ready is better than splitting a block.
    if let Some(pfn) = lists.pop(map) {
        return Some(pfn);
    }
    let batch = lists.batch.load(Ordering::Relaxed);
    zone.alloc_bulk(map, batch, class, reserve, |pfn| {
        lists.push(map, pfn);
    });
    lists.pop(map)
}

/// Frees a block whose last handle is gone (Linux: `free_unref_page`). Any context.
#[inline]
pub(super) fn free_unref_page(pfn: Pfn, page: &'static Page) {
    let Some(flags) = page.plain_flags().filter(|_| !page_poison::active()) else {
        return free_slow(pfn, page);
    };
    let map = MemMap::global();
    let index = zone_index(pfn.0);
    let is_full = {
        let _local = local_lock_irqsave();
        let lists = PAGESET.raw_this().zone(index);
        bump(&lists.freed, 1);
        if flags.contains(PageFlags::ANON) {
            bump(&lists.anon, 1_u64.wrapping_neg());
        }
        lists.push(map, pfn.0 as u32) >= lists.high.load(Ordering::Relaxed)
    };
    if is_full {
        trim_list(index);
    }
}

/// This CPU's list of a zone is full.
#[inline(never)]
fn trim_list(index: usize) {
    let _local = local_lock_irqsave();
    let lists = PAGESET.raw_this().zone(index);
    let batch = lists.batch.load(Ordering::Relaxed);
    lists.trim(MemMap::global(), &ZONES[index], batch);
}

/// A block of a higher order, or free pages are to be filled.
#[inline(never)]
fn free_slow(pfn: Pfn, page: &Page) {
    let order = page.check_free();
    let anon = page.flags().contains(PageFlags::ANON);
    if page_poison::active() {
        page_poison::freed(pfn, order);
    }
    let index = zone_index(pfn.0);
    ZONES[index].free_block(MemMap::global(), pfn.0 as u32, order);
    let _local = local_lock_irqsave();
    let lists = PAGESET.raw_this().zone(index);
    bump(&lists.freed, 1 << order);
    if anon {
        bump(&lists.anon, (1_u64 << order).wrapping_neg());
    }
}

/// Pages of private memory (Linux: `NR_ANON_MAPPED`).
pub fn nr_anon_pages() -> u64 {
    let lists = super::vmstat::possible_cpus()
        .flat_map(|cpu| (0..MAX_NR_ZONES).map(move |zone| PAGESET.on(cpu).zone(zone)));
    let sum = lists.fold(0_u64, |sum, list| {
        sum.wrapping_add(list.anon.load(Ordering::Relaxed))
    });
    sum.cast_signed().max(0).cast_unsigned()
}

/// Frees a block that `alloc_frames` gave out.
///
/// # Safety
/// Nothing refers to the block any more.
pub(super) unsafe fn put_frames(pfn: Pfn) {
    // SAFETY: the caller owns the block's one handle.
    drop(unsafe { PageRef::from_pfn(pfn) });
}

/// Allocates `count` contiguous frames without rounding up to a power of two: what a block has
/// too many goes back at once (Linux: `alloc_pages_exact`). The first page keeps the number.
pub(super) fn alloc_frames_exact(gfp: Gfp, count: u64) -> Option<Pfn> {
    let order = get_order_pages(count);
    let pfn = alloc_frames(gfp, order)?;
    let page = MemMap::global().page(pfn.0 as u32);
    page.prep_new(PageFlags::empty(), 0);
    page.set_private(count);
    free_range(Pfn(pfn.0 + count), Pfn(pfn.0 + (1 << order)));
    Some(pfn)
}

/// Frees frames that `alloc_frames_exact` gave out.
///
/// # Safety
/// Nothing refers to the frames any more, and `count` is what was allocated.
pub(super) unsafe fn free_frames_exact(pfn: Pfn, count: u64) {
    let page = MemMap::global().page(pfn.0 as u32);
    assert!(page.put_testzero(), "BUG: contiguous frames with handles");
    page.check_free();
    free_range(pfn, Pfn(pfn.0 + count));
}

/// Gives the frames `[start, end)` to the buddy lists in blocks as large as possible.
pub(super) fn free_range(start: Pfn, end: Pfn) {
    let map = MemMap::global();
    let mut pfn = start.0;
    while pfn < end.0 {
        let fits = (end.0 - pfn).ilog2();
        let order = pfn.trailing_zeros().min(fits).min(MAX_PAGE_ORDER);
        if page_poison::active() {
            page_poison::freed(Pfn(pfn), order);
        }
        ZONES[zone_index(pfn)].free_block(map, pfn as u32, order);
        pfn += 1 << order;
    }
}

/// Smallest order of which a block has at least `count` frames.
pub(super) const fn get_order_pages(count: u64) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

/// Smallest order of which a block has at least `size` bytes (Linux: `get_order`).
pub const fn get_order(size: usize) -> u32 {
    get_order_pages(size.div_ceil(arch::PAGE_SIZE) as u64)
}

/// Makes a block of `1 << order` frames that many single pages (Linux: `split_page`). Panics
/// when there is a second handle to the block (kernel bug).
pub fn split_page(block: PageRef) -> impl Iterator<Item = PageRef> {
    assert!(block.is_unique(), "BUG: splitting a shared block");
    let frames = 1u64 << block.order();
    let first = block.into_pfn();
    let map = MemMap::global();
    for pfn in first.0..first.0 + frames {
        map.page(pfn as u32).prep_new(PageFlags::empty(), 0);
    }
    // SAFETY: each frame was just made a page with one handle, taken here once.
    (first.0..first.0 + frames).map(|pfn| unsafe { PageRef::from_pfn(Pfn(pfn)) })
}

/// Zeroes a block.
pub(super) fn clear_pages(pfn: Pfn, order: u32) {
    let base = arch::phys_to_virt(pfn.phys()).as_usize() as *mut u8;
    for index in 0..1usize << order {
        // SAFETY: the block is allocated RAM of `1 << order` pages, mapped by the direct map.
        unsafe { arch::clear_page(base.wrapping_add(index << PAGE_SHIFT)) };
    }
}

/// Gives the single pages that this CPU keeps back to the zones, where they can join larger
/// blocks (Linux: `drain_local_pages`).
pub fn drain_local_pages() {
    let map = MemMap::global();
    let _local = local_lock_irqsave();
    for (index, zone) in ZONES.iter().enumerate() {
        let lists = PAGESET.raw_this().zone(index);
        lists.trim(map, zone, u32::MAX);
    }
}

/// Free memory in pages (Linux: `nr_free_pages`).
pub fn nr_free_pages() -> u64 {
    let free = |zone: &Zone| zone.nr_free.load(Ordering::Relaxed);
    ZONES.iter().map(free).sum()
}

/// Memory that the buddy allocator manages, in pages (Linux: `totalram_pages`).
pub fn totalram_pages() -> u64 {
    TOTALRAM_PAGES.load(Ordering::Relaxed)
}

/// Works out where each kind of allocation starts looking (Linux: `build_zonelists`).
pub(super) fn build_zonelists(has_memory: impl Fn(usize) -> bool) {
    for (class, preferred) in PREFERRED_ZONE.iter().enumerate() {
        let zone = (0..=class).rev().find(|&zone| has_memory(zone));
        preferred.store(zone.unwrap_or(ZONE_DMA), Ordering::Relaxed);
    }
}

/// The zero page, never freed; 0 before `mem_init`.
static ZERO_PFN: AtomicU64 = AtomicU64::new(0);

/// Handles that the zero page starts with, so that it never reaches none.
const ZERO_PAGE_HANDLES: u32 = 1 << 30;

/// The frame of the page of zeroes that reads of untouched memory share (Linux: `ZERO_PAGE`).
pub fn zero_pfn() -> Pfn {
    let pfn = ZERO_PFN.load(Ordering::Relaxed);
    if pfn != 0 {
        return Pfn(pfn);
    }
    init_zero_page();
    Pfn(ZERO_PFN.load(Ordering::Relaxed))
}

/// A handle to the page of zeroes. Whoever writes to it breaks every process: map it read-only.
pub fn zero_page() -> PageRef {
    // SAFETY: the page is never freed, it has handles of its own.
    unsafe { PageRef::get(zero_pfn()) }
}

/// Allocates the zero page (Linux: `empty_zero_page`).
#[cold]
pub(super) fn init_zero_page() {
    let page =
        alloc_pages(Gfp::KERNEL | Gfp::ZERO | Gfp::NOFAIL, 0).expect("memory for the zero page");
    page.page()
        .refcount
        .store(ZERO_PAGE_HANDLES, Ordering::Relaxed);
    let pfn = page.into_pfn().0;
    // Two tests may come here at once; one page stays unused then.
    let _ = ZERO_PFN.compare_exchange(0, pfn, Ordering::Release, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> PageRef {
        alloc_page(Gfp::KERNEL).expect("memory")
    }

    #[test]
    fn a_page_keeps_what_was_written() {
        let page = page();
        page.fill(0, 4096, 7);
        page.write(4090, b"kernel");
        let mut text = [0; 8];
        page.read(4088, &mut text);
        assert_eq!(&text, b"\x07\x07kernel");
    }

    #[test]
    #[should_panic(expected = "outside a block")]
    fn a_write_past_the_end_is_refused() {
        page().write(4095, b"ab");
    }

    #[test]
    fn handles_are_counted_and_the_last_one_frees() {
        let page = page();
        assert!(page.is_unique());
        let second = page.clone();
        assert_eq!(page.count(), 2);
        drop(page);
        assert!(second.is_unique());
        let pfn = second.into_pfn();
        // SAFETY: takes back the reference given away just now.
        let back = unsafe { PageRef::from_pfn(pfn) };
        assert_eq!(back.count(), 1);
    }

    #[test]
    fn a_page_that_was_asked_for_zeroed_is_zero_whatever_it_was_before() {
        for _ in 0..100 {
            let page = page();
            page.fill(0, 4096, 0xff);
            drop(page);
            let page = alloc_page(Gfp::KERNEL | Gfp::ZERO).expect("memory");
            let mut bytes = [1; 4096];
            page.read(0, &mut bytes);
            assert!(bytes.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_large_block_is_aligned_and_copied_whole() {
        let block = alloc_pages(Gfp::KERNEL | Gfp::ZERO, 3).expect("memory");
        assert_eq!(block.pfn().0 % 8, 0);
        assert_eq!((block.order(), block.size()), (3, 32768));
        let copy = alloc_pages(Gfp::KERNEL, 3).expect("memory");
        block.write(32760, b"the end.");
        copy.copy_from(&block);
        let mut text = [0; 8];
        copy.read(32760, &mut text);
        assert_eq!(&text, b"the end.");
    }

    #[test]
    fn dma_memory_lies_low() {
        let page = alloc_page(Gfp::KERNEL | Gfp::DMA).expect("memory");
        assert!(page.phys().as_u64() < 16 << 20);
        let page = alloc_page(Gfp::KERNEL | Gfp::DMA32).expect("memory");
        assert!(page.phys().as_u64() < 4 << 30);
    }

    #[test]
    fn more_than_the_largest_order_is_refused() {
        assert!(alloc_pages(Gfp::KERNEL | Gfp::NOWARN, MAX_PAGE_ORDER + 1).is_none());
        assert!(alloc_pages(Gfp::KERNEL | Gfp::NOWARN, u32::MAX).is_none());
    }

    #[test]
    fn a_split_block_is_freed_page_by_page() {
        let block = alloc_pages(Gfp::KERNEL, 2).expect("memory");
        let first = block.pfn().0;
        let pages: Vec<PageRef> = split_page(block).collect();
        let frames: Vec<u64> = pages.iter().map(|page| page.pfn().0).collect();
        assert_eq!(frames, (first..first + 4).collect::<Vec<u64>>());
        assert!(
            pages
                .iter()
                .all(|page| page.order() == 0 && page.is_unique())
        );
    }

    #[test]
    fn an_exact_allocation_gives_its_surplus_back() {
        let pfn = alloc_frames_exact(Gfp::KERNEL, 5).expect("memory");
        assert_eq!(pfn.0 % 8, 0);
        let map = MemMap::global();
        assert_eq!(map.page(pfn.0 as u32).private(), 5);
        // SAFETY: nobody else knows the frames.
        unsafe { free_frames_exact(pfn, 5) };
    }

    #[test]
    #[should_panic(expected = "Bad page state")]
    fn freeing_twice_is_noticed() {
        let frame = page().into_pfn();
        // Held, so that the frame does not get a new owner between the two frees.
        let _local = local_lock_irqsave();
        // SAFETY: the second one is the bug that must be caught.
        drop(unsafe { PageRef::from_pfn(frame) });
        // SAFETY: as above.
        drop(unsafe { PageRef::from_pfn(frame) });
    }

    #[test]
    fn the_zero_page_outlives_its_handles() {
        let before = zero_page();
        let frame = before.pfn();
        drop(before);
        assert_eq!(zero_page().pfn(), frame);
        assert_eq!(zero_pfn(), frame);
        let mut bytes = [1; 64];
        zero_page().read(100, &mut bytes);
        assert_eq!(bytes, [0; 64]);
    }

    #[test]
    fn orders_cover_sizes() {
        let orders = [1, 4096, 4097, 8192, 4 << 20].map(get_order);
        assert_eq!(orders, [0, 0, 1, 1, 10]);
    }

    #[test]
    fn threads_that_allocate_and_free_never_share_a_page() {
        let worker = |tag: u8| {
            let mut held = Vec::new();
            for round in 0..2000usize {
                let page = page();
                page.fill(0, 16, tag);
                held.push(page);
                if round % 3 == 0 {
                    let old = held.swap_remove(round % held.len());
                    let mut bytes = [0; 16];
                    old.read(0, &mut bytes);
                    assert_eq!(bytes, [tag; 16]);
                }
            }
        };
        std::thread::scope(|scope| {
            for tag in 1..4 {
                scope.spawn(move || worker(tag));
            }
        });
    }

    #[test]
    fn drained_pages_are_free_pages_of_their_zone() {
        let local = local_lock_irqsave();
        drop(page());
        let lists = PAGESET.raw_this().zone(ZONE_DMA32);
        assert!(lists.count() > 0);
        drain_local_pages();
        assert_eq!(lists.count(), 0);
        drop(local);
    }
}
