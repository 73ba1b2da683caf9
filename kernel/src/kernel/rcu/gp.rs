//! Running grace periods and callbacks (Linux: kernel/rcu/tree.c, `rcu_gp_kthread`, `rcu_core`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::tree::{FANOUT_LEAF, RcuState};
use super::{stall, update};
use crate::arch;
use crate::kernel::cpu;
use crate::kernel::preempt::{HARDIRQ_MASK, HARDIRQ_OFFSET, PREEMPT_MASK, SOFTIRQ_MASK};
use crate::kernel::sched::task::{Task, state::*};
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::sched::{
    current, schedule, schedule_timeout, set_current_state, wake_up_process,
};
use crate::kernel::softirq::{Softirq, open_softirq, raise_softirq};
use crate::kernel::time::{HZ, jiffies};
use crate::mm::percpu::{NR_CPUS, nr_cpu_ids};
use crate::prelude::*;

/// The one flavour there is (Linux: `rcu_state`, named `rcu_preempt`).
pub(super) static RCU: RcuState = RcuState::new();

/// Those who wait for a grace period without a callback.
pub(super) static GP_WAIT: WaitQueueHead = WaitQueueHead::new();

static GP_KTHREAD: IrqSpinLock<Option<Arc<Task>>> = SpinLock::new(None);
/// Somebody is in a hurry: idle and busy CPUs are looked at at once.
static FORCE_QS: AtomicBool = AtomicBool::new(false);
/// Jiffy in which the current grace period began.
pub(super) static GP_START: AtomicU64 = AtomicU64::new(0);

/// Jiffies until idle CPUs are looked for, and between two looks (Linux:
/// `RCU_JIFFIES_TILL_FORCE_QS`).
const JIFFIES_TILL_FORCE_QS: u64 = 1 + (HZ > 250) as u64 + (HZ > 500) as u64;
/// After so many jiffies a busy CPU is asked for a switch (Linux: `jiffies_till_sched_qs`).
const JIFFIES_TILL_SCHED_QS: u64 = {
    let short = 3 * JIFFIES_TILL_FORCE_QS;
    let least = HZ / 10 + NR_CPUS as u64 / 256;
    if short < least { least } else { short }
};
/// Callbacks that one softirq runs (Linux: `blimit`); many more when there are too many.
const BLIMIT: usize = 32;
/// From so many callbacks on a CPU presses for a grace period (Linux: `qhimark`).
pub(super) const QHIMARK: usize = 10_000;

/// Announces RCU and lets callbacks be queued (Linux: `rcu_init`). Context: boot, one CPU.
#[__init]
pub fn rcu_init() {
    let nr_cpu_ids = nr_cpu_ids();
    pr_info!("rcu: Preemptible hierarchical RCU implementation.");
    if nr_cpu_ids < NR_CPUS {
        pr_info!("rcu: \tRCU restricting CPUs from NR_CPUS={NR_CPUS} to nr_cpu_ids={nr_cpu_ids}.");
    }
    pr_info!(
        "rcu: RCU calculated value of scheduler-enlistment delay is {JIFFIES_TILL_SCHED_QS} jiffies."
    );
    if nr_cpu_ids != NR_CPUS {
        pr_info!(
            "rcu: Adjusting geometry for rcu_fanout_leaf={FANOUT_LEAF}, nr_cpu_ids={nr_cpu_ids}"
        );
    }
    RCU.set_geometry(nr_cpu_ids);
    cpu::online_cpus().for_each(rcutree_online_cpu);
    open_softirq(Softirq::Rcu, rcu_core);
}

/// `cpu` begins to run: before its first reader (Linux: `rcutree_report_cpu_starting`).
pub fn rcutree_online_cpu(cpu: usize) {
    RCU.cpu_online(cpu);
}

// --- the idle loop and interrupts ---------------------------------------------------------------

