//! User page tables (Linux: include/linux/pgtable.h, mm/pgtable-generic.c, `__pte_alloc` and
//! `free_pgtables` of mm/memory.c).
//!
//! A radix tree of four levels, whose entry format comes from the port. Leaf entries own what they
//! point to: an entry that is not `SPECIAL` holds one `PageRef`. One spin lock guards all entries of
//! an address space; it nests inside `mmap_lock` and, for fork, the child's inside the parent's.

use core::mem::ManuallyDrop;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::arch::{self, PAGE_SHIFT, PAGE_SIZE, TASK_SIZE, pte_bits};
use crate::mm::gfp::Gfp;
use crate::mm::mm_types::Mmap;
use crate::mm::mmu_gather::MmuGather;
use crate::mm::page::PageRef;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::table_cache::{TableCache, is_empty_table};
use crate::mm::vmstat::NR_PAGETABLE;
use crate::mm::{Pfn, PhysAddr, UserAddr};
use crate::prelude::*;

/// Entries of one table.
pub const PTRS_PER_TABLE: usize = 512;
const TABLE_SHIFT: u32 = 9;
/// Level of the top table; level 0 holds the leaf entries.
const TOP: u32 = 3;
/// Entries of the top table that belong to user space.
const USER_PTRS_PER_PGD: usize = PTRS_PER_TABLE / 2;

/// Bytes that one entry of a table of `level` spans.
const fn span(level: u32) -> u64 {
    1 << (PAGE_SHIFT + TABLE_SHIFT * level)
}

const fn index(addr: u64, level: u32) -> usize {
    (addr >> (PAGE_SHIFT + TABLE_SHIFT * level)) as usize % PTRS_PER_TABLE
}

/// What an entry lets user space do (Linux: `pgprot_t`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prot(u64);

impl Prot {
    /// Keeps the page but lets nobody in.
    pub const NONE: Prot = Prot(pte_bits::PROT_NONE);

    /// Readable, and executable if asked for.
    pub fn read(exec: bool) -> Prot {
        let no_exec = if exec { 0 } else { pte_bits::NO_EXEC };
        Prot((pte_bits::PRESENT | pte_bits::USER | no_exec) & arch::supported_pte_mask())
    }
    /// With writing allowed.
    pub const fn writable(self) -> Prot {
        Prot(self.0 | pte_bits::WRITE)
    }
    /// With writing forbidden.
    pub const fn read_only(self) -> Prot {
        Prot(self.0 & !pte_bits::WRITE)
    }
    /// Marked as used, so that the CPU need not do it.
    pub const fn young(self) -> Prot {
        Prot(self.0 | pte_bits::ACCESSED)
    }
    /// Marked as written.
    pub const fn dirty(self) -> Prot {
        Prot(self.0 | pte_bits::DIRTY)
    }
    /// For a page of the process's private memory.
    pub const fn anon(self) -> Prot {
        Prot(self.0 | pte_bits::ANON)
    }
}

/// A leaf entry's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pte(u64);

impl Pte {
    /// Bits that say what is allowed; the others say what is there.
    const PROT: u64 = pte_bits::PRESENT
        | pte_bits::WRITE
        | pte_bits::USER
        | pte_bits::PROT_NONE
        | pte_bits::NO_EXEC;

    #[inline]
    const fn new(pfn: Pfn, bits: u64) -> Pte {
        Pte(pfn.phys().as_u64() | bits)
    }
    /// Whether there is nothing.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Whether the CPU may use it.
    #[inline]
    pub const fn is_present(self) -> bool {
        self.0 & pte_bits::PRESENT != 0
    }
    /// Whether user space may write through it.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.0 & pte_bits::WRITE != 0
    }
    /// Whether the CPU has written through it.
    #[inline]
    pub const fn is_dirty(self) -> bool {
        self.0 & pte_bits::DIRTY != 0
    }
    /// Whether the CPU has used it.
    #[inline]
    pub const fn is_young(self) -> bool {
        self.0 & pte_bits::ACCESSED != 0
    }
    /// Whether it holds no reference to its frame.
    #[inline]
    pub const fn is_special(self) -> bool {
        self.0 & pte_bits::SPECIAL != 0
    }
    /// Whether the frame is private memory of a process.
    #[inline]
    pub const fn is_anon(self) -> bool {
        self.0 & pte_bits::ANON != 0
    }
    /// Whether instructions may be fetched through it.
    #[inline]
    pub const fn is_executable(self) -> bool {
        self.0 & pte_bits::NO_EXEC == 0
    }
    /// The frame; meaningless for an empty entry.
    #[inline]
    pub const fn pfn(self) -> Pfn {
        PhysAddr::new(self.0 & pte_bits::FRAME).pfn()
    }
    /// Whether a reference to the frame comes with the entry.
    #[inline]
    const fn is_counted(self) -> bool {
        !self.is_none() && !self.is_special()
    }
    /// The same page under other permissions (Linux: `pte_modify`).
    #[inline]
    pub const fn with_prot(self, prot: Prot) -> Pte {
        Pte(self.0 & !Self::PROT | prot.0)
    }
}

