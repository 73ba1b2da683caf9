//! Builds Kindling and boots it: the library behind `cargo run` and under the tests.
//!
//! In the order of a boot: [`setup`] completes the machine, [`Kernel`] and [`Programs`] build the code, [`Initramfs`]
//! collects the first files, [`DiskTool`] makes a disk image of both, [`QemuCommand`] describes the machine, and
//! [`Machine`] is one that runs.

#![forbid(unsafe_code)]

pub mod bench;
pub mod bootconfig;
mod cargo;
pub mod cli;
mod command;
pub mod compress;
pub mod cpio;
mod disk_image;
mod error;
mod fat;
pub mod image;
mod initramfs;
mod kallsyms;
mod kernel_build;
pub mod lint;
mod machine;
mod mbr;
pub mod memory;
mod outcome;
mod progress;
pub mod qemu;
mod qmp;
pub mod rootfs;
pub mod run;
pub mod setup;
mod terminal;
mod userspace_build;
mod workspace;

pub use compress::Compression;
pub use disk_image::DiskTool;
pub use error::{Error, FileContext, Result};
pub use initramfs::Initramfs;
pub use kernel_build::Kernel;
pub use machine::Machine;
pub use outcome::{EXIT_PANIC, EXIT_SUCCESS, Outcome};
pub use qemu::{Firmware, Media, QemuCommand, Serial};
pub use qmp::Qmp;
pub use userspace_build::Programs;
pub use workspace::Workspace;
