//! fcntl and dup (Linux: fs/fcntl.c, and the dup half of fs/file.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::*;
use uapi::resource::RLIMIT_NOFILE;

use crate::fs::attr::inode_owner_or_capable;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, current_files, fget_raw, fmode};
use crate::fs::locks::{fcntl_getlk, fcntl_setlk};
use crate::fs::pipe::Pipe;
use crate::fs::rlimit::rlimit;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

/// Who gets the signals of a file with O_ASYNC (Linux: `struct fown_struct`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FileOwner {
    /// F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP.
    pub kind: i32,
    /// Thread, process or group; 0 for nobody.
    pub pid: i32,
    /// Signal instead of SIGIO; 0 for SIGIO.
    pub signum: i32,
}

/// Flags that F_SETFL can change.
const SETFL_MASK: u32 = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FASYNC;

/// dup(2).
pub fn sys_dup(fildes: i32) -> Result<u32> {
    let file = fget_raw(fildes)?;
    current_files()?.install(file, rlimit(RLIMIT_NOFILE), OnExec::Keep)
}

/// dup3(2). Errors: EINVAL for equal numbers or unknown flags, EBADF, EBUSY.
pub fn sys_dup3(oldfd: i32, newfd: u32, flags: u32) -> Result<u32> {
    if flags & !O_CLOEXEC != 0 || oldfd as u32 == newfd {
        return Err(Errno::EINVAL);
    }
    let file = fget_raw(oldfd)?;
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    current_files()?.replace(newfd, file, rlimit(RLIMIT_NOFILE), on_exec)
}

/// dup2(2): equal numbers only check the descriptor.
pub fn sys_dup2(oldfd: i32, newfd: u32) -> Result<u32> {
    if oldfd as u32 == newfd {
        fget_raw(oldfd)?;
        return Ok(newfd);
    }
    sys_dup3(oldfd, newfd, 0)
}

fn dupfd(file: Arc<File>, from: u64, on_exec: OnExec) -> Result<u64> {
    let limit = rlimit(RLIMIT_NOFILE);
    if from >= limit {
        return Err(Errno::EINVAL);
    }
    let files = current_files()?;
    let fd = files.alloc(from as u32, limit, on_exec)?.install(file);
    Ok(u64::from(fd))
}

/// Changes the status flags (Linux: `setfl`). Errors: EPERM for O_NOATIME, ENOTTY from fasync.
pub fn setfl(file: &File, flags: u32) -> Result {
    let old = file.flags();
    let cred = current().cred();
    if flags & O_NOATIME != 0 && old & O_NOATIME == 0 && !inode_owner_or_capable(&file.inode, &cred)
    {
        return Err(Errno::EPERM);
    }
    if (flags ^ old) & FASYNC != 0 {
        match file.ops.fasync(file, flags & FASYNC != 0) {
            Ok(()) | Err(Errno::ENOTTY) => {}
            Err(error) => return Err(error),
        }
    }
    let new = flags & SETFL_MASK;
    let _ = file
        .flags
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |old| {
            Some(old & !SETFL_MASK | new)
        });
    Ok(())
}

/// Commands that O_PATH descriptors serve too.
fn works_on_path(cmd: u32) -> bool {
    matches!(cmd, F_DUPFD | F_DUPFD_CLOEXEC | F_GETFD | F_SETFD | F_GETFL)
}

