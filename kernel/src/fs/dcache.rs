//! Names and their cache (Linux: fs/dcache.c).
//!
//! A dentry is a name in a directory together with the inode behind it; a name without an inode
//! has none. Dentries of file systems that live in memory are pinned by their parent's list of
//! children: there, the dentry tree is the directory. Others are kept by their users and by a
//! bounded list of recently used ones in the super block.
//!
//! Lock order: directory's sleep lock, `RENAME_LOCK`, children, then link or hash bucket (leaf).
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::fs::hashtable::{WeakTable, hash_bytes, same_name};
use crate::fs::inode::Inode;
use crate::fs::superblock::SuperBlock;
use crate::kernel::locking::RwSpinLock;
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::prelude::*;

/// Bits of `Dentry::flags` (Linux: `DCACHE_*`).
mod dflags {
    /// In the hash table.
    pub const HASHED: u32 = 1;
    /// Something may be mounted here: look in the mount table.
    pub const MOUNTED: u32 = 2;
    /// In its parent's list of children.
    pub const PINNED: u32 = 4;
    /// Was removed from its directory.
    pub const UNLINKED: u32 = 8;
}

/// Readers walk up a tree while no rename moves its parts (Linux: `rename_lock`).
pub static RENAME_LOCK: RwSpinLock<()> = RwSpinLock::new(());

static DENTRY_HASHTABLE: WeakTable<Dentry> = WeakTable::new();
static NR_DENTRY: AtomicI64 = AtomicI64::new(0);

/// Dentries in memory, the first number of /proc/sys/fs/dentry-state.
pub fn nr_dentry() -> i64 {
    NR_DENTRY.load(Ordering::Relaxed)
}

/// A name of at most `NAME_MAX` bytes; short ones need no allocation of their own.
enum Name {
    Inline(u8, [u8; 30]),
    Heap(Box<[u8]>),
}

impl Name {
    fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 30];
        match bytes.get_mut(..name.len()) {
            Some(start) => {
                start.copy_from_slice(name);
                Name::Inline(name.len() as u8, bytes)
            }
            None => Name::Heap(Box::from(name)),
        }
    }
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Name::Heap(bytes) => bytes,
        }
    }
}

/// Where a dentry hangs; changed by rename only.
struct Link {
    /// `None` for the root of a file system and for files without a name.
    parent: Option<Arc<Dentry>>,
    name: Name,
}

/// The pinned children of a directory by their position, which is what readdir(2) reports:
/// positions never change, so a listing goes on correctly while entries come and go.
struct Children {
    entries: BTreeMap<u64, Arc<Dentry>>,
    next: u64,
}

/// First position after `.` and `..`.
pub const FIRST_CHILD_POS: u64 = 2;

/// A cached name (Linux: `struct dentry`).
pub struct Dentry {
    /// The file system it belongs to.
    pub sb: Arc<SuperBlock>,
    /// What the name stands for.
    pub inode: Arc<Inode>,
    link: SpinLock<Link>,
    hash: AtomicU64,
    flags: AtomicU32,
    position: AtomicU64,
    children: SpinLock<Children>,
}

/// Sizes the hash tables of dentries and inodes from the size of memory (Linux:
/// `vfs_caches_init_early`).
#[__init]
pub fn vfs_caches_init_early() {
    let total_bytes = crate::fs::memory_bytes();
    DENTRY_HASHTABLE.init("Dentry cache", total_bytes, 15);
    crate::fs::inode::inode_init_early(total_bytes);
}

/// What the hash of names in a directory starts with.
#[inline]
pub fn hash_seed(parent: &Arc<Dentry>) -> u64 {
    Arc::as_ptr(parent).addr() as u64
}

fn hash_of(parent: &Arc<Dentry>, name: &[u8]) -> u64 {
    hash_bytes(hash_seed(parent), name)
}

/// The cached child `name` of `parent` (Linux: `__d_lookup`). A miss proves nothing unless the
/// directory's lock is held, because a rename may be under way.
#[inline]
pub fn d_lookup(parent: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
    d_lookup_hashed(parent, name, hash_of(parent, name))
}

/// `d_lookup` with the hash that the path walk has computed already.
#[inline]
pub fn d_lookup_hashed(parent: &Arc<Dentry>, name: &[u8], hash: u64) -> Option<Arc<Dentry>> {
    DENTRY_HASHTABLE.find(hash, |dentry| {
        let link = dentry.link.lock();
        dentry.flags.load(Ordering::Relaxed) & dflags::HASHED != 0
            && link.parent.as_ref().is_some_and(|p| Arc::ptr_eq(p, parent))
            && same_name(link.name.as_bytes(), name)
    })
}

