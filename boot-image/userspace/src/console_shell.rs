//! A login shell with job control on the console.
//!
//! Opening `/dev/console` never makes it the controlling terminal, and without one a shell has no job control and
//! Ctrl-C no effect. Nor does the kernel stop a background program that reads from `/dev/console`. So this program,
//! which init starts with the console open, leads a session of its own, takes the terminal behind the open file as its
//! controlling terminal, reopens it under its own name, and becomes the shell.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{getpgrp, ioctl_tiocsctty, setsid};
use rustix::stdio::stdin;
use rustix::termios::tcsetpgrp;

use crate::streams::open_standard_streams;

/// The controlling terminal under a name that always fits.
const ANY_TERMINAL: &str = "/dev/tty";
/// Position of the controlling terminal's device number in `/proc/PID/stat`, counted after the program's name.
const TTY_NR: usize = 4;

/// Becomes the shell, so it returns only with the reason why that failed.
pub fn run() -> io::Error {
    if let Err(error) = take_terminal() {
        eprintln!("console-shell: no job control: {error}");
    } else if let Err(error) = reopen_terminal() {
        eprintln!("console-shell: the shell stays on the console: {error}");
    }
    // The leading minus makes it a login shell, which reads /etc/profile.
    Command::new("/bin/sh").arg0("-sh").exec()
}

fn take_terminal() -> io::Result<()> {
    // Fails if init has made us a session leader already, and that is as good.
    let _ = setsid();
    ioctl_tiocsctty(stdin())?;
    Ok(tcsetpgrp(stdin(), getpgrp())?)
}

/// Puts the terminal itself in the place of `/dev/console` as standard input, output and error.
fn reopen_terminal() -> io::Result<()> {
    let name = terminal_name().unwrap_or_else(|| ANY_TERMINAL.into());
    open_standard_streams(&name)
}

/// Finds the node of the controlling terminal in `/dev`.
fn terminal_name() -> Option<PathBuf> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let wanted = controlling_terminal(&stat)?;
    let nodes = fs::read_dir("/dev").ok()?;
    nodes.flatten().map(|node| node.path()).find(|path| {
        fs::symlink_metadata(path)
            .is_ok_and(|node| node.file_type().is_char_device() && node.rdev() == wanted)
    })
}

/// Reads the device number of the controlling terminal from the text of `/proc/PID/stat`.
fn controlling_terminal(stat: &str) -> Option<u64> {
    // The program's name, in parentheses, may hold blanks and parentheses itself.
    let (_, fields) = stat.rsplit_once(") ")?;
    let number: u64 = fields.split(' ').nth(TTY_NR)?.parse().ok()?;
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminals_number_follows_the_session() {
        let stat = "9 (odd) name) S 1 9 9 1088 9 4194560 0";
        assert_eq!(controlling_terminal(stat), Some(1088));
    }

    #[test]
    fn a_process_without_a_terminal_has_the_number_zero() {
        assert_eq!(controlling_terminal("9 (sh) S 1 9 9 0 -1 4194560 0"), None);
        assert_eq!(controlling_terminal("9 (sh) S"), None);
    }
}
