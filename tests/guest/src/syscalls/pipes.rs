//! Pipes, and waiting for descriptors.

use std::fs;
use std::os::fd::AsRawFd;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{
    Errno, Status, call, fork, in_child, now, on_signal, pipe, set_disposition, sleep_ms, wait,
    wait_until_asleep,
};

pub const CHECKS: &[Check] = table![
    what_goes_in_comes_out_in_order,
    a_full_pipe_blocks_or_refuses,
    a_reader_waits_for_a_writer,
    small_writes_are_not_torn,
    the_size_can_be_asked_and_changed,
    flags_of_a_pipe_are_checked,
    a_fifo_connects_by_its_name,
    a_fifo_without_a_partner_can_be_refused,
    poll_tells_what_is_ready,
    poll_waits_and_times_out,
    poll_ignores_negative_numbers_and_tells_bad_ones,
    ppoll_changes_the_mask_while_it_waits,
    select_marks_what_is_ready,
    select_is_woken,
    much_data_flows_between_processes,
    a_pipe_is_passed_through_a_chain,
];

const NONBLOCK: i32 = libc::O_NONBLOCK;

fn what_goes_in_comes_out_in_order() -> Outcome {
    let [reader, writer] = pipe(0);
    let mut buffer = [0_u8; 16];
    same!(call!(SYS_write, writer, c"abc", 3), Ok(3));
    same!(call!(SYS_write, writer, c"defgh", 5), Ok(5));
    let mut waiting = 0;
    works!(call!(SYS_ioctl, reader, libc::FIONREAD, &mut waiting));
    same!(waiting, 8);
    same!(call!(SYS_read, reader, &mut buffer, 2), Ok(2));
    same!(call!(SYS_read, reader, &mut buffer, 16), Ok(6));
    same!(&buffer[..6], b"cdefgh");
    same!(call!(SYS_read, reader, &mut buffer, 0), Ok(0));
    works!(call!(SYS_write, writer, c"x", 1));
    works!(call!(SYS_close, writer));
    same!(call!(SYS_read, reader, &mut buffer, 16), Ok(1));
    same!(call!(SYS_read, reader, &mut buffer, 16), Ok(0));
    fails!(call!(SYS_write, reader, &buffer, 1), EBADF);
    Ok(())
}

fn a_full_pipe_blocks_or_refuses() -> Outcome {
    let [reader, writer] = pipe(NONBLOCK);
    let page = [7_u8; 4096];
    let mut written = 0;
    while call!(SYS_write, writer, &page, 4096) == Ok(4096) {
        written += 4096;
    }
    same!(written, 65536);
    fails!(call!(SYS_write, writer, &page, 1), EAGAIN);
    let mut buffer = [0_u8; 4096];
    fails!(call!(SYS_write, writer, &page, 4096), EAGAIN);
    works!(call!(SYS_read, reader, &mut buffer, 4096));
    same!(call!(SYS_write, writer, &page, 4096), Ok(4096));
    // A large write takes what fits.
    works!(call!(SYS_read, reader, &mut buffer, 4096));
    let large = vec![1_u8; 100_000];
    same!(
        call!(SYS_write, writer, large.as_ptr(), large.len()),
        Ok(4096)
    );
    // A blocked writer continues when there is place.
    works!(call!(SYS_fcntl, writer, libc::F_SETFL, 0));
    let child = fork(|| i32::from(call!(SYS_write, writer, &page, 4096) != Ok(4096)));
    wait_until_asleep(child);
    works!(call!(SYS_read, reader, &mut buffer, 4096));
    same!(wait(child), Status::Exited(0));
    Ok(())
}

fn a_reader_waits_for_a_writer() -> Outcome {
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        let mut byte = 0_u8;
        let _ = call!(SYS_close, writer);
        let got = call!(SYS_read, reader, &mut byte, 1);
        i32::from(got != Ok(1)) * 100 + i32::from(byte)
    });
    wait_until_asleep(child);
    works!(call!(SYS_write, writer, &42_u8, 1));
    same!(wait(child), Status::Exited(42));
    let child = fork(|| {
        let mut byte = 0_u8;
        let _ = call!(SYS_close, writer);
        i32::from(call!(SYS_read, reader, &mut byte, 1) != Ok(0))
    });
    wait_until_asleep(child);
    works!(call!(SYS_close, writer));
    same!(wait(child), Status::Exited(0));
    Ok(())
}

