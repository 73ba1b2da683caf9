//! The compiler in use: where it is and what it is called.

use std::path::PathBuf;
use std::process::Command;

use crate::command::capture;
use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// Facts about the compiler that cargo uses in this workspace.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Its folder.
    pub sysroot: PathBuf,
    /// The machine it is for, such as `x86_64-unknown-linux-gnu`.
    pub host: String,
    /// Its version, such as `1.95.0`.
    pub release: String,
}

impl Toolchain {
    /// Asks the compiler.
    pub fn current(workspace: &Workspace) -> Result<Self> {
        let rustc = |arguments: &[&str]| {
            let mut command = Command::new("rustc");
            command.args(arguments).current_dir(workspace.root());
            capture("asking the Rust compiler about itself", &mut command)
        };
        let version = rustc(&["-vV"])?;
        Ok(Self {
            sysroot: rustc(&["--print", "sysroot"])?.trim_end().into(),
            host: field(&version, "host")?,
            release: field(&version, "release")?,
        })
    }

    /// Where the sources of `core` and `alloc` are expected.
    pub fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }

    /// The folder of the programs that come with the compiler.
    pub fn tools(&self) -> PathBuf {
        self.sysroot
            .join("lib/rustlib")
            .join(&self.host)
            .join("bin")
    }

    /// One of those programs, ready to run: it needs the compiler's shared libraries.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools().join(name));
        command.env("LD_LIBRARY_PATH", self.sysroot.join("lib"));
        command
    }
}

/// Reads `name: value` from what `rustc -vV` prints.
fn field(text: &str, name: &str) -> Result<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .map(str::to_owned)
        .ok_or_else(|| Error::Other(format!("the Rust compiler does not say its {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "rustc 1.2.3\nhost: a-b-c\nrelease: 1.2.3\n";
        assert_eq!(field(text, "host").unwrap(), "a-b-c");
        assert!(field(text, "LLVM version").is_err());
    }

    #[test]
    fn the_current_compiler_has_a_sysroot() {
        let toolchain = Toolchain::current(&Workspace::find()).unwrap();
        assert!(toolchain.sysroot.join("lib/rustlib").is_dir());
    }
}
