//! Building this project's own user programs: ordinary Rust, linked statically for the host's Linux target.

use std::path::PathBuf;

use crate::cargo;
use crate::error::{Error, Result};
use crate::setup::Toolchain;
use crate::workspace::Workspace;

/// The target of the programs: what Kindling runs are Linux programs.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const TARGET_DIR: &str = "userspace";
const PROFILE: &str = "userspace";
/// No interpreter and no relocation: the simplest program that a kernel can be asked to run.
const FLAGS: &str = "-Ctarget-feature=+crt-static -Crelocation-model=static";

/// The built programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds those of the default initramfs.
    pub fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<Self> {
        Self::build_package(workspace, toolchain, "userspace")
    }

    /// Builds those of another package of this workspace in the same way.
    pub fn build_package(
        workspace: &Workspace,
        toolchain: &Toolchain,
        package: &str,
    ) -> Result<Self> {
        if toolchain.host != TARGET {
            return Err(Error::Other(format!(
                "the user programs are built for {TARGET}, but this Rust is for {}",
                toolchain.host
            )));
        }
        let _lock = workspace.lock("userspace")?;
        let mut command = cargo::command(workspace, "build", TARGET_DIR);
        command
            .args(["-p", package, "--profile", PROFILE, "--target", TARGET])
            .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", FLAGS);
        cargo::run("Building the user programs", &mut command)?;
        Ok(Self {
            folder: workspace.target(&format!("{TARGET_DIR}/{TARGET}/{PROFILE}")),
        })
    }

    /// The file of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
