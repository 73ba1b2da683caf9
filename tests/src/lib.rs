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
mod guest;
mod slot;

pub use boot::Boot;
pub use boot_image::cpio;
pub use boot_image::{Compression, Firmware, Initramfs};
pub use guest::{Guest, Verdict};

/// The default initramfs as a tree, to be changed for a test.
pub fn default_initramfs() -> Initramfs {
    artifacts::default_tree()
}
