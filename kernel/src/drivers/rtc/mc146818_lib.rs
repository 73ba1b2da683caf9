//! Registers of the PC's clock chip and what they mean (Linux: drivers/rtc/rtc-mc146818-lib.c).
#![forbid(unsafe_code)]

use uapi::rtc::RtcTime;

/// Numbers are binary, not BCD.
pub const RTC_DM_BINARY: u8 = 4;
/// Hours go to 23.
pub const RTC_24H: u8 = 2;
const PM: u8 = 0x80;

/// The clock's registers as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RawTime {
    /// Register 0.
    pub seconds: u8,
    /// Register 2.
    pub minutes: u8,
    /// Register 4; bit 7 is PM in 12-hour mode.
    pub hours: u8,
    /// Register 7.
    pub day: u8,
    /// Register 8.
    pub month: u8,
    /// Register 9, without the century.
    pub year: u8,
    /// The register that the FADT names; 0 for none.
    pub century: u8,
    /// Register 11: format bits.
    pub control: u8,
}

impl RawTime {
    /// The registers for a time, in the format of `like`. `None` for a year that they cannot hold.
    pub fn from_time(time: &RtcTime, like: RawTime) -> Option<Self> {
        let byte = |value: i32| {
            let value = u8::try_from(value).ok().filter(|value| *value < 100)?;
            let binary = like.control & RTC_DM_BINARY != 0;
            Some(if binary {
                value
            } else {
                (value / 10) * 16 + value % 10
            })
        };
        let year = time.tm_year + 1900;
        let hours = if like.control & RTC_24H != 0 {
            byte(time.tm_hour)?
        } else {
            let of_twelve = byte((time.tm_hour + 11) % 12 + 1)?;
            of_twelve | if time.tm_hour >= 12 { PM } else { 0 }
        };
        // Without a register for the century, years are those of `to_unix`.
        let in_range = like.century != 0 || (1970..2070).contains(&year);
        in_range.then_some(Self {
            seconds: byte(time.tm_sec)?,
            minutes: byte(time.tm_min)?,
            hours,
            day: byte(time.tm_mday)?,
            month: byte(time.tm_mon + 1)?,
            year: byte(year % 100)?,
            century: if like.century == 0 {
                0
            } else {
                byte(year / 100)?
            },
            control: like.control,
        })
    }

    /// Seconds since 1970, UTC. `None` for a time that cannot be.
    pub fn to_unix(self) -> Option<u64> {
        let number = |value: u8| {
            let binary = self.control & RTC_DM_BINARY != 0;
            u64::from(if binary {
                value
            } else {
                (value >> 4) * 10 + (value & 15)
            })
        };
        let mut hours = number(self.hours & !PM);
        if self.control & RTC_24H == 0 {
            hours = hours % 12 + if self.hours & PM != 0 { 12 } else { 0 };
        }
        let year = number(self.year)
            + match number(self.century) {
                century @ 19..=29 => century * 100,
                _ if number(self.year) < 70 => 2000,
                _ => 1900,
            };
        let (minutes, seconds) = (number(self.minutes), number(self.seconds));
        let (month, day) = (number(self.month), number(self.day));
        let sound = seconds < 60
            && minutes < 60
            && hours < 24
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && (1970..2970).contains(&year);
        sound.then(|| mktime64(year, month, day, hours, minutes, seconds))
    }
}

/// The date and time of a moment, seconds since 1970 (Linux: drivers/rtc/lib.c, `rtc_time64_to_tm`).
pub fn rtc_time64_to_tm(seconds: u64) -> RtcTime {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day comes last; eras of 400 years are alike.
    let days_shifted = days + 719_468;
    let of_era = days_shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = days_shifted / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    let new_year = mktime64(year, 1, 1, 0, 0, 0) / 86_400;
    RtcTime {
        tm_sec: (of_day % 60) as i32,
        tm_min: (of_day / 60 % 60) as i32,
        tm_hour: (of_day / 3600) as i32,
        tm_mday: day as i32,
        tm_mon: month as i32 - 1,
        tm_year: year as i32 - 1900,
        tm_wday: ((days + 4) % 7) as i32,
        tm_yday: (days - new_year) as i32,
        tm_isdst: 0,
    }
}

