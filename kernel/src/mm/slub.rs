//! Caches of objects of one size (Linux: mm/slub.c).
//!
//! A slab is a block of pages cut into objects; free objects are linked through their first
//! word. Each CPU keeps a short list of free objects per cache, so that most allocations and
//! frees touch nothing that another CPU uses (Linux 6.18 calls such lists sheaves). At two
//! batches one goes back to the slabs. A cache with checks keeps no such lists: every operation
//! takes the slow path, where the checks are.
//!
//! Lock order: local section of the CPU, then the cache's `node` lock, then the page allocator's.
//! Any context but NMI may allocate and free.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::gfp::Gfp;
use super::page::{MemMap, PageFlags};
use super::page_alloc::{alloc_frames, put_frames};
use super::percpu::nr_cpu_ids;
pub(super) use super::slab::page_of;
use super::slab::{CpuCache, Geometry, Node, SLUB_MAX_ORDER, Slab, next_of, set_next};
use super::slub_debug::{self, SlabDebug};
use super::vmstat::{NR_SLAB_RECLAIMABLE, NR_SLAB_UNRECLAIMABLE, VmCounter};
use super::{Pfn, VirtAddr, oom_kill};
use crate::arch::{self, PAGE_SIZE};
use crate::kernel::locking::local_lock_irqsave;
use crate::prelude::*;

/// Partly filled and empty slabs that a cache keeps before it returns empty ones.
const MIN_PARTIAL: u32 = 2;

/// What is special about a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlabKind {
    /// Objects live until they are freed.
    Plain,
    /// A shrinker can free objects: dentries, inodes (Linux: SLAB_RECLAIM_ACCOUNT).
    Reclaimable,
}

/// A cache (Linux: `struct kmem_cache`). Lives for ever.
pub struct KmemCache {
    /// Distance between objects.
    size: u32,
    /// Length at which a CPU's list gives objects back; 0 with checks on.
    high: u32,
    /// Objects that a CPU's list gets or gives at once.
    batch: u32,
    /// Checks that are on; none on a fast machine.
    debug: SlabDebug,
    /// One per possible CPU; null while the first cache is being set up.
    cpu: *const CpuCache,
    name: &'static str,
    /// Bytes of an object that its user may touch.
    object_size: u32,
    /// Order of a slab, and what is tried when memory is fragmented.
    order: u32,
    min_order: u32,
    /// Objects of a slab of the usual order.
    objects: u32,
    kind: SlabKind,
    /// The cache that was created before this one.
    older: AtomicPtr<KmemCache>,
    node: IrqSpinLock<Node>,
}

// SAFETY: `cpu` points to memory that lives for ever; each entry is written by its CPU only and
// consists of atomics.
unsafe impl Sync for KmemCache {}
// SAFETY: as above.
unsafe impl Send for KmemCache {}

/// Figures of a cache for /proc/slabinfo.
#[derive(Clone, Copy, Debug)]
pub struct SlabInfo {
    /// Name of the cache.
    pub name: &'static str,
    /// Objects that somebody uses.
    pub active_objs: u64,
    /// Objects that the slabs have room for.
    pub num_objs: u64,
    /// Distance between objects in bytes.
    pub size: u32,
    /// Objects of a slab of the usual order.
    pub objects_per_slab: u32,
    /// Order of a slab.
    pub order: u32,
    /// Slabs.
    pub num_slabs: u64,
}

/// All caches, newest first (Linux: `slab_caches`).
static SLAB_CACHES: AtomicPtr<KmemCache> = AtomicPtr::new(null_mut());

/// The caches, newest first.
pub fn slab_caches() -> impl Iterator<Item = &'static KmemCache> {
    // SAFETY: caches live for ever.
    let at = |cache: &AtomicPtr<KmemCache>| unsafe { cache.load(Ordering::Acquire).as_ref() };
    core::iter::successors(at(&SLAB_CACHES), move |cache| at(&cache.older))
}

