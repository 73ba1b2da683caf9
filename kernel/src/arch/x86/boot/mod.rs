//! The two ways in, both ending in one [`BootParams`]: the `bootloader` crate (BIOS and UEFI)
//! and PVH (QEMU's `-kernel`).

mod bootloader;
pub mod params;
mod pvh;

pub use params::{BootParams, Loader, PixelFormat, ScreenInfo};
