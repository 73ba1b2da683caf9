//! The address space of a process (Linux: include/linux/mm_types.h, `struct mm_struct`).
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::arch::PAGE_SHIFT;
use crate::fs::exec::ExeFile;
use crate::fs::file::File;
use crate::kernel::locking::{RwSemaphore, RwSemaphoreReadGuard, RwSemaphoreWriteGuard};
use crate::kernel::sched::current;
use crate::mm::filemap::{AddressSpace, MappingUser};
use crate::mm::mmu_gather::MmuGather;
use crate::mm::pgtable::PageTable;
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::mm::util::{MmapLayout, vm_unacct_memory};
use crate::mm::vma::{Backing, VmFlags, Vma, VmaTree};
use crate::prelude::*;

/// A user address space.
///
/// Lock order: `mmap_lock` (sleeping), then the page table lock (spinning). No user copy may
/// happen while `mmap_lock` is held: its fault would take the lock again.
pub struct MmStruct {
    this: Weak<MmStruct>,
    mmap: RwSemaphore<Mmap>,
    page_table: Arc<PageTable>,
    /// Resident pages.
    pub(super) rss: RssStat,
    exe_file: SpinLock<Option<Arc<ExeFile>>>,
    /// `MMF_UNSTABLE`, `MMF_OOM_SKIP`.
    oom_flags: AtomicU32,
}

/// Private memory was taken away while it may still be in use: what is missing must not come back
/// as zeroes.
const MMF_UNSTABLE: u32 = 1;
/// Killing its processes would give nothing back any more.
const MMF_OOM_SKIP: u32 = 2;

/// What `mmap_lock` protects.
pub struct Mmap {
    /// The areas.
    pub vmas: VmaTree,
    /// Where mmap looks for room.
    pub layout: MmapLayout,
    /// Where the parts of the program are, for /proc and prctl(2).
    pub parts: ProgramParts,
    /// Sizes in pages.
    pub stat: VmStat,
    /// Flags that mlockall(MCL_FUTURE) adds to every new area.
    pub def_flags: VmFlags,
}

/// Where exec put the parts of a program, in bytes.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of struct mm_struct")]
pub struct ProgramParts {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    /// The auxiliary vector as the program got it, with its AT_NULL.
    pub saved_auxv: Vec<u64>,
}

/// Sizes of an address space in pages (Linux: `total_vm` and so on).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmStat {
    /// All areas.
    pub total: u64,
    /// Greatest `total` so far.
    pub peak: u64,
    /// Executable, not writable, not stack.
    pub exec: u64,
    /// Private writable, not stack.
    pub data: u64,
    /// Stacks.
    pub stack: u64,
    /// Locked.
    pub locked: u64,
}

impl VmStat {
    /// Adds or removes pages of an area with `flags` (Linux: `vm_stat_account`).
    pub fn account(&mut self, flags: VmFlags, pages: i64) {
        let add = |field: &mut u64| *field = field.saturating_add_signed(pages);
        add(&mut self.total);
        if flags.contains(VmFlags::LOCKED) {
            add(&mut self.locked);
        }
        let kind = flags.intersection(VmFlags::EXEC | VmFlags::WRITE | VmFlags::GROWSDOWN);
        if kind == VmFlags::EXEC {
            add(&mut self.exec);
        } else if flags.contains(VmFlags::GROWSDOWN) {
            add(&mut self.stack);
        } else if flags.is_data() {
            add(&mut self.data);
        }
        self.peak = self.peak.max(self.total);
    }
}

/// Resident pages by kind (Linux: `mm->rss_stat`).
#[derive(Default)]
pub struct RssStat {
    anon: AtomicI64,
    file: AtomicI64,
    peak: AtomicI64,
}

impl RssStat {
    /// Adds to both kinds.
    #[inline]
    pub fn add(&self, anon: i64, file: i64) {
        if anon != 0 {
            self.anon.fetch_add(anon, Ordering::Relaxed);
        }
        if file != 0 {
            self.file.fetch_add(file, Ordering::Relaxed);
        }
    }
    /// Private pages.
    pub fn anon(&self) -> u64 {
        self.anon.load(Ordering::Relaxed).max(0) as u64
    }
    /// Pages of files and shared memory.
    pub fn file(&self) -> u64 {
        self.file.load(Ordering::Relaxed).max(0) as u64
    }
    /// Greatest sum so far, as of the last time that pages were taken away
    /// (Linux: `update_hiwater_rss`).
    pub fn peak(&self) -> u64 {
        let now = (self.anon() + self.file()) as i64;
        self.peak.fetch_max(now, Ordering::Relaxed).max(now) as u64
    }
}

/// Linux: `mm_cachep`.
static MM_CACHE: ArcCache<MmStruct> = ArcCache::new("mm_struct", SlabKind::Plain);

/// Makes the cache of address spaces, so that /proc/slabinfo lists it from the start.
#[__init]
pub(crate) fn mm_cache_init() {
    MM_CACHE.create();
}