fn small_writes_are_not_torn() -> Outcome {
    let [reader, writer] = pipe(0);
    let mut children = Vec::new();
    for letter in *b"abcd" {
        children.push(fork(move || {
            let block = [letter; 500];
            let ok = (0..60).all(|_| call!(SYS_write, writer, &block, 500) == Ok(500));
            i32::from(!ok)
        }));
    }
    works!(call!(SYS_close, writer));
    let mut all = Vec::new();
    let mut buffer = [0_u8; 3000];
    loop {
        let got = works!(call!(SYS_read, reader, &mut buffer, 3000));
        if got == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..got]);
    }
    for child in children {
        same!(wait(child), Status::Exited(0));
    }
    same!(all.len(), 4 * 60 * 500);
    holds!(
        all.chunks(500)
            .all(|block| block.iter().all(|byte| *byte == block[0]))
    );
    Ok(())
}

fn the_size_can_be_asked_and_changed() -> Outcome {
    let [reader, writer] = pipe(NONBLOCK);
    same!(call!(SYS_fcntl, reader, libc::F_GETPIPE_SZ), Ok(65536));
    same!(call!(SYS_fcntl, writer, libc::F_SETPIPE_SZ, 5000), Ok(8192));
    let block = [0_u8; 8192];
    same!(call!(SYS_write, writer, &block, 8192), Ok(8192));
    fails!(call!(SYS_write, writer, &block, 1), EAGAIN);
    fails!(call!(SYS_fcntl, writer, libc::F_SETPIPE_SZ, 4096), EBUSY);
    same!(
        call!(SYS_fcntl, writer, libc::F_SETPIPE_SZ, 131_072),
        Ok(131_072)
    );
    let file = works!(fs::File::create("a"));
    fails!(
        call!(SYS_fcntl, file.as_raw_fd(), libc::F_GETPIPE_SZ),
        EBADF
    );
    Ok(())
}

fn flags_of_a_pipe_are_checked() -> Outcome {
    fails!(call!(SYS_pipe2, &mut [0_i32; 2], libc::O_RDWR), EINVAL);
    let [reader, _] = pipe(NONBLOCK | libc::O_CLOEXEC);
    same!(call!(SYS_fcntl, reader, libc::F_GETFD), Ok(1));
    fails!(call!(SYS_read, reader, &mut 0_u8, 1), EAGAIN);
    let mut stat = [0_u64; 18];
    works!(call!(SYS_fstat, reader, &mut stat));
    same!(stat[3] & 0o170_000, 0o010_000);
    let name = works!(fs::read_link(format!("/proc/self/fd/{reader}")));
    holds!(name.to_string_lossy().starts_with("pipe:["), "{name:?}");
    Ok(())
}

fn a_fifo_connects_by_its_name() -> Outcome {
    works!(call!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o600, 0));
    let child = fork(|| {
        let Ok(writer) = call!(SYS_open, c"fifo", libc::O_WRONLY, 0) else {
            return 1;
        };
        i32::from(call!(SYS_write, writer, c"through", 7) != Ok(7))
    });
    wait_until_asleep(child);
    let reader = works!(call!(SYS_open, c"fifo", libc::O_RDONLY, 0));
    let mut buffer = [0_u8; 16];
    same!(call!(SYS_read, reader, &mut buffer, 16), Ok(7));
    same!(wait(child), Status::Exited(0));
    same!(call!(SYS_read, reader, &mut buffer, 16), Ok(0));
    // The other way round: the reader waits.
    works!(call!(SYS_close, reader));
    let child = fork(|| {
        let Ok(reader) = call!(SYS_open, c"fifo", libc::O_RDONLY, 0) else {
            return 1;
        };
        let mut buffer = [0_u8; 16];
        i32::from(call!(SYS_read, reader, &mut buffer, 16) != Ok(2))
    });
    wait_until_asleep(child);
    let writer = works!(call!(SYS_open, c"fifo", libc::O_WRONLY, 0));
    works!(call!(SYS_write, writer, c"hi", 2));
    same!(wait(child), Status::Exited(0));
    Ok(())
}

