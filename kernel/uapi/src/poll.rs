//! Polling. Linux: asm-generic/poll.h, linux/poll.h.

// Events; `EPOLL*` of `uapi::epoll` are the same bits.
pub const POLLIN: u32 = 0x0001;
pub const POLLPRI: u32 = 0x0002;
pub const POLLOUT: u32 = 0x0004;
pub const POLLERR: u32 = 0x0008;
pub const POLLHUP: u32 = 0x0010;
pub const POLLNVAL: u32 = 0x0020;
pub const POLLRDNORM: u32 = 0x0040;
pub const POLLRDBAND: u32 = 0x0080;
pub const POLLWRNORM: u32 = 0x0100;
pub const POLLWRBAND: u32 = 0x0200;
pub const POLLMSG: u32 = 0x0400;
pub const POLLREMOVE: u32 = 0x1000;
pub const POLLRDHUP: u32 = 0x2000;
/// Kernel-internal: the wait queue goes away.
pub const POLLFREE: u32 = 0x4000;

// What select(2)'s three sets ask for. Linux: fs/select.c.
pub const POLLIN_SET: u32 = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
pub const POLLOUT_SET: u32 = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
pub const POLLEX_SET: u32 = POLLPRI;
/// What a file without a poll method reports.
pub const DEFAULT_POLLMASK: u32 = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

/// Bits in a `fd_set` of select(2).
pub const FD_SETSIZE: usize = 1024;

pod_struct! {
    /// One entry of poll(2).
    pub struct Pollfd {
        pub fd: i32,
        pub events: u16,
        pub revents: u16,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn layout_is_that_of_x86_64() {
        assert_eq!(<super::Pollfd as crate::Pod>::SIZE, 8);
    }
}
