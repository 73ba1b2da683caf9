//! The resource limits that files know (Linux: include/linux/sched/signal.h, `rlimit`).
#![forbid(unsafe_code)]

use crate::kernel::sched::current;

/// The running task's soft limit; numbers are those of `uapi::resource`.
#[inline]
pub fn rlimit(resource: u32) -> u64 {
    current().signal.rlimit(resource)
}
