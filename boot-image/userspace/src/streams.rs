//! Standard input, output and error.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Opens a terminal as all three. It does not become the controlling terminal by that.
pub fn open_standard_streams(terminal: &Path) -> io::Result<()> {
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(terminal)?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    Ok(dup2_stderr(&terminal)?)
}
