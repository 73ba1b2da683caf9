//! Event polling. Linux: linux/eventpoll.h, linux/eventfd.h.

use crate::Pod;
use crate::fcntl;

// Operations of epoll_ctl(2).
pub const EPOLL_CTL_ADD: u32 = 1;
pub const EPOLL_CTL_DEL: u32 = 2;
pub const EPOLL_CTL_MOD: u32 = 3;

// Events.
pub const EPOLLIN: u32 = 0x0001;
pub const EPOLLPRI: u32 = 0x0002;
pub const EPOLLOUT: u32 = 0x0004;
pub const EPOLLERR: u32 = 0x0008;
pub const EPOLLHUP: u32 = 0x0010;
pub const EPOLLNVAL: u32 = 0x0020;
pub const EPOLLRDNORM: u32 = 0x0040;
pub const EPOLLRDBAND: u32 = 0x0080;
pub const EPOLLWRNORM: u32 = 0x0100;
pub const EPOLLWRBAND: u32 = 0x0200;
pub const EPOLLMSG: u32 = 0x0400;
pub const EPOLLRDHUP: u32 = 0x2000;
pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
pub const EPOLLWAKEUP: u32 = 1 << 29;
pub const EPOLLONESHOT: u32 = 1 << 30;
pub const EPOLLET: u32 = 1 << 31;

// Flags of epoll_create1(2).
pub const EPOLL_CLOEXEC: u32 = fcntl::O_CLOEXEC;

// Flags of eventfd2(2).
pub const EFD_SEMAPHORE: u32 = 1;
pub const EFD_CLOEXEC: u32 = fcntl::O_CLOEXEC;
pub const EFD_NONBLOCK: u32 = fcntl::O_NONBLOCK;

/// One event of epoll_ctl(2) and epoll_wait(2); packed to 12 bytes on x86_64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    /// `EPOLL*`.
    pub events: u32,
    /// The program's own value, handed back unchanged.
    pub data: u64,
}

impl Pod for EpollEvent {
    const SIZE: usize = 12;

    #[inline]
    fn zeroed() -> Self {
        Self::default()
    }

    #[inline]
    fn write_to(&self, out: &mut [u8]) {
        let out = &mut out[..Self::SIZE];
        self.events.write_to(out);
        self.data.write_to(&mut out[4..]);
    }

    #[inline]
    fn read_from(bytes: &[u8]) -> Self {
        let bytes = &bytes[..Self::SIZE];
        Self {
            events: u32::read_from(bytes),
            data: u64::read_from(&bytes[4..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_packed() {
        let event = EpollEvent {
            events: EPOLLET | EPOLLIN,
            data: 0x1122_3344_5566_7788,
        };
        let mut bytes = [0; 12];
        event.write_to(&mut bytes);
        assert_eq!(
            bytes,
            [
                1, 0, 0, 0x80, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11
            ]
        );
        assert_eq!(EpollEvent::read_from(&bytes), event);
    }
}
