//! execve (Linux: fs/exec.c).
#![forbid(unsafe_code)]

use crate::fs::file::File;

/// Whether the file's mount forbids execution (Linux: `path_noexec`).
pub fn path_noexec(file: &File) -> bool {
    let flags = file.path.mnt.flags() | file.path.mnt.sb.flags();
    flags & uapi::mount::MS_NOEXEC != 0
}

/// Writes a file's changes to its storage (Linux: `vfs_fsync`).
pub fn vfs_fsync(file: &File) -> crate::prelude::Result {
    file.ops.fsync(file)
}
