//! The write side: waiting, callbacks, and how fast (Linux: kernel/rcu/update.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use super::gp::{self, GP_WAIT, QHIMARK, RCU};
use super::segcblist::{Callback, Func};
use crate::arch;
use crate::kernel::cpu;
use crate::kernel::locking::Mutex;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::sched::might_sleep;
use crate::kernel::softirq::{Softirq, raise_softirq};
use crate::prelude::*;

/// How far the scheduler is (Linux: `rcu_scheduler_active`).
const INACTIVE: u8 = 0;
/// Tasks switch; `rcu_preempt` may not be there yet.
const INIT: u8 = 1;
const RUNNING: u8 = 2;

static SCHEDULER_ACTIVE: AtomicU8 = AtomicU8::new(INACTIVE);
/// How many want grace periods to be fast. The boot is one of them (Linux:
/// `rcu_expedited_nesting`).
static EXPEDITED_NESTING: AtomicU32 = AtomicU32::new(1);
/// `rcupdate.rcu_expedited`: always fast.
static EXPEDITED: AtomicBool = AtomicBool::new(false);
/// `rcupdate.rcu_normal`: never fast.
static NORMAL: AtomicBool = AtomicBool::new(false);
/// `rcupdate.rcu_normal_after_boot`: never fast when the boot is over.
static NORMAL_AFTER_BOOT: AtomicBool = AtomicBool::new(false);
static BOOT_ENDED: AtomicBool = AtomicBool::new(false);
/// Who runs grace periods before `rcu_preempt` does.
static EARLY_GP: Mutex<()> = Mutex::new(());

/// The number of the grace period, as /proc and reports show it.
pub fn gp_seq() -> u64 {
    RCU.gp_seq()
}

/// Runs `function` after a grace period, in softirq context (Linux: `call_rcu`). Any context but
/// NMI, early boot included.
pub fn call_rcu(function: impl FnOnce() + Send + 'static) {
    queue(Func::Call(Box::new(function)));
}

/// Gives a reference up after a grace period (Linux: `kfree_rcu`). Any context but NMI. The
/// value may be dropped in softirq context.
pub fn drop_rcu<T: Send + Sync + 'static>(object: Arc<T>) {
    queue(Func::Drop(object));
}

fn queue(func: Func) {
    let callback = Callback::new(func);
    let guard = preempt_disable();
    let data = RCU.data(arch::smp_processor_id());
    data.callbacks.lock().enqueue(callback);
    let len = data.nr_callbacks.fetch_add(1, Ordering::Relaxed) + 1;
    if len.is_multiple_of(QHIMARK) {
        // A flood: do not wait for the tick.
        gp::force_quiescent_state();
        raise_softirq(Softirq::Rcu);
    }
    drop(guard);
}

/// Waits until every reader that has begun before the call has ended (Linux:
/// `synchronize_rcu`). May sleep.
#[track_caller]
pub fn synchronize_rcu() {
    wait_for_gp(Hurry::No);
}

/// `synchronize_rcu` that disturbs busy CPUs to be faster.
#[track_caller]
pub fn synchronize_rcu_expedited() {
    wait_for_gp(Hurry::Yes);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hurry {
    No,
    Yes,
}

#[track_caller]
fn wait_for_gp(hurry: Hurry) {
    might_sleep();
    if SCHEDULER_ACTIVE.load(Ordering::Acquire) == INACTIVE {
        // One CPU and one task, which does not read: any moment is a grace period.
        debug_assert_eq!(cpu::num_online_cpus(), 1);
        return;
    }
    gp::warn_if_reading();
    let wanted = RCU.snap();
    if !gp::has_gp_kthread() {
        run_early_gps(wanted);
        return;
    }
    let faster = hurry == Hurry::Yes && !NORMAL.load(Ordering::Relaxed);
    if faster {
        rcu_expedite_gp();
    }
    RCU.request(wanted);
    if is_expedited() {
        gp::force_quiescent_state();
    } else {
        gp::wake_gp_kthread();
    }
    GP_WAIT.wait_event(|| RCU.is_done(wanted));
    if faster {
        rcu_unexpedite_gp();
    }
}

/// Between the first switch and the start of `rcu_preempt` whoever waits runs the grace period.
fn run_early_gps(wanted: u64) {
    let _one_at_a_time = EARLY_GP.lock();
    while !RCU.is_done(wanted) {
        gp::run_grace_period();
    }
}

// --- stages of the boot ---------------------------------------------------------------------------

/// The next step makes a second task: grace periods become real (Linux:
/// `rcu_scheduler_starting`). Context: boot, one CPU, no switch yet.
pub fn rcu_scheduler_starting() {
    crate::warn_on!(cpu::num_online_cpus() != 1);
    crate::warn_on!(crate::kernel::sched::core::nr_context_switches() > 0);
    SCHEDULER_ACTIVE.store(INIT, Ordering::Release);
}

/// `rcu_preempt` and kernel threads are there (Linux: `rcu_set_runtime_mode`).
#[__init]
fn rcu_set_runtime_mode() -> Result {
    SCHEDULER_ACTIVE.store(RUNNING, Ordering::Release);
    Ok(())
}
core_initcall!(rcu_set_runtime_mode);

/// Whether grace periods are fast now (Linux: `rcu_gp_is_expedited`).
pub(super) fn is_expedited() -> bool {
    let wanted =
        EXPEDITED.load(Ordering::Relaxed) || EXPEDITED_NESTING.load(Ordering::Relaxed) != 0;
    wanted && !NORMAL.load(Ordering::Relaxed)
}

/// Makes grace periods fast until `rcu_unexpedite_gp`.
pub fn rcu_expedite_gp() {
    EXPEDITED_NESTING.fetch_add(1, Ordering::Relaxed);
}
/// Takes back one `rcu_expedite_gp`.
pub fn rcu_unexpedite_gp() {
    EXPEDITED_NESTING.fetch_sub(1, Ordering::Relaxed);
}

/// The boot is over, so is its hurry (Linux: `rcu_end_inkernel_boot`).
pub fn rcu_end_inkernel_boot() {
    rcu_unexpedite_gp();
    if NORMAL_AFTER_BOOT.load(Ordering::Relaxed) {
        NORMAL.store(true, Ordering::Relaxed);
    }
    BOOT_ENDED.store(true, Ordering::Relaxed);
}

fn switch(flag: &AtomicBool, value: &str) -> Result {
    flag.store(!matches!(value, "0" | "n" | "N"), Ordering::Relaxed);
    Ok(())
}
#[__init]
fn rcu_expedited_setup(value: &str) -> Result {
    switch(&EXPEDITED, value)
}
__setup!("rcupdate.rcu_expedited=", rcu_expedited_setup);
#[__init]
fn rcu_normal_setup(value: &str) -> Result {
    switch(&NORMAL, value)
}
__setup!("rcupdate.rcu_normal=", rcu_normal_setup);
#[__init]
fn rcu_normal_after_boot_setup(value: &str) -> Result {
    switch(&NORMAL_AFTER_BOOT, value)
}
__setup!(
    "rcupdate.rcu_normal_after_boot=",
    rcu_normal_after_boot_setup
);

/// A new machine of the test port has not booted.
#[cfg(test)]
pub(super) fn reset_for_test() {
    SCHEDULER_ACTIVE.store(INACTIVE, Ordering::Release);
    EXPEDITED_NESTING.store(1, Ordering::Relaxed);
}

/// The scheduler of the machine of the test port runs.
#[cfg(test)]
pub(super) fn scheduler_started_for_test() {
    SCHEDULER_ACTIVE.store(RUNNING, Ordering::Release);
}
