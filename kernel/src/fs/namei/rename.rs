//! Names that move (Linux: fs/namei.c, `do_renameat2`, `vfs_rename`, `lock_rename`).
#![forbid(unsafe_code)]

use uapi::fcntl::{AT_FDCWD, RENAME_EXCHANGE, RENAME_NOREPLACE};

use super::Path;
use super::filename::{WalkEnv, getname, start_at};
use super::permission::{MAY_WRITE, Victim, inode_permission, may_create, may_delete};
use super::walk::{LastType, LookupFlags, Nameidata, lookup_locked};
use crate::fs::dcache::Dentry;
use crate::fs::inode::Rename;
use crate::fs::sleep_lock::{SleepGuard, SleepLock, lock_two};
use crate::kernel::cred::Cred;
use crate::mm::UserAddr;
use crate::prelude::*;

/// One rename between directories at a time: only then can nobody make a loop
/// (Linux: `s_vfs_rename_mutex`). Taken before any directory's lock.
static RENAME_MUTEX: SleepLock = SleepLock::new();

/// The locks of one rename, and the dentries that would make a loop.
struct Locked<'a> {
    _dirs: (SleepGuard<'a>, Option<SleepGuard<'a>>),
    _mutex: Option<SleepGuard<'static>>,
    /// Child of the old parent on the way to the new one: must not be what moves.
    old_trap: Option<Arc<Dentry>>,
    /// Child of the new parent on the way to the old one: must not be replaced.
    new_trap: Option<Arc<Dentry>>,
}

/// Locks both directories, an ancestor before its descendant.
fn lock_rename<'a>(old: &'a Arc<Dentry>, new: &'a Arc<Dentry>) -> Locked<'a> {
    let (old_lock, new_lock) = (&old.inode.lock, &new.inode.lock);
    if Arc::ptr_eq(old, new) {
        return Locked {
            _dirs: (old_lock.lock(), None),
            _mutex: None,
            old_trap: None,
            new_trap: None,
        };
    }
    let mutex = RENAME_MUTEX.lock();
    let old_trap = new.branch_below(old);
    let new_trap = old.branch_below(new);
    let dirs = if old_trap.is_some() {
        let first = old_lock.lock();
        (first, Some(new_lock.lock()))
    } else if new_trap.is_some() {
        let first = new_lock.lock();
        (first, Some(old_lock.lock()))
    } else {
        lock_two(old_lock, new_lock)
    };
    Locked {
        _dirs: dirs,
        _mutex: Some(mutex),
        old_trap,
        new_trap,
    }
}

fn is(dentry: &Arc<Dentry>, trap: &Option<Arc<Dentry>>) -> bool {
    trap.as_ref().is_some_and(|trap| Arc::ptr_eq(trap, dentry))
}

/// Moves a name. Errors: EXDEV, EBUSY, EINVAL (into itself), ENOTEMPTY, EEXIST, EISDIR, ENOTDIR
/// and those of walk and permission checks.
pub fn do_renameat2(
    env: &WalkEnv,
    from: (Option<Path>, &[u8]),
    to: (Option<Path>, &[u8]),
    flags: u32,
) -> Result {
    if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE) != 0
        || flags == RENAME_NOREPLACE | RENAME_EXCHANGE
    {
        return Err(Errno::EINVAL);
    }
    let mut old = Nameidata::new(env, from.0, from.1, LookupFlags::empty())?;
    old.walk_to_parent()?;
    let mut new = Nameidata::new(env, to.0, to.1, LookupFlags::empty())?;
    new.walk_to_parent()?;
    if !Arc::ptr_eq(&old.path.mnt, &new.path.mnt) {
        return Err(Errno::EXDEV);
    }
    if old.last_type != LastType::Norm {
        return Err(Errno::EBUSY);
    }
    if new.last_type != LastType::Norm {
        return Err(if flags & RENAME_NOREPLACE != 0 {
            Errno::EEXIST
        } else {
            Errno::EBUSY
        });
    }
    let _write_access = old.path.mnt.want_write()?;
    let replaced = rename_locked(env, &old, &new, flags)?;
    drop(replaced);
    Ok(())
}

