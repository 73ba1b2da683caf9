//! kmalloc, caches of typed objects, /proc/slabinfo (Linux: mm/slab_common.c).

use core::alloc::Layout;
use core::fmt::Write;
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::gfp::Gfp;
use super::page::{MemMap, PageFlags};
use super::page_alloc::{alloc_frames_exact, free_frames_exact, free_range, get_order};
use super::slub::{KmemCache, SlabKind, cache_of, kmem_cache_create, page_of, slab_caches};
use super::{Pfn, heap};
use crate::arch::{self, PAGE_SIZE};
use crate::fs::proc::proc_create_single;
use crate::prelude::*;

/// Largest size that comes from a cache (Linux: KMALLOC_MAX_CACHE_SIZE).
pub const KMALLOC_MAX_CACHE_SIZE: usize = 8192;

/// The caches by index: name and object size, in Linux's order of creation.
const KMALLOC_INFO: [(&str, usize); 13] = [
    ("kmalloc-96", 96),
    ("kmalloc-192", 192),
    ("kmalloc-8", 8),
    ("kmalloc-16", 16),
    ("kmalloc-32", 32),
    ("kmalloc-64", 64),
    ("kmalloc-128", 128),
    ("kmalloc-256", 256),
    ("kmalloc-512", 512),
    ("kmalloc-1k", 1024),
    ("kmalloc-2k", 2048),
    ("kmalloc-4k", 4096),
    ("kmalloc-8k", 8192),
];

/// Index of `kmalloc-8`; index `n` above it holds `8 << (n - KMALLOC_8)` bytes.
const KMALLOC_8: usize = 2;

/// Null until `create_kmalloc_caches`.
#[__ro_after_init]
static KMALLOC_CACHES: [AtomicPtr<KmemCache>; KMALLOC_INFO.len()] =
    [const { AtomicPtr::new(null_mut()) }; KMALLOC_INFO.len()];

/// Sizes up to this one are looked up in a table, by eights.
const TABLE_MAX: usize = 192;

/// Cache for (size - 1) / 8 (Linux: `kmalloc_size_index`).
static KMALLOC_SIZE_INDEX: [u8; TABLE_MAX / 8] = {
    let mut table = [0; TABLE_MAX / 8];
    let mut slot = 0;
    while slot < table.len() {
        table[slot] = match (slot + 1) * 8 {
            65..=96 => 0,
            129..=192 => 1,
            size => power_index(size),
        } as u8;
        slot += 1;
    }
    table
};

/// Index of the power-of-two cache for `size`, 1 to 8192.
const fn power_index(size: usize) -> usize {
    let log2 = usize::BITS - (size - 1).leading_zeros();
    KMALLOC_8 + log2.saturating_sub(3) as usize
}

/// Index of the cache for objects of this layout; the size is 1 to 8192.
#[inline]
fn kmalloc_index(layout: Layout) -> usize {
    let size = layout.size();
    if layout.align() > 16 {
        return aligned_index(size, layout.align());
    }
    if size <= TABLE_MAX {
        let align_up = if size < layout.align() {
            layout.align()
        } else {
            size
        };
        return KMALLOC_SIZE_INDEX[(align_up - 1) / 8] as usize;
    }
    power_index(size)
}

/// Objects of a power-of-two size are aligned to it.
fn aligned_index(size: usize, align: usize) -> usize {
    power_index(size.max(align))
}

/// The cache that serves a layout; `None` before `kmem_cache_init`.
#[inline]
pub(super) fn kmalloc_cache(layout: Layout) -> Option<&'static KmemCache> {
    let cache = KMALLOC_CACHES[kmalloc_index(layout)].load(Ordering::Relaxed);
    // SAFETY: null or a cache, and caches live for ever.
    unsafe { cache.as_ref() }
}

