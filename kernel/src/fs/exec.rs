//! execve (Linux: fs/exec.c).
#![forbid(unsafe_code)]

use crate::fs::file::File;

/// Whether the file's mount forbids execution (Linux: `path_noexec`).
pub fn path_noexec(file: &File) -> bool {
    let _ = file;
    false
}

/// Writes a file's changes to its storage (Linux: `vfs_fsync`).
pub fn vfs_fsync(file: &File) -> crate::prelude::Result {
    let _ = file;
    Ok(())
}
