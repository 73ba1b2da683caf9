//! Faults: demand paging, copy-on-write, stack growth (Linux: mm/memory.c).
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::Ordering;

use uapi::signal::{BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, SI_KERNEL, SIGBUS, SIGKILL, SIGSEGV};

use crate::arch::{self, PAGE_SIZE};
use crate::kernel::sched::current;
use crate::mm::filemap::AddressSpace;
use crate::mm::gfp::Gfp;
use crate::mm::mm_types::{MmStruct, Mmap};
use crate::mm::mmu_gather::MmuGather;
use crate::mm::page::PageRef;
use crate::mm::page_alloc::{alloc_pages, zero_pfn};
use crate::mm::pgtable::{Access, PageTable, Sharing, Slot};
use crate::mm::vma::{Backing, SpecialMapping, VmFlags, Vma};
use crate::mm::{Pfn, UserAddr};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
/// Pages of a file that one fault maps at most, if they are cached (Linux: `fault_around_bytes`).
const FAULT_AROUND_PAGES: usize = 16;

bitflags::bitflags! {
    /// What the access that faulted wanted; nothing set is a load (Linux: `FAULT_FLAG_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FaultAccess: u32 {
        /// A store.
        const WRITE = 1;
        /// An instruction fetch.
        const EXEC = 2;
    }
}

/// The signal that a bad access earns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultError {
    /// SIGSEGV, SIGBUS, or SIGKILL when memory ran out.
    pub signal: i32,
    /// `SEGV_MAPERR`, ...
    pub code: i32,
}

impl FaultError {
    /// Nothing is mapped there.
    pub const MAPERR: FaultError = FaultError {
        signal: SIGSEGV,
        code: SEGV_MAPERR,
    };
    /// Something is, but not for this kind of access.
    pub const ACCERR: FaultError = FaultError {
        signal: SIGSEGV,
        code: SEGV_ACCERR,
    };
    /// The file ends before it.
    pub const BUS: FaultError = FaultError {
        signal: SIGBUS,
        code: BUS_ADRERR,
    };
    /// No memory.
    pub const OOM: FaultError = FaultError {
        signal: SIGKILL,
        code: SI_KERNEL,
    };
}

impl From<Errno> for FaultError {
    fn from(errno: Errno) -> Self {
        if errno == Errno::ENOMEM {
            Self::OOM
        } else {
            Self::BUS
        }
    }
}

type Outcome = Result<(), FaultError>;

/// Makes the page at `addr` usable for `access`, or says which signal is due. The access is then
/// tried again; it may fault again when another thread was faster.
/// Context: process, may sleep; `mmap_lock` not held.
pub fn handle_mm_fault(mm: &MmStruct, addr: UserAddr, access: FaultAccess) -> Outcome {
    let addr = addr.as_u64() & !(PAGE - 1);
    let map = mm.read();
    if let Some(vma) = map.vmas.lookup(addr) {
        return fault_in_area(mm, &map, vma, addr, access);
    }
    drop(map);
    mm.expand_stack(addr).map_err(|_| FaultError::MAPERR)?;
    let map = mm.read();
    let vma = map.vmas.lookup(addr).ok_or(FaultError::MAPERR)?;
    fault_in_area(mm, &map, vma, addr, access)
}

fn fault_in_area(mm: &MmStruct, map: &Mmap, vma: &Vma, addr: u64, access: FaultAccess) -> Outcome {
    check_access(vma.flags, access)?;
    account_fault();
    let fault = Fault {
        mm,
        map,
        vma,
        addr,
        write: access.contains(FaultAccess::WRITE),
    };
    fault.handle()
}

/// Linux: arch/x86/mm/fault.c, `access_error`. Any right implies that loads work.
fn check_access(flags: VmFlags, access: FaultAccess) -> Outcome {
    let allowed = if access.contains(FaultAccess::WRITE) {
        flags.contains(VmFlags::WRITE)
    } else if access.contains(FaultAccess::EXEC) {
        flags.contains(VmFlags::EXEC)
    } else {
        flags.intersects(VmFlags::ACCESS)
    };
    if allowed {
        Ok(())
    } else {
        Err(FaultError::ACCERR)
    }
}

