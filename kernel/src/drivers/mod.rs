//! Device drivers (Linux: drivers/).

pub mod acpi;
pub mod base;
pub mod char;
pub mod rtc;
pub mod tty;
