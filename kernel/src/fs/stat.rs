//! stat and readlink (Linux: fs/stat.c).
#![forbid(unsafe_code)]

use uapi::Pod;
use uapi::fcntl::*;
use uapi::stat::*;
use uapi::time::Timespec;

use crate::arch::PAGE_SIZE;
use crate::fs::access::lookup_flags;
use crate::fs::char_dev::DevT;
use crate::fs::file::{fget_raw, fmode};
use crate::fs::inode::Inode;
use crate::fs::namei::{LookupFlags, Path, WalkEnv, getname, getname_flags, path_lookup, start_at};
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_to_user, put_user};
use crate::prelude::*;

/// What stat(2) and statx(2) are made of (Linux: `struct kstat`).
#[derive(Clone, Copy, Debug)]
pub struct Kstat {
    /// File system's device number.
    pub dev: DevT,
    /// Inode number.
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device, for device nodes.
    pub rdev: DevT,
    /// Size in bytes.
    pub size: u64,
    /// Best size of transfers, in bytes.
    pub blksize: u32,
    /// Room taken, in units of 512 bytes.
    pub blocks: u64,
    /// ns since 1970.
    pub atime: i64,
    /// ns since 1970.
    pub mtime: i64,
    /// ns since 1970.
    pub ctime: i64,
    /// ns since 1970.
    pub btime: i64,
}

/// Fills a `Kstat` from the inode; its file system may correct it (Linux: `vfs_getattr`).
#[inline]
pub fn vfs_getattr(inode: &Arc<Inode>) -> Kstat {
    let pages = inode
        .mapping
        .as_ref()
        .map_or(0, |mapping| mapping.nr_pages());
    let mut stat = Kstat {
        dev: inode.sb.dev,
        ino: inode.ino,
        mode: inode.mode(),
        nlink: inode.nlink(),
        uid: inode.uid(),
        gid: inode.gid(),
        rdev: inode.rdev,
        size: inode.size(),
        blksize: PAGE_SIZE as u32,
        blocks: pages * (PAGE_SIZE as u64 / 512),
        atime: inode.atime(),
        mtime: inode.mtime(),
        ctime: inode.ctime(),
        btime: inode.btime(),
    };
    inode.ops.getattr(inode, &mut stat);
    stat
}

#[inline]
fn timespec(ns: i64) -> Timespec {
    if let Ok(ns) = u64::try_from(ns) {
        return Timespec::from_ns(ns);
    }
    Timespec {
        tv_sec: ns.div_euclid(1_000_000_000),
        tv_nsec: ns.rem_euclid(1_000_000_000),
    }
}

fn statx_time(ns: i64) -> StatxTimestamp {
    let time = timespec(ns);
    StatxTimestamp {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec as u32,
        reserved: 0,
    }
}

impl Kstat {
    /// As `struct stat`.
    pub fn to_stat(&self) -> Stat {
        Stat {
            st_dev: self.dev.encode(),
            st_ino: self.ino,
            st_nlink: u64::from(self.nlink),
            st_mode: self.mode,
            st_uid: self.uid,
            st_gid: self.gid,
            st_rdev: self.rdev.encode(),
            st_size: self.size as i64,
            st_blksize: i64::from(self.blksize),
            st_blocks: self.blocks as i64,
            st_atim: timespec(self.atime),
            st_mtim: timespec(self.mtime),
            st_ctim: timespec(self.ctime),
            ..Stat::default()
        }
    }

    /// As `struct statx`, seen at `path`.
    pub fn to_statx(&self, path: &Path) -> Statx {
        let mount_root = Arc::ptr_eq(&path.dentry, &path.mnt.root);
        Statx {
            stx_mask: STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
            stx_blksize: self.blksize,
            stx_attributes: u64::from(mount_root) * STATX_ATTR_MOUNT_ROOT,
            stx_attributes_mask: STATX_ATTR_MOUNT_ROOT,
            stx_nlink: self.nlink,
            stx_uid: self.uid,
            stx_gid: self.gid,
            stx_mode: self.mode as u16,
            stx_ino: self.ino,
            stx_size: self.size,
            stx_blocks: self.blocks,
            stx_atime: statx_time(self.atime),
            stx_btime: statx_time(self.btime),
            stx_ctime: statx_time(self.ctime),
            stx_mtime: statx_time(self.mtime),
            stx_rdev_major: self.rdev.major(),
            stx_rdev_minor: self.rdev.minor(),
            stx_dev_major: self.dev.major(),
            stx_dev_minor: self.dev.minor(),
            stx_mnt_id: u64::from(path.mnt.id),
            ..Statx::default()
        }
    }
}

