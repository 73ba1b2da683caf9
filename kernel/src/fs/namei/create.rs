//! New names: mkdir, mknod, symlink, link (Linux: fs/namei.c, `filename_create` and its users).
#![forbid(unsafe_code)]

use uapi::capability::{CAP_DAC_READ_SEARCH, CAP_MKNOD};
use uapi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW};
use uapi::stat::*;

use super::Path;
use super::filename::{WalkEnv, getname, getname_flags, start_at};
use super::permission::may_create;
use super::walk::{LastType, LookupFlags, Nameidata, lookup_locked, path_lookup};
use crate::fs::char_dev::DevT;
use crate::fs::dcache::Dentry;
use crate::fs::inode::{Inode, NewNode};
use crate::kernel::cred::Cred;
use crate::mm::UserAddr;
use crate::prelude::*;

/// What is made under the new name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Making {
    Directory,
    Other,
}

/// Where a name is to be made: the directory's lock is held while `make` runs.
struct NewName<'a> {
    parent: &'a Path,
    name: &'a [u8],
    cred: &'a Cred,
}

impl NewName<'_> {
    fn dir(&self) -> &Arc<Inode> {
        self.parent.inode()
    }
    fn node(&self, mode: u32, rdev: DevT) -> NewNode {
        NewNode::new(self.dir(), mode, rdev, self.cred)
    }
}

