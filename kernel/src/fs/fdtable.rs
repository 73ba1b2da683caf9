//! The descriptor table of a process (Linux: fs/file.c, include/linux/fdtable.h).
//!
//! One spin lock guards the table; it is held for a few instructions. Files are always dropped
//! after it is released, because closing may sleep.
#![forbid(unsafe_code)]

use crate::arch::array_index_nospec;
use crate::fs::file::{File, fmode};
use crate::fs::locks::filp_close;
use crate::prelude::*;

/// Descriptors of a fresh table, one word of the bit maps.
const NR_OPEN_DEFAULT: usize = 64;
/// No process has more descriptors (Linux: `sysctl_nr_open`).
pub const NR_OPEN: u32 = 1024 * 1024;

/// A map of descriptor bits.
#[derive(Clone, Default)]
struct FdBits(Vec<u64>);

impl FdBits {
    fn get(&self, fd: usize) -> bool {
        self.0
            .get(fd / 64)
            .is_some_and(|word| word >> (fd % 64) & 1 != 0)
    }
    fn set(&mut self, fd: usize, on: bool) {
        if let Some(word) = self.0.get_mut(fd / 64) {
            *word = *word & !(1 << (fd % 64)) | u64::from(on) << (fd % 64);
        }
    }
    /// The first clear bit at or after `from`; it may lie just behind the map.
    fn first_clear(&self, from: usize) -> usize {
        let mut index = from / 64;
        let mut skip = from % 64;
        while let Some(word) = self.0.get(index) {
            let free = !word & u64::MAX << skip;
            if free != 0 {
                return index * 64 + free.trailing_zeros() as usize;
            }
            index += 1;
            skip = 0;
        }
        (index * 64).max(from)
    }
}

#[derive(Default)]
struct FdTable {
    files: Vec<Option<Arc<File>>>,
    /// Descriptors in use or reserved.
    open: FdBits,
    /// Of those in use, which exec closes.
    cloexec: FdBits,
    /// Every descriptor below is in use.
    next: usize,
}

impl FdTable {
    /// Makes room for descriptor `fd`. Errors: ENOMEM.
    #[inline]
    fn grow(&mut self, fd: usize) -> Result {
        if fd < self.files.len() {
            return Ok(());
        }
        self.expand(fd)
    }

    /// Linux: `expand_fdtable`.
    #[cold]
    fn expand(&mut self, fd: usize) -> Result {
        let size = (fd + 1).next_power_of_two().max(NR_OPEN_DEFAULT);
        let more = size - self.files.len();
        self.files
            .try_reserve_exact(more)
            .map_err(|_| Errno::ENOMEM)?;
        for bits in [&mut self.open, &mut self.cloexec] {
            let words = size / 64 - bits.0.len();
            bits.0.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
            bits.0.resize(size / 64, 0);
        }
        self.files.resize_with(size, || None);
        Ok(())
    }

    fn reserve(&mut self, fd: usize, cloexec: bool) {
        self.open.set(fd, true);
        self.cloexec.set(fd, cloexec);
        if fd == self.next {
            self.next = fd + 1;
        }
    }

    fn release(&mut self, fd: usize) {
        self.open.set(fd, false);
        self.next = self.next.min(fd);
    }

    /// Takes an open file out.
    fn take(&mut self, fd: usize) -> Option<Arc<File>> {
        let file = self.files.get_mut(fd)?.take()?;
        self.release(fd);
        Some(file)
    }
}

/// The descriptor table of a process; shared with CLONE_FILES.
#[derive(Default)]
pub struct FilesStruct {
    table: SpinLock<FdTable>,
}

/// A reserved descriptor; it is free again when this is dropped without `install`.
#[must_use = "the descriptor is released when this is dropped"]
pub struct UnusedFd<'a> {
    files: &'a FilesStruct,
    fd: usize,
}

impl UnusedFd<'_> {
    /// Makes the file visible under the descriptor (Linux: `fd_install`).
    pub fn install(self, file: Arc<File>) -> u32 {
        let fd = self.fd;
        if let Some(slot) = self.files.table.lock().files.get_mut(fd) {
            *slot = Some(file);
        }
        core::mem::forget(self);
        fd as u32
    }
    /// The number.
    pub fn number(&self) -> u32 {
        self.fd as u32
    }
}

