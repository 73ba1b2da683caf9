//! Every pointer that a call takes, replaced by bad ones: EFAULT, and nothing else happens.

use std::fs;
use std::os::fd::AsRawFd;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{self, Errno, Returned, call, pipe};

pub const CHECKS: &[Check] = table![
    buffers_of_reads_and_writes,
    paths,
    second_paths_and_their_results,
    what_descriptors_return,
    what_processes_return,
    what_signals_take_and_return,
    what_times_take_and_return,
    what_waits_take,
    arguments_of_programs,
    the_systems_names,
    a_read_stops_at_the_end_of_the_memory,
    a_path_that_runs_into_a_hole_is_a_fault,
];

/// Low, unmapped, the end of user space, not canonical, and the kernel's half.
const BAD: [usize; 9] = [
    1,
    0x0dea_d000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0x0100_0000_0000_0000,
    0x8000_0000_0000_0000,
    0xffff_8880_0000_0000,
    0xffff_ffff_8100_0000,
    usize::MAX - 7,
];

/// Tries all bad pointers in a call.
fn refused(what: &str, call: impl Fn(usize) -> Returned) -> Outcome {
    for pointer in BAD {
        let result = call(pointer);
        if result != Err(Errno(libc::EFAULT)) {
            return Err(format!("{what} with {pointer:#x} gives {result:?}"));
        }
    }
    Ok(())
}

