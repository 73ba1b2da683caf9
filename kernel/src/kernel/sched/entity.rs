//! What the scheduler keeps for each task (Linux: include/linux/sched.h, `struct sched_entity`,
//! `struct sched_rt_entity` and the scheduling fields of `struct task_struct`).
//!
//! Every word is an atomic with relaxed accesses: the run-queue lock (or, for the wake-up fields,
//! `wake_lock`) orders them, the atomics only make sharing the task between CPUs sound. On x86 a
//! relaxed access is a plain `mov`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use intrusive_collections::{LinkedListAtomicLink, RBTreeAtomicLink};

use super::fair::{BASE_SLICE_NS, NICE_0_LOAD};
use crate::prelude::*;

/// A `u64` that the run-queue lock protects.
#[derive(Default)]
pub(super) struct Word(AtomicU64);

impl Word {
    const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    #[inline]
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Scheduling classes; a lower number always runs first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Class {
    /// The stopper thread of a CPU (Linux: kernel/sched/stop_task.c).
    Stop,
    /// SCHED_FIFO and SCHED_RR.
    Rt,
    /// SCHED_NORMAL, SCHED_BATCH and SCHED_IDLE.
    Fair,
    /// The idle task of a CPU.
    Idle,
}

/// Scheduling state of one task.
pub struct SchedState {
    /// Address of the kernel stack's end mark, 0 when it has none of its own.
    pub(super) stack_end: Word,

    // --- wake-up ---
    /// Serialises wakers of this task and changes of its policy and affinity (Linux: `pi_lock`).
    /// Order: wait queue lock, then this, then the run-queue lock.
    pub(super) wake_lock: IrqSpinLock<()>,
    /// Queued, or running and not going to sleep. Run-queue lock.
    pub(super) on_rq: AtomicBool,
    /// Registers are on a CPU: from just before the switch to it until just after the switch away.
    pub(super) on_cpu: AtomicBool,
    /// The CPU whose run queue it is, or was last, on.
    pub(super) cpu: AtomicU32,
    /// Counts in `nr_uninterruptible` while it sleeps.
    pub(super) contributes_to_load: AtomicBool,

    // --- policy: wake_lock and run-queue lock ---
    class: AtomicU8,
    policy: AtomicU32,
    nice: AtomicI32,
    rt_priority: AtomicU32,
    /// SCHED_RESET_ON_FORK.
    pub(super) reset_on_fork: AtomicBool,
    /// CPUs it may run on, bit n for CPU n.
    pub(super) cpus_mask: AtomicU64,

    // --- run time: run-queue lock ---
    /// Clock when `sum_exec_runtime` was last brought up to date, ns.
    pub(super) exec_start: Word,
    /// CPU time used so far, ns.
    pub(super) sum_exec_runtime: Word,
    /// `sum_exec_runtime` when it was last chosen.
    pub(super) prev_sum_exec_runtime: Word,
    /// Clock when it became runnable, for the time spent waiting (schedstat).
    pub(super) queued_at: Word,
    /// Time spent runnable without a CPU, ns (schedstat `run_delay`).
    pub(super) run_delay: Word,
    /// How often it was chosen (schedstat `pcount`).
    pub(super) pcount: Word,

    // --- fair ---
    pub(super) run_node: RBTreeAtomicLink,
    /// In the tree of eligible entities, rather than in that of the waiting ones.
    pub(super) in_eligible_tree: AtomicBool,
    pub(super) weight: Word,
    pub(super) vruntime: Word,
    pub(super) deadline: Word,
    /// Virtual service owed to it when it left the queue (signed).
    pub(super) vlag: Word,
    /// Deadline it had when it was chosen: until that slice is used up it is not preempted by
    /// an earlier deadline (Linux: RUN_TO_PARITY).
    pub(super) parity: Word,
    /// Length of a request, ns.
    pub(super) slice: Word,

