//! The time stamp counter (Linux: arch/x86/kernel/tsc.c).

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu::common::set_cpu_khz;
use super::cpu::{Feature, boot_cpu_has};
use super::{acpi_pm, hpet, i8253};
use crate::kernel::time::{ClockSource, HZ, NSEC_PER_SEC, clocksource_register};
use crate::prelude::*;

/// Ticks in a second; 0 while unknown.
static TSC_HZ: AtomicU64 = AtomicU64::new(0);
/// Where the rate came from was exact, so that nothing has to be measured again.
static KNOWN_FREQ: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Reads the counter.
#[inline]
pub fn get_cycles() -> u64 {
    // SAFETY: RDTSC has no effect on memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks in a second; 0 while unknown.
#[inline]
pub fn tsc_hz() -> u64 {
    TSC_HZ.load(Ordering::Relaxed)
}
/// Ticks in a millisecond.
pub fn tsc_khz() -> u64 {
    tsc_hz() / 1000
}

/// Measures the rate as early as possible, by what needs no tables (Linux: `tsc_early_init`);
/// log lines get times from here on. Needs no heap and no interrupts.
#[__init]
pub fn tsc_early_init() {
    if let Some(hz) = determine_hz() {
        set_tsc_hz(hz);
    }
}

fn set_tsc_hz(hz: u64) {
    TSC_HZ.store(hz, Ordering::Relaxed);
    let khz = hz / 1000;
    set_cpu_khz(khz as u32);
    pr_info!(
        "tsc: Detected {}.{:03} MHz processor",
        khz / 1000,
        khz % 1000
    );
    crate::kernel::time::sched_clock_register(hz);
}

/// Linux: `determine_cpu_tsc_frequencies`.
fn determine_hz() -> Option<u64> {
    if let Some(hz) = native_calibrate_tsc() {
        KNOWN_FREQ.store(true, Ordering::Relaxed);
        return Some(hz);
    }
    // An SMI or a busy host can spoil one try.
    let hz = (0..3).find_map(|_| quick_pit_calibrate());
    match hz {
        Some(_) => pr_info!("tsc: Fast TSC calibration using PIT"),
        None => pr_info!("tsc: Fast TSC calibration failed"),
    }
    hz
}

/// What CPUID says (Linux: `native_calibrate_tsc`, `cpu_khz_from_cpuid`).
fn native_calibrate_tsc() -> Option<u64> {
    let max_leaf = __cpuid(0).eax;
    if max_leaf < 0x15 {
        return None;
    }
    let ratio = __cpuid_count(0x15, 0);
    if ratio.eax == 0 || ratio.ebx == 0 {
        return None;
    }
    if ratio.ecx != 0 {
        return Some(u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax));
    }
    // Without the crystal's rate: the base frequency, which is coarse but the same on all boots.
    let base_mhz = if max_leaf >= 0x16 {
        __cpuid(0x16).eax & 0xffff
    } else {
        0
    };
    (base_mhz != 0).then(|| u64::from(base_mhz) * 1_000_000)
}

/// Steps of 256 timer counts that are measured at most: 50 ms.
const MAX_QUICK_PIT_STEPS: u64 = 50 * i8253::PIT_TICK_RATE / 1000 / 256;
/// Relative error that is good enough: 1/2048, about 500 ppm.
const QUICK_PIT_PRECISION: u32 = 11;

/// The moment at which the timer's high byte changes to `value`, and how unsure it is
/// (Linux: `pit_expect_msb`). `None` if that does not happen when it should.
fn pit_expect_msb(value: u8) -> Option<(u64, u64)> {
    let mut before = 0;
    let mut now = 0;
    let mut count = 0;
    while count < 50_000 && i8253::channel2_high() == value {
        (before, now) = (now, get_cycles());
        count += 1;
    }
    // An emulated or trapped port may be so slow that a step goes by in a few reads.
    let error = get_cycles() - before;
    (count > 5).then_some((now, error))
}

/// Counts TSC ticks over some steps of the timer, until the uncertainty of both ends is small
/// enough (Linux: `quick_pit_calibrate`). Every wait is bounded: the timer may be gated.
fn quick_pit_calibrate() -> Option<u64> {
    i8253::start_channel2();
    let (start, error1) = pit_expect_msb(0xff)?;
    for step in 1..=MAX_QUICK_PIT_STEPS {
        let (end, error2) = pit_expect_msb(0xff - step as u8)?;
        let delta = end.saturating_sub(start);
        // Too unsure to get better in time: something else must do.
        if step == 1 && error1 + error2 >= (delta * MAX_QUICK_PIT_STEPS) >> QUICK_PIT_PRECISION {
            return None;
        }
        if error1 + error2 < delta >> QUICK_PIT_PRECISION {
            // The timer must not have stopped meanwhile, or jumped.
            pit_expect_msb(0xff - step as u8 - 1)?;
            return Some(delta * i8253::PIT_TICK_RATE / (step * 256));
        }
    }
    None
}

/// A counter of known rate other than the TSC.
#[derive(Clone, Copy)]
pub enum Reference {
    /// See `hpet`.
    Hpet,
    /// See `acpi_pm`.
    PmTimer,
}

