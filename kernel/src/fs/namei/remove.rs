//! Names that go: unlink and rmdir (Linux: fs/namei.c, `do_unlinkat`, `do_rmdir`).
#![forbid(unsafe_code)]

use uapi::fcntl::{AT_FDCWD, AT_REMOVEDIR};

use super::Path;
use super::filename::{WalkEnv, getname, start_at};
use super::permission::{Victim, may_delete};
use super::walk::{LastType, LookupFlags, Nameidata, lookup_locked};
use crate::mm::UserAddr;
use crate::prelude::*;

/// Removes the name of anything but a directory. Errors: EISDIR, ENOENT, EBUSY (mount point),
/// EPERM, EACCES, EROFS and those of the walk.
pub fn do_unlinkat(env: &WalkEnv, start: Option<Path>, name: &[u8]) -> Result {
    let mut nd = Nameidata::new(env, start, name, LookupFlags::empty())?;
    nd.walk_to_parent()?;
    if nd.last_type != LastType::Norm {
        return Err(Errno::EISDIR);
    }
    let _write_access = nd.path.mnt.want_write()?;
    let dir = nd.path.inode();
    // The victim may free a large file when it is dropped: that happens after the unlock.
    let _victim = {
        let _locked = dir.lock.lock();
        let victim = lookup_locked(&nd.path.dentry, nd.last())?.ok_or(Errno::ENOENT)?;
        if nd.trailing_slash {
            return Err(if victim.inode.is_dir() {
                Errno::EISDIR
            } else {
                Errno::ENOTDIR
            });
        }
        may_delete(dir, &victim, Victim::Other, &env.cred)?;
        if victim.is_mountpoint() {
            return Err(Errno::EBUSY);
        }
        dir.ops.unlink(dir, &victim)?;
        victim.delete();
        victim
    };
    Ok(())
}

/// Removes an empty directory. Errors: ENOTDIR, ENOTEMPTY (also for `..`), EINVAL for `.`,
/// EBUSY for a root or a mount point.
pub fn do_rmdir(env: &WalkEnv, start: Option<Path>, name: &[u8]) -> Result {
    let mut nd = Nameidata::new(env, start, name, LookupFlags::empty())?;
    nd.walk_to_parent()?;
    match nd.last_type {
        LastType::Norm => {}
        LastType::DotDot => return Err(Errno::ENOTEMPTY),
        LastType::Dot => return Err(Errno::EINVAL),
        LastType::Root => return Err(Errno::EBUSY),
    }
    let _write_access = nd.path.mnt.want_write()?;
    let dir = nd.path.inode();
    let _locked = dir.lock.lock();
    let victim = lookup_locked(&nd.path.dentry, nd.last())?.ok_or(Errno::ENOENT)?;
    may_delete(dir, &victim, Victim::Directory, &env.cred)?;
    // Parent before child: nothing can be created in the victim while it is judged empty.
    let _victim_locked = victim.inode.lock.lock();
    if victim.is_mountpoint() {
        return Err(Errno::EBUSY);
    }
    dir.ops.rmdir(dir, &victim)?;
    victim.inode.set_dead();
    victim.delete();
    Ok(())
}

/// unlinkat(2). Errors: EINVAL for unknown flags.
pub fn sys_unlinkat(dfd: i32, pathname: UserAddr, flag: u32) -> Result {
    if flag & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname(pathname)?;
    let start = start_at(dfd, name.as_bytes())?;
    let env = WalkEnv::current()?;
    if flag & AT_REMOVEDIR != 0 {
        do_rmdir(&env, start, name.as_bytes())
    } else {
        do_unlinkat(&env, start, name.as_bytes())
    }
}

/// unlink(2).
pub fn sys_unlink(pathname: UserAddr) -> Result {
    sys_unlinkat(AT_FDCWD, pathname, 0)
}

/// rmdir(2).
pub fn sys_rmdir(pathname: UserAddr) -> Result {
    sys_unlinkat(AT_FDCWD, pathname, AT_REMOVEDIR)
}
