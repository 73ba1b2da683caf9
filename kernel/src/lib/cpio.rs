//! Unpacking of initramfs archives. Linux: init/initramfs.c, usr/gen_init_cpio.c,
//! Documentation/driver-api/early-userspace/buffer-format.rst.
//!
//! An initramfs is any number of cpio archives (format newc, 070701, or crc, 070702) one after the
//! other, each plain or compressed, with zero bytes between them. [`unpack`] goes through all of
//! them; the [`Parser`] below it is a state machine that takes an archive in pieces of any size,
//! keeps at most one header and one name in memory and passes file contents through uncopied.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use uapi::errno::Errno;
use uapi::limits::PATH_MAX;
use uapi::stat::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK};

use super::decompress::{self, Stop};

/// Bytes of a header, magic number included.
pub const HEADER_SIZE: usize = 110;

/// A member's header; the fields are the hexadecimal numbers of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Inode number: equal in members that are one file under several names.
    pub ino: u32,
    /// Type and permissions (`S_IF*`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Names that the file has in the archive.
    pub nlink: u32,
    /// Modification time, in seconds since 1970.
    pub mtime: u32,
    /// Size of the contents in bytes.
    pub size: u32,
    /// Device that held the file, major and minor number.
    pub dev: (u32, u32),
    /// Device that a special file stands for, major and minor number.
    pub rdev: (u32, u32),
    /// Length of the name in bytes, with its NUL.
    pub name_len: u32,
    /// Sum of the content's bytes, in the crc format.
    pub checksum: u32,
}

/// What an archive asks to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A directory.
    Directory,
    /// A regular file; contents follow in [`CpioSink::data`] if the size is not 0.
    File,
    /// Another name of a file that came before. For a regular file, contents may follow here: they
    /// replace those of the file.
    Link {
        /// The name that the file got first.
        target: &'a [u8],
    },
    /// A symbolic link with its text.
    Symlink {
        /// What it points to.
        target: &'a [u8],
    },
    /// A device, FIFO or socket, as the mode says.
    Special,
}

/// One member of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The name as it stands in the archive, relative or absolute; it may be empty.
    pub path: &'a [u8],
    /// Owner, mode, times.
    pub header: &'a Header,
    /// What to create.
    pub kind: Kind<'a>,
}

/// Where unpacked members go.
pub trait CpioSink {
    /// Creates a member with its owner and mode. What stands in its place and is of another type
    /// is to be removed first (Linux: `clean_path`).
    ///
    /// # Errors
    /// Any: the contents are skipped and unpacking goes on, as in Linux.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Errno>;

    /// The next piece of the contents of the file that [`CpioSink::entry`] created last.
    ///
    /// # Errors
    /// Any: unpacking ends with "write error".
    fn data(&mut self, bytes: &[u8]) -> Result<(), Errno>;

    /// The file is complete: close it and set its time. Called for every [`Kind::File`] and for
    /// every [`Kind::Link`] of a regular file that `entry` accepted.
    fn close(&mut self, header: &Header);
}

/// Why unpacking ended early; it prints what Linux puts behind `Initramfs unpacking failed: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No header where one should start.
    NoMagic,
    /// The old portable format.
    OldFormat,
    /// A header with something other than hexadecimal digits.
    DamagedHeader,
    /// A name without its NUL.
    MalformedArchive,
    /// A header at an offset that is no multiple of 4.
    BrokenPadding,
    /// Something between the members of a compressed archive.
    JunkWithin,
    /// A compressed archive whose last member is incomplete.
    JunkAtEnd,
    /// Neither an archive nor something compressed.
    InvalidMagic,
    /// The sink did not take the contents.
    Write,
    /// Contents that do not add up, in the crc format.
    BadChecksum,
    /// The decompressor's words.
    Decompress(decompress::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMagic => "no cpio magic",
            Self::OldFormat => "incorrect cpio method used: use -H newc option",
            Self::DamagedHeader => "damaged header",
            Self::MalformedArchive => "malformed archive",
            Self::BrokenPadding => "broken padding",
            Self::JunkWithin => "junk within compressed archive",
            Self::JunkAtEnd => "junk at the end of compressed archive",
            Self::InvalidMagic => "invalid magic at start of compressed archive",
            Self::Write => "write error",
            Self::BadChecksum => "bad data checksum",
            Self::Decompress(error) => return error.fmt(f),
        })
    }
}

