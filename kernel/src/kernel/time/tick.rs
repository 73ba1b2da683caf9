//! Clock event devices and the tick (Linux: kernel/time/tick-common.c, tick-sched.c,
//! clockevents.c).
//!
//! Every CPU has one device in one-shot mode. It is programmed for whatever comes first: the next
//! tick or the first high-resolution timer. An idle CPU without a near timer has no tick at all.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{TICK_NSEC, hrtimer, ktime_get, ntp, timekeeping, timer};
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// A device that interrupts its CPU once after a given time (Linux: `struct clock_event_device`).
pub trait ClockEventDevice: Send + Sync {
    /// Name, as in /proc/timer_list.
    fn name(&self) -> &'static str;
    /// Interrupts in `delta_ns`, which lies between the two limits.
    fn set_next_event(&self, delta_ns: u64);
    /// No more interrupts.
    fn shutdown(&self);
    /// Shortest time, ns.
    fn min_delta_ns(&self) -> u64;
    /// Longest time, ns.
    fn max_delta_ns(&self) -> u64;
}

/// What a CPU keeps for its tick.
struct TickDevice {
    device: IrqSpinLock<Option<Arc<dyn ClockEventDevice>>>,
    /// Next tick, ns of CLOCK_MONOTONIC; u64::MAX while the tick is stopped.
    next_tick: AtomicU64,
    /// What the device is set to, so that it is not programmed for the same time again.
    programmed: AtomicU64,
    /// In the idle loop with the tick stopped.
    idle: AtomicBool,
}

static TICK: [TickDevice; NR_CPUS] = [const {
    TickDevice {
        device: SpinLock::new(None),
        next_tick: AtomicU64::new(u64::MAX),
        programmed: AtomicU64::new(u64::MAX),
        idle: AtomicBool::new(false),
    }
}; NR_CPUS];

fn this_cpu() -> usize {
    crate::arch::smp_processor_id()
}

/// Gives `cpu` its device and starts its tick (Linux: `clockevents_register_device`).
/// Context: on that CPU, interrupts off.
pub fn clockevents_register_device(cpu: usize, device: Arc<dyn ClockEventDevice>) {
    pr_debug!("clockevents: CPU{}: using {}", cpu, device.name());
    *TICK[cpu].device.lock() = Some(device);
    TICK[cpu]
        .next_tick
        .store(ktime_get() + TICK_NSEC, Ordering::Relaxed);
    reprogram();
}

/// Name of the device of `cpu`.
pub fn clockevent_name(cpu: usize) -> Option<&'static str> {
    TICK[cpu].device.lock().as_ref().map(|device| device.name())
}

/// Programs this CPU's device for the first event, if that changed. Preemption is off.
pub(super) fn reprogram() {
    let cpu = this_cpu();
    let tick = &TICK[cpu];
    let next = tick
        .next_tick
        .load(Ordering::Relaxed)
        .min(hrtimer::next_event(cpu));
    if next != tick.programmed.swap(next, Ordering::Relaxed) {
        tick.program(next);
    }
}

impl TickDevice {
    fn program(&self, next: u64) {
        let guard = self.device.lock();
        let Some(device) = guard.as_ref() else {
            return;
        };
        if next == u64::MAX {
            device.shutdown();
            return;
        }
        let delta = next.saturating_sub(ktime_get());
        device.set_next_event(delta.clamp(device.min_delta_ns(), device.max_delta_ns()));
    }
}

/// The device fired (Linux: `hrtimer_interrupt`). Hard interrupt context, interrupts off.
pub fn timer_interrupt() {
    let cpu = this_cpu();
    let tick = &TICK[cpu];
    tick.programmed.store(u64::MAX, Ordering::Relaxed);
    if ktime_get() >= tick.next_tick.load(Ordering::Relaxed) {
        tick_sched_timer(tick);
    }
    hrtimer::run_queues(cpu);
    reprogram();
}

/// One tick (Linux: `tick_sched_handle`).
fn tick_sched_timer(tick: &TickDevice) {
    let now = ktime_get();
    let next = (now / TICK_NSEC + 1) * TICK_NSEC;
    tick.next_tick.store(next, Ordering::Relaxed);
    do_timer(now);
    crate::kernel::sched::scheduler_tick();
    timer::run_local_timers();
}

/// Advances the system's time; whoever comes first in a tick does it.
fn do_timer(now: u64) {
    timer::advance_jiffies(now / TICK_NSEC);
    timekeeping::update_wall_time();
    crate::kernel::sched::calc_global_load(timer::jiffies());
}

/// The tick without a clock event device: a periodic interrupt (PIT) drives the clock.
pub fn tick_periodic() {
    timer::advance_jiffies(timer::jiffies() + 1);
    timekeeping::update_wall_time();
    crate::kernel::sched::calc_global_load(timer::jiffies());
    crate::kernel::sched::scheduler_tick();
    timer::run_local_timers();
    hrtimer::run_queues(this_cpu());
}

/// The CPU goes idle: no tick until the next timer (Linux: `tick_nohz_idle_stop_tick`).
/// Interrupts are off.
pub fn tick_nohz_idle_enter() {
    let cpu = this_cpu();
    let tick = &TICK[cpu];
    if tick.device.lock().is_none() {
        return;
    }
    tick.idle.store(true, Ordering::Relaxed);
    let next = match timer::next_timer_jiffy(cpu) {
        _ if crate::kernel::rcu::needs_cpu(cpu) => 0, // the tick looks after its callbacks
        Some(jiffy) => (jiffy + 1).saturating_mul(TICK_NSEC),
        None => u64::MAX,
    };
    let now = ktime_get();
    // A clock that is being corrected needs a tick when that is done.
    let next = next.min(now.saturating_add(ntp::slew_left()));
    tick.next_tick
        .store(next.max(now + TICK_NSEC), Ordering::Relaxed);
    reprogram();
}

/// The CPU has work again: the tick goes on (Linux: `tick_nohz_idle_exit`).
pub fn tick_nohz_idle_exit() {
    let tick = &TICK[this_cpu()];
    if !tick.idle.swap(false, Ordering::Relaxed) {
        return;
    }
    let now = ktime_get();
    timer::advance_jiffies(now / TICK_NSEC);
    tick.next_tick
        .store((now / TICK_NSEC + 1) * TICK_NSEC, Ordering::Relaxed);
    reprogram();
}

/// An interrupt ended the idle CPU's sleep: bring the tick count up to date before handlers look
/// at it (Linux: `tick_irq_enter`).
pub fn tick_irq_enter() {
    if TICK[this_cpu()].idle.load(Ordering::Relaxed) {
        timer::advance_jiffies(ktime_get() / TICK_NSEC);
    }
}
