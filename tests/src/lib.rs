//! The harness of the tests that boot QEMU.
//!
//! ```no_run
//! use tests::{Boot, Verdict};
//!
//! let mut guest = Boot::new().cmdline("quiet").memory("64M").spawn();
//! guest.expect_prompt();
//! guest.send("poweroff\n");
//! assert_eq!(guest.wait(), Verdict::PoweredOff);
//! ```
//!
//! The kernel is built once per test process. Each boot takes one of two places, whatever the number of test threads
//! and processes, and leaves its console in `target/tests/NAME.log`. Everything has a deadline. What fails, fails by a
//! panic at the line of the test that asked for it.

#![forbid(unsafe_code)]

mod artifacts;
mod boot;
mod cli;
mod gdb;
mod guest;
mod slot;

pub use boot::Boot;
pub use boot_image::{Compression, Firmware, Initramfs};
pub use boot_image::{bootconfig, cpio};
pub use cli::{cargo_run, cargo_run_machine};
pub use gdb::{Breakpoint, Gdb};
pub use guest::{Guest, Verdict};

/// A tree with the guest program at `path` and the folders that it mounts on; it is `/init` for most tests.
pub fn guest_initramfs(path: &str) -> Initramfs {
    ["/dev", "/proc", "/tmp", "/root"]
        .iter()
        .fold(Initramfs::new(), |tree, folder| tree.dir(folder, 0o755))
        .char_device("/dev/console", 0o600, 5, 1)
        .file(path, 0o755, artifacts::guest_program())
}

/// A tree with busybox, its links to applets, and this script as `/init`.
pub fn script_initramfs(script: &str) -> Initramfs {
    default_initramfs()
        .without("/init")
        .file("/init", 0o755, format!("#!/bin/sh\n{script}"))
}

/// Compresses bytes as [`Boot::compressed_initramfs`] does.
pub fn compress(compression: Compression, bytes: Vec<u8>) -> Vec<u8> {
    artifacts::or_fail(compression.apply(bytes))
}

/// The address of a kernel function, by its name without the path. The kernel is not moved when it is loaded.
pub fn address_of(function: &str) -> u64 {
    artifacts::or_fail(artifacts::kernel(&[]).address_of(function))
}

/// The default initramfs as a tree, to be changed for a test.
pub fn default_initramfs() -> Initramfs {
    artifacts::default_tree()
}
