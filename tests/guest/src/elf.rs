//! Programs in files that are damaged on purpose: an error or a signal, and the kernel goes on.

use crate::check::{Check, Outcome, holds, same, table};
use crate::elf_file::{BASE, Elf, GOOD, INTERP, LOAD, Ran, Segment, run, write};
use crate::raw::Status;

pub const CHECKS: &[Check] = table![
    the_good_program_runs,
    truncated_files_do_no_harm,
    flipped_bits_in_the_headers_do_no_harm,
    random_numbers_in_the_headers_do_no_harm,
    impossible_headers_are_refused,
    impossible_segments_are_fatal,
    entries_that_are_nowhere_are_fatal,
    interpreters_are_checked,
    damaged_interpreters_do_no_harm,
    overlapping_segments_are_laid_over_each_other,
    the_rest_of_the_last_page_is_zero,
    a_position_independent_program_is_placed_by_the_kernel,
    a_program_without_a_writable_segment_has_a_break,
];

const WELL: Ran = Ran::Ended(Status::Exited(GOOD));

fn the_good_program_runs() -> Outcome {
    same!(run(&Elf::good().bytes())?, WELL);
    Ok(())
}

/// After the damage everything still works.
fn still_works() -> Outcome {
    the_good_program_runs()
}

fn truncated_files_do_no_harm() -> Outcome {
    let bytes = Elf::good().bytes();
    let mut refused = 0;
    for length in (0..200).step_by(3).chain((200..bytes.len()).step_by(61)) {
        match run(&bytes[..length])? {
            Ran::Refused(_) => refused += 1,
            // The last instruction is not needed; before it, what is missing reads as zeros.
            Ran::Ended(Status::Killed(_)) => {}
            other => same!((length, other), (length, WELL)),
        }
    }
    holds!(refused > 30, "{refused} refused");
    still_works()
}

fn flipped_bits_in_the_headers_do_no_harm() -> Outcome {
    let bytes = Elf::good().bytes();
    for position in 0..64 + 2 * 56 {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << (position % 8);
        let _ = run(&damaged)?;
        damaged[position] = !bytes[position];
        let _ = run(&damaged)?;
    }
    still_works()
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 11
    }
}

fn random_numbers_in_the_headers_do_no_harm() -> Outcome {
    let mut numbers = Numbers(2024);
    let bytes = Elf::interpreted(b"/proc/self/exe\0").bytes();
    for _ in 0..250 {
        let mut damaged = bytes.clone();
        for _ in 0..=numbers.next() % 3 {
            // A whole field of the program headers or of the file's header.
            let field = 24 + 8 * (numbers.next() % 26) as usize;
            let value = match numbers.next() % 6 {
                0 => numbers.next() << 11,
                1 => u64::MAX - numbers.next() % 5000,
                2 => 1 << (numbers.next() % 64),
                3 => (1 << 47) - numbers.next() % 9000,
                4 => numbers.next() % 9000,
                _ => BASE + numbers.next() % 9000,
            };
            damaged[field..field + 8].copy_from_slice(&value.to_le_bytes());
        }
        let _ = run(&damaged)?;
    }
    still_works()
}

fn impossible_headers_are_refused() -> Outcome {
    let good = Elf::good();
    let cases: [(&str, Elf); 7] = [
        (
            "kind",
            Elf {
                kind: 1,
                ..good.clone()
            },
        ),
        (
            "core",
            Elf {
                kind: 4,
                ..good.clone()
            },
        ),
        (
            "machine",
            Elf {
                machine: 40,
                ..good.clone()
            },
        ),
        (
            "header size",
            Elf {
                header_size: 32,
                ..good.clone()
            },
        ),
        (
            "no headers",
            Elf {
                header_count: Some(0),
                ..good.clone()
            },
        ),
        (
            "too many headers",
            Elf {
                header_count: Some(1171),
                ..good.clone()
            },
        ),
        (
            "headers elsewhere",
            Elf {
                headers_at: 1 << 40,
                ..good.clone()
            },
        ),
    ];
    for (name, elf) in cases {
        same!(
            (name, run(&elf.bytes())?),
            (name, Ran::Refused(libc::ENOEXEC))
        );
    }
    let mut bytes = good.bytes();
    bytes[0] = b'F';
    same!(run(&bytes)?, Ran::Refused(libc::ENOEXEC));
    still_works()
}

