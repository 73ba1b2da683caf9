//! Resizing and moving areas (Linux: mm/mremap.c).
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::mman::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};

use crate::arch::{PAGE_SHIFT, PAGE_SIZE, TASK_SIZE};
use crate::mm::mm_types::{MmStruct, Mmap, current_mm};
use crate::mm::mmap::Detached;
use crate::mm::util::{MMAP_MIN_ADDR, page_align, vm_acct_memory, vm_unacct_memory};
use crate::mm::vma::{VmFlags, Vma};
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;

/// mremap(2): where the area is afterwards. Errors: EAGAIN, EFAULT, EINVAL, ENOMEM.
pub fn sys_mremap(addr: u64, old_len: u64, new_len: u64, flags: u64, new_addr: u64) -> Result<u64> {
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    current_mm()?.mremap(addr, old_len, new_len, flags, new_addr)
}

/// A checked request, lengths in whole pages.
struct Remap {
    addr: u64,
    old_len: u64,
    new_len: u64,
    flags: u32,
    new_addr: u64,
}

impl Remap {
    fn check(addr: u64, old_len: u64, new_len: u64, flags: u32, new_addr: u64) -> Result<Remap> {
        let known = MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
        let moves = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0;
        if flags & !known != 0 || moves && flags & MREMAP_MAYMOVE == 0 || !addr.is_multiple_of(PAGE)
        {
            return Err(Errno::EINVAL);
        }
        if flags & MREMAP_DONTUNMAP != 0 && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        let old_len = page_align(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_align(new_len)
            .filter(|&len| len != 0)
            .ok_or(Errno::EINVAL)?;
        if addr.checked_add(old_len).is_none() {
            return Err(Errno::EINVAL);
        }
        Ok(Remap {
            addr,
            old_len,
            new_len,
            flags,
            new_addr,
        })
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The place that MREMAP_FIXED names. Errors: EINVAL.
    fn fixed_range(&self) -> Result<Range<u64>> {
        let fits = self.new_len <= TASK_SIZE && self.new_addr <= TASK_SIZE - self.new_len;
        if !self.new_addr.is_multiple_of(PAGE) || !fits || self.new_addr < MMAP_MIN_ADDR {
            return Err(Errno::EINVAL);
        }
        let range = self.new_addr..self.new_addr + self.new_len;
        if self.addr + self.old_len > range.start && range.end > self.addr {
            return Err(Errno::EINVAL);
        }
        Ok(range)
    }
}

impl MmStruct {
    /// mremap(2) in this address space.
    pub fn mremap(
        &self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        flags: u32,
        new_addr: u64,
    ) -> Result<u64> {
        let remap = Remap::check(addr, old_len, new_len, flags, new_addr)?;
        let mut detached = Detached::default();
        let mut map = self.write();
        let result = self.remap(&mut map, &remap, &mut detached);
        drop(map);
        drop(detached);
        let (start, populate) = result?;
        if !populate.is_empty() {
            let _ = self.populate(populate);
        }
        Ok(start)
    }

    /// Returns the new start and what must be populated because it is locked.
    fn remap(
        &self,
        map: &mut Mmap,
        remap: &Remap,
        detached: &mut Detached,
    ) -> Result<(u64, Range<u64>)> {
        map.vmas.lookup(remap.addr).ok_or(Errno::EFAULT)?;
        if remap.has(MREMAP_FIXED | MREMAP_DONTUNMAP) {
            return self.remap_to(map, remap, detached);
        }
        if remap.new_len <= remap.old_len {
            if remap.new_len < remap.old_len {
                let tail = remap.addr + remap.new_len..remap.addr + remap.old_len;
                *detached = self.unmap_range(map, tail)?;
            }
            return Ok((remap.addr, 0..0));
        }
        let vma = check_resize(map, remap.addr, remap.old_len, remap.new_len, remap.flags)?;
        let locked = vma.flags.contains(VmFlags::LOCKED);
        let (vma_start, vma_end) = (vma.start, vma.end);
        let new_end = remap.addr + remap.new_len;
        let start =
            if vma_end == remap.addr + remap.old_len && self.can_grow(map, vma_start, new_end) {
                grow_in_place(map, vma_start, new_end)?;
                remap.addr
            } else if remap.has(MREMAP_MAYMOVE) {
                let to = map.get_unmapped_area(0, remap.new_len, 0)?;
                self.move_area(map, remap, remap.old_len, to, detached)?;
                to
            } else {
                return Err(Errno::ENOMEM);
            };
        let added = start + remap.old_len..start + remap.new_len;
        Ok((start, if locked { added } else { 0..0 }))
    }

    /// MREMAP_FIXED and MREMAP_DONTUNMAP (Linux: `mremap_to`).
    fn remap_to(
        &self,
        map: &mut Mmap,
        remap: &Remap,
        detached: &mut Detached,
    ) -> Result<(u64, Range<u64>)> {
        let mut old_len = remap.old_len;
        if remap.has(MREMAP_FIXED) {
            let place = remap.fixed_range()?;
            detached.append(self.unmap_range(map, place)?);
        }
        if old_len > remap.new_len {
            let tail = remap.addr + remap.new_len..remap.addr + old_len;
            detached.append(self.unmap_range(map, tail)?);
            old_len = remap.new_len;
        }
        check_resize(map, remap.addr, old_len, remap.new_len, remap.flags)?;
        let to = if remap.has(MREMAP_FIXED) {
            remap.new_addr
        } else {
            map.get_unmapped_area(remap.new_addr & !(PAGE - 1), remap.new_len, 0)?
        };
        self.move_area(map, remap, old_len, to, detached)?;
        Ok((to, 0..0))
    }

    fn can_grow(&self, map: &Mmap, vma_start: u64, new_end: u64) -> bool {
        if new_end > TASK_SIZE {
            return false;
        }
        let next = map.vmas.next_after(vma_start);
        next.is_none_or(|next| new_end <= next.start_with_gap())
    }

    /// Moves `old_len` bytes of an area to free room, where it becomes `new_len` long
    /// (Linux: `move_vma`). Errors: ENOMEM; the old area is whole then.
    fn move_area(
        &self,
        map: &mut Mmap,
        remap: &Remap,
        old_len: u64,
        to: u64,
        detached: &mut Detached,
    ) -> Result {
        // Split first: the old place is unmapped later, when nothing may fail any more.
        let old = remap.addr..remap.addr + old_len;
        if map.vmas.len() + 3 >= super::vma::MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        map.vmas.reserve(3)?;
        let vma = map.vmas.lookup(remap.addr).ok_or(Errno::EFAULT)?;
        let new = moved_copy(vma, remap.addr, to, remap.new_len);
        let accounted = new.flags.contains(VmFlags::ACCOUNT);
        if accounted {
            vm_acct_memory(new.pages())?;
        }
        let new_pages = new.pages();
        if let Err(errno) = self.move_page_tables(old.clone(), to) {
            if accounted {
                vm_unacct_memory(new_pages);
            }
            return Err(errno);
        }
        map.stat.account(new.flags, new_pages as i64);
        map.vmas.insert(new);
        if remap.has(MREMAP_DONTUNMAP) {
            return Ok(());
        }
        if old_len != 0 {
            detached.append(self.unmap_range(map, old)?);
        }
        Ok(())
    }

    /// Moves entries without touching the pages (Linux: `move_page_tables`). Errors: ENOMEM,
    /// everything is where it was then.
    fn move_page_tables(&self, from: Range<u64>, to: u64) -> Result {
        let tables = self.page_table();
        // All new tables first: afterwards nothing can fail.
        let mut left = from.clone();
        loop {
            let lock = tables.lock();
            let Some((start, slots)) = lock.next_slots(&mut left) else {
                break;
            };
            let used = slots.map(|slot| !slot.pte().is_none()).rposition_used();
            drop(lock);
            if let Some((first, last)) = used {
                let base = to + (start - from.start);
                tables.alloc_leaf(base + first as u64 * PAGE)?;
                tables.alloc_leaf(base + last as u64 * PAGE)?;
            }
        }
        let mut left = from.clone();
        let lock = tables.lock();
        while let Some((start, slots)) = lock.next_slots(&mut left) {
            let base = to + (start - from.start);
            for (index, slot) in slots.enumerate() {
                if !slot.pte().is_none()
                    && let Some(target) = lock.slot(base + index as u64 * PAGE)
                {
                    slot.move_to(target);
                }
            }
        }
        drop(lock);
        tables.flush(from);
        Ok(())
    }
}

/// First and last position that is true.
trait UsedBounds {
    fn rposition_used(self) -> Option<(usize, usize)>;
}

impl<I: Iterator<Item = bool>> UsedBounds for I {
    fn rposition_used(self) -> Option<(usize, usize)> {
        let mut bounds = None;
        for (index, used) in self.enumerate() {
            if used {
                bounds = Some((bounds.map_or(index, |(first, _)| first), index));
            }
        }
        bounds
    }
}

/// The area at its new place.
fn moved_copy(vma: &Vma, from: u64, to: u64, new_len: u64) -> Vma {
    let mut new = vma.sub_range(from, vma.end);
    new.start = to;
    new.end = to + new_len;
    new
}

/// Whether the area may get its new size (Linux: `vma_to_resize`).
/// Errors: EINVAL, EFAULT, EAGAIN, ENOMEM.
fn check_resize(map: &Mmap, addr: u64, old_len: u64, new_len: u64, flags: u32) -> Result<&Vma> {
    let vma = map.vmas.lookup(addr).ok_or(Errno::EFAULT)?;
    if old_len == 0 && !vma.flags.intersects(VmFlags::SHARED | VmFlags::MAYSHARE) {
        return Err(Errno::EINVAL); // only a shared mapping can be mapped once more
    }
    let fixed_size = vma.flags.contains(VmFlags::DONTEXPAND);
    if flags & MREMAP_DONTUNMAP != 0 && fixed_size {
        return Err(Errno::EINVAL);
    }
    if old_len > vma.end - addr {
        return Err(Errno::EFAULT);
    }
    if new_len == old_len {
        return Ok(vma);
    }
    let pgoff = vma.page_index(addr);
    if pgoff.checked_add(new_len >> PAGE_SHIFT).is_none() {
        return Err(Errno::EINVAL);
    }
    if fixed_size {
        return Err(Errno::EFAULT);
    }
    let pages = (new_len - old_len) >> PAGE_SHIFT;
    map.may_lock(vma.flags, pages)?;
    map.may_expand(vma.flags, pages)?;
    Ok(vma)
}

fn grow_in_place(map: &mut Mmap, vma_start: u64, new_end: u64) -> Result {
    let vma = map.vmas.lookup(vma_start).ok_or(Errno::EFAULT)?;
    let (flags, pages) = (vma.flags, (new_end - vma.end) >> PAGE_SHIFT);
    if flags.contains(VmFlags::ACCOUNT) {
        vm_acct_memory(pages)?;
    }
    map.stat.account(flags, pages as i64);
    map.vmas.grow_up(vma_start, new_end);
    Ok(())
}