type Table = [AtomicU64; PTRS_PER_TABLE];

/// The entries of a table.
///
/// # Safety
/// `pfn` is a table of this kernel and stays one during `'a`.
#[inline]
unsafe fn table<'a>(pfn: Pfn) -> &'a Table {
    let address = arch::phys_to_virt(pfn.phys()).as_usize() as *const Table;
    // SAFETY: the frame is in the direct map; its words are only ever used atomically, by the
    // CPU's walker too.
    unsafe { &*address }
}

/// A kind of user access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
}

/// Empty tables, zeroed.
static TABLES: TableCache = TableCache::new();
/// Top tables with an empty user half and the kernel half, which never changes.
static ROOTS: TableCache = TableCache::new();

/// The page tables of one address space (Linux: what hangs off `mm->pgd`).
pub struct PageTable {
    /// Leaves in `drop`.
    root: ManuallyDrop<PageRef>,
    lock: SpinLock<()>,
    /// Tables below the root.
    nr_tables: AtomicUsize,
}

impl PageTable {
    /// Empty tables with the kernel half. Errors: ENOMEM.
    pub fn new() -> Result<PageTable> {
        let root = match ROOTS.take() {
            Some(root) => root,
            None => {
                let root = alloc_pages(Gfp::KERNEL, 0).ok_or(Errno::ENOMEM)?;
                arch::pgd_ctor(root.phys());
                root
            }
        };
        NR_PAGETABLE.inc();
        Ok(PageTable {
            root: ManuallyDrop::new(root),
            lock: SpinLock::new(()),
            nr_tables: AtomicUsize::new(0),
        })
    }

    /// Makes this CPU use the tables; the caller keeps them alive meanwhile.
    #[inline]
    pub fn activate(&self) {
        arch::load_pgd(self.root.phys());
    }

    /// Bytes of page tables (VmPTE in /proc/PID/status).
    pub fn size_bytes(&self) -> usize {
        (self.nr_tables.load(Ordering::Relaxed) + 1) * PAGE_SIZE
    }

    /// Stops every use of the tables by this CPU before they are taken apart without flushes.
    pub fn deactivate(&self) {
        arch::leave_pgd(self.root.phys());
    }

    /// Forgets cached translations of the range, everywhere.
    #[inline]
    pub fn flush(&self, range: Range<u64>) {
        arch::flush_tlb_range(self.root.phys(), range.start, range.end);
    }

