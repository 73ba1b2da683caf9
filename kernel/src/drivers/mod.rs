//! Device drivers (Linux: drivers/).

pub mod base;
pub mod char;
pub mod tty;
