//! Moving bytes between files inside the kernel: sendfile, copy_file_range, splice, tee
//! (Linux: fs/splice.c, fs/read_write.c).
//!
//! Bytes travel through one page of kernel memory. A file that does not take a whole piece gets
//! the rest again, so nothing that was read is lost.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::O_APPEND;
use uapi::uio::{MAX_RW_COUNT, SPLICE_F_NONBLOCK};

use crate::arch::PAGE_SIZE;
use crate::fs::file::{File, fget, fmode};
use crate::fs::pipe::{Pipe, is_pipe};
use crate::fs::read_write::{get_offset, put_offset};
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::prelude::*;

/// Where one side of a copy stands.
enum Cursor {
    /// At the file's own position, which moves.
    File,
    /// At a position of the caller's.
    Given(u64),
}

impl Cursor {
    fn new(given: Option<u64>) -> Self {
        given.map_or(Cursor::File, Cursor::Given)
    }
    fn get(&self, file: &File) -> u64 {
        match self {
            Cursor::File => file.pos.load(Ordering::Relaxed),
            Cursor::Given(pos) => *pos,
        }
    }
    fn advance(&mut self, file: &File, pos: u64) {
        match self {
            Cursor::File => file.pos.store(pos, Ordering::Relaxed),
            Cursor::Given(own) => *own = pos,
        }
    }
    /// The caller's position after the copy.
    fn given(&self) -> Option<u64> {
        match self {
            Cursor::File => None,
            Cursor::Given(pos) => Some(*pos),
        }
    }
}

/// Copies up to `count` bytes; what was copied before an error counts. The source's cursor only
/// moves past bytes that the destination took.
fn copy_bytes(
    source: (&File, &mut Cursor),
    target: (&File, &mut Cursor),
    count: usize,
) -> Result<usize> {
    let (from, from_cursor) = source;
    let (to, to_cursor) = target;
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(PAGE_SIZE)
        .map_err(|_| Errno::ENOMEM)?;
    buffer.resize(PAGE_SIZE, 0);
    let mut total = 0;
    while total < count {
        let piece = &mut buffer[..PAGE_SIZE.min(count - total)];
        let start = from_cursor.get(from);
        let mut read_pos = start;
        let got = match from.kernel_read(piece, &mut read_pos) {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        };
        let (written, error) = write_all(to, to_cursor, &piece[..got]);
        let seekable = from.mode & fmode::LSEEK != 0;
        from_cursor.advance(
            from,
            if seekable {
                start + written as u64
            } else {
                read_pos
            },
        );
        total += written;
        match error {
            Some(error) if total == 0 => return Err(error),
            Some(_) => break,
            None => {}
        }
    }
    Ok(total)
}

/// Writes a whole piece; returns how much went and why not more.
fn write_all(to: &File, cursor: &mut Cursor, piece: &[u8]) -> (usize, Option<Errno>) {
    let mut written = 0;
    while written < piece.len() {
        let mut pos = cursor.get(to);
        match to.kernel_write(&piece[written..], &mut pos) {
            Ok(0) => return (written, Some(Errno::EIO)),
            Ok(count) => written += count,
            Err(error) => return (written, Some(error)),
        }
        cursor.advance(to, pos);
    }
    (written, None)
}

/// In /proc/PID/io a copy is one read and one write.
fn count_copy(bytes: usize) {
    let ioac = &current().as_task().ioac;
    ioac.read.count(bytes);
    ioac.write.count(bytes);
}

/// sendfile(2): the source must have positions. Errors: EBADF, EINVAL, ESPIPE.
pub fn sys_sendfile(out_fd: i32, in_fd: i32, offset: UserAddr, count: usize) -> Result<usize> {
    let from = fget(in_fd)?;
    if !from.is_readable() {
        return Err(Errno::EBADF);
    }
    let given = get_offset(offset)?;
    if given.is_some() && from.mode & fmode::PREAD == 0 {
        return Err(Errno::ESPIPE);
    }
    let to = fget(out_fd)?;
    if !to.is_writable() {
        return Err(Errno::EBADF);
    }
    let splices = from.inode.is_reg() || uapi::stat::s_isblk(from.inode.mode());
    if !splices && from.mode & fmode::LSEEK == 0 || to.flags() & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let mut cursor = Cursor::new(given);
    let count = count.min(MAX_RW_COUNT);
    let done = copy_bytes((&from, &mut cursor), (&to, &mut Cursor::File), count)?;
    count_copy(done);
    if let Some(pos) = cursor.given() {
        put_offset(offset, pos)?;
    }
    Ok(done)
}