impl Drop for UnusedFd<'_> {
    fn drop(&mut self) {
        self.files.table.lock().release(self.fd);
    }
}

/// Whether exec closes a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnExec {
    /// Stays open.
    Keep,
    /// Is closed.
    Close,
}

impl OnExec {
    /// From a flag word that has `flag` set or not.
    pub const fn from_flag(flags: u32, flag: u32) -> Self {
        if flags & flag != 0 {
            OnExec::Close
        } else {
            OnExec::Keep
        }
    }
}

impl FilesStruct {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file behind a descriptor. Errors: EBADF.
    #[inline]
    pub fn get(&self, fd: i32) -> Result<Arc<File>> {
        let table = self.table.lock();
        let (index, len) = (fd as u32 as usize, table.files.len());
        if index >= len {
            return Err(Errno::EBADF);
        }
        let slot = table.files.get(array_index_nospec(index, len));
        slot.cloned().flatten().ok_or(Errno::EBADF)
    }

    /// The file behind a descriptor, unless it was opened with O_PATH. Errors: EBADF.
    pub fn fget(&self, fd: i32) -> Result<Arc<File>> {
        let file = self.get(fd)?;
        if file.mode & fmode::PATH != 0 {
            return Err(Errno::EBADF);
        }
        Ok(file)
    }

