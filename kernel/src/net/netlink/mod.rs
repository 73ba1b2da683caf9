//! The socket through which interfaces and routes are configured (Linux: net/netlink/,
//! net/core/rtnetlink.c).
#![forbid(unsafe_code)]

pub mod af_netlink;
pub mod message;
pub mod rtnetlink;

pub use af_netlink::netlink_broadcast;
