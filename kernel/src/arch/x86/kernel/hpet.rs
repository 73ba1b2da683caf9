//! The high precision event timer's counter (Linux: arch/x86/kernel/hpet.c). Its comparators are
//! not used: the local APIC timers are better.

use core::sync::atomic::{AtomicU64, Ordering};

use super::acpi::acpi;
use crate::arch::x86::mm::init_64::Cache;
use crate::arch::x86::mm::ioremap::ioremap;
use crate::kernel::time::{ClockSource, clocksource_register};
use crate::prelude::*;

const HPET_ID: u64 = 0;
const HPET_PERIOD: u64 = 4;
const HPET_CFG: u64 = 0x10;
const HPET_COUNTER: u64 = 0xf0;
const CFG_ENABLE: u32 = 1;
const CFG_LEGACY: u32 = 2;
/// Longest and shortest period that the specification and sense allow, femtoseconds.
const MAX_PERIOD_FS: u64 = 100_000_000;
const MIN_PERIOD_FS: u64 = 100_000;

/// Mapped registers, 0 without HPET.
static BASE: AtomicU64 = AtomicU64::new(0);
static FREQ_HZ: AtomicU64 = AtomicU64::new(0);

fn read(register: u64) -> u32 {
    let address = BASE.load(Ordering::Relaxed) + register;
    // SAFETY: the page is mapped for ever; BASE is not 0 (callers).
    unsafe { (address as *const u32).read_volatile() }
}
fn write(register: u64, value: u32) {
    let address = BASE.load(Ordering::Relaxed) + register;
    // SAFETY: as above; configuration only.
    unsafe { (address as *mut u32).write_volatile(value) };
}

/// The counter's low half; `None` without HPET.
pub fn counter() -> Option<u32> {
    (BASE.load(Ordering::Relaxed) != 0).then(|| read(HPET_COUNTER))
}
/// Counts in a second.
pub fn freq_hz() -> u64 {
    FREQ_HZ.load(Ordering::Relaxed)
}

/// Finds the HPET by its ACPI table and starts its counter (Linux: `hpet_enable`). False without
/// a working one. After `acpi_boot_init`.
pub fn hpet_enable() -> bool {
    if BASE.load(Ordering::Relaxed) != 0 {
        return true;
    }
    let Some(address) = acpi().hpet else {
        return false;
    };
    let Ok(mapped) = ioremap(address, 1024, Cache::Uncached) else {
        return false;
    };
    BASE.store(mapped.as_u64(), Ordering::Relaxed);
    let period = u64::from(read(HPET_PERIOD));
    let runs = (MIN_PERIOD_FS..=MAX_PERIOD_FS).contains(&period)
        && read(HPET_ID) != u32::MAX
        && start_counter();
    if !runs {
        BASE.store(0, Ordering::Relaxed);
        return false;
    }
    FREQ_HZ.store(1_000_000_000_000_000 / period, Ordering::Relaxed);
    true
}

/// The counter must move, or it is no counter.
fn start_counter() -> bool {
    write(HPET_CFG, read(HPET_CFG) & !CFG_LEGACY | CFG_ENABLE);
    let start = read(HPET_COUNTER);
    (0..100_000).any(|_| read(HPET_COUNTER) != start)
}

struct Hpet;

impl ClockSource for Hpet {
    fn name(&self) -> &'static str {
        "hpet"
    }
    fn rating(&self) -> u32 {
        250
    }
    fn read(&self) -> u64 {
        read(HPET_COUNTER).into()
    }
    fn mask(&self) -> u64 {
        u32::MAX.into()
    }
    fn freq_hz(&self) -> u64 {
        freq_hz()
    }
}

/// Offers the counter as a clock source.
pub fn register_clocksource() {
    if BASE.load(Ordering::Relaxed) != 0 {
        clocksource_register(Arc::new(Hpet));
    }
}