impl KmemCache {
    /// A cache without per-CPU lists and not on the list of caches.
    fn new(
        name: &'static str,
        object_size: u32,
        align: u32,
        kind: SlabKind,
        debug: SlabDebug,
    ) -> Self {
        // A free object holds a link; with checks on, a word behind the object tells its state.
        let room = object_size.max(8).next_multiple_of(8) + debug.redzone_size();
        let geometry = Geometry::new(room.next_multiple_of(align.max(8)));
        Self {
            size: geometry.size,
            high: if debug.is_on() { 0 } else { 2 * geometry.batch },
            batch: geometry.batch,
            debug,
            cpu: core::ptr::null(),
            name,
            object_size,
            order: geometry.order,
            min_order: geometry.min_order,
            objects: ((PAGE_SIZE << geometry.order) / geometry.size as usize) as u32,
            kind,
            older: AtomicPtr::new(null_mut()),
            node: IrqSpinLock::new(Node::new()),
        }
    }

    /// Name as in /proc/slabinfo.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Bytes of an object that its user may touch.
    pub fn object_size(&self) -> usize {
        self.object_size as usize
    }
    /// Distance between objects.
    pub(super) fn stride(&self) -> usize {
        self.size as usize
    }
    pub(super) fn debug(&self) -> SlabDebug {
        self.debug
    }
    /// Objects of a slab of `order`.
    fn objects(&self, order: u32) -> u32 {
        if order == self.order {
            return self.objects;
        }
        ((PAGE_SIZE << order) / self.size as usize) as u32
    }
    fn counter(&self) -> &'static VmCounter {
        match self.kind {
            SlabKind::Plain => &NR_SLAB_UNRECLAIMABLE,
            SlabKind::Reclaimable => &NR_SLAB_RECLAIMABLE,
        }
    }

    /// The lists of the running CPU; the caller is in a local section.
    #[inline]
    fn this_cpu(&self) -> &CpuCache {
        // SAFETY: the array has an entry for every possible CPU and lives for ever.
        unsafe { &*self.cpu.add(arch::smp_processor_id()) }
    }

    /// Allocates an object, or `None` when memory is exhausted (Linux: `kmem_cache_alloc`).
    #[inline]
    pub fn alloc(&self, gfp: Gfp) -> Option<NonNull<u8>> {
        let object = {
            let _local = local_lock_irqsave();
            self.alloc_fast()
        };
        if object.is_null() {
            return self.alloc_slow(gfp);
        }
        if gfp.contains(Gfp::ZERO) {
            self.clear(object);
        }
        NonNull::new(object)
    }

    /// An object off this CPU's list, or null. In a local section.
    #[inline]
    pub(super) fn alloc_fast(&self) -> *mut u8 {
        self.this_cpu().pop()
    }

    /// This CPU's list is empty, or there are checks to make.
    #[inline(never)]
    pub(super) fn alloc_slow(&self, gfp: Gfp) -> Option<NonNull<u8>> {
        let mut object = if oom_kill::can_wait(gfp, self.min_order) {
            let patient = gfp.difference(Gfp::NOFAIL) | Gfp::NOWARN;
            let mut object = self.alloc_once(patient);
            while object.is_null() && oom_kill::wait_for_memory(gfp, self.min_order) {
                object = self.alloc_once(patient);
            }
            object
        } else {
            null_mut()
        };
        if object.is_null() {
            object = self.alloc_once(gfp);
        }
        if !object.is_null() && gfp.contains(Gfp::ZERO) {
            self.clear(object);
        }
        NonNull::new(object)
    }

    /// One try, which cannot wait: interrupts are off.
    fn alloc_once(&self, gfp: Gfp) -> *mut u8 {
        if self.debug.is_on() {
            return self.alloc_checked(gfp);
        }
        let _local = local_lock_irqsave();
        let list = self.this_cpu();
        if list.count() == 0 {
            self.refill(list, gfp);
        }
        list.pop()
    }

    fn clear(&self, object: *mut u8) {
        // SAFETY: the object was just allocated and is that large.
        unsafe { object.write_bytes(0, self.object_size as usize) };
    }

    /// One object straight from the slabs, checked.
    #[cold]
    fn alloc_checked(&self, gfp: Gfp) -> *mut u8 {
        let mut object = null_mut();
        self.take_from_slabs(1, gfp, |taken| object = taken);
        if !object.is_null() {
            slub_debug::alloc_object(self, object);
        }
        object
    }

    /// Frees an object (Linux: `kmem_cache_free`).
    ///
    /// # Safety
    /// `object` came from `alloc` of this cache, and nothing refers to it any more.
    #[inline]
    pub unsafe fn free(&self, object: NonNull<u8>) {
        let object = object.as_ptr();
        {
            let _local = local_lock_irqsave();
            let list = self.this_cpu();
            if list.count() < self.high && list.head.load(Ordering::Relaxed) != object {
                list.push(object);
                return;
            }
        }
        self.free_slow(object);
    }

    /// This CPU's list is full, there are checks to make, or something is wrong.
    #[inline(never)]
    fn free_slow(&self, object: *mut u8) {
        if self.debug.is_on() {
            slub_debug::free_object(self, object);
            set_next(object, null_mut());
            self.flush(object, 1);
            return;
        }
        let _local = local_lock_irqsave();
        let list = self.this_cpu();
        if list.head.load(Ordering::Relaxed) == object {
            slub_debug::double_free(self, object);
        }
        list.push(object);
        self.trim(list, self.batch);
    }

    /// Puts up to `objects` of a CPU's list back into their slabs.
    fn trim(&self, list: &CpuCache, objects: u32) {
        let objects = objects.min(list.count());
        let rest = self.flush(list.head.load(Ordering::Relaxed), objects);
        list.head.store(rest, Ordering::Relaxed);
        list.count.store(list.count() - objects, Ordering::Relaxed);
    }

    /// Moves half a batch of objects from the slabs to the CPU.
    fn refill(&self, list: &CpuCache, gfp: Gfp) {
        let wanted = (self.batch / 2).max(1);
        self.take_from_slabs(wanted, gfp, |object| list.push(object));
    }

    /// Takes up to `wanted` objects from the slabs, making a slab if there is none.
    fn take_from_slabs(&self, wanted: u32, gfp: Gfp, mut give: impl FnMut(*mut u8)) {
        if self.take_partial(wanted, &mut give) == 0 && self.new_slab(gfp) {
            self.take_partial(wanted, &mut give);
        }
    }

    /// Takes up to `wanted` objects from slabs that have some; returns how many.
    fn take_partial(&self, wanted: u32, give: &mut impl FnMut(*mut u8)) -> u32 {
        let mut node = self.node.lock();
        let mut taken = 0;
        while taken < wanted && node.partial != 0 {
            let slab = Slab::at(node.partial);
            let room = self.objects(slab.page.order()) - slab.inuse();
            let count = room.min(wanted - taken);
            for _ in 0..count {
                give(slab.take(self.size, |object| {
                    if self.debug.is_on() {
                        slub_debug::init_object(self, object);
                    }
                }));
            }
            if count == room {
                node.remove_partial(slab);
            }
            taken += count;
        }
        node.inuse += u64::from(taken);
        taken
    }

    /// Adds a slab (Linux: `allocate_slab`). False when there is no memory.
    fn new_slab(&self, gfp: Gfp) -> bool {
        let gfp = gfp.difference(Gfp::ZERO);
        let optional = gfp.difference(Gfp::NOFAIL | Gfp::RECLAIM) | Gfp::NOWARN;
        let large = if self.order > self.min_order {
            alloc_frames(optional, self.order)
        } else {
            None
        };
        let Some(pfn) = large.or_else(|| alloc_frames(gfp, self.min_order)) else {
            return false;
        };
        let slab = Slab::at(pfn.0 as u32);
        let order = slab.page.order();
        let cache = core::ptr::from_ref(self) as usize as u64;
        for tail in 1..1u32 << order {
            let page = MemMap::global().page(slab.pfn + tail);
            page.set_state(PageFlags::SLAB | PageFlags::TAIL, 0);
            page.next.store(slab.pfn, Ordering::Relaxed);
            page.mapping.store(cache, Ordering::Relaxed);
        }
        slab.page.refcount.store(0, Ordering::Relaxed);
        slab.page.set_private(0);
        slab.page.mapping.store(cache, Ordering::Relaxed);
        slab.page.set_state(PageFlags::SLAB, order);
        self.counter().add(1 << order);
        let mut node = self.node.lock();
        node.nr_slabs += 1;
        node.total += u64::from(self.objects(order));
        node.add_partial(slab);
        true
    }

    /// Gives an empty slab that is on no list back to the page allocator.
    fn free_slab(&self, slab: Slab) {
        let order = slab.page.order();
        for tail in 1..1u32 << order {
            let page = MemMap::global().page(slab.pfn + tail);
            page.set_state(PageFlags::empty(), 0);
            page.mapping.store(0, Ordering::Relaxed);
        }
        slab.page.set_state(PageFlags::empty(), order);
        slab.page.mapping.store(0, Ordering::Relaxed);
        slab.page.refcount.store(1, Ordering::Relaxed);
        self.counter().add(-(1 << order));
        // SAFETY: no object of the slab is in use, and it is on no list.
        unsafe { put_frames(Pfn(u64::from(slab.pfn))) };
    }

    /// Puts the first `objects` of a list back into their slabs and returns the rest; slabs that
    /// are empty then and too many go back to the page allocator (Linux: `__slab_free`).
    fn flush(&self, mut object: *mut u8, objects: u32) -> *mut u8 {
        let mut empty = 0;
        {
            let mut node = self.node.lock();
            for _ in 0..objects {
                let next = next_of(object);
                let slab = Slab::of(object);
                let was_full = slab.inuse() == self.objects(slab.page.order());
                slab.put(object);
                node.inuse -= 1;
                if was_full {
                    node.add_partial(slab);
                }
                if slab.inuse() == 0 && node.nr_partial > MIN_PARTIAL {
                    self.unlink_empty(&mut node, slab, &mut empty);
                }
                object = next;
            }
        }
        self.free_slabs(empty);
        object
    }

    /// Takes an empty slab off the cache and puts it on the list `empty`.
    fn unlink_empty(&self, node: &mut Node, slab: Slab, empty: &mut u32) {
        node.remove_partial(slab);
        node.nr_slabs -= 1;
        node.total -= u64::from(self.objects(slab.page.order()));
        slab.page.next.store(*empty, Ordering::Relaxed);
        *empty = slab.pfn;
    }

    fn free_slabs(&self, mut pfn: u32) {
        while pfn != 0 {
            let slab = Slab::at(pfn);
            pfn = slab.page.next.load(Ordering::Relaxed);
            self.free_slab(slab);
        }
    }

    /// Gives all memory back that this CPU's lists and empty slabs hold
    /// (Linux: `kmem_cache_shrink`).
    pub fn shrink(&self) {
        {
            let _local = local_lock_irqsave();
            self.trim(self.this_cpu(), u32::MAX);
        }
        let mut empty = 0;
        {
            let mut node = self.node.lock();
            let mut pfn = node.partial;
            while pfn != 0 {
                let slab = Slab::at(pfn);
                pfn = slab.page.next.load(Ordering::Relaxed);
                if slab.inuse() == 0 {
                    self.unlink_empty(&mut node, slab, &mut empty);
                }
            }
        }
        self.free_slabs(empty);
    }

    /// Figures for /proc/slabinfo (Linux: `get_slabinfo`).
    pub fn info(&self) -> SlabInfo {
        // SAFETY: the array has an entry for every possible CPU.
        let kept = |cpu| u64::from(unsafe { (*self.cpu.add(cpu)).count() });
        let kept: u64 = (0..nr_cpu_ids()).map(kept).sum();
        let node = self.node.lock();
        SlabInfo {
            name: self.name,
            active_objs: node.inuse.saturating_sub(kept),
            num_objs: node.total,
            size: self.size,
            objects_per_slab: self.objects,
            order: self.order,
            num_slabs: node.nr_slabs,
        }
    }
}

