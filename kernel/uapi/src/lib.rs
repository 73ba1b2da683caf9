//! Linux's x86_64 user space ABI: numbers and memory layouts, no behaviour.
//!
//! One module per Linux header, under the header's name: `uapi::stat::Stat` is `struct stat` of
//! `asm/stat.h`. Constants keep Linux's names and have the type that the kernel side of the call
//! gives the argument: flag words are `u32` (`u64` where Linux takes an `unsigned long`), commands
//! and numbers that C declares `int` are `i32`.
//!
//! Structures that cross the user boundary implement [`Pod`]: they turn into little-endian bytes
//! and back without `unsafe`, and padding is always written as zero, so no kernel memory leaks.
#![no_std]
#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[macro_use]
mod pod;

pub mod errno;
pub mod unistd;

pub use errno::Errno;
pub use pod::Pod;
pub mod poll {
    pub const POLLIN: u32 = 1;
    pub const POLLOUT: u32 = 4;
    pub const POLLRDNORM: u32 = 0x40;
    pub const POLLWRNORM: u32 = 0x100;
}
