//! Changing what an area allows (Linux: mm/mprotect.c).
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::mman::{PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE};

use crate::arch::PAGE_SIZE;
use crate::mm::mm_types::{MmStruct, Mmap, current_mm, pages_of};
use crate::mm::mmap::vm_prot_flags;
use crate::mm::page::PageRef;
use crate::mm::util::{page_align, vm_acct_memory};
use crate::mm::vma::VmFlags;
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
const PROT_GROWS: u32 = PROT_GROWSDOWN | PROT_GROWSUP;

/// mprotect(2). Errors: EINVAL, ENOMEM at a hole or a limit, EACCES.
pub fn sys_mprotect(start: u64, len: u64, prot: u64) -> Result {
    current_mm()?.mprotect(start, len, prot as u32)
}

impl MmStruct {
    /// mprotect(2) in this address space. Areas before the one that fails keep the change.
    pub fn mprotect(&self, start: u64, len: u64, prot: u32) -> Result {
        let known = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWS;
        if prot & PROT_GROWS == PROT_GROWS
            || !start.is_multiple_of(PAGE)
            || prot & !known != 0 && len != 0
        {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let len = page_align(len).ok_or(Errno::ENOMEM)?;
        let end = start
            .checked_add(len)
            .filter(|&end| end > start)
            .ok_or(Errno::ENOMEM)?;
        let mut map = self.write();
        let mut at = first_address(&map, start..end, prot)?;
        while at < end {
            let vma = map.vmas.lookup(at).ok_or(Errno::ENOMEM)?;
            let part = at..end.min(vma.end);
            let flags = (vma.flags - VmFlags::ACCESS) | vm_prot_flags(prot);
            let may = VmFlags::from_bits_truncate(flags.bits() >> 4) & VmFlags::ACCESS;
            if !may.contains(flags & VmFlags::ACCESS) {
                return Err(Errno::EACCES);
            }
            at = part.end;
            self.mprotect_fixup(&mut map, part, flags)?;
        }
        Ok(())
    }

    /// One area, or a part of it (Linux: `mprotect_fixup`). Errors: ENOMEM.
    fn mprotect_fixup(&self, map: &mut Mmap, range: Range<u64>, mut flags: VmFlags) -> Result {
        let old = map.vmas.lookup(range.start).map_or(flags, |vma| vma.flags);
        if old == flags {
            return Ok(());
        }
        let pages = pages_of(&range);
        if flags.contains(VmFlags::WRITE) {
            if !old.is_data() && flags.is_data() {
                map.may_expand_data(pages)?;
            }
            let promised = VmFlags::ACCOUNT | VmFlags::WRITE | VmFlags::SHARED | VmFlags::NORESERVE;
            if !old.intersects(promised) {
                vm_acct_memory(pages)?;
                flags |= VmFlags::ACCOUNT;
            }
        }
        map.vmas.set_flags(range.clone(), flags)?;
        map.stat.account(old, -(pages as i64));
        map.stat.account(flags, pages as i64);
        self.change_protection(range, flags);
        Ok(())
    }

    /// Brings the entries of the range in line with the area's new rules.
    fn change_protection(&self, range: Range<u64>, flags: VmFlags) {
        let prot = flags.page_prot();
        let own = flags.contains(VmFlags::WRITE) && !flags.contains(VmFlags::SHARED);
        let mut left = range.clone();
        let mut changed = false;
        loop {
            let lock = self.page_table().lock();
            let Some((_, slots)) = lock.next_slots(&mut left) else {
                break;
            };
            for slot in slots {
                let pte = slot.pte();
                if pte.is_none() {
                    continue;
                }
                // A private page that nobody shares needs no fault before the next store.
                let sole = own && pte.is_anon() && slot.with_page(PageRef::count) == Some(1);
                slot.set_prot(if sole { prot.writable() } else { prot });
                changed = true;
            }
        }
        if changed {
            self.page_table().flush(range);
        }
    }
}

/// Where the change begins; PROT_GROWSDOWN extends it to the start of the stack.
fn first_address(map: &Mmap, range: Range<u64>, prot: u32) -> Result<u64> {
    let vma = map.vmas.find(range.start).ok_or(Errno::ENOMEM)?;
    if prot & PROT_GROWSDOWN != 0 {
        if vma.start >= range.end {
            return Err(Errno::ENOMEM);
        }
        let grows = vma.flags.contains(VmFlags::GROWSDOWN);
        return if grows {
            Ok(vma.start)
        } else {
            Err(Errno::EINVAL)
        };
    }
    if vma.start > range.start {
        return Err(Errno::ENOMEM);
    }
    if prot & PROT_GROWSUP != 0 {
        return Err(Errno::EINVAL); // no area grows up on this machine
    }
    Ok(range.start)
}