    /// Takes the lock of all entries. Context: process; do not sleep while it is held.
    #[inline]
    pub fn lock(&self) -> PtGuard<'_> {
        PtGuard {
            tables: self,
            _lock: self.lock.lock(),
        }
    }

    /// The entry's value without the lock: it may change at any moment, but for `_held`'s sake
    /// no table goes away meanwhile. Empty where there is no table.
    #[inline]
    pub fn peek(&self, _held: &Mmap, addr: u64) -> Pte {
        // SAFETY: tables are freed only under the exclusive `mmap_lock`, and `_held` shows that
        // it is held, shared at least.
        match unsafe { self.walk(addr) } {
            Ok(leaf) => Pte(leaf[index(addr, 0)].load(Ordering::Relaxed)),
            Err(_) => Pte(0),
        }
    }

    /// The leaf table for `addr`, or the deepest entry that is missing and its level.
    ///
    /// # Safety
    /// The caller keeps tables from being freed: the lock of the entries, or `mmap_lock`.
    #[inline]
    unsafe fn walk(&self, addr: u64) -> Result<&Table, (&AtomicU64, u32)> {
        let mut current = self.root_table();
        let mut level = TOP;
        while level > 0 {
            let entry = &current[index(addr, level)];
            // Acquire: pairs with `install`, which zeroes a table before it links it.
            let value = Pte(entry.load(Ordering::Acquire));
            if value.is_none() {
                return Err((entry, level));
            }
            // SAFETY: it is a table, and the caller keeps it.
            current = unsafe { table(value.pfn()) };
            level -= 1;
        }
        Ok(current)
    }

    /// The entry for `addr`, if there is one.
    pub fn lookup(&self, addr: UserAddr) -> Option<Pte> {
        let lock = self.lock();
        let pte = lock.slot(addr.as_u64())?.pte();
        (!pte.is_none()).then_some(pte)
    }

    /// Makes sure that `addr` has a leaf table. Tables go away only under the exclusive
    /// `mmap_lock`, so it is still there when the caller has locked. May sleep. Errors: ENOMEM.
    pub fn alloc_leaf(&self, addr: u64) -> Result {
        while self.lock().walk(addr).is_err() {
            let page = TABLES
                .take()
                .or_else(|| alloc_pages(Gfp::KERNEL | Gfp::ZERO, 0));
            self.lock().install(addr, page.ok_or(Errno::ENOMEM)?);
        }
        Ok(())
    }

    #[inline]
    fn root_table(&self) -> &Table {
        // SAFETY: `self.root` is the top table as long as `self` lives.
        unsafe { table(self.root.pfn()) }
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.deactivate();
        // `exit_mmap` leaves nothing behind; this is for tables that never had an owner.
        let left = self.nr_tables.load(Ordering::Relaxed);
        NR_PAGETABLE.add(-(left as i64 + 1));
        if left != 0 {
            for entry in &self.root_table()[..USER_PTRS_PER_PGD] {
                release_subtree(entry, TOP);
            }
        }
        // SAFETY: the field is not used after this.
        let root = unsafe { ManuallyDrop::take(&mut self.root) };
        debug_assert!(is_empty_table(&root, USER_PTRS_PER_PGD));
        ROOTS.put(root);
    }
}

/// Empties an entry of a table of `level` with all that is below it.
fn release_subtree(entry: &AtomicU64, level: u32) {
    if level == 0 {
        return drop(Slot(entry).take());
    }
    let value = Pte(entry.swap(0, Ordering::Relaxed));
    if value.is_none() {
        return;
    }
    // SAFETY: an entry above the leaves that is not empty points to a table, which is ours until
    // the reference is dropped.
    let (lower, page) = unsafe { (table(value.pfn()), PageRef::from_pfn(value.pfn())) };
    for entry in lower {
        release_subtree(entry, level - 1);
    }
    drop(page);
}

/// The lock of all entries of an address space, held.
pub struct PtGuard<'a> {
    tables: &'a PageTable,
    _lock: crate::kernel::locking::SpinLockGuard<'a, ()>,
}

