//! chmod and chown (Linux: fs/open.c).
#![forbid(unsafe_code)]

use uapi::fcntl::*;
use uapi::stat::S_IALLUGO;

use crate::fs::access::lookup_flags;
use crate::fs::attr::{Attr, AttrValid};
use crate::fs::file::{fget, fget_raw};
use crate::fs::namei::{LookupFlags, Path, WalkEnv, getname, getname_flags, path_lookup, start_at};
use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::prelude::*;

/// Changes the permission bits (Linux: `chmod_common`). Errors: EROFS, EPERM, EOPNOTSUPP for a
/// symbolic link.
pub fn chmod_common(path: &Path, mode: u32, cred: &Cred) -> Result {
    let _write_access = path.mnt.want_write()?;
    if path.inode().is_symlink() {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut attr = Attr::new(AttrValid::MODE);
    attr.mode = mode & S_IALLUGO;
    let _locked = path.inode().lock.lock();
    path.inode().notify_change(&mut attr, cred)
}

/// Changes owner and group; `u32::MAX` leaves one unchanged (Linux: `chown_common`).
pub fn chown_common(path: &Path, user: u32, group: u32, cred: &Cred) -> Result {
    let _write_access = path.mnt.want_write()?;
    let mut valid = AttrValid::KILL_PRIV;
    valid.set(AttrValid::UID, user != u32::MAX);
    valid.set(AttrValid::GID, group != u32::MAX);
    let mut attr = Attr::new(valid);
    (attr.uid, attr.gid) = (user, group);
    let _locked = path.inode().lock.lock();
    path.inode().notify_change(&mut attr, cred)
}

/// fchmod(2).
pub fn sys_fchmod(fd: i32, mode: u32) -> Result {
    chmod_common(&fget(fd)?.path, mode, &current().cred())
}

/// fchmodat2(2). Errors: EINVAL for unknown flags.
pub fn sys_fchmodat2(dfd: i32, filename: UserAddr, mode: u32, flags: u32) -> Result {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname_flags(filename)?;
    let start = start_at(dfd, name.as_bytes())?;
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, start, name.as_bytes(), lookup_flags(flags))?;
    chmod_common(&path, mode, &env.cred)
}

/// fchmodat(2).
pub fn sys_fchmodat(dfd: i32, filename: UserAddr, mode: u32) -> Result {
    sys_fchmodat2(dfd, filename, mode, 0)
}

/// chmod(2).
pub fn sys_chmod(filename: UserAddr, mode: u32) -> Result {
    sys_fchmodat2(AT_FDCWD, filename, mode, 0)
}

/// fchownat(2). Errors: EINVAL for unknown flags.
pub fn sys_fchownat(dfd: i32, filename: UserAddr, user: u32, group: u32, flag: u32) -> Result {
    if flag & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname_flags(filename)?;
    let start = start_at(dfd, name.as_bytes())?;
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, start, name.as_bytes(), lookup_flags(flag))?;
    chown_common(&path, user, group, &env.cred)
}

/// chown(2).
pub fn sys_chown(filename: UserAddr, user: u32, group: u32) -> Result {
    chown_at(filename, user, group, LookupFlags::FOLLOW)
}

/// lchown(2).
pub fn sys_lchown(filename: UserAddr, user: u32, group: u32) -> Result {
    chown_at(filename, user, group, LookupFlags::empty())
}

fn chown_at(filename: UserAddr, user: u32, group: u32, how: LookupFlags) -> Result {
    let name = getname(filename)?;
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, None, name.as_bytes(), how)?;
    chown_common(&path, user, group, &env.cred)
}

/// fchown(2).
pub fn sys_fchown(fd: i32, user: u32, group: u32) -> Result {
    let file = fget_raw(fd)?;
    if file.mode & crate::fs::file::fmode::PATH != 0 {
        return Err(Errno::EBADF);
    }
    chown_common(&file.path, user, group, &current().cred())
}
