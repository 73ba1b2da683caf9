//! What every socket has (Linux: net/core/).
#![forbid(unsafe_code)]

pub mod datagram;
pub mod dev;
pub mod dev_ioctl;
pub mod scm;
pub mod skbuff;
pub mod sock;
pub mod sockopt;
