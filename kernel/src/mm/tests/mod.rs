//! Address spaces as programs see them, on the soft memory management unit.

mod model;
mod uaccess;

use uapi::mman::*;
use uapi::signal::{SEGV_ACCERR, SEGV_MAPERR};

use crate::arch::{PAGE_SIZE, TASK_SIZE};
use crate::mm::UserAddr;
use crate::mm::memory::{FaultAccess, FaultError, handle_mm_fault};
use crate::mm::mmap::{DATA_FLAGS, MmStruct, MmapRequest};
use crate::mm::util::{Direction, MmapLayout};
use crate::mm::vma::{STACK_GUARD_GAP, VmFlags};
use crate::prelude::*;

pub(crate) const PAGE: u64 = PAGE_SIZE as u64;
pub(super) const RW: u32 = PROT_READ | PROT_WRITE;

/// An address space without randomness.
pub(crate) fn new_mm() -> Arc<MmStruct> {
    MmStruct::new(MmapLayout {
        base: 0x7fff_f000_0000,
        direction: Direction::TopDown,
    })
    .unwrap()
}

fn request(addr: u64, pages: u64, prot: u32, flags: u32) -> MmapRequest {
    MmapRequest {
        addr,
        len: pages * PAGE,
        prot,
        flags,
        file: None,
        pgoff: 0,
    }
}

pub(super) fn map(mm: &MmStruct, pages: u64, prot: u32, flags: u32) -> u64 {
    mm.do_mmap(request(0, pages, prot, flags | MAP_ANONYMOUS))
        .unwrap()
}

pub(super) fn map_at(mm: &MmStruct, addr: u64, pages: u64, prot: u32) -> u64 {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    mm.do_mmap(request(addr, pages, prot, flags)).unwrap()
}

pub(super) fn read(mm: &MmStruct, addr: u64) -> Option<u8> {
    let mut byte = [0];
    (mm.read_remote(addr, &mut byte) == 1).then_some(byte[0])
}

pub(super) fn write(mm: &MmStruct, addr: u64, byte: u8) -> bool {
    mm.write_remote(addr, &[byte]) == 1
}

/// Ranges and access rights of all areas, as /proc/PID/maps shows them.
fn areas(mm: &MmStruct) -> Vec<(u64, u64, u64)> {
    mm.read()
        .vmas
        .iter()
        .map(|vma| (vma.start, vma.end, vma.flags.bits() & 7))
        .collect()
}

fn fault(mm: &MmStruct, addr: u64, access: FaultAccess) -> Result<(), FaultError> {
    handle_mm_fault(mm, UserAddr::new(addr), access)
}

#[test]
fn anonymous_memory_reads_as_zero_and_keeps_what_is_written() {
    let mm = new_mm();
    let at = map(&mm, 3, RW, MAP_PRIVATE);
    assert_eq!(read(&mm, at), Some(0));
    assert_eq!(mm.rss().anon(), 0, "the zero page is nobody's memory");
    assert!(write(&mm, at, 7));
    assert!(write(&mm, at + 2 * PAGE + 5, 9));
    assert_eq!(
        (read(&mm, at), read(&mm, at + 2 * PAGE + 5)),
        (Some(7), Some(9))
    );
    assert_eq!(mm.rss().anon(), 2);
    mm.munmap(at, 3 * PAGE).unwrap();
    assert_eq!((read(&mm, at), mm.rss().anon()), (None, 0));
    assert_eq!(
        mm.page_table().size_bytes(),
        PAGE_SIZE,
        "its page tables are gone too"
    );
}

#[test]
fn a_fork_child_and_its_parent_do_not_see_each_others_writes() {
    let parent = new_mm();
    let at = map(&parent, 4, RW, MAP_PRIVATE);
    for page in 0..3 {
        assert!(write(&parent, at + page * PAGE, 10 + page as u8));
    }
    let child = parent.dup().unwrap();
    assert!(write(&parent, at, 99));
    assert!(write(&child, at + PAGE, 77));
    assert!(write(&child, at + 3 * PAGE, 55));
    assert_eq!((read(&parent, at), read(&child, at)), (Some(99), Some(10)));
    assert_eq!(
        (read(&parent, at + PAGE), read(&child, at + PAGE)),
        (Some(11), Some(77))
    );
    assert_eq!(
        (read(&parent, at + 3 * PAGE), read(&child, at + 3 * PAGE)),
        (Some(0), Some(55))
    );
    let shared = |mm: &MmStruct| {
        mm.page_table()
            .lookup(UserAddr::new(at + 2 * PAGE))
            .unwrap()
            .pfn()
    };
    assert_eq!(
        shared(&parent),
        shared(&child),
        "what nobody wrote is still one page"
    );
    assert_eq!(child.rss().anon(), 4);
}