/// Linux: `dentry_cache`.
static DENTRY_CACHE: ArcCache<Dentry> = ArcCache::new("dentry", SlabKind::Plain);

impl Dentry {
    fn build(inode: Arc<Inode>, parent: Option<Arc<Dentry>>, name: &[u8]) -> Arc<Dentry> {
        NR_DENTRY.fetch_add(1, Ordering::Relaxed);
        DENTRY_CACHE.arc(Self {
            sb: inode.sb.clone(),
            inode,
            link: SpinLock::new(Link {
                parent,
                name: Name::new(name),
            }),
            hash: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            position: AtomicU64::new(0),
            children: SpinLock::new(Children {
                entries: BTreeMap::new(),
                next: FIRST_CHILD_POS,
            }),
        })
    }

    /// The root of a file system (Linux: `d_make_root`).
    pub fn new_root(inode: Arc<Inode>) -> Arc<Dentry> {
        Self::build(inode, None, b"/")
    }

    /// A file without a name in any directory: pipes, O_TMPFILE (Linux: `d_alloc_pseudo`).
    pub fn new_anonymous(inode: Arc<Inode>, name: &[u8]) -> Arc<Dentry> {
        Self::build(inode, None, name)
    }

    /// Enters `inode` as `parent`/`name` into the cache (Linux: `d_add`). Pinned file systems
    /// have then created the file. Context: `parent`'s directory lock is held.
    pub fn new_child(parent: &Arc<Dentry>, name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        let dentry = Self::build(inode, Some(parent.clone()), name);
        if parent.sb.pins_dentries() {
            dentry.pin(parent);
        } else {
            dentry.sb.lru_add(&dentry);
        }
        dentry.rehash();
        dentry
    }

