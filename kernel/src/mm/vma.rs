//! Areas of an address space and the tree of them (Linux: include/linux/mm_types.h,
//! `struct vm_area_struct`; mm/vma.c).
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::PAGE_SHIFT;
use crate::fs::file::File;
use crate::mm::filemap::AddressSpace;
use crate::mm::page::PageRef;
use crate::mm::pgtable::Prot;
use crate::prelude::*;

/// Unmapped room that stays below a stack that can grow, in bytes (Linux: `stack_guard_gap`).
pub const STACK_GUARD_GAP: u64 = 256 << PAGE_SHIFT;
/// Most areas of one address space (Linux: `DEFAULT_MAX_MAP_COUNT`).
pub const MAX_MAP_COUNT: usize = 65530;

bitflags::bitflags! {
    /// What an area allows and how it behaves (Linux: `VM_*`, same values where they are shown
    /// to user space in the same order).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct VmFlags: u64 {
        /// Loads.
        const READ = 0x1;
        /// Stores.
        const WRITE = 0x2;
        /// Instruction fetches.
        const EXEC = 0x4;
        /// Stores go to the object, not to a private copy.
        const SHARED = 0x8;
        /// mprotect may set READ.
        const MAYREAD = 0x10;
        /// mprotect may set WRITE.
        const MAYWRITE = 0x20;
        /// mprotect may set EXEC.
        const MAYEXEC = 0x40;
        /// Mapped with MAP_SHARED, even if the file is open for reading only.
        const MAYSHARE = 0x80;
        /// Grows down when the page below it is touched.
        const GROWSDOWN = 0x100;
        /// mlock.
        const LOCKED = 0x2000;
        /// Read in order.
        const SEQ_READ = 0x8000;
        /// Read in no order.
        const RAND_READ = 0x1_0000;
        /// A fork child does not get it.
        const DONTCOPY = 0x2_0000;
        /// mremap may not enlarge it.
        const DONTEXPAND = 0x4_0000;
        /// Locked pages come with faults, not at once.
        const LOCKONFAULT = 0x8_0000;
        /// Counted in Committed_AS.
        const ACCOUNT = 0x10_0000;
        /// MAP_NORESERVE.
        const NORESERVE = 0x20_0000;
        /// A fork child finds zeroes.
        const WIPEONFORK = 0x200_0000;
        /// Not in core files.
        const DONTDUMP = 0x400_0000;
        /// MADV_HUGEPAGE.
        const HUGEPAGE = 0x2000_0000;
        /// MADV_NOHUGEPAGE.
        const NOHUGEPAGE = 0x4000_0000;
        /// MADV_MERGEABLE.
        const MERGEABLE = 0x8000_0000;

        /// READ, WRITE and EXEC.
        const ACCESS = 0x7;
    }
}

impl VmFlags {
    /// Whether stores make private copies (Linux: `is_cow_mapping`).
    pub const fn is_cow(self) -> bool {
        self.intersection(Self::SHARED.union(Self::MAYWRITE)).bits() == Self::MAYWRITE.bits()
    }
    /// Whether it counts against RLIMIT_DATA (Linux: `is_data_mapping`).
    pub const fn is_data(self) -> bool {
        let kind = Self::WRITE.union(Self::SHARED).union(Self::GROWSDOWN);
        self.intersection(kind).bits() == Self::WRITE.bits()
    }
    /// Whether its pages may all become private memory (Linux: `accountable_mapping`).
    pub const fn is_accountable(self) -> bool {
        let kind = Self::NORESERVE.union(Self::SHARED).union(Self::WRITE);
        self.intersection(kind).bits() == Self::WRITE.bits()
    }
    /// What page table entries may allow without a fault (Linux: `vm_get_page_prot`). Private
    /// pages start read-only: the first store is a fault that makes the copy.
    pub fn page_prot(self) -> Prot {
        if !self.intersects(Self::ACCESS) {
            return Prot::NONE;
        }
        let prot = Prot::read(self.contains(Self::EXEC));
        if self.contains(Self::WRITE.union(Self::SHARED)) {
            prot.writable()
        } else {
            prot
        }
    }
}

