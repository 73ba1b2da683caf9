//! Tests of [`super`].

use super::*;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

/// Writes down what it is told.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    data: Vec<u8>,
    refuse: Option<&'static str>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl CpioSink for Log {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Errno> {
        let path = text(entry.path);
        if self.refuse == Some(path.as_str()) {
            return Err(Errno::EEXIST);
        }
        let mode = entry.header.mode;
        self.lines.push(match entry.kind {
            Kind::Directory => format!("dir {path} {mode:o}"),
            Kind::File => format!("file {path} {mode:o}"),
            Kind::Link { target } => format!("link {path} {}", text(target)),
            Kind::Symlink { target } => format!("symlink {path} {}", text(target)),
            Kind::Special => format!("special {path} {mode:o} {:?}", entry.header.rdev),
        });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if self.refuse == Some("data") {
            return Err(Errno::ENOSPC);
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn close(&mut self, header: &Header) {
        let data = text(&core::mem::take(&mut self.data));
        self.lines.push(format!("close {data:?} {}", header.mtime));
    }
}

struct Member<'a> {
    name: &'a str,
    header: Header,
    body: &'a [u8],
}

fn member<'a>(name: &'a str, mode: u32, body: &'a [u8]) -> Member<'a> {
    let header = Header {
        mode,
        nlink: 1,
        mtime: 77,
        ..Header::default()
    };
    Member { name, header, body }
}

fn write_member(out: &mut Vec<u8>, magic: &str, member: &Member<'_>) {
    let h = &member.header;
    let fields = [
        h.ino,
        h.mode,
        h.uid,
        h.gid,
        h.nlink,
        h.mtime,
        member.body.len() as u32,
        h.dev.0,
        h.dev.1,
        h.rdev.0,
        h.rdev.1,
        member.name.len() as u32 + 1,
        h.checksum,
    ];
    let start = out.len();
    out.extend(magic.bytes());
    fields
        .iter()
        .for_each(|field| out.extend(format!("{field:08X}").bytes()));
    out.extend(member.name.bytes());
    out.push(0);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    out.extend(member.body);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
}

fn archive_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    members
        .iter()
        .for_each(|member| write_member(&mut out, "070701", member));
    write_member(&mut out, "070701", &member("TRAILER!!!", 0, b""));
    out
}

fn sample() -> Vec<u8> {
    let mut console = member("dev/console", 0o20600, b"");
    console.header.rdev = (5, 1);
    let mut first = member("bin/a", 0o100755, b"");
    first.header = Header {
        ino: 9,
        nlink: 2,
        ..first.header
    };
    let mut second = member("bin/b", 0o100755, b"both");
    second.header = Header {
        ino: 9,
        nlink: 2,
        ..second.header
    };
    archive_of(&[
        member("bin", 0o40755, b""),
        member("init", 0o100755, b"#!/bin/sh\n"),
        first,
        second,
        member("sh", 0o120777, b"bin/a"),
        console,
        member("empty", 0o100644, b""),
    ])
}

const SAMPLE_LINES: [&str; 11] = [
    "dir bin 40755",
    "file init 100755",
    "close \"#!/bin/sh\\n\" 77",
    "file bin/a 100755",
    "close \"\" 77",
    "link bin/b bin/a",
    "close \"both\" 77",
    "symlink sh bin/a",
    "special dev/console 20600 (5, 1)",
    "file empty 100644",
    "close \"\" 77",
];

fn run(image: &[u8]) -> (Vec<String>, Result<(), String>) {
    let mut log = Log::default();
    let result = unpack(image, &mut log).map_err(|error| error.to_string());
    (log.lines, result)
}

fn message(image: &[u8]) -> String {
    run(image).1.unwrap_err()
}

#[test]
fn every_kind_of_member_reaches_the_sink() {
    assert_eq!(
        run(&sample()),
        (SAMPLE_LINES.map(String::from).to_vec(), Ok(()))
    );
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let image = sample();
    for size in [1, 3, 109, 110, 111, 4096] {
        let (mut parser, mut log) = (Parser::new(), Log::default());
        for piece in image.chunks(size) {
            parser.flush(piece, &mut log).unwrap();
        }
        assert_eq!(log.lines, SAMPLE_LINES, "pieces of {size}");
        assert!(parser.is_at_end());
    }
}

