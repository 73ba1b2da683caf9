//! The boot path (Linux: init/).

#[macro_use]
pub mod initcall;
#[cfg(target_os = "none")]
pub mod main;
#[macro_use]
pub mod params;
