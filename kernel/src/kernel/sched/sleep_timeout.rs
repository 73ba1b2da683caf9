//! Sleeping for a time (Linux: kernel/time/sleep_timeout.c).
#![forbid(unsafe_code)]

use super::core::{__set_current_state, current, schedule, set_current_state, wake_up_process};
use super::task::state::*;
use crate::kernel::time::{self, timer::Timer};

/// `schedule_timeout` without an end.
pub const MAX_SCHEDULE_TIMEOUT: u64 = u64::MAX;

/// Sleeps for `timeout` jiffies at most in the state that was set before; returns what is left.
pub fn schedule_timeout(timeout: u64) -> u64 {
    if timeout == MAX_SCHEDULE_TIMEOUT {
        schedule();
        return timeout;
    }
    let expires = time::jiffies().saturating_add(timeout);
    let sleeper = current().to_arc();
    let alarm = Timer::new(move || {
        wake_up_process(&sleeper);
    });
    alarm.mod_timer(expires);
    schedule();
    alarm.del_timer(); // no longer needed if something else woke the task
    expires.saturating_sub(time::jiffies())
}

/// Sleeps in the state that was set before until `deadline`, ns of CLOCK_MONOTONIC (`None`: no
/// end); false when the time is over.
#[inline]
pub(super) fn schedule_until(deadline: Option<u64>) -> bool {
    match deadline {
        Some(deadline) => !time::schedule_hrtimeout(deadline),
        None => {
            schedule();
            true
        }
    }
}

/// The deadline that is `timeout_ns` from now; `None` when that is never.
pub(super) fn deadline_in(timeout_ns: u64) -> Option<u64> {
    time::ktime_get().checked_add(timeout_ns)
}

fn schedule_timeout_in(state: u32, timeout: u64) -> u64 {
    set_current_state(state);
    let left = schedule_timeout(timeout);
    __set_current_state(TASK_RUNNING);
    left
}
/// Sleeps `timeout` jiffies; a signal ends it early.
pub fn schedule_timeout_interruptible(timeout: u64) -> u64 {
    schedule_timeout_in(TASK_INTERRUPTIBLE, timeout)
}
/// Sleeps `timeout` jiffies; a fatal signal ends it early.
pub fn schedule_timeout_killable(timeout: u64) -> u64 {
    schedule_timeout_in(TASK_KILLABLE, timeout)
}
/// Sleeps `timeout` jiffies.
pub fn schedule_timeout_uninterruptible(timeout: u64) -> u64 {
    schedule_timeout_in(TASK_UNINTERRUPTIBLE, timeout)
}
/// Sleeps `timeout` jiffies without counting as load.
pub fn schedule_timeout_idle(timeout: u64) -> u64 {
    schedule_timeout_in(TASK_IDLE, timeout)
}