/// The good program with its second segment changed.
fn changed(change: impl Fn(&mut Segment)) -> Vec<u8> {
    let mut elf = Elf::good();
    change(&mut elf.segments[1]);
    elf.bytes()
}

fn fatal(ran: Ran) -> bool {
    matches!(
        ran,
        Ran::Ended(Status::Killed(libc::SIGSEGV)) | Ran::Refused(libc::EINVAL | libc::ENOMEM)
    )
}

fn impossible_segments_are_fatal() -> Outcome {
    // When Linux notices them, the old program is gone; a kernel may look earlier.
    for (name, bytes) in [
        (
            "more in the file than in memory",
            changed(|segment| segment.in_memory = 10),
        ),
        (
            "larger than memory",
            changed(|segment| segment.in_memory = 1 << 60),
        ),
        (
            "in the kernel",
            changed(|segment| segment.address = 0xffff_ffff_8000_0000),
        ),
        (
            "around the end",
            changed(|segment| segment.address = u64::MAX - 4095),
        ),
        (
            "at the end",
            changed(|segment| segment.address = 0x00ff_ffff_ffff_e000),
        ),
    ] {
        let ran = run(&bytes)?;
        holds!(fatal(ran), "{name}: {ran:?}");
    }
    for (name, bytes) in [
        ("unaligned", changed(|segment| segment.address += 5)),
        (
            "beyond the file",
            changed(|segment| segment.offset = 1 << 40),
        ),
        (
            "end of offsets",
            changed(|segment| segment.offset = u64::MAX - 4095),
        ),
        (
            "huge in the file",
            changed(|segment| {
                segment.in_file = 1 << 46;
                segment.in_memory = 1 << 46;
            }),
        ),
        (
            "nothing",
            changed(|segment| {
                segment.in_file = 0;
                segment.in_memory = 0;
            }),
        ),
    ] {
        let ran = run(&bytes)?;
        holds!(
            ran == WELL || matches!(ran, Ran::Ended(Status::Killed(_)) | Ran::Refused(_)),
            "{name}: {ran:?}"
        );
    }
    // A file without anything to load has nothing at its entry.
    let empty = Elf {
        segments: vec![Segment {
            kind: 4,
            ..Elf::good().segments[0]
        }],
        ..Elf::good()
    };
    holds!(run(&empty.bytes())? != WELL);
    still_works()
}

fn entries_that_are_nowhere_are_fatal() -> Outcome {
    for entry in [
        0,
        1,
        BASE + 0x8000,
        0x7fff_ffff_ffff,
        0x8000_0000_0000,
        0x1234_5678_9abc_def0,
        0xffff_8000_0000_0000,
        0xffff_ffff_8100_0000,
        u64::MAX,
    ] {
        let ran = run(&Elf {
            entry,
            ..Elf::good()
        }
        .bytes())?;
        holds!(fatal(ran), "{entry:#x}: {ran:?}");
    }
    still_works()
}

fn interpreters_are_checked() -> Outcome {
    write("text", b"no program")?;
    write("empty", b"")?;
    write("script", b"#!/bin/sh\n")?;
    write("plain", &Elf::good().bytes())?;
    std::fs::create_dir("folder").map_err(|error| error.to_string())?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions("plain", permissions).map_err(|error| error.to_string())?;
    let long = [b'x'; 5000];
    for (name, interpreter, error) in [
        ("missing", &b"/no/such/interpreter\0"[..], libc::ENOENT),
        ("without a zero", b"/bin/sh", libc::ENOEXEC),
        ("too short", b"\0", libc::ENOEXEC),
        ("too long", &long, libc::ENOEXEC),
        ("no program", b"text\0", libc::ELIBBAD),
        ("empty", b"empty\0", libc::EIO),
        ("a script", b"script\0", libc::EIO),
        ("a folder", b"folder\0", libc::EACCES),
        ("not executable", b"plain\0", libc::EACCES),
    ] {
        let ran = run(&Elf::interpreted(interpreter).bytes())?;
        let short = matches!(name, "no program" | "a script" | "empty");
        // A file that is shorter than a header cannot be read as one.
        let expected = if short {
            [libc::EIO, libc::ELIBBAD]
        } else {
            [error; 2]
        };
        holds!(expected.map(Ran::Refused).contains(&ran), "{name}: {ran:?}");
    }
    // Beyond the end of the file.
    let mut elf = Elf::interpreted(b"/bin/sh\0");
    elf.segments[0].offset = 1 << 30;
    holds!(matches!(
        run(&elf.bytes())?,
        Ran::Refused(libc::EIO | libc::ENOEXEC)
    ));
    still_works()
}

