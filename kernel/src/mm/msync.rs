//! Writing mapped files back (Linux: mm/msync.c).
#![forbid(unsafe_code)]

use uapi::mman::{MS_ASYNC, MS_INVALIDATE, MS_SYNC};

use crate::arch::PAGE_SIZE;
use crate::mm::mm_types::{MmStruct, current_mm};
use crate::mm::util::page_align;
use crate::mm::vma::VmFlags;
use crate::prelude::*;

/// msync(2). Errors: EBUSY, EINVAL, EIO, ENOMEM.
pub fn sys_msync(start: u64, len: u64, flags: i32) -> Result {
    current_mm()?.msync(start, len, flags as u32)
}

impl MmStruct {
    /// msync(2) in this address space.
    pub fn msync(&self, start: u64, len: u64, flags: u32) -> Result {
        let both = MS_ASYNC | MS_SYNC;
        if flags & !(both | MS_INVALIDATE) != 0
            || !start.is_multiple_of(PAGE_SIZE as u64)
            || flags & both == both
        {
            return Err(Errno::EINVAL);
        }
        let end = page_align(len)
            .and_then(|len| start.checked_add(len))
            .ok_or(Errno::ENOMEM)?;
        let mut at = start;
        let mut hole = false;
        while at < end {
            // The file is synchronised without the lock: that may take long, and may fault.
            let (next, file) = {
                let map = self.read();
                let Some(vma) = map.vmas.find(at).filter(|vma| vma.start < end) else {
                    return Err(Errno::ENOMEM);
                };
                hole |= vma.start > at;
                if flags & MS_INVALIDATE != 0 && vma.flags.contains(VmFlags::LOCKED) {
                    return Err(Errno::EBUSY);
                }
                let wanted = flags & MS_SYNC != 0 && vma.flags.contains(VmFlags::SHARED);
                (vma.end, vma.file.clone().filter(|_| wanted))
            };
            if let Some(file) = file {
                crate::fs::exec::vfs_fsync(&file)?;
            }
            at = next;
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }
}
