//! read, write, lseek (Linux: fs/read_write.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::*;
use uapi::uio::{RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, RWF_SYNC};

use crate::fs::file::{File, fget, fmode};
use crate::fs::truncate::MAX_FILE_SIZE;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{IovIter, import_iovec, import_ubuf, put_user};
use crate::prelude::*;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Out of the file.
    Read,
    /// Into the file.
    Write,
}

impl Direction {
    #[inline]
    fn check(self, file: &File) -> Result {
        let needed = match self {
            Direction::Read => fmode::READ,
            Direction::Write => fmode::WRITE,
        };
        if file.mode & needed == 0 {
            return Err(Errno::EBADF);
        }
        Ok(())
    }

    #[inline]
    fn transfer(self, file: &File, iter: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        let ioac = &current().as_task().ioac;
        match self {
            Direction::Read => {
                let result = file.ops.read_iter(file, iter, pos);
                ioac.read.count(result.unwrap_or(0));
                result
            }
            Direction::Write => {
                let result = file.ops.write_iter(file, iter, pos);
                ioac.write.count(result.unwrap_or(0));
                result
            }
        }
    }
}

/// Reads or writes at the file's own position. Files that share it between threads take turns.
#[inline]
pub fn rw_at_file_pos(file: &File, iter: &mut IovIter<'_>, direction: Direction) -> Result<usize> {
    direction.check(file)?;
    if file.mode & fmode::LSEEK == 0 {
        return direction.transfer(file, iter, &mut 0);
    }
    let _turn = (file.mode & fmode::ATOMIC_POS != 0).then(|| file.pos_lock.lock());
    let mut pos = file.pos.load(Ordering::Relaxed);
    let result = direction.transfer(file, iter, &mut pos);
    if result.is_ok() {
        file.pos.store(pos, Ordering::Relaxed);
    }
    result
}

/// Reads or writes at a given position; the file's own does not change.
/// Errors: ESPIPE for files without positions.
pub fn rw_at(file: &File, iter: &mut IovIter<'_>, pos: u64, direction: Direction) -> Result<usize> {
    let needed = match direction {
        Direction::Read => fmode::PREAD,
        Direction::Write => fmode::PWRITE,
    };
    if file.mode & needed == 0 {
        return Err(Errno::ESPIPE);
    }
    direction.check(file)?;
    direction.transfer(file, iter, &mut { pos })
}

#[inline]
fn rw(fd: i32, buf: UserAddr, count: usize, direction: Direction) -> Result<usize> {
    let file = fget(fd)?;
    direction.check(&file)?;
    let mut iter = import_ubuf(buf, count)?;
    rw_at_file_pos(&file, &mut iter, direction)
}

/// read(2).
pub fn sys_read(fd: i32, buf: UserAddr, count: usize) -> Result<usize> {
    rw(fd, buf, count, Direction::Read)
}

/// write(2).
pub fn sys_write(fd: i32, buf: UserAddr, count: usize) -> Result<usize> {
    rw(fd, buf, count, Direction::Write)
}

fn prw(fd: i32, buf: UserAddr, count: usize, pos: i64, direction: Direction) -> Result<usize> {
    let pos = u64::try_from(pos).map_err(|_| Errno::EINVAL)?;
    let file = fget(fd)?;
    let mut iter = import_ubuf(buf, count)?;
    rw_at(&file, &mut iter, pos, direction)
}

/// pread64(2).
pub fn sys_pread64(fd: i32, buf: UserAddr, count: usize, pos: i64) -> Result<usize> {
    prw(fd, buf, count, pos, Direction::Read)
}

/// pwrite64(2).
pub fn sys_pwrite64(fd: i32, buf: UserAddr, count: usize, pos: i64) -> Result<usize> {
    prw(fd, buf, count, pos, Direction::Write)
}

/// A vectored transfer: at the file's position or at `pos`.
fn rwv(
    fd: i32,
    vec: UserAddr,
    count: u64,
    pos: Option<i64>,
    direction: Direction,
) -> Result<usize> {
    let pos = pos
        .map(|pos| u64::try_from(pos).map_err(|_| Errno::EINVAL))
        .transpose()?;
    let file = fget(fd)?;
    direction.check(&file)?;
    let vecs = import_iovec(vec, usize::try_from(count).map_err(|_| Errno::EINVAL)?)?;
    let mut iter = vecs.iter();
    match pos {
        Some(pos) => rw_at(&file, &mut iter, pos, direction),
        None => rw_at_file_pos(&file, &mut iter, direction),
    }
}

/// readv(2).
pub fn sys_readv(fd: i32, vec: UserAddr, vlen: u64) -> Result<usize> {
    rwv(fd, vec, vlen, None, Direction::Read)
}

/// writev(2).
pub fn sys_writev(fd: i32, vec: UserAddr, vlen: u64) -> Result<usize> {
    rwv(fd, vec, vlen, None, Direction::Write)
}

/// preadv(2); `_pos_h` only counts on 32-bit machines.
pub fn sys_preadv(fd: i32, vec: UserAddr, vlen: u64, pos: i64, _pos_h: u64) -> Result<usize> {
    rwv(fd, vec, vlen, Some(pos), Direction::Read)
}

