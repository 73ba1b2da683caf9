//! The boot path (Linux: init/).

#[macro_use]
pub mod initcall;
pub mod main;
#[macro_use]
pub mod params;
