//! Zones and their free blocks (Linux: include/linux/mmzone.h, mm/page_alloc.c).
//!
//! A zone is a range of frames that some device or port can still address. Its free memory is
//! kept as blocks of `2^order` frames, aligned to their size; two free halves ("buddies") of a
//! block become that block again at once. Zone borders are multiples of the largest block, so a
//! block never spans two zones.

use core::sync::atomic::{AtomicU64, Ordering};

use super::page::{MemMap, PageFlags};
use crate::prelude::*;

/// Number of block sizes: orders 0 (4 KiB) to 10 (4 MiB). Linux: `NR_PAGE_ORDERS`.
pub const NR_PAGE_ORDERS: usize = 11;
/// The largest order.
pub const MAX_PAGE_ORDER: u32 = NR_PAGE_ORDERS as u32 - 1;

/// Number of zones.
pub const MAX_NR_ZONES: usize = 3;
/// Below 16 MiB: ISA DMA.
pub const ZONE_DMA: usize = 0;
/// Below 4 GiB: devices with 32 address lines.
pub const ZONE_DMA32: usize = 1;
/// The rest.
pub const ZONE_NORMAL: usize = 2;

/// First frame above `ZONE_DMA` (16 MiB).
pub const MAX_DMA_PFN: u64 = 0x1000;
/// First frame above `ZONE_DMA32` (4 GiB).
pub const MAX_DMA32_PFN: u64 = 0x10_0000;

/// Which zone a frame belongs to.
#[inline]
pub const fn zone_index(pfn: u64) -> usize {
    (pfn >= MAX_DMA_PFN) as usize + (pfn >= MAX_DMA32_PFN) as usize
}

/// The free blocks of one order.
#[derive(Clone, Copy)]
struct FreeArea {
    /// First block, 0 for none.
    head: u32,
    /// Number of blocks.
    nr_free: u32,
}

/// All free blocks of a zone, linked through the page array.
pub(super) struct FreeAreas {
    area: [FreeArea; NR_PAGE_ORDERS],
}

impl FreeAreas {
    pub(super) const fn new() -> Self {
        let empty = FreeArea {
            head: 0,
            nr_free: 0,
        };
        Self {
            area: [empty; NR_PAGE_ORDERS],
        }
    }

    /// Number of free blocks of each order.
    pub(super) fn counts(&self) -> [u32; NR_PAGE_ORDERS] {
        self.area.map(|area| area.nr_free)
    }

    /// Whether a block of `order` can be had.
    #[cfg(test)]
    pub(super) fn has(&self, order: u32) -> bool {
        let from = order as usize;
        from < NR_PAGE_ORDERS && self.area[from..].iter().any(|area| area.nr_free != 0)
    }

    fn push(&mut self, map: MemMap, pfn: u32, order: u32) {
        let area = &mut self.area[order as usize];
        let page = map.page(pfn);
        page.set_state(PageFlags::BUDDY, order);
        page.next.store(area.head, Ordering::Relaxed);
        page.prev.store(0, Ordering::Relaxed);
        if area.head != 0 {
            map.page(area.head).prev.store(pfn, Ordering::Relaxed);
        }
        area.head = pfn;
        area.nr_free += 1;
    }

    fn remove(&mut self, map: MemMap, pfn: u32, order: u32) {
        let area = &mut self.area[order as usize];
        let page = map.page(pfn);
        let next = page.next.load(Ordering::Relaxed);
        let prev = page.prev.load(Ordering::Relaxed);
        if next != 0 {
            map.page(next).prev.store(prev, Ordering::Relaxed);
        }
        if prev == 0 {
            area.head = next;
        } else {
            map.page(prev).next.store(next, Ordering::Relaxed);
        }
        area.nr_free -= 1;
        page.set_state(PageFlags::empty(), 0);
    }

