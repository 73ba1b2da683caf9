//! The root file system from the boot loader's archive (Linux: init/initramfs.c).
#![forbid(unsafe_code)]

use crate::arch;
use crate::fs::init as kfs;
use crate::lib::cpio::{CpioEntry, CpioParser, CpioSink};
use crate::lib::decompress::{self, Method};
use crate::prelude::*;
use uapi::stat::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK};

/// Unpacks the archives into the root file system (Linux: `populate_rootfs`).
#[__init]
fn populate_rootfs() -> Result {
    let archive = arch::initrd_bytes();
    if archive.is_empty() {
        return default_rootfs();
    }
    pr_info!("Unpacking initramfs...");
    if let Err(message) = unpack_to_rootfs(archive) {
        pr_emerg!("Initramfs unpacking failed: {message}");
    }
    if !kfs::exists("/dev/console") {
        let _ = default_rootfs();
    }
    arch::free_initrd_mem();
    Ok(())
}
rootfs_initcall!(populate_rootfs);

/// Waits until the archive is unpacked: it is, when `do_initcalls` has returned
/// (Linux: `wait_for_initramfs`).
#[__init]
pub fn wait_for_initramfs() {}
