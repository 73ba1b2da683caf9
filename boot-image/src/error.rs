//! What can go wrong while building or booting, as sentences for the person who typed the command.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that ends the command. Its text is all that is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written, linked, ...
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// A verb: "read", "create".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A program is not there or cannot be executed.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// Its name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{what} failed{}", indent(output))]
    Failed {
        /// What it was doing, in words.
        what: String,
        /// What it printed.
        output: String,
    },
    /// Something is missing that only the user can provide.
    #[error("{what}\nType this, then try again:\n\n    {command}\n")]
    Missing {
        /// What is missing, and why it could not be fetched.
        what: String,
        /// The exact command that provides it.
        command: String,
    },
    /// The BIOS stages of the boot loader cannot load this much.
    #[error(
        "the image is too large for the BIOS stages of the boot loader: kernel {kernel:.1} MiB and initramfs \
         {initramfs:.1} MiB, but together they must stay below {limit:.1} MiB"
    )]
    ImageTooLarge {
        /// Size of the stripped kernel.
        kernel: f64,
        /// Size of the compressed initramfs.
        initramfs: f64,
        /// What fits.
        limit: f64,
    },
    /// Nothing more specific.
    #[error("{0}")]
    Other(String),
}

/// Puts a program's output under the sentence that says it failed.
fn indent(output: &str) -> String {
    let output = output.trim_end();
    if output.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = output.lines().map(|line| format!("    {line}")).collect();
    format!(":\n{}", lines.join("\n"))
}

/// Names the file and the action of an [`io::Error`].
pub trait FileContext<T> {
    /// "cannot `action` `path`: ..."
    fn doing(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

/// Refuses, before anything is built, a file of the user's that cannot be read later.
pub fn check_readable(path: &Path) -> Result<()> {
    let metadata = std::fs::File::open(path).and_then(|file| file.metadata());
    if metadata.doing("read", path)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory)).doing("read", path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_a_missing_file_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_readable(folder.path()).is_err());
        let file = folder.path().join("file");
        assert!(check_readable(&file).is_err());
        std::fs::write(&file, "").unwrap();
        assert!(check_readable(&file).is_ok());
    }

    #[test]
    fn a_failed_program_shows_its_output_indented() {
        let error = Error::Failed {
            what: "the build".into(),
            output: "one\ntwo\n".into(),
        };
        assert_eq!(error.to_string(), "the build failed:\n    one\n    two");
    }

    #[test]
    fn a_silent_failure_is_one_sentence() {
        let error = Error::Failed {
            what: "the build".into(),
            output: "\n".into(),
        };
        assert_eq!(error.to_string(), "the build failed");
    }
}
