//! Changing how a task is scheduled, whatever it does meanwhile (Linux: kernel/sched/core.c,
//! `__set_cpus_allowed_ptr`; the dequeue and enqueue pairs of kernel/sched/syscalls.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::entity::Class;
use super::fair::Enqueue;
use super::rq::{self, Rq, cpu_rq};
use super::task::Task;
use crate::prelude::*;

/// Weight of a fair task.
pub(super) fn weight_of(policy: u32, nice: i32) -> u64 {
    if policy == uapi::sched::SCHED_IDLE {
        super::fair::WEIGHT_IDLEPRIO
    } else {
        super::fair::nice_to_weight(nice)
    }
}

/// Changes scheduling parameters of a task in whatever state it is: takes it off its queue,
/// calls `change`, puts it back (Linux: the dequeue/enqueue pairs of `__sched_setscheduler`).
pub(super) fn change_task(task: &Task, change: impl FnOnce(&mut Rq, &Task)) {
    let _wakers = task.se.wake_lock.lock();
    let mut rq = cpu_rq(task.se.cpu()).lock();
    rq.update_clock();
    rq.update_curr();
    let before = task.se.class();
    let queued = task.se.on_rq.load(Ordering::Relaxed);
    let running = rq.curr.as_ref().is_some_and(|c| core::ptr::eq(&**c, task));
    let taken = if queued && !running {
        rq.dequeue_waiting(task)
    } else {
        None
    };
    change(&mut rq, task);
    let after = task.se.class();
    if queued && before != after {
        rq.recount(before, after);
    }
    if let Some(taken) = taken {
        rq.enqueue(after, taken, Enqueue::Restore);
        rq.check_preempt_curr(task);
    } else if running {
        if before != after && after == Class::Fair {
            let curr = rq.curr.take();
            rq.cfs.place(None, &task.se, Enqueue::Restore);
            rq.curr = curr;
        }
        rq.resched_curr();
    }
}

/// The new weight of a fair task, wherever it is; call inside `change_task`.
pub(super) fn set_load_weight(rq: &mut Rq, task: &Task) {
    let weight = weight_of(task.se.policy(), task.se.nice());
    let running = rq.curr.as_ref().is_some_and(|c| core::ptr::eq(&**c, task));
    if running && task.se.class() == Class::Fair && task.se.on_rq.load(Ordering::Relaxed) {
        rq.cfs.reweight(Some(&task.se), &task.se, weight);
    } else {
        task.se.weight.set(weight);
    }
}

/// Limits a task to the CPUs of `mask`, which has an active one (Linux: `set_cpus_allowed_ptr`).
/// Errors: EINVAL when no active CPU is left.
pub fn set_cpus_allowed(task: &Task, mask: u64) -> Result {
    if mask & rq::cpu_active_mask() == 0 {
        return Err(Errno::EINVAL);
    }
    task.se.cpus_mask.store(mask, Ordering::Relaxed);
    // With one CPU nobody is in the wrong place; SMP bring-up adds the move here.
    Ok(())
}
