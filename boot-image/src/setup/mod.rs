//! Everything that a fresh machine lacks: completed when it can be, else named with the command that provides it.
//!
//! A machine with nothing missing sees nothing of this.

mod packages;
mod rustsrc;
mod toolchain;
mod tools;

pub use packages::{BUSYBOX, Need, ensure as packages, find_ovmf};
pub use toolchain::Toolchain;

use crate::error::Result;
use crate::workspace::Workspace;

/// Completes the Rust toolchain for the inner builds.
pub fn toolchain(workspace: &Workspace) -> Result<Toolchain> {
    let toolchain = Toolchain::current(workspace)?;
    if rustsrc::is_missing(&toolchain) || tools::are_missing(&toolchain) {
        let _lock = workspace.lock("setup")?;
        rustsrc::ensure(&toolchain, &workspace.target_dir("setup")?)?;
        tools::ensure(&toolchain)?;
    }
    Ok(toolchain)
}
