//! Copies to and from user space (Linux: include/linux/uaccess.h, lib/strncpy_from_user.c).
//! All of them may sleep (a copy may fault a page in) and fail with EFAULT. Nothing here checks an
//! address twice: the range is checked once, then the copy itself finds out what is mapped.

use uapi::Pod;
use uapi::uio::{Iovec, MAX_RW_COUNT, UIO_FASTIOV, UIO_MAXIOV};

use crate::arch::{self, PAGE_SIZE, TASK_SIZE};
use crate::mm::UserAddr;
use crate::prelude::*;

pub use super::iov_iter::IovIter;

/// Whether the range is in the user half (Linux: `access_ok`).
#[inline]
pub fn access_ok(addr: UserAddr, len: usize) -> bool {
    let len = len as u64;
    len <= TASK_SIZE && addr.as_u64() <= TASK_SIZE - len
}

/// Copies from user space as far as possible; returns the number of bytes NOT copied.
#[inline]
pub fn copy_from_user_partial(dst: &mut [u8], src: UserAddr) -> usize {
    if !access_ok(src, dst.len()) {
        return dst.len();
    }
    // SAFETY: `dst` is valid for its length.
    unsafe { arch::raw_copy_from_user(dst.as_mut_ptr(), src, dst.len()) }
}

/// Copies to user space as far as possible; returns the number of bytes NOT copied.
#[inline]
pub fn copy_to_user_partial(dst: UserAddr, src: &[u8]) -> usize {
    if !access_ok(dst, src.len()) {
        return src.len();
    }
    // SAFETY: `src` is valid for its length.
    unsafe { arch::raw_copy_to_user(dst, src.as_ptr(), src.len()) }
}

