//! One disk image for BIOS and UEFI: made by the crate in `boot-image/disk`, then rewritten for speed and for strict
//! firmware.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::capture;
use crate::error::{Error, FileContext, Result};
use crate::progress::Step;
use crate::workspace::Workspace;
use crate::{cargo, fat, mbr};

const TARGET_DIR: &str = "disk";
const LABEL: [u8; 11] = *b"KINDLING   ";
const MIB: f64 = 1024.0 * 1024.0;
/// What kernel and initramfs may measure together. The BIOS stages cannot read a FAT partition of 32 MiB or more, and
/// the stages themselves, the tables and unused ends of clusters need room too.
const PAYLOAD_LIMIT: u64 = 299 * 1024 * 1024 / 10;
/// From this many sectors on a FAT volume states its size in another field, which the BIOS stages take for FAT32.
const SECTOR_LIMIT: usize = 0x1_0000;

/// The tool that makes disk images.
#[derive(Clone, Debug)]
pub struct DiskTool {
    program: PathBuf,
}

impl DiskTool {
    /// Builds the tool, which includes the boot loader's stages: minutes the first time, nothing afterwards.
    pub fn build(workspace: &Workspace) -> Result<Self> {
        let _lock = workspace.lock("disk")?;
        let mut command = cargo::command(workspace, "build", TARGET_DIR);
        command
            .args(["--release", "--locked", "--manifest-path"])
            .arg(workspace.source("boot-image/disk/Cargo.toml"));
        cargo::allow_unstable(&mut command);
        cargo::run(
            "Building the boot loader (once, some minutes)",
            &mut command,
        )?;
        Ok(Self {
            program: workspace.target(&format!("{TARGET_DIR}/release/disk")),
        })
    }

    /// Writes a hybrid image of a kernel and an initramfs.
    pub fn write(&self, kernel: &Path, initramfs: &Path, output: &Path) -> Result<()> {
        check_size(size_of(kernel)?, size_of(initramfs)?)?;
        let mut step = Step::new("Writing the disk image");
        step.note("");
        let folder = output.parent().unwrap_or(Path::new("."));
        let scratch = tempfile::tempdir_in(folder).doing("create a folder in", folder)?;
        let raw = scratch.path().join("disk.img");
        let mut tool = Command::new(&self.program);
        tool.args([kernel, initramfs, &raw])
            .env("TMPDIR", scratch.path());
        capture("making the disk image", &mut tool)?;
        let image = finish(std::fs::read(&raw).doing("read", &raw)?)?;
        std::fs::write(&raw, image).doing("write", &raw)?;
        std::fs::rename(&raw, output).doing("create", output)
    }
}

/// Rewrites the FAT partition with large clusters, at the same place, and mends the partition table.
fn finish(mut image: Vec<u8>) -> Result<Vec<u8>> {
    let partition = mbr::fat_partition(&image)?;
    let start = partition.start as usize * mbr::SECTOR;
    let volume = image
        .get(start..)
        .ok_or_else(|| Error::Other("the disk image ends before its boot partition".into()))?;
    let volume = fat::write(&fat::read(volume)?, LABEL)?;
    let sectors = volume.len() / mbr::SECTOR;
    if sectors >= SECTOR_LIMIT {
        return Err(Error::Other(format!(
            "the boot partition would have {sectors} sectors, the BIOS stages read at most {}",
            SECTOR_LIMIT - 1
        )));
    }
    image.truncate(start);
    image.extend_from_slice(&volume);
    mbr::update(
        &mut image,
        partition,
        u32::try_from(sectors).unwrap_or(u32::MAX),
    );
    Ok(image)
}

fn check_size(kernel: u64, initramfs: u64) -> Result<()> {
    if kernel + initramfs < PAYLOAD_LIMIT {
        return Ok(());
    }
    Err(Error::ImageTooLarge {
        kernel: mebibytes(kernel),
        initramfs: mebibytes(initramfs),
        limit: mebibytes(PAYLOAD_LIMIT),
    })
}

#[expect(clippy::cast_precision_loss, reason = "only printed, with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

fn size_of(path: &Path) -> Result<u64> {
    Ok(path.metadata().doing("read", path)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_stated_in_the_error() {
        check_size(1 << 20, 28 << 20).unwrap();
        let error = check_size(1 << 20, 29 << 20).unwrap_err().to_string();
        assert!(
            error.contains("kernel 1.0 MiB and initramfs 29.0 MiB"),
            "{error}"
        );
        assert!(error.contains("below 29.9 MiB"), "{error}");
    }

    #[test]
    fn a_missing_kernel_is_named() {
        let error = size_of(Path::new("/no/such/kernel"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/no/such/kernel"), "{error}");
    }
}