fn buffers_of_reads_and_writes() -> Outcome {
    let zero = works!(fs::File::open("/dev/zero")).as_raw_fd();
    let _ = zero;
    let zero = works!(fs::File::open("/dev/zero"));
    works!(fs::write("file", "contents of the file"));
    let file = works!(fs::OpenOptions::new().read(true).write(true).open("file"));
    let [reader, writer] = pipe(0);
    works!(call!(SYS_write, writer, c"abc", 3));
    let (zero, file) = (zero.as_raw_fd(), file.as_raw_fd());
    refused("read zero", |p| call!(SYS_read, zero, p, 8))?;
    refused("read file", |p| call!(SYS_read, file, p, 8))?;
    refused("pread", |p| call!(SYS_pread64, file, p, 8, 0))?;
    refused("read pipe", |p| call!(SYS_read, reader, p, 2))?;
    refused("write file", |p| call!(SYS_write, file, p, 8))?;
    refused("pwrite", |p| call!(SYS_pwrite64, file, p, 8, 0))?;
    refused("write pipe", |p| call!(SYS_write, writer, p, 8))?;
    refused("readv", |p| call!(SYS_readv, file, p, 1))?;
    refused("writev", |p| call!(SYS_writev, file, p, 1))?;
    refused("readv base", |p| call!(SYS_readv, file, &[p, 8], 1))?;
    refused("writev base", |p| call!(SYS_writev, file, &[p, 8], 1))?;
    refused("getdents64", |p| {
        let folder = call!(SYS_open, c"/", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let result = call!(SYS_getdents64, folder, p, 4096);
        call!(SYS_close, folder)?;
        result
    })?;
    same!(
        fs::read("file").unwrap_or_default(),
        b"contents of the file"
    );
    // A length of nothing touches nothing.
    same!(call!(SYS_write, writer, 1, 0), Ok(0));
    Ok(())
}

fn paths() -> Outcome {
    let mut buffer = [0_u8; 256];
    refused("open", |p| call!(SYS_open, p, 0, 0))?;
    refused("openat", |p| call!(SYS_openat, libc::AT_FDCWD, p, 0, 0))?;
    refused("access", |p| call!(SYS_access, p, 0))?;
    refused("chdir", |p| call!(SYS_chdir, p))?;
    refused("chmod", |p| call!(SYS_chmod, p, 0o644))?;
    refused("chown", |p| call!(SYS_chown, p, 0, 0))?;
    refused("lchown", |p| call!(SYS_lchown, p, 0, 0))?;
    refused("chroot", |p| call!(SYS_chroot, p))?;
    refused("mkdir", |p| call!(SYS_mkdir, p, 0o755))?;
    refused("mknodat", |p| {
        call!(SYS_mknodat, libc::AT_FDCWD, p, libc::S_IFIFO | 0o600, 0)
    })?;
    refused("rmdir", |p| call!(SYS_rmdir, p))?;
    refused("unlink", |p| call!(SYS_unlink, p))?;
    refused("truncate", |p| call!(SYS_truncate, p, 0))?;
    refused("execve", |p| call!(SYS_execve, p, 0, 0))?;
    refused("umount2", |p| call!(SYS_umount2, p, 0))?;
    let buffer = buffer.as_mut_ptr();
    refused("stat", |p| call!(SYS_stat, p, buffer))?;
    refused("lstat", |p| call!(SYS_lstat, p, buffer))?;
    refused("newfstatat", |p| {
        call!(SYS_newfstatat, libc::AT_FDCWD, p, buffer, 0)
    })?;
    refused("readlink", |p| call!(SYS_readlink, p, buffer, 100))?;
    refused("statfs", |p| call!(SYS_statfs, p, buffer))?;
    refused("utimensat", |p| {
        call!(SYS_utimensat, libc::AT_FDCWD, p, 0, 0)
    })
}

fn second_paths_and_their_results() -> Outcome {
    works!(fs::write("file", ""));
    works!(std::os::unix::fs::symlink("file", "link"));
    refused("rename from", |p| call!(SYS_rename, p, c"x"))?;
    refused("rename to", |p| call!(SYS_rename, c"file", p))?;
    refused("link from", |p| call!(SYS_link, p, c"x"))?;
    refused("link to", |p| call!(SYS_link, c"file", p))?;
    refused("symlink target", |p| call!(SYS_symlink, p, c"x"))?;
    refused("symlink name", |p| call!(SYS_symlink, c"file", p))?;
    refused("stat result", |p| call!(SYS_stat, c"file", p))?;
    refused("lstat result", |p| call!(SYS_lstat, c"file", p))?;
    refused("newfstatat result", |p| {
        call!(SYS_newfstatat, libc::AT_FDCWD, c"file", p, 0)
    })?;
    refused("statfs result", |p| call!(SYS_statfs, c"file", p))?;
    refused("readlink result", |p| call!(SYS_readlink, c"link", p, 100))?;
    refused("getcwd", |p| call!(SYS_getcwd, p, 4096))?;
    refused("times of a file", |p| {
        call!(SYS_utimensat, libc::AT_FDCWD, c"file", p, 0)
    })?;
    refused("kind of a mount", |p| {
        call!(SYS_mount, c"none", c"/tmp", p, 0, 0)
    })?;
    refused("target of a mount", |p| {
        call!(SYS_mount, c"none", p, c"tmpfs", 0, 0)
    })?;
    holds!(fs::symlink_metadata("x").is_err());
    Ok(())
}

fn what_descriptors_return() -> Outcome {
    works!(fs::write("file", "abc"));
    let file = works!(fs::File::open("file"));
    let file = file.as_raw_fd();
    let [reader, writer] = pipe(0);
    refused("fstat", |p| call!(SYS_fstat, file, p))?;
    refused("fstatfs", |p| call!(SYS_fstatfs, file, p))?;
    refused("F_GETLK", |p| call!(SYS_fcntl, file, libc::F_GETLK, p))?;
    refused("F_SETLK", |p| call!(SYS_fcntl, file, libc::F_SETLK, p))?;
    refused("FIONREAD", |p| call!(SYS_ioctl, reader, libc::FIONREAD, p))?;
    refused("sendfile", |p| call!(SYS_sendfile, writer, file, p, 1))?;
    refused("pipe2", |p| call!(SYS_pipe2, p, 0))?;
    refused("pipe", |p| call!(SYS_pipe, p))?;
    // Nothing was left open by the failed ones.
    same!(
        call!(SYS_dup, 0),
        Ok(usize::try_from(writer).unwrap_or(0) + 1)
    );
    Ok(())
}

fn what_processes_return() -> Outcome {
    refused("getgroups", |p| {
        call!(SYS_setgroups, 1, &[7_u32])?;
        call!(SYS_getgroups, 32, p)
    })?;
    refused("setgroups", |p| call!(SYS_setgroups, 1, p))?;
    refused("getresuid", |p| call!(SYS_getresuid, p, p, p))?;
    refused("getrlimit", |p| call!(SYS_getrlimit, 0, p))?;
    refused("setrlimit", |p| call!(SYS_setrlimit, libc::RLIMIT_CORE, p))?;
    refused("prlimit64 new", |p| {
        call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, p, 0)
    })?;
    refused("prlimit64 old", |p| {
        call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, 0, p)
    })?;
    refused("getrusage", |p| call!(SYS_getrusage, 0, p))?;
    refused("sched_getaffinity", |p| {
        call!(SYS_sched_getaffinity, 0, 128, p)
    })?;
    refused("sched_setaffinity", |p| {
        call!(SYS_sched_setaffinity, 0, 8, p)
    })?;
    refused("times", |p| call!(SYS_times, p))?;
    refused("sysinfo", |p| call!(SYS_sysinfo, p))?;
    refused("getrandom", |p| call!(SYS_getrandom, p, 16, 0))?;
    refused("PR_SET_NAME", |p| call!(SYS_prctl, libc::PR_SET_NAME, p))?;
    refused("PR_GET_NAME", |p| call!(SYS_prctl, libc::PR_GET_NAME, p))?;
    refused("wait4", |p| {
        let child = raw::fork(|| 0);
        call!(SYS_wait4, child, p, 0, 0)
    })
}