impl MmStruct {
    /// An empty address space. Errors: ENOMEM.
    pub fn new(layout: MmapLayout) -> Result<Arc<MmStruct>> {
        let page_table = Arc::new(PageTable::new()?);
        MM_CACHE.try_arc_cyclic(|this| MmStruct {
            this: this.clone(),
            mmap: RwSemaphore::new(Mmap {
                vmas: VmaTree::default(),
                layout,
                parts: ProgramParts::default(),
                stat: VmStat::default(),
                def_flags: VmFlags::empty(),
            }),
            page_table,
            rss: RssStat::default(),
            exe_file: SpinLock::new(None),
            oom_flags: AtomicU32::new(0),
        })
    }

    /// The page tables. A CPU that goes on using them after the last user of the address space
    /// is gone (a kernel thread runs next) keeps a clone of the `Arc`.
    #[inline]
    pub fn page_table(&self) -> &Arc<PageTable> {
        &self.page_table
    }

    /// Shared `mmap_lock` (Linux: `mmap_read_lock`).
    #[inline]
    pub fn read(&self) -> RwSemaphoreReadGuard<'_, Mmap> {
        self.mmap.read()
    }

    /// Shared `mmap_lock` if nobody has or wants it exclusively (Linux: `mmap_read_trylock`).
    #[inline]
    pub fn try_read(&self) -> Option<RwSemaphoreReadGuard<'_, Mmap>> {
        self.mmap.try_read()
    }

    /// Exclusive `mmap_lock` (Linux: `mmap_write_lock`).
    #[inline]
    pub fn write(&self) -> RwSemaphoreWriteGuard<'_, Mmap> {
        self.mmap.write()
    }

    /// Resident pages.
    pub fn rss(&self) -> &RssStat {
        &self.rss
    }

    /// Whether pages may be missing because memory ran out (Linux: `check_stable_address_space`).
    #[inline]
    pub(super) fn is_unstable(&self) -> bool {
        self.oom_flags.load(Ordering::Acquire) & MMF_UNSTABLE != 0
    }

    /// Whether there is no use in killing for this memory (Linux: `MMF_OOM_SKIP`).
    pub(super) fn oom_skip(&self) -> bool {
        self.oom_flags.load(Ordering::Acquire) & MMF_OOM_SKIP != 0
    }

    /// From now on nobody is killed for this memory.
    pub(super) fn set_oom_skip(&self) {
        self.oom_flags.fetch_or(MMF_OOM_SKIP, Ordering::AcqRel);
    }

    /// Takes the private memory of processes that were killed away before they notice; false when
    /// `mmap_lock` is not to be had (Linux: `oom_reap_task_mm`). Context: process.
    pub(super) fn oom_reap(&self) -> bool {
        let Some(map) = self.try_read() else {
            return false;
        };
        self.oom_flags.fetch_or(MMF_UNSTABLE, Ordering::AcqRel);
        for vma in map.vmas.iter() {
            if vma.is_anonymous() && !vma.flags.contains(VmFlags::SHARED) {
                self.zap(&map, vma.range());
            }
        }
        true
    }

    /// The program that runs here (/proc/PID/exe).
    pub fn exe_file(&self) -> Option<Arc<File>> {
        self.exe_file.lock().as_ref().map(|exe| exe.file().clone())
    }

    /// The program for another address space that runs it too.
    pub fn exe(&self) -> Option<Arc<ExeFile>> {
        self.exe_file.lock().clone()
    }

    /// Sets what `exe_file` returns; the old one is dropped outside the lock.
    pub fn set_exe_file(&self, file: Option<Arc<ExeFile>>) {
        let old = core::mem::replace(&mut *self.exe_file.lock(), file);
        drop(old);
    }

    /// Asks the page cache to tell when pages of the area's file go away.
    pub(super) fn listen_to(&self, vma: &Vma) {
        if let (Backing::Cache(mapping), Some(_)) = (&vma.backing, &vma.file) {
            mapping.add_user(self.this.clone());
        }
    }

    /// Frees all user memory (Linux: `exit_mmap`). Context: process, may sleep (files close).
    fn exit_mmap(&self) {
        let map = self.write(); // nobody is left to contend
        self.page_table.deactivate();
        let mut gather = MmuGather::new_exiting();
        let mut areas = map.vmas.iter().peekable();
        while let Some(vma) = areas.next() {
            let ceiling = areas.peek().map_or(u64::MAX, |next| next.start);
            super::memory::discard_range(&self.page_table, vma.range());
            let lock = self.page_table.lock();
            // What is below is empty by now: a table goes with the last area that it serves.
            lock.free_tables(vma.range(), 0..ceiling, &mut gather);
            if vma.flags.contains(VmFlags::ACCOUNT) {
                vm_unacct_memory(vma.pages());
            }
        }
    }
}

impl MappingUser for MmStruct {
    fn unmap_pages(&self, mapping: &AddressSpace, first: u64, end: u64) {
        self.unmap_mapping(mapping, first, end);
    }
}

impl Drop for MmStruct {
    fn drop(&mut self) {
        self.exit_mmap();
    }
}

/// Bytes of `range` in whole pages.
pub const fn pages_of(range: &Range<u64>) -> u64 {
    (range.end - range.start) >> PAGE_SHIFT
}

/// The running task's address space. Errors: ESRCH for a kernel thread, which has none.
pub fn current_mm() -> Result<Arc<MmStruct>> {
    current().mm().ok_or(Errno::ESRCH)
}
