//! A login shell with job control on the console.
//!
//! Opening `/dev/console` never makes it the controlling terminal, and without one a shell has no job control and
//! Ctrl-C no effect. So this program, which init starts with the console open, leads a session of its own, takes the
//! terminal behind the open file as its controlling terminal, whichever it is, and becomes the shell.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{getpgrp, ioctl_tiocsctty, setsid};
use rustix::stdio::stdin;
use rustix::termios::tcsetpgrp;

/// Becomes the shell, so it returns only with the reason why that failed.
pub fn run() -> io::Error {
    if let Err(error) = take_terminal() {
        eprintln!("console-shell: no job control: {error}");
    }
    // The leading minus makes it a login shell, which reads /etc/profile.
    Command::new("/bin/sh").arg0("-sh").exec()
}

fn take_terminal() -> rustix::io::Result<()> {
    // Fails if init has made us a session leader already, and that is as good.
    let _ = setsid();
    ioctl_tiocsctty(stdin())?;
    tcsetpgrp(stdin(), getpgrp())
}
