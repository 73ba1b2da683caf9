//! sync, fsync and their relatives (Linux: fs/sync.c, mm/fadvise.c).
#![forbid(unsafe_code)]

use uapi::fcntl::*;

use crate::fs::file::{fget, fmode};
use crate::fs::namespace::current_namespace;
use crate::prelude::*;

/// sync(2): every mounted file system writes back.
pub fn sys_sync() -> Result {
    if let Ok(ns) = current_namespace() {
        for mount in ns.mounts() {
            let _ = mount.sb.ops.sync_fs(&mount.sb);
        }
    }
    Ok(())
}

/// syncfs(2).
pub fn sys_syncfs(fd: i32) -> Result {
    let file = fget(fd)?;
    let sb = &file.inode.sb;
    sb.ops.sync_fs(sb)
}

/// fsync(2). Errors: EINVAL for files that are not stored.
pub fn sys_fsync(fd: i32) -> Result {
    let file = fget(fd)?;
    file.ops.fsync(&file)
}

/// fdatasync(2).
pub fn sys_fdatasync(fd: i32) -> Result {
    sys_fsync(fd)
}

/// sync_file_range(2). Errors: EINVAL, ESPIPE.
pub fn sys_sync_file_range(fd: i32, offset: i64, nbytes: i64, flags: u32) -> Result {
    let file = fget(fd)?;
    let end = offset.checked_add(nbytes);
    if flags & !7 != 0 || offset < 0 || end.is_none_or(|end| end < offset) {
        return Err(Errno::EINVAL);
    }
    let mode = file.inode.mode();
    if uapi::stat::s_isfifo(mode) || uapi::stat::s_ischr(mode) || uapi::stat::s_issock(mode) {
        return Err(Errno::ESPIPE);
    }
    Ok(())
}

/// fadvise64(2): advice that files in memory have no use for. Errors: ESPIPE, EINVAL.
pub fn sys_fadvise64(fd: i32, _offset: i64, len: i64, advice: u32) -> Result {
    let file = fget(fd)?;
    if uapi::stat::s_isfifo(file.inode.mode()) {
        return Err(Errno::ESPIPE);
    }
    if len < 0 || advice > POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// readahead(2): everything is in memory already. Errors: EBADF, EINVAL.
pub fn sys_readahead(fd: i32, _offset: i64, _count: usize) -> Result {
    let file = fget(fd)?;
    if file.mode & fmode::READ == 0 {
        return Err(Errno::EBADF);
    }
    if !file.inode.is_reg() {
        return Err(Errno::EINVAL);
    }
    Ok(())
}
