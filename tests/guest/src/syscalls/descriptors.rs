//! Descriptors: their numbers, flags, offsets and locks.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Status, call, in_child, pipe};

pub const CHECKS: &[Check] = table![
    the_lowest_free_number_is_used,
    bad_numbers_are_refused_by_every_call,
    duplicates_share_the_offset_and_two_opens_do_not,
    dup2_replaces_and_dup3_refuses_itself,
    fcntl_duplicates_from_a_number_on,
    flags_of_descriptors_and_of_files_are_kept_apart,
    append_mode_can_be_switched,
    the_limit_of_descriptors_is_enforced,
    a_file_is_read_or_written_as_it_was_opened,
    offsets_move_as_lseek_says,
    a_pipe_has_no_offset,
    positioned_calls_leave_the_offset,
    vectors_gather_and_scatter,
    impossible_vectors_are_refused,
    locks_keep_other_processes_out,
    locks_end_with_the_first_close,
    unknown_ioctls_and_fcntls_are_refused,
    copying_between_descriptors,
];

fn open(name: &std::ffi::CStr, flags: i32) -> Result<i32, String> {
    let fd = call!(SYS_openat, libc::AT_FDCWD, name, flags, 0o644);
    let fd = fd.map_err(|error| format!("open {}: {error:?}", name.to_string_lossy()))?;
    i32::try_from(fd).map_err(|error| error.to_string())
}

const READ_WRITE: i32 = libc::O_RDWR | libc::O_CREAT;

fn the_lowest_free_number_is_used() -> Outcome {
    let first = open(c"a", READ_WRITE)?;
    let second = open(c"b", READ_WRITE)?;
    let third = open(c"c", READ_WRITE)?;
    same!((second, third), (first + 1, first + 2));
    works!(call!(SYS_close, second));
    same!(open(c"d", READ_WRITE)?, second);
    fails!(call!(SYS_close, third + 1), EBADF);
    Ok(())
}

fn bad_numbers_are_refused_by_every_call() -> Outcome {
    let mut buffer = [0_u64; 64];
    let buffer = &mut buffer;
    for fd in [-1, 999, 100_000, i32::MAX, i32::MIN] {
        fails!(call!(SYS_read, fd, &mut *buffer, 1), EBADF);
        fails!(call!(SYS_write, fd, &*buffer, 1), EBADF);
        fails!(call!(SYS_pread64, fd, &mut *buffer, 1, 0), EBADF);
        fails!(call!(SYS_close, fd), EBADF);
        fails!(call!(SYS_dup, fd), EBADF);
        fails!(call!(SYS_dup2, fd, 5), EBADF);
        fails!(call!(SYS_lseek, fd, 0, 0), EBADF);
        fails!(call!(SYS_fcntl, fd, libc::F_GETFD), EBADF);
        fails!(call!(SYS_ioctl, fd, libc::TCGETS, &mut *buffer), EBADF);
        fails!(call!(SYS_fstat, fd, &mut *buffer), EBADF);
        fails!(call!(SYS_ftruncate, fd, 0), EBADF);
        fails!(call!(SYS_fchmod, fd, 0), EBADF);
        fails!(call!(SYS_fchown, fd, 0, 0), EBADF);
        fails!(call!(SYS_fdatasync, fd), EBADF);
        fails!(call!(SYS_fallocate, fd, 0, 0, 1), EBADF);
        fails!(call!(SYS_getdents64, fd, &mut *buffer, 512), EBADF);
        fails!(call!(SYS_sendfile, 1, fd, 0, 1), EBADF);
        fails!(
            call!(SYS_mmap, 0, 4096, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0),
            EBADF
        );
        fails!(call!(SYS_fstatfs, fd, &mut *buffer), EBADF);
        // Others than the current folder's number.
        fails!(call!(SYS_openat, fd, c"x", 0, 0), EBADF);
        fails!(call!(SYS_newfstatat, fd, c"x", &mut *buffer, 0), EBADF);
    }
    Ok(())
}

fn duplicates_share_the_offset_and_two_opens_do_not() -> Outcome {
    let first = open(c"a", READ_WRITE)?;
    works!(call!(SYS_write, first, c"abcdef", 6));
    let copy = works!(call!(SYS_dup, first));
    let other = open(c"a", libc::O_RDONLY)?;
    same!(call!(SYS_lseek, copy, 0, libc::SEEK_CUR), Ok(6));
    same!(call!(SYS_lseek, other, 0, libc::SEEK_CUR), Ok(0));
    works!(call!(SYS_lseek, copy, 2, libc::SEEK_SET));
    same!(call!(SYS_lseek, first, 0, libc::SEEK_CUR), Ok(2));
    // A child's copy is a duplicate as well.
    in_child(|| i32::from(call!(SYS_lseek, first, 5, libc::SEEK_SET).is_err()));
    same!(call!(SYS_lseek, first, 0, libc::SEEK_CUR), Ok(5));
    Ok(())
}

