//! Clock sources and the clocks made from them (Linux: kernel/time/timekeeping.c,
//! kernel/time/clocksource.c, kernel/sched/clock.c).
//!
//! A reader multiplies the cycles since the last update: `ns = base + (cycles * mult >> 32)`.
//! The values it needs stand in a latch: two copies and a sequence number, so that a reader never
//! waits for the writer, not even in an NMI.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::clocksource::Conversion;
use super::{HZ, NSEC_PER_SEC, TICK_NSEC, ntp};
use crate::arch;
use crate::prelude::*;

/// A counter that never stops (Linux: `struct clocksource`).
pub trait ClockSource: Send + Sync {
    /// Name, as in /sys/devices/system/clocksource.
    fn name(&self) -> &'static str;
    /// Higher is better: 1 jiffies, 110 PIT, 200 ACPI PM, 250 HPET, 300 TSC.
    fn rating(&self) -> u32;
    /// The counter.
    fn read(&self) -> u64;
    /// Where it wraps: `value & mask`.
    fn mask(&self) -> u64;
    /// Counts per second.
    fn freq_hz(&self) -> u64;
    /// Hertz to which the frequency is known.
    fn freq_scale(&self) -> u64 {
        1
    }
}

const SHIFT: u32 = 32;

/// One copy of what a reader needs.
#[derive(Default)]
struct Copy {
    cycle_last: AtomicU64,
    mult: AtomicU64,
    base_ns: AtomicU64,
}

impl Copy {
    const fn new() -> Self {
        Self {
            cycle_last: AtomicU64::new(0),
            mult: AtomicU64::new(0),
            base_ns: AtomicU64::new(0),
        }
    }

    fn set(&self, cycle_last: u64, mult: u64, base_ns: u64) {
        self.cycle_last.store(cycle_last, Ordering::Relaxed);
        self.mult.store(mult, Ordering::Relaxed);
        self.base_ns.store(base_ns, Ordering::Relaxed);
    }
}

/// Two copies; the sequence number's lowest bit says which one readers use.
struct Latch {
    seq: AtomicU64,
    copies: [Copy; 2],
}

impl Latch {
    const fn new() -> Self {
        Self {
            seq: AtomicU64::new(0),
            copies: [Copy::new(), Copy::new()],
        }
    }

    /// Only one writer at a time.
    fn write(&self, cycle_last: u64, mult: u64, base_ns: u64) {
        for _ in 0..2 {
            let seq = self.seq.load(Ordering::Relaxed);
            // Readers go to the other copy while this one changes.
            self.seq.store(seq + 1, Ordering::Release);
            fence(Ordering::SeqCst);
            self.copies[(seq & 1) as usize].set(cycle_last, mult, base_ns);
            fence(Ordering::SeqCst);
        }
    }

    fn read(&self, now: impl Fn() -> u64, mask: u64) -> u64 {
        loop {
            let seq = self.seq.load(Ordering::Acquire);
            let copy = &self.copies[(seq & 1) as usize];
            let last = copy.cycle_last.load(Ordering::Relaxed);
            let mult = copy.mult.load(Ordering::Relaxed);
            let base = copy.base_ns.load(Ordering::Relaxed);
            let delta = now().wrapping_sub(last) & mask;
            fence(Ordering::Acquire);
            if self.seq.load(Ordering::Relaxed) == seq {
                return base + cycles_to_ns(delta, mult);
            }
        }
    }
}

fn mult_for(freq_hz: u64) -> u64 {
    ((u128::from(NSEC_PER_SEC) << SHIFT) / u128::from(freq_hz.max(1))) as u64
}

/// A factor for a clock that is to go faster by so many billionths (Linux: `timekeeping_adjust`).
fn adjusted(mult: u64, billionths: i64) -> u64 {
    if billionths == 0 {
        return mult;
    }
    let change = i128::from(mult) * i128::from(billionths) / i128::from(NSEC_PER_SEC);
    mult.saturating_add_signed(change as i64)
}

fn cycles_to_ns(cycles: u64, mult: u64) -> u64 {
    ((u128::from(cycles) * u128::from(mult)) >> SHIFT) as u64
}

// --- sched_clock: time stamps of log lines and the scheduler ---

static SCHED_CLOCK: Latch = Latch::new();

/// Makes the cycle counter the base of `sched_clock` (Linux: `sched_clock_init`, tsc.c). It goes
/// on where it stands, so that log stamps never jump back.
pub fn sched_clock_register(freq_hz: u64) {
    let now = arch::get_cycles();
    SCHED_CLOCK.write(now, mult_for(freq_hz), sched_clock());
}