#[test]
fn the_last_user_of_a_copy_on_write_page_keeps_it() {
    let parent = new_mm();
    let at = map(&parent, 1, RW, MAP_PRIVATE);
    assert!(write(&parent, at, 1));
    let frame = parent.page_table().lookup(UserAddr::new(at)).unwrap().pfn();
    drop(parent.dup().unwrap());
    assert!(write(&parent, at, 2));
    assert_eq!(
        parent.page_table().lookup(UserAddr::new(at)).unwrap().pfn(),
        frame
    );
    assert_eq!(read(&parent, at), Some(2));
}

#[test]
fn shared_anonymous_memory_is_one_memory_for_parent_and_child() {
    let parent = new_mm();
    let at = map(&parent, 2, RW, MAP_SHARED);
    assert!(write(&parent, at, 1));
    let child = parent.dup().unwrap();
    assert!(write(&child, at, 2));
    assert!(write(&child, at + PAGE, 3));
    assert_eq!(
        (read(&parent, at), read(&parent, at + PAGE)),
        (Some(2), Some(3))
    );
    assert_eq!(parent.rss().anon(), 0);
}

#[test]
fn mprotect_splits_areas_and_joins_them_again() {
    let mm = new_mm();
    let at = map(&mm, 4, RW, MAP_PRIVATE);
    assert!(write(&mm, at + PAGE, 5));
    mm.mprotect(at + PAGE, PAGE, PROT_READ).unwrap();
    assert_eq!(
        areas(&mm),
        [
            (at, at + PAGE, 3),
            (at + PAGE, at + 2 * PAGE, 1),
            (at + 2 * PAGE, at + 4 * PAGE, 3)
        ]
    );
    assert!(!write(&mm, at + PAGE, 6));
    assert_eq!(
        fault(&mm, at + PAGE, FaultAccess::WRITE).unwrap_err().code,
        SEGV_ACCERR
    );
    mm.mprotect(at + PAGE, PAGE, RW).unwrap();
    assert_eq!(areas(&mm), [(at, at + 4 * PAGE, 3)]);
    assert!(write(&mm, at + PAGE, 6));
}

#[test]
fn a_prot_none_page_keeps_its_contents() {
    let mm = new_mm();
    let at = map(&mm, 1, RW, MAP_PRIVATE);
    assert!(write(&mm, at, 5));
    mm.mprotect(at, PAGE, PROT_NONE).unwrap();
    assert_eq!(read(&mm, at), None);
    let child = mm.dup().unwrap();
    mm.mprotect(at, PAGE, RW).unwrap();
    child.mprotect(at, PAGE, RW).unwrap();
    assert!(write(&mm, at, 6));
    assert_eq!((read(&mm, at), read(&child, at)), (Some(6), Some(5)));
}

#[test]
fn mprotect_reports_what_linux_reports() {
    let mm = new_mm();
    let at = map(&mm, 1, PROT_READ, MAP_PRIVATE);
    assert_eq!(mm.mprotect(at + 1, PAGE, PROT_READ), Err(Errno::EINVAL));
    assert_eq!(mm.mprotect(at, PAGE, 0x40), Err(Errno::EINVAL));
    assert_eq!(
        mm.mprotect(at, u64::MAX - PAGE, PROT_READ),
        Err(Errno::ENOMEM)
    );
    assert_eq!(mm.mprotect(at, 2 * PAGE, PROT_READ), Err(Errno::ENOMEM));
    assert_eq!(mm.mprotect(at, 0, PROT_READ), Ok(()));
    assert_eq!(
        mm.mprotect(at, PAGE, PROT_READ | PROT_GROWSDOWN),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        mm.mprotect(at, PAGE, PROT_GROWSUP | PROT_GROWSDOWN),
        Err(Errno::EINVAL)
    );
}