fn what_signals_take_and_return() -> Outcome {
    refused("new action", |p| {
        call!(SYS_rt_sigaction, libc::SIGUSR1, p, 0, 8)
    })?;
    refused("old action", |p| {
        call!(SYS_rt_sigaction, libc::SIGUSR1, 0, p, 8)
    })?;
    refused("new mask", |p| {
        call!(SYS_rt_sigprocmask, libc::SIG_BLOCK, p, 0, 8)
    })?;
    refused("old mask", |p| {
        call!(SYS_rt_sigprocmask, libc::SIG_BLOCK, 0, p, 8)
    })?;
    refused("pending", |p| call!(SYS_rt_sigpending, p, 8))?;
    refused("sigsuspend", |p| call!(SYS_rt_sigsuspend, p, 8))?;
    refused("sigtimedwait set", |p| {
        call!(SYS_rt_sigtimedwait, p, 0, 0, 8)
    })?;
    refused("sigtimedwait time", |p| {
        call!(SYS_rt_sigtimedwait, &0_u64, 0, p, 8)
    })?;
    refused("new stack", |p| call!(SYS_sigaltstack, p, 0))?;
    refused("old stack", |p| call!(SYS_sigaltstack, 0, p))?;
    refused("sigqueue", |p| {
        call!(SYS_rt_sigqueueinfo, std::process::id(), libc::SIGUSR1, p)
    })
}

fn what_times_take_and_return() -> Outcome {
    refused("clock_gettime", |p| {
        call!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, p)
    })?;
    refused("clock_getres", |p| {
        call!(SYS_clock_getres, libc::CLOCK_MONOTONIC, p)
    })?;
    refused("clock_settime", |p| {
        call!(SYS_clock_settime, libc::CLOCK_REALTIME, p)
    })?;
    refused("gettimeofday", |p| call!(SYS_gettimeofday, p, 0))?;
    refused("time", |p| call!(SYS_time, p))?;
    refused("nanosleep", |p| call!(SYS_nanosleep, p, 0))?;
    refused("clock_nanosleep", |p| {
        call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, p, 0)
    })?;
    refused("setitimer new", |p| {
        call!(SYS_setitimer, libc::ITIMER_REAL, p, 0)
    })?;
    refused("setitimer old", |p| {
        call!(SYS_setitimer, libc::ITIMER_REAL, &[0_u64; 4], p)
    })?;
    refused("getitimer", |p| call!(SYS_getitimer, libc::ITIMER_REAL, p))
}

