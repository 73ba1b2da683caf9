//! Memory: mappings, protection, the break, sharing, files in memory.

use std::fs;
use std::os::fd::AsRawFd;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Returned, Status, call, fork, in_child, map, peek, pipe, poke, wait};

pub const CHECKS: &[Check] = table![
    new_memory_is_zero_and_can_be_used,
    impossible_mappings_are_refused,
    a_fixed_mapping_replaces_what_was_there,
    parts_can_be_unmapped,
    protection_changes_apply_to_parts,
    the_break_moves,
    mappings_grow_and_move,
    a_private_mapping_of_a_file_keeps_its_changes,
    a_shared_mapping_of_a_file_writes_it,
    a_mapping_outlives_its_descriptor_and_its_name,
    mapped_files_follow_truncation,
    rights_of_mappings_follow_the_descriptor,
    advice_drops_private_pages,
    residence_is_told,
    the_address_space_is_limited,
    the_stack_grows_on_demand,
    the_map_of_memory_is_listed,
    calls_use_memory_that_was_not_touched_yet,
    a_large_sparse_mapping_costs_nothing,
    reading_never_written_memory_is_cheap,
    forked_memory_is_copied_in_both_directions,
];

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PAGE: usize = 4096;

fn new_memory_is_zero_and_can_be_used() -> Outcome {
    let start = map(64 * PAGE, RW, libc::MAP_PRIVATE);
    same!(start.addr() % PAGE, 0);
    for page in 0..64 {
        same!(peek(start.wrapping_add(page * PAGE + page)), 0);
        poke(start.wrapping_add(page * PAGE), 1);
    }
    works!(call!(SYS_munmap, start, 64 * PAGE));
    same!(
        in_child(|| i32::from(peek(start))),
        Status::Killed(libc::SIGSEGV)
    );
    Ok(())
}

fn mmap(
    address: usize,
    length: usize,
    protection: i32,
    flags: i32,
    fd: i32,
    offset: usize,
) -> Returned {
    call!(SYS_mmap, address, length, protection, flags, fd, offset)
}

fn impossible_mappings_are_refused() -> Outcome {
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    fails!(mmap(0, 0, RW, anonymous, -1, 0), EINVAL);
    fails!(mmap(0, PAGE, RW, libc::MAP_ANONYMOUS, -1, 0), EINVAL);
    fails!(mmap(0, PAGE, RW, libc::MAP_PRIVATE, -1, 0), EBADF);
    fails!(mmap(0, usize::MAX - PAGE, RW, anonymous, -1, 0), ENOMEM);
    fails!(mmap(0, 1 << 47, RW, anonymous, -1, 0), ENOMEM);
    fails!(
        mmap(1, PAGE, RW, anonymous | libc::MAP_FIXED, -1, 0),
        EINVAL
    );
    fails!(
        mmap(
            0x00ff_ffff_ffff_f000,
            PAGE,
            RW,
            anonymous | libc::MAP_FIXED,
            -1,
            0
        ),
        ENOMEM
    );
    fails!(mmap(0, PAGE, RW, anonymous, -1, 1), EINVAL);
    let [reader, _writer] = pipe(0);
    fails!(mmap(0, PAGE, RW, libc::MAP_PRIVATE, reader, 0), ENODEV);
    fails!(call!(SYS_munmap, 1, PAGE), EINVAL);
    fails!(call!(SYS_munmap, PAGE, 0), EINVAL);
    works!(call!(SYS_munmap, 0x1000_0000, PAGE));
    fails!(call!(SYS_mprotect, 0x1000_0000, PAGE, RW), ENOMEM);
    fails!(call!(SYS_mprotect, 1, PAGE, RW), EINVAL);
    Ok(())
}

fn a_fixed_mapping_replaces_what_was_there() -> Outcome {
    let start = map(3 * PAGE, RW, libc::MAP_PRIVATE);
    for page in 0..3 {
        poke(start.wrapping_add(page * PAGE), 7);
    }
    let middle = start.addr() + PAGE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    same!(
        mmap(middle, PAGE, RW, flags | libc::MAP_FIXED, -1, 0),
        Ok(middle)
    );
    same!(peek(start), 7);
    same!(peek(start.wrapping_add(PAGE)), 0);
    same!(peek(start.wrapping_add(2 * PAGE)), 7);
    fails!(
        mmap(middle, PAGE, RW, flags | libc::MAP_FIXED_NOREPLACE, -1, 0),
        EEXIST
    );
    // A hint is followed if the place is free, and only then.
    works!(call!(SYS_munmap, middle, PAGE));
    same!(mmap(middle, PAGE, RW, flags, -1, 0), Ok(middle));
    holds!(works!(mmap(middle, PAGE, RW, flags, -1, 0)) != middle);
    Ok(())
}

