//! The memory that one read or write call moves bytes to or from (Linux: lib/iov_iter.c).

use crate::arch::{self, PAGE_SIZE};
use crate::mm::UserAddr;
use crate::mm::page::PageRef;
use crate::mm::uaccess::{access_ok, copy_to_user_partial};
use crate::prelude::*;

/// User segments or kernel bytes; a file operation sees no difference (Linux: `struct iov_iter`).
pub enum IovIter<'a> {
    /// Destination in the kernel.
    KernelDst {
        /// The whole buffer.
        buf: &'a mut [u8],
        /// Bytes used so far.
        done: usize,
    },
    /// Source in the kernel.
    KernelSrc {
        /// The whole buffer.
        buf: &'a [u8],
        /// Bytes used so far.
        done: usize,
    },
    /// User segments (address, length) still to be used, first one partly consumed by `skip`.
    User {
        /// What is left.
        segs: &'a [(UserAddr, usize)],
        /// Bytes of the first segment that are used.
        skip: usize,
    },
    /// One user segment, what is left of it (Linux: ITER_UBUF).
    Buffer {
        /// Next byte.
        addr: UserAddr,
        /// Bytes left.
        len: usize,
    },
}

/// The other end of a copy: kernel memory at an address, as long as the caller says.
#[derive(Clone, Copy)]
enum Kernel {
    Source(*const u8),
    Destination(*mut u8),
    Zeroes,
}

impl<'a> IovIter<'a> {
    /// Kernel memory to be filled.
    pub fn kernel_dst(buf: &'a mut [u8]) -> Self {
        IovIter::KernelDst { buf, done: 0 }
    }
    /// Kernel memory to be read.
    pub fn kernel_src(buf: &'a [u8]) -> Self {
        IovIter::KernelSrc { buf, done: 0 }
    }
}