/// Frees what the caches of this CPU can spare; memory is short (Linux: `drop_slab` in spirit).
pub(super) fn shrink_all() {
    slab_caches().for_each(KmemCache::shrink);
}

/// The cache that the other caches come from; null before `kmem_cache_init`.
static KMEM_CACHE: AtomicPtr<KmemCache> = AtomicPtr::new(null_mut());

/// Size of a cache with its per-CPU lists behind it.
fn cache_object_size() -> u32 {
    let lists = nr_cpu_ids() * size_of::<CpuCache>();
    (size_of::<KmemCache>().next_multiple_of(64) + lists) as u32
}

/// Moves a cache into `place`, an object of `kmem_cache`, and gives it per-CPU lists.
fn install(mut cache: KmemCache, place: NonNull<u8>) -> &'static KmemCache {
    let offset = size_of::<KmemCache>().next_multiple_of(64);
    let lists = place.as_ptr().wrapping_add(offset).cast::<CpuCache>();
    for cpu in 0..nr_cpu_ids() {
        // SAFETY: the object has room for one entry per possible CPU behind the cache, and is
        // aligned to 64 bytes.
        unsafe { lists.add(cpu).write(CpuCache::new()) };
    }
    cache.cpu = lists;
    let place = place.cast::<KmemCache>();
    // SAFETY: the object is large enough, aligned, and never freed.
    unsafe { place.write(cache) };
    // SAFETY: written just now.
    unsafe { place.as_ref() }
}