fn account_fault() {
    if !arch::current_ptr().is_null() {
        current().min_flt.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is in the page table at the fault address.
enum Found {
    Nothing,
    /// A page that must not be written: the zero page.
    ReadOnlyZero,
    /// A page that must not be written.
    ReadOnly(Pfn),
    /// Everything the access needs; another thread was faster.
    Enough,
}

/// One fault in an area that allows it; the tree is held shared (Linux: `struct vm_fault`).
struct Fault<'a> {
    mm: &'a MmStruct,
    map: &'a Mmap,
    vma: &'a Vma,
    /// Page address.
    addr: u64,
    write: bool,
}

impl Fault<'_> {
    fn handle(&self) -> Outcome {
        match self.look() {
            Found::Nothing => self.no_page(),
            Found::ReadOnlyZero => self.replace_zero_page(),
            Found::ReadOnly(pfn) => self.copy_on_write(pfn),
            Found::Enough => Ok(()),
        }
    }

    fn tables(&self) -> &PageTable {
        self.mm.page_table()
    }

    fn is_shared(&self) -> bool {
        self.vma.flags.contains(VmFlags::SHARED)
    }

    /// Looks at the entry, and grants what needs no new page.
    fn look(&self) -> Found {
        if self.tables().peek(self.map, self.addr).is_none() {
            return Found::Nothing; // the usual case; checked again under the lock
        }
        let lock = self.tables().lock();
        let Some(slot) = lock.slot(self.addr) else {
            return Found::Nothing;
        };
        let pte = slot.pte();
        if pte.is_none() {
            return Found::Nothing;
        }
        if !pte.is_present() {
            slot.set_prot(self.vma.flags.page_prot());
            return Found::Enough; // a store faults again, now on a present page
        }
        if !self.write || pte.is_writable() {
            slot.mark(if self.write {
                Access::Write
            } else {
                Access::Read
            });
            self.flush_page();
            return Found::Enough;
        }
        if self.is_shared() {
            slot.set_prot(self.vma.flags.page_prot());
            slot.mark(Access::Write);
            self.flush_page();
            return Found::Enough;
        }
        if pte.is_special() {
            return Found::ReadOnlyZero;
        }
        // Nobody else has the page, and nobody can get it: other tables, the page cache and
        // references in flight would count.
        if pte.is_anon() && slot.with_page(PageRef::count) == Some(1) {
            slot.set_prot(self.vma.flags.page_prot().writable());
            slot.mark(Access::Write);
            self.flush_page();
            return Found::Enough;
        }
        Found::ReadOnly(pte.pfn())
    }

    /// Forgets this page's translation: the CPU may remember the old permissions.
    fn flush_page(&self) {
        self.tables().flush(self.addr..self.addr + PAGE);
    }

    /// Linux: `do_pte_missing`.
    fn no_page(&self) -> Outcome {
        match &self.vma.backing {
            // What the OOM killer took away must not come back as zeroes.
            Backing::Anonymous if self.mm.is_unstable() => Err(FaultError::OOM),
            Backing::Anonymous if self.write => {
                let page = alloc_pages(Gfp::USER_ANON | Gfp::ZERO, 0).ok_or(FaultError::OOM)?;
                self.map_anon(page)
            }
            Backing::Anonymous => self.map_zero_page(),
            Backing::Cache(mapping) => self.file_fault(mapping),
            Backing::Special(special) => self.special_fault(special),
        }
    }

    /// Maps a new private page, writable if the area is.
    fn map_anon(&self, page: PageRef) -> Outcome {
        let mut prot = self.vma.flags.page_prot().anon().young().dirty();
        if self.vma.flags.contains(VmFlags::WRITE) {
            prot = prot.writable();
        }
        self.vma.has_anon.store(true, Ordering::Relaxed);
        if self.with_slot(|slot| slot.map(page, prot).is_ok())? {
            self.mm.rss.add(1, 0);
        }
        Ok(())
    }

    fn map_zero_page(&self) -> Outcome {
        let prot = self.vma.flags.page_prot().read_only().young();
        self.with_slot(|slot| slot.map_special(zero_pfn(), prot))?;
        Ok(())
    }

    /// Does something with the entry, under the lock and with a table made if need be.
    #[inline]
    fn with_slot<R>(&self, work: impl FnOnce(Slot<'_>) -> R) -> Result<R, FaultError> {
        let lock = self.tables().lock();
        if let Some(slot) = lock.slot(self.addr) {
            return Ok(work(slot));
        }
        drop(lock);
        let lock = self.lock_with_leaf()?;
        lock.slot(self.addr).map(work).ok_or(FaultError::OOM)
    }

    /// The page table lock with a leaf table for the address below it.
    fn lock_with_leaf(&self) -> Result<crate::mm::pgtable::PtGuard<'_>> {
        let lock = self.tables().lock();
        if lock.slot(self.addr).is_some() {
            return Ok(lock);
        }
        drop(lock);
        self.tables().alloc_leaf(self.addr)?;
        Ok(self.tables().lock())
    }

    /// A store to the shared zero page: the private page that it stood for.
    fn replace_zero_page(&self) -> Outcome {
        let page = alloc_pages(Gfp::USER_ANON | Gfp::ZERO, 0).ok_or(FaultError::OOM)?;
        self.vma.has_anon.store(true, Ordering::Relaxed);
        let prot = self.vma.flags.page_prot().writable().anon().young().dirty();
        let lock = self.tables().lock();
        if let Some(slot) = lock.slot(self.addr)
            && slot.pte().is_special()
        {
            slot.take();
            self.flush_page();
            if slot.map(page, prot).is_ok() {
                self.mm.rss.add(1, 0);
            }
        }
        Ok(())
    }

    /// A store to a page that others see too: a private copy (Linux: `wp_page_copy`).
    fn copy_on_write(&self, pfn: Pfn) -> Outcome {
        let page = alloc_pages(Gfp::USER_ANON, 0).ok_or(FaultError::OOM)?;
        self.vma.has_anon.store(true, Ordering::Relaxed);
        let prot = self.vma.flags.page_prot().writable().anon().young().dirty();
        let lock = self.tables().lock();
        let Some(slot) = lock.slot(self.addr) else {
            return Ok(());
        };
        let pte = slot.pte();
        if pte.pfn() != pfn || pte.is_writable() || !pte.is_present() {
            return Ok(()); // another thread was faster: look again
        }
        slot.with_page(|old| page.copy_from(old));
        // The old entry is gone everywhere before the copy can change: no thread ever reads the
        // old page after a store to the new one.
        let (_, old) = slot.take();
        self.flush_page();
        let mapped = slot.map(page, prot);
        drop(lock);
        if mapped.is_ok() && !pte.is_anon() {
            self.mm.rss.add(1, -1);
        }
        drop(old);
        Ok(())
    }

    /// Linux: `do_fault`.
    fn file_fault(&self, mapping: &AddressSpace) -> Outcome {
        let index = self.vma.page_index(self.addr);
        let end = self.pages_in_file(mapping);
        if index >= end {
            return Err(FaultError::BUS);
        }
        if !self.write && self.fault_around(mapping, end)? {
            return Ok(());
        }
        let page = mapping.read_mapping_page(index)?;
        if self.write && !self.is_shared() {
            let copy = alloc_pages(Gfp::USER_ANON, 0).ok_or(FaultError::OOM)?;
            copy.copy_from(&page);
            return self.map_anon(copy);
        }
        self.map_file_page(page)
    }

    /// Pages of the mapped object, the last one perhaps in part.
    fn pages_in_file(&self, mapping: &AddressSpace) -> u64 {
        match &self.vma.file {
            Some(file) => file.inode.size().div_ceil(PAGE),
            None => mapping.anonymous_pages(),
        }
    }

    fn map_file_page(&self, page: PageRef) -> Outcome {
        let mut prot = self.vma.flags.page_prot().young();
        if self.write {
            prot = prot.dirty();
        }
        if self.with_slot(|slot| slot.map(page, prot).is_ok())? {
            self.mm.rss.add(0, 1);
        }
        Ok(())
    }

    /// Maps the cached pages around the fault address; whether its own page was among them
    /// (Linux: `do_fault_around`). The window is aligned, so one leaf table serves it.
    fn fault_around(&self, mapping: &AddressSpace, file_end: u64) -> Result<bool, FaultError> {
        const WINDOW: u64 = FAULT_AROUND_PAGES as u64 * PAGE;
        let start = (self.addr & !(WINDOW - 1)).max(self.vma.start);
        let first = self.vma.page_index(start);
        let end = ((self.addr & !(WINDOW - 1)) + WINDOW).min(self.vma.end);
        let count = ((end - start) / PAGE).min(file_end - first) as usize;
        let mut pages = [const { None }; FAULT_AROUND_PAGES];
        mapping.find_get_pages(first, &mut pages[..count]);
        let own = ((self.addr - start) / PAGE) as usize;
        if pages[own].is_none() {
            return Ok(false); // it must be read anyway; its neighbours come with the next fault
        }
        self.map_file_pages(start, &mut pages[..count])?;
        Ok(true)
    }

    fn map_file_pages(&self, start: u64, pages: &mut [Option<PageRef>]) -> Outcome {
        let prot = self.vma.flags.page_prot();
        let lock = self.lock_with_leaf()?;
        let mut range = start..start + pages.len() as u64 * PAGE;
        let Some((_, slots)) = lock.next_slots(&mut range) else {
            return Ok(());
        };
        let mut mapped = 0;
        for (slot, page) in slots.zip(pages) {
            if let Some(page) = page.take()
                && slot.map(page, prot.young()).is_ok()
            {
                mapped += 1;
            }
        }
        drop(lock);
        self.mm.rss.add(0, mapped);
        Ok(())
    }

    fn special_fault(&self, special: &SpecialMapping) -> Outcome {
        let index = self.vma.page_index(self.addr) as usize;
        let page = special.pages.get(index).ok_or(FaultError::BUS)?;
        self.map_file_page(page.clone())
    }
}