/// The idle loop stops this CPU: nobody reads here until `rcu_idle_exit` (Linux:
/// `ct_idle_enter`). Interrupts off.
pub fn rcu_idle_enter() {
    RCU.idle_enter(arch::smp_processor_id());
}
/// The idle loop goes on (Linux: `ct_idle_exit`).
pub fn rcu_idle_exit() {
    RCU.idle_exit(arch::smp_processor_id());
}
/// An interrupt begins (Linux: `ct_irq_enter`). Interrupts off.
#[inline]
pub fn rcu_irq_enter() {
    RCU.irq_enter(arch::smp_processor_id());
}
/// The outermost interrupt ends, softirqs included. Interrupts off.
#[inline]
pub fn rcu_irq_exit() {
    RCU.irq_exit(arch::smp_processor_id());
}

/// Whether this CPU has callbacks, for which it must keep its tick (Linux: `rcu_needs_cpu`).
pub fn needs_cpu(cpu: usize) -> bool {
    RCU.data(cpu).nr_callbacks.load(Ordering::Relaxed) != 0
}

/// The tick (Linux: `rcu_sched_clock_irq`): notes a quiescent state, looks after callbacks and
/// stalls. Hard interrupt context; `from_user`: it interrupted user code.
pub fn rcu_sched_clock_irq(from_user: bool) {
    let cpu = arch::smp_processor_id();
    let reader = &current().as_task().rcu;
    let may_read = PREEMPT_MASK | SOFTIRQ_MASK | HARDIRQ_MASK;
    let quiescent = from_user
        || RCU.is_rrupt_from_idle(cpu)
        || !reader.is_reading() && (arch::preempt_count() & may_read) == HARDIRQ_OFFSET;
    let mut over = false;
    if quiescent && reader.is_blocked() && !reader.is_reading() {
        over |= RCU.remove_preempted(reader);
    }
    if RCU.needs_qs(cpu) {
        RCU.data(cpu).ticks_this_gp.fetch_add(1, Ordering::Relaxed);
        if quiescent {
            over |= RCU.report_qs(cpu);
        }
        stall::check_cpu_stall(cpu);
    }
    if over {
        wake_gp_kthread();
    }
    if needs_cpu(cpu) && callbacks_need_care(cpu) {
        raise_softirq(Softirq::Rcu);
    }
}

/// Linux: `rcu_pending`.
fn callbacks_need_care(cpu: usize) -> bool {
    let callbacks = RCU.data(cpu).callbacks.lock();
    callbacks.has_new() || callbacks.is_ready(RCU.gp_seq())
}

// --- callbacks ----------------------------------------------------------------------------------

/// RCU_SOFTIRQ: runs callbacks whose grace period is over and asks for the next one (Linux:
/// `rcu_core`).
pub(super) fn rcu_core() {
    let cpu = arch::smp_processor_id();
    let data = RCU.data(cpu);
    let wanted = RCU.snap();
    let mut callbacks = data.callbacks.lock();
    callbacks.advance(RCU.gp_seq());
    let is_news = callbacks.accelerate(wanted) && RCU.request(wanted);
    drop(callbacks);
    if is_news {
        wake_gp_kthread();
    }
    do_batch(cpu);
}

/// Runs callbacks that are due; a rest is left to the next softirq (Linux: `rcu_do_batch`).
fn do_batch(cpu: usize) {
    let data = RCU.data(cpu);
    let limit = match data.nr_callbacks.load(Ordering::Relaxed) {
        len if len > QHIMARK => usize::MAX,
        _ => BLIMIT,
    };
    for _ in 0..limit {
        // The lock is not held while the callback runs: it may queue another one.
        let callback = data.callbacks.lock().take_done();
        let Some(callback) = callback else { return };
        data.nr_callbacks.fetch_sub(1, Ordering::Relaxed);
        callback.invoke();
    }
    if data.callbacks.lock().is_ready(RCU.gp_seq()) {
        raise_softirq(Softirq::Rcu);
    }
}

// --- the grace period thread --------------------------------------------------------------------

/// Wakes `rcu_preempt`: a grace period is wanted, or is over. Any context but NMI; no run queue
/// is locked.
pub(super) fn wake_gp_kthread() {
    let thread = GP_KTHREAD.lock().clone();
    if let Some(thread) = thread {
        wake_up_process(&thread);
    }
}