/// Nanoseconds since the cycle counter was calibrated; 0 before that. Any context, NMI too.
pub fn sched_clock() -> u64 {
    SCHED_CLOCK.read(arch::get_cycles, u64::MAX)
}

// --- the timekeeper ---

struct Timekeeper {
    source: Option<Arc<dyn ClockSource>>,
    /// CLOCK_MONOTONIC at the last update, ns.
    updated: u64,
    sources: Vec<Arc<dyn ClockSource>>,
}

static TIMEKEEPER: IrqSpinLock<Timekeeper> = SpinLock::new(Timekeeper {
    source: None,
    updated: 0,
    sources: Vec::new(),
});
static MONOTONIC: Latch = Latch::new();
static SOURCE_MASK: AtomicU64 = AtomicU64::new(u64::MAX);
/// CLOCK_REALTIME minus CLOCK_MONOTONIC, ns.
static OFFS_REAL: AtomicU64 = AtomicU64::new(0);
/// Whether the current source is the cycle counter itself: then no virtual call is needed.
static SOURCE_IS_TSC: AtomicBool = AtomicBool::new(false);
/// From here on a change of the source is announced.
static FINISHED_BOOTING: AtomicBool = AtomicBool::new(false);

/// The tick count as a clock source: the one that is always there.
struct JiffiesSource;

impl ClockSource for JiffiesSource {
    fn name(&self) -> &'static str {
        "jiffies"
    }
    fn rating(&self) -> u32 {
        1
    }
    fn read(&self) -> u64 {
        super::timer::jiffies()
    }
    fn mask(&self) -> u64 {
        u32::MAX.into()
    }
    fn freq_hz(&self) -> u64 {
        HZ
    }
}

/// Starts the clocks from the battery-backed clock (Linux: `timekeeping_init`).
#[__init]
pub fn timekeeping_init() {
    let source: Arc<dyn ClockSource> = Arc::new(JiffiesSource);
    {
        let mut keeper = TIMEKEEPER.lock();
        keeper.sources.push(source.clone());
        select(&mut keeper, source, 0);
    }
    match arch::read_persistent_clock() {
        Some(seconds) => OFFS_REAL.store(seconds * NSEC_PER_SEC, Ordering::Relaxed),
        None => pr_warn!("Persistent clock returned invalid value"),
    }
}

/// Uses `source` from `base_ns` on.
fn select(keeper: &mut Timekeeper, source: Arc<dyn ClockSource>, base_ns: u64) {
    SOURCE_MASK.store(source.mask(), Ordering::Relaxed);
    SOURCE_IS_TSC.store(source.name() == "tsc", Ordering::Relaxed);
    let now = source.read();
    keeper.source = Some(source.clone());
    MONOTONIC.write(now, mult_for(source.freq_hz()), base_ns);
}

/// The tick counter as a source is announced when the others can be too (Linux: kernel/time/jiffies.c).
#[__init]
fn init_jiffies_clocksource() -> Result {
    announce(&JiffiesSource, Conversion::of_jiffies());
    Ok(())
}
core_initcall!(init_jiffies_clocksource);

fn announce(source: &dyn ClockSource, conversion: Conversion) {
    let (name, mask) = (source.name(), source.mask());
    let limits = conversion.deferment(mask);
    let (max_cycles, max_idle_ns) = (limits.max_cycles, limits.max_idle_ns);
    pr_info!(
        "clocksource: {name}: mask: {mask:#x} max_cycles: {max_cycles:#x}, max_idle_ns: {max_idle_ns} ns"
    );
}

/// Adds a clock source and switches to it if it is the best (Linux: `__clocksource_register_scale`).
pub fn clocksource_register(source: Arc<dyn ClockSource>) {
    let scale = source.freq_scale();
    let conversion = Conversion::of_counter(source.freq_hz() / scale, scale, source.mask());
    announce(&*source, conversion);
    let mut keeper = TIMEKEEPER.lock();
    keeper.sources.push(source.clone());
    let better = keeper
        .source
        .as_ref()
        .is_none_or(|s| source.rating() > s.rating());
    if better {
        let base = now_locked(&keeper);
        select(&mut keeper, source.clone(), base);
        drop(keeper);
        if FINISHED_BOOTING.load(Ordering::Relaxed) {
            announce_switch(source.name());
        }
    }
}

fn announce_switch(name: &str) {
    pr_info!("clocksource: Switched to clocksource {name}");
}

