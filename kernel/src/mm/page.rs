//! One page frame and the counted handle to it (Linux: include/linux/mm_types.h, `struct page`).
//!
//! Every frame of RAM has a [`Page`] in one array (`vmemmap`). All zeroes is a frame that nobody
//! may allocate: reserved by the firmware, the kernel image, early boot memory. So the array needs
//! no set-up beyond zeroed memory. Links between pages are frame numbers, 0 is "none" (frame 0 is
//! never given out).

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::page_alloc;
use super::{Pfn, PhysAddr};
use crate::arch::{self, PAGE_SHIFT, PAGE_SIZE};

bitflags::bitflags! {
    /// What a frame is used for (Linux: include/linux/page-flags.h). The page cache owns the
    /// first group, the allocators the second.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct PageFlags: u32 {
        /// Somebody reads or writes the contents for the page cache; others wait.
        const LOCKED = 1;
        /// The contents are those of the file.
        const UPTODATE = 1 << 1;
        /// The contents are newer than the file's storage.
        const DIRTY = 1 << 2;
        /// Being written to storage.
        const WRITEBACK = 1 << 3;
        /// Used lately.
        const REFERENCED = 1 << 4;
        /// Anonymous or shared memory: storage would be swap.
        const SWAPBACKED = 1 << 5;
        /// May not be evicted.
        const UNEVICTABLE = 1 << 6;
        /// Private memory of a process.
        const ANON = 1 << 7;

        /// First frame of a free block; the order says how large.
        const BUDDY = 1 << 16;
        /// Belongs to a slab; `mapping` is the cache.
        const SLAB = 1 << 17;
        /// Not the first frame of its slab; `next` is the first one.
        const TAIL = 1 << 18;
        /// First frame of a large kmalloc; `private` is the number of frames.
        const LARGE_KMALLOC = 1 << 19;
        /// Never freed (the zero page).
        const RESERVED = 1 << 20;
        /// A page table.
        const TABLE = 1 << 21;
    }
}

impl PageFlags {
    /// Flags that a frame must not carry when it is freed.
    const BAD_WHEN_FREED: PageFlags = PageFlags::LOCKED
        .union(PageFlags::WRITEBACK)
        .union(PageFlags::BUDDY)
        .union(PageFlags::SLAB)
        .union(PageFlags::RESERVED);
}

/// Where the order of a block stands in the flag word.
const ORDER_SHIFT: u32 = 24;

/// What the kernel knows about one frame; 32 bytes.
#[repr(C, align(32))]
pub struct Page {
    /// `PageFlags` in the low 24 bits, order of the block in the high 8.
    flags: AtomicU32,
    /// Number of handles; 0 while free. A slab keeps its object counts here.
    pub(super) refcount: AtomicU32,
    /// Next page of the list the page is on.
    pub(super) next: AtomicU32,
    /// Previous page of the list the page is on.
    pub(super) prev: AtomicU32,
    /// For the user of the page; a slab's first free object.
    pub(super) private: AtomicU64,
    /// For the user of the page; a slab's cache.
    pub(super) mapping: AtomicU64,
}

const _: () = assert!(
    size_of::<Page>() == 32,
    "the vmemmap area is laid out for 32 bytes"
);

