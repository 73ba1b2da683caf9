//! Registers of the PC's clock chip and what they mean (Linux: drivers/rtc/rtc-mc146818-lib.c).
#![forbid(unsafe_code)]

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