/// Puts a cache on the list of all caches.
fn publish(cache: &'static KmemCache) {
    let this = core::ptr::from_ref(cache).cast_mut();
    let mut newest = SLAB_CACHES.load(Ordering::Relaxed);
    loop {
        cache.older.store(newest, Ordering::Relaxed);
        match SLAB_CACHES.compare_exchange(newest, this, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => newest = other,
        }
    }
}

/// Creates a cache of objects of `size` bytes aligned to `align`, a power of two. May run as
/// soon as `kmem_cache_init` has. Panics without memory, as boot cannot go on then
/// (Linux: `kmem_cache_create` with SLAB_PANIC).
pub fn kmem_cache_create(
    name: &'static str,
    size: usize,
    align: usize,
    kind: SlabKind,
) -> &'static KmemCache {
    kmem_cache_create_debug(name, size, align, kind, slub_debug::flags_for(name))
}

/// `kmem_cache_create` with the checks given rather than taken from the boot parameters.
pub(super) fn kmem_cache_create_debug(
    name: &'static str,
    size: usize,
    align: usize,
    kind: SlabKind,
    debug: SlabDebug,
) -> &'static KmemCache {
    assert!(
        size <= PAGE_SIZE << SLUB_MAX_ORDER && align <= PAGE_SIZE && align.is_power_of_two(),
        "kmem_cache_create({name}): bad size or alignment"
    );
    let place = kmem_cache().alloc(Gfp::KERNEL | Gfp::NOFAIL);
    let place = place.unwrap_or_else(|| panic!("Cannot create {name} SLAB cache"));
    let cache = KmemCache::new(name, size as u32, align as u32, kind, debug);
    let cache = install(cache, place);
    publish(cache);
    cache
}