impl Reference {
    /// The best one that counts.
    fn find() -> Option<Self> {
        if hpet::hpet_enable() {
            Some(Reference::Hpet)
        } else if acpi_pm::works() {
            Some(Reference::PmTimer)
        } else {
            None
        }
    }
    fn read(self) -> u32 {
        match self {
            Reference::Hpet => hpet::counter(),
            Reference::PmTimer => acpi_pm::counter(),
        }
        .unwrap_or(0)
    }
    fn mask(self) -> u32 {
        match self {
            Reference::Hpet => u32::MAX,
            Reference::PmTimer => acpi_pm::ACPI_PM_MASK,
        }
    }
    fn freq_hz(self) -> u64 {
        match self {
            Reference::Hpet => hpet::freq_hz(),
            Reference::PmTimer => acpi_pm::PMTMR_TICKS_PER_SEC,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Reference::Hpet => "HPET",
            Reference::PmTimer => "PMTIMER",
        }
    }
    /// Counter and TSC at the same moment: of several tries the one with the shortest read, so
    /// that an SMI in between does no harm (Linux: `tsc_read_refs`).
    fn sample(self) -> (u32, u64) {
        let try_once = |_| {
            let before = get_cycles();
            let count = self.read();
            (get_cycles().wrapping_sub(before), count, before)
        };
        let (took, count, before) = (0..5).map(try_once).min().unwrap_or((0, 0, 0));
        (count, before.wrapping_add(took / 2))
    }
}

/// Measures 10 ms by another counter (Linux: `pit_hpet_ptimer_calibrate_cpu`).
fn calibrate_by_reference() -> Option<u64> {
    let Some(reference) = Reference::find() else {
        pr_err!("tsc: Unable to calibrate against PIT");
        pr_notice!("tsc: No reference (HPET/PMTIMER) available");
        return None;
    };
    let (start, tsc_start) = reference.sample();
    Stopwatch::Reference(reference).wait_until(start.into(), 10_000_000)?;
    let (end, tsc_end) = reference.sample();
    let ticks = u64::from(end.wrapping_sub(start) & reference.mask());
    pr_info!("tsc: using {} reference calibration", reference.name());
    let cycles = u128::from(tsc_end.wrapping_sub(tsc_start));
    u64::try_from(cycles * u128::from(reference.freq_hz()) / u128::from(ticks.max(1))).ok()
}

/// The TSC if its rate is known, else another counter: measures short times without interrupts.
pub enum Stopwatch {
    /// The time stamp counter.
    Tsc,
    /// Something slower.
    Reference(Reference),
}

impl Stopwatch {
    /// The best one there is.
    pub fn find() -> Option<Self> {
        if tsc_hz() != 0 {
            return Some(Stopwatch::Tsc);
        }
        Reference::find().map(Stopwatch::Reference)
    }
    /// The counter now.
    pub fn now(&self) -> u64 {
        match self {
            Stopwatch::Tsc => get_cycles(),
            Stopwatch::Reference(reference) => reference.read().into(),
        }
    }
    /// Nanoseconds since the counter was at `start`.
    pub fn elapsed_ns(&self, start: u64) -> u64 {
        let passed = self.now().wrapping_sub(start);
        let (passed, hz) = match self {
            Stopwatch::Tsc => (passed, tsc_hz()),
            Stopwatch::Reference(reference) => {
                (passed & u64::from(reference.mask()), reference.freq_hz())
            }
        };
        let ns = u128::from(passed) * u128::from(NSEC_PER_SEC) / u128::from(hz.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
    /// Waits until `ns` have passed since `start`. `None` if the counter stands still.
    pub fn wait_until(&self, start: u64, ns: u64) -> Option<()> {
        const MAX_LOOKS: u32 = 100_000_000;
        (0..MAX_LOOKS)
            .find(|_| self.elapsed_ns(start) >= ns)
            .map(|_| ())
    }
}

struct Tsc;

impl ClockSource for Tsc {
    fn name(&self) -> &'static str {
        "tsc"
    }
    fn rating(&self) -> u32 {
        // It may stop in deep sleep, or change its rate, on old CPUs.
        if KNOWN_FREQ.load(Ordering::Relaxed) || is_stable() {
            300
        } else {
            240
        }
    }
    fn read(&self) -> u64 {
        get_cycles()
    }
    fn mask(&self) -> u64 {
        u64::MAX
    }
    fn freq_hz(&self) -> u64 {
        tsc_hz()
    }
    fn freq_scale(&self) -> u64 {
        1000 // Linux keeps kilohertz
    }
}

/// Constant rate whatever the power state, or an emulator, where the counter is the clock.
fn is_stable() -> bool {
    boot_cpu_has(Feature::CONSTANT_TSC) || boot_cpu_has(Feature::HYPERVISOR)
}

/// Measures the rate by another counter if that was not possible before, and offers the counters as clock sources
/// (Linux: `tsc_init`, `init_tsc_clocksource`). Heap needed.
#[__init]
pub fn tsc_init() {
    if tsc_hz() == 0
        && let Some(hz) = calibrate_by_reference()
    {
        set_tsc_hz(hz);
    }
    if hpet::hpet_enable() {
        hpet::register_clocksource();
    }
    acpi_pm::register_clocksource();
    if tsc_hz() == 0 {
        pr_notice!("tsc: Marking TSC unstable due to could not calculate TSC khz");
        return;
    }
    clocksource_register(Arc::new(Tsc));
}

/// Whether something counts that interrupts need not drive.
pub fn has_clocksource() -> bool {
    tsc_hz() != 0 || Reference::find().is_some()
}

/// Loops per jiffy of `__delay`, when the counter's rate is known (Linux: `lpj_fine`).
pub fn lpj_fine() -> Option<u64> {
    let hz = tsc_hz();
    (hz != 0).then_some(hz / HZ)
}