/// Walks to the parent, checks that the name is free and lets `make` make the inode
/// (Linux: `filename_create`). Errors: EEXIST, ENOENT, EROFS, EACCES and those of the walk.
fn create_name(
    env: &WalkEnv,
    start: Option<Path>,
    name: &[u8],
    making: Making,
    make: impl FnOnce(&NewName<'_>) -> Result<Arc<Inode>>,
) -> Result<Path> {
    let mut nd = Nameidata::new(env, start, name, LookupFlags::empty())?;
    nd.walk_to_parent()?;
    if nd.last_type != LastType::Norm {
        return Err(Errno::EEXIST);
    }
    let parent = nd.path.clone();
    // A read-only file system is only reported when the name does not exist.
    let write_access = parent.mnt.want_write();
    let dir = parent.inode();
    let _locked = dir.lock.lock();
    if lookup_locked(&parent.dentry, nd.last())?.is_some() {
        return Err(Errno::EEXIST);
    }
    if nd.trailing_slash && making == Making::Other {
        return Err(Errno::ENOENT);
    }
    let _write_access = write_access?;
    may_create(dir, &env.cred)?;
    let inode = make(&NewName {
        parent: &parent,
        name: nd.last(),
        cred: &env.cred,
    })?;
    let dentry = Dentry::new_child(&parent.dentry, nd.last(), inode);
    Ok(Path {
        mnt: parent.mnt.clone(),
        dentry,
    })
}

/// Makes a directory (Linux: `do_mkdirat`).
pub fn do_mkdirat(env: &WalkEnv, start: Option<Path>, name: &[u8], mode: u32) -> Result<Path> {
    let mode = mode & (S_IRWXUGO | S_ISVTX) & !env.fs.umask() | S_IFDIR;
    create_name(env, start, name, Making::Directory, |new| {
        let node = new.node(mode, DevT(0));
        new.dir().ops.mkdir(new.dir(), new.name, &node)
    })
}

/// Makes a file, device node, FIFO or socket (Linux: `do_mknodat`). Errors: EPERM without
/// CAP_MKNOD, EINVAL for another type.
pub fn do_mknodat(
    env: &WalkEnv,
    start: Option<Path>,
    name: &[u8],
    mode: u32,
    rdev: DevT,
) -> Result<Path> {
    let kind = match mode & S_IFMT {
        0 => S_IFREG,
        kind @ (S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK) => kind,
        S_IFDIR => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    let is_device = matches!(kind, S_IFCHR | S_IFBLK);
    let mode = mode & S_IALLUGO & !env.fs.umask() | kind;
    create_name(env, start, name, Making::Other, |new| {
        // Overlay file systems mark deleted names with the device 0:0, which needs no privilege.
        let whiteout = kind == S_IFCHR && rdev == DevT(0);
        if is_device && !whiteout && !new.cred.has_cap(CAP_MKNOD) {
            return Err(Errno::EPERM);
        }
        let node = new.node(mode, if is_device { rdev } else { DevT(0) });
        new.dir().ops.mknod(new.dir(), new.name, &node)
    })
}

/// Makes a symbolic link (Linux: `do_symlinkat`). Errors: ENOENT for an empty target.
pub fn do_symlinkat(
    env: &WalkEnv,
    target: &[u8],
    start: Option<Path>,
    name: &[u8],
) -> Result<Path> {
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    create_name(env, start, name, Making::Other, |new| {
        let node = new.node(S_IFLNK | S_IRWXUGO, DevT(0));
        new.dir().ops.symlink(new.dir(), new.name, &node, target)
    })
}

/// Gives `old` a further name (Linux: `do_linkat`). Errors: EXDEV, EPERM for directories.
pub fn do_linkat(env: &WalkEnv, old: &Path, start: Option<Path>, name: &[u8]) -> Result<Path> {
    create_name(env, start, name, Making::Other, |new| {
        if !Arc::ptr_eq(&old.mnt, &new.parent.mnt) || !Arc::ptr_eq(&old.dentry.sb, &new.dir().sb) {
            return Err(Errno::EXDEV);
        }
        let inode = old.inode();
        if inode.is_dir() {
            return Err(Errno::EPERM);
        }
        if inode.nlink() == 0 && !inode.is_linkable() {
            return Err(Errno::ENOENT);
        }
        new.dir().ops.link(new.dir(), new.name, inode)?;
        Ok(inode.clone())
    })
}

/// mkdirat(2).
pub fn sys_mkdirat(dfd: i32, pathname: UserAddr, mode: u32) -> Result {
    let name = getname(pathname)?;
    let start = start_at(dfd, name.as_bytes())?;
    do_mkdirat(&WalkEnv::current()?, start, name.as_bytes(), mode).map(drop)
}

/// mkdir(2).
pub fn sys_mkdir(pathname: UserAddr, mode: u32) -> Result {
    sys_mkdirat(AT_FDCWD, pathname, mode)
}

/// mknodat(2); `dev` is encoded as in `st_rdev`.
pub fn sys_mknodat(dfd: i32, pathname: UserAddr, mode: u32, dev: u32) -> Result {
    let name = getname(pathname)?;
    let start = start_at(dfd, name.as_bytes())?;
    let rdev = DevT::decode(u64::from(dev));
    do_mknodat(&WalkEnv::current()?, start, name.as_bytes(), mode, rdev).map(drop)
}

/// mknod(2).
pub fn sys_mknod(pathname: UserAddr, mode: u32, dev: u32) -> Result {
    sys_mknodat(AT_FDCWD, pathname, mode, dev)
}

/// symlinkat(2).
pub fn sys_symlinkat(target: UserAddr, dfd: i32, linkpath: UserAddr) -> Result {
    let target = getname(target)?;
    let name = getname(linkpath)?;
    let start = start_at(dfd, name.as_bytes())?;
    let env = WalkEnv::current()?;
    do_symlinkat(&env, target.as_bytes(), start, name.as_bytes()).map(drop)
}

/// symlink(2).
pub fn sys_symlink(target: UserAddr, linkpath: UserAddr) -> Result {
    sys_symlinkat(target, AT_FDCWD, linkpath)
}

/// linkat(2). Errors: EINVAL for unknown flags; ENOENT for AT_EMPTY_PATH without
/// CAP_DAC_READ_SEARCH.
pub fn sys_linkat(
    olddfd: i32,
    oldname: UserAddr,
    newdfd: i32,
    newname: UserAddr,
    flags: u32,
) -> Result {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let env = WalkEnv::current()?;
    let mut how = LookupFlags::empty();
    if flags & AT_EMPTY_PATH != 0 {
        if !env.cred.has_cap(CAP_DAC_READ_SEARCH) {
            return Err(Errno::ENOENT);
        }
        how |= LookupFlags::EMPTY;
    }
    how.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_FOLLOW != 0);
    let old = getname_flags(oldname)?;
    let old_start = start_at(olddfd, old.as_bytes())?;
    let old_path = path_lookup(&env, old_start, old.as_bytes(), how)?;
    let new = getname(newname)?;
    let new_start = start_at(newdfd, new.as_bytes())?;
    do_linkat(&env, &old_path, new_start, new.as_bytes()).map(drop)
}

/// link(2).
pub fn sys_link(oldname: UserAddr, newname: UserAddr) -> Result {
    sys_linkat(AT_FDCWD, oldname, AT_FDCWD, newname, 0)
}
