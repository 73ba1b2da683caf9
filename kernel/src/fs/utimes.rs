//! Setting time stamps (Linux: fs/utimes.c).
#![forbid(unsafe_code)]

use uapi::fcntl::*;
use uapi::stat::{UTIME_NOW, UTIME_OMIT};
use uapi::time::{NSEC_PER_SEC, Timespec, Timeval, USEC_PER_SEC, Utimbuf};

use crate::fs::access::lookup_flags;
use crate::fs::attr::{Attr, AttrValid, inode_owner_or_capable};
use crate::fs::file::fget;
use crate::fs::namei::{
    LookupFlags, MAY_WRITE, Path, WalkEnv, getname, getname_flags, inode_permission, path_lookup,
    start_at,
};
use crate::kernel::cred::Cred;
use crate::mm::UserAddr;
use crate::mm::uaccess::get_user;
use crate::prelude::*;

/// One of the two times of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewTime {
    /// The present.
    Now,
    /// Stays as it is.
    Omit,
    /// ns since 1970.
    At(i64),
}

/// Clamps to what a time stamp can hold (Linux: `timestamp_truncate`).
fn to_ns(tv_sec: i64, nsec: i64) -> i64 {
    tv_sec.saturating_mul(NSEC_PER_SEC).saturating_add(nsec)
}

impl NewTime {
    /// Errors: EINVAL for nanoseconds out of range.
    pub fn from_timespec(time: Timespec) -> Result<Self> {
        match time.tv_nsec {
            UTIME_NOW => Ok(NewTime::Now),
            UTIME_OMIT => Ok(NewTime::Omit),
            nsec if (0..NSEC_PER_SEC).contains(&nsec) => Ok(NewTime::At(to_ns(time.tv_sec, nsec))),
            _ => Err(Errno::EINVAL),
        }
    }
    fn from_timeval(time: Timeval) -> Result<Self> {
        if !(0..USEC_PER_SEC).contains(&time.tv_usec) {
            return Err(Errno::EINVAL);
        }
        Ok(NewTime::At(to_ns(time.tv_sec, time.tv_usec * 1000)))
    }
}

/// Sets the times of a place; `None` is the present for both, which a writer may set too
/// (Linux: `vfs_utimes`). Errors: EROFS, EPERM, EACCES.
pub fn vfs_utimes(path: &Path, times: Option<[NewTime; 2]>, cred: &Cred) -> Result {
    let _write_access = path.mnt.want_write()?;
    let inode = path.inode();
    let [atime, mtime] = times.unwrap_or([NewTime::Now; 2]);
    let both_now = atime == NewTime::Now && mtime == NewTime::Now;
    let owner = inode_owner_or_capable(inode, cred);
    let _locked = inode.lock.lock();
    if both_now {
        if !owner {
            inode_permission(inode, MAY_WRITE, cred).map_err(|_| Errno::EACCES)?;
        }
    } else if !owner {
        return Err(Errno::EPERM);
    }
    let mut attr = Attr::new(AttrValid::empty());
    if atime != NewTime::Omit {
        attr.valid |= AttrValid::ATIME;
    }
    if mtime != NewTime::Omit {
        attr.valid |= AttrValid::MTIME;
    }
    if let NewTime::At(ns) = atime {
        attr.valid |= AttrValid::ATIME_SET;
        attr.atime = ns;
    }
    if let NewTime::At(ns) = mtime {
        attr.valid |= AttrValid::MTIME_SET;
        attr.mtime = ns;
    }
    inode.notify_change(&mut attr, cred)
}

/// Sets the times of a name, or of the descriptor `dfd` when `filename` is NULL
/// (Linux: `do_utimes`).
fn do_utimes(dfd: i32, filename: UserAddr, times: Option<[NewTime; 2]>, flags: u32) -> Result {
    if times == Some([NewTime::Omit; 2]) {
        return Ok(());
    }
    let env = WalkEnv::current()?;
    if filename.is_null() && dfd != AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        return vfs_utimes(&fget(dfd)?.path, times, &env.cred);
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname_flags(filename)?;
    let start = start_at(dfd, name.as_bytes())?;
    let path = path_lookup(&env, start, name.as_bytes(), lookup_flags(flags))?;
    vfs_utimes(&path, times, &env.cred)
}

/// utimensat(2).
pub fn sys_utimensat(dfd: i32, filename: UserAddr, utimes: UserAddr, flags: u32) -> Result {
    let times = if utimes.is_null() {
        None
    } else {
        let [atime, mtime]: [Timespec; 2] = get_user(utimes)?;
        Some([
            NewTime::from_timespec(atime)?,
            NewTime::from_timespec(mtime)?,
        ])
    };
    do_utimes(dfd, filename, times, flags)
}

/// futimesat(2).
pub fn sys_futimesat(dfd: i32, filename: UserAddr, utimes: UserAddr) -> Result {
    let times = if utimes.is_null() {
        None
    } else {
        let [atime, mtime]: [Timeval; 2] = get_user(utimes)?;
        Some([NewTime::from_timeval(atime)?, NewTime::from_timeval(mtime)?])
    };
    do_utimes(dfd, filename, times, 0)
}

/// utimes(2).
pub fn sys_utimes(filename: UserAddr, utimes: UserAddr) -> Result {
    sys_futimesat(AT_FDCWD, filename, utimes)
}

/// utime(2).
pub fn sys_utime(filename: UserAddr, times: UserAddr) -> Result {
    let env = WalkEnv::current()?;
    let times = if times.is_null() {
        None
    } else {
        let times: Utimbuf = get_user(times)?;
        Some([
            NewTime::At(to_ns(times.actime, 0)),
            NewTime::At(to_ns(times.modtime, 0)),
        ])
    };
    let name = getname(filename)?;
    let path = path_lookup(&env, None, name.as_bytes(), LookupFlags::FOLLOW)?;
    vfs_utimes(&path, times, &env.cred)
}