    /// Takes a block, splitting a larger one when there is none of that size
    /// (Linux: `__rmqueue_smallest`, `expand`). The upper halves go back.
    pub(super) fn alloc(&mut self, map: MemMap, order: u32) -> Option<u32> {
        let mut found = (order..=MAX_PAGE_ORDER).find(|&o| self.area[o as usize].head != 0)?;
        let pfn = self.area[found as usize].head;
        self.remove(map, pfn, found);
        while found > order {
            found -= 1;
            self.push(map, pfn + (1 << found), found);
        }
        Some(pfn)
    }

    /// Gives a block back and joins it with its buddy as long as that one is free
    /// (Linux: `__free_one_page`).
    pub(super) fn free(&mut self, map: MemMap, mut pfn: u32, mut order: u32) {
        debug_assert!(
            pfn != 0 && pfn.trailing_zeros() >= order,
            "misaligned block"
        );
        if map.page(pfn).flags().contains(PageFlags::BUDDY) {
            panic!("BUG: Bad page state: frame {pfn:#x} is free already");
        }
        while order < MAX_PAGE_ORDER {
            let buddy = pfn ^ (1 << order);
            if !map.page(buddy).is_buddy(order) {
                break;
            }
            self.remove(map, buddy, order);
            map.page(pfn).set_state(PageFlags::empty(), 0);
            pfn &= buddy;
            order += 1;
        }
        self.push(map, pfn, order);
    }
}

/// How deep an allocation may dip into the reserve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Reserve {
    /// Not below the `min` watermark: the caller copes with failure.
    None,
    /// Down to half of it: atomic context.
    Half,
    /// Everything: failure would be fatal.
    All,
}

/// A range of frames with its free memory. Lock order: a zone's lock is a leaf.
pub(super) struct Zone {
    pub(super) name: &'static str,
    /// First frame.
    pub(super) start_pfn: AtomicU64,
    /// Frames up to the last one, holes included.
    pub(super) spanned: AtomicU64,
    /// Frames that are RAM.
    pub(super) present: AtomicU64,
    /// Frames that the allocator owns.
    pub(super) managed: AtomicU64,
    /// Watermarks in pages.
    pub(super) wmark_min: AtomicU64,
    pub(super) wmark_low: AtomicU64,
    pub(super) wmark_high: AtomicU64,
    /// Pages kept from allocations that could also be satisfied by a higher zone, by the zone
    /// that the allocation prefers (Linux: `lowmem_reserve`).
    pub(super) lowmem_reserve: [AtomicU64; MAX_NR_ZONES],
    /// Free pages in `areas`; changed under the lock, read anywhere.
    pub(super) nr_free: AtomicU64,
    pub(super) areas: IrqSpinLock<FreeAreas>,
}

