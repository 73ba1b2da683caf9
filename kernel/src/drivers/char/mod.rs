//! Character devices without a bus (Linux: drivers/char/).
#![forbid(unsafe_code)]

pub mod mem;
pub mod random;