/// Whether there is a thread that runs grace periods.
pub(super) fn has_gp_kthread() -> bool {
    GP_KTHREAD.lock().is_some()
}

/// Makes the current and the next grace period fast (Linux: `rcu_force_quiescent_state`).
pub(super) fn force_quiescent_state() {
    FORCE_QS.store(true, Ordering::SeqCst);
    wake_gp_kthread();
}

/// `rcu_preempt`: one grace period after the other, while somebody wants one.
fn rcu_gp_kthread() -> i32 {
    loop {
        sleep_until(u64::MAX, || RCU.is_requested());
        run_grace_period();
    }
}

/// Sleeps until the condition holds or `timeout` jiffies have passed.
fn sleep_until(timeout: u64, condition: impl Fn() -> bool) {
    // The state comes before the look at the condition: a wake-up in between is not lost.
    set_current_state(TASK_IDLE);
    if !condition() {
        if timeout == u64::MAX {
            schedule();
        } else {
            schedule_timeout(timeout);
        }
    }
    set_current_state(TASK_RUNNING);
}

/// Runs one grace period from its beginning to its end. One caller at a time; may sleep.
pub(super) fn run_grace_period() {
    let now = jiffies();
    GP_START.store(now, Ordering::Relaxed);
    stall::record_gp_start(now);
    RCU.start_gp();
    report_own_cpu();
    wait_for_quiescent_states();
    RCU.end_gp();
    GP_WAIT.wake_up_all();
}

/// Whoever runs the grace period is no reader, so its CPU is quiescent.
fn report_own_cpu() {
    let flags = arch::local_irq_save();
    let _ = RCU.report_qs(arch::smp_processor_id());
    arch::local_irq_restore(flags);
}

/// Linux: `rcu_gp_fqs_loop`.
fn wait_for_quiescent_states() {
    let is_over = || RCU.gp_is_over() && no_foreign_readers();
    let mut looks = 0;
    while !is_over() {
        let hurry = FORCE_QS.swap(false, Ordering::SeqCst) || update::is_expedited();
        if !(hurry && looks == 0) {
            sleep_until(JIFFIES_TILL_FORCE_QS, || {
                is_over() || FORCE_QS.load(Ordering::SeqCst)
            });
        }
        looks += 1;
        let age = jiffies().saturating_sub(GP_START.load(Ordering::Relaxed));
        let ask_busy_cpus = hurry || age >= JIFFIES_TILL_SCHED_QS;
        let _ = RCU.force_quiescent_states(|cpu| {
            if ask_busy_cpus {
                crate::kernel::sched::resched_cpu(cpu);
            }
        });
    }
    // Full barrier: what readers did before their quiescent states happened before what follows.
    core::sync::atomic::fence(Ordering::SeqCst);
}

/// Host threads of unit tests that read are no tasks of any CPU: a moment without any of them is
/// a quiescent state of them all.
fn no_foreign_readers() -> bool {
    RCU.foreign_readers().load(Ordering::SeqCst) == 0
}

/// Starts `rcu_preempt` (Linux: `rcu_spawn_gp_kthread`).
#[__init]
pub(crate) fn rcu_spawn_gp_kthread() -> Result {
    let thread = crate::kernel::kthread::kthread_create("rcu_preempt", rcu_gp_kthread)?;
    *GP_KTHREAD.lock() = Some(thread.clone());
    wake_up_process(&thread);
    Ok(())
}
early_initcall!(rcu_spawn_gp_kthread);

/// A new machine of the test port has no `rcu_preempt` yet.
#[cfg(test)]
pub(crate) fn reset_for_test() {
    drop(GP_KTHREAD.lock().take());
    update::reset_for_test();
    RCU.reset_for_test();
}

/// Panics when the caller may read: waiting for oneself would never end.
#[track_caller]
pub(super) fn warn_if_reading() {
    if current().as_task().rcu.is_reading() {
        crate::kernel::bug::warn_slowpath(Some(format_args!(
            "Illegal synchronize_rcu() in RCU read-side critical section"
        )));
    }
}
