//! The files of an initramfs, collected by path and written as one archive.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cpio::{Header, Writer, file_type};
use crate::error::{FileContext, Result};

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    /// Type bits and device numbers.
    Node(u32, (u32, u32)),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    permissions: u32,
    kind: Kind,
}

/// A file tree to be unpacked by the kernel. Paths may begin with `/`; missing parent folders are added. A later entry
/// takes the place of an earlier one at the same path.
#[derive(Clone, Debug, Default)]
pub struct Initramfs {
    /// Sorted, so that a folder comes before what is in it.
    entries: BTreeMap<String, Entry>,
}

impl Initramfs {
    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, permissions: u32, contents: impl Into<Vec<u8>>) -> Self {
        self.entry(path, permissions, Kind::File(contents.into()))
    }

    /// A regular file with the contents of a file of this machine.
    pub fn host_file(self, path: &str, permissions: u32, source: &Path) -> Result<Self> {
        let contents = std::fs::read(source).doing("read", source)?;
        Ok(self.file(path, permissions, contents))
    }

    /// A folder.
    #[must_use]
    pub fn dir(self, path: &str, permissions: u32) -> Self {
        self.entry(path, permissions, Kind::Directory)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, 0o777, Kind::Symlink(target.to_owned()))
    }

    /// A character device node.
    #[must_use]
    pub fn char_device(self, path: &str, permissions: u32, major: u32, minor: u32) -> Self {
        self.entry(
            path,
            permissions,
            Kind::Node(file_type::CHARACTER, (major, minor)),
        )
    }

    /// A node of any type, by its [`file_type`] bits.
    #[must_use]
    pub fn node(self, path: &str, permissions: u32, type_bits: u32, rdev: (u32, u32)) -> Self {
        self.entry(path, permissions, Kind::Node(type_bits, rdev))
    }

    /// Takes a path out again, and everything below it.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let path = relative(path);
        let below = format!("{path}/");
        self.entries
            .retain(|name, _| name != path && !name.starts_with(&below));
        self
    }

    /// Whether there is something at the path.
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(relative(path))
    }

    /// The whole tree as a cpio archive. Equal trees give equal bytes.
    pub fn to_cpio(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        for (ino, (name, entry)) in (1..).zip(&self.entries) {
            entry.write(&mut writer, ino, name);
        }
        writer.finish()
    }

    fn entry(mut self, path: &str, permissions: u32, kind: Kind) -> Self {
        let path = relative(path);
        self.add_parents(path);
        self.entries
            .insert(path.to_owned(), Entry { permissions, kind });
        self
    }

    fn add_parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            self.entries.entry(path[..end].to_owned()).or_insert(Entry {
                permissions: 0o755,
                kind: Kind::Directory,
            });
        }
    }
}

impl Entry {
    fn write(&self, writer: &mut Writer, ino: u32, name: &str) {
        let (type_bits, rdev, nlink, contents): (_, _, _, &[u8]) = match &self.kind {
            Kind::File(contents) => (file_type::REGULAR, (0, 0), 1, contents),
            Kind::Directory => (file_type::DIRECTORY, (0, 0), 2, &[]),
            Kind::Symlink(target) => (file_type::SYMLINK, (0, 0), 1, target.as_bytes()),
            Kind::Node(type_bits, rdev) => (*type_bits, *rdev, 1, &[]),
        };
        let header = Header {
            nlink,
            rdev,
            ..Header::new(ino, type_bits | self.permissions)
        };
        writer.append(&header, name, contents);
    }
}

/// Members of an archive are named without the leading slash.
fn relative(path: &str) -> &str {
    path.trim_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(initramfs: &Initramfs) -> Vec<&str> {
        initramfs.entries.keys().map(String::as_str).collect()
    }

    #[test]
    fn missing_parents_are_added_before_their_children() {
        let tree = Initramfs::new().file("/etc/init.d/rcS", 0o755, "");
        assert_eq!(names(&tree), ["etc", "etc/init.d", "etc/init.d/rcS"]);
    }

    #[test]
    fn an_explicit_folder_keeps_its_permissions() {
        let tree = Initramfs::new()
            .dir("/tmp", 0o1777)
            .file("/tmp/a", 0o644, "x");
        assert_eq!(tree.entries["tmp"].permissions, 0o1777);
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one() {
        let tree = Initramfs::new()
            .file("/init", 0o755, "one")
            .symlink("/init", "bin/sh");
        assert_eq!(tree.entries["init"].kind, Kind::Symlink("bin/sh".into()));
    }

    #[test]
    fn removal_takes_the_subtree_and_nothing_else() {
        let tree = Initramfs::new()
            .file("/a/b", 0o644, "")
            .file("/ab", 0o644, "")
            .without("/a");
        assert_eq!(names(&tree), ["ab"]);
        assert!(tree.contains("/ab"));
    }

    #[test]
    fn a_device_node_carries_its_numbers() {
        let bytes = Initramfs::new()
            .char_device("/console", 0o600, 5, 1)
            .to_cpio();
        let header = std::str::from_utf8(&bytes[..110]).unwrap();
        assert_eq!(&header[14..22], "00002180");
        assert_eq!(&header[78..94], "0000000500000001");
    }
}