    /// Looks at the name.
    pub fn with_name<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.link.lock().name.as_bytes())
    }
    /// A copy of the name.
    pub fn name(&self) -> Vec<u8> {
        self.with_name(<[u8]>::to_vec)
    }
    /// The directory it is in; `None` for a root.
    #[inline]
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.link.lock().parent.clone()
    }
    /// Whether it is the root of its file system (or has no name at all).
    pub fn is_root(&self) -> bool {
        self.link.lock().parent.is_none()
    }
    /// Whether the name was removed (Linux: `d_unlinked`).
    pub fn is_unlinked(&self) -> bool {
        self.flags.load(Ordering::Acquire) & dflags::UNLINKED != 0
    }
    /// Whether something may be mounted here.
    #[inline]
    pub fn is_mountpoint(&self) -> bool {
        self.flags.load(Ordering::Acquire) & dflags::MOUNTED != 0
    }
    /// Called by the mount table when the first mount comes or the last one goes.
    pub fn set_mounted(&self, mounted: bool) {
        if mounted {
            self.flags.fetch_or(dflags::MOUNTED, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!dflags::MOUNTED, Ordering::AcqRel);
        }
    }

    fn rehash(self: &Arc<Self>) {
        let hash = {
            let link = self.link.lock();
            let Some(parent) = link.parent.as_ref() else {
                return;
            };
            hash_of(parent, link.name.as_bytes())
        };
        self.hash.store(hash, Ordering::Relaxed);
        self.flags.fetch_or(dflags::HASHED, Ordering::AcqRel);
        DENTRY_HASHTABLE.insert(hash, self);
    }

    fn unhash(&self) {
        if self.flags.fetch_and(!dflags::HASHED, Ordering::AcqRel) & dflags::HASHED != 0 {
            DENTRY_HASHTABLE.remove(self.hash.load(Ordering::Relaxed), self);
        }
    }

    fn pin(self: &Arc<Self>, parent: &Arc<Dentry>) {
        let mut children = parent.children.lock();
        let position = children.next;
        children.next += 1;
        self.position.store(position, Ordering::Relaxed);
        self.flags.fetch_or(dflags::PINNED, Ordering::AcqRel);
        children.entries.insert(position, self.clone());
    }

    /// Takes the dentry out of its parent's list; the caller drops what is returned, unlocked.
    fn unpin(&self, parent: &Arc<Dentry>) -> Option<Arc<Dentry>> {
        if self.flags.fetch_and(!dflags::PINNED, Ordering::AcqRel) & dflags::PINNED == 0 {
            return None;
        }
        let position = self.position.load(Ordering::Relaxed);
        parent.children.lock().entries.remove(&position)
    }

    /// Forgets a cached name whose file system no longer stands by it (Linux: `d_drop`).
    pub fn forget(&self) {
        self.unhash();
    }

    /// The name was removed from its directory (Linux: `d_delete`). The dentry lives on as long
    /// as somebody uses it. Context: the directory's lock is held.
    pub fn delete(&self) {
        self.unhash();
        self.flags.fetch_or(dflags::UNLINKED, Ordering::AcqRel);
        let pinned = self.parent().and_then(|parent| self.unpin(&parent));
        drop(pinned);
    }

    /// Gives the dentry another place and name (Linux: `d_move`). What was there is deleted
    /// first. Context: both directories' locks are held.
    pub fn move_to(self: &Arc<Self>, new_parent: &Arc<Dentry>, new_name: &[u8]) {
        self.unhash();
        let old_parent = self.parent();
        let pinned = old_parent.as_ref().and_then(|parent| self.unpin(parent));
        let name = Name::new(new_name);
        let old = {
            let _no_walk_up = RENAME_LOCK.write();
            let mut link = self.link.lock();
            let old_name = core::mem::replace(&mut link.name, name);
            (link.parent.replace(new_parent.clone()), old_name)
        };
        if pinned.is_some() {
            self.pin(new_parent);
        }
        self.flags.fetch_and(!dflags::UNLINKED, Ordering::AcqRel);
        self.rehash();
        drop((old, pinned, old_parent));
    }

    /// Swaps the places of two dentries (Linux: `d_exchange`).
    pub fn exchange(self: &Arc<Self>, other: &Arc<Dentry>) {
        let (Some(parent), Some(other_parent)) = (self.parent(), other.parent()) else {
            return;
        };
        let (name, other_name) = (self.name(), other.name());
        self.move_to(&other_parent, &other_name);
        other.move_to(&parent, &name);
    }

    /// Pinned children with their positions, from `position` on, at most as many as there is
    /// room for.
    pub fn children_from(&self, position: u64, room: &mut [Option<(u64, Arc<Dentry>)>]) {
        let children = self.children.lock();
        let mut found = children.entries.range(position..);
        for slot in room {
            *slot = found.next().map(|(pos, child)| (*pos, child.clone()));
        }
    }
    /// One more than the greatest position in use.
    pub fn end_position(&self) -> u64 {
        self.children.lock().next
    }
    /// Whether no pinned child is left (Linux: `simple_empty`).
    pub fn is_empty(&self) -> bool {
        self.children.lock().entries.is_empty()
    }

    /// Whether `self` is `ancestor` or lies below it (Linux: `is_subdir`).
    pub fn is_below(self: &Arc<Self>, ancestor: &Arc<Dentry>) -> bool {
        self.branch_below(ancestor).is_some()
    }

    /// The child of `ancestor` through which `self` is reached, or `self` itself when it is the
    /// ancestor; `None` when it lies elsewhere (Linux: `d_ancestor`).
    pub fn branch_below(self: &Arc<Self>, ancestor: &Arc<Dentry>) -> Option<Arc<Dentry>> {
        let _no_rename = RENAME_LOCK.read();
        let mut branch = self.clone();
        let mut dentry = self.clone();
        loop {
            if Arc::ptr_eq(&dentry, ancestor) {
                return Some(branch);
            }
            let parent = dentry.parent()?;
            branch = dentry;
            dentry = parent;
        }
    }

    /// Takes a whole tree of pinned children apart when its file system goes
    /// (Linux: `shrink_dcache_for_umount`). Parents and children hold each other until then.
    pub fn dismantle(self: &Arc<Self>) {
        let mut doomed: Vec<Arc<Dentry>> = vec![self.clone()];
        while let Some(dentry) = doomed.pop() {
            dentry.unhash();
            dentry.flags.fetch_and(!dflags::PINNED, Ordering::AcqRel);
            let children = core::mem::take(&mut dentry.children.lock().entries);
            doomed.extend(children.into_values());
            let parent = dentry.link.lock().parent.take();
            drop(parent);
        }
    }
}

impl Drop for Dentry {
    /// Leaves the hash table, then lets go of the chain of parents one by one: a recursive drop
    /// of a deep, already removed tree would need as much stack as the tree is deep.
    fn drop(&mut self) {
        NR_DENTRY.fetch_sub(1, Ordering::Relaxed);
        self.unhash();
        let mut next = self.link.get_mut().parent.take();
        while let Some(parent) = next {
            next = match Arc::into_inner(parent) {
                Some(mut last) => last.link.get_mut().parent.take(),
                None => None,
            };
        }
    }
}
