//! Limits. Linux: linux/limits.h, asm/param.h, linux/binfmts.h.

/// Bytes of one path component, without a NUL.
pub const NAME_MAX: usize = 255;
/// Bytes of a path, with its NUL.
pub const PATH_MAX: usize = 4096;
/// Supplementary groups.
pub const NGROUPS_MAX: usize = 65536;
/// Bytes that a pipe writes atomically.
pub const PIPE_BUF: usize = 4096;
/// Buffers of readv(2).
pub const IOV_MAX: usize = 1024;
pub const XATTR_NAME_MAX: usize = 255;
pub const XATTR_SIZE_MAX: usize = 65536;
pub const XATTR_LIST_MAX: usize = 65536;
/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Bytes of one argument of execve(2).
pub const MAX_ARG_STRLEN: usize = 131_072;
pub const MAX_ARG_STRINGS: usize = 0x7fff_ffff;
/// Bytes of a file that tell its format.
pub const BINPRM_BUF_SIZE: usize = 256;
/// Bytes of a task's name, with its NUL.
pub const TASK_COMM_LEN: usize = 16;
pub const SYMLINK_MAX: usize = 4095;
/// Links followed in one walk.
pub const MAXSYMLINKS: usize = 40;
