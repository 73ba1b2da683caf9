//! The battery-backed clock (Linux: arch/x86/kernel/rtc.c, drivers/rtc/rtc-mc146818-lib.c).

use super::acpi::acpi;
use crate::arch::x86::asm::io::{inb, outb};
use crate::drivers::rtc::mc146818_lib::RawTime;
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
    // SAFETY: selects a byte.
    unsafe { outb(INDEX, index) };
    // SAFETY: the caller's byte; it is only read by firmware.
    unsafe { outb(DATA, value) };
}

fn read_raw() -> RawTime {
    let century = acpi().fadt.map_or(0, |fadt| fadt.century);
    RawTime {
        seconds: cmos_read(SECONDS),
        minutes: cmos_read(MINUTES),
        hours: cmos_read(HOURS),
        day: cmos_read(DAY_OF_MONTH),
        month: cmos_read(MONTH),
        year: cmos_read(YEAR),
        century: if (0x10..0x80).contains(&century) {
            cmos_read(century)
        } else {
            0
        },
        control: cmos_read(STATUS_B),
    }
}

/// Seconds since 1970 by the clock, taken as UTC; `None` when there is no clock or it shows
/// nonsense. Boot and suspend only: may take some milliseconds.
pub fn read_persistent_clock() -> Option<u64> {
    if acpi().fadt.is_some_and(|fadt| !fadt.has_cmos_rtc) {
        return None;
    }
    let _lock = CMOS.lock();
    // Two equal readings outside an update; an update takes about 2 ms.
    for _ in 0..10 {
        (0..10_000).find(|_| cmos_read(STATUS_A) & UPDATE_IN_PROGRESS == 0)?;
        let first = read_raw();
        if cmos_read(STATUS_A) & UPDATE_IN_PROGRESS == 0 && read_raw() == first {
            return first.to_unix();
        }
    }
    None
}
