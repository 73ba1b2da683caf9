//! Which interrupt ticks (Linux: arch/x86/kernel/time.c).

use super::{apic, i8253, irqinit, tsc};
use crate::prelude::*;

/// Nothing can be measured before interrupts are set up; `late_time_init` does the work
/// (Linux: `time_init`).
#[__init]
pub fn time_init() {
    i8253::stop_channel0(); // firmware may have left it ticking
}

/// Interrupt controllers, clock sources and the boot CPU's tick (Linux: `x86_late_time_init`).
/// Boot CPU, heap and time keeping ready, interrupts on or off.
#[__init]
pub fn late_time_init() {
    let flags = crate::arch::local_irq_save();
    irqinit::apic_intr_mode_init();
    tsc::tsc_init();
    let ticking = if tsc::has_clocksource() {
        apic::setup_apic_timer() || i8253::setup_pit_timer()
    } else {
        i8253::setup_pit_periodic()
    };
    if !ticking {
        pr_err!("No timer interrupt: time will stand still");
    }
    crate::arch::local_irq_restore(flags);
}
