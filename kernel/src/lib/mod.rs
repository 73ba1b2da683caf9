//! Pure code: no kernel state, no locks, no `unsafe`; it needs only `alloc` and `uapi`.
//!
//! Everything here runs and is tested on the host as it runs in the kernel. Linux: lib/.
#![forbid(unsafe_code)]

pub mod bitmap;
pub mod bootconfig;
pub mod cmdline;
pub mod cpio;
pub mod crc32;
pub mod crypto;
pub mod decompress;
pub mod glob;
pub mod hexdump;
pub mod idr;
pub mod kallsyms;
pub mod kstrtox;
pub mod random;
pub mod seq_buf;
pub mod string_helpers;
pub mod xarray;