/// copy_file_range(2) between regular files. Errors: EINVAL (flags, overlap, type), EBADF,
/// EISDIR.
pub fn sys_copy_file_range(
    fd_in: i32,
    off_in: UserAddr,
    fd_out: i32,
    off_out: UserAddr,
    len: usize,
    flags: u32,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (fget(fd_in)?, fget(fd_out)?);
    check_copy_files(&from, &to)?;
    let mut from_cursor = Cursor::new(get_offset(off_in)?);
    let mut to_cursor = Cursor::new(get_offset(off_out)?);
    let start = from_cursor.get(&from);
    let available = from.inode.size().saturating_sub(start);
    let count = (len.min(MAX_RW_COUNT) as u64).min(available);
    if Arc::ptr_eq(&from.inode, &to.inode) {
        let target = to_cursor.get(&to);
        if start < target.saturating_add(count) && target < start + count {
            return Err(Errno::EINVAL);
        }
    }
    let done = copy_bytes(
        (&from, &mut from_cursor),
        (&to, &mut to_cursor),
        count as usize,
    )?;
    count_copy(done);
    if let Some(pos) = from_cursor.given() {
        put_offset(off_in, pos)?;
    }
    if let Some(pos) = to_cursor.given() {
        put_offset(off_out, pos)?;
    }
    Ok(done)
}

fn check_copy_files(from: &File, to: &File) -> Result {
    if from.inode.is_dir() || to.inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    if !from.inode.is_reg() || !to.inode.is_reg() {
        return Err(Errno::EINVAL);
    }
    if !from.is_readable() || !to.is_writable() || to.flags() & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    Ok(())
}

/// splice(2): one side must be a pipe. Errors: EBADF, EINVAL, ESPIPE (an offset for a pipe).
pub fn sys_splice(
    fd_in: i32,
    off_in: UserAddr,
    fd_out: i32,
    off_out: UserAddr,
    len: usize,
    flags: u32,
) -> Result<usize> {
    if flags & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (fget(fd_in)?, fget(fd_out)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    let (from_pipe, to_pipe) = (is_pipe(&from), is_pipe(&to));
    if from_pipe && !off_in.is_null() || to_pipe && !off_out.is_null() {
        return Err(Errno::ESPIPE);
    }
    let same = Arc::ptr_eq(&from.inode, &to.inode);
    if !from_pipe && !to_pipe || same || !to_pipe && to.flags() & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let mut from_cursor = Cursor::new(get_offset(off_in)?);
    let mut to_cursor = Cursor::new(get_offset(off_out)?);
    let count = splice_count(&from, &to, len.min(MAX_RW_COUNT), flags)?;
    let done = copy_bytes((&from, &mut from_cursor), (&to, &mut to_cursor), count)?;
    if let Some(pos) = from_cursor.given() {
        put_offset(off_in, pos)?;
    }
    if let Some(pos) = to_cursor.given() {
        put_offset(off_out, pos)?;
    }
    Ok(done)
}

/// How much one splice may move: never more than the pipes have or take, so that it only sleeps
/// for its first byte. Errors: EAGAIN.
fn splice_count(from: &File, to: &File, len: usize, flags: u32) -> Result<usize> {
    let nonblock = |file: &File| flags & SPLICE_F_NONBLOCK != 0 || file.is_nonblocking();
    let mut count = len;
    if let Some(pipe) = Pipe::of(from) {
        count = count.min(pipe.wait_readable(nonblock(from))?);
    }
    if let Some(pipe) = Pipe::of(to) {
        count = count.min(pipe.wait_writable(nonblock(to))?);
    }
    Ok(count)
}

/// tee(2) is not supported. Errors: EINVAL.
pub fn sys_tee(_fdin: i32, _fdout: i32, _len: usize, _flags: u32) -> Result<usize> {
    Err(Errno::EINVAL)
}