/// Unpacks everything in `image` to `sink`. Linux: `unpack_to_rootfs`.
///
/// # Errors
/// At the first thing that cannot be made sense of; members before it stay.
pub fn unpack<S: CpioSink>(image: &[u8], sink: &mut S) -> Result<(), Error> {
    let mut parser = Parser::new();
    let mut rest = image;
    while let Some(&first) = rest.first() {
        // Offsets of a plain archive are counted over everything, so padding stays right.
        if first == b'0' && parser.offset & 3 == 0 {
            parser.state = State::Start;
            rest = &rest[parser.write(rest, sink)?..];
        } else if first == 0 {
            rest = &rest[1..];
            parser.offset += 1;
        } else {
            let offset = parser.offset;
            parser.offset = 0;
            let consumed = unpack_compressed(rest, &mut parser, sink)?;
            parser.offset = offset + consumed as u64;
            rest = &rest[consumed..];
        }
    }
    Ok(())
}

/// Unpacks one compressed archive at the start of `image` and returns its length in bytes.
fn unpack_compressed<S: CpioSink>(
    image: &[u8],
    parser: &mut Parser,
    sink: &mut S,
) -> Result<usize, Error> {
    let method = decompress::decompress_method(image).ok_or(Error::InvalidMagic)?;
    let mut failure = None;
    let result = decompress::decompress(method, image, &mut |bytes| {
        parser.flush(bytes, sink).map_err(|error| {
            failure = Some(error);
            Stop
        })
    });
    match (failure, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(Error::Decompress(error)),
        (None, Ok(_)) if !matches!(parser.state, State::Reset) => Err(Error::JunkAtEnd),
        (None, Ok(consumed)) => Ok(consumed),
    }
}

/// What the parser waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A header at this offset.
    Start,
    /// `wanted` bytes in `collected`, then `Collected`.
    Collect(Collected),
    /// The contents of a file.
    Copy,
    /// The next header's offset.
    Skip,
    /// The zero bytes between archives, or a header.
    Reset,
}

/// What a full buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collected {
    Header,
    Name,
    Symlink,
}

/// Whether a step can go on with what is left of the input.
#[derive(PartialEq, Eq)]
enum Step {
    Again,
    Stop,
}

/// Identity of a file with several names. Linux: `struct hash`.
type LinkKey = ((u32, u32), u32, u32);

/// The state machine for one image. Linux: the `actions` of init/initramfs.c.
pub struct Parser {
    state: State,
    /// Bytes since the archive's start.
    offset: u64,
    /// Offset of the next header.
    next_header: u64,
    collected: Vec<u8>,
    wanted: usize,
    header: Header,
    /// The contents are to be checked against the header's sum.
    has_checksum: bool,
    sum: u32,
    /// Bytes of contents still to come.
    body_left: u32,
    links: BTreeMap<LinkKey, Vec<u8>>,
}

/// Length of a name with the padding that ends it at a multiple of 4 from the header's start.
fn padded_name(name_len: u32) -> usize {
    (HEADER_SIZE + name_len as usize).next_multiple_of(4) - HEADER_SIZE
}

impl Parser {
    /// A parser at the start of an archive.
    pub fn new() -> Self {
        Self {
            state: State::Start,
            offset: 0,
            next_header: 0,
            collected: Vec::new(),
            wanted: 0,
            header: Header::default(),
            has_checksum: false,
            sum: 0,
            body_left: 0,
            links: BTreeMap::new(),
        }
    }

    /// True between archives: nothing is missing if the input ends here.
    pub fn is_at_end(&self) -> bool {
        self.state == State::Reset
    }

