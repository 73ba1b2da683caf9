//! How long a clock source may go unread (Linux: kernel/time/clocksource.c).
#![forbid(unsafe_code)]

use super::{NSEC_PER_SEC, TICK_NSEC};

/// No conversion needs to cover more seconds than this.
const MAX_SECONDS: u64 = 600;
/// The shift of Linux's jiffies clock source.
const JIFFIES_SHIFT: u32 = 8;
/// By how many hundredths the correction of the clock may change `mult`.
const MAX_ADJUSTMENT_PERCENT: u64 = 11;

/// Nanoseconds of counted cycles in 64-bit arithmetic: `cycles * mult >> shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    mult: u32,
    shift: u32,
}

/// Up to where a [`Conversion`] can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferment {
    /// Cycles that can be converted without an overflow.
    pub max_cycles: u64,
    /// Half of their time, ns: the clock must be read that often.
    pub max_idle_ns: u64,
}

impl Conversion {
    /// The finest conversion for a counter with `freq` steps of `scale` hertz that wraps at `mask`
    /// (Linux: `__clocksource_update_freq_scale`).
    pub fn of_counter(freq: u64, scale: u64, mask: u64) -> Self {
        let (freq, scale) = (freq.max(1), scale.max(1));
        let mut seconds = (mask / freq / scale).max(1);
        if mask > u32::MAX.into() {
            seconds = seconds.min(MAX_SECONDS);
        }
        let mut conversion =
            Self::finest(freq, NSEC_PER_SEC / scale, seconds.saturating_mul(scale));
        while conversion.shift > 0 && conversion.largest_mult() > u32::MAX.into() {
            conversion.mult >>= 1;
            conversion.shift -= 1;
        }
        conversion
    }

    /// The one of the tick counter.
    pub fn of_jiffies() -> Self {
        Self {
            mult: (TICK_NSEC << JIFFIES_SHIFT) as u32,
            shift: JIFFIES_SHIFT,
        }
    }

    /// The largest shift with which `seconds` seconds of cycles still convert (Linux:
    /// `clocks_calc_mult_shift`).
    fn finest(from: u64, to: u64, seconds: u64) -> Self {
        let cycles_bits = 64 - (seconds.saturating_mul(from) >> 32).leading_zeros();
        let mult_bits = 32u32.saturating_sub(cycles_bits);
        let mult_at = |shift: u32| ((to << shift) + from / 2) / from;
        let fits = |shift: &u32| mult_at(*shift) >> mult_bits == 0;
        let shift = (1..=32).rev().find(fits).unwrap_or(0);
        Self {
            mult: u32::try_from(mult_at(shift)).unwrap_or(u32::MAX),
            shift,
        }
    }

    fn adjustment(self) -> u64 {
        u64::from(self.mult) * MAX_ADJUSTMENT_PERCENT / 100
    }

    fn largest_mult(self) -> u64 {
        u64::from(self.mult) + self.adjustment()
    }

    /// Linux: `clocks_calc_max_nsecs`.
    pub fn deferment(self, mask: u64) -> Deferment {
        let max_cycles = (u64::MAX / self.largest_mult().max(1)).min(mask);
        let least_mult = u64::from(self.mult) - self.adjustment();
        Deferment {
            max_cycles,
            max_idle_ns: max_cycles.saturating_mul(least_mult) >> self.shift >> 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferment(freq: u64, scale: u64, mask: u64) -> (u64, u64) {
        let deferment = Conversion::of_counter(freq, scale, mask).deferment(mask);
        (deferment.max_cycles, deferment.max_idle_ns)
    }

    #[test]
    fn the_counters_have_the_limits_that_linux_prints_for_them() {
        let hpet = deferment(100_000_000, 1, 0xffff_ffff);
        assert_eq!(hpet, (0xffff_ffff, 19_112_604_467));
        let acpi_pm = deferment(3_579_545, 1, 0xff_ffff);
        assert_eq!(acpi_pm, (0xff_ffff, 2_085_701_024));
        let tsc = deferment(2_400_000, 1000, u64::MAX);
        assert_eq!(tsc, (0x0229_8377_7dd9, 440_795_300_422));
        let tsc = deferment(1_000_000, 1000, u64::MAX);
        assert_eq!(tsc, (0x01cd_42e4_dffb, 881_590_591_483));
    }

    #[test]
    fn jiffies_have_the_limit_that_linux_prints_for_them() {
        let mask = u32::MAX.into();
        let jiffies = Conversion::of_jiffies().deferment(mask);
        assert_eq!(jiffies.max_cycles, mask);
        assert_eq!(jiffies.max_idle_ns, 7_645_041_785_100_000);
    }

    #[test]
    fn odd_frequencies_do_no_harm() {
        for freq in [0, 1, 2, 32_768, u64::from(u32::MAX), 10_000_000_000] {
            for mask in [1, 0xffff, u64::from(u32::MAX), u64::MAX] {
                for scale in [1, 1000] {
                    let limits = Conversion::of_counter(freq, scale, mask).deferment(mask);
                    assert!(limits.max_cycles <= mask, "{freq} {scale} {mask:#x}");
                }
            }
        }
    }
}
