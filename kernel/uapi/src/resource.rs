//! Resource limits and usage. Linux: asm-generic/resource.h, linux/resource.h.

use crate::time::Timeval;

// Resources of prlimit64(2).
/// Seconds of CPU time.
pub const RLIMIT_CPU: u32 = 0;
/// Bytes of one file.
pub const RLIMIT_FSIZE: u32 = 1;
/// Bytes of data segment.
pub const RLIMIT_DATA: u32 = 2;
/// Bytes of stack.
pub const RLIMIT_STACK: u32 = 3;
/// Bytes of core file.
pub const RLIMIT_CORE: u32 = 4;
/// Bytes of resident memory; not enforced by Linux either.
pub const RLIMIT_RSS: u32 = 5;
/// Processes of the user.
pub const RLIMIT_NPROC: u32 = 6;
/// One more than the greatest descriptor.
pub const RLIMIT_NOFILE: u32 = 7;
/// Bytes of locked memory.
pub const RLIMIT_MEMLOCK: u32 = 8;
/// Bytes of address space.
pub const RLIMIT_AS: u32 = 9;
/// File locks.
pub const RLIMIT_LOCKS: u32 = 10;
/// Queued signals of the user.
pub const RLIMIT_SIGPENDING: u32 = 11;
/// Bytes of POSIX message queues.
pub const RLIMIT_MSGQUEUE: u32 = 12;
/// Greatest allowed 20 - nice.
pub const RLIMIT_NICE: u32 = 13;
/// Greatest real-time priority.
pub const RLIMIT_RTPRIO: u32 = 14;
/// Microseconds of real-time CPU without a blocking call.
pub const RLIMIT_RTTIME: u32 = 15;
/// Number of resources.
pub const RLIM_NLIMITS: u32 = 16;

/// No limit.
pub const RLIM_INFINITY: u64 = u64::MAX;
/// Default soft stack limit, in bytes.
pub const _STK_LIM: u64 = 8 * 1024 * 1024;
/// Default locked memory limit, in bytes.
pub const MLOCK_LIMIT: u64 = 8 * 1024 * 1024;

/// Default soft `RLIMIT_NOFILE`.
pub const INR_OPEN_CUR: u32 = 1024;
/// Default hard `RLIMIT_NOFILE`.
pub const INR_OPEN_MAX: u32 = 4096;

// `who` of getrusage(2).
pub const RUSAGE_SELF: i32 = 0;
pub const RUSAGE_CHILDREN: i32 = -1;
/// Wait4(2) only.
pub const RUSAGE_BOTH: i32 = -2;
pub const RUSAGE_THREAD: i32 = 1;

// `which` of getpriority(2).
pub const PRIO_PROCESS: i32 = 0;
pub const PRIO_PGRP: i32 = 1;
pub const PRIO_USER: i32 = 2;
pub const PRIO_MIN: i32 = -20;
pub const PRIO_MAX: i32 = 20;

// `which` and class of ioprio_get(2).
pub const IOPRIO_WHO_PROCESS: i32 = 1;
pub const IOPRIO_WHO_PGRP: i32 = 2;
pub const IOPRIO_WHO_USER: i32 = 3;
pub const IOPRIO_CLASS_SHIFT: i32 = 13;
pub const IOPRIO_CLASS_NONE: i32 = 0;
pub const IOPRIO_CLASS_RT: i32 = 1;
pub const IOPRIO_CLASS_BE: i32 = 2;
pub const IOPRIO_CLASS_IDLE: i32 = 3;
pub const IOPRIO_NORM: i32 = 4;

pod_struct! {
    /// A soft and a hard limit (`struct rlimit64`).
    pub struct Rlimit {
        pub rlim_cur: u64,
        pub rlim_max: u64,
    }

    /// Result of getrusage(2) and wait4(2).
    pub struct Rusage {
        pub ru_utime: Timeval,
        pub ru_stime: Timeval,
        /// In KiB.
        pub ru_maxrss: i64,
        pub ru_ixrss: i64,
        pub ru_idrss: i64,
        pub ru_isrss: i64,
        pub ru_minflt: i64,
        pub ru_majflt: i64,
        pub ru_nswap: i64,
        /// In units of 512 bytes.
        pub ru_inblock: i64,
        /// In units of 512 bytes.
        pub ru_oublock: i64,
        pub ru_msgsnd: i64,
        pub ru_msgrcv: i64,
        pub ru_nsignals: i64,
        pub ru_nvcsw: i64,
        pub ru_nivcsw: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((Rlimit::SIZE, Rusage::SIZE), (16, 144));
    }
}
