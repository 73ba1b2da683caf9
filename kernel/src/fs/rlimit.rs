//! The resource limits that files know (Linux: include/linux/sched/signal.h, `rlimit`).
#![forbid(unsafe_code)]

use uapi::resource::{INR_OPEN_CUR, RLIM_INFINITY, RLIMIT_NOFILE};

/// The running task's soft limit.
pub fn rlimit(resource: u32) -> u64 {
    match resource {
        RLIMIT_NOFILE => u64::from(INR_OPEN_CUR),
        _ => RLIM_INFINITY,
    }
}
