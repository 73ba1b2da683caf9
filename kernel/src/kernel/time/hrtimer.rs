//! Timers in nanoseconds (Linux: kernel/time/hrtimer.c).
//!
//! Each CPU has a queue sorted by expiry on CLOCK_MONOTONIC; a timer on CLOCK_REALTIME is
//! queued with its expiry converted, and its owner (a [`ClockWatcher`]) converts again when the clock
//! is set. The clock event device is programmed for the first one.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, Ordering};

use super::ktime_get;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::sched::task::{Task, state};
use crate::kernel::sched::{current, schedule, set_current_state, wake_up_process};
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// What a timer function asks for (Linux: `enum hrtimer_restart`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// Fired for the last time.
    No,
    /// Fires again at this time, ns of CLOCK_MONOTONIC.
    At(u64),
}

/// What a timer does. Called in hard interrupt context.
type Function = Box<dyn Fn() -> Restart + Send + Sync>;

/// A high-resolution timer (Linux: `struct hrtimer`).
pub struct HrTimer {
    function: Function,
    queued: IrqSpinLock<Option<Place>>,
}

#[derive(Clone, Copy)]
struct Place {
    cpu: usize,
    key: (u64, u64),
}

#[derive(Default)]
struct Base {
    queue: BTreeMap<(u64, u64), Arc<HrTimer>>,
    sequence: u64,
}

static BASES: [IrqSpinLock<Base>; NR_CPUS] = [const {
    SpinLock::new(Base {
        queue: BTreeMap::new(),
        sequence: 0,
    })
}; NR_CPUS];

/// Expiry of the first timer of each CPU, so that the tick can look without the lock.
static NEXT_EVENT: [AtomicU64; NR_CPUS] = [const { AtomicU64::new(u64::MAX) }; NR_CPUS];

impl HrTimer {
    /// A timer that is not running (Linux: `hrtimer_init`).
    pub fn new(function: impl Fn() -> Restart + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            function: Box::new(function),
            queued: SpinLock::new(None),
        })
    }

    /// (Re)starts it for `expires_ns`, ns of CLOCK_MONOTONIC (Linux: `hrtimer_start`).
    /// Lock order: the timer, then a base.
    pub fn start(self: &Arc<Self>, expires_ns: u64) {
        let mut place = self.queued.lock();
        Self::dequeue(&mut place);
        let guard = preempt_disable();
        let cpu = crate::arch::smp_processor_id();
        *place = Some(self.enqueue(cpu, expires_ns));
        drop(place);
        super::tick::reprogram();
        drop(guard);
    }

    fn enqueue(self: &Arc<Self>, cpu: usize, expires_ns: u64) -> Place {
        let mut base = BASES[cpu].lock();
        base.sequence += 1;
        let key = (expires_ns, base.sequence);
        base.queue.insert(key, self.clone());
        base.publish(cpu);
        Place { cpu, key }
    }

    /// Stops it; true if it was running (Linux: `hrtimer_try_to_cancel`).
    pub fn cancel(&self) -> bool {
        Self::dequeue(&mut self.queued.lock())
    }

    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        self.queued.lock().is_some()
    }

    /// When it fires, ns of CLOCK_MONOTONIC.
    pub fn expires(&self) -> Option<u64> {
        self.queued.lock().map(|place| place.key.0)
    }

    fn dequeue(place: &mut Option<Place>) -> bool {
        let Some(old) = place.take() else {
            return false;
        };
        let mut base = BASES[old.cpu].lock();
        let removed = base.queue.remove(&old.key);
        base.publish(old.cpu);
        drop(base);
        removed.is_some()
    }
}

impl Base {
    fn publish(&self, cpu: usize) {
        let first = self.queue.keys().next().map_or(u64::MAX, |key| key.0);
        NEXT_EVENT[cpu].store(first, Ordering::Release);
    }

    fn pop_due(&mut self, cpu: usize, now: u64) -> Option<((u64, u64), Arc<HrTimer>)> {
        let entry = self.queue.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let due = entry.remove_entry();
        self.publish(cpu);
        Some(due)
    }
}

