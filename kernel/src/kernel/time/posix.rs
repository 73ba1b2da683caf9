//! Clock and sleep system calls (Linux: kernel/time/posix-timers.c, kernel/time/time.c).

use core::sync::atomic::Ordering;

use uapi::time::*;
use uapi::times::Tms;

use super::posix_cpu_timers::CpuClock;
use super::{
    NSEC_PER_SEC, TICK_NSEC, hrtimer, jiffies, ktime_get, ktime_get_boottime, ktime_get_real,
    ns_to_timespec, ns_to_timeval, nsec_to_clock_t, timekeeping, timespec_to_ns, timeval_to_ns,
};
use crate::kernel::sched::current;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::signal::RestartBlock;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

const CAP_SYS_TIME: u32 = 25;

/// Sleepers until an absolute CLOCK_REALTIME; woken when that clock is set.
static REALTIME_SLEEPERS: WaitQueueHead = WaitQueueHead::new();

pub(super) fn wake_realtime_sleepers() {
    REALTIME_SLEEPERS.wake_up_all();
}

/// Reads a clock, ns. Errors: EINVAL for an unknown one.
fn clock_now(clock: i32) -> Result<u64> {
    Ok(match clock {
        CLOCK_REALTIME | CLOCK_TAI => ktime_get_real(),
        CLOCK_REALTIME_COARSE => ktime_get_real() / TICK_NSEC * TICK_NSEC,
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW => ktime_get(),
        CLOCK_MONOTONIC_COARSE => ktime_get() / TICK_NSEC * TICK_NSEC,
        CLOCK_BOOTTIME => ktime_get_boottime(),
        _ => return CpuClock::for_reading(clock)?.now().ok_or(Errno::EINVAL),
    })
}

/// clock_gettime(2).
pub fn sys_clock_gettime(clock: i32, time: UserAddr) -> Result {
    put_user(time, &ns_to_timespec(clock_now(clock)?))
}

/// clock_getres(2).
pub fn sys_clock_getres(clock: i32, resolution: UserAddr) -> Result {
    clock_now(clock)?;
    let coarse = matches!(clock, CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE);
    if resolution.is_null() {
        return Ok(());
    }
    put_user(
        resolution,
        &ns_to_timespec(if coarse { TICK_NSEC } else { 1 }),
    )
}

