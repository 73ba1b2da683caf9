//! Mapping and unmapping (Linux: mm/mmap.c, mm/vma.c).
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::fcntl::{O_ACCMODE, O_RDONLY, O_WRONLY};
use uapi::mman::*;
use uapi::resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK};

use crate::arch::{PAGE_SHIFT, PAGE_SIZE, TASK_SIZE};
use crate::fs::file::{File, MmapKind, fget};
use crate::kernel::sched::current;
use crate::mm::filemap::AddressSpace;
use crate::mm::mm_types::{current_mm, pages_of};
use crate::mm::mmu_gather::MmuGather;
use crate::mm::util::{
    Direction, MMAP_MIN_ADDR, TASK_UNMAPPED_BASE, page_align, rlimit, vm_acct_memory,
    vm_unacct_memory,
};
use crate::mm::vma::{Backing, MAX_MAP_COUNT, SpecialMapping, VmFlags, Vma};
use crate::prelude::*;

pub use crate::mm::mm_types::{MmStruct, Mmap};

const PAGE: u64 = PAGE_SIZE as u64;
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_RAWIO: u32 = 17;

/// What mmap(2) is asked for.
pub struct MmapRequest {
    /// Hint, or the place itself with MAP_FIXED.
    pub addr: u64,
    /// Length in bytes; rounded up to pages.
    pub len: u64,
    /// `PROT_*`.
    pub prot: u32,
    /// `MAP_*`.
    pub flags: u32,
    /// `None` for MAP_ANONYMOUS.
    pub file: Option<Arc<File>>,
    /// Offset in pages.
    pub pgoff: u64,
}

/// Areas that were unmapped. Dropping them may close files, which may sleep and take file system
/// locks: that happens after `mmap_lock` is released.
#[must_use = "drop it after mmap_lock is released"]
#[derive(Default)]
pub struct Detached(Vec<Vma>);

impl Detached {
    pub(super) fn push(&mut self, vma: Vma) {
        if !vma.is_anonymous() || vma.file.is_some() {
            self.0.push(vma);
        }
    }
    /// Adds what another removal left.
    pub fn append(&mut self, mut other: Detached) {
        self.0.append(&mut other.0);
    }
}

impl Mmap {
    /// Whether `pages` more pages of this kind are within RLIMIT_AS and RLIMIT_DATA
    /// (Linux: `may_expand_vm`).
    pub fn may_expand(&self, flags: VmFlags, pages: u64) -> Result {
        let within = |used: u64, limit: u64| used.saturating_add(pages) <= limit >> PAGE_SHIFT;
        if !within(self.stat.total, rlimit(RLIMIT_AS)) {
            return Err(Errno::ENOMEM);
        }
        if flags.is_data() {
            self.may_expand_data(pages)
        } else {
            Ok(())
        }
    }

