//! Copies and delays (Linux: arch/x86/lib/).

pub mod delay;
pub mod usercopy;
