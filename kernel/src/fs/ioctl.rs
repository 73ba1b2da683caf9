//! ioctl: what every file understands, then the file's own commands (Linux: fs/ioctl.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::{FASYNC, O_NONBLOCK};
use uapi::ioctls::*;

use crate::arch::PAGE_SIZE;
use crate::fs::fcntl::{f_getown, f_setown};
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, current_files, fget};
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

/// ioctl(2). Errors: EBADF, ENOTTY, EFAULT and those of the driver.
pub fn sys_ioctl(fd: i32, cmd: u32, arg: u64) -> Result<i64> {
    let file = fget(fd)?;
    let user = UserAddr::new(arg);
    match cmd {
        FIOCLEX => set_cloexec(fd, OnExec::Close),
        FIONCLEX => set_cloexec(fd, OnExec::Keep),
        FIONBIO => {
            let on: i32 = get_user(user)?;
            set_flag(&file, O_NONBLOCK, on != 0);
            Ok(0)
        }
        FIOASYNC => {
            let on: i32 = get_user(user)?;
            fioasync(&file, on != 0)
        }
        FIOQSIZE if is_stored(&file) => put_user(user, &file.inode.size()).map(|()| 0),
        FIONREAD if file.inode.is_reg() => regular_left(&file, user),
        FIGETBSZ if is_stored(&file) => put_user(user, &(PAGE_SIZE as i32)).map(|()| 0),
        FIOGETOWN | SIOCGPGRP if uapi::stat::s_issock(file.inode.mode()) => {
            put_user(user, &f_getown(&file)).map(|()| 0)
        }
        FIOSETOWN | SIOCSPGRP if uapi::stat::s_issock(file.inode.mode()) => {
            f_setown(&file, get_user(user)?).map(|()| 0)
        }
        FICLONE | FICLONERANGE if file.inode.is_reg() => Err(Errno::EOPNOTSUPP),
        _ => match file.ops.ioctl(&file, cmd, user) {
            Err(Errno::ENOIOCTLCMD) => Err(Errno::ENOTTY),
            result => result,
        },
    }
}

fn is_stored(file: &File) -> bool {
    file.inode.is_reg() || file.inode.is_dir() || file.inode.is_symlink()
}

fn set_cloexec(fd: i32, on_exec: OnExec) -> Result<i64> {
    current_files()?.set_on_exec(fd as u32, on_exec)?;
    Ok(0)
}

fn set_flag(file: &File, flag: u32, on: bool) {
    if on {
        file.flags.fetch_or(flag, Ordering::AcqRel);
    } else {
        file.flags.fetch_and(!flag, Ordering::AcqRel);
    }
}

fn fioasync(file: &File, on: bool) -> Result<i64> {
    if (file.flags() & FASYNC != 0) != on {
        file.ops.fasync(file, on)?;
        set_flag(file, FASYNC, on);
    }
    Ok(0)
}

/// FIONREAD of a regular file: what lies behind the position.
fn regular_left(file: &File, user: UserAddr) -> Result<i64> {
    let pos = file.pos.load(Ordering::Relaxed);
    let left = file.inode.size().saturating_sub(pos);
    put_user(user, &i32::try_from(left).unwrap_or(i32::MAX))?;
    Ok(0)
}
