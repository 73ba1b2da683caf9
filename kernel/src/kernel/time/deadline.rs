//! When a timer is due, and how often then: what the timers of all clocks have in common (Linux: `hrtimer_forward` in
//! kernel/time/hrtimer.c, `bump_cpu_timer` in kernel/time/posix-cpu-timers.c).

use uapi::time::{CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_TAI, Itimerspec};

use super::{ktime_get, ns_to_timespec, timekeeping, timespec_to_ns};
use crate::prelude::*;

/// A moment of a clock and a period; ns.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// When, by the clock; 0 for never.
    pub expires: u64,
    /// How often from then on; 0 for once.
    pub interval: u64,
}

impl Deadline {
    /// Moves the moment beyond `now` by whole periods. Returns how many: 0 when it is not due, or comes only once.
    pub fn forward(&mut self, now: u64) -> u64 {
        if self.interval == 0 || now < self.expires {
            return 0;
        }
        let periods = (now - self.expires) / self.interval + 1;
        self.expires = self
            .expires
            .saturating_add(periods.saturating_mul(self.interval));
        periods
    }

    /// Time left; `None` when it is due or there is no moment.
    pub fn left(&self, now: u64) -> Option<u64> {
        (self.expires > now).then(|| self.expires - now)
    }
}

/// A clock that goes on by itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum WallClock {
    /// CLOCK_MONOTONIC, and CLOCK_BOOTTIME, which is the same here.
    #[default]
    Monotonic,
    /// CLOCK_REALTIME.
    Realtime,
}

impl WallClock {
    /// The clock that an expiry is kept on. Setting CLOCK_REALTIME moves its moments, but not a distance from now.
    pub fn for_timer(clock: i32, absolute: bool) -> Self {
        let real = matches!(clock, CLOCK_REALTIME | CLOCK_TAI | CLOCK_REALTIME_ALARM);
        if real && absolute {
            Self::Realtime
        } else {
            Self::Monotonic
        }
    }

    /// What it shows, ns.
    pub fn now(self) -> u64 {
        self.offset().saturating_add(ktime_get())
    }

    /// A moment of it as CLOCK_MONOTONIC has it, as the clocks stand now.
    pub fn to_monotonic(self, ns: u64) -> u64 {
        ns.saturating_sub(self.offset())
    }

    fn offset(self) -> u64 {
        match self {
            Self::Monotonic => 0,
            Self::Realtime => timekeeping::real_offset(),
        }
    }
}

/// Value and period of a request. Errors: EINVAL for a time that is none.
pub fn itimerspec_to_ns(request: &Itimerspec) -> Result<(u64, u64)> {
    Ok((
        timespec_to_ns(&request.it_value)?,
        timespec_to_ns(&request.it_interval)?,
    ))
}

/// Time left and period as programs read them.
pub fn ns_to_itimerspec(left: u64, interval: u64) -> Itimerspec {
    Itimerspec {
        it_interval: ns_to_timespec(interval),
        it_value: ns_to_timespec(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_by_whole_periods_to_the_first_one_that_is_not_over() {
        let mut deadline = Deadline {
            expires: 100,
            interval: 30,
        };
        assert_eq!(deadline.forward(99), 0);
        assert_eq!((deadline.forward(100), deadline.expires), (1, 130));
        assert_eq!((deadline.forward(189), deadline.expires), (2, 190));
        assert_eq!((deadline.forward(190), deadline.expires), (1, 220));
        assert_eq!(deadline.left(200), Some(20));
        assert_eq!(deadline.left(220), None);
    }

    #[test]
    fn a_deadline_without_a_period_stays_and_far_ones_do_not_overflow() {
        let mut once = Deadline {
            expires: 5,
            interval: 0,
        };
        assert_eq!((once.forward(100), once.expires), (0, 5));
        let mut far = Deadline {
            expires: 1,
            interval: u64::MAX - 1,
        };
        assert_eq!((far.forward(u64::MAX), far.expires), (2, u64::MAX));
    }
}
