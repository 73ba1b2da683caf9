//! Options of TCP sockets (Linux: net/ipv4/tcp.c, `do_tcp_setsockopt`, `do_tcp_getsockopt`).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use smoltcp::iface::SocketHandle;
use smoltcp::time::Duration;
use uapi::socket::*;

use crate::net::core::sockopt::int_option;
use crate::net::ipv4::tcp::{Phase, TcpSock};
use crate::net::ipv4::tcp_stack::{Stack, with_stack};
use crate::prelude::*;

/// Bytes of `struct tcp_info` as of Linux 4.
const TCP_INFO_LEN: usize = 192;

impl TcpSock {
    /// setsockopt(2). Errors: EINVAL, ENOENT, ENOPROTOOPT.
    pub(super) fn set_tcp_option(&self, level: i32, name: i32, value: &[u8]) -> Result {
        match (level, name) {
            (SOL_SOCKET, SO_KEEPALIVE) => {}
            (SOL_IP, _) => return self.inet.setsockopt(name, value),
            (SOL_TCP, TCP_CONGESTION) => {
                let end = value
                    .iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(value.len());
                let known = matches!(&value[..end], b"cubic" | b"reno");
                return if known { Ok(()) } else { Err(Errno::ENOENT) };
            }
            (
                SOL_TCP,
                TCP_NODELAY | TCP_CORK | TCP_KEEPIDLE | TCP_KEEPINTVL | TCP_KEEPCNT | TCP_SYNCNT
                | TCP_LINGER2 | TCP_DEFER_ACCEPT | TCP_WINDOW_CLAMP | TCP_QUICKACK
                | TCP_USER_TIMEOUT | TCP_FASTOPEN | TCP_MAXSEG,
            ) => {
                let int = int_option(value)?;
                let bounds = match name {
                    TCP_KEEPIDLE | TCP_KEEPINTVL => 1..=32767,
                    TCP_KEEPCNT | TCP_SYNCNT => 1..=127,
                    TCP_MAXSEG => 88..=32767,
                    _ => i32::MIN..=i32::MAX,
                };
                if !bounds.contains(&int) {
                    return Err(Errno::EINVAL);
                }
                self.set_option(name, int);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        if let Phase::Open(handle) = self.phase() {
            with_stack(|stack| self.apply_keepalive(stack, handle));
        }
        Ok(())
    }

    /// getsockopt(2). Errors: ENOPROTOOPT, ENOTCONN.
    pub(super) fn get_tcp_option(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        match (level, name) {
            (SOL_IP, _) => self.inet.getsockopt(name),
            (SOL_TCP, TCP_CONGESTION) => Ok(b"reno\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            (SOL_TCP, TCP_MAXSEG) => Ok(16384i32.to_le_bytes().to_vec()),
            (SOL_TCP, TCP_INFO) => {
                let mut info = vec![0; TCP_INFO_LEN];
                info[0] = self.row().state;
                Ok(info)
            }
            (SOL_TCP, TCP_NODELAY..=TCP_QUICKACK | TCP_USER_TIMEOUT | TCP_FASTOPEN) => {
                Ok(self.option(name).to_le_bytes().to_vec())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    pub(super) fn option(&self, name: i32) -> i32 {
        let slot = usize::try_from(name)
            .ok()
            .and_then(|name| self.options.get(name));
        slot.map_or(0, |slot| slot.load(Ordering::Relaxed))
    }

    pub(super) fn set_option(&self, name: i32, value: i32) {
        if let Some(slot) = usize::try_from(name)
            .ok()
            .and_then(|name| self.options.get(name))
        {
            slot.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn apply_keepalive(&self, stack: &mut Stack, handle: SocketHandle) {
        let on = self.sk().option(SO_KEEPALIVE);
        let idle = u64::try_from(self.option(TCP_KEEPIDLE)).unwrap_or(7200);
        stack
            .socket(handle)
            .set_keep_alive(on.then(|| Duration::from_secs(idle)));
    }
}