fn a_fifo_without_a_partner_can_be_refused() -> Outcome {
    works!(call!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o600, 0));
    fails!(
        call!(SYS_open, c"fifo", libc::O_WRONLY | NONBLOCK, 0),
        ENXIO
    );
    let reader = works!(call!(SYS_open, c"fifo", libc::O_RDONLY | NONBLOCK, 0));
    same!(call!(SYS_read, reader, &mut 0_u8, 1), Ok(0));
    let writer = works!(call!(SYS_open, c"fifo", libc::O_WRONLY | NONBLOCK, 0));
    fails!(call!(SYS_read, reader, &mut 0_u8, 1), EAGAIN);
    works!(call!(SYS_write, writer, c"x", 1));
    works!(call!(SYS_close, reader));
    set_disposition(libc::SIGPIPE, libc::SIG_IGN, 0, &[]);
    fails!(call!(SYS_write, writer, c"x", 1), EPIPE);
    works!(call!(SYS_open, c"fifo", libc::O_RDWR, 0));
    Ok(())
}

/// `struct pollfd`.
fn entry(fd: i32, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd,
        events,
        revents: 0x5555,
    }
}

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;

fn poll_tells_what_is_ready() -> Outcome {
    let [reader, writer] = pipe(NONBLOCK);
    let ask = |fd: i32| {
        let mut list = [entry(fd, IN | OUT)];
        call!(SYS_poll, &mut list, 1, 0).map(|count| (count, list[0].revents))
    };
    same!((ask(reader), ask(writer)), (Ok((0, 0)), Ok((1, OUT))));
    works!(call!(SYS_write, writer, c"x", 1));
    same!(ask(reader), Ok((1, IN)));
    let block = vec![0_u8; 65536];
    works!(call!(SYS_write, writer, block.as_ptr(), block.len()));
    same!(ask(writer), Ok((0, 0)));
    let [other, end] = pipe(0);
    works!(call!(SYS_close, end));
    same!(ask(other), Ok((1, libc::POLLHUP)));
    works!(call!(SYS_close, reader));
    holds!(works!(ask(writer)).1 & libc::POLLERR != 0);
    let file = works!(fs::File::create("a"));
    same!(ask(file.as_raw_fd()), Ok((1, IN | OUT)));
    Ok(())
}

fn poll_waits_and_times_out() -> Outcome {
    let [reader, writer] = pipe(0);
    let mut list = [entry(reader, IN)];
    let start = now();
    same!(call!(SYS_poll, &mut list, 1, 30), Ok(0));
    holds!(now() - start >= 30_000_000);
    let parent = std::process::id().cast_signed();
    let child = fork(|| {
        wait_until_asleep(parent);
        i32::from(call!(SYS_write, writer, c"x", 1).is_err())
    });
    same!(call!(SYS_poll, &mut list, 1, -1), Ok(1));
    same!((list[0].revents, wait(child)), (IN, Status::Exited(0)));
    same!(call!(SYS_poll, 0, 0, 1), Ok(0));
    Ok(())
}

fn poll_ignores_negative_numbers_and_tells_bad_ones() -> Outcome {
    let mut list = [entry(-1, IN), entry(999, IN), entry(-5, 0)];
    same!(call!(SYS_poll, &mut list, 3, 1000), Ok(1));
    same!(list.map(|entry| entry.revents), [0, libc::POLLNVAL, 0]);
    fails!(call!(SYS_poll, &mut list, 1_u32 << 30, 0), EINVAL);
    Ok(())
}

static CAUGHT: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn note(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CAUGHT.store(signal, std::sync::atomic::Ordering::Relaxed);
}

fn ppoll_changes_the_mask_while_it_waits() -> Outcome {
    let [reader, _writer] = pipe(0);
    on_signal(libc::SIGUSR1, note, libc::SA_RESTART);
    let mask = crate::raw::mask_of(&[libc::SIGUSR1]);
    crate::raw::set_mask(libc::SIG_BLOCK, mask);
    works!(call!(SYS_kill, std::process::id(), libc::SIGUSR1));
    let mut list = [entry(reader, IN)];
    same!(
        call!(SYS_ppoll, &mut list, 1, &[0_u64, 1_000_000], 0, 8),
        Ok(0)
    );
    same!(CAUGHT.load(std::sync::atomic::Ordering::Relaxed), 0);
    fails!(call!(SYS_ppoll, &mut list, 1, 0, &0_u64, 8), EINTR);
    same!(
        CAUGHT.load(std::sync::atomic::Ordering::Relaxed),
        libc::SIGUSR1
    );
    same!(crate::raw::set_mask(libc::SIG_BLOCK, 0), mask);
    fails!(
        call!(SYS_ppoll, &mut list, 1, &[0_u64, 1_000_000_000], 0, 8),
        EINVAL
    );
    Ok(())
}

