//! Locked memory (Linux: mm/mlock.c). Nothing is ever swapped out here, so locking means
//! faulting in, limits and accounting.
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::mman::{MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT};
use uapi::resource::RLIMIT_MEMLOCK;

use crate::arch::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::mm_types::{MmStruct, Mmap, current_mm, pages_of};
use crate::mm::mmap::may_lock_unlimited;
use crate::mm::util::{page_align, rlimit};
use crate::mm::vma::{Backing, VmFlags};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
const LOCK_FLAGS: VmFlags = VmFlags::LOCKED.union(VmFlags::LOCKONFAULT);

/// mlock(2). Errors: EAGAIN, EINVAL, ENOMEM, EPERM.
pub fn sys_mlock(start: u64, len: u64) -> Result {
    current_mm()?.mlock(start, len, VmFlags::LOCKED)
}

/// mlock2(2). Errors: those of mlock(2).
pub fn sys_mlock2(start: u64, len: u64, flags: i32) -> Result {
    match flags as u32 {
        0 => sys_mlock(start, len),
        MLOCK_ONFAULT => current_mm()?.mlock(start, len, LOCK_FLAGS),
        _ => Err(Errno::EINVAL),
    }
}

/// munlock(2). Errors: EINVAL, ENOMEM.
pub fn sys_munlock(start: u64, len: u64) -> Result {
    let range = lock_range(start, len)?;
    let mm = current_mm()?;
    let mut map = mm.write();
    apply_lock(&mut map, range, VmFlags::empty())
}

/// mlockall(2). Errors: EINVAL, ENOMEM, EPERM.
pub fn sys_mlockall(flags: i32) -> Result {
    let flags = flags as u32;
    if flags == 0 || flags == MCL_ONFAULT || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0
    {
        return Err(Errno::EINVAL);
    }
    check_permission()?;
    current_mm()?.mlockall(flags)
}

/// munlockall(2).
pub fn sys_munlockall() -> Result {
    let mm = current_mm()?;
    let mut map = mm.write();
    map.def_flags -= LOCK_FLAGS;
    lock_everything(&mut map, VmFlags::empty());
    Ok(())
}

/// Errors: EPERM for a user whose limit is 0.
fn check_permission() -> Result {
    if may_lock_unlimited() || rlimit(RLIMIT_MEMLOCK) != 0 {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The pages that the bytes touch. Errors: EINVAL on overflow.
fn lock_range(start: u64, len: u64) -> Result<Range<u64>> {
    let first = start & !(PAGE - 1);
    let len = len
        .checked_add(start - first)
        .and_then(page_align)
        .ok_or(Errno::EINVAL)?;
    let end = first.checked_add(len).ok_or(Errno::EINVAL)?;
    Ok(first..end)
}

impl MmStruct {
    /// mlock(2) in this address space.
    pub fn mlock(&self, start: u64, len: u64, flags: VmFlags) -> Result {
        check_permission()?;
        let range = lock_range(start, len).map_err(|_| Errno::ENOMEM)?;
        {
            let mut map = self.write();
            let limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
            let wanted = map
                .stat
                .locked
                .saturating_add(pages_of(&range))
                .saturating_sub(locked_in(&map, &range));
            if wanted > limit && !may_lock_unlimited() {
                return Err(Errno::ENOMEM);
            }
            apply_lock(&mut map, range.clone(), flags)?;
        }
        if flags.contains(VmFlags::LOCKONFAULT) {
            return Ok(());
        }
        // Linux: `__mlock_posix_error_return`.
        self.populate(range).map_err(|errno| match errno {
            Errno::EFAULT => Errno::ENOMEM,
            Errno::ENOMEM => Errno::EAGAIN,
            other => other,
        })
    }

    fn mlockall(&self, flags: u32) -> Result {
        let mut lock = VmFlags::LOCKED;
        lock.set(VmFlags::LOCKONFAULT, flags & MCL_ONFAULT != 0);
        let ranges: Vec<Range<u64>> = {
            let mut map = self.write();
            let limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
            if flags & MCL_CURRENT != 0 && map.stat.total > limit && !may_lock_unlimited() {
                return Err(Errno::ENOMEM);
            }
            map.def_flags -= LOCK_FLAGS;
            if flags & MCL_FUTURE != 0 {
                map.def_flags |= lock;
            }
            if flags & MCL_CURRENT == 0 {
                return Ok(());
            }
            lock_everything(&mut map, lock);
            map.vmas.iter().map(|vma| vma.range()).collect()
        };
        if !lock.contains(VmFlags::LOCKONFAULT) {
            for range in ranges {
                let _ = self.populate(range); // as on Linux, failures do not count
            }
        }
        Ok(())
    }
}

/// Pages of the range that are locked already; they do not count twice.
fn locked_in(map: &Mmap, range: &Range<u64>) -> u64 {
    let locked = map
        .vmas
        .overlapping(range.clone())
        .filter(|vma| vma.flags.contains(VmFlags::LOCKED));
    locked
        .map(|vma| pages_of(&(vma.start.max(range.start)..vma.end.min(range.end))))
        .sum()
}

/// Sets the lock flags of the range (Linux: `apply_vma_lock_flags`). Errors: ENOMEM at a hole.
fn apply_lock(map: &mut Mmap, range: Range<u64>, lock: VmFlags) -> Result {
    let mut at = range.start;
    while at < range.end {
        let vma = map.vmas.lookup(at).ok_or(Errno::ENOMEM)?;
        let part = at..vma.end.min(range.end);
        at = part.end;
        set_lock(map, part, lock)?;
    }
    Ok(())
}

fn lock_everything(map: &mut Mmap, lock: VmFlags) {
    let ranges: Vec<Range<u64>> = map.vmas.iter().map(|vma| vma.range()).collect();
    for range in ranges {
        let _ = apply_lock(map, range, lock);
    }
}

/// One area, or a part of it (Linux: `mlock_fixup`). Errors: ENOMEM.
fn set_lock(map: &mut Mmap, range: Range<u64>, lock: VmFlags) -> Result {
    let Some(vma) = map.vmas.lookup(range.start) else {
        return Ok(());
    };
    let old = vma.flags;
    let new = (old - LOCK_FLAGS) | lock;
    if new == old || matches!(vma.backing, Backing::Special(_)) {
        return Ok(());
    }
    let pages = pages_of(&range);
    map.vmas.set_flags(range, new)?;
    map.stat.account(old, -(pages as i64));
    map.stat.account(new, pages as i64);
    Ok(())
}
