//! The console's terminal: settings, size, job control. Only in the machine, where nobody else uses it.

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{
    Errno, Status, call, fork, in_child, on_signal, pipe, set_disposition, wait, wait_until_asleep,
    wait_with,
};

pub const CHECKS: &[Check] = table![
    the_settings_are_the_usual_ones,
    settings_are_changed_and_kept,
    the_size_is_kept_and_told,
    a_session_leader_takes_the_terminal,
    the_foreground_group_is_chosen,
    background_processes_are_stopped_when_they_read,
    background_processes_may_write_unless_forbidden,
    a_hang_up_of_the_leader_reaches_the_foreground,
    typed_input_can_be_simulated_and_read,
    control_characters_are_signals,
    without_canonical_mode_reads_follow_min_and_time,
    modems_and_breaks_are_asked,
];

const TERMINAL: &std::ffi::CStr = c"/dev/ttyS0";

/// The kernel's `struct termios`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct Settings {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    characters: [u8; 19],
}

fn open(flags: i32) -> Result<usize, String> {
    Ok(works!(call!(SYS_open, TERMINAL, libc::O_RDWR | flags, 0)))
}

fn settings(fd: usize) -> Result<Settings, String> {
    let mut settings = Settings::default();
    works!(call!(SYS_ioctl, fd, libc::TCGETS, &mut settings));
    Ok(settings)
}

fn the_settings_are_the_usual_ones() -> Outcome {
    let found = settings(open(libc::O_NOCTTY)?)?;
    let input = libc::ICRNL | libc::IXON;
    same!(found.input & input, input);
    same!(
        found.output & (libc::OPOST | libc::ONLCR),
        libc::OPOST | libc::ONLCR
    );
    let local = libc::ISIG | libc::ICANON | libc::ECHO | libc::ECHOE | libc::ECHOK | libc::IEXTEN;
    same!(found.local & local, local);
    same!(
        found.control & (libc::CSIZE | libc::CREAD),
        libc::CS8 | libc::CREAD
    );
    // Ctrl-C, Ctrl-\, delete, Ctrl-U, Ctrl-D, time 0, min 1.
    same!(found.characters[..7], [3, 28, 127, 21, 4, 0, 1]);
    Ok(())
}

fn settings_are_changed_and_kept() -> Outcome {
    let fd = open(libc::O_NOCTTY)?;
    let before = settings(fd)?;
    let mut changed = before;
    changed.local &= !libc::ECHO;
    changed.characters[0] = 7;
    works!(call!(SYS_ioctl, fd, libc::TCSETSW, &changed));
    let other = open(libc::O_NOCTTY)?;
    same!(settings(other)?, changed);
    works!(call!(SYS_ioctl, fd, libc::TCSETSF, &before));
    same!(settings(other)?, before);
    fails!(call!(SYS_ioctl, fd, libc::TCSETS, 1), EFAULT);
    Ok(())
}

fn the_size_is_kept_and_told() -> Outcome {
    let fd = open(libc::O_NOCTTY)?;
    works!(call!(SYS_ioctl, fd, libc::TIOCSWINSZ, &[50_u16, 132, 0, 0]));
    let mut size = [0_u16; 4];
    works!(call!(SYS_ioctl, fd, libc::TIOCGWINSZ, &mut size));
    same!(size, [50, 132, 0, 0]);
    works!(call!(SYS_ioctl, fd, libc::TIOCSWINSZ, &[0_u16; 4]));
    Ok(())
}

/// Runs `work` in a session of its own that has the terminal.
fn with_terminal(work: impl FnOnce(usize) -> i32) -> Status {
    in_child(|| {
        set_disposition(libc::SIGHUP, libc::SIG_DFL, 0, &[]);
        let session = call!(SYS_setsid);
        let Ok(fd) = call!(SYS_open, TERMINAL, libc::O_RDWR | libc::O_NOCTTY, 0) else {
            return 90;
        };
        if session.is_err() || call!(SYS_ioctl, fd, libc::TIOCSCTTY, 1).is_err() {
            return 91;
        }
        let status = work(fd);
        set_disposition(libc::SIGHUP, libc::SIG_IGN, 0, &[]);
        status
    })
}

fn me() -> usize {
    std::process::id() as usize
}

