//! The heap and the stack: areas that grow (Linux: mm/mmap.c, `brk`; mm/vma.c,
//! `do_brk_flags`, `expand_downwards`).
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::resource::{RLIMIT_DATA, RLIMIT_STACK};

use crate::arch::{PAGE_SHIFT, PAGE_SIZE, TASK_SIZE};
use crate::mm::mm_types::{MmStruct, Mmap, current_mm, pages_of};
use crate::mm::mmap::{DATA_FLAGS, Detached, checked_range};
use crate::mm::util::{MMAP_MIN_ADDR, page_align, rlimit, vm_acct_memory};
use crate::mm::vma::{MAX_MAP_COUNT, STACK_GUARD_GAP, VmFlags, Vma};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;

/// brk(2): the new end of the heap, or the old one when it cannot move.
pub fn sys_brk(brk: u64) -> Result<u64> {
    Ok(current_mm()?.brk(brk))
}

impl MmStruct {
    /// brk(2): moves the end of the heap; returns where it is now, moved or not.
    pub fn brk(&self, new: u64) -> u64 {
        let mut detached = Detached::default();
        let (brk, grown) = {
            let mut map = self.write();
            let grown = self.move_brk(&mut map, new, &mut detached).unwrap_or(0..0);
            (map.parts.brk, grown)
        };
        drop(detached);
        if !grown.is_empty() {
            let _ = self.populate(grown);
        }
        brk
    }

    /// Returns the new range if it is locked and must be populated.
    fn move_brk(&self, map: &mut Mmap, new: u64, detached: &mut Detached) -> Result<Range<u64>> {
        let parts = &map.parts;
        if new < parts.start_brk || new > TASK_SIZE {
            return Err(Errno::EINVAL);
        }
        let data = (new - parts.start_brk).saturating_add(parts.end_data - parts.start_data);
        if data > rlimit(RLIMIT_DATA) {
            return Err(Errno::ENOMEM);
        }
        let old_end = page_align(parts.brk).ok_or(Errno::ENOMEM)?;
        let new_end = page_align(new).ok_or(Errno::ENOMEM)?;
        let mut populate = 0..0;
        if new_end < old_end {
            *detached = self.unmap_range(map, new_end..old_end)?;
        } else if new_end > old_end {
            let next = map.vmas.find(old_end);
            if next.is_some_and(|vma| new_end > vma.start_with_gap().saturating_sub(PAGE)) {
                return Err(Errno::ENOMEM);
            }
            let flags = map.def_flags;
            self.brk_area(map, old_end..new_end, flags)?;
            if flags.contains(VmFlags::LOCKED) {
                populate = old_end..new_end;
            }
        }
        map.parts.brk = new;
        Ok(populate)
    }

    /// Private anonymous memory in a free range (Linux: `do_brk_flags`). Errors: ENOMEM, EAGAIN.
    fn brk_area(&self, map: &mut Mmap, range: Range<u64>, extra: VmFlags) -> Result {
        let mut flags = DATA_FLAGS | VmFlags::ACCOUNT | extra;
        flags.set(VmFlags::LOCKED, extra.contains(VmFlags::LOCKED));
        let pages = pages_of(&range);
        map.may_lock(flags, pages)?;
        map.may_expand(flags, pages)?;
        if map.vmas.len() >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        map.vmas.reserve(1)?;
        vm_acct_memory(pages)?;
        map.stat.account(flags, pages as i64);
        map.vmas
            .insert(Vma::anonymous(range.start, range.end, flags));
        Ok(())
    }

    /// Puts private anonymous memory in place of whatever is there, for the ELF loader
    /// (Linux: `vm_brk_flags`). `extra` may add EXEC. Errors: ENOMEM, EINVAL.
    pub fn vm_brk_flags(&self, addr: u64, len: u64, extra: VmFlags) -> Result {
        if len == 0 {
            return Ok(());
        }
        let range = checked_range(addr, len).map_err(|_| Errno::ENOMEM)?;
        let detached = {
            let mut map = self.write();
            let detached = self.unmap_range(&mut map, range.clone())?;
            self.brk_area(&mut map, range, extra)?;
            detached
        };
        drop(detached);
        Ok(())
    }

    /// The stack of a new program: `[top - size, top)`, growing down (Linux: `setup_arg_pages`).
    pub fn map_stack(&self, range: Range<u64>, extra: VmFlags) -> Result {
        let flags = DATA_FLAGS | VmFlags::GROWSDOWN | VmFlags::ACCOUNT | extra;
        let mut map = self.write();
        let pages = pages_of(&range);
        map.may_expand(flags, pages)?;
        map.vmas.reserve(1)?;
        vm_acct_memory(pages)?;
        map.stat.account(flags, pages as i64);
        map.vmas
            .insert(Vma::anonymous(range.start, range.end, flags));
        Ok(())
    }

    /// Extends the area above `addr` down to it, if that area is a stack and has room
    /// (Linux: `expand_stack`, `acct_stack_growth`). Errors: EFAULT when there is nothing to
    /// extend, ENOMEM at a limit.
    pub(super) fn expand_stack(&self, addr: u64) -> Result {
        let mut map = self.write();
        let vma = map.vmas.find(addr).ok_or(Errno::EFAULT)?;
        let (start, end, flags) = (vma.start, vma.end, vma.flags);
        if start <= addr {
            return Ok(());
        }
        if !flags.contains(VmFlags::GROWSDOWN) || addr < MMAP_MIN_ADDR {
            return Err(Errno::EFAULT);
        }
        if let Some(below) = map.vmas.prev(addr) {
            let guarded = below.flags.intersects(VmFlags::ACCESS)
                && !below.flags.contains(VmFlags::GROWSDOWN);
            if guarded && addr - below.end < STACK_GUARD_GAP {
                return Err(Errno::ENOMEM);
            }
        }
        let pages = (start - addr) >> PAGE_SHIFT;
        map.may_expand(flags, pages)?;
        if end - addr > rlimit(RLIMIT_STACK) {
            return Err(Errno::ENOMEM);
        }
        map.may_lock(flags, pages)?;
        vm_acct_memory(pages)?;
        map.stat.account(flags, pages as i64);
        map.vmas.grow_down(start, addr);
        Ok(())
    }
}