impl IovIter<'_> {
    /// Bytes that are left.
    #[inline]
    pub fn count(&self) -> usize {
        match self {
            IovIter::KernelDst { buf, done } => buf.len() - done,
            IovIter::KernelSrc { buf, done } => buf.len() - done,
            IovIter::User { segs, skip } => segs.iter().map(|seg| seg.1).sum::<usize>() - skip,
            IovIter::Buffer { len, .. } => *len,
        }
    }

    /// Passes over `len` bytes, at most what is left.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        if let IovIter::Buffer { addr, len: left } = self {
            let step = len.min(*left);
            *addr = *addr + step as u64;
            *left -= step;
            return;
        }
        self.advance_segments(len);
    }

    fn advance_segments(&mut self, len: usize) {
        let mut left = len.min(self.count());
        match self {
            IovIter::KernelDst { done, .. } | IovIter::KernelSrc { done, .. } => *done += left,
            IovIter::Buffer { addr, len } => {
                *addr = *addr + left as u64;
                *len -= left;
            }
            IovIter::User { segs, skip } => {
                left += *skip;
                while let Some((&(_, len), rest)) = segs.split_first()
                    && left >= len
                {
                    left -= len;
                    *segs = rest;
                }
                *skip = left;
            }
        }
    }

    /// Makes at most `len` of the bytes count: the rest is forgotten (Linux: `iov_iter_truncate`).
    /// Segments keep their length; callers that truncate use one buffer.
    pub fn truncate(&mut self, new_len: usize) {
        match self {
            IovIter::Buffer { len, .. } => *len = (*len).min(new_len),
            IovIter::KernelDst { buf, done } => {
                let end = buf.len().min(done.saturating_add(new_len));
                let whole = core::mem::take(buf);
                *buf = &mut whole[..end];
            }
            IovIter::KernelSrc { buf, done } => {
                let end = buf.len().min(done.saturating_add(new_len));
                *buf = &buf[..end];
            }
            IovIter::User { .. } => {}
        }
    }

    /// Writes bytes to the destination; returns how many went (fewer than asked when the room
    /// ends). EFAULT only when nothing at all could be copied.
    #[inline]
    pub fn copy_to_iter(&mut self, src: &[u8]) -> Result<usize> {
        // SAFETY: `src` is valid for its length.
        unsafe { self.copy(Kernel::Source(src.as_ptr()), src.len()) }
    }

    /// Reads bytes from the source; the counterpart of `copy_to_iter`.
    #[inline]
    pub fn copy_from_iter(&mut self, dst: &mut [u8]) -> Result<usize> {
        // SAFETY: `dst` is valid for its length.
        unsafe { self.copy(Kernel::Destination(dst.as_mut_ptr()), dst.len()) }
    }

    /// Copies `len` bytes at `offset` of a page to the destination.
    pub fn copy_page_to_iter(
        &mut self,
        page: &PageRef,
        offset: usize,
        len: usize,
    ) -> Result<usize> {
        let address = page_address(page, offset, len);
        // SAFETY: `page_address` checked that the bytes are inside the page, which `page` keeps.
        unsafe { self.copy(Kernel::Source(address), len) }
    }

    /// Copies into a page from the source.
    pub fn copy_page_from_iter(
        &mut self,
        page: &PageRef,
        offset: usize,
        len: usize,
    ) -> Result<usize> {
        let address = page_address(page, offset, len);
        // SAFETY: as in `copy_page_to_iter`.
        unsafe { self.copy(Kernel::Destination(address), len) }
    }

    /// Writes `len` zero bytes to the destination.
    #[inline]
    pub fn zero_iter(&mut self, len: usize) -> Result<usize> {
        if let IovIter::Buffer { addr, len: left } = self {
            let wanted = len.min(*left);
            let done = wanted - arch::raw_clear_user(*addr, wanted);
            *addr = *addr + done as u64;
            *left -= done;
            return match done {
                0 if wanted != 0 => Err(Errno::EFAULT),
                done => Ok(done),
            };
        }
        self.zero_segments(len)
    }

    fn zero_segments(&mut self, len: usize) -> Result<usize> {
        let mut done = 0;
        while done < len {
            let step = (len - done).min(PAGE_SIZE);
            // SAFETY: zeroes come from a static page of at least `step` bytes.
            match unsafe { self.copy(Kernel::Zeroes, step) } {
                Ok(copied) => {
                    done += copied;
                    if copied < step {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Moves up to `len` bytes between the iterator's memory and `kernel`.
    ///
    /// # Safety
    /// The memory that `kernel` names is valid for `len` bytes; for zeroes `len` is one page at
    /// most.
    unsafe fn copy(&mut self, kernel: Kernel, len: usize) -> Result<usize> {
        match self {
            IovIter::Buffer { addr, len: left } => {
                let step = len.min(*left);
                // SAFETY: the caller vouches for `len >= step` bytes.
                let copied = unsafe { copy_user(*addr, kernel, 0, step) };
                *addr = *addr + copied as u64;
                *left -= copied;
                if copied == 0 && step != 0 {
                    Err(Errno::EFAULT)
                } else {
                    Ok(copied)
                }
            }
            // SAFETY: passed on.
            IovIter::User { .. } => unsafe { self.copy_segments(kernel, len) },
            IovIter::KernelDst { buf, done } => {
                let step = len.min(buf.len() - *done);
                // SAFETY: the caller vouches for the source, the slice for the destination.
                unsafe { fill(&mut buf[*done..*done + step], kernel) };
                *done += step;
                Ok(step)
            }
            IovIter::KernelSrc { buf, done } => {
                let step = len.min(buf.len() - *done);
                let Kernel::Destination(to) = kernel else {
                    return Err(Errno::EINVAL);
                };
                // SAFETY: the caller vouches for the destination; slices do not overlap with
                // memory that is written through a raw address.
                unsafe { core::ptr::copy(buf[*done..].as_ptr(), to, step) };
                *done += step;
                Ok(step)
            }
        }
    }

    /// # Safety
    /// As for `copy`.
    unsafe fn copy_segments(&mut self, kernel: Kernel, len: usize) -> Result<usize> {
        let IovIter::User { segs, skip } = self else {
            return Ok(0);
        };
        let mut done = 0;
        let mut faulted = false;
        while done < len
            && !faulted
            && let Some((&(base, seg_len), rest)) = segs.split_first()
        {
            let step = (len - done).min(seg_len - *skip);
            // SAFETY: `done + step <= len`.
            let copied = unsafe { copy_user(base + *skip as u64, kernel, done, step) };
            faulted = copied < step;
            done += copied;
            *skip += copied;
            if *skip == seg_len {
                *segs = rest;
                *skip = 0;
            }
        }
        if faulted && done == 0 {
            Err(Errno::EFAULT)
        } else {
            Ok(done)
        }
    }
}

/// Address of byte `offset` of the page; panics unless `len` bytes follow (kernel bug).
fn page_address(page: &PageRef, offset: usize, len: usize) -> *mut u8 {
    let size = PAGE_SIZE << page.order();
    assert!(offset <= size && len <= size - offset, "copy beyond a page");
    (arch::phys_to_virt(page.phys()).as_usize() + offset) as *mut u8
}

static ZEROES: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// Copies `len` bytes between user memory and byte `offset` of `kernel`; returns how many went.
///
/// # Safety
/// `kernel` is valid for `offset + len` bytes.
#[inline]
unsafe fn copy_user(user: UserAddr, kernel: Kernel, offset: usize, len: usize) -> usize {
    if !access_ok(user, len) {
        return 0;
    }
    len - match kernel {
        // SAFETY: the caller vouches for the kernel side.
        Kernel::Source(from) => unsafe {
            arch::raw_copy_to_user(user, from.wrapping_add(offset), len)
        },
        // SAFETY: as above.
        Kernel::Destination(to) => unsafe {
            arch::raw_copy_from_user(to.wrapping_add(offset), user, len)
        },
        Kernel::Zeroes => copy_to_user_partial(user, &ZEROES[..len]),
    }
}

/// # Safety
/// `kernel` is valid for `dst.len()` bytes.
unsafe fn fill(dst: &mut [u8], kernel: Kernel) {
    match kernel {
        // SAFETY: the caller vouches for the source; the two may be the same page at worst.
        Kernel::Source(from) => unsafe { core::ptr::copy(from, dst.as_mut_ptr(), dst.len()) },
        Kernel::Zeroes => dst.fill(0),
        Kernel::Destination(_) => {}
    }
}
