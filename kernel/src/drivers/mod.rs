//! Device drivers (Linux: drivers/).

pub mod base;
pub mod char;
pub mod acpi;
pub mod rtc;
pub mod tty;
