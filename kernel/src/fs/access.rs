//! access, chdir, chroot (Linux: fs/open.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::capability::CAP_SYS_CHROOT;
use uapi::fcntl::*;
use uapi::mount::{MS_NOEXEC, MS_RDONLY};
use uapi::stat::S_IRWXUGO;

use crate::fs::file::fget_raw;
use crate::fs::namei::permission::{MAY_EXEC, MAY_WRITE};
use crate::fs::namei::{
    LookupFlags, Path, WalkEnv, getname, getname_flags, inode_permission, path_lookup, start_at,
};
use crate::kernel::cred::Cred;
use crate::mm::UserAddr;
use crate::prelude::*;

/// The credentials that access(2) asks about: the real user's, with root's capabilities only for
/// root (Linux: `access_override_creds`).
fn real_cred(cred: &Cred) -> Cred {
    let mut real = cred.clone();
    real.fsuid = cred.uid;
    real.fsgid = cred.gid;
    real.cap_effective = if cred.uid == 0 { cred.cap_permitted } else { 0 };
    real
}

/// Checks what access(2) asks about a place that was found (Linux: `do_faccessat`).
pub fn check_access(path: &Path, mode: u32, cred: &Cred) -> Result {
    let inode = path.inode();
    let noexec = (path.mnt.flags() | path.mnt.sb.flags()) & MS_NOEXEC != 0;
    if mode & MAY_EXEC != 0 && inode.is_reg() && noexec {
        return Err(Errno::EACCES);
    }
    inode_permission(inode, mode, cred)?;
    if mode & MAY_WRITE != 0 && !inode.is_special() && path.mnt.flags() & MS_RDONLY != 0 {
        return Err(Errno::EROFS);
    }
    Ok(())
}

/// faccessat2(2). Errors: EINVAL for unknown modes or flags.
pub fn sys_faccessat2(dfd: i32, filename: UserAddr, mode: u32, flags: u32) -> Result {
    let known = AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    if mode & !(R_OK | W_OK | X_OK) != 0 || flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname_flags(filename)?;
    let start = start_at(dfd, name.as_bytes())?;
    let mut env = WalkEnv::current()?;
    if flags & AT_EACCESS == 0 {
        env.cred = Arc::new(real_cred(&env.cred));
    }
    let path = path_lookup(&env, start, name.as_bytes(), lookup_flags(flags))?;
    check_access(&path, mode, &env.cred)
}

/// How the AT_* flags of most *at(2) calls walk: follow unless told not to.
pub fn lookup_flags(flags: u32) -> LookupFlags {
    let mut how = LookupFlags::empty();
    how.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    how.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    how
}

/// faccessat(2).
pub fn sys_faccessat(dfd: i32, filename: UserAddr, mode: u32) -> Result {
    sys_faccessat2(dfd, filename, mode, 0)
}

/// access(2).
pub fn sys_access(filename: UserAddr, mode: u32) -> Result {
    sys_faccessat2(AT_FDCWD, filename, mode, 0)
}

/// Makes a place the working directory. Errors: ENOTDIR, EACCES.
pub fn do_chdir(env: &WalkEnv, path: Path) -> Result {
    if !path.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    inode_permission(path.inode(), MAY_EXEC, &env.cred)?;
    env.fs.set_pwd(path);
    Ok(())
}

/// chdir(2).
pub fn sys_chdir(filename: UserAddr) -> Result {
    let name = getname(filename)?;
    let env = WalkEnv::current()?;
    let how = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let path = path_lookup(&env, None, name.as_bytes(), how)?;
    do_chdir(&env, path)
}

/// fchdir(2).
pub fn sys_fchdir(fd: i32) -> Result {
    let file = fget_raw(fd)?;
    do_chdir(&WalkEnv::current()?, file.path.clone())
}

/// Makes a place the root directory. Errors: ENOTDIR, EACCES, EPERM without CAP_SYS_CHROOT.
pub fn do_chroot(env: &WalkEnv, path: Path) -> Result {
    inode_permission(path.inode(), MAY_EXEC, &env.cred)?;
    if !env.cred.has_cap(CAP_SYS_CHROOT) {
        return Err(Errno::EPERM);
    }
    env.fs.set_root(path);
    Ok(())
}

/// chroot(2).
pub fn sys_chroot(filename: UserAddr) -> Result {
    let name = getname(filename)?;
    let env = WalkEnv::current()?;
    let how = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let path = path_lookup(&env, None, name.as_bytes(), how)?;
    do_chroot(&env, path)
}

/// umask(2); returns the old one (Linux: kernel/sys.c).
pub fn sys_umask(mask: u32) -> Result<u32> {
    let env = WalkEnv::current()?;
    Ok(env.fs.umask.swap(mask & S_IRWXUGO, Ordering::Relaxed))
}