#[inline]
fn put_stat(statbuf: UserAddr, stat: &Kstat) -> Result {
    let mut raw = [0; Stat::SIZE];
    stat.to_stat().write_to(&mut raw);
    copy_to_user(statbuf, &raw)
}

#[inline]
fn stat_path(dfd: i32, filename: UserAddr, how: LookupFlags) -> Result<Path> {
    let name = getname_flags(filename)?;
    if name.as_bytes().is_empty() && how.contains(LookupFlags::EMPTY) && dfd >= 0 {
        return Ok(fget_raw(dfd)?.path.clone());
    }
    let start = start_at(dfd, name.as_bytes())?;
    path_lookup(&WalkEnv::current()?, start, name.as_bytes(), how)
}

/// newfstatat(2). Errors: EINVAL for unknown flags.
pub fn sys_newfstatat(dfd: i32, filename: UserAddr, statbuf: UserAddr, flag: u32) -> Result {
    if flag & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = stat_path(dfd, filename, lookup_flags(flag))?;
    put_stat(statbuf, &vfs_getattr(path.inode()))
}

/// stat(2).
pub fn sys_stat(filename: UserAddr, statbuf: UserAddr) -> Result {
    sys_newfstatat(AT_FDCWD, filename, statbuf, 0)
}

/// lstat(2).
pub fn sys_lstat(filename: UserAddr, statbuf: UserAddr) -> Result {
    sys_newfstatat(AT_FDCWD, filename, statbuf, AT_SYMLINK_NOFOLLOW)
}

/// fstat(2).
pub fn sys_fstat(fd: i32, statbuf: UserAddr) -> Result {
    let file = fget_raw(fd)?;
    put_stat(statbuf, &vfs_getattr(&file.inode))
}

/// statx(2): everything known is filled, whatever `mask` asks for. Errors: EINVAL.
pub fn sys_statx(dfd: i32, filename: UserAddr, flags: u32, mask: u32, buffer: UserAddr) -> Result {
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if mask & STATX__RESERVED != 0
        || flags & !known != 0
        || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL);
    }
    let path = stat_path(dfd, filename, lookup_flags(flags))?;
    put_user(buffer, &vfs_getattr(path.inode()).to_statx(&path))
}

/// readlinkat(2); an empty path reads the link that `dfd` was opened on with O_PATH.
/// Errors: EINVAL when it is no link, ENOENT.
pub fn sys_readlinkat(dfd: i32, pathname: UserAddr, buf: UserAddr, bufsiz: i32) -> Result<usize> {
    let room = usize::try_from(bufsiz).map_err(|_| Errno::EINVAL)?;
    if room == 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname_flags(pathname)?;
    let empty = name.as_bytes().is_empty();
    let path = if empty && dfd >= 0 {
        let file = fget_raw(dfd)?;
        if file.mode & fmode::PATH == 0 {
            return Err(Errno::ENOENT);
        }
        file.path.clone()
    } else {
        let start = start_at(dfd, name.as_bytes())?;
        path_lookup(
            &WalkEnv::current()?,
            start,
            name.as_bytes(),
            LookupFlags::empty(),
        )?
    };
    let inode = path.inode();
    if !inode.is_symlink() {
        return Err(if empty { Errno::ENOENT } else { Errno::EINVAL });
    }
    let text = inode.ops.readlink(inode)?;
    let len = text.len().min(room);
    copy_to_user(buf, &text[..len])?;
    Ok(len)
}

/// readlink(2).
pub fn sys_readlink(path: UserAddr, buf: UserAddr, bufsiz: i32) -> Result<usize> {
    // An empty name is ENOENT here, so it must not reach `readlinkat`'s special case.
    getname(path)?;
    sys_readlinkat(AT_FDCWD, path, buf, bufsiz)
}