pub(super) fn check_may_set_time() -> Result {
    if current().cred().has_cap(CAP_SYS_TIME) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// clock_settime(2). Errors: EINVAL for a clock that cannot be set, EPERM.
pub fn sys_clock_settime(clock: i32, time: UserAddr) -> Result {
    let ns = timespec_to_ns(&get_user::<Timespec>(time)?)?;
    if clock != CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    check_may_set_time()?;
    timekeeping::set_real_time(ns);
    Ok(())
}

/// gettimeofday(2).
pub fn sys_gettimeofday(time: UserAddr, zone: UserAddr) -> Result {
    if !time.is_null() {
        put_user(time, &ns_to_timeval(ktime_get_real()))?;
    }
    if !zone.is_null() {
        put_user(zone, &Timezone::default())?;
    }
    Ok(())
}

/// settimeofday(2).
pub fn sys_settimeofday(time: UserAddr, zone: UserAddr) -> Result {
    let new = match time.is_null() {
        true => None,
        false => Some(timeval_to_ns(&get_user::<Timeval>(time)?)?),
    };
    check_may_set_time()?;
    if !zone.is_null() {
        get_user::<Timezone>(zone)?; // accepted: the RTC runs in UTC
    }
    if let Some(ns) = new {
        timekeeping::set_real_time(ns);
    }
    Ok(())
}

/// time(2).
pub fn sys_time(location: UserAddr) -> Result<u64> {
    let seconds = ktime_get_real() / NSEC_PER_SEC;
    if !location.is_null() {
        put_user(location, &seconds)?;
    }
    Ok(seconds)
}

/// stime is not an x86_64 call; times(2) gives clock ticks (USER_HZ).
pub fn sys_times(buffer: UserAddr) -> Result<u64> {
    if !buffer.is_null() {
        put_user(buffer, &current_times())?;
    }
    Ok(nsec_to_clock_t(jiffies() * TICK_NSEC))
}

fn current_times() -> Tms {
    let signal = &current().signal;
    let mut utime = signal.times.utime.load(Ordering::Relaxed);
    let mut stime = signal.times.stime.load(Ordering::Relaxed);
    for thread in signal.thread_list() {
        utime += thread.utime.load(Ordering::Relaxed);
        stime += thread.stime.load(Ordering::Relaxed);
    }
    Tms {
        tms_utime: nsec_to_clock_t(utime) as i64,
        tms_stime: nsec_to_clock_t(stime) as i64,
        tms_cutime: nsec_to_clock_t(signal.child_times.utime.load(Ordering::Relaxed)) as i64,
        tms_cstime: nsec_to_clock_t(signal.child_times.stime.load(Ordering::Relaxed)) as i64,
    }
}

/// nanosleep(2).
pub fn sys_nanosleep(request: UserAddr, remaining: UserAddr) -> Result {
    let ns = timespec_to_ns(&get_user::<Timespec>(request)?)?;
    relative_sleep(CLOCK_MONOTONIC, ns, remaining)
}

/// clock_nanosleep(2). Errors: EINVAL, EOPNOTSUPP, EINTR.
pub fn sys_clock_nanosleep(
    clock: i32,
    flags: u32,
    request: UserAddr,
    remaining: UserAddr,
) -> Result {
    check_sleep_clock(clock)?;
    let ns = timespec_to_ns(&get_user::<Timespec>(request)?)?;
    if flags & TIMER_ABSTIME == 0 {
        return relative_sleep(clock, ns, remaining);
    }
    let slept = match clock {
        CLOCK_REALTIME | CLOCK_TAI => sleep_until_realtime(ns),
        _ => hrtimer::sleep_until_interruptible(Some(ns)),
    };
    slept.map_err(|_| Errno::ERESTARTNOHAND)
}

fn check_sleep_clock(clock: i32) -> Result {
    match clock {
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_TAI => Ok(()),
        CLOCK_PROCESS_CPUTIME_ID
        | CLOCK_THREAD_CPUTIME_ID
        | CLOCK_MONOTONIC_RAW
        | CLOCK_REALTIME_COARSE
        | CLOCK_MONOTONIC_COARSE => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

fn relative_sleep(clock: i32, ns: u64, remaining: UserAddr) -> Result {
    let expires_ns = ktime_get().saturating_add(ns);
    nanosleep_restart(clock, expires_ns, remaining.as_u64())
}

/// Sleeps until `expires_ns` (CLOCK_MONOTONIC). A signal leaves the time left at `remaining` and
/// a restart block. Errors: ERESTART_RESTARTBLOCK, EFAULT.
pub fn nanosleep_restart(clock: i32, expires_ns: u64, remaining: u64) -> Result {
    if hrtimer::sleep_until_interruptible(Some(expires_ns)).is_ok() {
        return Ok(());
    }
    let left = expires_ns.saturating_sub(ktime_get());
    if left == 0 {
        return Ok(());
    }
    if remaining != 0 {
        put_user(UserAddr::new(remaining), &ns_to_timespec(left))?;
    }
    let block = RestartBlock::Nanosleep {
        clock,
        expires_ns,
        remaining,
    };
    current().sigctx.lock().restart = Some(block);
    Err(Errno::ERESTART_RESTARTBLOCK)
}

/// Follows CLOCK_REALTIME when it is set meanwhile.
fn sleep_until_realtime(end: u64) -> Result {
    loop {
        let offset = timekeeping::real_offset();
        let left = (end.saturating_sub(offset)).saturating_sub(ktime_get());
        if left == 0 {
            return Ok(());
        }
        let clock_set = || timekeeping::real_offset() != offset;
        REALTIME_SLEEPERS.wait_event_interruptible_timeout(left, clock_set)?;
    }
}
