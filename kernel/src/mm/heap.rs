//! Memory behind `Box`, `Arc`, `Vec`: the global allocator of the bare-metal kernel.
//!
//! | when and what | from |
//! |---|---|
//! | before `kmem_cache_init` | the early heap, a part of .bss that grows on demand |
//! | up to 8 KiB | kmalloc's caches |
//! | up to 4 MiB | contiguous pages |
//! | more, or when memory is fragmented | vmalloc |
//!
//! Freed memory goes back to where it came from; the address tells. Any context but NMI. What
//! cannot fail gracefully (`Box::new`) may use the whole reserve; `try_reserve` reports failure.

use core::alloc::Layout;

use super::slub::KmemCache;
use crate::prelude::*;

#[cfg(target_os = "none")]
pub use bare_metal::release_early_heap;
#[cfg(target_os = "none")]
pub(super) use bare_metal::{allocate_from, allocate_from_or_heap};

#[cfg(target_os = "none")]
mod bare_metal {
    use core::alloc::GlobalAlloc;
    use core::cell::UnsafeCell;
    use core::ptr::{NonNull, null_mut};
    use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    use super::*;
    use crate::arch;
    use crate::kernel::locking::{SpinLockGuard, local_lock_irqsave};
    use crate::mm::early_heap::EarlyHeap;
    use crate::mm::gfp::Gfp;
    use crate::mm::percpu::PerCpu;
    use crate::mm::slab_common::{
        is_small, kfree, kmalloc_cache, kmalloc_cache_fast, kmalloc_large, resize_in_place,
    };
    use crate::mm::slub::cache_of;
    use crate::mm::{VirtAddr, mm_init, oom_kill, show_mem, vmalloc};

    /// Most that may be allocated before the slab allocator is up.
    const EARLY_HEAP_SIZE: usize = 256 << 10;

    #[repr(align(4096))]
    struct Region(UnsafeCell<[u8; EARLY_HEAP_SIZE]>);
    // SAFETY: only the early heap touches it, under its lock.
    unsafe impl Sync for Region {}
    static REGION: Region = Region(UnsafeCell::new([0; EARLY_HEAP_SIZE]));

    static EARLY_HEAP: IrqSpinLock<EarlyHeap> = IrqSpinLock::new(EarlyHeap::new());

    /// An object that the next allocation of the same size on this CPU gets; interrupts stay
    /// off meanwhile.
    struct Gift {
        object: AtomicPtr<u8>,
        size: AtomicUsize,
    }
    #[per_cpu]
    static GIFT: PerCpu<Gift> = PerCpu::new(Gift {
        object: AtomicPtr::new(null_mut()),
        size: AtomicUsize::new(0),
    });

    /// Runs `make`, whose first allocation has `layout` (`Box::new`, `Arc::new`), with an object
    /// of `cache`. Errors: ENOMEM.
    pub(in crate::mm) fn allocate_from<R>(
        cache: &KmemCache,
        layout: Layout,
        make: impl FnOnce() -> R,
    ) -> Result<R> {
        let object = cache.alloc(Gfp::KERNEL).ok_or(Errno::ENOMEM)?;
        Ok(with_gift(cache, object, layout, make))
    }

    /// `allocate_from` for who cannot cope with failure: kmalloc's caches, and the whole reserve,
    /// help out.
    pub(in crate::mm) fn allocate_from_or_heap<R>(
        cache: &KmemCache,
        layout: Layout,
        make: impl FnOnce() -> R,
    ) -> R {
        match cache.alloc(Gfp::KERNEL | Gfp::NOWARN) {
            Some(object) => with_gift(cache, object, layout, make),
            None => make(),
        }
    }

    /// Runs `make`, whose first allocation gets `object`.
    fn with_gift<R>(
        cache: &KmemCache,
        object: NonNull<u8>,
        layout: Layout,
        make: impl FnOnce() -> R,
    ) -> R {
        let _local = local_lock_irqsave();
        let gift = GIFT.raw_this();
        gift.size.store(layout.size(), Ordering::Relaxed);
        gift.object.store(object.as_ptr(), Ordering::Relaxed);
        let made = make();
        let unused = gift.object.swap(null_mut(), Ordering::Relaxed);
        debug_assert!(unused.is_null(), "{} was not used", cache.name());
        if let Some(object) = NonNull::new(unused) {
            // SAFETY: allocated above and not given to anybody.
            unsafe { cache.free(object) };
        }
        made
    }

    fn take_gift(gift: &Gift, layout: Layout) -> *mut u8 {
        if gift.size.load(Ordering::Relaxed) != layout.size() {
            return null_mut();
        }
        gift.object.swap(null_mut(), Ordering::Relaxed)
    }

    /// What a small allocation may do: `Box::new` cannot fail.
    const SMALL: Gfp = Gfp::KERNEL.union(Gfp::NOFAIL).union(Gfp::NOWARN);
    /// What a large one may do: there is vmalloc.
    const LARGE: Gfp = Gfp::NOWARN;

    struct KernelHeap;

    #[global_allocator]
    static HEAP: KernelHeap = KernelHeap;

    /// An object of the fitting cache off this CPU's list, or null: the fast path.
    #[inline(always)]
    fn alloc_fast(layout: Layout) -> *mut u8 {
        let Some(cache) = kmalloc_cache_fast(layout) else {
            return null_mut();
        };
        let _local = local_lock_irqsave();
        if !GIFT.raw_this().object.load(Ordering::Relaxed).is_null() {
            return null_mut();
        }
        cache.alloc_fast()
    }

