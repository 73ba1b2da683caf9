//! Clocks and timers. Linux: linux/time.h, linux/time_types.h, linux/timerfd.h, linux/timex.h.

// Clocks.
pub const CLOCK_REALTIME: i32 = 0;
pub const CLOCK_MONOTONIC: i32 = 1;
pub const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
pub const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
pub const CLOCK_MONOTONIC_RAW: i32 = 4;
pub const CLOCK_REALTIME_COARSE: i32 = 5;
pub const CLOCK_MONOTONIC_COARSE: i32 = 6;
pub const CLOCK_BOOTTIME: i32 = 7;
pub const CLOCK_REALTIME_ALARM: i32 = 8;
pub const CLOCK_BOOTTIME_ALARM: i32 = 9;
pub const CLOCK_TAI: i32 = 11;

// Timers of setitimer(2).
pub const ITIMER_REAL: i32 = 0;
pub const ITIMER_VIRTUAL: i32 = 1;
pub const ITIMER_PROF: i32 = 2;

/// The time is a point of the clock, not a distance.
pub const TIMER_ABSTIME: u32 = 1;

// Flags of timerfd_create(2) and timerfd_settime(2).
pub const TFD_TIMER_ABSTIME: u32 = 1;
pub const TFD_TIMER_CANCEL_ON_SET: u32 = 2;
pub const TFD_NONBLOCK: u32 = 0o4000;
pub const TFD_CLOEXEC: u32 = 0o2000000;

// `modes` of adjtimex(2).
pub const ADJ_OFFSET: u32 = 0x0001;
pub const ADJ_FREQUENCY: u32 = 0x0002;
pub const ADJ_MAXERROR: u32 = 0x0004;
pub const ADJ_ESTERROR: u32 = 0x0008;
pub const ADJ_STATUS: u32 = 0x0010;
pub const ADJ_TIMECONST: u32 = 0x0020;
pub const ADJ_TAI: u32 = 0x0080;
pub const ADJ_SETOFFSET: u32 = 0x0100;
pub const ADJ_MICRO: u32 = 0x1000;
pub const ADJ_NANO: u32 = 0x2000;
pub const ADJ_TICK: u32 = 0x4000;
/// adjtime(3): with `ADJ_OFFSET`.
pub const ADJ_ADJTIME: u32 = 0x8000;
/// adjtime(3) that only asks: with `ADJ_ADJTIME` and `ADJ_OFFSET`.
pub const ADJ_OFFSET_READONLY: u32 = 0x2000;

// `status` of adjtimex(2).
pub const STA_PLL: i32 = 0x0001;
pub const STA_UNSYNC: i32 = 0x0040;
pub const STA_FREQHOLD: i32 = 0x0080;
pub const STA_CLOCKERR: i32 = 0x1000;
pub const STA_NANO: i32 = 0x2000;
/// Bits that only the kernel changes.
pub const STA_RONLY: i32 = 0xff00;

// What adjtimex(2) returns.
pub const TIME_OK: i32 = 0;
pub const TIME_ERROR: i32 = 5;

pub const NSEC_PER_SEC: i64 = 1_000_000_000;
pub const NSEC_PER_MSEC: i64 = 1_000_000;
pub const NSEC_PER_USEC: i64 = 1_000;
pub const USEC_PER_SEC: i64 = 1_000_000;
/// Ticks per second in `times(2)` and /proc, whatever the kernel's own tick is.
pub const USER_HZ: i64 = 100;

pod_struct! {
    /// Seconds and nanoseconds.
    pub struct Timespec {
        pub tv_sec: i64,
        pub tv_nsec: i64,
    }

    /// Seconds and microseconds.
    pub struct Timeval {
        pub tv_sec: i64,
        pub tv_usec: i64,
    }

    /// Period and time left of a POSIX timer or timerfd.
    pub struct Itimerspec {
        pub it_interval: Timespec,
        pub it_value: Timespec,
    }

    /// Period and time left of setitimer(2).
    pub struct Itimerval {
        pub it_interval: Timeval,
        pub it_value: Timeval,
    }

    /// The time zone of gettimeofday(2).
    pub struct Timezone {
        pub tz_minuteswest: i32,
        pub tz_dsttime: i32,
    }

    /// Argument of utime(2).
    pub struct Utimbuf {
        pub actime: i64,
        pub modtime: i64,
    }

    /// State of the clock discipline, of adjtimex(2).
    pub struct Timex {
        pub modes: u32,
        pub offset: i64,
        pub freq: i64,
        pub maxerror: i64,
        pub esterror: i64,
        pub status: i32,
        pub constant: i64,
        pub precision: i64,
        pub tolerance: i64,
        pub time: Timeval,
        pub tick: i64,
        pub ppsfreq: i64,
        pub jitter: i64,
        pub shift: i32,
        pub stabil: i64,
        pub jitcnt: i64,
        pub calcnt: i64,
        pub errcnt: i64,
        pub stbcnt: i64,
        pub tai: i32,
        pub unused: [i32; 11],
    }
}

impl Timespec {
    /// The time as nanoseconds; `None` when it is out of range of `i64` or not normalised
    /// (`tv_nsec` outside 0..1e9) or negative.
    pub fn to_ns(self) -> Option<u64> {
        if self.tv_sec < 0 || !(0..NSEC_PER_SEC).contains(&self.tv_nsec) {
            return None;
        }
        let ns = self
            .tv_sec
            .checked_mul(NSEC_PER_SEC)?
            .checked_add(self.tv_nsec)?;
        u64::try_from(ns).ok()
    }

    /// Splits nanoseconds into seconds and nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_nsec: (ns % 1_000_000_000) as i64,
        }
    }
}

impl Timeval {
    /// The time as nanoseconds; `None` as for [`Timespec::to_ns`].
    pub fn to_ns(self) -> Option<u64> {
        if !(0..USEC_PER_SEC).contains(&self.tv_usec) {
            return None;
        }
        Timespec {
            tv_sec: self.tv_sec,
            tv_nsec: self.tv_usec * NSEC_PER_USEC,
        }
        .to_ns()
    }

    /// Splits nanoseconds into seconds and microseconds, rounding down.
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_usec: (ns % 1_000_000_000 / 1_000) as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((Timespec::SIZE, Timeval::SIZE, Timezone::SIZE), (16, 16, 8));
        assert_eq!(
            (Itimerspec::SIZE, Itimerval::SIZE, Utimbuf::SIZE),
            (32, 32, 16)
        );
        assert_eq!(Timex::SIZE, 208);
        assert_eq!(core::mem::offset_of!(Timex, time), 72);
    }

    #[test]
    fn only_normalised_times_have_nanoseconds() {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        assert_eq!(time(2, 5).to_ns(), Some(2_000_000_005));
        assert_eq!(time(0, 1_000_000_000).to_ns(), None);
        assert_eq!(time(0, -1).to_ns(), None);
        assert_eq!(time(-1, 0).to_ns(), None);
        assert_eq!(time(i64::MAX, 0).to_ns(), None);
        assert_eq!(Timespec::from_ns(2_000_000_005), time(2, 5));
        assert_eq!(
            Timeval::from_ns(1_000_001_999),
            Timeval {
                tv_sec: 1,
                tv_usec: 1
            }
        );
        assert_eq!(
            Timeval {
                tv_sec: 1,
                tv_usec: 1
            }
            .to_ns(),
            Some(1_000_001_000)
        );
    }
}
