//! Threads and scheduling. Linux: linux/sched.h, linux/sched/types.h, linux/personality.h.

// Flags of clone(2), clone3(2), unshare(2) and setns(2).
/// Mask of the exit signal in the flags of clone(2).
pub const CSIGNAL: u64 = 0xff;
/// Unshare(2) and clone3(2) only.
pub const CLONE_NEWTIME: u64 = 0x80;
pub const CLONE_VM: u64 = 0x100;
pub const CLONE_FS: u64 = 0x200;
pub const CLONE_FILES: u64 = 0x400;
pub const CLONE_SIGHAND: u64 = 0x800;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_PTRACE: u64 = 0x2000;
pub const CLONE_VFORK: u64 = 0x4000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_THREAD: u64 = 0x1_0000;
pub const CLONE_NEWNS: u64 = 0x2_0000;
pub const CLONE_SYSVSEM: u64 = 0x4_0000;
pub const CLONE_SETTLS: u64 = 0x8_0000;
pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
pub const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
pub const CLONE_DETACHED: u64 = 0x40_0000;
pub const CLONE_UNTRACED: u64 = 0x80_0000;
pub const CLONE_CHILD_SETTID: u64 = 0x100_0000;
pub const CLONE_NEWCGROUP: u64 = 0x200_0000;
pub const CLONE_NEWUTS: u64 = 0x400_0000;
pub const CLONE_NEWIPC: u64 = 0x800_0000;
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
pub const CLONE_NEWPID: u64 = 0x2000_0000;
pub const CLONE_NEWNET: u64 = 0x4000_0000;
pub const CLONE_IO: u64 = 0x8000_0000;
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Smallest size that clone3(2) takes, in bytes.
pub const CLONE_ARGS_SIZE_VER0: usize = 64;
pub const CLONE_ARGS_SIZE_VER1: usize = 80;
pub const CLONE_ARGS_SIZE_VER2: usize = 88;
/// Smallest size that sched_setattr(2) takes, in bytes.
pub const SCHED_ATTR_SIZE_VER0: usize = 48;
pub const SCHED_ATTR_SIZE_VER1: usize = 56;

// Policies.
pub const SCHED_NORMAL: u32 = 0;
pub const SCHED_OTHER: u32 = SCHED_NORMAL;
pub const SCHED_FIFO: u32 = 1;
pub const SCHED_RR: u32 = 2;
pub const SCHED_BATCH: u32 = 3;
pub const SCHED_IDLE: u32 = 5;
pub const SCHED_DEADLINE: u32 = 6;
pub const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

// `sched_flags` of `SchedAttr`.
pub const SCHED_FLAG_RESET_ON_FORK: u64 = 0x01;
pub const SCHED_FLAG_RECLAIM: u64 = 0x02;
pub const SCHED_FLAG_DL_OVERRUN: u64 = 0x04;
pub const SCHED_FLAG_KEEP_POLICY: u64 = 0x08;
pub const SCHED_FLAG_KEEP_PARAMS: u64 = 0x10;
pub const SCHED_FLAG_UTIL_CLAMP_MIN: u64 = 0x20;
pub const SCHED_FLAG_UTIL_CLAMP_MAX: u64 = 0x40;

// Personalities of personality(2).
pub const PER_LINUX: u32 = 0;
pub const PER_LINUX32: u32 = 8;
pub const PER_MASK: u32 = 0xff;
pub const ADDR_NO_RANDOMIZE: u32 = 0x4_0000;
pub const MMAP_PAGE_ZERO: u32 = 0x10_0000;
pub const ADDR_COMPAT_LAYOUT: u32 = 0x20_0000;
pub const READ_IMPLIES_EXEC: u32 = 0x40_0000;
pub const ADDR_LIMIT_32BIT: u32 = 0x80_0000;
pub const ADDR_LIMIT_3GB: u32 = 0x800_0000;

// Flags of pidfd_open(2).
pub const PIDFD_NONBLOCK: u32 = 0o4000;

pod_struct! {
    /// Arguments of clone3(2); a program may pass a shorter structure.
    pub struct CloneArgs {
        pub flags: u64,
        pub pidfd: u64,
        pub child_tid: u64,
        pub parent_tid: u64,
        pub exit_signal: u64,
        pub stack: u64,
        pub stack_size: u64,
        pub tls: u64,
        pub set_tid: u64,
        pub set_tid_size: u64,
        pub cgroup: u64,
    }

    /// Argument of sched_setparam(2).
    pub struct SchedParam {
        pub sched_priority: i32,
    }

    /// Argument of sched_setattr(2) and result of sched_getattr(2).
    pub struct SchedAttr {
        /// Size of the structure that the program knows, in bytes.
        pub size: u32,
        pub sched_policy: u32,
        pub sched_flags: u64,
        pub sched_nice: i32,
        pub sched_priority: u32,
        /// In nanoseconds, as the two fields that follow.
        pub sched_runtime: u64,
        pub sched_deadline: u64,
        pub sched_period: u64,
        pub sched_util_min: u32,
        pub sched_util_max: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!(
            (CloneArgs::SIZE, SchedParam::SIZE),
            (CLONE_ARGS_SIZE_VER2, 4)
        );
        assert_eq!(SchedAttr::SIZE, SCHED_ATTR_SIZE_VER1);
    }
}