    // --- real time ---
    pub(super) rt_node: LinkedListAtomicLink,
    /// Ticks left of the round-robin slice.
    pub(super) rr_ticks: AtomicU32,
    /// Goes to the end of its list when it is put back (slice over, yield).
    pub(super) rt_requeue: AtomicBool,
}

impl SchedState {
    /// A task of policy SCHED_NORMAL, nice 0, that may run anywhere. `stack_end` is 0 for none.
    pub(super) const fn new(stack_end: u64) -> Self {
        Self {
            stack_end: Word::new(stack_end),
            wake_lock: IrqSpinLock::new(()),
            on_rq: AtomicBool::new(false),
            on_cpu: AtomicBool::new(false),
            cpu: AtomicU32::new(0),
            contributes_to_load: AtomicBool::new(false),
            class: AtomicU8::new(Class::Fair as u8),
            policy: AtomicU32::new(uapi::sched::SCHED_NORMAL),
            nice: AtomicI32::new(0),
            rt_priority: AtomicU32::new(0),
            reset_on_fork: AtomicBool::new(false),
            cpus_mask: AtomicU64::new(u64::MAX),
            exec_start: Word::new(0),
            sum_exec_runtime: Word::new(0),
            prev_sum_exec_runtime: Word::new(0),
            queued_at: Word::new(0),
            run_delay: Word::new(0),
            pcount: Word::new(0),
            run_node: RBTreeAtomicLink::new(),
            in_eligible_tree: AtomicBool::new(false),
            weight: Word::new(NICE_0_LOAD),
            vruntime: Word::new(0),
            deadline: Word::new(0),
            vlag: Word::new(0),
            parity: Word::new(0),
            slice: Word::new(BASE_SLICE_NS),
            rt_node: LinkedListAtomicLink::new(),
            rr_ticks: AtomicU32::new(super::rt::RR_TIMESLICE_TICKS),
            rt_requeue: AtomicBool::new(false),
        }
    }

    /// The class that schedules it.
    #[inline]
    pub(super) fn class(&self) -> Class {
        match self.class.load(Ordering::Relaxed) {
            0 => Class::Stop,
            1 => Class::Rt,
            2 => Class::Fair,
            _ => Class::Idle,
        }
    }
    pub(super) fn set_class(&self, class: Class) {
        self.class.store(class as u8, Ordering::Relaxed);
    }
    /// SCHED_*.
    pub fn policy(&self) -> u32 {
        self.policy.load(Ordering::Relaxed)
    }
    pub(super) fn set_policy(&self, policy: u32) {
        self.policy.store(policy, Ordering::Relaxed);
    }
    /// -20..=19.
    pub fn nice(&self) -> i32 {
        self.nice.load(Ordering::Relaxed)
    }
    pub(super) fn set_nice_value(&self, nice: i32) {
        self.nice.store(nice, Ordering::Relaxed);
    }
    /// 1..=99 for SCHED_FIFO and SCHED_RR, else 0.
    pub fn rt_priority(&self) -> u32 {
        self.rt_priority.load(Ordering::Relaxed)
    }
    pub(super) fn set_rt_priority(&self, priority: u32) {
        self.rt_priority.store(priority, Ordering::Relaxed);
    }
    /// Kernel's own priority number: 0..=99 real time, 100..=139 nice (Linux: `prio`).
    pub fn prio(&self) -> i32 {
        match self.class() {
            Class::Stop => -1,
            Class::Rt => 99 - self.rt_priority() as i32,
            Class::Fair => 120 + self.nice(),
            Class::Idle => 140,
        }
    }
    /// The CPU it runs or ran last on (Linux: `task_cpu`).
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed) as usize
    }
    /// CPUs it may run on, bit n for CPU n.
    pub fn cpus_mask(&self) -> u64 {
        self.cpus_mask.load(Ordering::Relaxed)
    }
    /// CPU time used so far without what is not yet accounted, ns.
    pub fn sum_exec_runtime(&self) -> u64 {
        self.sum_exec_runtime.get()
    }
    /// CPU time (ns), time waited for a CPU (ns), times chosen (Linux: /proc/PID/schedstat).
    pub fn schedstat(&self) -> (u64, u64, u64) {
        (
            self.sum_exec_runtime.get(),
            self.run_delay.get(),
            self.pcount.get(),
        )
    }
    /// Whether it is on a run queue or running.
    pub fn is_queued(&self) -> bool {
        self.on_rq.load(Ordering::Acquire)
    }
    /// Whether a CPU runs it right now.
    pub fn is_running(&self) -> bool {
        self.on_cpu.load(Ordering::Acquire)
    }
}
