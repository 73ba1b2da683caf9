//! Inner builds: cargo runs that need other flags, another profile or another target than the workspace has.

use std::io::{BufReader, IsTerminal, Read};
use std::process::{ChildStderr, Command, Stdio};

use crate::command::start_error;
use crate::error::{Error, Result};
use crate::progress::Step;
use crate::workspace::Workspace;

/// Settings of the outer cargo or of the user that must not reach an inner build.
const OUTER_SETTINGS: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_MANIFEST_DIR",
];

/// How cargo begins the lines that only say how far it is.
const STATUS_WORDS: [&str; 12] = [
    "Compiling",
    "Checking",
    "Building",
    "Finished",
    "Fresh",
    "Downloading",
    "Downloaded",
    "Updating",
    "Locking",
    "Adding",
    "Blocking",
    "Running",
];

/// An inner cargo, run in the workspace's top folder with a target folder of its own, because other flags there
/// would throw away what the outer build made.
pub fn command(workspace: &Workspace, subcommand: &str, target_dir: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace.root())
        .arg(subcommand)
        .arg("--target-dir")
        .arg(workspace.target(target_dir));
    for name in OUTER_SETTINGS {
        command.env_remove(name);
    }
    command
}

/// Lets the pinned stable compiler take the unstable flags of this one command.
pub fn allow_unstable(command: &mut Command) -> &mut Command {
    command.env("RUSTC_BOOTSTRAP", "1")
}

/// Runs an inner cargo behind a progress bar. Warnings and errors of the compiler are passed on.
pub fn run(title: &str, command: &mut Command) -> Result<()> {
    let color = if std::io::stderr().is_terminal() {
        "always"
    } else {
        "never"
    };
    let mut child = command
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "80")
        .env("CARGO_TERM_COLOR", color)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| start_error(command, source))?;
    let diagnostics = child
        .stderr
        .take()
        .map(|stderr| follow(title, stderr))
        .unwrap_or_default();
    let status = child
        .wait()
        .map_err(|source| start_error(command, source))?;
    eprint!("{diagnostics}");
    if status.success() {
        return Ok(());
    }
    let step = title.to_lowercase();
    Err(Error::Other(format!(
        "{step} failed ({status}); the reasons are above"
    )))
}

/// Shows cargo's progress and returns the lines that are not progress.
fn follow(title: &str, stderr: ChildStderr) -> String {
    let mut step = Step::new(title);
    let mut diagnostics = String::new();
    for line in Lines::new(stderr) {
        match classify(&line) {
            Line::Count(done, total) => step.count(done, total),
            Line::Status(text) if text.starts_with("Finished") => {}
            Line::Status(text) => step.note(&text),
            // The compiler parts its messages with empty lines, and cargo clears its bar with blanks.
            Line::Blank if diagnostics.is_empty() || diagnostics.ends_with("\n\n") => {}
            Line::Blank => diagnostics.push('\n'),
            Line::Diagnostic => {
                diagnostics.push_str(&line);
                diagnostics.push('\n');
            }
        }
    }
    diagnostics
}

/// What a line of cargo's output is.
#[derive(Debug, PartialEq)]
enum Line {
    /// Cargo's own bar: so many units out of so many.
    Count(u64, u64),
    /// `Compiling x`, `Downloading y`.
    Status(String),
    /// Nothing, or only blanks.
    Blank,
    /// Everything else: the compiler speaks.
    Diagnostic,
}

fn classify(line: &str) -> Line {
    let plain = without_colors(line);
    let text = plain.trim();
    let first_word = text.split_whitespace().next().unwrap_or_default();
    if text.is_empty() {
        return Line::Blank;
    }
    if first_word == "Building"
        && let Some((done, total)) = count(text)
    {
        return Line::Count(done, total);
    }
    // The compiler's diagnostics are not indented with cargo's twelve columns.
    if plain.starts_with(' ') && STATUS_WORDS.contains(&first_word) {
        return Line::Status(text.to_owned());
    }
    Line::Diagnostic
}

/// Reads `12/45` in `Building [=====>    ] 12/45: core, alloc`.
fn count(text: &str) -> Option<(u64, u64)> {
    let (_, after) = text.split_once(']')?;
    let (done, rest) = after.trim_start().split_once('/')?;
    let total: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// Drops terminal escapes of the form `ESC [ ... letter`.
fn without_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\x1b' {
            plain.push(character);
            continue;
        }
        if characters.next() == Some('[') {
            characters.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    plain
}

/// Lines that end in a line feed or, as a progress bar's do, in a carriage return.
struct Lines<R> {
    bytes: std::io::Bytes<BufReader<R>>,
}

impl<R: Read> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            bytes: BufReader::new(reader).bytes(),
        }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match self.bytes.next() {
                Some(Ok(b'\n' | b'\r')) => break,
                Some(Ok(byte)) => line.push(byte),
                _ if line.is_empty() => return None,
                _ => break,
            }
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_bar_becomes_a_count() {
        assert_eq!(
            classify("    Building [====>    ] 12/45: core, alloc"),
            Line::Count(12, 45)
        );
        assert_eq!(
            classify("\x1b[1m\x1b[96m    Building\x1b[0m [====>    ] 3/7"),
            Line::Count(3, 7)
        );
    }

    #[test]
    fn status_lines_are_not_diagnostics() {
        assert_eq!(
            classify("   Compiling core v0.0.0"),
            Line::Status("Compiling core v0.0.0".into())
        );
        assert_eq!(classify("      "), Line::Blank);
    }

    #[test]
    fn the_compilers_own_lines_are_kept() {
        assert_eq!(classify("warning: unused variable"), Line::Diagnostic);
        assert_eq!(classify("    |     Compiling"), Line::Diagnostic);
        assert_eq!(classify("Building castles"), Line::Diagnostic);
    }

    #[test]
    fn lines_end_in_either_control_character() {
        let lines: Vec<_> = Lines::new("a\rb\n\nc".as_bytes()).collect();
        assert_eq!(lines, ["a", "b", "", "c"]);
    }
}
