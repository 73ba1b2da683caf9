//! User pages for the kernel's own use (Linux: mm/gup.c, `access_remote_vm` of mm/memory.c).
#![forbid(unsafe_code)]

use core::ops::Range;

use crate::arch::PAGE_SIZE;
use crate::mm::UserAddr;
use crate::mm::memory::{FaultAccess, FaultError, handle_mm_fault};
use crate::mm::mm_types::MmStruct;
use crate::mm::pgtable::Access;
use crate::mm::vma::VmFlags;
use crate::prelude::*;

/// How populating touches the pages of an area; `None` where nothing may be touched.
fn populate_access(flags: VmFlags) -> Option<super::memory::FaultAccess> {
    use super::memory::FaultAccess;
    if flags.contains(VmFlags::WRITE) && !flags.contains(VmFlags::SHARED) {
        Some(FaultAccess::WRITE)
    } else {
        flags
            .intersects(VmFlags::ACCESS)
            .then_some(FaultAccess::empty())
    }
}

impl MmStruct {
    /// Faults every page of the range in, as far as the areas allow (Linux: `mm_populate`).
    /// Errors: ENOMEM at a hole, EFAULT or EAGAIN where a page cannot be had.
    pub fn populate(&self, range: Range<u64>) -> Result {
        let mut addr = range.start;
        while addr < range.end {
            let (end, access) = {
                let map = self.read();
                let vma = map.vmas.lookup(addr).ok_or(Errno::ENOMEM)?;
                (vma.end.min(range.end), populate_access(vma.flags))
            };
            if let Some(access) = access {
                self.populate_pages(addr..end, access)?;
            }
            addr = end;
        }
        Ok(())
    }

    /// Faults pages of one area in. Errors: EFAULT, EHWPOISON never, ENOMEM.
    pub(super) fn populate_pages(&self, range: Range<u64>, access: FaultAccess) -> Result {
        let wanted = if access.is_empty() {
            Access::Read
        } else {
            Access::Write
        };
        for addr in range.step_by(PAGE_SIZE) {
            let addr = UserAddr::new(addr);
            if self.page_table().lock().touch(addr, wanted).is_some() {
                continue;
            }
            handle_mm_fault(self, addr, access).map_err(|fault| {
                if fault == FaultError::OOM {
                    Errno::ENOMEM
                } else {
                    Errno::EFAULT
                }
            })?;
        }
        Ok(())
    }

    /// Reads memory of this address space, whoever runs (Linux: `access_remote_vm`): faults pages
    /// in as the program's own loads would. Returns how many bytes could be read.
    pub fn read_remote(&self, addr: u64, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let at = addr.wrapping_add(done as u64);
            let step = (buf.len() - done).min(PAGE_SIZE - at as usize % PAGE_SIZE);
            let part = &mut buf[done..done + step];
            let copied = self.page_table().lock().read_page(UserAddr::new(at), part);
            if copied {
                done += step;
            } else if handle_mm_fault(self, UserAddr::new(at), FaultAccess::empty()).is_err() {
                break;
            }
        }
        done
    }

    /// Writes memory of this address space; the counterpart of `read_remote`.
    pub fn write_remote(&self, addr: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.wrapping_add(done as u64);
            let step = (bytes.len() - done).min(PAGE_SIZE - at as usize % PAGE_SIZE);
            let part = &bytes[done..done + step];
            let copied = self.page_table().lock().write_page(UserAddr::new(at), part);
            if copied {
                done += step;
            } else if handle_mm_fault(self, UserAddr::new(at), FaultAccess::WRITE).is_err() {
                break;
            }
        }
        done
    }
}