#[test]
fn archives_follow_each_other_with_zeros_between() {
    let mut image = sample();
    image.resize(image.len().next_multiple_of(512) + 8, 0);
    image.extend(archive_of(&[member("late", 0o40700, b"")]));
    image.resize(image.len() + 100, 0);
    let (lines, result) = run(&image);
    assert_eq!(
        (lines.len(), lines.last().unwrap().as_str()),
        (12, "dir late 40700")
    );
    assert_eq!(result, Ok(()));
}

#[test]
fn links_are_forgotten_at_a_trailer() {
    let one = |name| {
        let mut one = member(name, 0o100600, b"");
        one.header = Header {
            ino: 1,
            nlink: 2,
            ..one.header
        };
        archive_of(&[one])
    };
    let (lines, _) = run(&[one("x"), one("y")].concat());
    assert_eq!(
        lines,
        [
            "file x 100600",
            "close \"\" 77",
            "file y 100600",
            "close \"\" 77"
        ]
    );
}

#[test]
fn a_member_that_cannot_be_made_is_skipped() {
    let mut log = Log {
        refuse: Some("init"),
        ..Log::default()
    };
    assert_eq!(unpack(&sample(), &mut log), Ok(()));
    assert_eq!(log.lines[1], "file bin/a 100755");
    let mut log = Log {
        refuse: Some("data"),
        ..Log::default()
    };
    assert_eq!(
        unpack(&sample(), &mut log).unwrap_err().to_string(),
        "write error"
    );
}

#[test]
fn the_crc_format_is_checked() {
    let mut good = member("f", 0o100644, b"\x01\x02\xff");
    good.header.checksum = 0x102;
    let mut image = Vec::new();
    write_member(&mut image, "070702", &good);
    assert_eq!(run(&image).1, Ok(()));
    good.header.checksum = 0x103;
    image.clear();
    write_member(&mut image, "070702", &good);
    assert_eq!(message(&image), "bad data checksum");
}

#[test]
fn broken_archives_get_linux_words() {
    let mut image = sample();
    image[5] = b'7';
    assert_eq!(
        message(&image),
        "incorrect cpio method used: use -H newc option"
    );
    image[5] = b'9';
    assert_eq!(message(&image), "no cpio magic");
    let mut image = sample();
    image[20] = b'g';
    assert_eq!(message(&image), "damaged header");
    let mut image = sample();
    image[HEADER_SIZE + 3] = b'x';
    assert_eq!(message(&image), "malformed archive");
    assert_eq!(
        message(b"hello world"),
        "invalid magic at start of compressed archive"
    );
    assert_eq!(message(b"BZh9"), "compression method bzip2 not configured");
}

#[test]
fn something_behind_a_member_is_junk() {
    let mut log = Log::default();
    let mut image = sample();
    image.extend(b"junk");
    assert_eq!(
        Parser::new().flush(&image, &mut log),
        Err(Error::JunkWithin)
    );
    let mut image = sample();
    image.extend(b"\0junk");
    assert_eq!(
        Parser::new().flush(&image, &mut log),
        Err(Error::BrokenPadding)
    );
}

#[test]
fn names_and_links_that_are_too_long_are_skipped() {
    let name = "n".repeat(PATH_MAX);
    let target = vec![b't'; PATH_MAX + 1];
    let members = [
        member(&name, 0o40755, b""),
        member("l", 0o120777, &target),
        member("d", 0o40755, b"x"),
    ];
    assert_eq!(run(&archive_of(&members)), (vec![], Ok(())));
}

#[test]
fn a_header_that_announces_too_much_waits_without_allocating_it() {
    let mut image = Vec::new();
    write_member(&mut image, "070701", &member("f", 0o100644, b"x"));
    image[6 + 6 * 8..6 + 7 * 8].copy_from_slice(b"FFFFFFFF");
    let (mut parser, mut log) = (Parser::new(), Log::default());
    assert_eq!(parser.flush(&image, &mut log), Ok(()));
    assert!(!parser.is_at_end() && parser.collected.capacity() < 4096);
}

#[test]
fn no_damage_makes_it_panic() {
    let mut state = 7u64;
    let mut random = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let base = sample();
    let interesting = *b"\0 0179aFf/\xff\x1f\x8bB";
    for _ in 0..20_000 {
        let mut image = base.clone();
        for _ in 0..=random(4) {
            let at = random(image.len());
            image[at] = interesting[random(interesting.len())];
        }
        image.truncate(random(base.len()) + 1);
        image.drain(..random(2) * random(image.len()));
        let _ = run(&image);
        let (mut parser, mut log) = (Parser::new(), Log::default());
        for piece in image.chunks(1 + random(50)) {
            if parser.flush(piece, &mut log).is_err() {
                break;
            }
        }
    }
}
