//! The command that people type.

use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::artifacts::{WORKSPACE, log_folder};
use crate::slot::Slot;

/// What `cargo run` prepares is in files that have one name each.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `cargo run -- ARGUMENTS` to its end, with nothing on its standard input.
pub fn cargo_run(arguments: &[&str]) -> Output {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--"])
        .args(arguments)
        .current_dir(WORKSPACE.source(""))
        .stdin(Stdio::null())
        .output()
        .expect("cargo starts")
}

/// [`cargo_run`] of a command that runs a machine, in one of the places for machines.
pub fn cargo_run_machine(arguments: &[&str]) -> Output {
    let _slot = Slot::wait_in(&log_folder());
    cargo_run(arguments)
}
