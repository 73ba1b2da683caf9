//! One page frame and the counted handle to it (Linux: include/linux/mm_types.h, `struct page`).

use super::{Pfn, PhysAddr};

/// A counted reference to an allocated block of `1 << order` page frames. The block goes back
/// to the buddy allocator when the last handle is dropped.
///
/// Contents are reached only through the copy functions: other CPUs and user space may read and
/// write the same page, so no reference into it is ever formed.
pub struct PageRef {
    pfn: Pfn,
}

impl PageRef {
    /// First frame of the block.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }
    /// Physical address of the first byte.
    pub fn phys(&self) -> PhysAddr {
        self.pfn.phys()
    }
    /// log2 of the number of frames.
    pub fn order(&self) -> u32 {
        todo!()
    }
    /// Number of handles (page tables hold one each).
    pub fn count(&self) -> u32 {
        todo!()
    }
    /// Copies `src` into the block at byte `offset`; panics when it does not fit (kernel bug).
    pub fn write(&self, offset: usize, src: &[u8]) {
        let _ = (offset, src);
        todo!()
    }
    /// Copies from the block at byte `offset` into `dst`.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        let _ = (offset, dst);
        todo!()
    }
    /// Fills `len` bytes at `offset` with `byte`.
    pub fn fill(&self, offset: usize, len: usize, byte: u8) {
        let _ = (offset, len, byte);
        todo!()
    }
    /// Copies the whole of `src`, a block of the same order.
    pub fn copy_from(&self, src: &PageRef) {
        let _ = src;
        todo!()
    }
    /// Gives the reference away, to a page table entry for example; `from_pfn` takes it back.
    pub fn into_pfn(self) -> Pfn {
        let pfn = self.pfn;
        core::mem::forget(self);
        pfn
    }
    /// Takes back a reference that `into_pfn` gave away.
    ///
    /// # Safety
    /// `pfn` must come from `into_pfn`, and each such reference is taken back once.
    pub unsafe fn from_pfn(pfn: Pfn) -> PageRef {
        PageRef { pfn }
    }
    /// A further handle to the page that a page table entry keeps alive.
    ///
    /// # Safety
    /// The caller knows that the frame is allocated and held by someone (page table lock held).
    pub unsafe fn get(pfn: Pfn) -> PageRef {
        let _ = pfn;
        todo!()
    }
}

impl Clone for PageRef {
    fn clone(&self) -> Self {
        todo!()
    }
}
