//! Real-time clocks (Linux: drivers/rtc/).

pub mod class;
pub mod mc146818_lib;