/// The part under the locks; returns what was replaced, to be dropped without them.
fn rename_locked(
    env: &WalkEnv,
    old: &Nameidata<'_>,
    new: &Nameidata<'_>,
    flags: u32,
) -> Result<Option<Arc<Dentry>>> {
    let (old_parent, new_parent) = (&old.path.dentry, &new.path.dentry);
    let locked = lock_rename(old_parent, new_parent);
    let source = lookup_locked(old_parent, old.last())?.ok_or(Errno::ENOENT)?;
    let target = lookup_locked(new_parent, new.last())?;
    let exchange = flags & RENAME_EXCHANGE != 0;
    match &target {
        Some(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
        None if exchange => return Err(Errno::ENOENT),
        Some(target) if exchange && new.trailing_slash && !target.inode.is_dir() => {
            return Err(Errno::ENOTDIR);
        }
        _ => {}
    }
    let slash = old.trailing_slash || new.trailing_slash && !exchange;
    if slash && !source.inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    if is(&source, &locked.old_trap) {
        return Err(Errno::EINVAL);
    }
    if target.as_ref().is_some_and(|t| is(t, &locked.new_trap)) {
        return Err(if exchange {
            Errno::EINVAL
        } else {
            Errno::ENOTEMPTY
        });
    }
    let request = Rename {
        old_dir: &old_parent.inode,
        source: &source,
        new_dir: &new_parent.inode,
        new_name: new.last(),
        target: target.as_ref(),
        exchange,
    };
    vfs_rename(&request, new_parent, &env.cred)?;
    Ok(target)
}

/// Checks and performs the move (Linux: `vfs_rename`). Context: both directories locked.
fn vfs_rename(request: &Rename<'_>, new_parent: &Arc<Dentry>, cred: &Cred) -> Result {
    let source = request.source;
    let same_inode = request
        .target
        .is_some_and(|target| Arc::ptr_eq(&target.inode, &source.inode));
    if same_inode {
        return Ok(());
    }
    check_rename(request, cred)?;
    let replaced_dir = request
        .target
        .filter(|target| target.inode.is_dir() && !request.exchange);
    // Parent before child, as in rmdir(2).
    let _target_locked = replaced_dir.map(|target| target.inode.lock.lock());
    request.old_dir.ops.rename(request)?;
    match request.target {
        Some(target) if request.exchange => source.exchange(target),
        Some(target) => {
            if target.inode.is_dir() {
                target.inode.set_dead();
            }
            target.delete();
            source.move_to(new_parent, request.new_name);
        }
        None => source.move_to(new_parent, request.new_name),
    }
    Ok(())
}

fn kind_of(dentry: &Arc<Dentry>) -> Victim {
    if dentry.inode.is_dir() {
        Victim::Directory
    } else {
        Victim::Other
    }
}

fn check_rename(request: &Rename<'_>, cred: &Cred) -> Result {
    let (source, target) = (request.source, request.target);
    may_delete(request.old_dir, source, kind_of(source), cred)?;
    match target {
        None => may_create(request.new_dir, cred)?,
        Some(target) if request.exchange => {
            may_delete(request.new_dir, target, kind_of(target), cred)?;
        }
        Some(target) => may_delete(request.new_dir, target, kind_of(source), cred)?,
    }
    // A directory that changes its parent changes its `..`.
    if !Arc::ptr_eq(request.old_dir, request.new_dir) {
        if source.inode.is_dir() {
            inode_permission(&source.inode, MAY_WRITE, cred)?;
        }
        if let Some(target) = target
            && request.exchange
            && target.inode.is_dir()
        {
            inode_permission(&target.inode, MAY_WRITE, cred)?;
        }
    }
    if source.is_mountpoint() || target.is_some_and(|target| target.is_mountpoint()) {
        return Err(Errno::EBUSY);
    }
    Ok(())
}

/// renameat2(2).
pub fn sys_renameat2(
    olddfd: i32,
    oldname: UserAddr,
    newdfd: i32,
    newname: UserAddr,
    flags: u32,
) -> Result {
    let old = getname(oldname)?;
    let new = getname(newname)?;
    let old_start = start_at(olddfd, old.as_bytes())?;
    let new_start = start_at(newdfd, new.as_bytes())?;
    do_renameat2(
        &WalkEnv::current()?,
        (old_start, old.as_bytes()),
        (new_start, new.as_bytes()),
        flags,
    )
}

/// renameat(2).
pub fn sys_renameat(olddfd: i32, oldname: UserAddr, newdfd: i32, newname: UserAddr) -> Result {
    sys_renameat2(olddfd, oldname, newdfd, newname, 0)
}

/// rename(2).
pub fn sys_rename(oldname: UserAddr, newname: UserAddr) -> Result {
    sys_renameat2(AT_FDCWD, oldname, AT_FDCWD, newname, 0)
}
