//! The real-time class: SCHED_FIFO and SCHED_RR (Linux: kernel/sched/rt.c).
//!
//! One list for each priority 1..=99 and a bit map of the lists that are not empty. The running
//! task is in no list; it is put back at the front when something more urgent preempts it and at
//! the end when its round-robin slice is over or it yields.

use core::sync::atomic::Ordering;

use intrusive_collections::{LinkedList, LinkedListAtomicLink, intrusive_adapter};

use super::entity::SchedState;
use crate::kernel::sched::task::Task;
use crate::kernel::time::HZ;
use crate::prelude::*;

/// Real-time priorities are 1..=99 for users, 99 the most urgent.
pub const MAX_RT_PRIO: u32 = 100;
/// Round-robin slice: 100 ms (Linux: `RR_TIMESLICE`).
pub const RR_TIMESLICE_TICKS: u32 = (HZ / 10) as u32;
/// Period over which real-time run time is limited, ns (Linux: `sched_rt_period_us`).
const RT_PERIOD_NS: u64 = 1_000_000_000;
/// Run time per period that leaves the rest to fair tasks, ns (Linux: `sched_rt_runtime_us`).
const RT_RUNTIME_NS: u64 = 950_000_000;

intrusive_adapter!(RtAdapter = Arc<Task>: Task { se.rt_node => LinkedListAtomicLink });

/// Real-time tasks of one CPU (Linux: `struct rt_rq`).
pub(super) struct RtRq {
    lists: [LinkedList<RtAdapter>; MAX_RT_PRIO as usize],
    /// Bit n: list n is not empty.
    bitmap: u128,
    /// Run time used in this period, ns.
    rt_time: u64,
    /// Start of this period.
    period_start: u64,
    throttled: bool,
}

/// The list of a task; out-of-range priorities cannot come in (`SchedState` is set by checked code).
fn list_of(se: &SchedState) -> usize {
    (se.rt_priority().min(MAX_RT_PRIO - 1)) as usize
}

impl RtRq {
    pub(super) const fn new() -> Self {
        Self {
            lists: [const { LinkedList::new(RtAdapter::NEW) }; MAX_RT_PRIO as usize],
            bitmap: 0,
            rt_time: 0,
            period_start: 0,
            throttled: false,
        }
    }

    /// Highest priority that waits.
    #[inline]
    pub(super) fn highest(&self) -> Option<u32> {
        (self.bitmap != 0).then(|| 127 - self.bitmap.leading_zeros())
    }

    /// Queues behind its equals.
    pub(super) fn enqueue(&mut self, task: Arc<Task>) {
        let list = list_of(&task.se);
        self.bitmap |= 1 << list;
        self.lists[list].push_back(task);
    }

    /// Puts the running task back: in front of its equals unless it gave way.
    pub(super) fn put_prev(&mut self, task: Arc<Task>) {
        let list = list_of(&task.se);
        self.bitmap |= 1 << list;
        if task.se.rt_requeue.swap(false, Ordering::Relaxed) {
            self.lists[list].push_back(task);
        } else {
            self.lists[list].push_front(task);
        }
    }

    /// Takes a queued task out.
    pub(super) fn remove(&mut self, task: &Task) -> Arc<Task> {
        debug_assert!(task.se.rt_node.is_linked());
        let list = list_of(&task.se);
        // SAFETY: a queued real-time task is in the list of its priority; run-queue lock held.
        let removed = unsafe { self.lists[list].cursor_mut_from_ptr(task) }.remove();
        self.update_bitmap(list);
        removed.expect("a queued task is in its list")
    }

    fn update_bitmap(&mut self, list: usize) {
        if self.lists[list].is_empty() {
            self.bitmap &= !(1 << list);
        }
    }

    /// The most urgent task that waits and suits.
    pub(super) fn find(&self, suits: impl Fn(&Task) -> bool) -> Option<&Task> {
        let mut lists = self.bitmap;
        while lists != 0 {
            let list = 127 - lists.leading_zeros();
            lists &= !(1 << list);
            if let Some(task) = self.lists[list as usize].iter().find(|task| suits(task)) {
                return Some(task);
            }
        }
        None
    }

    /// Takes out the first task of the highest priority.
    pub(super) fn pick(&mut self) -> Option<Arc<Task>> {
        let list = self.highest()? as usize;
        let task = self.lists[list].pop_front();
        self.update_bitmap(list);
        task
    }

    /// Charges run time (Linux: `update_curr_rt`).
    pub(super) fn update_curr(&mut self, se: &SchedState, now: u64) {
        let delta = now.saturating_sub(se.exec_start.get());
        se.exec_start.set(now);
        se.sum_exec_runtime.set(se.sum_exec_runtime.get() + delta);
        self.rt_time = self.rt_time.saturating_add(delta);
    }

    /// The tick of a running real-time task; true when an equal should have its turn.
    pub(super) fn tick(&self, se: &SchedState) -> bool {
        if se.policy() != uapi::sched::SCHED_RR {
            return false;
        }
        let left = se.rr_ticks.load(Ordering::Relaxed).saturating_sub(1);
        if left > 0 {
            se.rr_ticks.store(left, Ordering::Relaxed);
            return false;
        }
        se.rr_ticks.store(RR_TIMESLICE_TICKS, Ordering::Relaxed);
        let equals_wait = self.bitmap & (1 << list_of(se)) != 0;
        if equals_wait {
            se.rt_requeue.store(true, Ordering::Relaxed);
        }
        equals_wait
    }

    /// Real-time tasks must let fair ones run now.
    #[inline]
    pub(super) fn throttled(&self) -> bool {
        self.throttled
    }

    /// Limits real-time tasks to 95 % of the CPU so that a runaway one can still be killed
    /// (Linux: `sched_rt_runtime_exceeded`). Returns true when the answer changed.
    pub(super) fn update_throttle(&mut self, now: u64) -> bool {
        let before = self.throttled;
        if now.saturating_sub(self.period_start) >= RT_PERIOD_NS {
            self.period_start = now;
            self.rt_time = self
                .rt_time
                .saturating_sub(RT_RUNTIME_NS)
                .min(RT_RUNTIME_NS);
        }
        self.throttled = self.rt_time >= RT_RUNTIME_NS;
        self.throttled != before
    }
}