/// How many pages of each kind were taken away.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Zapped {
    /// Private pages.
    pub anon: i64,
    /// Pages of files and shared memory.
    pub file: i64,
}

/// Empties the entries of the range; the pages go into the gather (Linux: `unmap_page_range`).
pub fn zap_range(tables: &PageTable, range: Range<u64>, gather: &mut MmuGather<'_>) -> Zapped {
    let mut zapped = Zapped::default();
    let mut left = range;
    loop {
        let lock = tables.lock();
        let Some((start, slots)) = lock.next_slots(&mut left) else {
            return zapped;
        };
        zap_slots(slots, start..left.start, gather, &mut zapped);
    }
}

/// Frees the pages of the range without flushes: no CPU uses the tables any more.
pub fn discard_range(tables: &PageTable, range: Range<u64>) {
    let mut left = range;
    loop {
        // Once for each leaf table: preemption is off meanwhile.
        let lock = tables.lock();
        let Some((_, slots)) = lock.next_slots(&mut left) else {
            return;
        };
        slots
            .filter(|slot| !slot.pte().is_none())
            .for_each(Slot::discard);
    }
}

/// The entries of one leaf table, which serve `chunk`.
#[inline]
fn zap_slots<'l>(
    slots: impl Iterator<Item = Slot<'l>>,
    chunk: Range<u64>,
    gather: &mut MmuGather<'_>,
    zapped: &mut Zapped,
) {
    let (mut anon, mut file) = (0i64, 0i64);
    let mut told = false;
    for slot in slots.filter(|slot| !slot.pte().is_none()) {
        let (pte, page) = slot.take();
        if !told {
            gather.cleared(chunk.clone());
            told = true;
        }
        if let Some(page) = page {
            let private = i64::from(pte.is_anon());
            anon = anon.wrapping_add(private);
            file = file.wrapping_add(1 - private);
            if !gather.add(page) {
                gather.flush();
                told = false;
            }
        }
    }
    zapped.anon += anon;
    zapped.file += file;
}