    /// Whether `pages` pages may become data (RLIMIT_DATA).
    pub fn may_expand_data(&self, pages: u64) -> Result {
        let data = self.stat.data.saturating_add(pages);
        if data <= rlimit(RLIMIT_DATA) >> PAGE_SHIFT {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// Whether `pages` more pages may be locked (Linux: `mlock_future_ok`).
    pub fn may_lock(&self, flags: VmFlags, pages: u64) -> Result {
        if !flags.contains(VmFlags::LOCKED) || may_lock_unlimited() {
            return Ok(());
        }
        let locked = self.stat.locked.saturating_add(pages);
        if locked <= rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT {
            Ok(())
        } else {
            Err(Errno::EAGAIN)
        }
    }

    /// Finds `len` free bytes, at `hint` if that is possible (Linux: `get_unmapped_area`).
    /// Errors: ENOMEM.
    pub fn get_unmapped_area(&self, hint: u64, len: u64, flags: u32) -> Result<u64> {
        if len > TASK_SIZE {
            return Err(Errno::ENOMEM);
        }
        if hint >= MMAP_MIN_ADDR && hint <= TASK_SIZE - len && self.is_free_with_gap(hint, len) {
            return Ok(hint);
        }
        if flags & MAP_32BIT != 0 {
            return self.search_up(0x4000_0000..0x8000_0000, len);
        }
        let base = self.layout.base;
        match self.layout.direction {
            Direction::TopDown => self
                .search_down(MMAP_MIN_ADDR..base, len)
                .or_else(|_| self.search_up(TASK_UNMAPPED_BASE..TASK_SIZE, len)),
            Direction::BottomUp => self
                .search_up(base..TASK_SIZE, len)
                .or_else(|_| self.search_up(MMAP_MIN_ADDR..TASK_SIZE, len)),
        }
    }

    fn is_free_with_gap(&self, addr: u64, len: u64) -> bool {
        let free_below = self.vmas.prev(addr + 1).is_none_or(|vma| vma.end <= addr);
        let next = self.vmas.find(addr);
        free_below && next.is_none_or(|vma| addr + len <= vma.start_with_gap())
    }

    /// The highest room inside `bounds`.
    fn search_down(&self, bounds: Range<u64>, len: u64) -> Result<u64> {
        let mut end = bounds.end;
        for vma in self.vmas.before(bounds.end) {
            if end >= vma.end && end - vma.end >= len {
                break;
            }
            end = end.min(vma.start_with_gap());
        }
        // After the loop `end` is below everything that was passed; a break keeps the room there.
        match end.checked_sub(len) {
            Some(start) if start >= bounds.start => Ok(start),
            _ => Err(Errno::ENOMEM),
        }
    }

    /// The lowest room inside `bounds`.
    fn search_up(&self, bounds: Range<u64>, len: u64) -> Result<u64> {
        let mut start = bounds.start;
        for vma in self.vmas.overlapping(bounds.clone()) {
            if vma
                .start_with_gap()
                .checked_sub(start)
                .is_some_and(|room| room >= len)
            {
                break;
            }
            start = start.max(vma.end);
        }
        let end = start.checked_add(len).ok_or(Errno::ENOMEM)?;
        if end <= bounds.end {
            Ok(start)
        } else {
            Err(Errno::ENOMEM)
        }
    }
}

/// Whether the running task has a capability; the kernel itself has all.
fn capable(cap: u32) -> bool {
    crate::arch::current_ptr().is_null() || current().cred().has_cap(cap)
}

/// Whether RLIMIT_MEMLOCK does not bind the running task.
pub fn may_lock_unlimited() -> bool {
    capable(CAP_IPC_LOCK)
}

/// Linux: `calc_vm_prot_bits`.
pub fn vm_prot_flags(prot: u32) -> VmFlags {
    VmFlags::from_bits_truncate(u64::from(prot)) & VmFlags::ACCESS
}

/// Linux: `calc_vm_flag_bits`.
fn vm_map_flags(flags: u32) -> VmFlags {
    let mut vm_flags = VmFlags::empty();
    vm_flags.set(VmFlags::GROWSDOWN, flags & MAP_GROWSDOWN != 0);
    vm_flags.set(VmFlags::LOCKED, flags & MAP_LOCKED != 0);
    vm_flags.set(VmFlags::NOHUGEPAGE, flags & MAP_STACK != 0);
    vm_flags.set(VmFlags::NORESERVE, flags & MAP_NORESERVE != 0);
    vm_flags
}

/// Flags of MAP_SHARED_VALIDATE that this kernel knows (Linux: `LEGACY_MAP_MASK`).
const LEGACY_MAP_MASK: u32 = MAP_SHARED
    | MAP_PRIVATE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_UNINITIALIZED
    | MAP_GROWSDOWN
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_32BIT
    | MAP_ABOVE4G
    | MAP_HUGE_MASK << MAP_HUGE_SHIFT;

/// The rules and the origin of a file mapping. Errors: EACCES, EPERM, ENODEV, EINVAL, EOPNOTSUPP.
fn file_mapping(file: &File, request: &MmapRequest, mut vm: VmFlags) -> Result<(VmFlags, Backing)> {
    let mode = file.flags.load(core::sync::atomic::Ordering::Relaxed) & O_ACCMODE;
    let (readable, writable) = (mode != O_WRONLY, mode != O_RDONLY);
    let map_type = request.flags & MAP_TYPE;
    match map_type {
        MAP_SHARED_VALIDATE if request.flags & !(LEGACY_MAP_MASK | MAP_FIXED_NOREPLACE) != 0 => {
            return Err(Errno::EOPNOTSUPP);
        }
        MAP_SHARED | MAP_SHARED_VALIDATE => {
            if request.prot & PROT_WRITE != 0 && !writable {
                return Err(Errno::EACCES);
            }
            vm |= VmFlags::MAYSHARE | VmFlags::SHARED;
            if !writable {
                vm -= VmFlags::MAYWRITE | VmFlags::SHARED;
            }
        }
        MAP_PRIVATE => {}
        _ => return Err(Errno::EINVAL),
    }
    if !readable {
        return Err(Errno::EACCES);
    }
    if crate::fs::exec::path_noexec(file) {
        if vm.contains(VmFlags::EXEC) {
            return Err(Errno::EPERM);
        }
        vm -= VmFlags::MAYEXEC;
    }
    let kind = file.ops.mmap(file)?;
    if vm.contains(VmFlags::GROWSDOWN) {
        return Err(Errno::EINVAL);
    }
    let backing = match kind {
        MmapKind::PageCache => Backing::Cache(file.inode.mapping.clone().ok_or(Errno::ENODEV)?),
        MmapKind::Anonymous if map_type == MAP_PRIVATE => Backing::Anonymous,
        MmapKind::Anonymous => {
            Backing::Cache(AddressSpace::new_anonymous(request.len >> PAGE_SHIFT)?)
        }
    };
    Ok((vm, backing))
}

/// The rules and the origin of anonymous memory. Errors: EINVAL, ENOMEM.
fn anonymous_mapping(request: &MmapRequest, vm: VmFlags) -> Result<(VmFlags, Backing)> {
    match request.flags & MAP_TYPE {
        MAP_SHARED if vm.contains(VmFlags::GROWSDOWN) => Err(Errno::EINVAL),
        MAP_SHARED => {
            let memory = AddressSpace::new_anonymous(request.len >> PAGE_SHIFT)?;
            Ok((
                vm | VmFlags::SHARED | VmFlags::MAYSHARE,
                Backing::Cache(memory),
            ))
        }
        MAP_PRIVATE => Ok((vm, Backing::Anonymous)),
        _ => Err(Errno::EINVAL),
    }
}

impl MmStruct {
    /// mmap(2) in this address space. Errors: those of mmap(2). May sleep.
    pub fn do_mmap(&self, mut request: MmapRequest) -> Result<u64> {
        prepare_request(&mut request)?;
        let (detached, start, flags);
        {
            let mut map = self.write();
            start = place_request(&map, &request)?;
            let vma = make_area(&map, &request, start)?;
            flags = vma.flags;
            detached = self.map_area(&mut map, vma)?;
        }
        drop(detached);
        let populate = request.flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE;
        if populate || flags.contains(VmFlags::LOCKED) && !flags.contains(VmFlags::LOCKONFAULT) {
            let _ = self.populate(start..start + request.len);
        }
        Ok(start)
    }

    /// Puts an area in its place, whatever is there now (Linux: `mmap_region`). Errors: ENOMEM.
    fn map_area(&self, map: &mut Mmap, mut vma: Vma) -> Result<Detached> {
        map.vmas.reserve(1)?;
        let overlap = |old: &Vma| pages_of(&(old.start.max(vma.start)..old.end.min(vma.end)));
        let replaced: u64 = map.vmas.overlapping(vma.range()).map(overlap).sum();
        map.may_expand(vma.flags, vma.pages().saturating_sub(replaced))?;
        if vma.flags.is_accountable() {
            vm_acct_memory(vma.pages())?;
            vma.flags |= VmFlags::ACCOUNT;
        }
        let detached = if replaced == 0 {
            Ok(Detached::default())
        } else {
            self.unmap_range(map, vma.range())
        };
        if detached.is_err() && vma.flags.contains(VmFlags::ACCOUNT) {
            vm_unacct_memory(vma.pages());
        }
        let detached = detached?;
        map.stat.account(vma.flags, vma.pages() as i64);
        self.listen_to(&vma);
        map.vmas.insert(vma);
        Ok(detached)
    }

    /// Adds an area of the kernel's own pages (Linux: `_install_special_mapping`).
    pub fn install_special_mapping(
        &self,
        addr: u64,
        flags: VmFlags,
        special: Arc<SpecialMapping>,
    ) -> Result {
        let len = special.pages.len() as u64 * PAGE;
        let mut vma = Vma::anonymous(addr, addr + len, flags | VmFlags::DONTEXPAND);
        vma.backing = Backing::Special(special);
        let mut map = self.write();
        if !map.vmas.is_free(vma.range()) {
            return Err(Errno::EEXIST);
        }
        let detached = self.map_area(&mut map, vma)?;
        drop(map);
        drop(detached);
        Ok(())
    }

    /// munmap(2). Errors: EINVAL, ENOMEM when a split would make too many areas.
    pub fn munmap(&self, addr: u64, len: u64) -> Result {
        let range = checked_range(addr, len)?;
        let detached = {
            let mut map = self.write();
            self.unmap_range(&mut map, range)?
        };
        drop(detached);
        Ok(())
    }

    /// Unmaps whatever is in the range (Linux: `do_vmi_align_munmap`).
    pub(super) fn unmap_range(&self, map: &mut Mmap, range: Range<u64>) -> Result<Detached> {
        let mut detached = Detached::default();
        if map.vmas.is_free(range.clone()) {
            return Ok(detached);
        }
        for vma in map.vmas.detach(&range)? {
            map.stat.account(vma.flags, -(vma.pages() as i64));
            if vma.flags.contains(VmFlags::ACCOUNT) {
                vm_unacct_memory(vma.pages());
            }
            detached.push(vma);
        }
        self.zap_and_free_tables(map, range);
        Ok(detached)
    }

    fn zap_and_free_tables(&self, map: &mut Mmap, range: Range<u64>) {
        let tables = self.page_table();
        let mut gather = MmuGather::new(tables);
        let zapped = super::memory::zap_range(tables, range.clone(), &mut gather);
        self.rss.peak();
        self.rss.add(-zapped.anon, -zapped.file);
        let room = map.vmas.room_around(&range);
        tables.lock().free_tables(range, room, &mut gather);
    }

    /// A copy for fork: same areas, private pages copy-on-write (Linux: `dup_mmap`).
    /// Errors: ENOMEM. Context: the parent's own task, may sleep.
    pub fn dup(&self) -> Result<Arc<MmStruct>> {
        let mut map = self.write();
        let child = MmStruct::new(map.layout)?;
        child.set_exe_file(self.exe());
        {
            let mut child_map = child.write();
            child_map.parts = map.parts.clone();
            let copied = self.dup_areas(&mut map, &child, &mut child_map);
            // Private pages are read-only on both sides now, also after a failure half way.
            self.page_table().flush(0..TASK_SIZE);
            copied?;
        }
        Ok(child)
    }

    fn dup_areas(&self, map: &mut Mmap, child: &MmStruct, child_map: &mut Mmap) -> Result {
        let mut last_file = core::ptr::null();
        child_map.vmas.reserve(map.vmas.len())?;
        for vma in map.vmas.iter() {
            if vma.flags.contains(VmFlags::DONTCOPY) {
                continue;
            }
            if vma.flags.contains(VmFlags::ACCOUNT) {
                vm_acct_memory(vma.pages())?;
            }
            let mut copy = vma.sub_range(vma.start, vma.end);
            copy.flags -= VmFlags::LOCKED | VmFlags::LOCKONFAULT;
            child_map.stat.account(copy.flags, copy.pages() as i64);
            // The segments of one file come one after the other: once is enough.
            let file = copy.file.as_ref().map_or(core::ptr::null(), Arc::as_ptr);
            if file != last_file {
                child.listen_to(&copy);
                last_file = file;
            }
            child_map.vmas.push(copy);
            if vma.flags.contains(VmFlags::WIPEONFORK) {
                continue;
            }
            self.copy_page_range(child, vma)?;
        }
        Ok(())
    }
}

/// Rules of ordinary data (Linux: `VM_DATA_DEFAULT_FLAGS`).
pub const DATA_FLAGS: VmFlags = VmFlags::READ
    .union(VmFlags::WRITE)
    .union(VmFlags::MAYREAD)
    .union(VmFlags::MAYWRITE)
    .union(VmFlags::MAYEXEC);

/// The pages of munmap(2) and its like. Errors: EINVAL.
pub(super) fn checked_range(addr: u64, len: u64) -> Result<Range<u64>> {
    if !addr.is_multiple_of(PAGE) || addr > TASK_SIZE || len > TASK_SIZE - addr {
        return Err(Errno::EINVAL);
    }
    let len = page_align(len)
        .filter(|&len| len != 0)
        .ok_or(Errno::EINVAL)?;
    Ok(addr..addr + len)
}

/// Rounds and checks what does not depend on the address space (first part of `do_mmap`).
fn prepare_request(request: &mut MmapRequest) -> Result {
    if request.len == 0 {
        return Err(Errno::EINVAL);
    }
    if request.flags & MAP_FIXED_NOREPLACE != 0 {
        request.flags |= MAP_FIXED;
    }
    if request.flags & MAP_FIXED == 0 {
        request.addr &= !(PAGE - 1);
        if request.addr != 0 {
            request.addr = request.addr.max(MMAP_MIN_ADDR);
        }
    }
    request.len = page_align(request.len).ok_or(Errno::ENOMEM)?;
    let end = request.pgoff.checked_add(request.len >> PAGE_SHIFT);
    if end.is_none_or(|end| end > u64::MAX >> PAGE_SHIFT) {
        return Err(Errno::EOVERFLOW);
    }
    Ok(())
}

/// Where the mapping goes. Errors: ENOMEM, EINVAL, EPERM, EEXIST.
fn place_request(map: &Mmap, request: &MmapRequest) -> Result<u64> {
    if map.vmas.len() > MAX_MAP_COUNT {
        return Err(Errno::ENOMEM);
    }
    if request.flags & MAP_FIXED == 0 {
        return map.get_unmapped_area(request.addr, request.len, request.flags);
    }
    if request.len > TASK_SIZE || request.addr > TASK_SIZE - request.len {
        return Err(Errno::ENOMEM);
    }
    if !request.addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if request.addr < MMAP_MIN_ADDR && !capable(CAP_SYS_RAWIO) {
        return Err(Errno::EPERM);
    }
    let range = request.addr..request.addr + request.len;
    if request.flags & MAP_FIXED_NOREPLACE != 0 && !map.vmas.is_free(range) {
        return Err(Errno::EEXIST);
    }
    Ok(request.addr)
}

/// The area that the request describes (second part of `do_mmap`).
fn make_area(map: &Mmap, request: &MmapRequest, start: u64) -> Result<Vma> {
    let pages = request.len >> PAGE_SHIFT;
    let vm = vm_prot_flags(request.prot)
        | vm_map_flags(request.flags)
        | map.def_flags
        | VmFlags::MAYREAD
        | VmFlags::MAYWRITE
        | VmFlags::MAYEXEC;
    if request.flags & MAP_LOCKED != 0 && rlimit(RLIMIT_MEMLOCK) == 0 && !capable(CAP_IPC_LOCK) {
        return Err(Errno::EPERM);
    }
    map.may_lock(vm, pages)?;
    let (mut flags, backing) = match &request.file {
        Some(file) => file_mapping(file, request, vm)?,
        None => anonymous_mapping(request, vm)?,
    };
    // Under OVERCOMMIT_NEVER nobody opts out.
    if crate::mm::util::OVERCOMMIT_MEMORY.load(core::sync::atomic::Ordering::Relaxed)
        == OVERCOMMIT_NEVER
    {
        flags -= VmFlags::NORESERVE;
    }
    let mut vma = Vma::anonymous(start, start + request.len, flags);
    if request.file.is_some() && !matches!(backing, Backing::Anonymous) {
        vma.pgoff = request.pgoff;
    }
    vma.file = request.file.clone();
    vma.backing = backing;
    Ok(vma)
}

/// mmap(2). Errors: EACCES, EAGAIN, EBADF, EEXIST, EINVAL, ENODEV, ENOMEM, EOVERFLOW, EPERM.
pub fn sys_mmap(addr: u64, len: u64, prot: u64, flags: u64, fd: i32, offset: u64) -> Result<u64> {
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let flags = flags as u32;
    let file = if flags & MAP_ANONYMOUS == 0 {
        Some(fget(fd)?)
    } else if flags & MAP_HUGETLB != 0 {
        return Err(Errno::ENOMEM); // no huge pages are reserved
    } else {
        None
    };
    let request = MmapRequest {
        addr,
        len,
        prot: prot as u32,
        flags,
        file,
        pgoff: offset >> PAGE_SHIFT,
    };
    current_mm()?.do_mmap(request)
}

/// munmap(2). Errors: EINVAL, ENOMEM.
pub fn sys_munmap(addr: u64, len: u64) -> Result {
    current_mm()?.munmap(addr, len)
}
