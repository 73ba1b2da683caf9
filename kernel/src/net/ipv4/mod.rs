//! The Internet protocols (Linux: net/ipv4/).
//!
//! | file | part |
//! |---|---|
//! | `af_inet.rs` | what its sockets share, and their making |
//! | `devinet.rs`, `fib.rs` | addresses of interfaces, routes |
//! | `ports.rs` | who has which port |
//! | `ip.rs`, `icmp.rs` | packets that are delivered on this machine |
//! | `udp.rs`, `raw.rs`, `tcp.rs` | the sockets |
//! | `tcp_output.rs`, `tcp_input.rs`, `tcp_option.rs` | sending, receiving and options of TCP |
//! | `tcp_fusion.rs` | the short way for bytes within this machine |
//! | `tcp_stack.rs` | the TCP state machine behind them, from the crate `smoltcp` |
//! | `proc.rs` | /proc/net |
#![forbid(unsafe_code)]

pub mod af_inet;
pub mod devinet;
pub mod fib;
pub mod icmp;
pub mod ip;
pub mod ports;
pub mod proc;
pub mod raw;
pub mod tcp;
pub mod tcp_fusion;
mod tcp_input;
mod tcp_option;
mod tcp_output;
pub mod tcp_stack;
#[cfg(test)]
mod tests;
pub mod udp;