/// The cache that serves an ordinary layout: no particular alignment, at most 8 KiB. `None` for
/// any other one, and before `kmem_cache_init`.
#[inline(always)]
pub(super) fn kmalloc_cache_fast(layout: Layout) -> Option<&'static KmemCache> {
    if layout.align() > 8 {
        return None;
    }
    let last = layout.size().wrapping_sub(1);
    let index = if last < TABLE_MAX {
        KMALLOC_SIZE_INDEX[last / 8] as usize
    } else if last < KMALLOC_MAX_CACHE_SIZE {
        power_index(layout.size())
    } else {
        return None;
    };
    let cache = KMALLOC_CACHES[index].load(Ordering::Relaxed);
    // SAFETY: null or a cache, and caches live for ever.
    unsafe { cache.as_ref() }
}

/// Creates `kmalloc-8` to `kmalloc-8k` (Linux: `create_kmalloc_caches`). Sizes that are powers of
/// two come aligned to their size, 96 to 32 and 192 to 64.
pub(super) fn create_kmalloc_caches() {
    for (index, (name, size)) in KMALLOC_INFO.iter().enumerate() {
        let align = (1 << size.trailing_zeros()).min(PAGE_SIZE);
        let cache = kmem_cache_create(name, *size, align, SlabKind::Plain);
        let cache = core::ptr::from_ref(cache).cast_mut();
        KMALLOC_CACHES[index].store(cache, Ordering::Release);
    }
}

/// Whether a layout is served by a cache rather than by whole pages.
#[inline]
pub(super) const fn is_small(layout: Layout) -> bool {
    layout.size() <= KMALLOC_MAX_CACHE_SIZE && layout.align() <= PAGE_SIZE
}

/// Allocates `layout.size()` bytes, or `None` (Linux: `kmalloc`, `kzalloc` with `Gfp::ZERO`).
/// The size is not 0. At most 4 MiB; the heap turns to vmalloc for more.
#[inline]
pub fn kmalloc(layout: Layout, gfp: Gfp) -> Option<NonNull<u8>> {
    match kmalloc_cache_fast(layout) {
        Some(cache) => cache.alloc(gfp),
        None => kmalloc_slow(layout, gfp),
    }
}

/// Large sizes and alignments.
fn kmalloc_slow(layout: Layout, gfp: Gfp) -> Option<NonNull<u8>> {
    if is_small(layout) {
        let cache = kmalloc_cache(layout).or_else(|| {
            host_kmalloc_caches();
            kmalloc_cache(layout)
        });
        return cache?.alloc(gfp);
    }
    kmalloc_large(layout, gfp)
}

/// The test port has no boot that creates the caches.
#[cold]
fn host_kmalloc_caches() {
    static DONE: spin::Once = spin::Once::new();
    if arch::self_hosted_ram().is_some() {
        DONE.call_once(create_kmalloc_caches);
    }
}

/// Whole pages, as many as needed (Linux: `___kmalloc_large_node`).
pub(super) fn kmalloc_large(layout: Layout, gfp: Gfp) -> Option<NonNull<u8>> {
    let size = layout.size().max(layout.align());
    if get_order(size) > super::mmzone::MAX_PAGE_ORDER {
        return None;
    }
    let pfn = alloc_frames_exact(gfp, size.div_ceil(PAGE_SIZE) as u64)?;
    let page = MemMap::global().page(pfn.0 as u32);
    page.set_flags(PageFlags::LARGE_KMALLOC);
    let base = arch::phys_to_virt(pfn.phys()).as_usize();
    let base = NonNull::new(base as *mut u8)?;
    Some(base)
}

/// Frees what `kmalloc` returned (Linux: `kfree`).
///
/// # Safety
/// `object` came from `kmalloc`, and nothing refers to it any more.
#[inline]
pub unsafe fn kfree(object: NonNull<u8>) {
    match cache_of(object.as_ptr()) {
        // SAFETY: the page says that the object is of this cache; the rest by the caller.
        Some(cache) => unsafe { cache.free(object) },
        // SAFETY: the caller's contract.
        None => unsafe { kfree_large(object) },
    }
}

