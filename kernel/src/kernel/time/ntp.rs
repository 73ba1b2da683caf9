//! The discipline of the clock: adjtimex(2) (Linux: kernel/time/ntp.c).
//!
//! The clock's rate follows a frequency and a tick length that programs set. A correction, of adjtime(3) or of
//! `ADJ_OFFSET`, is worked off at 500 parts per million, as Linux does for adjtime(3); the phase-locked loop of
//! `STA_PLL`, which works off less and less each second and derives the frequency from that, is not there.

use core::sync::atomic::{AtomicBool, Ordering};

use uapi::time::*;

use super::posix::check_may_set_time;
use super::{TICK_NSEC, ktime_get, ktime_get_real, timekeeping};
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

/// Billionths by which a correction changes the rate.
const SLEW_RATE: i64 = 500_000;
/// `freq` of one part per million; 500 of them are the most (Linux: `MAXFREQ`).
const PPM: i64 = 1 << 16;
const MAX_FREQ: i64 = 500 * PPM;
/// Linux's unit of frequency is that much finer; requests must not overflow it.
const PPM_SCALE: i64 = 1000 << 16;
/// Errors beyond are no knowledge of the time, µs (Linux: `NTP_PHASE_LIMIT`).
const PHASE_LIMIT: i64 = 16_000_000;
/// Greatest correction with `ADJ_OFFSET`, ns (Linux: `MAXPHASE`).
const MAX_PHASE: i64 = 500_000_000;
/// Growth of the error in a second, µs: as much as the greatest frequency may cause.
const ERROR_GROWTH: i64 = 500;
/// Greatest time constant (Linux: `MAXTC`).
const MAX_CONSTANT: i64 = 10;
/// Greatest distance from TAI, s.
const MAX_TAI_OFFSET: i64 = 100_000;
/// Length of a tick as programs see it, µs.
const USER_TICK: i64 = USEC_PER_SEC / USER_HZ;

struct Ntp {
    status: i32,
    freq: i64,
    tick: i64,
    constant: i64,
    esterror: i64,
    maxerror: i64,
    /// When `maxerror` was set, ns of CLOCK_MONOTONIC.
    maxerror_at: u64,
    tai: i32,
    /// Correction that is still to be made, ns.
    left: i64,
    /// Billionths by which the correction changes the rate now.
    slew: i64,
}

static NTP: IrqSpinLock<Ntp> = SpinLock::new(Ntp::new());
/// Whether the rate is not the usual one; saves the tick the lock.
static ADJUSTED: AtomicBool = AtomicBool::new(false);

/// `ns` passed at the rate of the last answer; by how many billionths the clock is to go faster now. Any context.
pub(super) fn advance(ns: u64) -> i64 {
    if !ADJUSTED.load(Ordering::Relaxed) {
        return 0;
    }
    NTP.lock().advance(ns)
}

/// How long the correction still takes, ns; `u64::MAX` without one.
pub(super) fn slew_left() -> u64 {
    if !ADJUSTED.load(Ordering::Relaxed) {
        return u64::MAX;
    }
    match NTP.lock().left.unsigned_abs() {
        0 => u64::MAX,
        left => left.saturating_mul(NSEC_PER_SEC as u64 / SLEW_RATE as u64),
    }
}

impl Ntp {
    const fn new() -> Self {
        Self {
            status: STA_UNSYNC,
            freq: 0,
            tick: USER_TICK,
            constant: 2,
            esterror: PHASE_LIMIT,
            maxerror: PHASE_LIMIT,
            maxerror_at: 0,
            tai: 0,
            left: 0,
            slew: 0,
        }
    }

    fn advance(&mut self, ns: u64) -> i64 {
        let ns = i64::try_from(ns).unwrap_or(i64::MAX);
        let done = i128::from(ns) * i128::from(self.slew) / i128::from(NSEC_PER_SEC);
        self.left = self.left.saturating_sub(done as i64);
        let at_once = self.left.saturating_mul(NSEC_PER_SEC / TICK_NSEC as i64);
        self.slew = at_once.clamp(-SLEW_RATE, SLEW_RATE);
        self.rate()
    }

    fn rate(&self) -> i64 {
        let of_freq = self.freq * 1000 / PPM;
        let of_tick = (self.tick - USER_TICK) * (NSEC_PER_SEC / USER_TICK);
        of_freq + of_tick + self.slew
    }

    /// A correction replaces the one before.
    fn correct(&mut self, ns: i64) {
        self.left = ns;
    }

    /// The error grows while nobody looks after the clock (Linux: `second_overflow`).
    fn age_error(&mut self, now: u64) {
        let seconds = (now.saturating_sub(self.maxerror_at) / NSEC_PER_SEC as u64) as i64;
        self.maxerror_at += seconds as u64 * NSEC_PER_SEC as u64;
        self.maxerror = self
            .maxerror
            .saturating_add(seconds.saturating_mul(ERROR_GROWTH));
        if self.maxerror > PHASE_LIMIT {
            self.maxerror = PHASE_LIMIT;
            self.status |= STA_UNSYNC;
        }
    }