fn dup2_replaces_and_dup3_refuses_itself() -> Outcome {
    let file = open(c"a", READ_WRITE)?;
    let [reader, writer] = pipe(0);
    same!(
        call!(SYS_dup2, file, writer),
        Ok(usize::try_from(writer).unwrap_or(0))
    );
    // The only writing end is gone.
    same!(call!(SYS_read, reader, &mut [0_u8; 4], 4), Ok(0));
    same!(
        call!(SYS_dup2, file, file),
        Ok(usize::try_from(file).unwrap_or(0))
    );
    fails!(call!(SYS_dup3, file, file, 0), EINVAL);
    fails!(call!(SYS_dup3, file, 50, 1), EINVAL);
    fails!(call!(SYS_dup2, file, -1), EBADF);
    fails!(call!(SYS_dup2, file, 1 << 24), EBADF);
    works!(call!(SYS_dup3, file, 50, libc::O_CLOEXEC));
    same!(call!(SYS_fcntl, 50, libc::F_GETFD), Ok(1));
    works!(call!(SYS_dup2, file, 50));
    same!(call!(SYS_fcntl, 50, libc::F_GETFD), Ok(0));
    Ok(())
}

fn fcntl_duplicates_from_a_number_on() -> Outcome {
    let file = open(c"a", READ_WRITE)?;
    same!(call!(SYS_fcntl, file, libc::F_DUPFD, 60), Ok(60));
    same!(call!(SYS_fcntl, file, libc::F_DUPFD_CLOEXEC, 60), Ok(61));
    same!(call!(SYS_fcntl, 61, libc::F_GETFD), Ok(1));
    fails!(call!(SYS_fcntl, file, libc::F_DUPFD, -1), EINVAL);
    fails!(call!(SYS_fcntl, file, libc::F_DUPFD, 1 << 24), EINVAL);
    Ok(())
}

fn flags_of_descriptors_and_of_files_are_kept_apart() -> Outcome {
    let file = open(c"a", READ_WRITE | libc::O_CLOEXEC | libc::O_APPEND)?;
    same!(call!(SYS_fcntl, file, libc::F_GETFD), Ok(1));
    works!(call!(SYS_fcntl, file, libc::F_SETFD, 0));
    same!(call!(SYS_fcntl, file, libc::F_GETFD), Ok(0));
    let flags = works!(call!(SYS_fcntl, file, libc::F_GETFL));
    // The file's own: access mode, append, large file.
    same!(flags & 0o3_777_777, 0o102_002);
    works!(call!(
        SYS_fcntl,
        file,
        libc::F_SETFL,
        libc::O_NONBLOCK | libc::O_WRONLY
    ));
    let flags = works!(call!(SYS_fcntl, file, libc::F_GETFL));
    same!(flags & 0o3_777_777, 0o104_002);
    Ok(())
}

fn append_mode_can_be_switched() -> Outcome {
    works!(fs::write("a", "12345"));
    let file = open(c"a", libc::O_WRONLY | libc::O_APPEND)?;
    works!(call!(SYS_lseek, file, 0, libc::SEEK_SET));
    works!(call!(SYS_write, file, c"67", 2));
    same!(call!(SYS_lseek, file, 0, libc::SEEK_CUR), Ok(7));
    works!(call!(SYS_fcntl, file, libc::F_SETFL, 0));
    works!(call!(SYS_lseek, file, 0, libc::SEEK_SET));
    works!(call!(SYS_write, file, c"x", 1));
    same!(fs::read_to_string("a").unwrap_or_default(), "x234567");
    Ok(())
}

fn the_limit_of_descriptors_is_enforced() -> Outcome {
    let file = open(c"a", READ_WRITE)?;
    let number = u64::try_from(file).unwrap_or(0);
    works!(call!(
        SYS_prlimit64,
        0,
        libc::RLIMIT_NOFILE,
        &[number + 2, 1024],
        0
    ));
    works!(call!(SYS_dup, file));
    fails!(call!(SYS_dup, file), EMFILE);
    fails!(call!(SYS_open, c"a", 0, 0), EMFILE);
    fails!(call!(SYS_pipe2, &mut [0_i32; 2], 0), EMFILE);
    fails!(call!(SYS_dup2, file, file + 2), EBADF);
    works!(call!(SYS_close, file));
    fails!(call!(SYS_pipe2, &mut [0_i32; 2], 0), EMFILE);
    works!(call!(SYS_open, c"a", 0, 0));
    Ok(())
}

