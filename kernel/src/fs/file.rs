//! Open files and the tables of them (Linux: fs/file.c, include/linux/fs.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::fcntl::{O_ACCMODE, O_NONBLOCK};

use crate::fs::eventpoll::EpollLinks;
use crate::fs::fcntl::FileOwner;
use crate::fs::file_table::{Counted, Writer};
use crate::fs::{inode::Inode, namei::Path, sleep_lock::SleepLock};
use crate::kernel::sched::current;
use crate::kernel::sched::wait::PollTable;
use crate::mm::UserAddr;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

pub use crate::fs::fdtable::{FilesStruct, UnusedFd};

/// Bits of `File::mode` (Linux: `FMODE_*`).
pub mod fmode {
    /// Open for reading.
    pub const READ: u32 = 1;
    /// Open for writing.
    pub const WRITE: u32 = 2;
    /// Has a position.
    pub const LSEEK: u32 = 4;
    /// pread(2) works.
    pub const PREAD: u32 = 8;
    /// pwrite(2) works.
    pub const PWRITE: u32 = 16;
    /// O_PATH: only names a place.
    pub const PATH: u32 = 0x4000;
    /// Reads and writes that use the position take turns.
    pub const ATOMIC_POS: u32 = 0x8000;
}

/// An open file description.
pub struct File {
    /// Where it was opened.
    pub path: Path,
    /// What is open.
    pub inode: Arc<Inode>,
    /// O_* status flags and access mode.
    pub flags: AtomicU32,
    /// File position, bytes.
    pub pos: AtomicU64,
    /// What reading, writing and so on do.
    pub ops: Arc<dyn FileOperations>,
    /// Bits of `fmode`.
    pub mode: u32,
    /// Held by reads and writes that move the position, and by directory listings.
    pub pos_lock: SleepLock,
    /// Who gets SIGIO.
    pub owner: SpinLock<FileOwner>,
    /// Event polls that watch the file.
    pub epoll: EpollLinks,
    pub(super) _writer: Option<Writer>,
    pub(super) _counted: Counted,
}

impl File {
    /// O_* status flags and access mode.
    #[inline]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }
    /// Whether O_NONBLOCK is set.
    #[inline]
    pub fn is_nonblocking(&self) -> bool {
        self.flags() & O_NONBLOCK != 0
    }
    /// Whether it is open for reading.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.mode & fmode::READ != 0
    }
    /// Whether it is open for writing.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.mode & fmode::WRITE != 0
    }
    /// Its absolute name as /proc shows it; bytes that are no UTF-8 are replaced
    /// (Linux: `file_path`).
    pub fn path_name(&self) -> String {
        let name = crate::fs::d_path::d_path(&self.path, None);
        String::from_utf8_lossy(&name).into_owned()
    }
    /// O_RDONLY, O_WRONLY or O_RDWR.
    pub fn access_mode(&self) -> u32 {
        self.flags() & O_ACCMODE
    }
}

/// What an open file can do (Linux: `struct file_operations`). An implementation may be one
/// shared object or an object of its own for each open (what Linux keeps in `private_data`).
#[expect(unused_variables, reason = "default methods refuse")]
pub trait FileOperations: Send + Sync {
    /// Reads at `pos` and advances it; 0 at the end. Errors: EAGAIN with O_NONBLOCK, EINTR as ERESTARTSYS.
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// Writes at `pos` and advances it.
    fn write_iter(&self, file: &File, from: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// Moves the position. Errors: ESPIPE, EINVAL. Only called when `seekable`.
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        crate::fs::read_write::generic_file_llseek(file, offset, whence)
    }
    /// Lists a directory from the file's position on. Context: position and directory locked.
    fn iterate(&self, file: &File, ctx: &mut dyn DirContext) -> Result {
        Err(Errno::ENOTDIR)
    }
    /// Which POLL* events hold now; registers in `table` (if any) for changes.
    fn poll(&self, file: &File, table: Option<&mut PollTable>) -> u32 {
        uapi::poll::DEFAULT_POLLMASK
    }
    /// Whether `poll` says anything; files that cannot be polled are always ready, and epoll
    /// refuses them with EPERM.
    fn can_poll(&self) -> bool {
        false
    }
    /// Device control. Errors: ENOTTY for an unknown command.
    fn ioctl(&self, file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        Err(Errno::ENOTTY)
    }
    /// Says how to map the file; regular files answer `MmapKind::PageCache`. Errors: ENODEV.
    fn mmap(&self, file: &File) -> Result<MmapKind> {
        Err(Errno::ENODEV)
    }
    /// Waits until what was written is stored. Errors: EINVAL where that means nothing.
    fn fsync(&self, file: &File) -> Result {
        Err(Errno::EINVAL)
    }
    /// Reserves or frees room. Errors: EOPNOTSUPP.
    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result {
        Err(Errno::EOPNOTSUPP)
    }
    /// A descriptor is closed (each close(2)).
    fn flush(&self, file: &File) {}
    /// The last descriptor is gone.
    fn release(&self, file: &File) {}
    /// Whether lseek, pread and pwrite make sense here.
    fn seekable(&self) -> bool {
        false
    }
    /// O_ASYNC was switched on or off. Errors: ENOTTY where nothing would send SIGIO.
    fn fasync(&self, file: &File, on: bool) -> Result {
        Err(Errno::ENOTTY)
    }
    /// Adds the lines of /proc/PID/fdinfo that only this kind of file has.
    fn show_fdinfo(&self, text: &mut String) {}
    /// For down-casts to the driver's own type.
    fn as_any(&self) -> &dyn core::any::Any {
        &()
    }
}

/// How the memory of a mapped file comes about.
pub enum MmapKind {
    /// Through the inode's page cache.
    PageCache,
    /// Anonymous zero memory (/dev/zero).
    Anonymous,
}

/// Receives directory entries (Linux: `struct dir_context`).
pub trait DirContext {
    /// Adds an entry; false when there is no room (stop). `pos` is the position after it.
    fn emit(&mut self, name: &[u8], ino: u64, d_type: u8, pos: u64) -> bool;
}

/// The open file `fd`, O_PATH ones included (Linux: `fget_raw`). Errors: EBADF.
#[inline]
pub fn fget_raw(fd: i32) -> Result<Arc<File>> {
    current().file(fd)
}

/// The open file `fd`. Errors: EBADF, also for O_PATH descriptors.
#[inline]
pub fn fget(fd: i32) -> Result<Arc<File>> {
    let file = fget_raw(fd)?;
    if file.mode & fmode::PATH != 0 {
        return Err(Errno::EBADF);
    }
    Ok(file)
}

/// The running task's table. Errors: EBADF for a dying task.
#[inline]
pub fn current_files() -> Result<Arc<FilesStruct>> {
    current().own_files().ok_or(Errno::EBADF)
}