#[test]
fn faults_say_which_signal_they_are() {
    let mm = new_mm();
    let at = map(&mm, 1, PROT_READ, MAP_PRIVATE);
    assert_eq!(
        fault(&mm, 0x1234, FaultAccess::empty()).unwrap_err().code,
        SEGV_MAPERR
    );
    assert_eq!(
        fault(&mm, at, FaultAccess::EXEC).unwrap_err().code,
        SEGV_ACCERR
    );
    assert_eq!(
        fault(&mm, at, FaultAccess::WRITE).unwrap_err().code,
        SEGV_ACCERR
    );
    assert_eq!(fault(&mm, at, FaultAccess::empty()), Ok(()));
    assert_eq!(
        fault(&mm, u64::MAX, FaultAccess::empty()).unwrap_err().code,
        SEGV_MAPERR
    );
    let none = map(&mm, 1, PROT_NONE, MAP_PRIVATE);
    assert_eq!(
        fault(&mm, none, FaultAccess::empty()).unwrap_err().code,
        SEGV_ACCERR
    );
    let shared = map(&mm, 1, RW, MAP_SHARED);
    mm.mremap(shared, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0)
        .map(|at| {
            assert_eq!(
                fault(&mm, at + PAGE, FaultAccess::empty()),
                Err(FaultError::BUS)
            )
        })
        .unwrap();
}

#[test]
fn munmap_leaves_a_hole_in_the_middle() {
    let mm = new_mm();
    let at = map(&mm, 5, RW, MAP_PRIVATE);
    for page in 0..5 {
        assert!(write(&mm, at + page * PAGE, page as u8));
    }
    mm.munmap(at + PAGE, 2 * PAGE).unwrap();
    assert_eq!(
        areas(&mm),
        [(at, at + PAGE, 3), (at + 3 * PAGE, at + 5 * PAGE, 3)]
    );
    assert_eq!(read(&mm, at + PAGE), None);
    assert_eq!(
        (read(&mm, at), read(&mm, at + 3 * PAGE)),
        (Some(0), Some(3))
    );
    assert_eq!(
        mm.munmap(at + PAGE, PAGE),
        Ok(()),
        "nothing there is no error"
    );
    assert_eq!(mm.munmap(at + 1, PAGE), Err(Errno::EINVAL));
    assert_eq!(mm.munmap(at, 0), Err(Errno::EINVAL));
    assert_eq!(mm.munmap(TASK_SIZE, PAGE), Err(Errno::EINVAL));
    let stat = mm.read().stat;
    assert_eq!((stat.total, stat.data, stat.peak), (3, 3, 5));
}

#[test]
fn mmap_fills_holes_from_the_top_down() {
    let mm = new_mm();
    let first = map(&mm, 1, RW, MAP_PRIVATE);
    let second = map(&mm, 1, PROT_READ, MAP_PRIVATE);
    let third = map(&mm, 1, RW, MAP_PRIVATE);
    assert_eq!((second, third), (first - PAGE, second - PAGE));
    mm.munmap(second, PAGE).unwrap();
    assert_eq!(
        map(&mm, 2, RW, MAP_PRIVATE),
        third - 2 * PAGE,
        "the hole is too small"
    );
    assert_eq!(map(&mm, 1, RW, MAP_PRIVATE), second);
    let hinted = mm
        .do_mmap(request(0x1000_0000, 1, RW, MAP_PRIVATE | MAP_ANONYMOUS))
        .unwrap();
    assert_eq!(hinted, 0x1000_0000);
    let moved = mm
        .do_mmap(request(0x1000_0000, 1, RW, MAP_PRIVATE | MAP_ANONYMOUS))
        .unwrap();
    assert_ne!(moved, 0x1000_0000);
}

