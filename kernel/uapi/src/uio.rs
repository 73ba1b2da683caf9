//! Scattered buffers. Linux: linux/uio.h, linux/fs.h (RWF_*), linux/splice.h.

/// Greatest number of entries that readv(2) takes.
pub const UIO_MAXIOV: usize = 1024;
/// Entries that Linux keeps on its stack.
pub const UIO_FASTIOV: usize = 8;
/// Greatest count of one read or write: `INT_MAX` rounded down to a page.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

// Flags of preadv2(2).
pub const RWF_HIPRI: u32 = 0x1;
pub const RWF_DSYNC: u32 = 0x2;
pub const RWF_SYNC: u32 = 0x4;
pub const RWF_NOWAIT: u32 = 0x8;
pub const RWF_APPEND: u32 = 0x10;
pub const RWF_NOAPPEND: u32 = 0x20;

// Flags of splice(2) and tee(2).
pub const SPLICE_F_MOVE: u32 = 1;
pub const SPLICE_F_NONBLOCK: u32 = 2;
pub const SPLICE_F_MORE: u32 = 4;
pub const SPLICE_F_GIFT: u32 = 8;

pod_struct! {
    /// One buffer of readv(2) and writev(2).
    pub struct Iovec {
        pub iov_base: u64,
        pub iov_len: u64,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn layout_is_that_of_x86_64() {
        assert_eq!(<super::Iovec as crate::Pod>::SIZE, 16);
    }
}
