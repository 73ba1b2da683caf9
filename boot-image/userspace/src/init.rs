//! Mounting the pseudo file systems, a welcome, and the way to `/sbin/init`.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::streams::open_standard_streams;

/// The program that stays: busybox's init, in the image.
const NEXT: &str = "/sbin/init";

const CONSOLE: &str = "/dev/console";

/// A file system to mount.
struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: Option<&'static CStr>,
}

/// In this order: the first are the ones that the later tools ask about the others.
const MOUNTS: [Mount; 7] = [
    Mount::new("proc", "/proc", SAFE),
    Mount::new("sysfs", "/sys", SAFE),
    Mount::new("devtmpfs", "/dev", MountFlags::NOSUID).with(c"mode=0755"),
    Mount::new("devpts", "/dev/pts", MountFlags::NOSUID).with(c"gid=5,mode=620"),
    Mount::new("tmpfs", "/dev/shm", MountFlags::NOSUID).with(c"mode=1777"),
    Mount::new("tmpfs", "/tmp", MountFlags::NOSUID).with(c"mode=1777"),
    Mount::new("tmpfs", "/run", MountFlags::NOSUID).with(c"mode=0755"),
];

/// For file systems that hold neither programs nor devices.
const SAFE: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NODEV);

impl Mount {
    const fn new(kind: &'static str, target: &'static str, flags: MountFlags) -> Self {
        Self {
            kind,
            target,
            flags,
            options: None,
        }
    }

    const fn with(mut self, options: &'static CStr) -> Self {
        self.options = Some(options);
        self
    }

    /// Mounts it. A kernel without this kind of file system is not an error, nor is one that has mounted it already.
    fn perform(&self) -> Result<(), Errno> {
        // The folder is there, or the file system is read-only and the mount will say so.
        drop(fs::create_dir_all(self.target));
        match mount(self.kind, self.target, self.kind, self.flags, self.options) {
            Err(Errno::NODEV | Errno::BUSY) => Ok(()),
            other => other,
        }
    }
}

/// Prepares the system and executes the next program, so it returns only with the reason why that failed.
pub fn run() -> io::Error {
    for entry in &MOUNTS {
        if let Err(error) = entry.perform() {
            eprintln!(
                "init: cannot mount {} on {}: {error}",
                entry.kind, entry.target
            );
        }
    }
    reopen_console();
    welcome();
    execute()
}

/// The kernel opened the `/dev/console` that devtmpfs now covers. Programs that ask for the name of their terminal find
/// only the new one.
fn reopen_console() {
    if let Err(error) = open_standard_streams(Path::new(CONSOLE)) {
        eprintln!("init: cannot open {CONSOLE}: {error}");
    }
}

/// Two lines, so that a person sees where the kernel's messages end.
fn welcome() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("\nWelcome to Kindling {}", release.trim());
    println!("This is /init: the file systems are mounted, {NEXT} comes next.\n");
}

/// Executes the next program, or a shell if there is none, with our arguments and environment.
fn execute() -> io::Error {
    let next = if Path::new(NEXT).exists() {
        NEXT
    } else {
        "/bin/sh"
    };
    Command::new(next).args(std::env::args_os().skip(1)).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_other_mounts_is_mounted_before_them() {
        let position = |target: &str| MOUNTS.iter().position(|entry| entry.target == target);
        assert!(position("/dev") < position("/dev/pts"));
        assert!(position("/dev") < position("/dev/shm"));
        assert_eq!(position("/proc"), Some(0));
    }
}
