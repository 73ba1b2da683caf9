//! File metadata. Linux: linux/stat.h, asm/stat.h, asm-generic/statfs.h.

use crate::time::Timespec;

// File types in `st_mode`.
pub const S_IFMT: u32 = 0o170000;
pub const S_IFSOCK: u32 = 0o140000;
pub const S_IFLNK: u32 = 0o120000;
pub const S_IFREG: u32 = 0o100000;
pub const S_IFBLK: u32 = 0o060000;
pub const S_IFDIR: u32 = 0o040000;
pub const S_IFCHR: u32 = 0o020000;
pub const S_IFIFO: u32 = 0o010000;

// Permissions in `st_mode`.
pub const S_ISUID: u32 = 0o4000;
pub const S_ISGID: u32 = 0o2000;
pub const S_ISVTX: u32 = 0o1000;
pub const S_IRWXU: u32 = 0o700;
pub const S_IRUSR: u32 = 0o400;
pub const S_IWUSR: u32 = 0o200;
pub const S_IXUSR: u32 = 0o100;
pub const S_IRWXG: u32 = 0o070;
pub const S_IRGRP: u32 = 0o040;
pub const S_IWGRP: u32 = 0o020;
pub const S_IXGRP: u32 = 0o010;
pub const S_IRWXO: u32 = 0o007;
pub const S_IROTH: u32 = 0o004;
pub const S_IWOTH: u32 = 0o002;
pub const S_IXOTH: u32 = 0o001;
pub const S_IRWXUGO: u32 = S_IRWXU | S_IRWXG | S_IRWXO;
pub const S_IALLUGO: u32 = S_ISUID | S_ISGID | S_ISVTX | S_IRWXUGO;
pub const S_IRUGO: u32 = S_IRUSR | S_IRGRP | S_IROTH;
pub const S_IWUGO: u32 = S_IWUSR | S_IWGRP | S_IWOTH;
pub const S_IXUGO: u32 = S_IXUSR | S_IXGRP | S_IXOTH;

// `stx_mask`: which fields are wanted and which are filled.
pub const STATX_TYPE: u32 = 0x1;
pub const STATX_MODE: u32 = 0x2;
pub const STATX_NLINK: u32 = 0x4;
pub const STATX_UID: u32 = 0x8;
pub const STATX_GID: u32 = 0x10;
pub const STATX_ATIME: u32 = 0x20;
pub const STATX_MTIME: u32 = 0x40;
pub const STATX_CTIME: u32 = 0x80;
pub const STATX_INO: u32 = 0x100;
pub const STATX_SIZE: u32 = 0x200;
pub const STATX_BLOCKS: u32 = 0x400;
pub const STATX_BASIC_STATS: u32 = 0x7ff;
pub const STATX_BTIME: u32 = 0x800;
pub const STATX_ALL: u32 = 0xfff;
pub const STATX_MNT_ID: u32 = 0x1000;
pub const STATX_DIOALIGN: u32 = 0x2000;
pub const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
pub const STATX_SUBVOL: u32 = 0x8000;
pub const STATX__RESERVED: u32 = 0x8000_0000;

// `stx_attributes`.
pub const STATX_ATTR_COMPRESSED: u64 = 0x4;
pub const STATX_ATTR_IMMUTABLE: u64 = 0x10;
pub const STATX_ATTR_APPEND: u64 = 0x20;
pub const STATX_ATTR_NODUMP: u64 = 0x40;
pub const STATX_ATTR_ENCRYPTED: u64 = 0x800;
pub const STATX_ATTR_AUTOMOUNT: u64 = 0x1000;
pub const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
pub const STATX_ATTR_VERITY: u64 = 0x10_0000;
pub const STATX_ATTR_DAX: u64 = 0x20_0000;

// `f_flags` of `Statfs`.
pub const ST_RDONLY: u64 = 0x1;
pub const ST_NOSUID: u64 = 0x2;
pub const ST_NODEV: u64 = 0x4;
pub const ST_NOEXEC: u64 = 0x8;
pub const ST_SYNCHRONOUS: u64 = 0x10;
/// `f_flags` is filled.
pub const ST_VALID: u64 = 0x20;
pub const ST_MANDLOCK: u64 = 0x40;
pub const ST_NOATIME: u64 = 0x400;
pub const ST_NODIRATIME: u64 = 0x800;
pub const ST_RELATIME: u64 = 0x1000;
pub const ST_NOSYMFOLLOW: u64 = 0x2000;

/// `tv_nsec` of utimensat(2): set to the current time.
pub const UTIME_NOW: i64 = (1 << 30) - 1;
/// `tv_nsec` of utimensat(2): leave unchanged.
pub const UTIME_OMIT: i64 = (1 << 30) - 2;

/// True for a directory's mode.
#[inline]
pub const fn s_isdir(mode: u32) -> bool {
    mode & S_IFMT == S_IFDIR
}

/// True for a regular file's mode.
#[inline]
pub const fn s_isreg(mode: u32) -> bool {
    mode & S_IFMT == S_IFREG
}

