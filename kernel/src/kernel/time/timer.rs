//! The timer wheel (Linux: kernel/time/timer.c).
//!
//! Nine levels of 64 buckets. Level n has a granularity of 8^n jiffies and timers do not cascade:
//! one that is far away fires up to an eighth late, which is what timeouts can bear.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::preempt::preempt_disable;
use crate::kernel::softirq::{Softirq, open_softirq, raise_softirq};
use crate::mm::percpu::{NR_CPUS, PerCpu};
use crate::prelude::*;

const LVL_BITS: u32 = 6;
const LVL_SIZE: u64 = 1 << LVL_BITS;
const LVL_MASK: u64 = LVL_SIZE - 1;
const LVL_CLK_SHIFT: u32 = 3;
const LVL_DEPTH: u32 = 9;
const WHEEL_SIZE: usize = (LVL_SIZE * LVL_DEPTH as u64) as usize;

/// Ticks since boot. Starts five minutes before its 32-bit wrap on Linux; here at 0, 64 bits wide.
static JIFFIES: AtomicU64 = AtomicU64::new(0);

/// Ticks since boot.
#[inline]
pub fn jiffies() -> u64 {
    JIFFIES.load(Ordering::Relaxed)
}

/// The tick advances the count to what the clock says.
pub(super) fn advance_jiffies(to: u64) {
    JIFFIES.fetch_max(to, Ordering::Relaxed);
}

const fn level_shift(level: u32) -> u32 {
    level * LVL_CLK_SHIFT
}
/// First distance (in jiffies) that belongs to `level`.
const fn level_start(level: u32) -> u64 {
    LVL_MASK << level_shift(level - 1)
}

/// The wheel itself: pure bookkeeping over any kind of entry.
pub struct TimerWheel<T> {
    /// The next jiffy to be processed.
    clk: u64,
    buckets: Vec<Vec<(u64, T)>>,
}

impl<T> TimerWheel<T> {
    /// An empty wheel; it allocates its buckets with the first timer.
    pub const fn new() -> Self {
        Self {
            clk: 0,
            buckets: Vec::new(),
        }
    }

    /// Adds an entry that fires at jiffy `expires` or a little later; returns its bucket.
    pub fn add(&mut self, expires: u64, entry: T) -> usize {
        if self.buckets.is_empty() {
            self.buckets.resize_with(WHEEL_SIZE, Vec::new);
        }
        let bucket = self.bucket_of(expires);
        self.buckets[bucket].push((expires, entry));
        bucket
    }

    fn bucket_of(&self, expires: u64) -> usize {
        let expires = expires.max(self.clk);
        let delta = expires - self.clk;
        let level = (1..LVL_DEPTH)
            .rev()
            .find(|l| delta >= level_start(*l))
            .unwrap_or(0);
        let max = level_start(LVL_DEPTH) - 1;
        let expires = if delta > max { self.clk + max } else { expires };
        // Round up, so that a timer never fires early; level 0 is exact.
        let round = if level == 0 { 0 } else { 1 };
        let slot = (expires >> level_shift(level)) + round;
        (u64::from(level) * LVL_SIZE + (slot & LVL_MASK)) as usize
    }

    /// Removes the first entry of `bucket` for which `matches` holds.
    pub fn remove(&mut self, bucket: usize, mut matches: impl FnMut(&T) -> bool) -> Option<T> {
        let entries = self.buckets.get_mut(bucket)?;
        let index = entries.iter().position(|(_, entry)| matches(entry))?;
        Some(entries.swap_remove(index).1)
    }

    /// Takes every entry whose bucket is due at jiffy `now`.
    pub fn expire(&mut self, now: u64) -> Vec<T> {
        let mut due = Vec::new();
        if self.buckets.is_empty() {
            self.clk = self.clk.max(now + 1);
            return due;
        }
        while self.clk <= now {
            self.expire_one(&mut due);
            self.clk += 1;
        }
        due
    }

    fn expire_one(&mut self, due: &mut Vec<T>) {
        for level in 0..LVL_DEPTH {
            let slot = (self.clk >> level_shift(level)) & LVL_MASK;
            let bucket = (u64::from(level) * LVL_SIZE + slot) as usize;
            due.extend(self.buckets[bucket].drain(..).map(|(_, entry)| entry));
            // The next level moves only when this one wrapped its granularity.
            if self.clk & ((1 << level_shift(level + 1)) - 1) != 0 {
                break;
            }
        }
    }

