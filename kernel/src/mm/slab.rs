//! Slabs: blocks of pages cut into objects (Linux: mm/slab.h, `struct slab`).
//!
//! Everything here belongs to one cache; slabs are used under its node lock, a CPU's list of free
//! objects in a local section of that CPU.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::page::{MemMap, Page, PageFlags};
use super::{Pfn, VirtAddr};
use crate::arch::{self, PAGE_SIZE};

/// Largest order of a slab (Linux: `slub_max_order`).
pub(super) const SLUB_MAX_ORDER: u32 = 3;

/// How a cache's objects are laid out.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub(super) size: u32,
    pub(super) order: u32,
    pub(super) min_order: u32,
    pub(super) batch: u32,
}

/// Most room at the end of a slab, as a fraction of it (Linux: `calculate_order`).
const WASTE_FRACTIONS: [u64; 3] = [16, 8, 4];

impl Geometry {
    pub(super) fn new(size: u32) -> Self {
        let slab = |order: u32| (PAGE_SIZE as u64) << order;
        let objects = |order: u32| slab(order) / u64::from(size);
        let wanted = match size {
            0..=512 => 8,
            513..=2048 => 4,
            _ => 2,
        };
        let fits = |order: u32, fraction: u64| {
            let waste = slab(order) - objects(order) * u64::from(size);
            objects(order) >= wanted && waste * fraction <= slab(order)
        };
        let min_order = (0..).find(|&order| objects(order) != 0).unwrap_or(0);
        let order = WASTE_FRACTIONS.iter().find_map(|&fraction| {
            (min_order..=SLUB_MAX_ORDER).find(|&order| fits(order, fraction))
        });
        let batch = match size {
            0..=128 => 32,
            129..=512 => 16,
            513..=1024 => 8,
            1025..=2048 => 4,
            _ => 2,
        };
        Self {
            size,
            order: order.unwrap_or(min_order),
            min_order,
            batch,
        }
    }
}

/// First word of a free object: the next free one.
#[inline]
pub(super) fn next_of(object: *mut u8) -> *mut u8 {
    // SAFETY: a free object is at least a word, aligned to one, and ours.
    unsafe { object.cast::<*mut u8>().read() }
}
/// Links a free object.
#[inline]
pub(super) fn set_next(object: *mut u8, next: *mut u8) {
    // SAFETY: as in `next_of`.
    unsafe { object.cast::<*mut u8>().write(next) };
}

/// The free objects that one CPU keeps of one cache. Only that CPU writes, in a local section.
#[repr(C, align(64))]
pub(super) struct CpuCache {
    pub(super) head: AtomicPtr<u8>,
    pub(super) count: AtomicU32,
}

impl CpuCache {
    pub(super) const fn new() -> Self {
        Self {
            head: AtomicPtr::new(null_mut()),
            count: AtomicU32::new(0),
        }
    }
    #[inline]
    pub(super) fn push(&self, object: *mut u8) {
        set_next(object, self.head.load(Ordering::Relaxed));
        self.head.store(object, Ordering::Relaxed);
        let count = self.count().wrapping_add(1);
        self.count.store(count, Ordering::Relaxed);
    }
    #[inline]
    pub(super) fn pop(&self) -> *mut u8 {
        let object = self.head.load(Ordering::Relaxed);
        if !object.is_null() {
            self.head.store(next_of(object), Ordering::Relaxed);
            let count = self.count().wrapping_sub(1);
            self.count.store(count, Ordering::Relaxed);
        }
        object
    }
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

/// The slabs of a cache.
pub(super) struct Node {
    /// Slabs with free objects: frame of the first one, 0 for none.
    pub(super) partial: u32,
    /// Length of that list.
    pub(super) nr_partial: u32,
    /// All slabs.
    pub(super) nr_slabs: u64,
    /// Objects in all slabs.
    pub(super) total: u64,
    /// Objects outside the slabs: in use, or on a CPU's list.
    pub(super) inuse: u64,
}

/// `refcount` of a slab's first page: objects outside in the low half, objects that were ever
/// linked or given out in the high half (the rest is untouched memory).
const MADE_SHIFT: u32 = 16;

/// A slab, named by its first page. All methods need the cache's node lock.
#[derive(Clone, Copy)]
pub(super) struct Slab {
    pub(super) pfn: u32,
    pub(super) page: &'static Page,
}

impl Slab {
    pub(super) fn at(pfn: u32) -> Self {
        let page = MemMap::global().page(pfn);
        Self { pfn, page }
    }
    /// The slab of an object of some cache.
    pub(super) fn of(object: *mut u8) -> Self {
        let (pfn, page) = page_of(object);
        if page.flags().contains(PageFlags::TAIL) {
            return Self::at(page.next.load(Ordering::Relaxed));
        }
        Self { pfn, page }
    }
    pub(super) fn base(self) -> *mut u8 {
        arch::phys_to_virt(Pfn(u64::from(self.pfn)).phys()).as_usize() as *mut u8
    }
    pub(super) fn inuse(self) -> u32 {
        self.page.refcount.load(Ordering::Relaxed) & ((1 << MADE_SHIFT) - 1)
    }
    /// Takes a free object; the slab has one. `init` sees objects that were never used.
    pub(super) fn take(self, stride: u32, init: impl FnOnce(*mut u8)) -> *mut u8 {
        let counts = self.page.refcount.load(Ordering::Relaxed);
        let free = self.page.private() as usize as *mut u8;
        if !free.is_null() {
            self.page.set_private(next_of(free) as usize as u64);
            self.page.refcount.store(counts + 1, Ordering::Relaxed);
            return free;
        }
        let made = counts >> MADE_SHIFT;
        let counts = counts + 1 + (1 << MADE_SHIFT);
        self.page.refcount.store(counts, Ordering::Relaxed);
        let object = self.base().wrapping_add((made * stride) as usize);
        init(object);
        object
    }
    /// Puts an object back.
    pub(super) fn put(self, object: *mut u8) {
        set_next(object, self.page.private() as usize as *mut u8);
        self.page.set_private(object as usize as u64);
        self.page.refcount.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The page behind a direct-map address.
#[inline]
pub(super) fn page_of(object: *mut u8) -> (u32, &'static Page) {
    let pfn = arch::virt_to_phys(VirtAddr::new(object as usize as u64)).pfn();
    (pfn.0 as u32, MemMap::global().page(pfn.0 as u32))
}

impl Node {
    pub(super) const fn new() -> Self {
        Self {
            partial: 0,
            nr_partial: 0,
            nr_slabs: 0,
            total: 0,
            inuse: 0,
        }
    }
    pub(super) fn add_partial(&mut self, slab: Slab) {
        slab.page.next.store(self.partial, Ordering::Relaxed);
        slab.page.prev.store(0, Ordering::Relaxed);
        if self.partial != 0 {
            let first = MemMap::global().page(self.partial);
            first.prev.store(slab.pfn, Ordering::Relaxed);
        }
        self.partial = slab.pfn;
        self.nr_partial += 1;
    }
    pub(super) fn remove_partial(&mut self, slab: Slab) {
        let map = MemMap::global();
        let next = slab.page.next.load(Ordering::Relaxed);
        let prev = slab.page.prev.load(Ordering::Relaxed);
        if next != 0 {
            map.page(next).prev.store(prev, Ordering::Relaxed);
        }
        if prev == 0 {
            self.partial = next;
        } else {
            map.page(prev).next.store(next, Ordering::Relaxed);
        }
        self.nr_partial -= 1;
    }
}