/// True for a symbolic link's mode.
#[inline]
pub const fn s_islnk(mode: u32) -> bool {
    mode & S_IFMT == S_IFLNK
}

/// True for a character device's mode.
#[inline]
pub const fn s_ischr(mode: u32) -> bool {
    mode & S_IFMT == S_IFCHR
}

/// True for a block device's mode.
#[inline]
pub const fn s_isblk(mode: u32) -> bool {
    mode & S_IFMT == S_IFBLK
}

/// True for a FIFO's mode.
#[inline]
pub const fn s_isfifo(mode: u32) -> bool {
    mode & S_IFMT == S_IFIFO
}

/// True for a socket's mode.
#[inline]
pub const fn s_issock(mode: u32) -> bool {
    mode & S_IFMT == S_IFSOCK
}

pod_struct! {
    /// Result of stat(2), fstat(2), lstat(2) and newfstatat(2).
    pub struct Stat {
        pub st_dev: u64,
        pub st_ino: u64,
        pub st_nlink: u64,
        pub st_mode: u32,
        pub st_uid: u32,
        pub st_gid: u32,
        pub pad0: u32,
        pub st_rdev: u64,
        pub st_size: i64,
        pub st_blksize: i64,
        /// In units of 512 bytes.
        pub st_blocks: i64,
        pub st_atim: Timespec,
        pub st_mtim: Timespec,
        pub st_ctim: Timespec,
        pub unused: [i64; 3],
    }

    /// A time in `Statx`.
    pub struct StatxTimestamp {
        pub tv_sec: i64,
        pub tv_nsec: u32,
        pub reserved: i32,
    }

    /// Result of statx(2).
    pub struct Statx {
        /// The `STATX_*` fields that are filled.
        pub stx_mask: u32,
        pub stx_blksize: u32,
        /// `STATX_ATTR_*`.
        pub stx_attributes: u64,
        pub stx_nlink: u32,
        pub stx_uid: u32,
        pub stx_gid: u32,
        pub stx_mode: u16,
        pub spare0: u16,
        pub stx_ino: u64,
        pub stx_size: u64,
        /// In units of 512 bytes.
        pub stx_blocks: u64,
        /// The bits of `stx_attributes` that this file system supports.
        pub stx_attributes_mask: u64,
        pub stx_atime: StatxTimestamp,
        pub stx_btime: StatxTimestamp,
        pub stx_ctime: StatxTimestamp,
        pub stx_mtime: StatxTimestamp,
        pub stx_rdev_major: u32,
        pub stx_rdev_minor: u32,
        pub stx_dev_major: u32,
        pub stx_dev_minor: u32,
        pub stx_mnt_id: u64,
        pub stx_dio_mem_align: u32,
        pub stx_dio_offset_align: u32,
        pub spare3: [u64; 12],
    }

    /// Result of statfs(2) and fstatfs(2).
    pub struct Statfs {
        /// The magic number of `uapi::magic`.
        pub f_type: i64,
        pub f_bsize: i64,
        pub f_blocks: u64,
        pub f_bfree: u64,
        pub f_bavail: u64,
        pub f_files: u64,
        pub f_ffree: u64,
        pub f_fsid: [i32; 2],
        pub f_namelen: i64,
        pub f_frsize: i64,
        /// `ST_*`.
        pub f_flags: u64,
        pub f_spare: [i64; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;
    use core::mem::offset_of;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((Stat::SIZE, Statx::SIZE, Statfs::SIZE), (144, 256, 120));
        assert_eq!(StatxTimestamp::SIZE, 16);
        assert_eq!(offset_of!(Stat, st_mode), 24);
        assert_eq!(offset_of!(Stat, st_rdev), 40);
        assert_eq!(offset_of!(Stat, st_size), 48);
        assert_eq!(offset_of!(Stat, st_atim), 72);
        assert_eq!(offset_of!(Statx, stx_ino), 0x20);
        assert_eq!(offset_of!(Statx, stx_atime), 0x40);
        assert_eq!(offset_of!(Statx, stx_rdev_major), 0x80);
        assert_eq!(offset_of!(Statx, stx_mnt_id), 0x90);
        assert_eq!(offset_of!(Statx, spare3), 0xa0);
        assert_eq!(offset_of!(Statfs, f_fsid), 56);
        assert_eq!(offset_of!(Statfs, f_flags), 80);
    }

    #[test]
    fn a_stat_survives_the_way_through_user_memory() {
        let stat = Stat {
            st_ino: 7,
            st_mode: S_IFDIR | 0o755,
            st_mtim: Timespec {
                tv_sec: -1,
                tv_nsec: 5,
            },
            ..Stat::default()
        };
        let mut bytes = [0; Stat::SIZE];
        stat.write_to(&mut bytes);
        assert_eq!(Stat::read_from(&bytes), stat);
        assert!(s_isdir(stat.st_mode) && !s_isreg(stat.st_mode));
    }
}