    /// Everything else.
    #[inline(never)]
    fn alloc_slow(layout: Layout) -> *mut u8 {
        if !is_small(layout) {
            return alloc_large(layout);
        }
        let Some(cache) = kmalloc_cache(layout) else {
            return alloc_early(layout);
        };
        let gift = {
            let _local = local_lock_irqsave();
            take_gift(GIFT.raw_this(), layout)
        };
        if !gift.is_null() {
            return gift;
        }
        loop {
            if let Some(object) = cache.alloc_slow(SMALL) {
                return object.as_ptr();
            }
            if !oom_kill::sleep_for_memory(SMALL) {
                return null_mut();
            }
        }
    }

    /// The early heap, with its region.
    fn early_heap() -> SpinLockGuard<'static, EarlyHeap, IrqsOff> {
        let mut heap = EARLY_HEAP.lock();
        if !heap.is_started() {
            // SAFETY: this is the region's only use.
            unsafe { heap.start(REGION.0.get().cast(), EARLY_HEAP_SIZE) };
        }
        heap
    }

    #[cold]
    fn alloc_early(layout: Layout) -> *mut u8 {
        let block = early_heap().allocate(layout);
        block.map_or(null_mut(), |block| block.as_ptr())
    }

    fn alloc_large(layout: Layout) -> *mut u8 {
        if kmalloc_cache(Layout::new::<u8>()).is_none() {
            return alloc_early(layout);
        }
        let block = kmalloc_large(layout, LARGE).or_else(|| {
            (layout.align() <= arch::PAGE_SIZE)
                .then(|| vmalloc::vmalloc_heap(layout.size()))
                .flatten()
        });
        block.map_or(null_mut(), |block| block.as_ptr())
    }

    /// Memory that is not of a slab.
    ///
    /// # Safety
    /// As `dealloc`.
    #[inline(never)]
    unsafe fn dealloc_slow(block: NonNull<u8>, layout: Layout) {
        if in_direct_map(block) {
            // SAFETY: memory of the direct map came from kmalloc; the rest by the caller.
            return unsafe { kfree(block) };
        }
        let mut heap = EARLY_HEAP.lock();
        if heap.contains(block) {
            // SAFETY: the address says so; the layout is the caller's.
            unsafe { heap.deallocate(block, layout) };
            return;
        }
        drop(heap);
        vmalloc::vfree_heap(block);
    }

    fn in_direct_map(block: NonNull<u8>) -> bool {
        arch::direct_map_phys(VirtAddr::new(block.as_ptr() as usize as u64)).is_some()
    }

    // SAFETY: the allocators behind hand out disjoint memory of at least the size and alignment
    // that were asked for, and do not unwind.
    unsafe impl GlobalAlloc for KernelHeap {
        #[inline(always)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let object = alloc_fast(layout);
            if object.is_null() {
                return alloc_slow(layout);
            }
            object
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's layout.
            let block = unsafe { self.alloc(layout) };
            if !block.is_null() {
                // SAFETY: the block is ours and that large.
                unsafe { block.write_bytes(0, layout.size()) };
            }
            block
        }

        #[inline(always)]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller's block came from `alloc`, which never returns null to it.
            let block = unsafe { NonNull::new_unchecked(block) };
            match cache_of(block.as_ptr()) {
                // SAFETY: the page says that the object is of this cache; the rest by the caller.
                Some(cache) => unsafe { cache.free(block) },
                // SAFETY: as above.
                None => unsafe { dealloc_slow(block, layout) },
            }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            if let Some(block) = NonNull::new(block)
                && in_direct_map(block)
                && resize_in_place(block, new_size)
            {
                return block.as_ptr();
            }
            // SAFETY: the caller keeps the size below isize::MAX; the alignment was valid.
            let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
            // SAFETY: the new size is not 0 (caller).
            let new = unsafe { self.alloc(new_layout) };
            if !new.is_null() {
                let len = layout.size().min(new_size);
                // SAFETY: both blocks are that large and distinct.
                unsafe { new.copy_from_nonoverlapping(block, len) };
                // SAFETY: the caller gives the old block up.
                unsafe { self.dealloc(block, layout) };
            }
            new
        }
    }

    /// Gives the part of the early heap that was never used to the page allocator; the rest
    /// stays for what was allocated in it. Once, after `mm_core_init`. Returns the pages.
    #[__init]
    pub fn release_early_heap() -> u64 {
        let (start, end) = early_heap().close();
        let (start, end) = (VirtAddr::new(start as u64), VirtAddr::new(end as u64));
        // SAFETY: the heap never used this part of its region, and no longer may.
        unsafe { mm_init::free_reserved_area(start, end, None, None) }
    }

    /// Memory is exhausted and the caller cannot cope.
    #[alloc_error_handler]
    fn out_of_memory(layout: Layout) -> ! {
        show_mem::show_mem();
        panic!(
            "Out of memory: {} bytes for the kernel itself",
            layout.size()
        );
    }
}

/// On the host, `Box` and `Arc` come from the host's heap.
#[cfg(not(target_os = "none"))]
pub(super) fn allocate_from<R>(
    _cache: &KmemCache,
    _layout: Layout,
    make: impl FnOnce() -> R,
) -> Result<R> {
    Ok(make())
}

/// On the host, `Box` and `Arc` come from the host's heap.
#[cfg(not(target_os = "none"))]
pub(super) fn allocate_from_or_heap<R>(
    _cache: &KmemCache,
    _layout: Layout,
    make: impl FnOnce() -> R,
) -> R {
    make()
}
