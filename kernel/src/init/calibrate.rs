//! Loops per jiffy (Linux: init/calibrate.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch;
use crate::kernel::time::{HZ, jiffies};
use crate::prelude::*;

/// Loops of `delay_loops` in a jiffy (Linux: `loops_per_jiffy`); a guess before the calibration.
static LOOPS_PER_JIFFY: AtomicU64 = AtomicU64::new(1 << 12);
/// `lpj=`; 0 when it was not given.
static PRESET_LPJ: AtomicU64 = AtomicU64::new(0);
/// Bits that the refinement gets right.
const LPS_PREC: u32 = 8;

/// Loops of `delay_loops` in a jiffy.
pub fn loops_per_jiffy() -> u64 {
    LOOPS_PER_JIFFY.load(Ordering::Relaxed)
}

#[__init]
fn lpj_setup(value: &str) -> Result {
    let lpj = value.parse().map_err(|_| Errno::EINVAL)?;
    PRESET_LPJ.store(lpj, Ordering::Relaxed);
    Ok(())
}
crate::__setup!("lpj=", lpj_setup);

/// Finds out how long a loop takes and says so (Linux: `calibrate_delay`). Needs the tick unless
/// the counter's rate is known. Boot CPU, interrupts on.
#[__init]
pub fn calibrate_delay() {
    let (lpj, how) = match PRESET_LPJ.load(Ordering::Relaxed) {
        0 => match arch::lpj_fine() {
            Some(lpj) => (lpj, "(skipped), value calculated using timer frequency.."),
            None => (calibrate_delay_converge(), "loop..."),
        },
        lpj => (lpj, "(skipped) preset value.."),
    };
    let what = if how == "loop..." { "" } else { "loop " };
    let bogomips = Bogomips::of(lpj);
    pr_info!(
        "Calibrating delay {what}{how} {}.{:02} BogoMIPS (lpj={lpj})",
        bogomips.whole,
        bogomips.hundredths
    );
    LOOPS_PER_JIFFY.store(lpj, Ordering::Relaxed);
    arch::set_loops_per_jiffy(lpj);
}

/// The figure that a person sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bogomips {
    /// Before the point.
    pub whole: u64,
    /// Behind it.
    pub hundredths: u64,
}

impl Bogomips {
    /// From loops per jiffy; a loop counts as two instructions.
    pub fn of(lpj: u64) -> Self {
        Self {
            whole: lpj / (500_000 / HZ),
            hundredths: lpj / (5_000 / HZ) % 100,
        }
    }
}

/// A tick that does not come would make the kernel wait for ever: give up after this many looks.
const MAX_LOOKS: u64 = 10_000_000_000;

/// Waits for the beginning of the next tick; false if none comes.
fn wait_for_tick() -> bool {
    let start = jiffies();
    for _ in 0..MAX_LOOKS {
        if jiffies() != start {
            return true;
        }
        arch::cpu_relax();
    }
    false
}

/// Doubles the number of loops until they take a whole tick, then refines it bit by bit
/// (Linux: `calibrate_delay_converge`).
#[__init]
fn calibrate_delay_converge() -> u64 {
    let takes_a_tick = |loops: u64| {
        let in_step = wait_for_tick();
        let start = jiffies();
        arch::delay_loops(loops);
        !in_step || jiffies() != start
    };
    converge(takes_a_tick)
}

fn converge(mut takes_a_tick: impl FnMut(u64) -> bool) -> u64 {
    let mut lpj: u64 = 1 << 12;
    while lpj < 1 << 40 && !takes_a_tick(lpj) {
        lpj <<= 1;
    }
    lpj >>= 1;
    let mut bit = lpj;
    for _ in 0..LPS_PREC {
        bit >>= 1;
        if bit == 0 {
            break;
        }
        lpj |= bit;
        if takes_a_tick(lpj) {
            lpj &= !bit;
        }
    }
    lpj
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bogomips_are_two_per_loop() {
        let expected = Bogomips {
            whole: 4800,
            hundredths: 0,
        };
        assert_eq!(Bogomips::of(9_600_000), expected);
    }

    #[test]
    fn the_refinement_comes_within_a_256th_of_the_truth() {
        for truth in [5_000u64, 1_234_567, 9_600_000] {
            let found = converge(|loops| loops >= truth);
            assert!(
                found <= truth && truth - found <= truth / 128,
                "{found} {truth}"
            );
        }
    }
}
