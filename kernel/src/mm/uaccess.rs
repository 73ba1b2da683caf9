//! Copies to and from user space (Linux: include/linux/uaccess.h, lib/iov_iter.c).
//! All of them may sleep (a copy may fault a page in) and fail with EFAULT.

use crate::mm::UserAddr;
use crate::prelude::*;
use uapi::Pod;

/// Copies exactly `dst.len()` bytes from user space.
pub fn copy_from_user(dst: &mut [u8], src: UserAddr) -> Result {
    let _ = (dst, src);
    todo!()
}
/// Copies exactly `src.len()` bytes to user space.
pub fn copy_to_user(dst: UserAddr, src: &[u8]) -> Result {
    let _ = (dst, src);
    todo!()
}
/// Reads one value.
pub fn get_user<T: Pod>(src: UserAddr) -> Result<T> {
    let _ = src;
    todo!()
}
/// Writes one value.
pub fn put_user<T: Pod>(dst: UserAddr, value: &T) -> Result {
    let _ = (dst, value);
    todo!()
}
/// Zeroes `len` bytes.
pub fn clear_user(dst: UserAddr, len: usize) -> Result {
    let _ = (dst, len);
    todo!()
}
/// Reads a NUL-terminated string of at most `max` bytes without the NUL.
/// Errors: EFAULT; ENAMETOOLONG when there is no NUL within `max` bytes.
pub fn strncpy_from_user(src: UserAddr, max: usize) -> Result<Vec<u8>> {
    let _ = (src, max);
    todo!()
}

/// The memory that one read or write call moves bytes to or from: user segments or kernel bytes
/// (Linux: `struct iov_iter`). A file operation sees no difference.
pub enum IovIter<'a> {
    /// Destination in the kernel.
    KernelDst { buf: &'a mut [u8], done: usize },
    /// Source in the kernel.
    KernelSrc { buf: &'a [u8], done: usize },
    /// User segments (address, length) still to be used, first one partly consumed by `skip`.
    User {
        segs: &'a [(UserAddr, usize)],
        skip: usize,
    },
}

impl IovIter<'_> {
    /// Bytes that are left.
    pub fn count(&self) -> usize {
        todo!()
    }
    /// Writes bytes to the destination; returns how many went (fewer than asked when the room
    /// ends). EFAULT only when nothing at all could be copied.
    pub fn copy_to_iter(&mut self, src: &[u8]) -> Result<usize> {
        let _ = src;
        todo!()
    }
    /// Reads bytes from the source; the counterpart of `copy_to_iter`.
    pub fn copy_from_iter(&mut self, dst: &mut [u8]) -> Result<usize> {
        let _ = dst;
        todo!()
    }
    /// Copies `len` bytes at `offset` of a page to the destination.
    pub fn copy_page_to_iter(
        &mut self,
        page: &crate::mm::page::PageRef,
        offset: usize,
        len: usize,
    ) -> Result<usize> {
        let _ = (page, offset, len);
        todo!()
    }
    /// Copies into a page from the source.
    pub fn copy_page_from_iter(
        &mut self,
        page: &crate::mm::page::PageRef,
        offset: usize,
        len: usize,
    ) -> Result<usize> {
        let _ = (page, offset, len);
        todo!()
    }
    /// Writes `len` zero bytes to the destination.
    pub fn zero_iter(&mut self, len: usize) -> Result<usize> {
        let _ = len;
        todo!()
    }
}