/// The sources of the machine itself are all known: the one in use is announced
/// (Linux: `clocksource_done_booting`).
#[__init]
fn clocksource_done_booting() -> Result {
    FINISHED_BOOTING.store(true, Ordering::Relaxed);
    announce_switch(clocksource_names().1);
    Ok(())
}
fs_initcall!(clocksource_done_booting);

fn now_locked(keeper: &Timekeeper) -> u64 {
    match &keeper.source {
        Some(source) => MONOTONIC.read(|| source.read(), source.mask()),
        None => 0,
    }
}

/// Names of the sources, best first, and of the current one.
pub fn clocksource_names() -> (Vec<&'static str>, &'static str) {
    let keeper = TIMEKEEPER.lock();
    let mut sources: Vec<_> = keeper
        .sources
        .iter()
        .map(|s| (s.rating(), s.name()))
        .collect();
    sources.sort_by(|a, b| b.cmp(a));
    let current = keeper.source.as_ref().map_or("jiffies", |s| s.name());
    (sources.into_iter().map(|(_, name)| name).collect(), current)
}

/// Called by the tick: folds the elapsed cycles into the base, so that a narrow counter never
/// wraps unseen (Linux: `update_wall_time`).
pub fn update_wall_time() {
    let mut keeper = TIMEKEEPER.lock();
    let Some(source) = &keeper.source else {
        return;
    };
    // One reading for both: what passes between two would be lost.
    let now = source.read();
    let base = MONOTONIC.read(|| now, source.mask());
    let adjustment = ntp::advance(base.saturating_sub(keeper.updated));
    MONOTONIC.write(now, adjusted(mult_for(source.freq_hz()), adjustment), base);
    keeper.updated = base;
}

/// Nanoseconds since boot, CLOCK_MONOTONIC. Any context.
#[inline]
pub fn ktime_get() -> u64 {
    if SOURCE_IS_TSC.load(Ordering::Relaxed) {
        return MONOTONIC.read(arch::get_cycles, u64::MAX);
    }
    if cfg!(test) {
        return arch::get_cycles();
    }
    now_locked(&TIMEKEEPER.lock())
}

/// Nanoseconds since boot with sleep included; the machine never sleeps, so CLOCK_MONOTONIC.
pub fn ktime_get_boottime() -> u64 {
    ktime_get()
}

/// Nanoseconds since 1970, CLOCK_REALTIME.
pub fn ktime_get_real() -> u64 {
    ktime_get() + OFFS_REAL.load(Ordering::Relaxed)
}

/// CLOCK_REALTIME with the resolution of a tick, cheap: file time stamps.
pub fn ktime_get_coarse_real() -> u64 {
    ktime_get_real() / TICK_NSEC * TICK_NSEC
}

/// Sets CLOCK_REALTIME, ns since 1970 (Linux: `do_settimeofday64`).
pub fn set_real_time(ns: u64) {
    OFFS_REAL.store(ns.saturating_sub(ktime_get()), Ordering::Relaxed);
    super::hrtimer::clock_was_set();
}

/// Moves CLOCK_REALTIME, ns (Linux: `timekeeping_inject_offset`). Errors: EINVAL for a time before 1970.
pub(super) fn move_real_time(ns: i64) -> Result {
    let moved = ktime_get_real().checked_add_signed(ns);
    set_real_time(moved.ok_or(Errno::EINVAL)?);
    Ok(())
}

/// Boot time in seconds since 1970 (/proc/stat, btime).
pub fn boot_time_seconds() -> u64 {
    OFFS_REAL.load(Ordering::Relaxed) / NSEC_PER_SEC
}

/// CLOCK_REALTIME minus CLOCK_MONOTONIC, ns.
pub fn real_offset() -> u64 {
    OFFS_REAL.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latch_turns_cycles_into_nanoseconds() {
        let latch = Latch::new();
        latch.write(1000, mult_for(2_000_000_000), 5);
        assert_eq!(latch.read(|| 3000, u64::MAX), 5 + 1000);
    }

    #[test]
    fn an_adjusted_clock_gains_and_loses_what_was_asked_for() {
        let mult = mult_for(2_000_000_000);
        for adjustment in [0, 500_000, -500_000, 7] {
            let second = cycles_to_ns(2_000_000_000, adjusted(mult, adjustment));
            let gained = second as i64 - NSEC_PER_SEC as i64;
            assert!((gained - adjustment).abs() <= 1, "{gained}");
        }
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let latch = Latch::new();
        latch.write(0xffff_fff0, mult_for(NSEC_PER_SEC), 0);
        let ns = latch.read(|| 0x10, 0xffff_ffff);
        assert!((31..=32).contains(&ns), "{ns}");
    }
}