impl PtGuard<'_> {
    /// See `PageTable::walk`.
    #[inline]
    fn walk(&self, addr: u64) -> Result<&Table, (&AtomicU64, u32)> {
        // SAFETY: tables are unlinked only with the lock held, which `self` is.
        unsafe { self.tables.walk(addr) }
    }

    /// Puts a zeroed page into the deepest missing place on the way to `addr`; somebody else may
    /// have filled the place meanwhile, then the page is dropped.
    fn install(&self, addr: u64, page: PageRef) {
        if let Err((entry, _)) = self.walk(addr) {
            self.tables.nr_tables.fetch_add(1, Ordering::Relaxed);
            NR_PAGETABLE.inc();
            let value = Pte::new(page.into_pfn(), pte_bits::TABLE);
            // Release: another CPU's walker must see the zeroes behind it.
            entry.store(value.0, Ordering::Release);
        }
    }

    /// The entry for `addr`, if its table exists.
    #[inline]
    pub fn slot(&self, addr: u64) -> Option<Slot<'_>> {
        let leaf = self.walk(addr).ok()?;
        Some(Slot(&leaf[index(addr, 0)]))
    }

    /// The first entries of `range` that share an existing leaf table: where they begin, and
    /// they. `range` shrinks to what follows. Regions without tables are skipped level by level.
    #[inline]
    pub fn next_slots<'s>(
        &'s self,
        range: &mut Range<u64>,
    ) -> Option<(u64, impl Iterator<Item = Slot<'s>> + use<'s>)> {
        while range.start < range.end {
            let start = range.start;
            match self.walk(start) {
                Ok(leaf) => {
                    let end = range.end.min((start & !(span(1) - 1)) + span(1));
                    range.start = end;
                    let last = index(end - PAGE_SIZE as u64, 0);
                    return Some((start, leaf[index(start, 0)..=last].iter().map(Slot)));
                }
                Err((_, level)) => range.start = (start & !(span(level) - 1)) + span(level),
            }
        }
        None
    }

    /// Does what the CPU does for a user access: the frame if the entry allows it, with the
    /// accessed and dirty bits set.
    pub fn touch(&self, addr: UserAddr, access: Access) -> Option<Pfn> {
        if addr.as_u64() >= TASK_SIZE {
            return None; // the kernel half is not ours to walk
        }
        let slot = self.slot(addr.as_u64())?;
        let pte = slot.pte();
        let allowed = pte.is_present() && (access == Access::Read || pte.is_writable());
        if !allowed {
            return None;
        }
        let mark = match access {
            Access::Read => pte_bits::ACCESSED,
            Access::Write => pte_bits::ACCESSED | pte_bits::DIRTY,
        };
        slot.0.fetch_or(mark, Ordering::Relaxed);
        Some(pte.pfn())
    }

    /// Copies from the page at `addr` (not across its end) if user space may read it.
    pub fn read_page(&self, addr: UserAddr, buf: &mut [u8]) -> bool {
        let Some(at) = self.touch_bytes(addr, buf.len(), Access::Read) else {
            return false;
        };
        // SAFETY: the bytes are inside a page of the direct map that its entry keeps alive while
        // the lock is held; user space may race with the copy, as with any copy.
        unsafe { core::ptr::copy_nonoverlapping(at as *const u8, buf.as_mut_ptr(), buf.len()) };
        true
    }

    /// Copies to the page at `addr` (not across its end) if user space may write it.
    pub fn write_page(&self, addr: UserAddr, bytes: &[u8]) -> bool {
        let Some(at) = self.touch_bytes(addr, bytes.len(), Access::Write) else {
            return false;
        };
        // SAFETY: as in `read_page`, the other way round.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
        true
    }

    fn touch_bytes(&self, addr: UserAddr, len: usize, access: Access) -> Option<usize> {
        assert!(addr.page_offset() + len <= PAGE_SIZE, "copy across a page");
        let pfn = self.touch(addr, access)?;
        Some(arch::phys_to_virt(pfn.phys()).as_usize() + addr.page_offset())
    }

    /// Unlinks the tables that only serve `range`, whose entries are empty by now. `bounds` is
    /// the room between the neighbouring areas: a table that reaches beyond it stays.
    pub fn free_tables(&self, range: Range<u64>, bounds: Range<u64>, gather: &mut MmuGather<'_>) {
        self.free_level(self.tables.root_table(), TOP, range, &bounds, gather);
    }

    fn free_level(
        &self,
        tables: &Table,
        level: u32,
        range: Range<u64>,
        bounds: &Range<u64>,
        gather: &mut MmuGather<'_>,
    ) {
        let mut addr = range.start;
        while addr < range.end {
            let start = addr & !(span(level) - 1);
            let end = start + span(level);
            let entry = &tables[index(addr, level)];
            let value = Pte(entry.load(Ordering::Relaxed));
            if !value.is_none() {
                // SAFETY: it is a table; it goes away only below, after its last use.
                let lower = unsafe { table(value.pfn()) };
                if level > 1 {
                    self.free_level(lower, level - 1, addr..end.min(range.end), bounds, gather);
                }
                if bounds.start <= start && end <= bounds.end {
                    entry.store(0, Ordering::Relaxed);
                    self.tables.nr_tables.fetch_sub(1, Ordering::Relaxed);
                    NR_PAGETABLE.dec();
                    // SAFETY: `install` gave this reference to the entry that was just cleared.
                    let table = unsafe { PageRef::from_pfn(value.pfn()) };
                    if gather.is_exiting() {
                        debug_assert!(is_empty_table(&table, PTRS_PER_TABLE));
                        TABLES.put(table);
                    } else {
                        gather.add_flushing(start..end, table);
                    }
                }
            }
            addr = end;
        }
    }
}

/// One leaf entry, with the lock held.
#[derive(Clone, Copy)]
pub struct Slot<'l>(&'l AtomicU64);