/// Expiry of this CPU's first timer, ns of CLOCK_MONOTONIC; u64::MAX when there is none.
pub(super) fn next_event(cpu: usize) -> u64 {
    NEXT_EVENT[cpu].load(Ordering::Acquire)
}

/// Runs the timers that are due on this CPU. Hard interrupt context.
pub(super) fn run_queues(cpu: usize) {
    let mut now = ktime_get();
    while next_event(cpu) <= now {
        let Some((key, timer)) = BASES[cpu].lock().pop_due(cpu, now) else {
            return;
        };
        timer.fire(cpu, key);
        now = ktime_get();
    }
}

impl HrTimer {
    fn fire(self: &Arc<Self>, cpu: usize, key: (u64, u64)) {
        {
            let mut place = self.queued.lock();
            match *place {
                Some(p) if p.key == key => *place = None,
                _ => return, // cancelled or started again meanwhile
            }
        }
        if let Restart::At(again) = (self.function)() {
            let mut place = self.queued.lock();
            if place.is_none() {
                *place = Some(self.enqueue(cpu, again));
            }
        }
    }
}

/// Whoever must know that CLOCK_REALTIME was set.
pub trait ClockWatcher: Send + Sync {
    /// It was set. Process context.
    fn clock_was_set(&self);
}

static CLOCK_WATCHERS: SpinLock<Vec<Weak<dyn ClockWatcher>>> = SpinLock::new(Vec::new());

/// Registers for `clock_was_set`, as long as the watcher lives. Errors: ENOMEM.
pub fn watch_realtime_clock(watcher: Weak<dyn ClockWatcher>) -> Result {
    let mut watchers = CLOCK_WATCHERS.lock();
    if watchers.len() == watchers.capacity() {
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    }
    watchers.push(watcher);
    Ok(())
}

/// CLOCK_REALTIME was set: who sleeps or waits for a moment of it looks again (Linux: `clock_was_set`).
pub(super) fn clock_was_set() {
    super::posix::wake_realtime_sleepers();
    let watchers: Vec<_> = CLOCK_WATCHERS
        .lock()
        .iter()
        .filter_map(Weak::upgrade)
        .collect();
    for watcher in watchers {
        watcher.clock_was_set();
    }
}

/// A timer that wakes a task.
fn wake_up_timer(task: Arc<Task>) -> Arc<HrTimer> {
    HrTimer::new(move || {
        wake_up_process(&task);
        Restart::No
    })
}

/// Sleeps in the state set before until `deadline` (ns of CLOCK_MONOTONIC) or a wake-up; true
/// when the time is over (Linux: `schedule_hrtimeout_range`). Process context.
pub fn schedule_hrtimeout(deadline: u64) -> bool {
    if deadline <= ktime_get() {
        set_current_state(state::TASK_RUNNING);
        return true;
    }
    let timer = wake_up_timer(current().to_arc());
    timer.start(deadline);
    schedule();
    timer.cancel();
    set_current_state(state::TASK_RUNNING);
    ktime_get() >= deadline
}

/// Sleeps until `deadline` (ns of CLOCK_MONOTONIC), for ever when `None`.
/// Errors: EINTR when a signal came first.
pub fn sleep_until_interruptible(deadline: Option<u64>) -> Result {
    loop {
        set_current_state(state::TASK_INTERRUPTIBLE);
        if current().signal_pending() {
            set_current_state(state::TASK_RUNNING);
            return Err(Errno::EINTR);
        }
        match deadline {
            Some(end) => {
                if schedule_hrtimeout(end) {
                    return Ok(());
                }
            }
            None => schedule(),
        }
    }
}

/// Lines of /proc/timer_list for one CPU.
pub fn describe(cpu: usize, text: &mut String) {
    let now = ktime_get();
    let base = BASES[cpu].lock();
    for (index, (expires, _)) in base.queue.keys().enumerate() {
        let left = *expires as i64 - now as i64;
        text.push_str(&format!(
            " #{index}: expires at {expires} nsecs [in {left} nsecs]\n"
        ));
    }
}
