//! Grace periods that do not end (Linux: kernel/rcu/tree_stall.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::gp::{GP_START, RCU};
use crate::arch;
use crate::kernel::cpu;
use crate::kernel::pid;
use crate::kernel::time::{HZ, jiffies};
use crate::mm::percpu::nr_cpu_ids;
use crate::prelude::*;

/// Seconds after which a grace period is reported (`rcupdate.rcu_cpu_stall_timeout`).
static TIMEOUT: AtomicU64 = AtomicU64::new(21);
static SUPPRESS: AtomicBool = AtomicBool::new(false);
/// Jiffy of the next report.
static JIFFIES_STALL: AtomicU64 = AtomicU64::new(u64::MAX);

fn timeout_jiffies() -> u64 {
    TIMEOUT.load(Ordering::Relaxed) * HZ
}

/// A grace period begins (Linux: `record_gp_stall_check_time`).
pub(super) fn record_gp_start(now: u64) {
    JIFFIES_STALL.store(now + timeout_jiffies(), Ordering::Relaxed);
}

/// Reports once when the grace period is too old, and again three times later (Linux:
/// `check_cpu_stall`). Hard interrupt context.
#[inline]
pub(super) fn check_cpu_stall(cpu: usize) {
    if jiffies() >= JIFFIES_STALL.load(Ordering::Relaxed) && RCU.in_progress() {
        report_stall(cpu);
    }
}

#[cold]
fn report_stall(cpu: usize) {
    let (now, due) = (jiffies(), JIFFIES_STALL.load(Ordering::Relaxed));
    let next = now + 3 * timeout_jiffies() + 3;
    let is_mine = JIFFIES_STALL
        .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok();
    if !is_mine || now < due || SUPPRESS.load(Ordering::Relaxed) {
        return;
    }
    print_stall(cpu, now.saturating_sub(GP_START.load(Ordering::Relaxed)));
}

fn print_stall(cpu: usize, age: u64) {
    let holdouts = RCU.holdouts();
    let is_self = holdouts.contains(&cpu);
    if is_self {
        pr_err!("rcu: INFO: rcu_preempt self-detected stall on CPU");
    } else {
        pr_err!("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:");
    }
    for holdout in &holdouts {
        let ticks = RCU.data(*holdout).ticks_this_gp.load(Ordering::Relaxed);
        pr_err!("rcu: \t{holdout}-....: ({ticks} ticks this GP)");
    }
    let mut blocked = String::new();
    pid::for_each_thread(|task| {
        if task.rcu.is_blocked() {
            blocked.push_str(&format!(" P{}", task.pid()));
        }
    });
    if !blocked.is_empty() {
        pr_err!(
            "rcu: \tTasks blocked on level-0 rcu_node (CPUs 0-{}):{blocked}",
            nr_cpu_ids() - 1
        );
    }
    let queued: usize = cpu::online_cpus()
        .map(|cpu| RCU.data(cpu).nr_callbacks.load(Ordering::Relaxed))
        .sum();
    let (gp_seq, ncpus) = (RCU.gp_seq(), cpu::num_online_cpus());
    if is_self {
        pr_err!("rcu: \t(t={age} jiffies g={gp_seq} q={queued} ncpus={ncpus})");
    } else {
        pr_err!(
            "rcu: \t(detected by {cpu}, t={age} jiffies, g={gp_seq}, q={queued} ncpus={ncpus})"
        );
    }
    arch::dump_stack();
}

#[__init]
fn stall_timeout_setup(value: &str) -> Result {
    let seconds: u64 = value.parse().map_err(|_| Errno::EINVAL)?;
    TIMEOUT.store(seconds.clamp(3, 300), Ordering::Relaxed);
    Ok(())
}
__setup!("rcupdate.rcu_cpu_stall_timeout=", stall_timeout_setup);

#[__init]
fn stall_suppress_setup(value: &str) -> Result {
    SUPPRESS.store(value != "0", Ordering::Relaxed);
    Ok(())
}
__setup!("rcupdate.rcu_cpu_stall_suppress=", stall_suppress_setup);