/// A set with these numbers.
fn set(numbers: &[i32]) -> [u64; 16] {
    let mut set = [0; 16];
    for number in numbers {
        set[usize::try_from(number / 64).unwrap_or(0)] |= 1 << (number % 64);
    }
    set
}

fn select_marks_what_is_ready() -> Outcome {
    let [reader, writer] = pipe(0);
    works!(call!(SYS_dup2, reader, 100));
    let ask = || {
        let (mut read, mut write) = (set(&[reader, 100]), set(&[writer]));
        let count = call!(SYS_select, 101, &mut read, &mut write, 0, &mut [0_u64; 2]);
        (count, read, write)
    };
    same!(ask(), (Ok(1), set(&[]), set(&[writer])));
    works!(call!(SYS_write, writer, c"x", 1));
    same!(ask(), (Ok(3), set(&[reader, 100]), set(&[writer])));
    fails!(
        call!(SYS_select, 101, &mut set(&[99]), 0, 0, &mut [0_u64; 2]),
        EBADF
    );
    fails!(call!(SYS_select, -1, 0, 0, 0, 0), EINVAL);
    fails!(call!(SYS_select, 0, 0, 0, 0, &mut [0_i64, -1]), EINVAL);
    Ok(())
}

fn select_is_woken() -> Outcome {
    let [reader, writer] = pipe(0);
    let parent = std::process::id().cast_signed();
    let child = fork(|| {
        wait_until_asleep(parent);
        i32::from(call!(SYS_write, writer, c"x", 1).is_err())
    });
    let mut read = set(&[reader]);
    let mut time = [20_u64, 0];
    same!(
        call!(SYS_select, reader + 1, &mut read, 0, 0, &mut time),
        Ok(1)
    );
    // Linux writes back what was left.
    holds!(time[0] < 20, "{time:?}");
    wait(child);
    let start = now();
    same!(
        call!(SYS_pselect6, 0, 0, 0, 0, &[0_u64, 20_000_000], 0),
        Ok(0)
    );
    holds!(now() - start >= 20_000_000);
    Ok(())
}

fn much_data_flows_between_processes() -> Outcome {
    let [reader, writer] = pipe(0);
    const TOTAL: usize = 3_000_000;
    let child = fork(|| {
        let data: Vec<u8> = (0..70_001_usize).map(|i| i as u8).collect();
        let mut sent = 0;
        while sent < TOTAL {
            let length = data.len().min(TOTAL - sent);
            match call!(SYS_write, writer, data.as_ptr(), length) {
                Ok(got) if got == length => sent += got,
                _ => return 1,
            }
        }
        0
    });
    works!(call!(SYS_close, writer));
    let mut buffer = vec![0_u8; 12_345];
    let mut received = 0;
    loop {
        let got = works!(call!(SYS_read, reader, buffer.as_mut_ptr(), buffer.len()));
        if got == 0 {
            break;
        }
        let right = buffer[..got]
            .iter()
            .enumerate()
            .all(|(at, byte)| *byte == ((received + at) % 70_001) as u8);
        holds!(right, "after {received}");
        received += got;
    }
    same!((received, wait(child)), (TOTAL, Status::Exited(0)));
    Ok(())
}

fn a_pipe_is_passed_through_a_chain() -> Outcome {
    // A ring of processes that pass a number on and add one.
    const LENGTH: usize = 20;
    let ends: Vec<[i32; 2]> = (0..=LENGTH).map(|_| pipe(0)).collect();
    let children: Vec<i32> = (0..LENGTH)
        .map(|at| {
            let (from, to) = (ends[at][0], ends[at + 1][1]);
            fork(move || {
                let mut number = 0_u32;
                for _ in 0..50 {
                    if call!(SYS_read, from, &mut number, 4) != Ok(4) {
                        return 1;
                    }
                    number += 1;
                    if call!(SYS_write, to, &number, 4) != Ok(4) {
                        return 2;
                    }
                }
                0
            })
        })
        .collect();
    for round in 0..50_u32 {
        let mut number = round;
        works!(call!(SYS_write, ends[0][1], &number, 4));
        works!(call!(SYS_read, ends[LENGTH][0], &mut number, 4));
        same!(number, round + LENGTH as u32);
    }
    for child in children {
        same!(wait(child), Status::Exited(0));
    }
    sleep_ms(1);
    same!(in_child(|| 0), Status::Exited(0));
    same!(call!(SYS_close, 999), Err(Errno(libc::EBADF)));
    Ok(())
}