/// Pages that the kernel itself puts into user space, such as the vDSO
/// (Linux: `struct vm_special_mapping`).
pub struct SpecialMapping {
    /// Name in /proc/PID/maps, such as `[vdso]`.
    pub name: &'static str,
    /// The pages, in order.
    pub pages: Vec<PageRef>,
}

/// Where the contents of an area come from (Linux: `vm_ops`).
#[derive(Clone)]
pub enum Backing {
    /// Zeroes.
    Anonymous,
    /// The pages of a file, or of shared anonymous memory.
    Cache(Arc<AddressSpace>),
    /// The kernel's own pages.
    Special(Arc<SpecialMapping>),
}

impl Backing {
    fn is_same(&self, other: &Backing) -> bool {
        match (self, other) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Cache(a), Backing::Cache(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// One area: a range of pages with the same origin and the same rules.
pub struct Vma {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// Rules.
    pub flags: VmFlags,
    /// Position of `start` in the backing, in pages; 0 for private anonymous memory.
    pub pgoff: u64,
    /// The mapped file, if any.
    pub file: Option<Arc<File>>,
    /// Origin of the contents.
    pub backing: Backing,
    /// Whether it has, or once had, pages of its own (Linux: `anon_vma != NULL`). Set by faults,
    /// which hold the tree shared.
    pub has_anon: AtomicBool,
}

impl Vma {
    /// Private anonymous memory.
    pub fn anonymous(start: u64, end: u64, flags: VmFlags) -> Vma {
        Vma {
            start,
            end,
            flags,
            pgoff: 0,
            file: None,
            backing: Backing::Anonymous,
            has_anon: AtomicBool::new(false),
        }
    }
    /// Size in pages.
    pub fn pages(&self) -> u64 {
        (self.end - self.start) >> PAGE_SHIFT
    }
    /// The bytes it covers.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }
    /// The page of the backing that `addr`, an address inside, shows.
    #[inline]
    pub fn page_index(&self, addr: u64) -> u64 {
        self.pgoff + ((addr - self.start) >> PAGE_SHIFT)
    }
    /// Lowest address that must stay free for it (Linux: `vm_start_gap`).
    pub fn start_with_gap(&self) -> u64 {
        if self.flags.contains(VmFlags::GROWSDOWN) {
            self.start.saturating_sub(STACK_GUARD_GAP)
        } else {
            self.start
        }
    }
    /// Whether its contents are zeroes until it is written.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous)
    }
    /// A copy of the part `start..end` with its own count of everything.
    pub fn sub_range(&self, start: u64, end: u64) -> Vma {
        let moved = (start - self.start) >> PAGE_SHIFT;
        Vma {
            start,
            end,
            flags: self.flags,
            pgoff: if self.is_anonymous() {
                0
            } else {
                self.pgoff + moved
            },
            file: self.file.clone(),
            backing: self.backing.clone(),
            has_anon: AtomicBool::new(self.has_anon.load(Ordering::Relaxed)),
        }
    }
    /// Whether `next`, which begins where this area ends, continues it.
    fn continues_with(&self, next: &Vma) -> bool {
        let same_file = match (&self.file, &next.file) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        self.end == next.start
            && self.flags == next.flags
            && same_file
            && self.backing.is_same(&next.backing)
            && (self.is_anonymous() || self.pgoff + self.pages() == next.pgoff)
    }
    fn absorb(&mut self, next: Vma) {
        self.end = next.end;
        *self.has_anon.get_mut() |= next.has_anon.into_inner();
    }
    fn prepend(&mut self, previous: Vma) {
        self.start = previous.start;
        self.pgoff = previous.pgoff;
        *self.has_anon.get_mut() |= previous.has_anon.into_inner();
    }
}

/// The areas of an address space in order; they never overlap.
///
/// Two arrays: a search looks only at the start addresses, which lie side by side. Programs have
/// tens of areas, seldom hundreds; there this beats every tree, and neighbours cost nothing.
#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "moving pointers is what makes insertion cheap"
)]
pub struct VmaTree {
    starts: Vec<u64>,
    areas: Vec<Box<Vma>>,
}

