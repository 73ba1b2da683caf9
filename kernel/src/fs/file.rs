//! Open files and the tables of them (Linux: fs/file_table.c, fs/file.c, include/linux/fs.h).
use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::fs::{inode::Inode, namei::Path};
use crate::kernel::sched::wait::PollTable;
use crate::mm::UserAddr;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

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
    /// Moves the position; the default suits regular files. Errors: ESPIPE, EINVAL.
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        Err(Errno::ESPIPE)
    }
    /// Lists a directory from the file's position on.
    fn iterate(&self, file: &File, ctx: &mut dyn DirContext) -> Result {
        Err(Errno::ENOTDIR)
    }
    /// Which POLL* events hold now; registers in `table` (if any) for changes.
    fn poll(&self, file: &File, table: Option<&mut PollTable>) -> u32 {
        uapi::poll::POLLIN | uapi::poll::POLLOUT | uapi::poll::POLLRDNORM | uapi::poll::POLLWRNORM
    }
    /// Device control. Errors: ENOTTY for an unknown command.
    fn ioctl(&self, file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        Err(Errno::ENOTTY)
    }
    /// Says how to map the file; regular files answer `MmapKind::PageCache`. Errors: ENODEV.
    fn mmap(&self, file: &File) -> Result<MmapKind> {
        Err(Errno::ENODEV)
    }
    /// A descriptor is closed (each close(2)).
    fn flush(&self, file: &File) {}
    /// The last descriptor is gone.
    fn release(&self, file: &File) {}
    /// Whether lseek, pread and pwrite make sense here.
    fn seekable(&self) -> bool {
        false
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

/// The descriptor table of a process; shared with CLONE_FILES. Owner: fs.
pub struct FilesStruct {}

impl FilesStruct {
    /// The open file of a descriptor. Errors: EBADF.
    pub fn fget(&self, fd: i32) -> Result<Arc<File>> {
        let _ = fd;
        todo!()
    }
}