fn a_session_leader_takes_the_terminal() -> Outcome {
    let status = with_terminal(|fd| {
        let mut session = 0_i32;
        let asked = call!(SYS_ioctl, fd, libc::TIOCGSID, &mut session);
        let named = call!(SYS_open, c"/dev/tty", libc::O_RDWR, 0);
        let given_up = call!(SYS_ioctl, fd, libc::TIOCNOTTY);
        i32::from(asked.is_err() || session as usize != me() || named.is_err())
            + 2 * i32::from(given_up.is_err())
    });
    // Giving it up hangs up the foreground group, of which the leader is.
    same!(status, Status::Killed(libc::SIGHUP));
    let status = in_child(|| {
        let _ = call!(SYS_setsid);
        i32::from(call!(SYS_open, c"/dev/tty", libc::O_RDWR, 0) != Err(Errno(libc::ENXIO)))
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn the_foreground_group_is_chosen() -> Outcome {
    let status = with_terminal(|fd| {
        let mut group = 0_i32;
        let mut good =
            call!(SYS_ioctl, fd, libc::TIOCGPGRP, &mut group).is_ok() && group as usize == me();
        let child = fork(|| {
            let _ = call!(SYS_pause);
            0
        });
        good &= call!(SYS_setpgid, child, child).is_ok();
        good &= call!(SYS_ioctl, fd, libc::TIOCSPGRP, &4_000_000) == Err(Errno(libc::ESRCH));
        good &= call!(SYS_ioctl, fd, libc::TIOCSPGRP, &child).is_ok();
        good &= call!(SYS_ioctl, fd, libc::TIOCGPGRP, &mut group).is_ok() && group == child;
        // This group is in the background now, and nobody could continue it if it were stopped.
        good &= call!(SYS_ioctl, fd, libc::TIOCSPGRP, &child) == Err(Errno(libc::ENOTTY));
        let _ = call!(SYS_kill, child, libc::SIGKILL);
        wait(child);
        i32::from(!good)
    });
    same!(status, Status::Exited(0));
    Ok(())
}

/// A child in a background group that does `work`, and how it changes.
fn background(work: impl FnOnce() -> i32) -> (Status, Status) {
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        let mut byte = 0_u8;
        let _ = call!(SYS_read, reader, &mut byte, 1);
        work()
    });
    let _ = call!(SYS_setpgid, child, child);
    let _ = call!(SYS_write, writer, &0_u8, 1);
    let first = wait_with(child, libc::WUNTRACED).map(|(_, status)| status);
    let first = first.unwrap_or(Status::Continued);
    if !matches!(first, Status::Stopped(_)) {
        return (first, first);
    }
    let _ = call!(SYS_kill, child, libc::SIGKILL);
    (first, wait(child))
}

fn background_processes_are_stopped_when_they_read() -> Outcome {
    let status = with_terminal(|fd| {
        let (first, end) = background(|| i32::from(call!(SYS_read, fd, &mut 0_u8, 1).is_err()));
        let stopped =
            first == Status::Stopped(libc::SIGTTIN) && end == Status::Killed(libc::SIGKILL);
        if !stopped {
            println!("the reader: {first:?}, then {end:?}");
        }
        let (ignoring, _) = background(|| {
            set_disposition(libc::SIGTTIN, libc::SIG_IGN, 0, &[]);
            i32::from(call!(SYS_read, fd, &mut 0_u8, 1) != Err(Errno(libc::EIO)))
        });
        i32::from(!stopped) + 2 * i32::from(ignoring != Status::Exited(0))
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn background_processes_may_write_unless_forbidden() -> Outcome {
    let status = with_terminal(|fd| {
        let (first, _) = background(|| i32::from(call!(SYS_write, fd, c"#", 1) != Ok(1)));
        let mut good = first == Status::Exited(0);
        let Ok(before) = settings(fd) else { return 80 };
        let mut changed = before;
        changed.local |= libc::TOSTOP;
        good &= call!(SYS_ioctl, fd, libc::TCSETS, &changed).is_ok();
        let (first, _) = background(|| i32::from(call!(SYS_write, fd, c"!", 1) != Ok(1)));
        good &= first == Status::Stopped(libc::SIGTTOU);
        // Changing the settings stops in any case.
        good &= call!(SYS_ioctl, fd, libc::TCSETS, &before).is_ok();
        let (first, _) =
            background(|| i32::from(call!(SYS_ioctl, fd, libc::TCSETS, &before).is_err()));
        good &= first == Status::Stopped(libc::SIGTTOU);
        i32::from(!good)
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn a_hang_up_of_the_leader_reaches_the_foreground() -> Outcome {
    let [reader, writer] = pipe(0);
    let leader = fork(|| {
        let _ = call!(SYS_setsid);
        let Ok(fd) = call!(SYS_open, TERMINAL, libc::O_RDWR, 0) else {
            return 90;
        };
        if call!(SYS_ioctl, fd, libc::TIOCSCTTY, 1).is_err() {
            return 91;
        }
        let child = fork(|| {
            set_disposition(libc::SIGHUP, libc::SIG_DFL, 0, &[]);
            let _ = call!(SYS_pause);
            0
        });
        wait_until_asleep(child);
        0
    });
    same!(wait(leader), Status::Exited(0));
    works!(call!(SYS_close, writer));
    // The child held the pipe open until it died of the hang-up.
    same!(call!(SYS_read, reader, &mut 0_u8, 1), Ok(0));
    Ok(())
}

/// Puts a text into the terminal's input, as if it were typed.
fn type_in(fd: usize, text: &[u8]) -> bool {
    text.iter()
        .all(|byte| call!(SYS_ioctl, fd, libc::TIOCSTI, byte).is_ok())
}

fn typed_input_can_be_simulated_and_read() -> Outcome {
    let status = with_terminal(|fd| {
        if !type_in(fd, b"ab\x7fc\nnext") {
            return 70; // a kernel may have this switched off
        }
        let mut waiting = 0;
        let _ = call!(SYS_ioctl, fd, libc::FIONREAD, &mut waiting);
        let mut buffer = [0_u8; 32];
        let got = call!(SYS_read, fd, &mut buffer, 32);
        let mut good = waiting == 3 && got == Ok(3) && &buffer[..3] == b"ac\n";
        // The rest of a line can be read in parts; an end of file is a read of nothing.
        good &= type_in(fd, b"line\n\x04");
        good &= call!(SYS_read, fd, &mut buffer, 4) == Ok(4) && &buffer[..4] == b"next";
        good &= call!(SYS_read, fd, &mut buffer, 32) == Ok(5);
        good &= call!(SYS_read, fd, &mut buffer, 32) == Ok(0);
        good &= type_in(fd, b"lost") && call!(SYS_ioctl, fd, libc::TCFLSH, libc::TCIFLUSH).is_ok();
        good &= type_in(fd, b"x\x17kept\n");
        good &= call!(SYS_read, fd, &mut buffer, 32) == Ok(5) && &buffer[..5] == b"kept\n";
        i32::from(!good)
    });
    holds!(matches!(status, Status::Exited(0 | 70)), "{status:?}");
    Ok(())
}

static CAUGHT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

extern "C" fn note(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CAUGHT.fetch_or(1 << signal, std::sync::atomic::Ordering::Relaxed);
}

fn control_characters_are_signals() -> Outcome {
    let status = with_terminal(|fd| {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGWINCH] {
            on_signal(signal, note, 0);
        }
        if !type_in(fd, b"gone\x03") {
            return 70;
        }
        let caught = || CAUGHT.swap(0, std::sync::atomic::Ordering::Relaxed);
        let mut good = caught() == 1 << libc::SIGINT;
        good &= type_in(fd, b"\x1c") && caught() == 1 << libc::SIGQUIT;
        good &= type_in(fd, b"\x1a") && caught() == 1 << libc::SIGTSTP;
        good &= call!(SYS_ioctl, fd, libc::TIOCSWINSZ, &[30_u16, 90, 0, 0]).is_ok();
        good &= caught() == 1 << libc::SIGWINCH;
        good &= call!(SYS_ioctl, fd, libc::TIOCSWINSZ, &[0_u16; 4]).is_ok();
        // The signal has thrown away what was typed before; quoted it is a character.
        good &= type_in(fd, b"\x16\x03\n");
        let mut buffer = [0_u8; 8];
        good &= call!(SYS_read, fd, &mut buffer, 8) == Ok(2) && buffer[0] == 3;
        i32::from(!good)
    });
    holds!(matches!(status, Status::Exited(0 | 70)), "{status:?}");
    Ok(())
}

fn without_canonical_mode_reads_follow_min_and_time() -> Outcome {
    let status = with_terminal(|fd| {
        let Ok(before) = settings(fd) else { return 80 };
        let set = |time: u8, min: u8| {
            let mut raw = before;
            raw.local &= !(libc::ICANON | libc::ECHO);
            raw.characters[5] = time;
            raw.characters[6] = min;
            call!(SYS_ioctl, fd, libc::TCSETSF, &raw).is_ok()
        };
        let mut buffer = [0_u8; 8];
        let mut good = set(0, 0) && call!(SYS_read, fd, &mut buffer, 8) == Ok(0);
        let start = crate::raw::now();
        good &= set(1, 0) && call!(SYS_read, fd, &mut buffer, 8) == Ok(0);
        good &= crate::raw::now() - start >= 90_000_000;
        if type_in(fd, b"a") {
            good &= call!(SYS_read, fd, &mut buffer, 8) == Ok(1);
            good &= set(0, 3) && type_in(fd, b"ab\x04");
            good &= call!(SYS_read, fd, &mut buffer, 8) == Ok(3) && &buffer[..3] == b"ab\x04";
        }
        good &= call!(SYS_ioctl, fd, libc::TCSETSF, &before).is_ok();
        i32::from(!good)
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn modems_and_breaks_are_asked() -> Outcome {
    let fd = open(libc::O_NOCTTY)?;
    let mut lines = 0_i32;
    works!(call!(SYS_ioctl, fd, libc::TIOCMGET, &mut lines));
    works!(call!(SYS_ioctl, fd, libc::TCSBRK, 1));
    let mut queued = -1_i32;
    works!(call!(SYS_ioctl, fd, libc::TIOCOUTQ, &mut queued));
    holds!(queued >= 0);
    let mut line = -1_i32;
    works!(call!(SYS_ioctl, fd, libc::TIOCGETD, &mut line));
    same!(line, 0);
    fails!(call!(SYS_ioctl, fd, 0x1234_5678, 0), ENOTTY);
    fails!(call!(SYS_lseek, fd, 0, 0), ESPIPE);
    Ok(())
}