fn damaged_interpreters_do_no_harm() -> Outcome {
    let mut numbers = Numbers(77);
    let interpreter = Elf {
        kind: 3,
        ..Elf::good()
    }
    .bytes();
    write("program", &Elf::interpreted(b"interpreter\0").bytes())?;
    for _ in 0..100 {
        let mut damaged = interpreter.clone();
        let position = (numbers.next() % (64 + 112)) as usize;
        damaged[position] ^= 1 << (numbers.next() % 8);
        if numbers.next().is_multiple_of(4) {
            damaged.truncate((numbers.next() % 600) as usize);
        }
        write("interpreter", &damaged)?;
        let _ = run(&Elf::interpreted(b"interpreter\0").bytes())?;
    }
    still_works()
}

fn overlapping_segments_are_laid_over_each_other() -> Outcome {
    let mut elf = Elf::good();
    elf.segments[1] = Segment {
        flags: 5,
        ..elf.segments[0]
    };
    same!(run(&elf.bytes())?, WELL);
    // The later one hides the code with zeros.
    elf.segments[1] = Segment {
        offset: 0x1000,
        in_file: 0,
        in_memory: 0x1000,
        flags: 6,
        ..elf.segments[0]
    };
    elf.contents.resize(0x3000, 0);
    let ran = run(&elf.bytes())?;
    holds!(
        ran == WELL || matches!(ran, Ran::Ended(Status::Killed(_))),
        "{ran:?}"
    );
    // Many of them.
    let mut elf = Elf::good();
    for number in 0..60 {
        elf.segments.push(Segment {
            kind: LOAD,
            address: BASE + 0x100_0000 + number * 0x800,
            offset: (number % 2) * 0x800,
            flags: (number % 8) as u32,
            ..elf.segments[0]
        });
    }
    let _ = run(&elf.bytes())?;
    still_works()
}

/// A program that exits with the byte at `address`.
fn exit_with_byte_at(address: u64) -> Vec<u8> {
    // mov rax, address; movzx edi, byte [rax]; mov eax, 60; syscall
    let mut code = vec![0x48, 0xb8];
    code.extend(address.to_le_bytes());
    code.extend([0x0f, 0xb6, 0x38, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    code
}

fn the_rest_of_the_last_page_is_zero() -> Outcome {
    let data = BASE + 0x10_0000;
    for (address, expected) in [
        (data + 1, i32::from(b'E')),
        (data + 100, 0),
        (data + 4095, 0),
        (data + 19_999, 0),
    ] {
        let mut elf = Elf::good();
        elf.contents = exit_with_byte_at(address);
        elf.contents.resize(8000, 0xff);
        elf.segments[0].in_file = 4096;
        elf.segments[0].in_memory = 4096;
        same!(
            (address, run(&elf.bytes())?),
            (address, Ran::Ended(Status::Exited(expected)))
        );
    }
    Ok(())
}

fn a_position_independent_program_is_placed_by_the_kernel() -> Outcome {
    let mut elf = Elf::good();
    elf.kind = 3;
    elf.entry -= BASE;
    for segment in &mut elf.segments {
        segment.address -= BASE;
    }
    same!(run(&elf.bytes())?, WELL);
    // lea rdi, [rip]; shr rdi, 12; mov eax, 60; syscall: the place is not always the same.
    elf.contents = vec![
        0x48, 0x8d, 0x3d, 0, 0, 0, 0, 0x48, 0xc1, 0xef, 12, 0xb8, 60, 0, 0, 0, 0x0f, 0x05,
    ];
    elf.segments[0].in_file = 4096;
    elf.segments[0].in_memory = 4096;
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..6 {
        places.insert(format!("{:?}", run(&elf.bytes())?));
    }
    holds!(places.len() > 1, "{places:?}");
    Ok(())
}

fn a_program_without_a_writable_segment_has_a_break() -> Outcome {
    let mut elf = Elf::good();
    elf.segments.truncate(1);
    same!(run(&elf.bytes())?, WELL);
    elf.segments.push(Segment {
        kind: INTERP + 100,
        ..elf.segments[0]
    });
    same!(run(&elf.bytes())?, WELL);
    Ok(())
}
