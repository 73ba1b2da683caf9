//! Sockets as files and system calls (Linux: net/socket.c).
//!
//! | file | part |
//! |---|---|
//! | `sockfs.rs` | families, the file system of sockets, what read, write and poll do |
//! | `calls.rs` | socket, bind, connect, accept and the like |
//! | `message.rs` | the calls that send and receive |
#![forbid(unsafe_code)]

pub mod calls;
pub mod message;
pub mod sockfs;

pub use calls::*;
pub use message::*;
pub use sockfs::*;