fn dies_at(address: *mut u8) -> bool {
    in_child(|| i32::from(peek(address))) == Status::Killed(libc::SIGSEGV)
}

fn parts_can_be_unmapped() -> Outcome {
    let start = map(5 * PAGE, RW, libc::MAP_PRIVATE);
    for page in 0..5 {
        poke(start.wrapping_add(page * PAGE), page as u8);
    }
    works!(call!(SYS_munmap, start.wrapping_add(PAGE), PAGE));
    works!(call!(SYS_munmap, start.wrapping_add(3 * PAGE), 10));
    for (page, gone) in [(0, false), (1, true), (2, false), (3, true), (4, false)] {
        same!(
            (page, dies_at(start.wrapping_add(page * PAGE))),
            (page, gone)
        );
    }
    // Over all of it, holes included.
    works!(call!(SYS_munmap, start, 5 * PAGE));
    holds!(dies_at(start));
    Ok(())
}

fn protection_changes_apply_to_parts() -> Outcome {
    let start = map(3 * PAGE, RW, libc::MAP_PRIVATE);
    poke(start.wrapping_add(PAGE), 5);
    works!(call!(
        SYS_mprotect,
        start.wrapping_add(PAGE),
        PAGE,
        libc::PROT_READ
    ));
    let write_dies = |page: usize| {
        let status = in_child(|| {
            poke(start.wrapping_add(page * PAGE), 1);
            0
        });
        status == Status::Killed(libc::SIGSEGV)
    };
    same!(
        [write_dies(0), write_dies(1), write_dies(2)],
        [false, true, false]
    );
    same!(peek(start.wrapping_add(PAGE)), 5);
    works!(call!(
        SYS_mprotect,
        start.wrapping_add(PAGE),
        PAGE,
        libc::PROT_NONE
    ));
    holds!(dies_at(start.wrapping_add(PAGE)));
    works!(call!(SYS_mprotect, start, 3 * PAGE, RW));
    same!(peek(start.wrapping_add(PAGE)), 5);
    poke(start.wrapping_add(PAGE), 6);
    // The part before a hole is changed all the same.
    works!(call!(SYS_munmap, start.wrapping_add(PAGE), PAGE));
    fails!(
        call!(SYS_mprotect, start, 3 * PAGE, libc::PROT_NONE),
        ENOMEM
    );
    same!(
        [dies_at(start), dies_at(start.wrapping_add(2 * PAGE))],
        [true, false]
    );
    Ok(())
}

fn the_break_moves() -> Outcome {
    let start = works!(call!(SYS_brk, 0));
    same!(call!(SYS_brk, start + 10 * PAGE), Ok(start + 10 * PAGE));
    let memory: *mut u8 = std::ptr::with_exposed_provenance_mut(start.next_multiple_of(PAGE));
    same!(peek(memory.wrapping_add(8 * PAGE)), 0);
    poke(memory.wrapping_add(8 * PAGE), 1);
    same!(call!(SYS_brk, start), Ok(start));
    holds!(dies_at(memory.wrapping_add(8 * PAGE)));
    same!(call!(SYS_brk, start + 10 * PAGE), Ok(start + 10 * PAGE));
    same!(peek(memory.wrapping_add(8 * PAGE)), 0);
    // What cannot be changes nothing.
    same!(call!(SYS_brk, 1_usize << 46), Ok(start + 10 * PAGE));
    same!(call!(SYS_brk, 4096), Ok(start + 10 * PAGE));
    Ok(())
}