impl Page {
    /// A reserved frame, as in the zeroed array.
    #[cfg(test)]
    pub(super) const fn reserved() -> Self {
        Self {
            flags: AtomicU32::new(0),
            refcount: AtomicU32::new(0),
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
            private: AtomicU64::new(0),
            mapping: AtomicU64::new(0),
        }
    }
    /// The flags.
    #[inline]
    pub fn flags(&self) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.load(Ordering::Acquire))
    }
    /// Sets flags; returns those that stood before.
    #[inline]
    pub fn set_flags(&self, flags: PageFlags) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.fetch_or(flags.bits(), Ordering::AcqRel))
    }
    /// Clears flags; returns those that stood before.
    #[inline]
    pub fn clear_flags(&self, flags: PageFlags) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.fetch_and(!flags.bits(), Ordering::AcqRel))
    }
    /// Order of the block of which this is the first frame.
    #[inline]
    pub fn order(&self) -> u32 {
        self.flags.load(Ordering::Relaxed) >> ORDER_SHIFT
    }
    /// Replaces flags and order; for the allocators, who own the page at that moment.
    #[inline]
    pub(super) fn set_state(&self, flags: PageFlags, order: u32) {
        self.flags
            .store(flags.bits() | (order << ORDER_SHIFT), Ordering::Release);
    }
    /// Whether this is the first frame of a free block of exactly `order`.
    #[inline]
    pub(super) fn is_buddy(&self, order: u32) -> bool {
        self.flags.load(Ordering::Relaxed) == PageFlags::BUDDY.bits() | (order << ORDER_SHIFT)
    }
    /// Makes a frame that came off a free list an allocated block with one handle.
    #[inline]
    pub(super) fn prep_new(&self, flags: PageFlags, order: u32) {
        self.set_state(flags, order);
        self.private.store(0, Ordering::Relaxed);
        self.mapping.store(0, Ordering::Relaxed);
        self.refcount.store(1, Ordering::Release);
    }
    /// Drops one handle; true when it was the last one (Linux: `put_page_testzero`).
    #[inline]
    pub(super) fn put_testzero(&self) -> bool {
        // The only handle is ours, so nobody can make a second one meanwhile: handles are made
        // from handles, or under the lock of somebody who holds one.
        if self.refcount.load(Ordering::Acquire) == 1 {
            self.refcount.store(0, Ordering::Relaxed);
            return true;
        }
        match self.refcount.fetch_sub(1, Ordering::Release) {
            1 => {
                fence(Ordering::Acquire);
                true
            }
            0 => panic!("BUG: Bad page state: freed twice"),
            _ => false,
        }
    }
    /// The flags, if this is a single page that nothing speaks against freeing.
    #[inline]
    pub(super) fn plain_flags(&self) -> Option<PageFlags> {
        let special = PageFlags::BAD_WHEN_FREED.bits() | (u32::MAX << ORDER_SHIFT);
        let flags = self.flags.load(Ordering::Relaxed);
        (flags & special == 0).then_some(PageFlags::from_bits_retain(flags))
    }
    /// Panics when a block that is being freed is still in use for something. Returns its order.
    pub(super) fn check_free(&self) -> u32 {
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & PageFlags::BAD_WHEN_FREED.bits() != 0 {
            self.bad_page();
        }
        flags >> ORDER_SHIFT
    }
    #[cold]
    fn bad_page(&self) -> ! {
        panic!(
            "BUG: Bad page state: flags {:?} count {} when freed",
            self.flags(),
            self.refcount.load(Ordering::Relaxed)
        );
    }
    /// A word for the owner of the page (a file index, for example).
    #[inline]
    pub fn private(&self) -> u64 {
        self.private.load(Ordering::Relaxed)
    }
    /// Sets the owner's word.
    #[inline]
    pub fn set_private(&self, value: u64) {
        self.private.store(value, Ordering::Relaxed);
    }
}

/// An array of [`Page`] by frame number: the machine's, or a test's own.
#[derive(Clone, Copy)]
pub(super) struct MemMap {
    base: *const Page,
}

// SAFETY: pages consist of atomics, and the arrays live for ever.
unsafe impl Send for MemMap {}

impl MemMap {
    /// The machine's.
    #[inline]
    pub(super) fn global() -> Self {
        Self {
            base: arch::vmemmap_start() as *const Page,
        }
    }
    /// A test's: frame numbers start at 0.
    #[cfg(test)]
    pub(super) fn of(pages: &'static [Page]) -> Self {
        Self {
            base: pages.as_ptr(),
        }
    }
    /// The page of a frame. The boot path maps the array for all RAM, rounded out to blocks of
    /// the largest order, so that the buddy of a valid frame is always there to look at.
    #[inline]
    pub(super) fn page(self, pfn: u32) -> &'static Page {
        self.page_at(u64::from(pfn))
    }
    /// The same for a frame number that is not from a link.
    #[inline]
    pub(super) fn page_at(self, pfn: u64) -> &'static Page {
        // SAFETY: frame numbers reach this module from lists, from handles, or from the boot
        // memory map; their entries are mapped, live for ever and consist of atomics.
        unsafe { &*self.base.add(pfn as usize) }
    }
}