fn what_waits_take() -> Outcome {
    refused("poll", |p| call!(SYS_poll, p, 1, 0))?;
    refused("ppoll time", |p| call!(SYS_ppoll, 0, 0, p, 0, 8))?;
    refused("ppoll mask", |p| call!(SYS_ppoll, 0, 0, &[0_u64; 2], p, 8))?;
    refused("select read", |p| {
        call!(SYS_select, 1, p, 0, 0, &[0_u64; 2])
    })?;
    refused("select write", |p| {
        call!(SYS_select, 1, 0, p, 0, &[0_u64; 2])
    })?;
    refused("select time", |p| call!(SYS_select, 0, 0, 0, 0, p))?;
    refused("pselect6 time", |p| call!(SYS_pselect6, 0, 0, 0, 0, p, 0))?;
    refused("pselect6 mask", |p| {
        call!(SYS_pselect6, 0, 0, 0, 0, &[0_u64; 2], p)
    })?;
    // A futex must be aligned, so some of the pointers are bad in another way.
    for pointer in BAD.into_iter().filter(|pointer| pointer % 4 == 0) {
        fails!(call!(SYS_futex, pointer, libc::FUTEX_WAIT, 0, 0), EFAULT);
        fails!(
            call!(
                SYS_futex,
                pointer,
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                0,
                0
            ),
            EFAULT
        );
    }
    refused("futex time", |p| {
        call!(SYS_futex, &0_u32, libc::FUTEX_WAIT, 0, p)
    })
}

fn arguments_of_programs() -> Outcome {
    let program = c"/proc/self/exe";
    let name = c"name".as_ptr();
    refused("argv", |p| call!(SYS_execve, program, p, 0))?;
    refused("envp", |p| call!(SYS_execve, program, 0, p))?;
    refused("argument", |p| {
        call!(SYS_execve, program, &[name.addr(), p, 0], 0)
    })?;
    refused("variable", |p| call!(SYS_execve, program, 0, &[p, 0]))
}

fn the_systems_names() -> Outcome {
    refused("uname", |p| call!(SYS_uname, p))?;
    refused("sethostname", |p| call!(SYS_sethostname, p, 4))?;
    refused("setdomainname", |p| call!(SYS_setdomainname, p, 4))?;
    refused("syslog", |p| call!(SYS_syslog, 3, p, 100))
}

/// Two pages of which only the first is there.
fn page_before_a_hole() -> *mut u8 {
    let start = raw::map(8192, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    assert_eq!(
        call!(SYS_munmap, start.wrapping_add(4096), 4096),
        Ok(0),
        "munmap"
    );
    start
}

fn a_read_stops_at_the_end_of_the_memory() -> Outcome {
    works!(fs::write("file", vec![b'x'; 8192]));
    let start = page_before_a_hole();
    for name in ["/dev/zero", "file"] {
        let file = works!(fs::File::open(name));
        let inside = start.wrapping_add(1000);
        same!(call!(SYS_read, file.as_raw_fd(), inside, 8000), Ok(3096));
        fails!(
            call!(SYS_read, file.as_raw_fd(), start.wrapping_add(4096), 10),
            EFAULT
        );
    }
    let file = works!(fs::OpenOptions::new().write(true).open("file"));
    same!(
        call!(SYS_write, file.as_raw_fd(), start.wrapping_add(96), 8000),
        Ok(4000)
    );
    Ok(())
}

fn a_path_that_runs_into_a_hole_is_a_fault() -> Outcome {
    let start = page_before_a_hole();
    let name = start.wrapping_add(4093);
    raw::poke(name, b'/');
    raw::poke(name.wrapping_add(1), b'.');
    raw::poke(name.wrapping_add(2), 0);
    same!(call!(SYS_access, name, 0), Ok(0));
    raw::poke(name.wrapping_add(2), b'/');
    fails!(call!(SYS_access, name, 0), EFAULT);
    Ok(())
}
