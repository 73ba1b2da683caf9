//! Changing how a task is scheduled, whatever it does meanwhile (Linux: kernel/sched/core.c,
//! `__set_cpus_allowed_ptr`; the dequeue and enqueue pairs of kernel/sched/syscalls.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::balance;
use super::entity::Class;
use super::fair::Enqueue;
use super::rq::{self, Rq, double_rq_lock, task_rq_lock};
use super::task::{Task, pf};
use crate::kernel::stop_machine::stop_one_cpu;
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
    let mut rq = task_rq_lock(task);
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

/// Limits a task to the CPUs of `mask` and moves it there if it is runnable elsewhere
/// (Linux: `set_cpus_allowed_ptr`). May sleep. Errors: EINVAL when no active CPU is left, or for a
/// kernel thread that belongs to its CPU.
pub fn set_cpus_allowed(task: &Arc<Task>, mask: u64) -> Result {
    if mask & rq::cpu_active_mask() == 0 || task.has_flag(pf::PF_NO_SETAFFINITY) {
        return Err(Errno::EINVAL);
    }
    {
        let _wakers = task.se.wake_lock.lock();
        let _rq = task_rq_lock(task);
        task.se.cpus_mask.store(mask, Ordering::Relaxed);
    }
    // Running, it can only be moved by something that runs instead of it. It may go somewhere
    // else by itself meanwhile, or get another mask: then there is nothing left to do.
    while let Some(cpu) = leave_forbidden_cpu(task) {
        let moved = task.clone();
        stop_one_cpu(cpu, move || {
            leave_forbidden_cpu(&moved);
        })?;
    }
    Ok(())
}

/// Moves a task that waits on a CPU where it must not run. The CPU, if it runs there
/// (Linux: `affine_move_task`, `migration_cpu_stop`).
fn leave_forbidden_cpu(task: &Task) -> Option<usize> {
    let _wakers = task.se.wake_lock.lock();
    loop {
        let cpu = task.se.cpu();
        let allowed = task.se.cpus_mask() & rq::cpu_active_mask();
        if allowed & 1 << cpu != 0 || allowed == 0 {
            return None;
        }
        let (mut from, mut to) = double_rq_lock(cpu, balance::least_loaded(allowed));
        if task.se.cpu() != cpu {
            continue;
        }
        if !task.se.on_rq.load(Ordering::Relaxed) {
            return None; // asleep: whoever wakes it looks at the mask
        }
        if from
            .curr
            .as_ref()
            .is_some_and(|c| core::ptr::eq(&**c, task))
        {
            return Some(cpu);
        }
        from.move_to(&mut to, task);
        return None;
    }
}

/// Makes a kernel thread that has not run yet belong to one CPU for ever, which need not run yet
/// (Linux: `kthread_bind`). May sleep.
pub fn kthread_bind(task: &Task, cpu: usize) {
    wait_task_inactive(task);
    let _wakers = task.se.wake_lock.lock();
    task.se.cpus_mask.store(1 << cpu, Ordering::Relaxed);
    task.flags
        .fetch_or(pf::PF_NO_SETAFFINITY, Ordering::Relaxed);
}

/// Waits until a task that goes to sleep has left its CPU (Linux: `wait_task_inactive`).
fn wait_task_inactive(task: &Task) {
    while task.se.is_queued() || task.se.is_running() {
        super::yield_now();
    }
}

/// Makes a kernel thread that has not run yet the stopper of its CPU
/// (Linux: `sched_set_stop_task`).
pub fn sched_set_stop_task(task: &Task) {
    change_task(task, |_, task| task.se.set_class(Class::Stop));
}