fn a_file_is_read_or_written_as_it_was_opened() -> Outcome {
    works!(fs::write("a", "12345"));
    let mut byte = [0_u8];
    let reader = open(c"a", libc::O_RDONLY)?;
    let writer = open(c"a", libc::O_WRONLY)?;
    fails!(call!(SYS_write, reader, &byte, 1), EBADF);
    fails!(call!(SYS_read, writer, &mut byte, 1), EBADF);
    fails!(call!(SYS_ftruncate, reader, 0), EINVAL);
    let folder = open(c".", libc::O_RDONLY)?;
    fails!(call!(SYS_read, folder, &mut byte, 1), EISDIR);
    let name_only = open(c"a", libc::O_PATH)?;
    fails!(call!(SYS_read, name_only, &mut byte, 1), EBADF);
    works!(call!(SYS_fstat, name_only, &mut [0_u64; 18]));
    Ok(())
}

fn offsets_move_as_lseek_says() -> Outcome {
    works!(fs::write("a", "12345"));
    let file = open(c"a", libc::O_RDWR)?;
    same!(call!(SYS_lseek, file, 3, libc::SEEK_SET), Ok(3));
    same!(call!(SYS_lseek, file, -1, libc::SEEK_CUR), Ok(2));
    same!(call!(SYS_lseek, file, -5, libc::SEEK_END), Ok(0));
    fails!(call!(SYS_lseek, file, -6, libc::SEEK_END), EINVAL);
    fails!(call!(SYS_lseek, file, -1, libc::SEEK_SET), EINVAL);
    fails!(call!(SYS_lseek, file, 0, 17), EINVAL);
    fails!(call!(SYS_lseek, file, i64::MIN, libc::SEEK_SET), EINVAL);
    same!(call!(SYS_lseek, file, 100, libc::SEEK_END), Ok(105));
    same!(call!(SYS_read, file, &mut [0_u8; 4], 4), Ok(0));
    works!(call!(SYS_write, file, c"x", 1));
    let contents = works!(fs::read("a"));
    same!(contents.len(), 106);
    holds!(contents[5..105].iter().all(|byte| *byte == 0));
    same!(call!(SYS_lseek, file, 0, libc::SEEK_HOLE), Ok(106));
    same!(call!(SYS_lseek, file, 3, libc::SEEK_DATA), Ok(3));
    fails!(call!(SYS_lseek, file, 106, libc::SEEK_DATA), ENXIO);
    Ok(())
}

fn a_pipe_has_no_offset() -> Outcome {
    let [reader, writer] = pipe(0);
    fails!(call!(SYS_lseek, reader, 0, libc::SEEK_SET), ESPIPE);
    fails!(call!(SYS_pread64, reader, &mut [0_u8; 4], 4, 0), ESPIPE);
    fails!(call!(SYS_pwrite64, writer, c"abc", 3, 0), ESPIPE);
    fails!(call!(SYS_ftruncate, writer, 0), EINVAL);
    Ok(())
}

fn positioned_calls_leave_the_offset() -> Outcome {
    works!(fs::write("a", "12345"));
    let file = open(c"a", libc::O_RDWR)?;
    let mut buffer = [0_u8; 3];
    same!(call!(SYS_pread64, file, &mut buffer, 3, 2), Ok(3));
    same!(&buffer, b"345");
    same!(call!(SYS_pwrite64, file, c"AB", 2, 1), Ok(2));
    same!(call!(SYS_lseek, file, 0, libc::SEEK_CUR), Ok(0));
    same!(fs::read_to_string("a").unwrap_or_default(), "1AB45");
    same!(call!(SYS_pread64, file, &mut buffer, 3, 5), Ok(0));
    fails!(call!(SYS_pread64, file, &mut buffer, 3, -1), EINVAL);
    fails!(call!(SYS_pwrite64, file, c"AB", 2, -1), EINVAL);
    Ok(())
}

fn vectors_gather_and_scatter() -> Outcome {
    let file = open(c"a", READ_WRITE)?;
    let (hello, world) = (
        c"hello, ".as_ptr().expose_provenance(),
        c"world".as_ptr().expose_provenance(),
    );
    same!(
        call!(SYS_writev, file, &[hello, 7, 0, 0, world, 5], 3),
        Ok(12)
    );
    same!(fs::read_to_string("a").unwrap_or_default(), "hello, world");
    works!(call!(SYS_lseek, file, 0, libc::SEEK_SET));
    let (mut first, mut second) = ([0_u8; 4], [0_u8; 20]);
    let vector = [
        first.as_mut_ptr().expose_provenance(),
        4,
        second.as_mut_ptr().expose_provenance(),
        20,
    ];
    same!(call!(SYS_readv, file, &vector, 2), Ok(12));
    same!((&first, &second[..8]), (b"hell", &b"o, world"[..]));
    Ok(())
}

