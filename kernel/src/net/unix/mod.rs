//! Local sockets (Linux: net/unix/).
//!
//! | file | part |
//! |---|---|
//! | `af_unix.rs` | the socket: names, connections, its end |
//! | `address.rs` | addresses and the tables of names |
//! | `stream.rs` | bytes without bounds |
//! | `dgram.rs` | messages: datagrams and sequenced packets |
//! | `garbage.rs` | sockets that only messages in each other's queues hold |
//! | `proc.rs` | /proc/net/unix |
//!
//! Lock order: a socket's `lock`, a listener's `state`, the connecting socket's `state`, a
//! `queue`. `iolock` is taken with none of the spin locks held.
#![forbid(unsafe_code)]

pub mod address;
pub mod af_unix;
pub mod dgram;
pub mod garbage;
pub mod proc;
pub mod stream;
#[cfg(test)]
mod tests;

pub use af_unix::{UnixSock, socketpair};
