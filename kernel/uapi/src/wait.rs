//! Waiting for children. Linux: linux/wait.h; the status encoding is POSIX's.

// Options of wait4(2) and waitid(2).
pub const WNOHANG: u32 = 1;
pub const WUNTRACED: u32 = 2;
pub const WSTOPPED: u32 = WUNTRACED;
pub const WEXITED: u32 = 4;
pub const WCONTINUED: u32 = 8;
pub const WNOWAIT: u32 = 0x0100_0000;
pub const __WNOTHREAD: u32 = 0x2000_0000;
pub const __WALL: u32 = 0x4000_0000;
pub const __WCLONE: u32 = 0x8000_0000;

// `which` of waitid(2).
pub const P_ALL: u32 = 0;
pub const P_PID: u32 = 1;
pub const P_PGID: u32 = 2;
pub const P_PIDFD: u32 = 3;

/// Status of a child that called exit(2); only the low 8 bits of the code survive.
#[inline]
pub const fn status_exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// Status of a child that a signal killed.
#[inline]
pub const fn status_signaled(signo: i32, dumped_core: bool) -> i32 {
    signo & 0x7f | if dumped_core { 0x80 } else { 0 }
}

/// Status of a child that a signal stopped.
#[inline]
pub const fn status_stopped(signo: i32) -> i32 {
    signo << 8 | 0x7f
}

/// Status of a child that SIGCONT set going again.
pub const STATUS_CONTINUED: i32 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_exit_signal_and_stop_apart() {
        assert_eq!(status_exited(256 + 3), 0x300);
        assert_eq!(status_signaled(11, true), 0x8b);
        assert_eq!(status_signaled(9, false), 9);
        assert_eq!(status_stopped(19), 0x137f);
    }
}