impl MmStruct {
    /// Takes the pages of the range away; the areas stay, and the next access faults
    /// (Linux: `zap_page_range_single`). The tree is held, shared at least.
    pub(super) fn zap(&self, _held: &Mmap, range: Range<u64>) {
        let mut gather = MmuGather::new(self.page_table());
        let zapped = zap_range(self.page_table(), range, &mut gather);
        self.rss.peak();
        self.rss.add(-zapped.anon, -zapped.file);
    }

    /// Takes the pages `first..end` of a file or of shared memory away wherever they are mapped;
    /// private copies go too (Linux: `unmap_mapping_range`). Exclusive: faults that saw the old
    /// size of the file are over then. Lock order: the inode's lock comes before `mmap_lock`.
    pub fn unmap_mapping(&self, mapping: &AddressSpace, first: u64, end: u64) {
        let map = self.write();
        for vma in map.vmas.iter() {
            let Backing::Cache(mapped) = &vma.backing else {
                continue;
            };
            let (low, high) = (first.max(vma.pgoff), end.min(vma.pgoff + vma.pages()));
            if core::ptr::eq(&**mapped, mapping) && low < high {
                let at = |page: u64| vma.start + (page - vma.pgoff) * PAGE;
                self.zap(&map, at(low)..at(high));
            }
        }
    }

