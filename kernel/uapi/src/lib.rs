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

#[macro_use]
mod pod;

pub mod auxvec;
pub mod capability;
pub mod dirent;
pub mod elf;
pub mod epoll;
pub mod errno;
pub mod fcntl;
pub mod futex;
pub mod inotify;
pub mod ioctls;
pub mod kd;
pub mod limits;
pub mod magic;
pub mod major;
pub mod mman;
pub mod mount;
pub mod poll;
pub mod prctl;
pub mod random;
pub mod reboot;
pub mod resource;
pub mod rseq;
pub mod rtc;
pub mod sched;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod sysinfo;
pub mod syslog;
pub mod termios;
pub mod time;
pub mod times;
pub mod uio;
pub mod unistd;
pub mod utsname;
pub mod vt;
pub mod wait;

pub use errno::Errno;
pub use pod::Pod;
