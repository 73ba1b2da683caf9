//! The load average (Linux: kernel/sched/loadavg.c).
//!
//! Every five seconds the number of runnable and uninterruptible tasks goes into three averages
//! that forget exponentially, in fixed point.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::core::{nr_running, nr_uninterruptible};
use crate::kernel::time::HZ;

/// Bits after the point.
pub const FSHIFT: u32 = 11;
/// 1.0.
pub const FIXED_1: u64 = 1 << FSHIFT;
/// Ticks between two samples.
const LOAD_FREQ: u64 = 5 * HZ + 1;
/// What is kept of the old value after five seconds: e^(-5 s / 1, 5, 15 min).
const EXP: [u64; 3] = [1884, 2014, 2037];

static AVENRUN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// When the next sample is due, in jiffies.
static CALC_LOAD_UPDATE: AtomicU64 = AtomicU64::new(LOAD_FREQ);

/// One step of an average (Linux: `calc_load`).
fn calc_load(load: u64, exp: u64, active: u64) -> u64 {
    let mut next = load * exp + active * (FIXED_1 - exp);
    if active >= load {
        next += FIXED_1 - 1; // rounds up while rising, so that a steady load is reached
    }
    next / FIXED_1
}

/// Takes a sample if one is due at `now`, in jiffies. Whoever advances the time calls it; should
/// two do so at once, one of them does the work (Linux: `calc_global_load`).
pub fn calc_global_load(now: u64) {
    let due = CALC_LOAD_UPDATE.load(Ordering::Relaxed);
    if now < due {
        return;
    }
    // Samples that were missed (a stopped tick) are skipped, not made up.
    let next = now + LOAD_FREQ;
    if CALC_LOAD_UPDATE
        .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    let active = (u64::from(nr_running()) + nr_uninterruptible()) * FIXED_1;
    for (average, exp) in AVENRUN.iter().zip(EXP) {
        let load = average.load(Ordering::Relaxed);
        average.store(calc_load(load, exp, active), Ordering::Relaxed);
    }
}

/// The averages over 1, 5 and 15 minutes in fixed point with `FSHIFT` bits (sysinfo(2) shifts
/// them further).
pub fn loadavg_fixed() -> [u64; 3] {
    core::array::from_fn(|i| AVENRUN[i].load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_is_reached_and_an_idle_machine_goes_to_zero() {
        let mut load = 0;
        for _ in 0..200 {
            load = calc_load(load, EXP[0], 2 * FIXED_1);
        }
        assert_eq!(load, 2 * FIXED_1);
        for _ in 0..200 {
            load = calc_load(load, EXP[0], 0);
        }
        assert_eq!(load, 0);
    }
    #[test]
    fn one_minute_of_load_one_gives_about_two_thirds() {
        let load = (0..12).fold(0, |load, _| calc_load(load, EXP[0], FIXED_1));
        let percent = load * 100 / FIXED_1;
        assert!((62..=65).contains(&percent), "{percent} %");
    }
}
