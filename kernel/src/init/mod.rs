//! The boot path (Linux: init/).

pub mod calibrate;
pub mod do_mounts;
pub mod init_task;
#[macro_use]
pub mod initcall;
#[cfg(feature = "boot-tests")]
mod initcall_probes;
pub mod initramfs;
pub mod main;
#[macro_use]
pub mod params;
pub mod run_init;
pub mod version;
