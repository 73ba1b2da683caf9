//! The heap before the slab allocator is up.

use core::alloc::Layout;
use core::ptr::NonNull;

use linked_list_allocator::Heap;

/// Step in which the early heap grows.
const EARLY_STEP: usize = 16 << 10;

/// A first-fit heap in the first `used` bytes of a region.
pub(super) struct EarlyHeap {
    heap: Heap,
    base: usize,
    used: usize,
    limit: usize,
}

impl EarlyHeap {
    pub(super) const fn new() -> Self {
        Self {
            heap: Heap::empty(),
            base: 0,
            used: 0,
            limit: 0,
        }
    }

    /// Gives the heap its region; nothing of it is used before the first allocation.
    ///
    /// # Safety
    /// The region `[base, base + limit)` is unused writable memory for ever.
    pub(super) unsafe fn start(&mut self, base: *mut u8, limit: usize) {
        self.base = base as usize;
        self.limit = limit;
    }

    /// Whether `start` has run.
    pub(super) fn is_started(&self) -> bool {
        self.base != 0
    }

    /// A block, or `None` at the end of the region.
    pub(super) fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        loop {
            if let Ok(block) = self.heap.allocate_first_fit(layout) {
                return Some(block);
            }
            self.grow(layout)?;
        }
    }

    /// Extends the heap by what a block needs at least; `None` at the end of the region.
    fn grow(&mut self, layout: Layout) -> Option<()> {
        let wanted = layout.size().checked_add(layout.align())?;
        let wanted = wanted.checked_next_multiple_of(EARLY_STEP)?;
        let by = wanted.min(self.limit - self.used);
        if by == 0 {
            return None;
        }
        if self.used == 0 {
            // SAFETY: the region is ours (`start`) and begins there.
            unsafe { self.heap.init(self.base as *mut u8, by) };
        } else {
            // SAFETY: the region goes on there, and nothing else uses it.
            unsafe { self.heap.extend(by) };
        }
        self.used += by;
        Some(())
    }

    /// Whether the heap made this block.
    pub(super) fn contains(&self, block: NonNull<u8>) -> bool {
        (block.as_ptr() as usize).wrapping_sub(self.base) < self.limit
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block came from `allocate` with this layout.
    pub(super) unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { self.heap.deallocate(block, layout) };
    }

    /// Ends growth; returns the part of the region that was never used.
    pub(super) fn close(&mut self) -> (usize, usize) {
        let rest = (self.base + self.used, self.base + self.limit);
        self.limit = self.used;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 10;

    fn early_heap() -> EarlyHeap {
        let region = vec![0u64; LIMIT / 8].leak();
        let mut heap = EarlyHeap::new();
        // SAFETY: the region is leaked for this heap.
        unsafe { heap.start(region.as_mut_ptr().cast(), LIMIT) };
        assert!(heap.is_started());
        heap
    }

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("valid")
    }

    #[test]
    fn the_early_heap_grows_only_as_far_as_it_must() {
        let mut heap = early_heap();
        heap.allocate(bytes(100)).expect("room");
        assert_eq!(heap.used, EARLY_STEP);
        heap.allocate(bytes(20_000)).expect("room");
        assert!(heap.used <= 3 * EARLY_STEP);
        assert!(heap.allocate(bytes(60_000)).is_none());
        assert!(heap.allocate(bytes(usize::MAX / 2 - 8)).is_none());
    }

    #[test]
    fn an_early_heap_that_nobody_used_gives_its_whole_region_away() {
        let mut heap = early_heap();
        let base = heap.base;
        assert_eq!(heap.close(), (base, base + LIMIT));
        assert!(heap.allocate(bytes(8)).is_none());
    }

    #[test]
    fn a_closed_early_heap_gives_the_rest_of_its_region_away() {
        let mut heap = early_heap();
        let block = heap.allocate(bytes(100)).expect("room");
        let (start, end) = heap.close();
        assert_eq!(start, heap.base + EARLY_STEP);
        assert_eq!(end, heap.base + LIMIT);
        assert!(heap.contains(block));
        assert!(!heap.contains(NonNull::new(start as *mut u8).expect("not null")));
        assert!(heap.allocate(bytes(30_000)).is_none());
        // SAFETY: allocated above.
        unsafe { heap.deallocate(block, bytes(100)) };
    }
}