#[test]
fn mmap_reports_what_linux_reports() {
    let mm = new_mm();
    let try_map = |addr, pages, flags| mm.do_mmap(request(addr, pages, RW, flags | MAP_ANONYMOUS));
    assert_eq!(try_map(0, 0, MAP_PRIVATE), Err(Errno::EINVAL));
    assert_eq!(try_map(0, 1, 0), Err(Errno::EINVAL));
    assert_eq!(try_map(0, 1, MAP_SHARED_VALIDATE), Err(Errno::EINVAL));
    assert_eq!(
        try_map(0, 1, MAP_SHARED | MAP_GROWSDOWN),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        try_map(0x10001, 1, MAP_PRIVATE | MAP_FIXED),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        try_map(TASK_SIZE, 1, MAP_PRIVATE | MAP_FIXED),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        try_map(0, TASK_SIZE / PAGE + 1, MAP_PRIVATE),
        Err(Errno::ENOMEM)
    );
    assert_eq!(try_map(0, u64::MAX / PAGE, MAP_PRIVATE), Err(Errno::ENOMEM));
    let at = map_at(&mm, 0x50_0000, 2, RW);
    assert_eq!(
        try_map(at + PAGE, 4, MAP_PRIVATE | MAP_FIXED_NOREPLACE),
        Err(Errno::EEXIST)
    );
    assert_eq!(
        try_map(at + 2 * PAGE, 1, MAP_PRIVATE | MAP_FIXED_NOREPLACE),
        Ok(at + 2 * PAGE)
    );
}

#[test]
fn a_fixed_mapping_replaces_what_was_there() {
    let mm = new_mm();
    let at = map_at(&mm, 0x50_0000, 3, RW);
    assert!(write(&mm, at + PAGE, 1));
    map_at(&mm, at + PAGE, 1, PROT_READ);
    assert_eq!(read(&mm, at + PAGE), Some(0));
    assert_eq!(areas(&mm).len(), 3);
    assert_eq!(mm.read().stat.total, 3);
}

#[test]
fn populated_mappings_have_their_pages_at_once() {
    let mm = new_mm();
    map(&mm, 4, RW, MAP_PRIVATE | MAP_POPULATE);
    assert_eq!(mm.rss().anon(), 4);
    let at = map(&mm, 4, RW, MAP_PRIVATE);
    mm.madvise(at, 2 * PAGE, MADV_POPULATE_WRITE).unwrap();
    assert_eq!(mm.rss().anon(), 6);
    assert!(write(&mm, at, 3));
    mm.madvise(at, 4 * PAGE, MADV_DONTNEED).unwrap();
    assert_eq!((mm.rss().anon(), read(&mm, at)), (4, Some(0)));
    assert_eq!(
        mm.madvise(at, 8 * PAGE, MADV_POPULATE_READ),
        Ok(()),
        "into the next area"
    );
    assert_eq!(
        mm.madvise(at - PAGE, PAGE, MADV_DONTNEED),
        Err(Errno::ENOMEM)
    );
    assert_eq!(mm.madvise(at, PAGE, 77), Err(Errno::EINVAL));
}

#[test]
fn brk_moves_the_end_of_the_heap_and_never_over_another_area() {
    let mm = new_mm();
    {
        let mut map = mm.write();
        map.parts.start_brk = 0x60_0000;
        map.parts.brk = 0x60_0000;
    }
    assert_eq!(mm.brk(0), 0x60_0000);
    assert_eq!(mm.brk(0x60_1800), 0x60_1800);
    assert!(write(&mm, 0x60_1fff, 1), "the last page is whole");
    assert!(!write(&mm, 0x60_2000, 1));
    assert_eq!(mm.brk(0x60_5000), 0x60_5000);
    assert_eq!(areas(&mm), [(0x60_0000, 0x60_5000, 3)]);
    assert_eq!(mm.brk(0x60_1000), 0x60_1000);
    assert_eq!(areas(&mm), [(0x60_0000, 0x60_1000, 3)]);
    map_at(&mm, 0x61_0000, 1, PROT_READ);
    assert_eq!(mm.brk(0x61_0000), 0x60_1000, "one page must stay free");
    assert_eq!(mm.brk(0x60_f000), 0x60_f000);
    assert_eq!(mm.brk(0x5f_ffff), 0x60_f000);
}

