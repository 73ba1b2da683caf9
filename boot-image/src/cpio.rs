//! Writer of cpio archives in the "newc" format, the one that kernels unpack.
//!
//! Linux: Documentation/driver-api/early-userspace/buffer-format.rst. Nothing is checked here on purpose: tests write
//! archives that no honest program would. [`crate::Initramfs`] is the comfortable way.

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// Names and contents are padded to this.
const ALIGNMENT: usize = 4;

/// File type bits of [`Header::mode`].
pub mod file_type {
    /// A regular file.
    pub const REGULAR: u32 = 0o100_000;
    /// A folder.
    pub const DIRECTORY: u32 = 0o040_000;
    /// A symbolic link; the contents are its target.
    pub const SYMLINK: u32 = 0o120_000;
    /// A character device.
    pub const CHARACTER: u32 = 0o020_000;
    /// A block device.
    pub const BLOCK: u32 = 0o060_000;
    /// A named pipe.
    pub const FIFO: u32 = 0o010_000;
}

/// The fields of a member's header that do not follow from its name and its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Inode number: members with more than one link and the same number are one file.
    pub ino: u32,
    /// File type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u32,
    /// Modification time in seconds.
    pub mtime: u32,
    /// Device numbers of a node.
    pub rdev: (u32, u32),
}

impl Header {
    /// A member owned by root, with one name and no time.
    pub fn new(ino: u32, mode: u32) -> Self {
        Self {
            ino,
            mode,
            uid: 0,
            gid: 0,
            nlink: 1,
            mtime: 0,
            rdev: (0, 0),
        }
    }
}

/// An archive being written.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An archive without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member.
    pub fn append(&mut self, header: &Header, name: &str, contents: &[u8]) {
        let fields = [
            header.ino,
            header.mode,
            header.uid,
            header.gid,
            header.nlink,
            header.mtime,
            length(contents.len()),
            0, // the device that the file was on
            0,
            header.rdev.0,
            header.rdev.1,
            length(name.len() + 1),
            0, // a checksum only in the "crc" variant
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    /// Adds the end mark and returns the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.append(&Header::new(0, 0), TRAILER, &[]);
        self.bytes
    }

    /// Returns what there is, without an end mark.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// The format has 32 bits for a length.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a member of a cpio archive is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_member(name: &str, contents: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.append(&Header::new(7, file_type::REGULAR | 0o644), name, contents);
        writer.into_bytes()
    }

    #[test]
    fn a_header_is_110_characters_of_hexadecimal() {
        let bytes = one_member("a", b"xyz");
        let header = std::str::from_utf8(&bytes[..110]).unwrap();
        assert_eq!(&header[..6], "070701");
        assert_eq!(&header[6..14], "00000007");
        assert_eq!(&header[14..22], "000081a4");
        assert_eq!(&header[54..62], "00000003", "size of the contents");
        assert_eq!(
            &header[94..102],
            "00000002",
            "size of the name with its zero"
        );
    }

    #[test]
    fn names_and_contents_are_padded_to_four_bytes() {
        for name in ["a", "ab", "abc", "abcd", "abcde"] {
            let bytes = one_member(name, b"12345");
            assert_eq!(bytes.len() % 4, 0);
            let start = (110 + name.len() + 1).next_multiple_of(4);
            assert_eq!(&bytes[start..start + 5], b"12345");
        }
    }

    #[test]
    fn an_archive_ends_with_the_trailer() {
        let bytes = Writer::new().finish();
        assert_eq!(&bytes[110..120], TRAILER.as_bytes());
        assert_eq!(bytes.len(), 124);
    }
}
