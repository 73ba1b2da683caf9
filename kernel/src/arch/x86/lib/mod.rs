//! Stubs.
pub mod usercopy;
