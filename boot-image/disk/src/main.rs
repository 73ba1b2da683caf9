//! `disk KERNEL RAMDISK OUTPUT`: wraps a kernel and a ramdisk into a disk image that BIOS and UEFI firmware boot.
//!
//! The `bootloader` crate makes a BIOS image (an MBR with one FAT partition). Adding its UEFI loader under the
//! fallback path of removable media turns that into a hybrid image. `boot-image` finishes the file afterwards:
//! it rewrites the FAT in larger clusters and leaves one active partition.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bootloader::{BootConfig, DiskImageBuilder};
use bootloader_boot_config::LevelFilter;

/// Where UEFI firmware looks for a loader on a medium that it has no boot entry for.
const UEFI_FALLBACK_PATH: &str = "efi/boot/bootx64.efi";

fn main() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [kernel, ramdisk, output] = arguments.as_slice() else {
        bail!("usage: disk KERNEL RAMDISK OUTPUT");
    };
    write_hybrid_image(kernel.into(), ramdisk.into(), Path::new(output))
}

fn write_hybrid_image(kernel: PathBuf, ramdisk: PathBuf, output: &Path) -> Result<()> {
    let uefi_loader = uefi_loader_file(&output.with_extension("uefi"))?;
    DiskImageBuilder::new(kernel)
        .set_ramdisk(ramdisk)
        .set_boot_config(&boot_config())
        .set_file(UEFI_FALLBACK_PATH.to_owned(), uefi_loader)
        .create_bios_image(output)
        .with_context(|| format!("cannot write {}", output.display()))
}

/// The loader's settings: silent unless something is wrong, and then on the screen and on the serial port, because
/// a loader that can log nowhere hangs without a word.
fn boot_config() -> BootConfig {
    let mut config = BootConfig::default();
    config.log_level = LevelFilter::Error;
    config.frame_buffer_logging = true;
    config.serial_logging = true;
    config
}

/// Gets the UEFI loader as a file. The crate gives its bytes away only as part of a network boot folder.
fn uefi_loader_file(folder: &Path) -> Result<PathBuf> {
    DiskImageBuilder::empty()
        .create_uefi_tftp_folder(folder)
        .context("cannot get the UEFI loader")?;
    Ok(folder.join("bootloader"))
}
