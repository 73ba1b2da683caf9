//! The boot path (Linux: init/).

#[macro_use]
pub mod initcall;
#[macro_use]
pub mod params;