    /// Takes bytes of one archive up to the end of `bytes` or to something behind a member that is
    /// no padding, and returns how many it took. Linux: `write_buffer`.
    ///
    /// # Errors
    /// If the archive is malformed or the sink does not take contents.
    pub fn write<S: CpioSink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<usize, Error> {
        let mut input = bytes;
        while self.step(&mut input, sink)? == Step::Again {}
        Ok(bytes.len() - input.len())
    }

    /// Takes all of `bytes`: archives with zero bytes between them. Linux: `flush_buffer`.
    ///
    /// # Errors
    /// As [`Parser::write`]; also if something else stands between members.
    pub fn flush<S: CpioSink>(&mut self, mut bytes: &[u8], sink: &mut S) -> Result<(), Error> {
        loop {
            bytes = &bytes[self.write(bytes, sink)?..];
            self.state = match bytes.first() {
                None => return Ok(()),
                Some(b'0') => State::Start,
                Some(0) => State::Reset,
                Some(_) => return Err(Error::JunkWithin),
            };
        }
    }

    fn step<S: CpioSink>(&mut self, input: &mut &[u8], sink: &mut S) -> Result<Step, Error> {
        match self.state {
            State::Start => {
                self.collect(HEADER_SIZE, Collected::Header);
                Ok(Step::Again)
            }
            State::Collect(what) => self.fill(what, input, sink),
            State::Copy => self.copy(input, sink),
            State::Skip => Ok(self.skip(input)),
            State::Reset => self.reset(input),
        }
    }

