//! Sizes: truncate and fallocate (Linux: fs/open.c).
#![forbid(unsafe_code)]

use uapi::capability::CAP_FSETID;
use uapi::fcntl::*;
use uapi::resource::{RLIM_INFINITY, RLIMIT_FSIZE};
use uapi::signal::SIGXFSZ;

use crate::fs::attr::{Attr, AttrValid};
use crate::fs::file::{File, fget};
use crate::fs::namei::{
    LookupFlags, MAY_WRITE, Path, WalkEnv, getname, inode_permission, path_lookup,
};
use crate::fs::rlimit::rlimit;
use crate::kernel::cred::Cred;
use crate::mm::UserAddr;
use crate::prelude::*;

/// Greatest file size (Linux: `MAX_LFS_FILESIZE`).
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;

/// Sets the size of a file that the caller may write (Linux: `do_truncate`).
pub fn do_truncate(path: &Path, size: u64, cred: &Cred) -> Result {
    let inode = path.inode();
    let _locked = inode.lock.lock();
    let mut valid = AttrValid::SIZE | AttrValid::MTIME;
    valid.set(AttrValid::KILL_PRIV, !cred.has_cap(CAP_FSETID));
    let mut attr = Attr::new(valid);
    attr.size = size;
    inode.notify_change(&mut attr, cred)
}

/// Whether RLIMIT_FSIZE lets a file grow to `size`; sends SIGXFSZ when not
/// (Linux: `inode_newsize_ok`). Errors: EFBIG.
pub fn newsize_ok(old: u64, size: u64) -> Result {
    let limit = rlimit(RLIMIT_FSIZE);
    if size <= old || limit == RLIM_INFINITY || size <= limit {
        return Ok(());
    }
    let task = crate::kernel::sched::current().to_arc();
    let _ = crate::kernel::signal::send_sig(SIGXFSZ, &task);
    Err(Errno::EFBIG)
}

/// truncate for a path (Linux: `vfs_truncate`). Errors: EISDIR, EINVAL, EACCES, EROFS, ETXTBSY.
pub fn vfs_truncate(path: &Path, size: u64, cred: &Cred) -> Result {
    let inode = path.inode();
    if inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    if !inode.is_reg() {
        return Err(Errno::EINVAL);
    }
    let _write_access = path.mnt.want_write()?;
    inode_permission(inode, MAY_WRITE, cred)?;
    newsize_ok(inode.size(), size)?;
    inode.get_write_access()?;
    let result = do_truncate(path, size, cred);
    inode.put_write_access();
    result
}

fn size_from(length: i64) -> Result<u64> {
    u64::try_from(length).map_err(|_| Errno::EINVAL)
}

/// truncate(2).
pub fn sys_truncate(pathname: UserAddr, length: i64) -> Result {
    let size = size_from(length)?;
    let name = getname(pathname)?;
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, None, name.as_bytes(), LookupFlags::FOLLOW)?;
    vfs_truncate(&path, size, &env.cred)
}

/// ftruncate(2). Errors: EINVAL for what is not a regular file open for writing.
pub fn sys_ftruncate(fd: i32, length: i64) -> Result {
    let size = size_from(length)?;
    let file = fget(fd)?;
    if !file.inode.is_reg() || !file.is_writable() {
        return Err(Errno::EINVAL);
    }
    newsize_ok(file.inode.size(), size)?;
    do_truncate(&file.path, size, &crate::kernel::sched::current().cred())
}

/// Reserves or frees room in a file (Linux: `vfs_fallocate`). Errors: EINVAL, EOPNOTSUPP,
/// EBADF, ESPIPE, EISDIR, ENODEV, EFBIG.
pub fn vfs_fallocate(file: &File, mode: u32, offset: i64, len: i64) -> Result {
    let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else {
        return Err(Errno::EINVAL);
    };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let action = mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_UNSHARE_RANGE);
    let known = match action {
        0 | FALLOC_FL_ZERO_RANGE => true,
        FALLOC_FL_PUNCH_HOLE => mode & FALLOC_FL_KEEP_SIZE != 0,
        _ => false,
    };
    if !known {
        return Err(Errno::EOPNOTSUPP);
    }
    if !file.is_writable() {
        return Err(Errno::EBADF);
    }
    let mode_bits = file.inode.mode();
    if uapi::stat::s_isfifo(mode_bits) {
        return Err(Errno::ESPIPE);
    }
    if file.inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    if !file.inode.is_reg() {
        return Err(Errno::ENODEV);
    }
    if offset
        .checked_add(len)
        .is_none_or(|end| end > MAX_FILE_SIZE)
    {
        return Err(Errno::EFBIG);
    }
    file.ops.fallocate(file, mode, offset, len)
}

/// fallocate(2).
pub fn sys_fallocate(fd: i32, mode: u32, offset: i64, len: i64) -> Result {
    vfs_fallocate(&*fget(fd)?, mode, offset, len)
}
