//! Directory entries. Linux: linux/dirent.h, linux/fs.h.

// File types in `d_type`.
pub const DT_UNKNOWN: u8 = 0;
pub const DT_FIFO: u8 = 1;
pub const DT_CHR: u8 = 2;
pub const DT_DIR: u8 = 4;
pub const DT_BLK: u8 = 6;
pub const DT_REG: u8 = 8;
pub const DT_LNK: u8 = 10;
pub const DT_SOCK: u8 = 12;
pub const DT_WHT: u8 = 14;

// Layout of `struct linux_dirent64`: d_ino u64, d_off i64, d_reclen u16, d_type u8, name, NUL.
pub const DIRENT64_INO: usize = 0;
pub const DIRENT64_OFF: usize = 8;
pub const DIRENT64_RECLEN: usize = 16;
pub const DIRENT64_TYPE: usize = 18;
pub const DIRENT64_NAME: usize = 19;

// Layout of `struct linux_dirent`: d_ino u64, d_off u64, d_reclen u16, name, NUL, padding; the
// record's last byte is the type.
pub const DIRENT_INO: usize = 0;
pub const DIRENT_OFF: usize = 8;
pub const DIRENT_RECLEN: usize = 16;
pub const DIRENT_NAME: usize = 18;

/// Length in bytes of a getdents64(2) record with a name of `name_len` bytes.
#[inline]
pub const fn dirent64_reclen(name_len: usize) -> usize {
    (DIRENT64_NAME + name_len + 1).next_multiple_of(8)
}

/// Length in bytes of a getdents(2) record with a name of `name_len` bytes.
#[inline]
pub const fn dirent_reclen(name_len: usize) -> usize {
    (DIRENT_NAME + name_len + 2).next_multiple_of(8)
}

/// `d_type` of a file mode.
#[inline]
pub const fn mode_to_dtype(mode: u32) -> u8 {
    ((mode >> 12) & 15) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_multiples_of_eight_bytes() {
        assert_eq!(dirent64_reclen(1), 24);
        assert_eq!(dirent64_reclen(4), 24);
        assert_eq!(dirent64_reclen(5), 32);
        assert_eq!(dirent_reclen(4), 24);
    }

    #[test]
    fn types_come_from_the_mode() {
        assert_eq!(mode_to_dtype(crate::stat::S_IFDIR | 0o755), DT_DIR);
        assert_eq!(mode_to_dtype(crate::stat::S_IFSOCK), DT_SOCK);
    }
}
