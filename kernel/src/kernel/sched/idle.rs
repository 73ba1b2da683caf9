//! The idle loop (Linux: kernel/sched/idle.c).
//!
//! The idle task runs with a preempt count of 1: it is never preempted, it asks for a switch
//! itself after each wake-up.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering, fence};

pub use super::core::schedule_preempt_disabled;
use super::core::{current, need_resched, sched_clock, schedule_idle};
use super::cputime;
use super::task::{pf, tif};
use crate::arch;
use crate::kernel::rcu;
use crate::kernel::time::tick;
use crate::prelude::*;

/// `idle=poll` or `nohlt`: never stop the CPU (Linux: `cpu_idle_force_poll`).
static CPU_IDLE_FORCE_POLL: AtomicBool = AtomicBool::new(false);

/// Becomes the idle loop of this CPU. The boot task ends here.
///
/// On entry: interrupts on, preempt count 1. Never returns.
pub fn cpu_startup_entry() -> ! {
    current().flags.fetch_or(pf::PF_IDLE, Ordering::Relaxed);
    loop {
        do_idle();
    }
}

/// Sleeps until there is something to do, then lets it run (Linux: `do_idle`).
fn do_idle() {
    let task = current();
    // While the bit is set a remote waker need not send an interrupt: this loop looks at
    // NEED_RESCHED. Invariant: it is only set while the idle task runs.
    task.set_tif(tif::POLLING_NRFLAG);
    let since = sched_clock();
    while !need_resched() {
        // No interrupt may start a timer between the look at the timers and the stop.
        arch::local_irq_disable();
        tick::tick_nohz_idle_enter();
        if CPU_IDLE_FORCE_POLL.load(Ordering::Relaxed) {
            cpu_idle_poll();
        } else {
            cpuidle_idle_call();
        }
    }
    cputime::account_idle_time(sched_clock().saturating_sub(since));
    arch::local_irq_disable();
    tick::tick_nohz_idle_exit();
    arch::local_irq_enable();
    // From here on a remote waker has to interrupt. The barrier orders that before the look at
    // what was queued up to now, which `schedule` takes.
    task.clear_tif(tif::POLLING_NRFLAG);
    fence(Ordering::SeqCst);
    schedule_idle();
}

/// Spins with interrupts on (Linux: `cpu_idle_poll`). On entry interrupts are off.
fn cpu_idle_poll() {
    arch::local_irq_enable();
    while !need_resched() {
        arch::cpu_relax();
    }
}

/// Stops the CPU until the next interrupt (Linux: `default_idle_call`). On entry interrupts are
/// off, on return on.
///
/// The last look at NEED_RESCHED is with interrupts off, and `safe_halt` enables them together
/// with stopping: an interrupt in between ends the stop at once. The polling bit is off
/// meanwhile, because a stopped CPU sees nothing.
fn cpuidle_idle_call() {
    let task = current();
    task.clear_tif(tif::POLLING_NRFLAG);
    fence(Ordering::SeqCst);
    if need_resched() {
        arch::local_irq_enable();
    } else {
        // Nobody reads here meanwhile: a grace period does not have to wake this CPU.
        rcu::rcu_idle_enter();
        arch::safe_halt();
        rcu::rcu_idle_exit();
    }
    task.set_tif(tif::POLLING_NRFLAG);
}

/// Time this CPU was idle, ns; and whether it polls.
pub fn idle_time(cpu: usize) -> u64 {
    cputime::cpustat(cpu)[cputime::CpuUsage::Idle as usize]
}

#[__init]
fn idle_setup(value: &str) -> Result {
    match value {
        "poll" => {
            pr_info!("process: using polling idle threads");
            CPU_IDLE_FORCE_POLL.store(true, Ordering::Relaxed);
            Ok(())
        }
        "halt" | "nomwait" => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
crate::early_param!("idle", idle_setup);

#[__init]
fn nohlt_setup(_value: &str) -> Result {
    CPU_IDLE_FORCE_POLL.store(true, Ordering::Relaxed);
    Ok(())
}
crate::__setup!("nohlt", nohlt_setup);

#[__init]
fn hlt_setup(_value: &str) -> Result {
    CPU_IDLE_FORCE_POLL.store(false, Ordering::Relaxed);
    Ok(())
}
crate::__setup!("hlt", hlt_setup);
