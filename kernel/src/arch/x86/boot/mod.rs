//! The two ways in, both ending in one [`BootParams`]: the `bootloader` crate (BIOS and UEFI)
//! and PVH (QEMU's `-kernel`).

mod bootloader;
mod cmdline;
mod fw_cfg;
pub mod params;
mod pvh;

pub use cmdline::choose_command_line;
pub use params::{BootParams, Loader, PixelFormat, ScreenInfo};
