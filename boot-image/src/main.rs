//! `cargo run`: see `cargo run -- --help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use boot_image::cli::{Action, Cli};
use boot_image::setup::{self, Need};
use boot_image::{DiskTool, Result, Workspace, bench, image, lint, run};
use clap::Parser;

/// Exit status of an error of the builder itself: apart from the guest's 0, 1 and 124.
const STATUS_BUILDER: u8 = 2;

fn main() -> ExitCode {
    let action = Cli::parse().action();
    match perform(&Workspace::find(), action) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("boot-image: {error}");
            ExitCode::from(STATUS_BUILDER)
        }
    }
}

fn perform(workspace: &Workspace, action: Action) -> Result<u8> {
    match action {
        Action::Run(options) => return run::run(workspace, &options),
        Action::Image(options) => image::image(workspace, &options)?,
        Action::Setup => set_up(workspace)?,
        Action::Bench => bench::bench(workspace)?,
        Action::Lint => lint::lint(workspace)?,
    }
    Ok(0)
}

/// Everything that any command or test needs.
fn set_up(workspace: &Workspace) -> Result<()> {
    setup::packages(&Need::ALL)?;
    setup::toolchain(workspace)?;
    DiskTool::build(workspace)?;
    eprintln!("boot-image: nothing is missing");
    Ok(())
}
