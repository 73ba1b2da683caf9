//! The battery-backed clock (Linux: arch/x86/kernel/rtc.c, drivers/rtc/rtc-mc146818-lib.c).

use super::acpi::acpi;
use crate::arch::x86::asm::io::{inb, outb};
use crate::drivers::rtc::mc146818_lib::{RawTime, rtc_time64_to_tm};
use crate::prelude::*;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const SECONDS: u8 = 0;
const MINUTES: u8 = 2;
const HOURS: u8 = 4;
const DAY_OF_MONTH: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 10;
const STATUS_B: u8 = 11;
const UPDATE_IN_PROGRESS: u8 = 0x80;
/// Of status A: the divider stands still.
const DIVIDER_RESET: u8 = 0x70;
/// Of status B: the registers may be written.
const SET: u8 = 0x80;

static CMOS: IrqSpinLock<()> = IrqSpinLock::new(());

/// Reads one byte of CMOS memory; the caller holds the lock. NMIs stay enabled (bit 7 clear).
fn cmos_read(index: u8) -> u8 {
    // SAFETY: selects a byte; no device reacts to it.
    unsafe { outb(INDEX, index) };
    // SAFETY: reads the byte.
    unsafe { inb(DATA) }
}

/// Writes one byte of CMOS memory, for the reset code, which does not care who holds the lock.
pub fn cmos_write(index: u8, value: u8) {
    let _lock = CMOS.try_lock();
    cmos_write_locked(index, value);
}

/// Writes one byte of CMOS memory; the caller holds the lock.
fn cmos_write_locked(index: u8, value: u8) {
    // SAFETY: selects a byte.
    unsafe { outb(INDEX, index) };
    // SAFETY: the caller's byte; the clock and firmware read it, nothing else.
    unsafe { outb(DATA, value) };
}

/// Where the firmware keeps the century, if it does.
fn century_register() -> Option<u8> {
    let century = acpi().fadt.map_or(0, |fadt| fadt.century);
    (0x10..0x80).contains(&century).then_some(century)
}

fn read_raw() -> RawTime {
    RawTime {
        seconds: cmos_read(SECONDS),
        minutes: cmos_read(MINUTES),
        hours: cmos_read(HOURS),
        day: cmos_read(DAY_OF_MONTH),
        month: cmos_read(MONTH),
        year: cmos_read(YEAR),
        century: century_register().map_or(0, cmos_read),
        control: cmos_read(STATUS_B),
    }
}

/// Seconds since 1970 by the clock, taken as UTC; `None` when there is no clock or it shows
/// nonsense. May take some milliseconds, but not with interrupts off.
pub fn read_persistent_clock() -> Option<u64> {
    if acpi().fadt.is_some_and(|fadt| !fadt.has_cmos_rtc) {
        return None;
    }
    // An update takes about 2 ms.
    (0..10_000).find_map(|_| read_between_updates())?.to_unix()
}

/// The registers, unless the clock is changing them.
fn read_between_updates() -> Option<RawTime> {
    let _lock = CMOS.lock();
    let quiet = || cmos_read(STATUS_A) & UPDATE_IN_PROGRESS == 0;
    if !quiet() {
        return None;
    }
    let first = read_raw();
    (quiet() && read_raw() == first).then_some(first)
}

/// Sets the clock to seconds since 1970, UTC (Linux: `mc146818_set_time`). Errors: ENODEV, EINVAL for a year that it
/// cannot hold.
pub fn write_persistent_clock(seconds: u64) -> Result {
    if acpi().fadt.is_some_and(|fadt| !fadt.has_cmos_rtc) {
        return Err(Errno::ENODEV);
    }
    let _lock = CMOS.lock();
    let time = rtc_time64_to_tm(seconds);
    let raw = RawTime::from_time(&time, read_raw()).ok_or(Errno::EINVAL)?;
    let divider = cmos_read(STATUS_A);
    cmos_write_locked(STATUS_B, raw.control | SET);
    cmos_write_locked(STATUS_A, divider | DIVIDER_RESET);
    for (register, value) in [
        (SECONDS, raw.seconds),
        (MINUTES, raw.minutes),
        (HOURS, raw.hours),
        (DAY_OF_MONTH, raw.day),
        (MONTH, raw.month),
        (YEAR, raw.year),
    ] {
        cmos_write_locked(register, value);
    }
    if let Some(register) = century_register() {
        cmos_write_locked(register, raw.century);
    }
    cmos_write_locked(STATUS_B, raw.control & !SET);
    cmos_write_locked(STATUS_A, divider & !UPDATE_IN_PROGRESS);
    Ok(())
}