impl Slot<'_> {
    /// Its value now. The CPU may set the accessed and dirty bits at any time.
    #[inline]
    pub fn pte(self) -> Pte {
        Pte(self.0.load(Ordering::Relaxed))
    }

    /// Fills an empty entry, which takes over the reference; gives the page back if the entry
    /// was filled meanwhile. Release order: the page's contents come first.
    #[inline]
    pub fn map(self, page: PageRef, prot: Prot) -> Result<(), PageRef> {
        if !self.pte().is_none() {
            return Err(page);
        }
        self.0
            .store(Pte::new(page.into_pfn(), prot.0).0, Ordering::Release);
        Ok(())
    }

    /// Fills an empty entry with a frame that is never freed; false if it was not empty.
    #[inline]
    pub fn map_special(self, pfn: Pfn, prot: Prot) -> bool {
        let empty = self.pte().is_none();
        if empty {
            let pte = Pte::new(pfn, prot.0 | pte_bits::SPECIAL);
            self.0.store(pte.0, Ordering::Release);
        }
        empty
    }

    /// Empties the entry; the caller flushes before it drops the page.
    #[inline]
    pub fn take(self) -> (Pte, Option<PageRef>) {
        let pte = Pte(self.0.swap(0, Ordering::Relaxed));
        // SAFETY: the entry held the reference, and the swap took it out exactly once.
        let page = pte
            .is_counted()
            .then(|| unsafe { PageRef::from_pfn(pte.pfn()) });
        (pte, page)
    }

    /// Empties the entry and drops the page at once, where no CPU uses the tables any more.
    #[inline]
    pub fn discard(self) {
        let pte = self.pte();
        self.0.store(0, Ordering::Relaxed);
        if pte.is_counted() {
            // SAFETY: the entry held the reference, and it is empty now.
            drop(unsafe { PageRef::from_pfn(pte.pfn()) });
        }
    }

    /// Moves whatever is here to the empty entry `to`; true if there was something.
    #[inline]
    pub fn move_to(self, to: Slot<'_>) -> bool {
        let pte = self.0.swap(0, Ordering::Relaxed);
        debug_assert!(pte == 0 || to.pte().is_none());
        if pte != 0 {
            to.0.store(pte, Ordering::Relaxed);
        }
        pte != 0
    }

    /// Changes the permissions, never losing an accessed or dirty bit that the CPU sets at the
    /// same time. Returns the value before.
    #[inline]
    pub fn set_prot(self, prot: Prot) -> Pte {
        let mut old = self.pte();
        loop {
            let new = old.with_prot(prot);
            match self
                .0
                .compare_exchange_weak(old.0, new.0, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return old,
                Err(now) => old = Pte(now),
            }
        }
    }

    /// Forbids writing (Linux: `ptep_set_wrprotect`).
    #[inline]
    pub fn write_protect(self) {
        self.0.fetch_and(!pte_bits::WRITE, Ordering::Relaxed);
    }

    /// Notes that the entry is used (Linux: `ptep_set_access_flags`).
    #[inline]
    pub fn mark(self, access: Access) {
        let bits = match access {
            Access::Read => pte_bits::ACCESSED,
            Access::Write => pte_bits::ACCESSED | pte_bits::DIRTY,
        };
        self.0.fetch_or(bits, Ordering::Relaxed);
    }

    /// Copies the entry, which is not empty, to the child's empty one, with a reference of its own, not yet used.
    /// With `Cow`, neither side may write from now on. Returns the child's value.
    #[inline]
    pub fn share_with(self, child: Slot<'_>, sharing: Sharing) -> Pte {
        let mut pte = self.pte();
        if sharing == Sharing::Cow && pte.is_writable() {
            self.write_protect();
            pte = Pte(pte.0 & !pte_bits::WRITE);
        }
        if !pte.is_special() {
            // SAFETY: this entry is not empty: it holds the frame and cannot change while the lock is held.
            core::mem::forget(unsafe { PageRef::get(pte.pfn()) });
        }
        child
            .0
            .store(pte.0 & !pte_bits::ACCESSED, Ordering::Relaxed);
        pte
    }

    /// Looks at the page without taking a reference; `None` for empty and special entries.
    #[inline]
    pub fn with_page<R>(self, look: impl FnOnce(&PageRef) -> R) -> Option<R> {
        let pte = self.pte();
        pte.is_counted().then(|| {
            // SAFETY: the entry keeps the page while the lock is held, and `ManuallyDrop` keeps
            // its reference where it is.
            let page = ManuallyDrop::new(unsafe { PageRef::from_pfn(pte.pfn()) });
            look(&page)
        })
    }
}

/// What fork does to a page that both sides map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Copy on write.
    Cow,
    /// Both see each other's writes.
    Shared,
}
