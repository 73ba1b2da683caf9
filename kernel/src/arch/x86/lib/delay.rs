//! Short busy waits (Linux: arch/x86/lib/delay.c).

use crate::arch::x86::asm::io::io_delay;
use crate::arch::x86::kernel::tsc::{get_cycles, tsc_hz};

/// Waits for `ticks` of the time stamp counter (Linux: `__delay`, `delay_tsc`).
pub fn delay_loops(ticks: u64) {
    let start = get_cycles();
    while get_cycles().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
}

/// Waits for at least `ns` nanoseconds. Any context.
pub fn ndelay(ns: u64) {
    let hz = tsc_hz();
    if hz != 0 {
        delay_loops(ns.saturating_mul(hz / 1000) / 1_000_000 + 1);
    } else {
        // An access to an old port takes about a microsecond.
        (0..ns / 1000 + 1).for_each(|_| io_delay());
    }
}

/// Waits for at least `us` microseconds. Any context.
pub fn udelay(us: u64) {
    ndelay(us.saturating_mul(1000));
}

/// Waits for at least `ms` milliseconds. Any context; sleeping is better where it is possible.
pub fn mdelay(ms: u64) {
    (0..ms).for_each(|_| udelay(1000));
}