/// fcntl(2).
pub fn sys_fcntl(fd: i32, cmd: u32, arg: u64) -> Result<u64> {
    let file = fget_raw(fd)?;
    if file.mode & fmode::PATH != 0 && !works_on_path(cmd) {
        return Err(Errno::EBADF);
    }
    match cmd {
        F_DUPFD => dupfd(file, arg, OnExec::Keep),
        F_DUPFD_CLOEXEC => dupfd(file, arg, OnExec::Close),
        F_GETFD => {
            let on_exec = current_files()?.on_exec(fd as u32)?;
            Ok(u64::from(on_exec == OnExec::Close))
        }
        F_SETFD => {
            let on_exec = OnExec::from_flag(arg as u32, FD_CLOEXEC);
            current_files()?.set_on_exec(fd as u32, on_exec)?;
            Ok(0)
        }
        F_GETFL => Ok(u64::from(file.flags())),
        F_SETFL => setfl(&file, arg as u32).map(|()| 0),
        F_GETLK | F_OFD_GETLK | F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => {
            record_lock(&file, cmd, UserAddr::new(arg)).map(|()| 0)
        }
        F_GETOWN | F_SETOWN | F_GETSIG | F_SETSIG | F_GETOWN_EX | F_SETOWN_EX => {
            owner_command(&file, cmd, arg)
        }
        F_GETPIPE_SZ => Ok(Pipe::of(&file).ok_or(Errno::EBADF)?.size() as u64),
        F_SETPIPE_SZ => {
            let pipe = Pipe::of(&file).ok_or(Errno::EBADF)?;
            Ok(pipe.set_size(arg, &current().cred())? as u64)
        }
        F_ADD_SEALS => crate::mm::shmem::add_seals(&file, arg as u32).map(|()| 0),
        F_GET_SEALS => crate::mm::shmem::get_seals(&file).map(u64::from),
        F_GETLEASE => Ok(F_UNLCK as u64),
        F_SETLEASE | F_NOTIFY => Err(Errno::EINVAL),
        _ => Err(Errno::EINVAL),
    }
}

fn record_lock(file: &Arc<File>, cmd: u32, arg: UserAddr) -> Result {
    let files = current_files()?;
    let mut flock: Flock = get_user(arg)?;
    if matches!(cmd, F_GETLK | F_OFD_GETLK) {
        fcntl_getlk(file, &files, cmd, &mut flock)?;
        return put_user(arg, &flock);
    }
    fcntl_setlk(file, &files, cmd, &flock)
}

/// F_SETOWN and F_GETOWN: a negative number is a process group.
pub fn f_setown(file: &File, who: i32) -> Result {
    let (kind, pid) = if who < 0 {
        let group = who.checked_neg().ok_or(Errno::EINVAL)?;
        (F_OWNER_PGRP, group)
    } else {
        (F_OWNER_PID, who)
    };
    let mut owner = file.owner.lock();
    owner.kind = kind as i32;
    owner.pid = pid;
    Ok(())
}

/// The receiver as F_GETOWN returns it.
pub fn f_getown(file: &File) -> i32 {
    let owner = *file.owner.lock();
    if owner.kind == F_OWNER_PGRP as i32 {
        -owner.pid
    } else {
        owner.pid
    }
}

fn owner_command(file: &File, cmd: u32, arg: u64) -> Result<u64> {
    match cmd {
        F_GETOWN => Ok(i64::from(f_getown(file)) as u64),
        F_SETOWN => f_setown(file, arg as i32).map(|()| 0),
        F_GETSIG => Ok(file.owner.lock().signum as u64),
        F_SETSIG => {
            let signum = i32::try_from(arg).map_err(|_| Errno::EINVAL)?;
            if !(0..=64).contains(&signum) {
                return Err(Errno::EINVAL);
            }
            file.owner.lock().signum = signum;
            Ok(0)
        }
        F_GETOWN_EX => {
            let owner = *file.owner.lock();
            let reply = FOwnerEx {
                kind: owner.kind,
                pid: owner.pid,
            };
            put_user(UserAddr::new(arg), &reply)?;
            Ok(0)
        }
        _ => {
            let wanted: FOwnerEx = get_user(UserAddr::new(arg))?;
            if !(0..=2).contains(&wanted.kind) {
                return Err(Errno::EINVAL);
            }
            let mut owner = file.owner.lock();
            (owner.kind, owner.pid) = (wanted.kind, wanted.pid);
            Ok(0)
        }
    }
}