impl VmaTree {
    /// Number of areas.
    pub fn len(&self) -> usize {
        self.areas.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }
    /// All areas, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.areas.iter().map(|vma| &**vma)
    }
    /// How many areas begin before `addr`: the position of the first one that does not.
    #[inline]
    fn position(&self, addr: u64) -> usize {
        self.starts.partition_point(|&start| start < addr)
    }
    /// Position of the first area that ends after `addr`.
    #[inline]
    fn position_ending_after(&self, addr: u64) -> usize {
        let next = self.starts.partition_point(|&start| start <= addr);
        match next.checked_sub(1) {
            Some(last) if addr < self.areas[last].end => last,
            _ => next,
        }
    }
    fn at(&self, position: usize) -> Option<&Vma> {
        self.areas.get(position).map(|vma| &**vma)
    }
    /// The area that contains `addr` (Linux: `vma_lookup`).
    #[inline]
    pub fn lookup(&self, addr: u64) -> Option<&Vma> {
        self.find(addr).filter(|vma| vma.start <= addr)
    }
    /// The first area that ends after `addr` (Linux: `find_vma`).
    #[inline]
    pub fn find(&self, addr: u64) -> Option<&Vma> {
        self.at(self.position_ending_after(addr))
    }
    /// The last area that begins before `addr`.
    pub fn prev(&self, addr: u64) -> Option<&Vma> {
        self.at(self.position(addr).checked_sub(1)?)
    }
    /// The first area that begins after `addr`.
    pub fn next_after(&self, addr: u64) -> Option<&Vma> {
        self.at(self.starts.partition_point(|&start| start <= addr))
    }
    /// Areas that begin before `addr`, highest first.
    pub fn before(&self, addr: u64) -> impl Iterator<Item = &Vma> {
        self.areas[..self.position(addr)]
            .iter()
            .rev()
            .map(|vma| &**vma)
    }
    /// Positions of the areas that have a byte in the range.
    fn positions(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.position_ending_after(range.start);
        first..self.position(range.end).max(first)
    }
    /// Areas that have a byte in the range, lowest first.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = &Vma> {
        self.areas[self.positions(&range)].iter().map(|vma| &**vma)
    }
    /// Whether no area has a byte in the range.
    #[inline]
    pub fn is_free(&self, range: Range<u64>) -> bool {
        self.prev(range.end)
            .is_none_or(|vma| vma.end <= range.start)
    }
    /// Whether areas cover the range without a hole.
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for vma in self.overlapping(range.clone()) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= range.end
    }
    /// The room between the areas next to `range`, which is free by now: page tables inside it
    /// serve nobody.
    pub fn room_around(&self, range: &Range<u64>) -> Range<u64> {
        let next = self.position(range.start);
        let floor = next
            .checked_sub(1)
            .map_or(0, |previous| self.areas[previous].end);
        floor..self.starts.get(next).copied().unwrap_or(u64::MAX)
    }

    /// Makes room for `more` areas, so that adding them cannot fail. Errors: ENOMEM.
    pub fn reserve(&mut self, more: usize) -> Result {
        self.starts.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
        self.areas.try_reserve(more).map_err(|_| Errno::ENOMEM)
    }
    fn put(&mut self, position: usize, vma: Box<Vma>) {
        self.starts.insert(position, vma.start);
        self.areas.insert(position, vma);
    }
    fn take(&mut self, position: usize) -> Box<Vma> {
        self.starts.remove(position);
        self.areas.remove(position)
    }
    /// Adds an area after all others, as it is; for copies of a whole tree.
    pub fn push(&mut self, vma: Vma) {
        debug_assert!(self.areas.last().is_none_or(|last| last.end <= vma.start));
        self.put(self.areas.len(), Box::new(vma));
    }
    /// Adds an area to free room, joined with its neighbours where they continue each other
    /// (Linux: `vma_merge`).
    pub fn insert(&mut self, vma: Vma) {
        let position = self.position(vma.start);
        if let Some(previous) = position.checked_sub(1)
            && self.areas[previous].continues_with(&vma)
        {
            self.areas[previous].absorb(vma);
            return self.merge_with_next(previous);
        }
        match self.areas.get_mut(position) {
            Some(next) if vma.continues_with(next) => {
                self.starts[position] = vma.start;
                next.prepend(vma);
            }
            _ => self.put(position, Box::new(vma)),
        }
    }
    fn merge_with_next(&mut self, position: usize) {
        if let [vma, next] = &self.areas[position..self.areas.len().min(position + 2)]
            && vma.continues_with(next)
        {
            let next = self.take(position + 1);
            self.areas[position].absorb(*next);
        }
    }
    /// Makes `addr` a border between areas.
    fn split(&mut self, addr: u64) {
        let position = self.position_ending_after(addr);
        if let Some(vma) = self.areas.get_mut(position)
            && vma.start < addr
        {
            let upper = Box::new(vma.sub_range(addr, vma.end));
            vma.end = addr;
            self.put(position + 1, upper);
        }
    }
    /// Makes both ends of the range borders; the positions of the areas inside. Errors: ENOMEM
    /// when there would be more than `most` areas, nothing is changed then.
    fn isolate(&mut self, range: &Range<u64>, most: usize) -> Result<Range<usize>> {
        let mut inside = self.positions(range);
        if inside.is_empty() {
            return Ok(inside);
        }
        let splits_first = self.starts[inside.start] < range.start;
        let splits_last = self.areas[inside.end - 1].end > range.end;
        let added = usize::from(splits_first) + usize::from(splits_last);
        if added != 0 && self.areas.len() + added > most {
            return Err(Errno::ENOMEM);
        }
        self.reserve(added)?;
        if splits_last {
            self.split(range.end);
        }
        if splits_first {
            self.split(range.start);
            inside = inside.start + 1..inside.end + 1;
        }
        Ok(inside)
    }
    /// Takes out whatever is in the range, cutting areas at its ends. Errors: ENOMEM.
    pub fn detach(&mut self, range: &Range<u64>) -> Result<impl Iterator<Item = Vma> + use<'_>> {
        // What the splits add goes away again, but for a hole in the middle.
        let inside = self.isolate(range, MAX_MAP_COUNT + 1)?;
        self.starts.drain(inside.clone());
        Ok(self.areas.drain(inside).map(|vma| *vma))
    }
    /// Changes the rules of the part of one area inside `range` (splitting it as needed) and
    /// joins the result with its neighbours. Errors: ENOMEM, nothing is changed then.
    pub fn set_flags(&mut self, range: Range<u64>, flags: VmFlags) -> Result {
        let position = self.isolate(&range, MAX_MAP_COUNT)?.start;
        if let Some(vma) = self.areas.get_mut(position) {
            vma.flags = flags;
            self.merge_with_next(position);
            if let Some(previous) = position.checked_sub(1) {
                self.merge_with_next(previous);
            }
        }
        Ok(())
    }
    /// Moves the start of the area at `start`, which is anonymous, down to `new_start`, over
    /// free room (stack growth).
    pub fn grow_down(&mut self, start: u64, new_start: u64) {
        let position = self.position(start);
        if let Some(vma) = self.areas.get_mut(position) {
            vma.start = new_start;
            self.starts[position] = new_start;
        }
    }
    /// Moves the end of the area at `start` up to `new_end`, over free room.
    pub fn grow_up(&mut self, start: u64, new_end: u64) {
        let position = self.position(start);
        if let Some(vma) = self.areas.get_mut(position) {
            vma.end = new_end;
            self.merge_with_next(position);
        }
    }
}