/// A large allocation's first frame and number of pages.
fn large_pages(object: NonNull<u8>) -> (Pfn, u64) {
    let (pfn, page) = page_of(object.as_ptr());
    let large = page.flags().contains(PageFlags::LARGE_KMALLOC);
    assert!(
        large,
        "BUG: kfree of {object:p}, which kmalloc did not return"
    );
    (Pfn(u64::from(pfn)), page.private())
}

/// # Safety
/// As `kfree`, for whole pages.
unsafe fn kfree_large(object: NonNull<u8>) {
    let (pfn, count) = large_pages(object);
    let page = MemMap::global().page(pfn.0 as u32);
    page.clear_flags(PageFlags::LARGE_KMALLOC);
    // SAFETY: the caller gives the pages up.
    unsafe { free_frames_exact(pfn, count) };
}

/// Bytes that the allocation really has (Linux: `ksize`).
pub fn ksize(object: NonNull<u8>) -> usize {
    match cache_of(object.as_ptr()) {
        Some(cache) => cache.object_size(),
        None => large_pages(object).1 as usize * PAGE_SIZE,
    }
}

/// Makes an allocation `new_size` bytes without moving it, if that is possible and does not
/// waste half of it.
pub fn resize_in_place(object: NonNull<u8>, new_size: usize) -> bool {
    let size = ksize(object);
    if cache_of(object.as_ptr()).is_some() {
        return new_size <= size && new_size > size / 2;
    }
    let pages = new_size.div_ceil(PAGE_SIZE);
    if new_size > size || new_size <= KMALLOC_MAX_CACHE_SIZE {
        return false;
    }
    let (pfn, count) = large_pages(object);
    MemMap::global()
        .page(pfn.0 as u32)
        .set_private(pages as u64);
    free_range(Pfn(pfn.0 + pages as u64), Pfn(pfn.0 + count));
    true
}

// --- typed caches ---

/// The cache behind a typed one, made on first use or by `create`.
struct LazyCache {
    name: &'static str,
    kind: SlabKind,
    cache: spin::Once<&'static KmemCache>,
}

impl LazyCache {
    const fn new(name: &'static str, kind: SlabKind) -> Self {
        Self {
            name,
            kind,
            cache: spin::Once::new(),
        }
    }
    fn get(&self, layout: Layout) -> &'static KmemCache {
        self.cache
            .call_once(|| kmem_cache_create(self.name, layout.size(), layout.align(), self.kind))
    }
}

/// A cache of its own for the `Box<T>`s made through it: they show under its name in
/// /proc/slabinfo, and running out of memory is an error rather than a panic. The boxes are
/// ordinary ones; dropping them gives the memory back to the cache.
///
/// ```ignore
/// static VM_AREA_CACHE: BoxCache<VmAreaStruct> = BoxCache::new("vm_area_struct", SlabKind::Plain);
/// let area = VM_AREA_CACHE.try_box(VmAreaStruct::new(..))?;
/// ```
pub struct BoxCache<T> {
    inner: LazyCache,
    _type: PhantomData<fn(T) -> T>,
}

impl<T> BoxCache<T> {
    /// A cache that is created on first use.
    pub const fn new(name: &'static str, kind: SlabKind) -> Self {
        Self {
            inner: LazyCache::new(name, kind),
            _type: PhantomData,
        }
    }
    /// Creates the cache now, so that /proc/slabinfo lists it from the start.
    pub fn create(&self) {
        self.inner.get(Layout::new::<T>());
    }
    /// `Box::new` with memory from this cache. Any context. Errors: ENOMEM.
    pub fn try_box(&self, value: T) -> Result<Box<T>> {
        let layout = Layout::new::<T>();
        heap::allocate_from(self.inner.get(layout), layout, || Box::new(value))
    }
}