    /// The jiffy at which the next entry may fire; `None` when there is none.
    pub fn next_expiry(&self) -> Option<u64> {
        self.buckets
            .iter()
            .flatten()
            .map(|(expires, _)| (*expires).max(self.clk))
            .min()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for TimerWheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A timer in jiffies (Linux: `struct timer_list`). The function runs in softirq context.
pub struct Timer {
    function: Box<dyn Fn() + Send + Sync>,
    queued: IrqSpinLock<Option<Place>>,
}

#[derive(Clone, Copy)]
struct Place {
    cpu: usize,
    bucket: usize,
    expires: u64,
}

type Base = IrqSpinLock<TimerWheel<Arc<Timer>>>;
// One wheel per CPU; boxed entries, so it cannot live in the copied per-CPU template.
static BASES: [Base; NR_CPUS] = [const { SpinLock::new(TimerWheel::new()) }; NR_CPUS];

#[per_cpu]
static TIMERS_RUN: PerCpu<AtomicU64> = PerCpu::new(AtomicU64::new(0));

/// Opens TIMER_SOFTIRQ (Linux: `init_timers`).
#[__init]
pub fn init_timers() {
    open_softirq(Softirq::Timer, run_timer_softirq);
}

impl Timer {
    /// A timer that is not running (Linux: `timer_setup`).
    pub fn new(function: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            function: Box::new(function),
            queued: SpinLock::new(None),
        })
    }

    /// (Re)starts the timer for jiffy `expires`; true if it was running (Linux: `mod_timer`).
    /// Lock order: the timer, then a wheel.
    pub fn mod_timer(self: &Arc<Self>, expires: u64) -> bool {
        let mut place = self.queued.lock();
        let was_pending = self.dequeue(&mut place);
        let guard = preempt_disable();
        let cpu = crate::arch::smp_processor_id();
        let bucket = BASES[cpu].lock().add(expires, self.clone());
        *place = Some(Place {
            cpu,
            bucket,
            expires,
        });
        drop(guard);
        was_pending
    }

    /// Stops the timer; true if it was running (Linux: `timer_delete`). The function may still be
    /// running on another CPU.
    pub fn del_timer(self: &Arc<Self>) -> bool {
        self.dequeue(&mut self.queued.lock())
    }

    /// Whether it runs.
    pub fn is_pending(&self) -> bool {
        self.queued.lock().is_some()
    }

    /// The jiffy it fires at, when it runs.
    pub fn expires(&self) -> Option<u64> {
        self.queued.lock().map(|place| place.expires)
    }

    fn dequeue(self: &Arc<Self>, place: &mut Option<Place>) -> bool {
        let Some(old) = place.take() else {
            return false;
        };
        // Not found: the softirq has taken it, but will see that it is not wanted any more.
        let entry = BASES[old.cpu]
            .lock()
            .remove(old.bucket, |entry| Arc::ptr_eq(entry, self));
        drop(entry);
        true
    }
}

/// Called by the tick on every CPU: asks for the softirq when a timer may be due.
pub(super) fn run_local_timers() {
    let cpu = crate::arch::smp_processor_id();
    let due = BASES[cpu].lock().clk <= jiffies();
    if due {
        raise_softirq(Softirq::Timer);
    }
}

fn run_timer_softirq() {
    let cpu = crate::arch::smp_processor_id();
    let due = BASES[cpu].lock().expire(jiffies());
    for timer in due {
        // Another CPU may have stopped it meanwhile, or started it again for later.
        let now = jiffies();
        let due = |place: &mut Place| place.expires <= now;
        let still_wanted = timer.queued.lock().take_if(due).is_some();
        if still_wanted {
            TIMERS_RUN.raw_this().fetch_add(1, Ordering::Relaxed);
            (timer.function)();
        }
    }
}

/// The jiffy of the next timer of this CPU (for an idle CPU that stops its tick).
pub fn next_timer_jiffy(cpu: usize) -> Option<u64> {
    BASES[cpu].lock().next_expiry()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_timer_fires_exactly_in_its_jiffy() {
        let mut wheel = TimerWheel::new();
        wheel.expire(99);
        wheel.add(105, "a");
        assert!(wheel.expire(104).is_empty());
        assert_eq!(wheel.expire(105), ["a"]);
    }

    #[test]
    fn a_far_timer_fires_late_by_an_eighth_at_most_and_never_early() {
        let mut state = 7u64;
        for _ in 0..2000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let start = state >> 44;
            let delta = (state >> 20) % 20_000;
            let mut wheel = TimerWheel::new();
            wheel.expire(start);
            wheel.add(start + delta, ());
            let mut now = start;
            while wheel.expire(now).is_empty() {
                now += 1;
                assert!(
                    now <= start + delta + delta / 8 + 2,
                    "late: {start} + {delta}, now {now}"
                );
            }
            assert!(now >= start + delta, "early: {start} + {delta}, now {now}");
        }
    }

    #[test]
    fn a_removed_timer_does_not_fire() {
        let mut wheel = TimerWheel::new();
        let bucket = wheel.add(3, 1);
        assert_eq!(wheel.remove(bucket, |e| *e == 1), Some(1));
        assert!(wheel.expire(10).is_empty());
        assert!(wheel.is_empty());
    }

    #[test]
    fn the_next_expiry_is_the_smallest() {
        let mut wheel = TimerWheel::new();
        assert_eq!(wheel.next_expiry(), None);
        wheel.add(500, ());
        wheel.add(40, ());
        assert_eq!(wheel.next_expiry(), Some(40));
    }

    #[test]
    fn a_timer_of_the_past_fires_at_once() {
        let mut wheel = TimerWheel::new();
        wheel.expire(1000);
        wheel.add(5, ());
        assert_eq!(wheel.expire(1001).len(), 1);
    }
}