    /// Linux: `process_adjtimex_modes`.
    fn adjust(&mut self, request: &Timex, now: u64) {
        let asked = |mode| request.modes & mode != 0;
        if asked(ADJ_STATUS) {
            self.status = self.status & STA_RONLY | request.status & !STA_RONLY;
        }
        if asked(ADJ_NANO) {
            self.status |= STA_NANO;
        }
        if asked(ADJ_MICRO) {
            self.status &= !STA_NANO;
        }
        if asked(ADJ_FREQUENCY) {
            self.freq = request.freq.clamp(-MAX_FREQ, MAX_FREQ);
        }
        if asked(ADJ_MAXERROR) {
            self.maxerror = request.maxerror.clamp(0, PHASE_LIMIT);
            self.maxerror_at = now;
        }
        if asked(ADJ_ESTERROR) {
            self.esterror = request.esterror.clamp(0, PHASE_LIMIT);
        }
        if asked(ADJ_TIMECONST) {
            let constant = request.constant.clamp(0, MAX_CONSTANT);
            let offset = if self.in_ns() { 0 } else { 4 };
            self.constant = (constant + offset).clamp(0, MAX_CONSTANT);
        }
        if asked(ADJ_TAI) && (0..=MAX_TAI_OFFSET).contains(&request.constant) {
            self.tai = request.constant as i32;
        }
        if asked(ADJ_OFFSET) && self.status & STA_PLL != 0 {
            let limit = MAX_PHASE / self.unit();
            self.correct(request.offset.clamp(-limit, limit) * self.unit());
        }
        if asked(ADJ_TICK) {
            self.tick = request.tick;
        }
    }

    fn in_ns(&self) -> bool {
        self.status & STA_NANO != 0
    }

    /// Nanoseconds in a unit of offsets.
    fn unit(&self) -> i64 {
        if self.in_ns() { 1 } else { NSEC_PER_USEC }
    }

    /// adjtime(3): the correction that was left, µs.
    fn adjtime(&mut self, request: &Timex) -> i64 {
        let before = self.left / NSEC_PER_USEC;
        if request.modes & ADJ_OFFSET_READONLY == 0 {
            self.correct(request.offset.saturating_mul(NSEC_PER_USEC));
        }
        before
    }

    /// Everything but offset and time.
    fn describe(&self, request: &Timex) -> Timex {
        Timex {
            modes: request.modes,
            freq: self.freq,
            maxerror: self.maxerror,
            esterror: self.esterror,
            status: self.status,
            constant: self.constant,
            precision: 1,
            tolerance: MAX_FREQ,
            tick: self.tick,
            tai: self.tai,
            ..Timex::default()
        }
    }
}

