//! The tree of fixed entries of /proc (Linux: fs/proc/generic.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use uapi::stat::*;

use super::inode::{NodeEmit, ProcNode};
use crate::fs::file::FileOperations;
use crate::fs::inode::LinkTarget;
use crate::fs::seq_file::{SeqFile, StoreFile};
use crate::prelude::*;

/// What opening a file of /proc gives, for files that need more than text.
pub trait ProcFile: Send + Sync {
    /// `flags` are the O_* of open(2).
    fn open(&self, flags: u32) -> Result<Arc<dyn FileOperations>>;
}

/// Makes the whole text of a file.
pub type Show = fn(&mut String) -> Result;
/// Takes what one write(2) brings, at most a page.
pub type Store = fn(&[u8]) -> Result;

enum Kind {
    Dir(SpinLock<Vec<Arc<ProcDirEntry>>>),
    Text { show: Show, store: Option<Store> },
    File(Arc<dyn ProcFile>),
    Link(Arc<[u8]>),
    Node(MakeNode),
}

/// Makes the node of a directory with entries of its own, with this inode number.
pub type MakeNode = fn(u64) -> Box<dyn ProcNode>;

/// A fixed entry (Linux: `struct proc_dir_entry`).
pub struct ProcDirEntry {
    name: String,
    mode: u32,
    ino: u64,
    /// Place in its directory: rises with each new entry, so a listing goes on correctly.
    position: u64,
    kind: Kind,
}

/// Number of the root directory (Linux: `PROC_ROOT_INO`).
pub const PROC_ROOT_INO: u64 = 1;
static NEXT_INO: AtomicU64 = AtomicU64::new(PROC_ROOT_INO + 1);
static ROOT: spin::Once<Arc<ProcDirEntry>> = spin::Once::new();
static NET: spin::Once<Arc<ProcDirEntry>> = spin::Once::new();

impl ProcDirEntry {
    fn build(name: &str, mode: u32, kind: Kind) -> Arc<Self> {
        let ino = NEXT_INO.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            name: String::from(name),
            mode,
            ino,
            position: ino,
            kind,
        })
    }

    fn children(&self) -> Result<&SpinLock<Vec<Arc<ProcDirEntry>>>> {
        match &self.kind {
            Kind::Dir(children) => Ok(children),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The child of that name.
    pub fn child(&self, name: &[u8]) -> Option<Arc<ProcDirEntry>> {
        let children = self.children().ok()?.lock();
        children
            .iter()
            .find(|child| child.name.as_bytes() == name)
            .cloned()
    }

    /// Adds an entry. Errors: EEXIST, ENOTDIR.
    fn add(&self, entry: &Arc<ProcDirEntry>) -> Result {
        let mut children = self.children()?.lock();
        if children.iter().any(|child| child.name == entry.name) {
            return Err(Errno::EEXIST);
        }
        children.push(entry.clone());
        Ok(())
    }

    /// The subdirectory of that name, made when it does not exist.
    fn subdir(&self, name: &str) -> Result<Arc<ProcDirEntry>> {
        if let Some(child) = self.child(name.as_bytes()) {
            child.children()?;
            return Ok(child);
        }
        let dir = Self::build(name, S_IFDIR | 0o555, Kind::Dir(SpinLock::default()));
        match self.add(&dir) {
            Err(Errno::EEXIST) => self.child(name.as_bytes()).ok_or(Errno::ENOENT),
            added => added.map(|()| dir),
        }
    }
}

/// The fixed part of /proc.
pub fn proc_root() -> &'static Arc<ProcDirEntry> {
    ROOT.call_once(|| {
        Arc::new(ProcDirEntry {
            name: String::from("/proc"),
            mode: S_IFDIR | 0o555,
            ino: PROC_ROOT_INO,
            position: 0,
            kind: Kind::Dir(SpinLock::default()),
        })
    })
}

/// The directory behind /proc/PID/net, to which /proc/net leads. There is one network namespace,
/// so every process shows the same one; entries are made under the path `net/NAME`
/// (Linux: fs/proc/proc_net.c).
pub fn proc_net() -> &'static Arc<ProcDirEntry> {
    NET.call_once(|| ProcDirEntry::build("net", S_IFDIR | 0o555, Kind::Dir(SpinLock::default())))
}

/// Splits a path into its directory, made as needed, and its last name. Errors: EINVAL.
fn parent_of(path: &str) -> Result<(Arc<ProcDirEntry>, &str)> {
    let path = path.trim_matches('/');
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() {
        return Err(Errno::EINVAL);
    }
    let mut components = dir
        .split('/')
        .filter(|component| !component.is_empty())
        .peekable();
    let mut parent = match components.next_if_eq(&"net") {
        Some(_) => proc_net().clone(),
        None => proc_root().clone(),
    };
    for component in components {
        parent = parent.subdir(component)?;
    }
    Ok((parent, name))
}

