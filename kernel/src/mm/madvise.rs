//! Hints about memory use (Linux: mm/madvise.c).
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::mman::*;

use crate::arch::PAGE_SIZE;
use crate::mm::memory::FaultAccess;
use crate::mm::mm_types::{MmStruct, current_mm};
use crate::mm::util::page_align;
use crate::mm::vma::{Backing, VmFlags, Vma};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;

/// madvise(2). Errors: EACCES, EBADF, EFAULT, EINVAL, EIO, ENOMEM, EPERM.
pub fn sys_madvise(start: u64, len: u64, advice: i32) -> Result {
    current_mm()?.madvise(start, len, advice as u32)
}

/// What an advice asks for.
#[derive(Clone, Copy)]
enum Advice {
    /// Nothing to do beyond the checks.
    Ignore,
    /// Change flags: clear the first, set the second.
    Flags(VmFlags, VmFlags),
    /// Throw the pages away.
    DontNeed,
    /// Like DONTNEED, also for locked areas.
    DontNeedLocked,
    /// The contents may go at any time; they go now.
    Free,
    /// The pages should leave memory; there is nowhere to put them.
    Reclaim,
    /// Fault the pages in.
    Populate(FaultAccess),
    /// Punch a hole into the mapped file.
    Remove,
}

fn parse(advice: u32) -> Result<Advice> {
    use Advice::*;
    let none = VmFlags::empty();
    let reading = VmFlags::RAND_READ | VmFlags::SEQ_READ;
    Ok(match advice {
        MADV_NORMAL => Flags(reading, none),
        MADV_RANDOM => Flags(reading, VmFlags::RAND_READ),
        MADV_SEQUENTIAL => Flags(reading, VmFlags::SEQ_READ),
        MADV_WILLNEED => Ignore,
        MADV_DONTNEED => DontNeed,
        MADV_DONTNEED_LOCKED => DontNeedLocked,
        MADV_FREE => Free,
        MADV_REMOVE => Remove,
        MADV_DONTFORK => Flags(none, VmFlags::DONTCOPY),
        MADV_DOFORK => Flags(VmFlags::DONTCOPY, none),
        MADV_DONTDUMP => Flags(none, VmFlags::DONTDUMP),
        MADV_DODUMP => Flags(VmFlags::DONTDUMP, none),
        MADV_WIPEONFORK => Flags(none, VmFlags::WIPEONFORK),
        MADV_KEEPONFORK => Flags(VmFlags::WIPEONFORK, none),
        MADV_MERGEABLE => Flags(none, VmFlags::MERGEABLE),
        MADV_UNMERGEABLE => Flags(VmFlags::MERGEABLE, none),
        MADV_HUGEPAGE => Flags(VmFlags::NOHUGEPAGE, VmFlags::HUGEPAGE),
        MADV_NOHUGEPAGE => Flags(VmFlags::HUGEPAGE, VmFlags::NOHUGEPAGE),
        MADV_COLD | MADV_PAGEOUT => Reclaim,
        MADV_POPULATE_READ => Populate(FaultAccess::empty()),
        MADV_POPULATE_WRITE => Populate(FaultAccess::WRITE),
        _ => return Err(Errno::EINVAL),
    })
}

impl Advice {
    /// Whether the area can take it (Linux: the checks of `madvise_vma_behavior`).
    fn check(self, vma: &Vma) -> Result {
        let special = matches!(vma.backing, Backing::Special(_));
        let locked = vma.flags.contains(VmFlags::LOCKED);
        let private_memory = vma.is_anonymous() && !vma.flags.contains(VmFlags::SHARED);
        let refused = match self {
            Advice::DontNeed | Advice::Reclaim => locked || special,
            Advice::DontNeedLocked => special,
            Advice::Free => !private_memory || locked,
            Advice::Flags(_, set) if set.contains(VmFlags::WIPEONFORK) => !private_memory,
            Advice::Flags(clear, _) if clear.contains(VmFlags::DONTCOPY) => special,
            Advice::Remove if locked || vma.file.is_none() => true,
            Advice::Remove if !vma.flags.contains(VmFlags::SHARED | VmFlags::WRITE) => {
                return Err(Errno::EACCES);
            }
            Advice::Remove => return Err(Errno::EOPNOTSUPP),
            _ => false,
        };
        if refused { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

impl MmStruct {
    /// madvise(2) in this address space. Holes are passed over and reported at the end.
    pub fn madvise(&self, start: u64, len: u64, advice: u32) -> Result {
        let advice = parse(advice)?;
        if !start.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let end = page_align(len)
            .and_then(|len| start.checked_add(len))
            .ok_or(Errno::EINVAL)?;
        if start == end {
            return Ok(());
        }
        match advice {
            Advice::Populate(access) => self.madvise_populate(start..end, access),
            Advice::Flags(clear, set) => self.madvise_flags(start..end, advice, clear, set),
            _ => self.madvise_pages(start..end, advice),
        }
    }

    /// Advice that changes areas.
    fn madvise_flags(
        &self,
        range: Range<u64>,
        advice: Advice,
        clear: VmFlags,
        set: VmFlags,
    ) -> Result {
        let mut map = self.write();
        let mut at = range.start;
        let mut hole = false;
        while at < range.end {
            let Some(vma) = map.vmas.find(at).filter(|vma| vma.start < range.end) else {
                return Err(Errno::ENOMEM);
            };
            hole |= vma.start > at;
            advice.check(vma)?;
            let part = vma.start.max(at)..vma.end.min(range.end);
            let (old, new) = (vma.flags, (vma.flags - clear) | set);
            at = part.end;
            if new != old {
                // Too many areas: the caller may try again with fewer.
                map.vmas.set_flags(part, new).map_err(|_| Errno::EAGAIN)?;
            }
        }
        if hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Advice that concerns pages; the areas stay as they are, so they are only shared.
    fn madvise_pages(&self, range: Range<u64>, advice: Advice) -> Result {
        let map = self.read();
        let mut at = range.start;
        let mut hole = false;
        for vma in map.vmas.overlapping(range.clone()) {
            hole |= vma.start > at;
            advice.check(vma)?;
            at = vma.end;
            let part = vma.start.max(range.start)..vma.end.min(range.end);
            if matches!(
                advice,
                Advice::DontNeed | Advice::DontNeedLocked | Advice::Free
            ) {
                self.zap(&map, part);
            }
        }
        if hole || at < range.end {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// MADV_POPULATE_*: unlike MAP_POPULATE, failures are told.
    fn madvise_populate(&self, range: Range<u64>, access: FaultAccess) -> Result {
        let mut at = range.start;
        while at < range.end {
            let end = {
                let map = self.read();
                let vma = map.vmas.lookup(at).ok_or(Errno::ENOMEM)?;
                let needed = if access.is_empty() {
                    VmFlags::READ
                } else {
                    VmFlags::WRITE
                };
                if !vma.flags.contains(needed) || matches!(vma.backing, Backing::Special(_)) {
                    return Err(Errno::EINVAL);
                }
                vma.end.min(range.end)
            };
            self.populate_pages(at..end, access)?;
            at = end;
        }
        Ok(())
    }
}
