//! Real-time clocks (Linux: drivers/rtc/).

pub mod mc146818_lib;