fn impossible_vectors_are_refused() -> Outcome {
    let file = open(c"a", READ_WRITE)?;
    let text = c"text".as_ptr().expose_provenance();
    fails!(call!(SYS_writev, file, &[text, 4], -1), EINVAL);
    fails!(call!(SYS_writev, file, &[text, 4], 1025), EINVAL);
    fails!(call!(SYS_writev, file, &[text, usize::MAX], 1), EINVAL);
    same!(call!(SYS_writev, file, 0, 0), Ok(0));
    same!(call!(SYS_lseek, file, 0, libc::SEEK_END), Ok(0));
    Ok(())
}

/// `struct flock`.
fn lock(kind: i32, start: i64, length: i64) -> [i64; 4] {
    [i64::from(kind), start, length, 0]
}

fn locks_keep_other_processes_out() -> Outcome {
    works!(fs::write("a", "12345"));
    let file = open(c"a", libc::O_RDWR)?;
    works!(call!(
        SYS_fcntl,
        file,
        libc::F_SETLK,
        &lock(libc::F_WRLCK, 1, 2)
    ));
    let me = i64::from(std::process::id());
    let status = in_child(|| {
        let taken = call!(SYS_fcntl, file, libc::F_SETLK, &lock(libc::F_RDLCK, 2, 5));
        let free = call!(SYS_fcntl, file, libc::F_SETLK, &lock(libc::F_WRLCK, 3, 0));
        let mut query = lock(libc::F_RDLCK, 0, 0);
        let asked = call!(SYS_fcntl, file, libc::F_GETLK, &mut query);
        let refused = taken == Err(crate::raw::Errno(libc::EAGAIN));
        i32::from(!(refused && free == Ok(0) && asked == Ok(0) && query == [1, 1, 2, me]))
    });
    same!(status, Status::Exited(0));
    works!(call!(
        SYS_fcntl,
        file,
        libc::F_SETLK,
        &lock(libc::F_UNLCK, 0, 0)
    ));
    let status = in_child(|| {
        i32::from(call!(SYS_fcntl, file, libc::F_SETLK, &lock(libc::F_WRLCK, 0, 0)).is_err())
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn locks_end_with_the_first_close() -> Outcome {
    works!(fs::write("a", "12345"));
    let file = open(c"a", libc::O_RDWR)?;
    works!(call!(
        SYS_fcntl,
        file,
        libc::F_SETLK,
        &lock(libc::F_WRLCK, 0, 0)
    ));
    let other = open(c"a", libc::O_RDONLY)?;
    works!(call!(SYS_close, other));
    let status = in_child(|| {
        i32::from(call!(SYS_fcntl, file, libc::F_SETLK, &lock(libc::F_WRLCK, 0, 0)).is_err())
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn unknown_ioctls_and_fcntls_are_refused() -> Outcome {
    let file = open(c"a", READ_WRITE)?;
    fails!(
        call!(SYS_ioctl, file, libc::TCGETS, &mut [0_u64; 16]),
        ENOTTY
    );
    fails!(call!(SYS_ioctl, file, 0x1234_5678, 0), ENOTTY);
    fails!(call!(SYS_fcntl, file, 12345, 0), EINVAL);
    let [reader, _writer] = pipe(0);
    fails!(
        call!(SYS_ioctl, reader, libc::TIOCGWINSZ, &mut [0_u64; 16]),
        ENOTTY
    );
    Ok(())
}

fn copying_between_descriptors() -> Outcome {
    works!(fs::write("a", "0123456789"));
    let from = works!(fs::File::open("a"));
    let mut to = works!(
        fs::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open("b")
    );
    let mut offset = 3_i64;
    same!(
        call!(
            SYS_sendfile,
            to.as_raw_fd(),
            from.as_raw_fd(),
            &mut offset,
            4
        ),
        Ok(4)
    );
    same!(offset, 7);
    same!(
        call!(SYS_sendfile, to.as_raw_fd(), from.as_raw_fd(), 0, 100),
        Ok(10)
    );
    same!(
        call!(SYS_sendfile, to.as_raw_fd(), from.as_raw_fd(), 0, 100),
        Ok(0)
    );
    let mut text = String::new();
    works!(to.rewind());
    works!(to.read_to_string(&mut text));
    same!(text, "34560123456789");
    works!(to.write_all(b"."));
    Ok(())
}