    /// Puts a page of private memory into an empty place of a writable area that nobody uses yet.
    /// Errors: ENOMEM, EEXIST.
    pub fn install_anon_page(&self, addr: u64, page: PageRef) -> Result {
        let map = self.read();
        let vma = map.vmas.lookup(addr).ok_or(Errno::EFAULT)?;
        vma.has_anon.store(true, Ordering::Relaxed);
        self.page_table().alloc_leaf(addr)?;
        let prot = vma.flags.page_prot().writable().anon().young().dirty();
        let lock = self.page_table().lock();
        let slot = lock.slot(addr).ok_or(Errno::ENOMEM)?;
        slot.map(page, prot).map_err(|_| Errno::EEXIST)?;
        self.rss.add(1, 0);
        Ok(())
    }

    /// Gives the child the pages of an area, private ones copy-on-write
    /// (Linux: `copy_page_range`). Both trees are held exclusively; the caller flushes.
    /// Errors: ENOMEM.
    pub(super) fn copy_page_range(&self, child: &MmStruct, vma: &Vma) -> Result {
        // Pages that only come from the file or the kernel can fault in again.
        if !vma.is_anonymous() && !vma.has_anon.load(Ordering::Relaxed) {
            return Ok(());
        }
        let sharing = if vma.flags.is_cow() {
            Sharing::Cow
        } else {
            Sharing::Shared
        };
        let mut left = vma.range();
        while let Some(start) = self.copy_tables(child, &mut left, sharing) {
            child.page_table().alloc_leaf(start)?;
        }
        Ok(())
    }

    /// Shares the entries of `left`, one leaf table after the other, until the child lacks the
    /// table for the address that is returned; `None` at the end.
    fn copy_tables(
        &self,
        child: &MmStruct,
        left: &mut Range<u64>,
        sharing: Sharing,
    ) -> Option<u64> {
        loop {
            let parent_lock = self.page_table().lock();
            let (start, slots) = parent_lock.next_slots(left)?;
            let child_lock = child.page_table().lock();
            let Some((_, child_slots)) = child_lock.next_slots(&mut (start..left.start)) else {
                left.start = start;
                return Some(start);
            };
            let (mut anon, mut file) = (0i64, 0i64);
            for (slot, child_slot) in slots.zip(child_slots) {
                if !slot.pte().is_none() {
                    let pte = slot.share_with(child_slot, sharing);
                    let private = i64::from(pte.is_anon());
                    anon = anon.wrapping_add(private);
                    file = file.wrapping_add(i64::from(!pte.is_special()) - private);
                }
            }
            child.rss.add(anon, file);
        }
    }
}