fn mappings_grow_and_move() -> Outcome {
    let start = map(4 * PAGE, RW, libc::MAP_PRIVATE);
    poke(start, 1);
    poke(start.wrapping_add(PAGE), 2);
    works!(call!(SYS_munmap, start.wrapping_add(2 * PAGE), 2 * PAGE));
    same!(
        call!(SYS_mremap, start, 2 * PAGE, 3 * PAGE, 0),
        Ok(start.addr())
    );
    same!(peek(start.wrapping_add(2 * PAGE)), 0);
    same!(
        call!(SYS_mremap, start, 3 * PAGE, PAGE, 0),
        Ok(start.addr())
    );
    holds!(dies_at(start.wrapping_add(PAGE)));
    works!(mmap(
        start.addr() + PAGE,
        PAGE,
        RW,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
        -1,
        0
    ));
    fails!(
        call!(SYS_mremap, start, PAGE, 2 * PAGE + (1 << 30), 0),
        ENOMEM
    );
    let moved = works!(call!(
        SYS_mremap,
        start,
        PAGE,
        100 * PAGE,
        libc::MREMAP_MAYMOVE
    ));
    let moved: *mut u8 = std::ptr::with_exposed_provenance_mut(moved);
    same!((peek(moved), peek(moved.wrapping_add(99 * PAGE))), (1, 0));
    holds!(moved == start || dies_at(start));
    let place = map(2 * PAGE, RW, libc::MAP_PRIVATE);
    poke(place, 9);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    same!(
        call!(SYS_mremap, moved, PAGE, PAGE, flags, place),
        Ok(place.addr())
    );
    same!(peek(place), 1);
    fails!(call!(SYS_mremap, 0x1000_0000, PAGE, PAGE, 0), EFAULT);
    fails!(call!(SYS_mremap, place, PAGE, 0, 0), EINVAL);
    Ok(())
}

/// Maps a file.
fn of_file(file: &fs::File, length: usize, protection: i32, flags: i32) -> Result<*mut u8, String> {
    let address = works!(mmap(0, length, protection, flags, file.as_raw_fd(), 0));
    Ok(std::ptr::with_exposed_provenance_mut(address))
}

fn open(name: &str) -> Result<fs::File, String> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .map_err(|error| error.to_string())
}

fn a_private_mapping_of_a_file_keeps_its_changes() -> Outcome {
    works!(fs::write("a", "12345"));
    let start = of_file(&open("a")?, PAGE, RW, libc::MAP_PRIVATE)?;
    same!((peek(start), peek(start.wrapping_add(5))), (b'1', 0));
    poke(start, b'x');
    same!(works!(fs::read("a")), b"12345");
    works!(std::os::unix::fs::FileExt::write_at(&open("a")?, b"Z", 1));
    // A page that was written is the mapping's own.
    same!((peek(start), peek(start.wrapping_add(1))), (b'x', b'2'));
    Ok(())
}