fn create(path: &str, mode: u32, kind: Kind) -> Result<Arc<ProcDirEntry>> {
    let (parent, name) = parent_of(path)?;
    let entry = ProcDirEntry::build(name, mode, kind);
    parent.add(&entry)?;
    Ok(entry)
}

/// Makes a directory below /proc, and those above it. Errors: ENOTDIR.
pub fn proc_mkdir(path: &str) -> Result<Arc<ProcDirEntry>> {
    let (parent, name) = parent_of(path)?;
    parent.subdir(name)
}

/// Creates a read-only text file below /proc; `show` makes the whole text at each open
/// (Linux: `proc_create_single`). `path` may have slashes; directories are made as needed.
/// Errors: EEXIST.
pub fn proc_create_single(path: &'static str, mode: u32, show: Show) -> Result {
    proc_create_rw(path, mode, show, None)
}

/// A text file that can be written too: `store` gets the bytes of each write(2).
pub fn proc_create_rw(path: &str, mode: u32, show: Show, store: Option<Store>) -> Result {
    let mode = if mode & S_IALLUGO == 0 { 0o444 } else { mode };
    let kind = Kind::Text { show, store };
    create(path, S_IFREG | mode & S_IALLUGO, kind).map(drop)
}

/// A file with operations of its own.
pub fn proc_create(path: &str, mode: u32, file: Arc<dyn ProcFile>) -> Result {
    create(path, S_IFREG | mode & S_IALLUGO, Kind::File(file)).map(drop)
}

/// A symbolic link.
pub fn proc_symlink(path: &str, target: &str) -> Result {
    let kind = Kind::Link(Arc::from(target.as_bytes()));
    create(path, S_IFLNK | 0o777, kind).map(drop)
}

/// A directory whose contents are made elsewhere.
pub(super) fn proc_create_node(path: &str, make: MakeNode) -> Result {
    create(path, S_IFDIR | 0o555, Kind::Node(make)).map(drop)
}

/// Removes an entry; open files of it live on. Errors: ENOENT.
pub fn remove_proc_entry(path: &str) -> Result {
    let (parent, name) = parent_of(path)?;
    let removed = {
        let mut children = parent.children()?.lock();
        let index = children.iter().position(|child| child.name == name);
        children.swap_remove(index.ok_or(Errno::ENOENT)?)
    };
    super::root::forget_entry(removed.ino);
    Ok(())
}

/// A fixed entry as a node of the file system.
pub struct FixedNode(pub Arc<ProcDirEntry>);

impl ProcNode for FixedNode {
    fn mode(&self) -> u32 {
        self.0.mode
    }
    fn ino(&self) -> u64 {
        self.0.ino
    }
    fn nlink(&self) -> u32 {
        match self.0.children() {
            Ok(children) => {
                let dirs = children.lock();
                let subdirs = dirs.iter().filter(|child| s_isdir(child.mode));
                2 + subdirs.count() as u32
            }
            Err(_) => 1,
        }
    }
    fn size(&self) -> u64 {
        match &self.0.kind {
            Kind::Link(target) => target.len() as u64,
            _ => 0,
        }
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        let child = self.0.child(name);
        Ok(child.map(|entry| match entry.kind {
            Kind::Node(make) => make(entry.ino),
            _ => Box::new(FixedNode(entry)),
        }))
    }
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        let mut children = self.0.children()?.lock().clone();
        children.sort_unstable_by_key(|child| child.position);
        for child in children.iter().filter(|child| child.position >= from) {
            let next = child.position + 1;
            if !emit(child.name.as_bytes(), child.ino, child.mode, next) {
                break;
            }
        }
        Ok(())
    }
    fn open(&self, flags: u32) -> Result<Arc<dyn FileOperations>> {
        match &self.0.kind {
            Kind::Text { show, store } => {
                let (show, store) = (*show, *store);
                let text = SeqFile::new(move |out: &mut Vec<u8>| {
                    let mut text = String::new();
                    show(&mut text)?;
                    *out = text.into_bytes();
                    Ok(())
                });
                match store {
                    None => Ok(Arc::new(text)),
                    Some(store) => Ok(Arc::new(StoreFile { text, store })),
                }
            }
            Kind::File(file) => file.open(flags),
            Kind::Dir(_) | Kind::Link(_) | Kind::Node(_) => Err(Errno::EINVAL),
        }
    }
    fn get_link(&self) -> Result<LinkTarget> {
        match &self.0.kind {
            Kind::Link(target) => Ok(LinkTarget::Text(target.clone())),
            _ => Err(Errno::EINVAL),
        }
    }
}