/// The cache that the other caches come from. The test port has no boot that makes it.
fn kmem_cache() -> &'static KmemCache {
    // SAFETY: null or the root cache, which lives for ever.
    let root = || unsafe { KMEM_CACHE.load(Ordering::Acquire).as_ref() };
    if let Some(cache) = root() {
        return cache;
    }
    assert!(
        arch::self_hosted_ram().is_some(),
        "kmem_cache_init has not run"
    );
    static DONE: spin::Once = spin::Once::new();
    DONE.call_once(bootstrap_kmem_cache);
    root().expect("made just now")
}

/// Makes the first cache, which is an object of itself (Linux: `bootstrap`).
fn bootstrap_kmem_cache() {
    let size = cache_object_size();
    let debug = slub_debug::flags_for("kmem_cache");
    let cache = KmemCache::new("kmem_cache", size, 64, SlabKind::Plain, debug);
    let made = cache.new_slab(Gfp::KERNEL | Gfp::NOFAIL);
    assert!(made, "no memory for the slab allocator");
    let mut place = null_mut();
    cache.take_partial(1, &mut |object| place = object);
    if cache.debug.is_on() {
        slub_debug::alloc_object(&cache, place);
    }
    let pfn = cache.node.lock().partial;
    let place = NonNull::new(place).expect("a new slab has objects");
    let cache = install(cache, place);
    let home = core::ptr::from_ref(cache) as usize as u64;
    let slab = if pfn != 0 {
        Slab::at(pfn)
    } else {
        Slab::of(place.as_ptr())
    };
    for page in 0..1u32 << slab.page.order() {
        let page = MemMap::global().page(slab.pfn + page);
        page.mapping.store(home, Ordering::Relaxed);
    }
    publish(cache);
    let this = core::ptr::from_ref(cache).cast_mut();
    KMEM_CACHE.store(this, Ordering::Release);
}

/// Brings up the slab allocator: the cache of caches, then kmalloc (Linux: `kmem_cache_init`).
/// The page allocator works. On return: kmalloc works, and the Rust heap is on it.
pub(super) fn kmem_cache_init() {
    bootstrap_kmem_cache();
    super::slab_common::create_kmalloc_caches();
    pr_info!(
        "SLUB: HWalign=64, Order=0-{SLUB_MAX_ORDER}, MinObjects=0, CPUs={}, Nodes=1",
        nr_cpu_ids()
    );
}

