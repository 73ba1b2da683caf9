//! Programs and files from the distribution's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{capture, is_in_path, succeeds};
use crate::error::{Error, Result};
use crate::progress::Step;

/// The statically linked busybox of Debian and Ubuntu.
pub const BUSYBOX: &str = "/bin/busybox";

/// Firmware for UEFI machines: code and the initial variable store, in the order of preference.
const OVMF: [(&str, &str); 2] = [
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
];

/// Something that a command of this program cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The emulator.
    Qemu,
    /// QEMU with a window.
    QemuWindow,
    /// UEFI firmware.
    Ovmf,
    /// Busybox as a static program.
    Busybox,
    /// A linker and the C library's archive, for static programs.
    CLibrary,
    /// The compressor `zstd`.
    Zstd,
    /// The compressor `xz`.
    Xz,
}

impl Need {
    /// What all commands and tests need together.
    pub const ALL: [Self; 6] = [
        Self::Qemu,
        Self::Ovmf,
        Self::Busybox,
        Self::CLibrary,
        Self::Zstd,
        Self::Xz,
    ];

    fn package(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86",
            Self::QemuWindow => "qemu-system-gui",
            Self::Ovmf => "ovmf",
            Self::Busybox => "busybox-static",
            Self::CLibrary => "libc6-dev",
            Self::Zstd => "zstd",
            Self::Xz => "xz-utils",
        }
    }

    fn is_met(self) -> bool {
        match self {
            Self::Qemu => is_in_path("qemu-system-x86_64"),
            Self::QemuWindow => Path::new("/usr/share/doc/qemu-system-gui").exists(),
            Self::Ovmf => find_ovmf().is_some(),
            Self::Busybox => fs::read(BUSYBOX).is_ok_and(|elf| is_static(&elf)),
            Self::CLibrary => has_c_library(),
            Self::Zstd => is_in_path("zstd"),
            Self::Xz => is_in_path("xz"),
        }
    }
}

/// Whether the linker finds the C library's archive: it names the file with its folder then.
fn has_c_library() -> bool {
    let mut linker = Command::new("cc");
    linker.arg("-print-file-name=libc.a");
    capture("asking the linker", &mut linker).is_ok_and(|path| path.contains('/'))
}

/// The installed firmware: its code and its variables.
pub fn find_ovmf() -> Option<(PathBuf, PathBuf)> {
    OVMF.iter()
        .map(|(code, variables)| (PathBuf::from(code), PathBuf::from(variables)))
        .find(|(code, variables)| code.is_file() && variables.is_file())
}

/// Installs the packages of unmet needs, or says what to type.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<Need> = needs
        .iter()
        .copied()
        .filter(|need| !need.is_met())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package()).collect();
    let title = format!("Installing {}", packages.join(", "));
    install(&title, &packages).map_err(|reason| by_hand(&packages, &reason))?;
    match missing.iter().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => Err(by_hand(
            &[need.package()],
            "it was installed but is still not found",
        )),
    }
}

/// Runs apt. A machine that never read the package lists fails once, so they are read before a second attempt.
fn install(title: &str, packages: &[&str]) -> Result<(), String> {
    let prefix = privileges()?;
    let mut step = Step::begin(title);
    let apt = |arguments: &[&str]| {
        let mut words: Vec<&str> = prefix.to_vec();
        words.extend([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
            "-y",
        ]);
        words.extend(arguments);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        capture("apt-get", &mut command)
    };
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(packages);
    if apt(&arguments).is_ok() {
        return Ok(());
    }
    step.note("reading the package lists first");
    apt(&["update"])
        .and_then(|_| apt(&arguments))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// What to put before a command that needs root.
fn privileges() -> Result<&'static [&'static str], String> {
    if !is_in_path("apt-get") {
        return Err("this is not a Debian-like system".into());
    }
    if rustix::process::geteuid().is_root() {
        return Ok(&[]);
    }
    if succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Ok(&["sudo", "-n"]);
    }
    Err("installing needs root".into())
}

fn by_hand(packages: &[&str], reason: &str) -> Error {
    Error::Missing {
        what: format!("Not installed: {} ({reason}).", packages.join(", ")),
        command: format!(
            "sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        ),
    }
}

/// Whether an ELF file has no program header of type PT_INTERP: it runs without shared libraries.
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    const PROGRAM_HEADER_SIZE: usize = 56;
    if elf.get(..4) != Some(b"\x7fELF") {
        return false;
    }
    let (Some(start), Some(count)) = (number(elf, 32, 8), number(elf, 56, 2)) else {
        return false;
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    (0..usize::try_from(count).unwrap_or(0)).all(|index| {
        let at = start.saturating_add(index * PROGRAM_HEADER_SIZE);
        number(elf, at, 4).is_some_and(|kind| kind != PT_INTERP)
    })
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one program header of the given type.
    fn elf_with(kind: u8) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[32] = 64;
        elf[56] = 1;
        elf[64] = kind;
        elf
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert!(is_static(&elf_with(1)));
        assert!(!is_static(&elf_with(3)));
        assert!(!is_static(&elf_with(1)[..66]));
        assert!(!is_static(b"#!/bin/sh"));
    }

    #[test]
    fn the_advice_names_all_packages() {
        let text = by_hand(&["one", "two"], "installing needs root").to_string();
        assert!(
            text.contains("sudo apt-get install --no-install-recommends one two"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_installed_when_nothing_is_needed() {
        ensure(&[]).unwrap();
    }
}