fn a_shared_mapping_of_a_file_writes_it() -> Outcome {
    works!(fs::write("a", vec![b'-'; 2 * PAGE]));
    let file = open("a")?;
    let start = of_file(&file, 2 * PAGE, RW, libc::MAP_SHARED)?;
    let other = of_file(&file, 2 * PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    same!(peek(other.wrapping_add(PAGE)), b'-');
    poke(start.wrapping_add(PAGE), b'x');
    same!(peek(other.wrapping_add(PAGE)), b'x');
    same!(works!(fs::read("a"))[PAGE], b'x');
    works!(std::os::unix::fs::FileExt::write_at(&file, b"Z", 3));
    same!(peek(start.wrapping_add(3)), b'Z');
    works!(call!(SYS_msync, start, 2 * PAGE, libc::MS_SYNC));
    fails!(
        call!(SYS_msync, start, PAGE, libc::MS_SYNC | libc::MS_ASYNC),
        EINVAL
    );
    same!(
        in_child(|| {
            poke(start, b'c');
            0
        }),
        Status::Exited(0)
    );
    same!(peek(other), b'c');
    Ok(())
}

fn a_mapping_outlives_its_descriptor_and_its_name() -> Outcome {
    works!(fs::write("a", "12345"));
    let start = of_file(&open("a")?, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    works!(fs::remove_file("a"));
    works!(fs::write("a", "67890"));
    same!(peek(start), b'1');
    Ok(())
}

fn mapped_files_follow_truncation() -> Outcome {
    works!(fs::write("a", vec![b'-'; 3 * PAGE]));
    let file = open("a")?;
    for flags in [libc::MAP_SHARED, libc::MAP_PRIVATE] {
        works!(file.set_len(3 * PAGE as u64));
        let start = of_file(&file, 3 * PAGE, RW, flags)?;
        peek(start.wrapping_add(2 * PAGE));
        poke(start.wrapping_add(PAGE), 1);
        works!(file.set_len(100));
        let status = in_child(|| i32::from(peek(start.wrapping_add(PAGE))));
        same!(status, Status::Killed(libc::SIGBUS));
        same!(peek(start), b'-');
        works!(file.set_len(3 * PAGE as u64));
        same!(peek(start.wrapping_add(2 * PAGE)), 0);
        same!(peek(start.wrapping_add(200)), 0);
        works!(call!(SYS_munmap, start, 3 * PAGE));
    }
    Ok(())
}

fn rights_of_mappings_follow_the_descriptor() -> Outcome {
    works!(fs::write("a", "12345"));
    let reader = works!(fs::File::open("a"));
    let writer = works!(fs::OpenOptions::new().write(true).open("a"));
    let try_map =
        |file: &fs::File, protection, flags| mmap(0, PAGE, protection, flags, file.as_raw_fd(), 0);
    fails!(try_map(&reader, RW, libc::MAP_SHARED), EACCES);
    works!(try_map(&reader, RW, libc::MAP_PRIVATE));
    fails!(try_map(&writer, libc::PROT_READ, libc::MAP_SHARED), EACCES);
    fails!(try_map(&writer, libc::PROT_WRITE, libc::MAP_SHARED), EACCES);
    let start = works!(try_map(&reader, libc::PROT_READ, libc::MAP_SHARED));
    fails!(call!(SYS_mprotect, start, PAGE, RW), EACCES);
    let start = works!(try_map(&reader, libc::PROT_READ, libc::MAP_PRIVATE));
    works!(call!(SYS_mprotect, start, PAGE, RW));
    Ok(())
}

fn advice_drops_private_pages() -> Outcome {
    let start = map(2 * PAGE, RW, libc::MAP_PRIVATE);
    poke(start, 1);
    poke(start.wrapping_add(PAGE), 2);
    works!(call!(SYS_madvise, start, PAGE, libc::MADV_DONTNEED));
    same!((peek(start), peek(start.wrapping_add(PAGE))), (0, 2));
    works!(call!(SYS_madvise, start, PAGE, libc::MADV_WILLNEED));
    fails!(call!(SYS_madvise, start, PAGE, 12345), EINVAL);
    fails!(
        call!(
            SYS_madvise,
            start.wrapping_add(1),
            PAGE,
            libc::MADV_DONTNEED
        ),
        EINVAL
    );
    Ok(())
}

fn residence_is_told() -> Outcome {
    let start = map(3 * PAGE, RW, libc::MAP_PRIVATE);
    poke(start.wrapping_add(PAGE), 1);
    let mut resident = [9_u8; 3];
    works!(call!(SYS_mincore, start, 3 * PAGE, &mut resident));
    same!(resident.map(|byte| byte & 1), [0, 1, 0]);
    works!(call!(SYS_munmap, start, 3 * PAGE));
    fails!(call!(SYS_mincore, start, 3 * PAGE, &mut resident), ENOMEM);
    Ok(())
}

fn the_address_space_is_limited() -> Outcome {
    let status = in_child(|| {
        let limited = call!(SYS_setrlimit, libc::RLIMIT_AS, &[64_u64 << 20, 64 << 20]);
        let large = mmap(
            0,
            100 << 20,
            RW,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        let small = mmap(
            0,
            1 << 20,
            RW,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        let refused = large == Err(crate::raw::Errno(libc::ENOMEM));
        i32::from(limited.is_err() || !refused || small.is_err())
    });
    same!(status, Status::Exited(0));
    Ok(())
}

#[inline(never)]
fn deep(levels: u32) -> u32 {
    let space = std::hint::black_box([levels; 1000]);
    if levels == 0 {
        space[999]
    } else {
        deep(levels - 1) + 1 + space[0] - levels
    }
}

fn the_stack_grows_on_demand() -> Outcome {
    // About 4 MB of the usual 8.
    same!(deep(1000), 1000);
    // A register that points far below the stack grows nothing.
    let here = 0_u8;
    let far = std::ptr::without_provenance_mut((&raw const here).addr() - (64 << 20));
    holds!(dies_at(far));
    Ok(())
}

fn the_map_of_memory_is_listed() -> Outcome {
    let start = map(3 * PAGE, libc::PROT_READ, libc::MAP_PRIVATE);
    works!(call!(
        SYS_mprotect,
        start.wrapping_add(PAGE),
        PAGE,
        libc::PROT_NONE
    ));
    let maps = works!(fs::read_to_string("/proc/self/maps"));
    let middle = format!(
        "{:08x}-{:08x} ---p 00000000 00:00 0 ",
        start.addr() + PAGE,
        start.addr() + 2 * PAGE
    );
    holds!(maps.lines().any(|line| line.starts_with(&middle)), "{maps}");
    for part in ["[stack]", "[heap]", "r-xp "] {
        holds!(maps.contains(part), "{part}: {maps}");
    }
    Ok(())
}

fn calls_use_memory_that_was_not_touched_yet() -> Outcome {
    let start = map(4 * PAGE, RW, libc::MAP_PRIVATE);
    let zero = works!(fs::File::open("/dev/zero"));
    same!(
        call!(
            SYS_read,
            zero.as_raw_fd(),
            start.wrapping_add(100),
            3 * PAGE
        ),
        Ok(3 * PAGE)
    );
    let [reader, writer] = pipe(0);
    let fresh = map(2 * PAGE, RW, libc::MAP_PRIVATE);
    same!(call!(SYS_write, writer, fresh, 2 * PAGE), Ok(2 * PAGE));
    // Into memory that is shared with a child: copied by the call, not under the child's eyes.
    poke(fresh, 5);
    let child = fork(|| {
        let mut byte = 0_u8;
        let read = call!(SYS_read, reader, fresh, 1);
        let _ = &mut byte;
        i32::from(read.is_err() || peek(fresh) != 0)
    });
    same!(wait(child), Status::Exited(0));
    same!(peek(fresh), 5);
    Ok(())
}

fn a_large_sparse_mapping_costs_nothing() -> Outcome {
    let length = 1_usize << 40;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let start = works!(mmap(0, length, RW, flags, -1, 0));
    let start: *mut u8 = std::ptr::with_exposed_provenance_mut(start);
    for place in [0, length / 3, length - 1] {
        poke(start.wrapping_add(place), 1);
    }
    works!(call!(SYS_munmap, start, length));
    Ok(())
}

fn reading_never_written_memory_is_cheap() -> Outcome {
    let start = map(64 << 20, RW, libc::MAP_PRIVATE);
    let before = resident_pages()?;
    for page in 0..(64 << 20) / PAGE {
        same!(peek(start.wrapping_add(page * PAGE)), 0);
    }
    let after = resident_pages()?;
    holds!(after < before + 2000, "{before} {after}");
    Ok(())
}

fn resident_pages() -> Result<usize, String> {
    let statm = works!(fs::read_to_string("/proc/self/statm"));
    let field = statm.split(' ').nth(1).and_then(|field| field.parse().ok());
    field.ok_or(statm)
}

fn forked_memory_is_copied_in_both_directions() -> Outcome {
    const PAGES: usize = 200;
    let start = map(PAGES * PAGE, RW, libc::MAP_PRIVATE);
    for page in 0..PAGES {
        poke(start.wrapping_add(page * PAGE), page as u8);
    }
    let children: Vec<i32> = (0..5)
        .map(|number| {
            fork(move || {
                for page in (number..PAGES).step_by(5) {
                    poke(start.wrapping_add(page * PAGE), 0xee);
                }
                let wrong = (0..PAGES).filter(|page| {
                    let wanted = if page % 5 == number {
                        0xee
                    } else {
                        *page as u8
                    };
                    peek(start.wrapping_add(page * PAGE)) != wanted
                });
                i32::from(wrong.count() > 0)
            })
        })
        .collect();
    for page in 0..PAGES {
        let place = start.wrapping_add(page * PAGE);
        poke(place, peek(place).wrapping_add(1));
    }
    for child in children {
        same!(wait(child), Status::Exited(0));
    }
    for page in 0..PAGES {
        same!(
            peek(start.wrapping_add(page * PAGE)),
            (page as u8).wrapping_add(1)
        );
    }
    Ok(())
}
