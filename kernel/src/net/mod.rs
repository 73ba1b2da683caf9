//! Networking (Linux: net/).
//!
//! | directory | part |
//! |---|---|
//! | `socket` | sockets as files, the system calls |
//! | `core` | what all sockets have: options, buffers, waiting, passed descriptors; interfaces |
//! | `unix` | local sockets |
//! | `netlink` | the socket that configures interfaces and routes |
//! | `ipv4` | TCP, UDP, ICMP and raw sockets |
#![forbid(unsafe_code)]

pub mod core;
pub mod ipv4;
pub mod netlink;
pub mod socket;
pub mod unix;
