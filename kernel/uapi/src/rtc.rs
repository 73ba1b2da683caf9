//! Real-time clocks. Linux: linux/rtc.h.

use crate::Pod;
use crate::ioctls::{IOC_READ, IOC_WRITE, ioc};

pod_struct! {
    /// A date and time of the clock (`struct rtc_time`).
    pub struct RtcTime {
        pub tm_sec: i32,
        pub tm_min: i32,
        pub tm_hour: i32,
        /// From 1.
        pub tm_mday: i32,
        /// From 0.
        pub tm_mon: i32,
        /// From 1900.
        pub tm_year: i32,
        pub tm_wday: i32,
        pub tm_yday: i32,
        pub tm_isdst: i32,
    }
}

/// Reads the time.
pub const RTC_RD_TIME: u32 = ioc(IOC_READ, b'p', 0x09, RtcTime::SIZE);
/// Sets the time.
pub const RTC_SET_TIME: u32 = ioc(IOC_WRITE, b'p', 0x0a, RtcTime::SIZE);

/// Type byte of all requests to such a clock.
pub const RTC_IOC_TYPE: u8 = b'p';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_linuxs_numbers() {
        assert_eq!((RTC_RD_TIME, RTC_SET_TIME), (0x8024_7009, 0x4024_700a));
    }
}
