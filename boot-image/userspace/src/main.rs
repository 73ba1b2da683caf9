//! `/init`: the first program that Kindling runs.
//!
//! It makes the machine usable for ordinary programs and hands over to `/sbin/init`. Under the name `console-shell` the
//! same file is the program that starts a shell on the console: one static program instead of two.

#![forbid(unsafe_code)]

mod console_shell;
mod init;
mod streams;

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let error = if name.ends_with("console-shell") {
        console_shell::run()
    } else {
        init::run()
    };
    // Both only return when they could not execute the next program.
    eprintln!("{name}: {error}");
    ExitCode::FAILURE
}
