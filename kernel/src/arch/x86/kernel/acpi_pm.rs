//! The ACPI power management timer (Linux: drivers/clocksource/acpi_pm.c).

use super::acpi::acpi;
use crate::arch::x86::asm::io::inl;
use crate::drivers::acpi::tables::Register;
use crate::kernel::time::{ClockSource, clocksource_register};
use crate::prelude::*;

/// Counts in a second.
pub const PMTMR_TICKS_PER_SEC: u64 = 3_579_545;
/// All timers have 24 bits, some more; 24 are enough.
pub const ACPI_PM_MASK: u32 = 0xff_ffff;

fn port() -> Option<u16> {
    match acpi().fadt.filter(|fadt| !fadt.hw_reduced)?.pm_timer? {
        Register::Io(port) => Some(port),
        _ => None,
    }
}

/// The count; `None` without timer.
pub fn counter() -> Option<u32> {
    // SAFETY: the FADT says that the timer is there; reading has no effect.
    port().map(|port| unsafe { inl(port) } & ACPI_PM_MASK)
}

struct AcpiPm(u16);

impl ClockSource for AcpiPm {
    fn name(&self) -> &'static str {
        "acpi_pm"
    }
    fn rating(&self) -> u32 {
        200
    }
    fn read(&self) -> u64 {
        // SAFETY: as in `counter`.
        (unsafe { inl(self.0) } & ACPI_PM_MASK).into()
    }
    fn mask(&self) -> u64 {
        ACPI_PM_MASK.into()
    }
    fn freq_hz(&self) -> u64 {
        PMTMR_TICKS_PER_SEC
    }
}

/// Whether the timer counts.
pub fn works() -> bool {
    let Some(start) = counter() else {
        return false;
    };
    (0..100_000).any(|_| counter() != Some(start))
}

/// Offers the timer as a clock source, if it counts.
pub fn register_clocksource() {
    if let Some(port) = port().filter(|_| works()) {
        clocksource_register(Arc::new(AcpiPm(port)));
    }
}