#[test]
fn a_stack_grows_down_to_its_limit_and_keeps_its_guard_gap() {
    let mm = new_mm();
    let top = 0x7fff_ffff_0000;
    mm.map_stack(top - 4 * PAGE..top, VmFlags::empty()).unwrap();
    assert!(write(&mm, top - 100 * PAGE, 1));
    assert_eq!(areas(&mm), [(top - 100 * PAGE, top, 3)]);
    assert!(write(&mm, top - (8 << 20), 1), "exactly RLIMIT_STACK");
    let below = top - (8 << 20) - PAGE;
    assert_eq!(
        fault(&mm, below, FaultAccess::WRITE),
        Err(FaultError::MAPERR)
    );

    let mm = new_mm();
    mm.map_stack(top - PAGE..top, VmFlags::empty()).unwrap();
    let wall = map_at(&mm, top - PAGE - STACK_GUARD_GAP - 2 * PAGE, 1, RW);
    assert!(write(&mm, wall + PAGE + STACK_GUARD_GAP, 1));
    assert_eq!(
        fault(&mm, wall + STACK_GUARD_GAP, FaultAccess::WRITE),
        Err(FaultError::MAPERR)
    );
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let near = mm.do_mmap(request(wall + 2 * PAGE, 1, RW, flags)).unwrap();
    assert_ne!(near, wall + 2 * PAGE, "mmap stays out of the gap");
}

#[test]
fn mremap_grows_in_place_or_moves_the_pages() {
    let mm = new_mm();
    let at = map_at(&mm, 0x50_0000, 2, RW);
    assert!(write(&mm, at, 1) && write(&mm, at + PAGE, 2));
    assert_eq!(mm.mremap(at, 2 * PAGE, 4 * PAGE, 0, 0), Ok(at));
    assert_eq!(areas(&mm), [(at, at + 4 * PAGE, 3)]);
    map_at(&mm, at + 4 * PAGE, 1, PROT_READ);
    assert_eq!(mm.mremap(at, 4 * PAGE, 8 * PAGE, 0, 0), Err(Errno::ENOMEM));
    let frame = mm
        .page_table()
        .lookup(UserAddr::new(at + PAGE))
        .unwrap()
        .pfn();
    let moved = mm
        .mremap(at, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, 0)
        .unwrap();
    assert_ne!(moved, at);
    assert_eq!(
        (read(&mm, moved), read(&mm, moved + PAGE)),
        (Some(1), Some(2))
    );
    assert_eq!(
        mm.page_table()
            .lookup(UserAddr::new(moved + PAGE))
            .unwrap()
            .pfn(),
        frame
    );
    assert_eq!(
        (read(&mm, at), read(&mm, moved + 7 * PAGE)),
        (None, Some(0))
    );
    assert_eq!(mm.mremap(moved, 8 * PAGE, PAGE, 0, 0), Ok(moved));
    assert_eq!(read(&mm, moved + PAGE), None);
    assert_eq!((mm.rss().anon(), mm.read().stat.total), (1, 2));
    let fixed = mm
        .mremap(moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at)
        .unwrap();
    assert_eq!((fixed, read(&mm, at)), (at, Some(1)));
    let twin = mm
        .mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0)
        .unwrap();
    assert_eq!((read(&mm, at), read(&mm, twin)), (Some(0), Some(1)));
}