impl Zone {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            start_pfn: AtomicU64::new(0),
            spanned: AtomicU64::new(0),
            present: AtomicU64::new(0),
            managed: AtomicU64::new(0),
            wmark_min: AtomicU64::new(0),
            wmark_low: AtomicU64::new(0),
            wmark_high: AtomicU64::new(0),
            lowmem_reserve: [const { AtomicU64::new(0) }; MAX_NR_ZONES],
            nr_free: AtomicU64::new(0),
            areas: IrqSpinLock::new(FreeAreas::new()),
        }
    }

    /// Whether the allocator owns memory here (Linux: `managed_zone`).
    pub(super) fn is_managed(&self) -> bool {
        self.managed.load(Ordering::Relaxed) != 0
    }

    /// Changes `nr_free`; the lock is held.
    fn account(&self, added: u64, taken: u64) {
        let free = self.nr_free.load(Ordering::Relaxed) + added - taken;
        self.nr_free.store(free, Ordering::Relaxed);
    }

    /// Whether `pages` may be taken by an allocation that prefers zone `class`
    /// (Linux: `zone_watermark_ok`).
    pub(super) fn watermark_ok(&self, pages: u64, class: usize, reserve: Reserve) -> bool {
        let min = self.wmark_min.load(Ordering::Relaxed);
        let keep = match reserve {
            Reserve::None => min + self.lowmem_reserve[class].load(Ordering::Relaxed),
            Reserve::Half => min / 2,
            Reserve::All => 0,
        };
        self.nr_free.load(Ordering::Relaxed) >= pages + keep
    }

    /// Takes a block of `order` (Linux: `rmqueue_buddy`).
    pub(super) fn alloc_block(
        &self,
        map: MemMap,
        order: u32,
        class: usize,
        reserve: Reserve,
    ) -> Option<u32> {
        if !self.watermark_ok(1 << order, class, reserve) {
            return None;
        }
        let mut areas = self.areas.lock();
        let pfn = areas.alloc(map, order)?;
        self.account(0, 1 << order);
        Some(pfn)
    }

    /// Takes up to `wanted` single pages and hands each to `take`; returns how many
    /// (Linux: `rmqueue_bulk`).
    pub(super) fn alloc_bulk(
        &self,
        map: MemMap,
        wanted: u32,
        class: usize,
        reserve: Reserve,
        mut take: impl FnMut(u32),
    ) -> u64 {
        let mut areas = self.areas.lock();
        let mut taken = 0;
        while taken < u64::from(wanted) && self.watermark_ok(taken + 1, class, reserve) {
            let Some(pfn) = areas.alloc(map, 0) else {
                break;
            };
            take(pfn);
            taken += 1;
        }
        self.account(0, taken);
        taken
    }

    /// Gives a block back.
    pub(super) fn free_block(&self, map: MemMap, pfn: u32, order: u32) {
        let mut areas = self.areas.lock();
        areas.free(map, pfn, order);
        self.account(1 << order, 0);
    }

    /// Gives back up to `limit` single pages of a list linked by `next`; returns the rest of the
    /// list and how many went (Linux: `free_pcppages_bulk`).
    pub(super) fn free_list(&self, map: MemMap, mut pfn: u32, limit: u32) -> (u32, u32) {
        let mut areas = self.areas.lock();
        let mut freed = 0;
        while pfn != 0 && freed < limit {
            let next = map.page(pfn).next.load(Ordering::Relaxed);
            areas.free(map, pfn, 0);
            freed += 1;
            pfn = next;
        }
        self.account(u64::from(freed), 0);
        (pfn, freed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::page::Page;

    const FRAMES: u32 = 4096;

    fn own_map() -> MemMap {
        let pages: Vec<Page> = (0..FRAMES).map(|_| Page::reserved()).collect();
        MemMap::of(pages.leak())
    }

    /// Frames 1024..4096 are free, in three blocks of the largest order.
    fn filled() -> (MemMap, FreeAreas) {
        let map = own_map();
        let mut areas = FreeAreas::new();
        for pfn in (1024..FRAMES).step_by(1024) {
            areas.free(map, pfn, MAX_PAGE_ORDER);
        }
        (map, areas)
    }

    #[test]
    fn a_freed_buddy_pair_becomes_one_block_of_the_next_order() {
        let map = own_map();
        let mut areas = FreeAreas::new();
        areas.free(map, 8, 2);
        assert_eq!(areas.counts()[2], 1);
        areas.free(map, 12, 2);
        assert_eq!(areas.counts()[2], 0);
        assert_eq!(areas.counts()[3], 1);
        assert_eq!(areas.alloc(map, 3), Some(8));
    }

    #[test]
    fn neighbours_that_are_not_buddies_stay_apart() {
        let map = own_map();
        let mut areas = FreeAreas::new();
        areas.free(map, 9, 0);
        areas.free(map, 10, 0);
        assert_eq!(areas.counts()[0], 2);
    }

    #[test]
    fn a_split_block_coalesces_back_to_the_counts_it_had() {
        let (map, mut areas) = filled();
        let before = areas.counts();
        let pages: Vec<u32> = core::iter::from_fn(|| areas.alloc(map, 0)).collect();
        assert_eq!(pages.len(), 3072);
        assert!(!areas.has(0));
        assert_eq!(areas.alloc(map, 0), None);
        for parity in [0, 1] {
            for pfn in pages.iter().copied().filter(|pfn| pfn % 2 == parity) {
                areas.free(map, pfn, 0);
            }
        }
        assert_eq!(areas.counts(), before);
    }

    #[test]
    fn blocks_are_aligned_to_their_size() {
        let (map, mut areas) = filled();
        for order in 0..=MAX_PAGE_ORDER {
            let pfn = areas.alloc(map, order).expect("enough memory");
            assert!(pfn.trailing_zeros() >= order);
            areas.free(map, pfn, order);
        }
    }

    #[test]
    #[should_panic(expected = "is free already")]
    fn freeing_a_free_block_is_noticed() {
        let (map, mut areas) = filled();
        let pfn = areas.alloc(map, 0).expect("enough memory");
        areas.free(map, pfn, 0);
        // Joined with its buddies, the block's head is free once more.
        areas.free(map, 1024, 0);
    }

    /// Minimal xorshift: the storm must be the same each time.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn a_storm_of_allocations_agrees_with_a_model() {
        let (map, mut areas) = filled();
        let before = areas.counts();
        let mut owner = vec![false; FRAMES as usize];
        let mut held: Vec<(u32, u32)> = Vec::new();
        let mut seed = 0x1234_5678_9abc_def0;
        for _ in 0..200_000 {
            let dice = random(&mut seed);
            if dice.is_multiple_of(2) {
                let order = (dice >> 8) as u32 % 6;
                let Some(pfn) = areas.alloc(map, order) else {
                    assert!(!areas.has(order));
                    continue;
                };
                for frame in pfn..pfn + (1 << order) {
                    assert!(!owner[frame as usize], "frame {frame} given out twice");
                    owner[frame as usize] = true;
                }
                held.push((pfn, order));
            } else if !held.is_empty() {
                let index = (dice >> 8) as usize % held.len();
                let (pfn, order) = held.swap_remove(index);
                owner[pfn as usize..(pfn + (1 << order)) as usize].fill(false);
                areas.free(map, pfn, order);
            }
        }
        let used = owner.iter().filter(|&&used| used).count() as u32;
        let free: u32 = (0..)
            .zip(areas.counts())
            .map(|(o, n): (u32, u32)| n << o)
            .sum();
        assert_eq!(used + free, 3072);
        for (pfn, order) in held {
            areas.free(map, pfn, order);
        }
        assert_eq!(areas.counts(), before);
    }

    #[test]
    fn only_pressing_allocations_dip_below_the_watermark() {
        let map = own_map();
        let zone = Zone::new("test");
        zone.free_block(map, 1024, 10);
        zone.wmark_min.store(1000, Ordering::Relaxed);
        zone.lowmem_reserve[ZONE_NORMAL].store(20, Ordering::Relaxed);
        let count = |class, reserve| zone.alloc_bulk(map, 4096, class, reserve, |_| ());
        assert_eq!(count(ZONE_NORMAL, Reserve::None), 4);
        assert_eq!(count(ZONE_DMA, Reserve::None), 20);
        assert_eq!(count(ZONE_NORMAL, Reserve::Half), 500);
        assert_eq!(count(ZONE_NORMAL, Reserve::All), 500);
        assert_eq!(zone.nr_free.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn zones_end_at_16_mib_and_4_gib() {
        assert_eq!(zone_index(MAX_DMA_PFN - 1), ZONE_DMA);
        assert_eq!(zone_index(MAX_DMA_PFN), ZONE_DMA32);
        assert_eq!(zone_index(MAX_DMA32_PFN - 1), ZONE_DMA32);
        assert_eq!(zone_index(MAX_DMA32_PFN), ZONE_NORMAL);
    }
}
