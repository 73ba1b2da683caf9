//! `lint`: clippy on both ports. The host's clippy never sees the bare metal port, so the kernel is checked twice.

use crate::cargo;
use crate::error::Result;
use crate::kernel_build::kernel_command;
use crate::setup;
use crate::workspace::Workspace;

/// Checks everything; a warning is an error.
pub fn lint(workspace: &Workspace) -> Result<()> {
    setup::toolchain(workspace)?;
    let mut host = cargo::command(workspace, "clippy", "");
    host.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    cargo::run("Checking the host port", &mut host)?;
    for features in [&[][..], &["--features", "boot-tests"]] {
        let mut metal = kernel_command(workspace, "clippy");
        metal.args(["--lib", "--bin", "vmlinux"]).args(features);
        metal.args(["--", "-D", "warnings"]);
        cargo::run("Checking the bare metal port", &mut metal)?;
    }
    Ok(())
}
