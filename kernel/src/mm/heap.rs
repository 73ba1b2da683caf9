//! The global allocator. Placeholder until the real one is merged.

#[cfg(target_os = "none")]
mod early {
    use linked_list_allocator::Heap;

    use crate::kernel::locking::IrqSpinLock;

    struct EarlyHeap(IrqSpinLock<(Heap, bool)>);

    static mut ARENA: [u64; 32 << 10] = [0; 32 << 10];

    #[global_allocator]
    static HEAP: EarlyHeap = EarlyHeap(IrqSpinLock::new((Heap::empty(), false)));

    // SAFETY: the heap hands out disjoint memory of the arena, under a lock.
    unsafe impl core::alloc::GlobalAlloc for EarlyHeap {
        unsafe fn alloc(&self, layout: core::alloc::Layout) -> *mut u8 {
            let mut heap = self.0.lock();
            if !heap.1 {
                heap.1 = true;
                // SAFETY: the arena is static and this is its only use.
                unsafe { heap.0.init((&raw mut ARENA).cast(), 256 << 10) };
            }
            heap.0
                .allocate_first_fit(layout)
                .map_or(core::ptr::null_mut(), |block| block.as_ptr())
        }
        unsafe fn dealloc(&self, block: *mut u8, layout: core::alloc::Layout) {
            let block = core::ptr::NonNull::new(block).expect("not null");
            // SAFETY: the block came from `alloc` with this layout (caller).
            unsafe { self.0.lock().0.deallocate(block, layout) };
        }
    }
}
