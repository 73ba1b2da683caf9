//! Time (Linux: kernel/time/).
//!
//! | file | part |
//! |---|---|
//! | `timekeeping.rs` | clock sources; CLOCK_MONOTONIC, CLOCK_REALTIME, `sched_clock` |
//! | `clocksource.rs` | how long a clock source may go unread |
//! | `timer.rs` | the timer wheel (jiffies) |
//! | `hrtimer.rs` | timers in nanoseconds |
//! | `tick.rs` | clock event devices, the periodic tick |
//! | `posix.rs` | clock and sleep system calls |
//! | `itimer.rs` | setitimer(2), alarm(2) |
//! | `ntp.rs` | adjtimex(2): the clock goes a little faster or slower |
//! | `posix_timers.rs` | timer_create(2) and its relatives |
//! | `posix_cpu_timers.rs` | clocks of used time, and timers on them |
//! | `deadline.rs` | what timers on all clocks have in common: when, and how often |
#![forbid(unsafe_code)]

mod clocksource;
pub mod deadline;
pub mod hrtimer;
pub mod itimer;
pub mod ntp;
pub mod posix;
pub mod posix_cpu_timers;
pub mod posix_timers;
pub mod tick;
pub mod timekeeping;
pub mod timer;

pub use hrtimer::{schedule_hrtimeout, sleep_until_interruptible};
pub use tick::{ClockEventDevice, clockevents_register_device, timer_interrupt};
pub use timekeeping::{
    ClockSource, clocksource_register, ktime_get, ktime_get_boottime, ktime_get_real, sched_clock,
    sched_clock_register,
};
pub use timer::jiffies;

use uapi::time::{Timespec, Timeval};

use crate::prelude::*;

/// Ticks per second.
pub const HZ: u64 = 250;
/// Nanoseconds in a second.
pub const NSEC_PER_SEC: u64 = 1_000_000_000;
/// Nanoseconds in a tick.
pub const TICK_NSEC: u64 = NSEC_PER_SEC / HZ;
/// Clock ticks per second as user space sees them (times(2), /proc/PID/stat).
pub const USER_HZ: u64 = 100;

/// Nanoseconds of a non-negative time. Errors: EINVAL for a malformed one.
/// Times beyond 584 years saturate.
pub fn timespec_to_ns(time: &Timespec) -> Result<u64> {
    if time.tv_sec < 0 || !(0..NSEC_PER_SEC as i64).contains(&time.tv_nsec) {
        return Err(Errno::EINVAL);
    }
    Ok((time.tv_sec as u64)
        .saturating_mul(NSEC_PER_SEC)
        .saturating_add(time.tv_nsec as u64))
}

/// Nanoseconds of a non-negative time. Errors: EINVAL.
pub fn timeval_to_ns(time: &Timeval) -> Result<u64> {
    if time.tv_sec < 0 || !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EINVAL);
    }
    Ok((time.tv_sec as u64)
        .saturating_mul(NSEC_PER_SEC)
        .saturating_add(time.tv_usec as u64 * 1000))
}

/// Seconds and nanoseconds.
pub fn ns_to_timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: (ns / NSEC_PER_SEC) as i64,
        tv_nsec: (ns % NSEC_PER_SEC) as i64,
    }
}

/// Seconds and microseconds, rounded down.
pub fn ns_to_timeval(ns: u64) -> Timeval {
    Timeval {
        tv_sec: (ns / NSEC_PER_SEC) as i64,
        tv_usec: (ns % NSEC_PER_SEC / 1000) as i64,
    }
}

/// Clock ticks as user space counts them.
pub fn nsec_to_clock_t(ns: u64) -> u64 {
    ns / (NSEC_PER_SEC / USER_HZ)
}

/// Ticks in a time, rounded up (Linux: `nsecs_to_jiffies`).
pub fn ns_to_jiffies(ns: u64) -> u64 {
    ns.div_ceil(TICK_NSEC)
}
