//! /proc/sys: the registry of values as a tree (Linux: fs/proc/proc_sysctl.c).
#![forbid(unsafe_code)]

use uapi::stat::*;

use super::inode::{NodeEmit, ProcNode};
use crate::fs::file::FileOperations;
use crate::fs::namei::permission::MAY_WRITE;
use crate::fs::seq_file::{SeqFile, StoreFile};
use crate::kernel::cred::Cred;
use crate::kernel::sysctl::{CtlTable, entries};
use crate::prelude::*;

/// Inode numbers below /proc/sys: this, the number of the value, and the depth.
const SYSCTL_INO: u64 = 3 << 30;
/// The deepest path has fewer components.
const DEPTH_BITS: u32 = 4;

/// A directory, by what paths below it begin with: empty, or a path with a slash at its end.
pub struct SysDir {
    prefix: String,
    ino: u64,
}

/// What stands in a directory: a value, or a directory of its own.
struct Child {
    name: &'static str,
    ino: u64,
    entry: Option<&'static CtlTable>,
}

impl Child {
    fn mode(&self) -> u32 {
        match self.entry {
            None => S_IFDIR | 0o555,
            Some(entry) => S_IFREG | entry.mode(),
        }
    }
}

impl SysDir {
    /// /proc/sys itself, with the number that its directory has.
    pub fn root(ino: u64) -> Self {
        Self {
            prefix: String::new(),
            ino,
        }
    }

    fn children(&self) -> Vec<Child> {
        children_of(&self.prefix, &entries())
    }
}

/// The children of a directory, in the order of their first value; `all` only ever grows at its
/// end, so places and numbers stay.
fn children_of(prefix: &str, all: &[&'static CtlTable]) -> Vec<Child> {
    let depth = prefix.matches('/').count() as u64;
    let mut children: Vec<Child> = Vec::new();
    for (number, entry) in (0..).zip(all) {
        let Some(rest) = entry.path.strip_prefix(prefix) else {
            continue;
        };
        let (name, is_dir) = match rest.split_once('/') {
            Some((name, _)) => (name, true),
            None => (rest, false),
        };
        if !children.iter().any(|child| child.name == name) {
            let ino = SYSCTL_INO + (number << DEPTH_BITS | depth);
            children.push(Child {
                name,
                ino,
                entry: (!is_dir).then_some(*entry),
            });
        }
    }
    children
}

impl ProcNode for SysDir {
    fn mode(&self) -> u32 {
        S_IFDIR | 0o555
    }
    fn ino(&self) -> u64 {
        self.ino
    }
    fn nlink(&self) -> u32 {
        1
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        let children = self.children();
        let Some(child) = children
            .into_iter()
            .find(|child| child.name.as_bytes() == name)
        else {
            return Ok(None);
        };
        Ok(Some(match child.entry {
            Some(entry) => Box::new(SysFile {
                entry,
                ino: child.ino,
            }),
            None => {
                let prefix = format!("{}{}/", self.prefix, child.name);
                Box::new(SysDir {
                    prefix,
                    ino: child.ino,
                })
            }
        }))
    }
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        for (position, child) in (2..).zip(self.children()) {
            let name = child.name.as_bytes();
            if position >= from && !emit(name, child.ino, child.mode(), position + 1) {
                break;
            }
        }
        Ok(())
    }
}

/// A value.
struct SysFile {
    entry: &'static CtlTable,
    ino: u64,
}

impl ProcNode for SysFile {
    fn mode(&self) -> u32 {
        S_IFREG | self.entry.mode()
    }
    fn ino(&self) -> u64 {
        self.ino
    }
    fn open(&self, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        let entry = self.entry;
        let text = SeqFile::new(move |out: &mut Vec<u8>| {
            *out = ((entry.get)() + "\n").into_bytes();
            Ok(())
        });
        let store = move |bytes: &[u8]| {
            entry.write(core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?)
        };
        Ok(Arc::new(StoreFile { text, store }))
    }
    /// No capability makes a constant writable (Linux: `proc_sys_permission`).
    fn permission(&self, mask: u32, _cred: &Cred) -> Result {
        if mask & MAY_WRITE != 0 && self.entry.set.is_none() {
            return Err(Errno::EACCES);
        }
        Ok(())
    }
    fn has_permission(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn value(path: &'static str) -> CtlTable {
        CtlTable {
            path,
            get: String::new,
            set: None,
        }
    }
    static VALUES: [CtlTable; 4] = [
        value("kernel/ostype"),
        value("kernel/random/uuid"),
        value("fs/file-max"),
        value("kernel/random/boot_id"),
    ];

    fn names(prefix: &str) -> Vec<(&'static str, bool)> {
        let all: Vec<&'static CtlTable> = VALUES.iter().collect();
        let children = children_of(prefix, &all).into_iter();
        children
            .map(|child| (child.name, child.entry.is_some()))
            .collect()
    }

    #[test]
    fn paths_make_a_tree() {
        assert_eq!(names(""), [("kernel", false), ("fs", false)]);
        assert_eq!(names("kernel/"), [("ostype", true), ("random", false)]);
        assert_eq!(names("kernel/random/"), [("uuid", true), ("boot_id", true)]);
    }

    #[test]
    fn every_inode_number_is_used_once() {
        let all: Vec<&'static CtlTable> = VALUES.iter().collect();
        let prefixes = ["", "kernel/", "kernel/random/", "fs/"];
        let mut numbers: Vec<u64> = prefixes
            .iter()
            .flat_map(|prefix| children_of(prefix, &all))
            .map(|child| child.ino)
            .collect();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!((numbers.len(), count), (7, 7));
    }
}