/// Errors: EPERM, EINVAL (Linux: `timekeeping_validate_timex`).
fn validate(request: &Timex) -> Result {
    let asked = |mode| request.modes & mode != 0;
    if asked(ADJ_ADJTIME) {
        if !asked(ADJ_OFFSET) {
            return Err(Errno::EINVAL);
        }
        if !asked(ADJ_OFFSET_READONLY) {
            check_may_set_time()?;
        }
    } else {
        if request.modes != 0 {
            check_may_set_time()?;
        }
        let ticks = USER_TICK * 9 / 10..=USER_TICK * 11 / 10;
        if asked(ADJ_TICK) && !ticks.contains(&request.tick) {
            return Err(Errno::EINVAL);
        }
    }
    if asked(ADJ_SETOFFSET) {
        check_may_set_time()?;
        offset_of(request)?;
    }
    let finest = i64::MIN / PPM_SCALE..=i64::MAX / PPM_SCALE;
    if asked(ADJ_FREQUENCY) && !finest.contains(&request.freq) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The distance of `ADJ_SETOFFSET`, ns. Errors: EINVAL.
fn offset_of(request: &Timex) -> Result<i64> {
    let nano = request.modes & ADJ_NANO != 0;
    let unit = if nano { 1 } else { NSEC_PER_USEC };
    let part = request.time.tv_usec;
    if !(0..NSEC_PER_SEC / unit).contains(&part) {
        return Err(Errno::EINVAL);
    }
    let seconds = request.time.tv_sec.checked_mul(NSEC_PER_SEC);
    seconds
        .and_then(|ns| ns.checked_add(part * unit))
        .ok_or(Errno::EINVAL)
}

/// Linux: kernel/time/timekeeping.c, `do_adjtimex`.
fn do_adjtimex(request: &Timex) -> Result<(Timex, i32)> {
    validate(request)?;
    if request.modes & ADJ_SETOFFSET != 0 {
        timekeeping::move_real_time(offset_of(request)?)?;
    }
    // What passed until now passed at the old rate, and the new one holds from now on: an idle machine has no tick.
    timekeeping::update_wall_time();
    let answer = adjust_and_describe(request);
    timekeeping::update_wall_time();
    Ok(answer)
}

fn adjust_and_describe(request: &Timex) -> (Timex, i32) {
    // Before the lock: the timekeeper takes it while it holds its own.
    let (now, real) = (ktime_get(), ktime_get_real() as i64);
    let mut ntp = NTP.lock();
    ntp.age_error(now);
    let offset = if request.modes & ADJ_ADJTIME != 0 {
        ntp.adjtime(request)
    } else {
        ntp.adjust(request, now);
        ntp.left / ntp.unit()
    };
    ADJUSTED.store(ntp.rate() != 0 || ntp.left != 0, Ordering::Relaxed);
    let answer = Timex {
        offset,
        time: Timeval {
            tv_sec: real / NSEC_PER_SEC,
            tv_usec: real % NSEC_PER_SEC / ntp.unit(),
        },
        ..ntp.describe(request)
    };
    let known = ntp.status & (STA_UNSYNC | STA_CLOCKERR) == 0;
    (answer, if known { TIME_OK } else { TIME_ERROR })
}

/// adjtimex(2): the state of the clock. Errors: EPERM, EINVAL, EFAULT.
pub fn sys_adjtimex(buffer: UserAddr) -> Result<i32> {
    let (answer, state) = do_adjtimex(&get_user(buffer)?)?;
    put_user(buffer, &answer)?;
    Ok(state)
}

/// clock_adjtime(2). Errors: EINVAL for no clock, EOPNOTSUPP for another than CLOCK_REALTIME, and those of adjtimex.
pub fn sys_clock_adjtime(clock: i32, buffer: UserAddr) -> Result<i32> {
    match clock {
        CLOCK_REALTIME => sys_adjtimex(buffer),
        CLOCK_PROCESS_CPUTIME_ID..=CLOCK_BOOTTIME_ALARM | CLOCK_MONOTONIC | CLOCK_TAI | ..0 => {
            Err(Errno::EOPNOTSUPP)
        }
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the clock run in steps of a tick; what it gained, ns.
    fn run(ntp: &mut Ntp, ticks: usize) -> i64 {
        let mut gained = 0;
        let mut rate = ntp.advance(0);
        for _ in 0..ticks {
            gained += TICK_NSEC as i64 * rate / NSEC_PER_SEC;
            rate = ntp.advance(TICK_NSEC);
        }
        gained
    }

    #[test]
    fn a_correction_is_worked_off_at_500_parts_per_million_and_then_over() {
        let mut ntp = Ntp::new();
        ntp.correct(-1_001_500);
        assert_eq!(run(&mut ntp, 250), -500_000, "a second");
        assert_eq!(run(&mut ntp, 1000), -501_500);
        assert_eq!((ntp.left, ntp.rate()), (0, 0));
    }

    #[test]
    fn frequency_and_tick_change_the_rate() {
        let mut ntp = Ntp::new();
        let request = Timex {
            modes: ADJ_FREQUENCY | ADJ_TICK,
            freq: -3 * PPM,
            tick: USER_TICK + 1,
            ..Timex::default()
        };
        ntp.adjust(&request, 0);
        assert_eq!(ntp.rate(), 100_000 - 3_000);
    }

    #[test]
    fn the_error_grows_until_the_time_is_unknown() {
        let mut ntp = Ntp::new();
        let request = Timex {
            modes: ADJ_MAXERROR | ADJ_STATUS,
            maxerror: PHASE_LIMIT - 1000,
            status: 0,
            ..Timex::default()
        };
        ntp.adjust(&request, 0);
        ntp.age_error(2_100_000_000);
        assert_eq!((ntp.maxerror, ntp.status), (PHASE_LIMIT, 0));
        ntp.age_error(3_000_000_000);
        assert_eq!((ntp.maxerror, ntp.status), (PHASE_LIMIT, STA_UNSYNC));
    }

    #[test]
    fn the_distance_of_a_jump_has_a_part_below_a_second() {
        let jump = |modes, tv_sec, tv_usec| {
            offset_of(&Timex {
                modes,
                time: Timeval { tv_sec, tv_usec },
                ..Timex::default()
            })
        };
        assert_eq!(jump(0, -1, 999_999), Ok(-1000));
        assert_eq!(jump(ADJ_NANO, 1, 999_999_999), Ok(1_999_999_999));
        for (sec, part) in [(0, 1_000_000), (0, -1), (i64::MAX, 0)] {
            assert_eq!(jump(0, sec, part), Err(Errno::EINVAL));
        }
    }
}