/// The page of a frame of RAM (Linux: `pfn_to_page`).
///
/// # Safety
/// `pfn` must be RAM: device memory has no entry in the array.
#[inline]
pub unsafe fn pfn_to_page(pfn: Pfn) -> &'static Page {
    MemMap::global().page_at(pfn.0)
}

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
    #[inline]
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }
    /// Physical address of the first byte.
    #[inline]
    pub fn phys(&self) -> PhysAddr {
        self.pfn.phys()
    }
    /// What the kernel knows about the first frame: flags and the owner's word.
    #[inline]
    pub fn page(&self) -> &'static Page {
        MemMap::global().page_at(self.pfn.0)
    }
    /// log2 of the number of frames.
    #[inline]
    pub fn order(&self) -> u32 {
        self.page().order()
    }
    /// Size in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        PAGE_SIZE << self.order()
    }
    /// Number of handles (page tables hold one each).
    #[inline]
    pub fn count(&self) -> u32 {
        self.page().refcount.load(Ordering::Acquire)
    }
    /// Whether this is the only handle, so that a copy-on-write fault may keep the page. The
    /// answer stays true as long as the caller keeps others from cloning the handle (page table
    /// lock). Linux: `folio_ref_count(folio) == 1` in `wp_can_reuse_anon_folio`.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.count() == 1
    }
    /// First byte in the direct map.
    #[inline]
    fn base(&self) -> *mut u8 {
        arch::phys_to_virt(self.phys()).as_usize() as *mut u8
    }
    /// Address of byte `offset`, after the check that `len` bytes from there fit.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let size = self.size();
        assert!(
            len <= size && offset <= size - len,
            "{offset}+{len} is outside a block of {size} bytes"
        );
        self.base().wrapping_add(offset)
    }
    /// Copies `src` into the block at byte `offset`; panics when it does not fit (kernel bug).
    #[inline]
    pub fn write(&self, offset: usize, src: &[u8]) {
        let dst = self.at(offset, src.len());
        // SAFETY: `at` checked the range; `src` is kernel memory, which no page handed out as a
        // `PageRef` aliases by reference.
        unsafe { dst.copy_from_nonoverlapping(src.as_ptr(), src.len()) };
    }
    /// Copies from the block at byte `offset` into `dst`.
    #[inline]
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        let src = self.at(offset, dst.len());
        // SAFETY: as in `write`.
        unsafe { dst.as_mut_ptr().copy_from_nonoverlapping(src, dst.len()) };
    }
    /// Fills `len` bytes at `offset` with `byte`.
    #[inline]
    pub fn fill(&self, offset: usize, len: usize, byte: u8) {
        let dst = self.at(offset, len);
        // SAFETY: `at` checked the range.
        unsafe { dst.write_bytes(byte, len) };
    }
    /// Copies the whole of `src`, a block of the same order.
    #[inline]
    pub fn copy_from(&self, src: &PageRef) {
        let order = self.order();
        assert!(order == src.order(), "blocks of different orders");
        if self.pfn == src.pfn {
            return;
        }
        for index in 0..1usize << order {
            let offset = index << PAGE_SHIFT;
            // SAFETY: both blocks have `1 << order` pages, and different blocks do not overlap.
            unsafe {
                arch::copy_page(
                    self.base().wrapping_add(offset),
                    src.base().wrapping_add(offset),
                );
            }
        }
    }
    /// Zeroes the whole block.
    #[inline]
    pub fn clear(&self) {
        page_alloc::clear_pages(self.pfn, self.order());
    }
    /// Gives the reference away, to a page table entry for example; `from_pfn` takes it back.
    #[inline]
    pub fn into_pfn(self) -> Pfn {
        let pfn = self.pfn;
        core::mem::forget(self);
        pfn
    }
    /// Takes back a reference that `into_pfn` gave away.
    ///
    /// # Safety
    /// `pfn` must come from `into_pfn`, and each such reference is taken back once.
    #[inline]
    pub unsafe fn from_pfn(pfn: Pfn) -> PageRef {
        PageRef { pfn }
    }
    /// A further handle to the page that a page table entry keeps alive.
    ///
    /// # Safety
    /// The caller knows that the frame is allocated and held by someone who cannot let go
    /// meanwhile (page table lock held). A lookup without a lock is not enough: the last holder
    /// frees the page without an atomic read-modify-write.
    #[inline]
    pub unsafe fn get(pfn: Pfn) -> PageRef {
        let handle = core::mem::ManuallyDrop::new(PageRef { pfn });
        PageRef::clone(&handle)
    }
}

impl Clone for PageRef {
    #[inline]
    fn clone(&self) -> Self {
        let before = self.page().refcount.fetch_add(1, Ordering::Relaxed);
        assert!(
            before.wrapping_sub(1) < i32::MAX as u32,
            "BUG: Bad page state: {before} handles"
        );
        PageRef { pfn: self.pfn }
    }
}

impl Drop for PageRef {
    #[inline]
    fn drop(&mut self) {
        let page = self.page();
        if page.put_testzero() {
            page_alloc::free_unref_page(self.pfn, page);
        }
    }
}

impl core::fmt::Debug for PageRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "PageRef(pfn {:#x} order {} count {})",
            self.pfn.0,
            self.order(),
            self.count()
        )
    }
}