#[test]
fn mremap_reports_what_linux_reports() {
    let mm = new_mm();
    let at = map_at(&mm, 0x50_0000, 2, RW);
    let remap = |addr, old, new, flags, to| mm.mremap(addr, old, new, flags, to);
    assert_eq!(remap(at + 1, PAGE, PAGE, 0, 0), Err(Errno::EINVAL));
    assert_eq!(remap(at, PAGE, 0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(remap(at, PAGE, PAGE, 8, 0), Err(Errno::EINVAL));
    assert_eq!(
        remap(at, PAGE, PAGE, MREMAP_FIXED, 0x60_0000),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(at, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, at),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(0x40_0000, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        remap(at, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE, 0),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        remap(at, 0, PAGE, MREMAP_MAYMOVE, 0),
        Err(Errno::EINVAL),
        "private memory"
    );
    let shared = map(&mm, 1, RW, MAP_SHARED);
    let alias = remap(shared, 0, PAGE, MREMAP_MAYMOVE, 0).unwrap();
    assert!(write(&mm, alias, 8));
    assert_eq!(read(&mm, shared), Some(8));
}

#[test]
fn fork_honours_dontfork_and_wipeonfork() {
    let mm = new_mm();
    let at = map_at(&mm, 0x50_0000, 3, RW);
    for page in 0..3 {
        assert!(write(&mm, at + page * PAGE, 1));
    }
    mm.madvise(at, PAGE, MADV_DONTFORK).unwrap();
    mm.madvise(at + PAGE, PAGE, MADV_WIPEONFORK).unwrap();
    let child = mm.dup().unwrap();
    let seen: Vec<_> = (0..3).map(|page| read(&child, at + page * PAGE)).collect();
    assert_eq!(seen, [None, Some(0), Some(1)]);
    assert_eq!(child.read().stat.total, 2);
}

#[test]
fn locked_areas_are_counted_and_faulted_in() {
    let mm = new_mm();
    let at = map_at(&mm, 0x50_0000, 4, RW);
    mm.mlock(at + 1, PAGE, VmFlags::LOCKED).unwrap();
    assert_eq!((mm.read().stat.locked, mm.rss().anon()), (2, 2));
    assert_eq!(mm.madvise(at, PAGE, MADV_DONTNEED), Err(Errno::EINVAL));
    assert_eq!(mm.mlock(at, 5 * PAGE, VmFlags::LOCKED), Err(Errno::ENOMEM));
    assert_eq!(mm.read().stat.locked, 4);
    assert_eq!(
        mm.dup().unwrap().read().stat.locked,
        0,
        "locks are not inherited"
    );
    mm.munmap(at, 4 * PAGE).unwrap();
    assert_eq!(mm.read().stat.locked, 0);
}

#[test]
fn msync_and_mincore_check_their_ranges() {
    let mm = new_mm();
    let at = map_at(&mm, 0x50_0000, 2, RW);
    assert_eq!(mm.msync(at, 2 * PAGE, MS_SYNC), Ok(()));
    assert_eq!(mm.msync(at, 3 * PAGE, MS_SYNC), Err(Errno::ENOMEM));
    assert_eq!(mm.msync(at, PAGE, MS_SYNC | MS_ASYNC), Err(Errno::EINVAL));
    assert_eq!(mm.msync(at + 1, PAGE, MS_SYNC), Err(Errno::EINVAL));
    assert!(write(&mm, at + PAGE, 1));
    let mut answers = [9; 2];
    mm.mincore(at..at + 2 * PAGE, &mut answers).unwrap();
    assert_eq!(answers, [0, 1]);
    assert_eq!(
        mm.mincore(at + PAGE..at + 3 * PAGE, &mut answers),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn an_unlimited_stack_gets_the_bottom_up_layout() {
    assert_eq!(MmapLayout::pick(u64::MAX).direction, Direction::BottomUp);
    let layout = MmapLayout::pick(8 << 20);
    assert_eq!(layout.direction, Direction::TopDown);
    assert!(layout.base.is_multiple_of(PAGE) && layout.base < TASK_SIZE - (128 << 20));
    let mm = MmStruct::new(MmapLayout {
        base: 0x2000_0000,
        direction: Direction::BottomUp,
    })
    .unwrap();
    let first = map(&mm, 1, RW, MAP_PRIVATE);
    assert_eq!(
        (first, map(&mm, 1, PROT_READ, MAP_PRIVATE)),
        (0x2000_0000, 0x2000_1000)
    );
    assert!(DATA_FLAGS.is_data());
}

#[test]
fn dropping_an_address_space_gives_every_table_back() {
    let mm = new_mm();
    // Two areas in one leaf table, one across two leaf tables, one far away.
    for at in [0x4000_0000, 0x4001_0000, 0x407f_f000, 0x7000_0000_0000] {
        map_at(&mm, at, 2, RW);
        assert!(write(&mm, at, 1) && write(&mm, at + PAGE, 1));
    }
    let tables = Arc::clone(mm.page_table());
    assert_eq!(tables.size_bytes(), (1 + 2 + 2 + 4) * PAGE_SIZE);
    drop(mm);
    assert_eq!(tables.size_bytes(), PAGE_SIZE);
}