/// Copies exactly `dst.len()` bytes from user space. After EFAULT `dst` may be changed in part.
#[inline]
pub fn copy_from_user(dst: &mut [u8], src: UserAddr) -> Result {
    if copy_from_user_partial(dst, src) == 0 {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// Copies exactly `src.len()` bytes to user space.
#[inline]
pub fn copy_to_user(dst: UserAddr, src: &[u8]) -> Result {
    if copy_to_user_partial(dst, src) == 0 {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// Runs `work` with a buffer of the value's size; the size is a constant, so one branch stays.
#[inline(always)]
fn with_buffer<T: Pod, R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    if T::SIZE <= 8 {
        work(&mut [0; 8][..T::SIZE])
    } else if T::SIZE <= 64 {
        work(&mut [0; 64][..T::SIZE])
    } else if T::SIZE <= 512 {
        work(&mut [0; 512][..T::SIZE])
    } else {
        work(&mut vec![0; T::SIZE])
    }
}

/// Reads one value.
#[inline]
pub fn get_user<T: Pod>(src: UserAddr) -> Result<T> {
    with_buffer::<T, _>(|bytes| {
        copy_from_user(bytes, src)?;
        Ok(T::read_from(bytes))
    })
}

/// Writes one value.
#[inline]
pub fn put_user<T: Pod>(dst: UserAddr, value: &T) -> Result {
    with_buffer::<T, _>(|bytes| {
        value.write_to(bytes);
        copy_to_user(dst, bytes)
    })
}

/// Zeroes `len` bytes.
pub fn clear_user(dst: UserAddr, len: usize) -> Result {
    if clear_user_partial(dst, len) == 0 {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// Zeroes as far as possible; returns the number of bytes NOT zeroed.
pub fn clear_user_partial(dst: UserAddr, len: usize) -> usize {
    static ZEROES: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
    if !access_ok(dst, len) {
        return len;
    }
    let mut done = 0;
    while done < len {
        let step = (len - done).min(PAGE_SIZE);
        let left = copy_to_user_partial(dst + done as u64, &ZEROES[..step]);
        done += step - left;
        if left != 0 {
            break;
        }
    }
    len - done
}

/// Reads a NUL-terminated string of at most `max` bytes without the NUL.
/// Errors: EFAULT; ENAMETOOLONG when there is no NUL within `max` bytes.
pub fn strncpy_from_user(src: UserAddr, max: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let ended = for_each_string_chunk(src, max, |chunk| {
        text.try_reserve(chunk.len()).map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(chunk);
        Ok(())
    })?;
    if ended {
        Ok(text)
    } else {
        Err(Errno::ENAMETOOLONG)
    }
}

/// Hands out a NUL-terminated string piece by piece, without the NUL, at most `max` bytes of it;
/// whether the NUL was found. Bytes after the NUL are read, but never beyond its page: the string
/// may end right before unmapped memory. Errors: EFAULT, or what `take` returns.
pub fn for_each_string_chunk(
    src: UserAddr,
    max: usize,
    mut take: impl FnMut(&[u8]) -> Result,
) -> Result<bool> {
    // Most names are short: the first pieces are small, long strings get large ones.
    let mut buf = [0; 256];
    let (mut at, mut left, mut piece) = (src, max, 64);
    while left > 0 {
        let step = left.min(piece).min(PAGE_SIZE - at.page_offset());
        let chunk = &mut buf[..step];
        copy_from_user(chunk, at)?;
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            take(&chunk[..end])?;
            return Ok(true);
        }
        take(chunk)?;
        at = at.checked_add(step as u64).ok_or(Errno::EFAULT)?;
        left -= step;
        piece = buf.len();
    }
    Ok(false)
}

/// The segments of a readv(2)-like call, copied and checked once (Linux: `import_iovec`).
pub struct IoVecs {
    few: [(UserAddr, usize); UIO_FASTIOV],
    many: Vec<(UserAddr, usize)>,
    len: usize,
    total: usize,
}

impl IoVecs {
    /// The segments.
    pub fn segments(&self) -> &[(UserAddr, usize)] {
        if self.len <= UIO_FASTIOV {
            &self.few[..self.len]
        } else {
            &self.many
        }
    }
    /// Bytes of all segments, at most `MAX_RW_COUNT`.
    pub fn total(&self) -> usize {
        self.total
    }
    /// An iterator over the segments' memory.
    pub fn iter(&self) -> IovIter<'_> {
        IovIter::User {
            segs: self.segments(),
            skip: 0,
        }
    }
}

/// Reads `count` segments from user space. A total above `MAX_RW_COUNT` is cut, as on Linux.
/// Errors: EINVAL for too many segments or a negative length, EFAULT, ENOMEM.
pub fn import_iovec(addr: UserAddr, count: usize) -> Result<IoVecs> {
    if count > UIO_MAXIOV {
        return Err(Errno::EINVAL);
    }
    let none = (UserAddr::new(0), 0);
    let mut vecs = IoVecs {
        few: [none; UIO_FASTIOV],
        many: Vec::new(),
        len: count,
        total: 0,
    };
    if count > UIO_FASTIOV {
        vecs.many
            .try_reserve_exact(count)
            .map_err(|_| Errno::ENOMEM)?;
    }
    for index in 0..count {
        let entry = addr
            .checked_add((index * Iovec::SIZE) as u64)
            .ok_or(Errno::EFAULT)?;
        let segment = check_segment(get_user(entry)?, &mut vecs.total)?;
        if count > UIO_FASTIOV {
            vecs.many.push(segment);
        } else {
            vecs.few[index] = segment;
        }
    }
    Ok(vecs)
}

fn check_segment(raw: Iovec, total: &mut usize) -> Result<(UserAddr, usize)> {
    if raw.iov_len > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    let base = UserAddr::new(raw.iov_base);
    let len = raw.iov_len as usize;
    if !access_ok(base, len) {
        return Err(Errno::EFAULT);
    }
    let len = len.min(MAX_RW_COUNT - *total);
    *total += len;
    Ok((base, len))
}

/// The one segment of a read(2)-like call (Linux: `import_ubuf`). Errors: EFAULT.
pub fn import_ubuf<'a>(addr: UserAddr, len: usize) -> Result<IovIter<'a>> {
    let len = len.min(MAX_RW_COUNT);
    if !access_ok(addr, len) {
        return Err(Errno::EFAULT);
    }
    Ok(IovIter::Buffer { addr, len })
}

/// A checked piece of user memory with a cursor: each byte is copied once
/// (compare rust/kernel/uaccess.rs, `UserSlice`).
#[derive(Clone, Copy, Debug)]
pub struct UserSlice {
    addr: UserAddr,
    len: usize,
}

impl UserSlice {
    /// Errors: EFAULT outside the user half.
    pub fn new(addr: UserAddr, len: usize) -> Result<UserSlice> {
        if access_ok(addr, len) {
            Ok(UserSlice { addr, len })
        } else {
            Err(Errno::EFAULT)
        }
    }
    /// Bytes that are left.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Fills `dst` with the next bytes. Errors: EFAULT, also when too few are left.
    pub fn read(&mut self, dst: &mut [u8]) -> Result {
        self.take(dst.len())
            .and_then(|addr| copy_from_user(dst, addr))
    }
    /// Writes the next bytes. Errors: EFAULT, also when there is too little room.
    pub fn write(&mut self, src: &[u8]) -> Result {
        self.take(src.len())
            .and_then(|addr| copy_to_user(addr, src))
    }
    /// Reads the next value.
    pub fn read_value<T: Pod>(&mut self) -> Result<T> {
        self.take(T::SIZE).and_then(get_user)
    }
    /// Writes the next value.
    pub fn write_value<T: Pod>(&mut self, value: &T) -> Result {
        self.take(T::SIZE).and_then(|addr| put_user(addr, value))
    }
    fn take(&mut self, len: usize) -> Result<UserAddr> {
        let addr = self.addr;
        self.len = self.len.checked_sub(len).ok_or(Errno::EFAULT)?;
        self.addr = addr + len as u64;
        Ok(addr)
    }
}

/// Compares and exchanges a 32-bit word; returns what was there (Linux: `futex_cmpxchg_value_locked`).
pub fn try_cmpxchg_user(addr: UserAddr, old: u32, new: u32) -> Result<u32> {
    arch::raw_cmpxchg_user_u32(addr, old, new).ok_or(Errno::EFAULT)
}
