//! Writing ELF files by hand, good and bad ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::raw::{Status, call, in_child};

/// Where the program is mapped.
pub const BASE: u64 = 0x40_0000;
/// What the good program exits with.
pub const GOOD: i32 = 42;

/// Kinds of segments.
pub const LOAD: u32 = 1;
/// The interpreter's name.
pub const INTERP: u32 = 3;

/// A program header.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub in_file: u64,
    pub in_memory: u64,
    pub alignment: u64,
}

/// A file to be written.
#[derive(Clone, Debug)]
pub struct Elf {
    pub kind: u16,
    pub machine: u16,
    pub entry: u64,
    pub headers_at: u64,
    pub header_size: u16,
    pub header_count: Option<u16>,
    pub segments: Vec<Segment>,
    /// What follows the headers, from [`Elf::CONTENTS`] on.
    pub contents: Vec<u8>,
}

impl Elf {
    /// Where the contents begin in the file.
    pub const CONTENTS: u64 = 0xe00;

    /// A program of one segment that exits with [`GOOD`].
    pub fn good() -> Self {
        // mov edi, 42; mov eax, 60; syscall; ud2
        let code = [0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b];
        let size = Self::CONTENTS + code.len() as u64;
        Self {
            kind: 2,
            machine: 62,
            entry: BASE + Self::CONTENTS,
            headers_at: 64,
            header_size: 56,
            header_count: None,
            segments: vec![
                Segment {
                    kind: LOAD,
                    flags: 5,
                    offset: 0,
                    address: BASE,
                    in_file: size,
                    in_memory: size,
                    alignment: 4096,
                },
                Segment {
                    kind: LOAD,
                    flags: 6,
                    offset: 0,
                    address: BASE + 0x10_0000,
                    in_file: 100,
                    in_memory: 20_000,
                    alignment: 4096,
                },
            ],
            contents: code.to_vec(),
        }
    }

    /// The same with an interpreter.
    pub fn interpreted(name: &[u8]) -> Self {
        let mut elf = Self::good();
        let offset = Self::CONTENTS + elf.contents.len() as u64;
        elf.contents.extend_from_slice(name);
        elf.segments.insert(
            0,
            Segment {
                kind: INTERP,
                flags: 4,
                offset,
                address: BASE + offset,
                in_file: name.len() as u64,
                in_memory: name.len() as u64,
                alignment: 1,
            },
        );
        elf
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        for field in [self.kind, self.machine, 1, 0] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [self.entry, self.headers_at, 0] {
            bytes.extend(field.to_le_bytes());
        }
        let count = self.header_count.unwrap_or(self.segments.len() as u16);
        for field in [0, 0, 64, self.header_size, count, 64, 0, 0] {
            bytes.extend(field.to_le_bytes());
        }
        for segment in &self.segments {
            bytes.extend(segment.kind.to_le_bytes());
            bytes.extend(segment.flags.to_le_bytes());
            for field in [
                segment.offset,
                segment.address,
                segment.address,
                segment.in_file,
                segment.in_memory,
                segment.alignment,
            ] {
                bytes.extend(field.to_le_bytes());
            }
        }
        bytes.resize(Self::CONTENTS as usize, 0);
        bytes.extend_from_slice(&self.contents);
        bytes
    }
}

/// What came of an attempt to execute a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// `execve` failed.
    Refused(i32),
    /// The program ended.
    Ended(Status),
}

/// Writes the bytes as an executable file and runs it.
pub fn run(bytes: &[u8]) -> Result<Ran, String> {
    write("program", bytes)?;
    Ok(execute())
}

/// Writes an executable file.
pub fn write(name: &str, bytes: &[u8]) -> Result<(), String> {
    fs::write(name, bytes).map_err(|error| error.to_string())?;
    let permissions = fs::Permissions::from_mode(0o755);
    fs::set_permissions(name, permissions).map_err(|error| error.to_string())
}

/// Runs the file; it may use a second at most.
fn execute() -> Ran {
    let status = in_child(|| {
        // Random code can do anything that a process without rights can do.
        let _ = call!(SYS_setrlimit, libc::RLIMIT_CPU, &[1_u64, 1]);
        let _ = call!(SYS_setrlimit, libc::RLIMIT_CORE, &[0_u64, 0]);
        let _ = call!(SYS_setrlimit, libc::RLIMIT_NPROC, &[0_u64, 0]);
        let _ = call!(SYS_alarm, 2);
        let name = c"program".as_ptr().expose_provenance();
        match call!(SYS_execve, c"program", &[name, 0], &[0_usize]) {
            Err(error) => 100 + error.0,
            Ok(_) => 99,
        }
    });
    match status {
        Status::Exited(code @ 101..) => Ran::Refused(code - 100),
        ended => Ran::Ended(ended),
    }
}
