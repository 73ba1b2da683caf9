//! Running other programs and keeping what they print.

use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};

/// Runs a program to its end and returns its standard output. `what` names the step in the error.
pub fn capture(what: &str, command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed {
        what: what.to_owned(),
        output: String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout),
    })
}

/// Whether a program can be started and succeeds. Its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok_and(|output| output.status.success())
}

/// The error for a program that could not be started.
pub fn start_error(command: &Command, source: std::io::Error) -> Error {
    Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

/// Whether a program of this name is in the search path.
pub fn is_in_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| start_error(command, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_successful_program_is_returned() {
        assert_eq!(
            capture("echo", Command::new("echo").arg("hello")).unwrap(),
            "hello\n"
        );
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = capture(
            "it",
            Command::new("sh").args(["-c", "echo why >&2; exit 3"]),
        );
        assert_eq!(error.unwrap_err().to_string(), "it failed:\n    why");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = capture("it", &mut Command::new("/no/such/program")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot start `/no/such/program`")
        );
        assert!(!is_in_path("no-such-program-anywhere"));
        assert!(is_in_path("sh"));
    }
}
