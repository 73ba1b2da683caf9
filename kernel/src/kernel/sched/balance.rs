//! Where tasks run (Linux: the load balancing of kernel/sched/fair.c, `select_task_rq`).
//!
//! A task that wakes goes to an idle CPU, the one it ran on if that is idle. A CPU that becomes
//! idle takes a waiting task from another one; a busy CPU's tick tells an idle one that there is
//! something to take; and every few ticks a CPU takes from one that has two more than it has.
//!
//! The numbers come from hints that are read without locks. A second queue is locked only by
//! `try_lock` while a CPU holds its own: whoever is unlucky tries again at the next tick.
#![forbid(unsafe_code)]

use super::core::resched_cpu;
use super::fair::Enqueue;
use super::rq::{self, Rq, cpu_rq, nr_running_hint, overloaded_mask, this_rq};
use super::task::Task;
use crate::arch;
use crate::kernel::cpu::CPU_ONLINE;
use crate::kernel::smp::cpus_of;
use crate::kernel::softirq::{Softirq, open_softirq, raise_softirq};
use crate::kernel::time;
use crate::prelude::*;

/// Ticks between two looks at the other CPUs.
const BALANCE_INTERVAL: u64 = 8;
/// Looks between two where a difference of one counts: three tasks on two CPUs take turns.
const FAIR_TURN: u64 = 4;

/// The CPU that a task shall wake or begin on.
#[inline(always)]
pub(super) fn select_task_rq(task: &Task, how: Enqueue) -> usize {
    if rq::cpu_active_mask() == 1 && CPU_ONLINE.bits() == 1 {
        return 0;
    }
    select_among(task, how)
}

fn select_among(task: &Task, how: Enqueue) -> usize {
    // A kernel thread that belongs to a CPU runs there before others may.
    let usable = if task.is_kthread() {
        CPU_ONLINE.bits()
    } else {
        rq::cpu_active_mask()
    };
    let allowed = match task.se.cpus_mask() & usable {
        0 => rq::cpu_active_mask(), // its CPUs are gone (Linux: `select_fallback_rq`)
        allowed => allowed,
    };
    let last = task.se.cpu();
    let last_allowed = allowed & 1 << last != 0;
    if last_allowed && nr_running_hint(last) == 0 {
        return last;
    }
    if let Some(idle) = cpus_of(allowed).find(|&cpu| nr_running_hint(cpu) == 0) {
        return idle;
    }
    if last_allowed && how != Enqueue::New {
        return last;
    }
    least_loaded(allowed)
}

/// The CPU of a mask, which is not empty, with the fewest runnable tasks.
pub(super) fn least_loaded(mask: u64) -> usize {
    cpus_of(mask)
        .min_by_key(|&cpu| nr_running_hint(cpu))
        .unwrap_or(0)
}

/// This CPU is about to become idle: takes a task that waits elsewhere, if there is one
/// (Linux: `newidle_balance`). This CPU's queue is locked.
#[inline]
pub(super) fn newidle_balance(rq: &mut Rq) {
    if overloaded_mask() & !(1 << rq.cpu) != 0 {
        pull_task(rq, 2);
    }
}

/// Takes one waiting task from the CPU that has most, if that has at least `least`.
fn pull_task(rq: &mut Rq, least: u32) -> bool {
    let here = 1 << rq.cpu;
    if rq::cpu_active_mask() & here == 0 {
        return false;
    }
    let mut candidates = overloaded_mask() & !here;
    while candidates != 0 {
        let busiest = cpus_of(candidates)
            .max_by_key(|&cpu| nr_running_hint(cpu))
            .unwrap_or(0);
        candidates &= !(1 << busiest);
        if nr_running_hint(busiest) < least {
            return false;
        }
        if pull_from(rq, busiest) {
            return true;
        }
    }
    false
}

fn pull_from(rq: &mut Rq, busiest: usize) -> bool {
    let here = 1 << rq.cpu;
    let Some(mut from) = cpu_rq(busiest).try_lock() else {
        return false;
    };
    let may_come = |task: &Task| task.se.cpus_mask() & here != 0;
    let Some(task) = from.find_waiting(may_come) else {
        return false;
    };
    let task = super::core::task_arc(task);
    from.move_to(rq, &task);
    true
}

/// An idle CPU that could run a task that waits here (Linux: `nohz_balancer_kick`). The queue is
/// this CPU's, locked.
#[inline]
pub(super) fn nohz_idle_cpu(rq: &Rq) -> Option<usize> {
    if rq.nr_running < 2 {
        return None;
    }
    let active = rq::cpu_active_mask();
    let idle = cpus_of(active).filter(|&cpu| nr_running_hint(cpu) == 0);
    let idle = idle.fold(0u64, |mask, cpu| mask | 1 << cpu);
    if idle == 0 {
        return None;
    }
    let task = rq.find_waiting(|task| task.se.cpus_mask() & idle != 0)?;
    cpus_of(task.se.cpus_mask() & idle).next()
}

/// The tick's part (Linux: `sched_balance_trigger`): tells the idle CPU, and from time to time
/// looks whether another CPU has too much. Hard interrupt, no queue locked.
#[inline]
pub(super) fn trigger_load_balance(idle: Option<usize>) {
    if let Some(cpu) = idle {
        resched_cpu(cpu);
    }
    let due =
        time::jiffies() % BALANCE_INTERVAL == arch::smp_processor_id() as u64 % BALANCE_INTERVAL;
    if due && overloaded_mask() != 0 && rq::cpu_active_mask() != 1 {
        raise_softirq(Softirq::Sched);
    }
}

/// Takes a task from a CPU that has at least two more, or now and then one more
/// (Linux: `run_rebalance_domains`). Softirq.
fn run_rebalance_domains() {
    let flags = arch::local_irq_save();
    let mut rq = this_rq().lock();
    let turn = (time::jiffies() / BALANCE_INTERVAL).is_multiple_of(FAIR_TURN);
    let least = rq.nr_running + if turn { 1 } else { 2 };
    pull_task(&mut rq, least.max(2));
    drop(rq);
    arch::local_irq_restore(flags);
}

/// Opens SCHED_SOFTIRQ (Linux: `init_sched_fair_class`).
#[__init]
pub(super) fn init_sched_fair_class() {
    open_softirq(Softirq::Sched, run_rebalance_domains);
}