/// The moment of a date and time; `None` for one that cannot be (Linux: `rtc_valid_tm`, `rtc_tm_to_time64`).
pub fn rtc_tm_to_time64(time: &RtcTime) -> Option<u64> {
    let within = |value: i32, limit: u64| u64::try_from(value).ok().filter(|v| *v < limit);
    let year = 1900 + within(time.tm_year, i32::MAX as u64 - 1900)?;
    let month = within(time.tm_mon, 12)? + 1;
    let day = within(time.tm_mday, days_in(year, month) + 1)?;
    if year < 1970 || day == 0 {
        return None;
    }
    let (hour, minute) = (within(time.tm_hour, 24)?, within(time.tm_min, 60)?);
    Some(mktime64(
        year,
        month,
        day,
        hour,
        minute,
        within(time.tm_sec, 60)?,
    ))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Seconds since 1970 of a Gregorian date from then on (Linux: kernel/time/time.c, `mktime64`).
pub fn mktime64(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> u64 {
    // March is the first month: the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + leap_days + day_of_year - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_seconds_since_1970() {
        assert_eq!(mktime64(1970, 1, 1, 0, 0, 0), 0);
        assert_eq!(mktime64(2000, 2, 29, 12, 0, 0), 951_825_600);
        assert_eq!(mktime64(2026, 11, 23, 7, 4, 20), 1_795_417_460);
    }

    #[test]
    fn bcd_and_binary_and_both_hour_formats_are_read() {
        let bcd = RawTime {
            seconds: 0x59,
            minutes: 0x30,
            hours: 0x23,
            day: 0x31,
            month: 0x12,
            year: 0x99,
            century: 0x19,
            control: RTC_24H,
        };
        let expected = mktime64(1999, 12, 31, 23, 30, 59);
        assert_eq!(bcd.to_unix(), Some(expected));
        let twelve = RawTime {
            hours: 0x11 | PM,
            control: 0,
            ..bcd
        };
        assert_eq!(twelve.to_unix(), Some(expected));
        let midnight = RawTime {
            hours: 0x12,
            control: 0,
            ..bcd
        };
        assert_eq!(midnight.to_unix(), Some(expected - 23 * 3600));
        let binary = RawTime {
            seconds: 59,
            minutes: 30,
            hours: 23,
            day: 31,
            month: 12,
            year: 99,
            century: 0,
            control: RTC_24H | RTC_DM_BINARY,
        };
        assert_eq!(binary.to_unix(), Some(expected));
    }

    #[test]
    fn seconds_become_dates_and_dates_seconds() {
        for (seconds, date) in [
            (0, (1970, 1, 1, 4, 0)),
            (951_782_400, (2000, 2, 29, 2, 59)),
            (951_868_800, (2000, 3, 1, 3, 60)),
            (1_704_067_199, (2023, 12, 31, 0, 364)),
            (4_107_542_400, (2100, 3, 1, 1, 59)),
        ] {
            let time = rtc_time64_to_tm(seconds);
            let (year, month) = (time.tm_year + 1900, time.tm_mon + 1);
            let got = (year, month, time.tm_mday, time.tm_wday, time.tm_yday);
            assert_eq!(got, date, "{seconds}");
            assert_eq!(rtc_tm_to_time64(&time), Some(seconds));
        }
        for step in 0..40_000 {
            let seconds = step * 86_399;
            assert_eq!(rtc_tm_to_time64(&rtc_time64_to_tm(seconds)), Some(seconds));
        }
    }

    #[test]
    fn impossible_dates_are_no_moment() {
        let good = rtc_time64_to_tm(951_782_400);
        for bad in [
            RtcTime {
                tm_year: 101,
                ..good
            }, // 2001 has no 29th of February
            RtcTime {
                tm_year: 69,
                ..good
            },
            RtcTime {
                tm_year: i32::MAX,
                ..good
            },
            RtcTime { tm_mon: 12, ..good },
            RtcTime { tm_mday: 0, ..good },
            RtcTime {
                tm_hour: 24,
                ..good
            },
            RtcTime { tm_min: -1, ..good },
            RtcTime { tm_sec: 60, ..good },
        ] {
            assert_eq!(rtc_tm_to_time64(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_to_the_registers_is_read_again() {
        for control in [0, RTC_24H, RTC_24H | RTC_DM_BINARY] {
            for century in [0, 0x20] {
                let like = RawTime {
                    control,
                    century,
                    ..RawTime::default()
                };
                for hour in 0..24 {
                    let seconds = mktime64(2024, 10, 31, hour, 59, 7);
                    let raw = RawTime::from_time(&rtc_time64_to_tm(seconds), like);
                    assert_eq!(raw.and_then(RawTime::to_unix), Some(seconds), "{raw:?}");
                }
            }
        }
        let far = rtc_time64_to_tm(mktime64(2101, 1, 1, 0, 0, 0));
        assert_eq!(RawTime::from_time(&far, RawTime::default()), None);
    }

    #[test]
    fn nonsense_is_no_time() {
        assert_eq!(RawTime::default().to_unix(), None);
        let all_ones = RawTime {
            seconds: 0xff,
            minutes: 0xff,
            hours: 0xff,
            day: 0xff,
            month: 0xff,
            year: 0xff,
            century: 0xff,
            control: 0xff,
        };
        assert_eq!(all_ones.to_unix(), None);
    }
}