/// A cache of its own for the `Arc<T>`s made through it. See [`BoxCache`].
pub struct ArcCache<T> {
    inner: LazyCache,
    _type: PhantomData<fn(T) -> T>,
}

/// What `Arc` allocates: two counters, then the value.
fn arc_layout<T>() -> Layout {
    let counters = Layout::new::<[usize; 2]>();
    let (layout, _) = counters
        .extend(Layout::new::<T>())
        .expect("a type fits into memory");
    layout.pad_to_align()
}

impl<T> ArcCache<T> {
    /// A cache that is created on first use.
    pub const fn new(name: &'static str, kind: SlabKind) -> Self {
        Self {
            inner: LazyCache::new(name, kind),
            _type: PhantomData,
        }
    }
    /// Creates the cache now, so that /proc/slabinfo lists it from the start.
    pub fn create(&self) {
        self.inner.get(arc_layout::<T>());
    }
    /// `Arc::new` with memory from this cache. Any context. Errors: ENOMEM.
    pub fn try_arc(&self, value: T) -> Result<Arc<T>> {
        let layout = arc_layout::<T>();
        heap::allocate_from(self.inner.get(layout), layout, || Arc::new(value))
    }
    /// `Arc::new` with memory from this cache, for those who cannot cope with failure. Any context.
    pub fn arc(&self, value: T) -> Arc<T> {
        let layout = arc_layout::<T>();
        heap::allocate_from_or_heap(self.inner.get(layout), layout, || Arc::new(value))
    }
    /// `Arc::new_cyclic` with memory from this cache. `make` runs with interrupts off.
    /// Errors: ENOMEM.
    pub fn try_arc_cyclic(&self, make: impl FnOnce(&Weak<T>) -> T) -> Result<Arc<T>> {
        let layout = arc_layout::<T>();
        heap::allocate_from(self.inner.get(layout), layout, || Arc::new_cyclic(make))
    }
}

// --- /proc/slabinfo ---

