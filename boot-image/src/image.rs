//! `image`: a file to be written to a USB stick.

use std::path::{Path, PathBuf};

use crate::bootconfig;
use crate::cli::ImageOptions;
use crate::compress::Compression;
use crate::disk_image::DiskTool;
use crate::error::{FileContext, Result, check_readable};
use crate::kernel_build::Kernel;
use crate::run::default_initramfs;
use crate::setup::{self, Need};
use crate::workspace::Workspace;

/// Writes the image and prints what to do with it.
pub fn image(workspace: &Workspace, options: &ImageOptions) -> Result<()> {
    if let Some(file) = &options.initramfs {
        check_readable(file)?;
    }
    setup::packages(&[Need::CLibrary, Need::Busybox])?;
    let toolchain = setup::toolchain(workspace)?;
    let kernel = Kernel::build(workspace, &toolchain, &[])?;
    let initramfs = match &options.initramfs {
        Some(file) => file.clone(),
        None => default_initramfs(workspace, &toolchain, Compression::Gzip)?,
    };
    let initramfs = match &options.append {
        Some(cmdline) => with_parameters(workspace, &initramfs, cmdline)?,
        None => initramfs,
    };
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| workspace.target("kindling.img"));
    DiskTool::build(workspace)?.write(&kernel.image, &initramfs, &output)?;
    println!("{}", advice(&output));
    Ok(())
}

/// A copy of the initramfs that carries kernel parameters at its end.
fn with_parameters(workspace: &Workspace, initramfs: &Path, cmdline: &str) -> Result<PathBuf> {
    let mut bytes = std::fs::read(initramfs).doing("read", initramfs)?;
    bootconfig::append(&mut bytes, cmdline)?;
    let file = workspace.target_dir("boot")?.join("initramfs.bootconfig");
    write_into_place(&file, &bytes)?;
    Ok(file)
}

/// Writes a file under another name first: whoever reads the old one keeps it whole.
pub fn write_into_place(file: &Path, bytes: &[u8]) -> Result<()> {
    let partial = file.with_extension(format!("partial.{}", std::process::id()));
    std::fs::write(&partial, bytes).doing("write", &partial)?;
    std::fs::rename(&partial, file).doing("create", file)
}

fn advice(output: &Path) -> String {
    let file = output.display();
    format!(
        "{file} boots on PCs with BIOS and with UEFI (Secure Boot must be off).\n\
         To write it to a USB stick, find the stick's name with `lsblk` (here: sdX), then type\n\n    \
         sudo dd if={file} of=/dev/sdX bs=4M conv=fsync status=progress\n\n\
         Everything on the stick is lost."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_a_command_that_can_be_typed() {
        assert!(advice(Path::new("a.img")).contains("\n    sudo dd if=a.img of=/dev/sdX bs=4M"));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.cpio");
        write_into_place(&file, b"one").unwrap();
        write_into_place(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
