//! The kernel image. Everything is in the library; this file only makes the linker keep it.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

use kernel as _;

/// On the host there is nothing to run: the image is built for `x86_64-unknown-none`.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("vmlinux runs on bare metal: use `cargo run` to build the image and boot it.");
}