/// /proc/slabinfo, version 2.1 (Linux: `slab_show`).
pub fn slabinfo_show(out: &mut String) -> Result {
    out.push_str("slabinfo - version: 2.1\n");
    out.push_str(
        "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>",
    );
    out.push_str(" : tunables <limit> <batchcount> <sharedfactor>");
    out.push_str(" : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
    for cache in slab_caches() {
        let info = cache.info();
        writeln!(
            out,
            "{:<17} {:>6} {:>6} {:>6} {:>4} {:>4} : tunables {:>4} {:>4} {:>4} : slabdata {:>6} {:>6} {:>6}",
            info.name,
            info.active_objs,
            info.num_objs,
            info.size,
            info.objects_per_slab,
            1 << info.order,
            0,
            0,
            0,
            info.num_slabs,
            info.num_slabs,
            0
        )?;
    }
    Ok(())
}

#[__init]
fn slab_proc_init() -> Result {
    proc_create_single("slabinfo", 0o400, slabinfo_show)
}
crate::device_initcall!(slab_proc_init);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::slab::Geometry;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("valid")
    }

    fn get(size: usize, align: usize) -> NonNull<u8> {
        kmalloc(layout(size, align), Gfp::KERNEL).expect("memory")
    }

    #[test]
    fn every_size_gets_the_smallest_cache_that_holds_it() {
        for size in 1..=8192usize {
            let (_, got) = KMALLOC_INFO[kmalloc_index(layout(size, 1))];
            let best = KMALLOC_INFO
                .iter()
                .map(|&(_, s)| s)
                .filter(|&s| s >= size)
                .min();
            assert_eq!(Some(got), best, "size {size}");
        }
        let _up = get(8, 8);
        for size in 1..=9000usize {
            let fast = kmalloc_cache_fast(layout(size, 8)).map(KmemCache::object_size);
            let slow = kmalloc_cache(layout(size.min(8192), 8)).map(KmemCache::object_size);
            assert_eq!(fast, slow.filter(|_| size <= 8192), "size {size}");
        }
        assert!(kmalloc_cache_fast(layout(0, 8)).is_none());
    }

    #[test]
    fn objects_are_aligned_as_asked() {
        for align in (0..=12).map(|log2| 1usize << log2) {
            for size in [1, 8, 40, 64, 90, 130, 192, 200, 1000, 4096, 8192] {
                let objects: Vec<_> = (0..20).map(|_| get(size, align)).collect();
                for object in objects {
                    assert_eq!(
                        object.as_ptr() as usize % align,
                        0,
                        "size {size} align {align}"
                    );
                    assert!(ksize(object) >= size);
                    // SAFETY: allocated above.
                    unsafe { kfree(object) };
                }
            }
        }
    }

    #[test]
    fn a_zeroed_object_is_zero_even_when_its_memory_was_used() {
        for size in [8, 96, 500, 5000, 20_000] {
            for _ in 0..70 {
                let object = kmalloc(layout(size, 8), Gfp::KERNEL | Gfp::ZERO).expect("memory");
                for offset in 0..size {
                    // SAFETY: within the object.
                    assert_eq!(unsafe { object.add(offset).read() }, 0);
                }
                // SAFETY: the object is ours and that large.
                unsafe { object.write_bytes(0xff, size) };
                // SAFETY: allocated above.
                unsafe { kfree(object) };
            }
        }
    }

    #[test]
    fn large_sizes_are_whole_pages_and_shrink_in_place() {
        let object = get(5 * PAGE_SIZE + 1, 8);
        assert_eq!(ksize(object), 6 * PAGE_SIZE);
        assert!(!resize_in_place(object, 7 * PAGE_SIZE));
        assert!(resize_in_place(object, 3 * PAGE_SIZE));
        assert_eq!(ksize(object), 3 * PAGE_SIZE);
        // SAFETY: allocated above.
        unsafe { kfree(object) };
    }

    #[test]
    fn more_than_4_mib_in_one_piece_is_refused() {
        let gfp = Gfp::KERNEL | Gfp::NOWARN;
        assert!(kmalloc(layout((4 << 20) + 1, 8), gfp).is_none());
        assert!(kmalloc(layout(isize::MAX as usize, 1), gfp).is_none());
    }

    #[test]
    fn slabs_are_neither_wasteful_nor_larger_than_order_3() {
        for size in (8..=8192).step_by(8) {
            let geometry = Geometry::new(size);
            let slab = PAGE_SIZE << geometry.order;
            assert!(geometry.order <= 3);
            let waste = slab % size as usize;
            assert!(waste * 4 <= slab, "{size}: {waste} of {slab}");
        }
    }

    #[test]
    fn slabinfo_has_linux_s_columns() {
        let _object = get(8, 8);
        let mut text = String::new();
        slabinfo_show(&mut text).expect("text");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("slabinfo - version: 2.1"));
        let row = lines
            .find(|line| line.starts_with("kmalloc-8 "))
            .expect("a row");
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words.len(), 16);
        assert_eq!(words[3], "8");
        assert_eq!(
            (words[6], words[7], words[11], words[12]),
            (":", "tunables", ":", "slabdata")
        );
        assert!(text.contains("\nkmem_cache "));
    }

    #[test]
    fn typed_caches_make_ordinary_boxes_and_arcs() {
        static BOXES: BoxCache<[u64; 5]> = BoxCache::new("test_box", SlabKind::Plain);
        static ARCS: ArcCache<u8> = ArcCache::new("test_arc", SlabKind::Plain);
        assert_eq!(*BOXES.try_box([7; 5]).expect("memory"), [7; 5]);
        assert_eq!(*ARCS.try_arc(9).expect("memory"), 9);
        assert_eq!(arc_layout::<u8>().size(), 24);
    }
}
