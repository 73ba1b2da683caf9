//! Time stamps of reads (Linux: fs/inode.c, `touch_atime`).
#![forbid(unsafe_code)]

use uapi::fcntl::O_NOATIME;
use uapi::mount::*;

use crate::fs::file::File;
use crate::fs::inode::{Inode, current_time};
use crate::fs::namei::Path;

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Whether relatime lets this read set the time: only the first one after a change, and one a
/// day (Linux: `relatime_need_update`).
fn relatime_needs_update(inode: &Inode) -> bool {
    let atime = inode.atime();
    atime <= inode.mtime()
        || atime <= inode.ctime()
        || current_time().saturating_sub(atime) >= DAY_NS
}

/// The file was read.
#[inline]
pub fn file_accessed(file: &File) {
    if file.flags() & O_NOATIME == 0 {
        touch_atime(&file.path);
    }
}

/// Something was read at `path` (Linux: `touch_atime`).
#[inline]
pub fn touch_atime(path: &Path) {
    let flags = path.mnt.flags() | path.mnt.sb.flags();
    let inode = path.inode();
    if flags & (MS_NOATIME | MS_RDONLY) != 0 || flags & MS_NODIRATIME != 0 && inode.is_dir() {
        return;
    }
    if flags & MS_RELATIME != 0 && !relatime_needs_update(inode) {
        return;
    }
    inode.set_atime(current_time());
}