    /// Reserves the lowest free descriptor that is at least `from` and below `limit`
    /// (Linux: `alloc_fd`). Errors: EMFILE, ENOMEM.
    pub fn alloc(&self, from: u32, limit: u64, on_exec: OnExec) -> Result<UnusedFd<'_>> {
        let limit = limit.min(u64::from(NR_OPEN)) as usize;
        let mut table = self.table.lock();
        let fd = table.open.first_clear(table.next.max(from as usize));
        if fd >= limit {
            return Err(Errno::EMFILE);
        }
        table.grow(fd)?;
        table.reserve(fd, on_exec == OnExec::Close);
        drop(table);
        Ok(UnusedFd { files: self, fd })
    }

    /// Opens `file` under the lowest free descriptor. Errors: EMFILE, ENOMEM.
    pub fn install(&self, file: Arc<File>, limit: u64, on_exec: OnExec) -> Result<u32> {
        let limit = limit.min(u64::from(NR_OPEN)) as usize;
        let mut table = self.table.lock();
        let fd = table.open.first_clear(table.next);
        let room = if fd < limit {
            table.grow(fd)
        } else {
            Err(Errno::EMFILE)
        };
        if let Err(error) = room {
            drop(table);
            drop(file);
            return Err(error);
        }
        table.reserve(fd, on_exec == OnExec::Close);
        if let Some(slot) = table.files.get_mut(fd) {
            *slot = Some(file);
        }
        Ok(fd as u32)
    }

    /// The files behind several descriptors, with one lock; `None` for those that are not open.
    /// `found` is empty before.
    #[inline]
    pub fn get_many(&self, fds: &[i32], found: &mut [Option<Arc<File>>]) {
        let table = self.table.lock();
        let files = table.files.as_slice();
        for (slot, fd) in found.iter_mut().zip(fds) {
            if let Some(Some(file)) = files.get(*fd as u32 as usize) {
                *slot = Some(file.clone());
            }
        }
    }

    /// Whether every descriptor in this word of a bit map, the `index`th, is open.
    pub fn all_open(&self, index: usize, bits: u64) -> bool {
        let table = self.table.lock();
        let open = table.open.0.get(index).copied().unwrap_or(0);
        bits & !open == 0
    }

    /// Makes `fd` stand for `file`; what it stood for is closed (Linux: `do_dup2`).
    /// Errors: EBADF at or above the limit, EBUSY while `fd` is being opened, ENOMEM.
    pub fn replace(&self, fd: u32, file: Arc<File>, limit: u64, on_exec: OnExec) -> Result<u32> {
        if u64::from(fd) >= limit.min(u64::from(NR_OPEN)) {
            return Err(Errno::EBADF);
        }
        let index = fd as usize;
        let old = {
            let mut table = self.table.lock();
            table.grow(index)?;
            let slot = table.files.get(index).ok_or(Errno::EBADF)?;
            if slot.is_none() && table.open.get(index) {
                return Err(Errno::EBUSY);
            }
            table.reserve(index, on_exec == OnExec::Close);
            table
                .files
                .get_mut(index)
                .and_then(|slot| slot.replace(file))
        };
        if let Some(old) = old {
            filp_close(old, self);
        }
        Ok(fd)
    }

    /// Closes a descriptor (Linux: `close_fd`). Errors: EBADF.
    #[inline]
    pub fn close(&self, fd: u32) -> Result {
        let file = self.table.lock().take(fd as usize);
        filp_close(file.ok_or(Errno::EBADF)?, self);
        Ok(())
    }

    /// Whether exec closes the descriptor. Errors: EBADF.
    pub fn on_exec(&self, fd: u32) -> Result<OnExec> {
        let table = self.table.lock();
        match table.files.get(fd as usize) {
            Some(Some(_)) if table.cloexec.get(fd as usize) => Ok(OnExec::Close),
            Some(Some(_)) => Ok(OnExec::Keep),
            _ => Err(Errno::EBADF),
        }
    }

    /// Sets whether exec closes the descriptor. Errors: EBADF.
    pub fn set_on_exec(&self, fd: u32, on_exec: OnExec) -> Result {
        let mut table = self.table.lock();
        match table.files.get(fd as usize) {
            Some(Some(_)) => {
                table.cloexec.set(fd as usize, on_exec == OnExec::Close);
                Ok(())
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// The first open descriptor at or after `from`, for listings and closing.
    pub fn next_open(&self, from: u32) -> Option<(u32, Arc<File>)> {
        let table = self.table.lock();
        let rest = table.files.get(from as usize..)?;
        rest.iter().enumerate().find_map(|(offset, file)| {
            let file = file.as_ref()?;
            Some((from + offset as u32, file.clone()))
        })
    }

    /// Calls `change` for each open descriptor in `first..=last`.
    fn for_range(&self, first: u32, last: u32, mut change: impl FnMut(u32)) {
        let mut from = first;
        while let Some((fd, file)) = self.next_open(from) {
            if fd > last {
                break;
            }
            drop(file);
            change(fd);
            from = fd + 1;
        }
    }

    /// Closes every descriptor in `first..=last`.
    pub fn close_range(&self, first: u32, last: u32) {
        self.for_range(first, last, |fd| {
            let _ = self.close(fd);
        });
    }

    /// Lets exec close every descriptor in `first..=last`.
    pub fn cloexec_range(&self, first: u32, last: u32) {
        self.for_range(first, last, |fd| {
            let _ = self.set_on_exec(fd, OnExec::Close);
        });
    }

    /// Closes what exec closes (Linux: `do_close_on_exec`). Context: the table is not shared.
    pub fn close_on_exec(&self) {
        self.for_range(0, u32::MAX - 1, |fd| {
            if self.on_exec(fd) == Ok(OnExec::Close) {
                let _ = self.close(fd);
            }
        });
    }

    /// A copy for a new process: the same open files (Linux: `dup_fd`). Errors: ENOMEM.
    pub fn dup(&self) -> Result<Self> {
        let copy = Self::new();
        {
            let from = self.table.lock();
            let mut to = copy.table.lock();
            let used = from.files.iter().rposition(Option::is_some);
            if let Some(last) = used {
                to.grow(last)?;
            }
            for (fd, file) in from.files.iter().enumerate() {
                if let Some(file) = file {
                    to.reserve(fd, from.cloexec.get(fd));
                    if let Some(slot) = to.files.get_mut(fd) {
                        *slot = Some(file.clone());
                    }
                }
            }
        }
        Ok(copy)
    }

    /// Number of slots, for `FDSize` in /proc/PID/status.
    pub fn size(&self) -> usize {
        self.table.lock().files.len().max(NR_OPEN_DEFAULT)
    }

    /// What tells this table from others: the owner of POSIX record locks.
    pub fn owner_id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl Drop for FilesStruct {
    /// The last task of the process is gone: closes everything (Linux: `close_files`).
    fn drop(&mut self) {
        let files = core::mem::take(&mut self.table.get_mut().files);
        for file in files.into_iter().flatten() {
            filp_close(file, self);
        }
    }
}