/// The cache an object belongs to; `None` for memory of the direct map that no slab holds, and
/// for any other address.
#[inline]
pub(super) fn cache_of(object: *mut u8) -> Option<&'static KmemCache> {
    let phys = arch::direct_map_phys(VirtAddr::new(object as usize as u64))?;
    let page = MemMap::global().page_at(phys.pfn().0);
    if !page.flags().contains(PageFlags::SLAB) {
        return None;
    }
    let cache = page.mapping.load(Ordering::Relaxed) as usize as *mut KmemCache;
    // SAFETY: `mapping` of a slab page is its cache.
    let cache = unsafe { NonNull::new_unchecked(cache) };
    // SAFETY: caches live for ever.
    Some(unsafe { cache.as_ref() })
}

/// How far into its slab an object begins, in bytes.
pub(super) fn slab_offset(object: *mut u8) -> usize {
    (object as usize).wrapping_sub(Slab::of(object).base() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(name: &'static str, size: usize) -> &'static KmemCache {
        kmem_cache_create(name, size, 8, SlabKind::Plain)
    }
    fn alloc(cache: &KmemCache) -> NonNull<u8> {
        cache.alloc(Gfp::KERNEL).expect("memory")
    }

    #[test]
    fn objects_do_not_overlap_and_lie_a_stride_apart() {
        let cache = cache("test-overlap", 100);
        let mut objects: Vec<usize> = (0..1000).map(|_| alloc(cache).as_ptr() as usize).collect();
        objects.sort_unstable();
        assert!(objects.windows(2).all(|pair| pair[1] - pair[0] >= 104));
        assert_eq!(cache.info().active_objs, 1000);
    }

    #[test]
    fn a_freed_object_is_the_next_one_given_out() {
        let cache = cache("test-lifo", 64);
        let local = local_lock_irqsave();
        let object = alloc(cache);
        // SAFETY: allocated above.
        unsafe { cache.free(object) };
        assert_eq!(alloc(cache), object);
        drop(local);
    }

    #[test]
    fn a_shrunk_cache_without_objects_holds_no_pages() {
        let cache = cache("test-shrink", 700);
        let objects: Vec<_> = (0..300).map(|_| alloc(cache)).collect();
        assert_eq!(cache.info().active_objs, 300);
        assert!(cache.info().num_objs >= 300);
        for object in objects {
            // SAFETY: allocated above.
            unsafe { cache.free(object) };
        }
        let info = cache.info();
        assert_eq!(info.active_objs, 0);
        assert!(
            info.num_slabs <= 8,
            "empty slabs go back by themselves: {info:?}"
        );
        cache.shrink();
        assert_eq!((cache.info().num_objs, cache.info().num_slabs), (0, 0));
    }

    #[test]
    #[should_panic(expected = "Object already free")]
    fn freeing_twice_in_a_row_is_noticed_without_any_option() {
        let cache = cache("test-double", 32);
        let object = alloc(cache);
        let _local = local_lock_irqsave();
        // SAFETY: the second one is the bug that must be caught.
        unsafe { cache.free(object) };
        // SAFETY: as above.
        unsafe { cache.free(object) };
    }

    #[test]
    fn a_storm_in_several_threads_never_hands_an_object_out_twice() {
        let cache = cache("test-storm", 48);
        let worker = |tag: u64| {
            let mut held: Vec<NonNull<u8>> = Vec::new();
            for round in 0..5000usize {
                if round % 5 < 3 {
                    let object = alloc(cache);
                    // SAFETY: the object is ours, and has room for the tag behind the link.
                    unsafe { object.cast::<u64>().add(1).write(tag) };
                    held.push(object);
                } else if let Some(object) = held.pop() {
                    // SAFETY: written when it was allocated.
                    assert_eq!(unsafe { object.cast::<u64>().add(1).read() }, tag);
                    // SAFETY: allocated above.
                    unsafe { cache.free(object) };
                }
            }
            held.len() as u64
        };
        let left: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..4).map(|tag| scope.spawn(move || worker(tag))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        assert_eq!(cache.info().active_objs, left);
    }
}