/// pwritev(2).
pub fn sys_pwritev(fd: i32, vec: UserAddr, vlen: u64, pos: i64, _pos_h: u64) -> Result<usize> {
    rwv(fd, vec, vlen, Some(pos), Direction::Write)
}

/// Flags that change nothing for files in memory. Errors: EOPNOTSUPP.
fn check_rwf(flags: u32) -> Result {
    if flags & !(RWF_HIPRI | RWF_DSYNC | RWF_SYNC) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// preadv2(2): position -1 means the file's own. Errors: EOPNOTSUPP for RWF_NOWAIT.
pub fn sys_preadv2(
    fd: i32,
    vec: UserAddr,
    vlen: u64,
    pos: i64,
    _pos_h: u64,
    flags: u32,
) -> Result<usize> {
    check_rwf(flags & !RWF_NOWAIT)?;
    rwv(fd, vec, vlen, (pos != -1).then_some(pos), Direction::Read)
}

/// pwritev2(2): position -1 means the file's own; RWF_APPEND writes at the end.
pub fn sys_pwritev2(
    fd: i32,
    vec: UserAddr,
    vlen: u64,
    pos: i64,
    _pos_h: u64,
    flags: u32,
) -> Result<usize> {
    check_rwf(flags & !RWF_APPEND)?;
    if flags & RWF_APPEND != 0 {
        let size = fget(fd)?.inode.size();
        let end = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
        return rwv(fd, vec, vlen, Some(end), Direction::Write);
    }
    rwv(fd, vec, vlen, (pos != -1).then_some(pos), Direction::Write)
}

/// Stores a new position (Linux: `vfs_setpos`). Errors: EINVAL when it is negative or beyond
/// `max`.
pub fn vfs_setpos(file: &File, offset: i64, max: u64) -> Result<u64> {
    let pos = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    if pos > max {
        return Err(Errno::EINVAL);
    }
    file.pos.store(pos, Ordering::Relaxed);
    Ok(pos)
}

/// lseek for files whose end is the inode's size (Linux: `generic_file_llseek`).
pub fn generic_file_llseek(file: &File, offset: i64, whence: u32) -> Result<u64> {
    let size = file.inode.size();
    let signed = i64::try_from(size).map_err(|_| Errno::EOVERFLOW)?;
    let target = match whence {
        SEEK_SET => Some(offset),
        SEEK_CUR => {
            let pos = file.pos.load(Ordering::Relaxed) as i64;
            if offset == 0 {
                return Ok(pos as u64);
            }
            pos.checked_add(offset)
        }
        SEEK_END => signed.checked_add(offset),
        SEEK_DATA if (0..signed).contains(&offset) => Some(offset),
        SEEK_HOLE if (0..signed).contains(&offset) => Some(signed),
        SEEK_DATA | SEEK_HOLE => return Err(Errno::ENXIO),
        _ => return Err(Errno::EINVAL),
    };
    vfs_setpos(file, target.ok_or(Errno::EOVERFLOW)?, MAX_FILE_SIZE)
}

/// lseek for devices where it means nothing: always 0 (Linux: `null_lseek`).
pub fn null_llseek(file: &File) -> Result<u64> {
    file.pos.store(0, Ordering::Relaxed);
    Ok(0)
}

/// lseek(2).
pub fn sys_lseek(fd: i32, offset: i64, whence: u32) -> Result<u64> {
    let file = fget(fd)?;
    if whence > SEEK_HOLE {
        return Err(Errno::EINVAL);
    }
    if file.mode & fmode::LSEEK == 0 {
        return Err(Errno::ESPIPE);
    }
    let _turn = (file.mode & fmode::ATOMIC_POS != 0).then(|| file.pos_lock.lock());
    file.ops.llseek(&file, offset, whence)
}

impl File {
    /// Reads into kernel memory at `pos`, which advances (Linux: `kernel_read`). A short count
    /// means the end of the file.
    pub fn kernel_read(&self, buf: &mut [u8], pos: &mut u64) -> Result<usize> {
        Direction::Read.check(self)?;
        let mut iter = IovIter::KernelDst { buf, done: 0 };
        self.ops.read_iter(self, &mut iter, pos)
    }

    /// Reads until `buf` is full. Errors: EIO when the file ends before.
    pub fn kernel_read_exact(&self, buf: &mut [u8], pos: u64) -> Result {
        let mut at = pos;
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..)
            && !rest.is_empty()
        {
            match self.kernel_read(rest, &mut at)? {
                0 => return Err(Errno::EIO),
                count => done += count,
            }
        }
        Ok(())
    }

    /// Writes kernel memory at `pos`, which advances (Linux: `kernel_write`).
    pub fn kernel_write(&self, buf: &[u8], pos: &mut u64) -> Result<usize> {
        Direction::Write.check(self)?;
        let mut iter = IovIter::KernelSrc { buf, done: 0 };
        self.ops.write_iter(self, &mut iter, pos)
    }
}

/// Reads the offset that a call passes by pointer. Errors: EINVAL when negative.
pub(super) fn get_offset(addr: UserAddr) -> Result<Option<u64>> {
    if addr.is_null() {
        return Ok(None);
    }
    let offset: i64 = crate::mm::uaccess::get_user(addr)?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// Writes it back.
pub(super) fn put_offset(addr: UserAddr, offset: u64) -> Result {
    put_user(addr, &offset)
}