    fn eat<'a>(&mut self, input: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (eaten, rest) = input.split_at(count.min(input.len()));
        *input = rest;
        self.offset += eaten.len() as u64;
        eaten
    }

    fn collect(&mut self, size: usize, what: Collected) {
        self.collected.clear();
        self.wanted = size;
        self.state = State::Collect(what);
    }

    fn fill<S: CpioSink>(
        &mut self,
        what: Collected,
        input: &mut &[u8],
        sink: &mut S,
    ) -> Result<Step, Error> {
        let piece = self.eat(input, self.wanted - self.collected.len());
        self.collected.extend_from_slice(piece);
        if self.collected.len() < self.wanted {
            return Ok(Step::Stop);
        }
        // The buffer goes back so that its memory is used again.
        let mut collected = core::mem::take(&mut self.collected);
        let result = match what {
            Collected::Header => self.got_header(&collected),
            Collected::Name => self.got_name(&collected, sink),
            Collected::Symlink => self.got_symlink(&collected, sink),
        };
        collected.clear();
        self.collected = collected;
        result.map(|()| Step::Again)
    }

    fn got_header(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (magic, fields) = bytes.split_at(6);
        self.has_checksum = match magic {
            b"070701" => false,
            b"070702" => true,
            b"070707" => return Err(Error::OldFormat),
            _ => return Err(Error::NoMagic),
        };
        self.header = parse_header(fields)?;
        let Header {
            mode,
            size,
            name_len,
            ..
        } = self.header;
        let padded = padded_name(name_len);
        let end = self.offset + padded as u64 + u64::from(size);
        self.next_header = end.next_multiple_of(4);
        self.state = State::Skip;
        if name_len == 0 || name_len as usize > PATH_MAX {
            return Ok(());
        }
        match mode & S_IFMT {
            S_IFLNK if size as usize > PATH_MAX => {}
            S_IFLNK => self.collect(padded + size as usize, Collected::Symlink),
            S_IFREG => self.collect(padded, Collected::Name),
            _ if size == 0 => self.collect(padded, Collected::Name),
            _ => {}
        }
        Ok(())
    }

    /// The name without its NUL.
    fn path<'a>(&self, collected: &'a [u8]) -> Result<&'a [u8], Error> {
        match &collected[..self.header.name_len as usize] {
            [name @ .., 0] => Ok(super::string_helpers::until_nul(name)),
            _ => Err(Error::MalformedArchive),
        }
    }

    fn got_name<S: CpioSink>(&mut self, collected: &[u8], sink: &mut S) -> Result<(), Error> {
        self.state = State::Skip;
        let path = self.path(collected)?;
        if path == b"TRAILER!!!" {
            self.links.clear();
            return Ok(());
        }
        let header = self.header;
        let file_type = header.mode & S_IFMT;
        let first_kind = match file_type {
            S_IFREG => Kind::File,
            S_IFDIR => Kind::Directory,
            S_IFBLK | S_IFCHR | S_IFIFO | S_IFSOCK => Kind::Special,
            _ => return Ok(()),
        };
        let target = if file_type == S_IFDIR {
            None
        } else {
            self.find_link(path)
        };
        let kind = target
            .as_ref()
            .map_or(first_kind, |target| Kind::Link { target });
        let made = sink.entry(&Entry {
            path,
            header: &header,
            kind,
        });
        if file_type == S_IFREG && made.is_ok() {
            self.state = State::Copy;
            self.body_left = header.size;
            self.sum = 0;
        }
        Ok(())
    }

    /// The first name of this file; if there is none, this name becomes it. Linux: `find_link`.
    fn find_link(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let Header {
            dev,
            ino,
            mode,
            nlink,
            ..
        } = self.header;
        if nlink < 2 {
            return None;
        }
        let key = (dev, ino, mode & S_IFMT);
        let known = self.links.get(&key).cloned();
        if known.is_none() {
            self.links.insert(key, path.to_vec());
        }
        known
    }

    fn got_symlink<S: CpioSink>(&mut self, collected: &[u8], sink: &mut S) -> Result<(), Error> {
        self.state = State::Skip;
        let path = self.path(collected)?;
        let target =
            super::string_helpers::until_nul(&collected[padded_name(self.header.name_len)..]);
        // A link that cannot be made does not stop Linux.
        let _ = sink.entry(&Entry {
            path,
            header: &self.header,
            kind: Kind::Symlink { target },
        });
        Ok(())
    }

    fn copy<S: CpioSink>(&mut self, input: &mut &[u8], sink: &mut S) -> Result<Step, Error> {
        let piece = self.eat(input, self.body_left as usize);
        if !piece.is_empty() {
            if self.has_checksum {
                let add = |sum: u32, &byte: &u8| sum.wrapping_add(u32::from(byte));
                self.sum = piece.iter().fold(self.sum, add);
            }
            sink.data(piece).map_err(|_| Error::Write)?;
            self.body_left -= piece.len() as u32;
        }
        if self.body_left > 0 {
            return Ok(Step::Stop);
        }
        sink.close(&self.header);
        if self.has_checksum && self.sum != self.header.checksum {
            return Err(Error::BadChecksum);
        }
        self.state = State::Skip;
        Ok(Step::Again)
    }

    fn skip(&mut self, input: &mut &[u8]) -> Step {
        let left = self.next_header.saturating_sub(self.offset);
        self.eat(input, usize::try_from(left).unwrap_or(usize::MAX));
        if self.offset < self.next_header {
            return Step::Stop;
        }
        self.state = State::Reset;
        Step::Again
    }

    fn reset(&mut self, input: &mut &[u8]) -> Result<Step, Error> {
        let zeros = input.iter().take_while(|&&byte| byte == 0).count();
        self.eat(input, zeros);
        if !input.is_empty() && self.offset & 3 != 0 {
            return Err(Error::BrokenPadding);
        }
        Ok(Step::Stop)
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

/// The thirteen numbers of eight digits behind the magic number.
fn parse_header(digits: &[u8]) -> Result<Header, Error> {
    let mut fields = [0u32; 13];
    for (field, digits) in fields.iter_mut().zip(digits.as_chunks::<8>().0) {
        for &digit in digits {
            let value = char::from(digit).to_digit(16).ok_or(Error::DamagedHeader)?;
            *field = *field << 4 | value;
        }
    }
    let [
        ino,
        mode,
        uid,
        gid,
        nlink,
        mtime,
        size,
        dev_ma,
        dev_mi,
        rdev_ma,
        rdev_mi,
        name_len,
        sum,
    ] = fields;
    Ok(Header {
        ino,
        mode,
        uid,
        gid,
        nlink,
        mtime,
        size,
        dev: (dev_ma, dev_mi),
        rdev: (rdev_ma, rdev_mi),
        name_len,
        checksum: sum,
    })
}

#[cfg(test)]
mod tests;
