//! The programmable interval timer (Linux: arch/x86/kernel/i8253.c, drivers/clocksource/i8253.c).

use crate::arch::x86::asm::io::{inb, outb};
use crate::kernel::irq::{IrqReturn, IrqfFlags, request_irq_flags};
use crate::kernel::time::tick::tick_periodic;
use crate::kernel::time::{ClockEventDevice, HZ, NSEC_PER_SEC, clockevents_register_device};
use crate::prelude::*;

/// Counts in a second.
pub const PIT_TICK_RATE: u64 = 1_193_182;
const PIT_CH0: u16 = 0x40;
const PIT_CH2: u16 = 0x42;
const PIT_MODE: u16 = 0x43;
/// Gate and output of channel 2, and the speaker.
const PORT_B: u16 = 0x61;
const PORT_B_GATE2: u8 = 1;
const PORT_B_SPEAKER: u8 = 2;

/// Both ports are the timer's alone; a write changes only its count or mode.
fn write(port: u16, value: u8) {
    // SAFETY: as the comment above says.
    unsafe { outb(port, value) };
}
fn read(port: u16) -> u8 {
    // SAFETY: reads the count.
    unsafe { inb(port) }
}

/// Makes channel 2 count down from 65,536 once, silently (Linux: `quick_pit_calibrate`).
pub fn start_channel2() {
    write(PORT_B, read(PORT_B) & !PORT_B_SPEAKER | PORT_B_GATE2);
    write(PIT_MODE, 0xb0); // channel 2, low then high byte, mode 0
    write(PIT_CH2, 0xff);
    write(PIT_CH2, 0xff);
    // The count is loaded with the next tick.
    read(PIT_CH2);
    read(PIT_CH2);
}

/// High byte of channel 2's count; the low byte must be read first.
pub fn channel2_high() -> u8 {
    read(PIT_CH2);
    read(PIT_CH2)
}

/// Channel 0 as a one-shot timer: the tick of a machine without local APIC.
struct PitDevice;

impl ClockEventDevice for PitDevice {
    fn name(&self) -> &'static str {
        "pit"
    }
    fn set_next_event(&self, delta_ns: u64) {
        let ticks = (delta_ns * PIT_TICK_RATE / NSEC_PER_SEC).clamp(1, 0xffff);
        let flags = crate::arch::local_irq_save();
        write(PIT_MODE, 0x38); // channel 0, low then high byte, mode 4
        write(PIT_CH0, ticks as u8);
        write(PIT_CH0, (ticks >> 8) as u8);
        crate::arch::local_irq_restore(flags);
    }
    fn shutdown(&self) {
        write(PIT_MODE, 0x30); // mode 0 without a count: no interrupt
    }
    fn min_delta_ns(&self) -> u64 {
        12_571
    }
    fn max_delta_ns(&self) -> u64 {
        27_461_862
    }
}

/// Makes channel 0 the boot CPU's clock event device (Linux: `pit_timer_init`,
/// `setup_default_timer_irq`). Interrupts are off. False: its interrupt cannot be had.
pub fn setup_pit_timer() -> bool {
    let handler = Arc::new(|| {
        crate::kernel::time::timer_interrupt();
        IrqReturn::Handled
    });
    if request_irq_flags(0, handler, IrqfFlags::TIMER, "timer").is_err() {
        return false;
    }
    clockevents_register_device(0, Arc::new(PitDevice));
    true
}

/// Makes channel 0 tick [`HZ`] times a second: on a machine where nothing else counts, the ticks
/// themselves are the clock. False: its interrupt cannot be had.
pub fn setup_pit_periodic() -> bool {
    let latch = ((PIT_TICK_RATE + HZ / 2) / HZ) as u16;
    let handler = Arc::new(|| {
        tick_periodic();
        IrqReturn::Handled
    });
    if request_irq_flags(0, handler, IrqfFlags::TIMER, "timer").is_err() {
        return false;
    }
    write(PIT_MODE, 0x34); // channel 0, low then high byte, mode 2
    write(PIT_CH0, latch as u8);
    write(PIT_CH0, (latch >> 8) as u8);
    true
}

/// Stops channel 0, which the firmware may have left running.
pub fn stop_channel0() {
    PitDevice.shutdown();
}
