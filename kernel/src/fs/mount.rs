//! Mounts and the tree they form (Linux: fs/mount.h and the tree half of fs/namespace.c).
//!
//! A mount namespace owns its mounts; a mount holds the mount it sits on; the mount table finds
//! the mount on a dentry. `MNT_TREE` serialises changes of the tree; lookups take only a bucket
//! lock of the table.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::mount::*;

use crate::fs::dcache::Dentry;
use crate::fs::hashtable::{WeakTable, mix};
use crate::fs::namei::Path;
use crate::fs::sleep_lock::SleepLock;
use crate::fs::superblock::SuperBlock;
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::prelude::*;

/// The MS_* flags that belong to a mount, not to its file system (Linux: `MNT_*`).
pub const MNT_FLAGS: u64 = MS_RDONLY
    | MS_NOSUID
    | MS_NODEV
    | MS_NOEXEC
    | MS_NOATIME
    | MS_NODIRATIME
    | MS_RELATIME
    | MS_NOSYMFOLLOW;

/// A file system in the tree (Linux: `struct mount`).
pub struct Mount {
    /// Number in mountinfo.
    pub id: u32,
    /// The file system.
    pub sb: Arc<SuperBlock>,
    /// What it shows as its root: the file system's root, or a directory for a bind mount.
    pub root: Arc<Dentry>,
    /// First argument of mount(2), for /proc/mounts.
    pub devname: String,
    flags: AtomicU64,
    /// Files open for writing and operations under way that change the file system.
    writers: AtomicU32,
    place: SpinLock<Place>,
}

#[derive(Default)]
struct Place {
    /// Where it is mounted; `None` for the root of a namespace and for internal mounts.
    on: Option<Path>,
    /// Keeps the flag of the dentry it is on.
    point: Option<Arc<Mountpoint>>,
    ns: Weak<MntNamespace>,
}

/// A set of mounts that processes share (Linux: `struct mnt_namespace`).
pub struct MntNamespace {
    mounts: SpinLock<BTreeMap<u32, Arc<Mount>>>,
    root: SpinLock<Option<Arc<Mount>>>,
    /// Counts changes, for poll(2) on /proc/mounts.
    event: AtomicU64,
    /// Woken at each change.
    pub poll: crate::kernel::sched::wait::WaitQueueHead,
}

static MOUNT_HASHTABLE: WeakTable<Mount> = WeakTable::new();
static MOUNTPOINT_HASHTABLE: WeakTable<Mountpoint> = WeakTable::new();
/// Serialises changes of the mount tree (Linux: `namespace_sem`).
pub static MNT_TREE: SleepLock = SleepLock::new();
static NEXT_MOUNT_ID: AtomicU32 = AtomicU32::new(1);

/// A dentry with mounts on it; they own it together (Linux: `struct mountpoint`).
struct Mountpoint {
    dentry: Arc<Dentry>,
}

/// Makes the flag of a dentry agree with the table of mount points. Leaf lock but for the table.
static MOUNTPOINT_FLAGS: SpinLock<()> = SpinLock::new(());

impl Drop for Mountpoint {
    fn drop(&mut self) {
        let hash = dentry_hash(&self.dentry);
        MOUNTPOINT_HASHTABLE.remove(hash, self);
        let _flags = MOUNTPOINT_FLAGS.lock();
        let used_again = MOUNTPOINT_HASHTABLE.find(hash, |_| true).is_some();
        self.dentry.set_mounted(used_again);
    }
}

/// Sizes the tables (Linux: the first part of `mnt_init`).
pub fn mount_hash_init(total_bytes: u64) {
    MOUNT_HASHTABLE.init("Mount-cache", total_bytes, 21);
    MOUNTPOINT_HASHTABLE.init("Mountpoint-cache", total_bytes, 21);
}

fn dentry_hash(dentry: &Arc<Dentry>) -> u64 {
    mix(1, Arc::as_ptr(dentry).addr() as u64)
}

fn mount_hash(parent: &Arc<Mount>, dentry: &Arc<Dentry>) -> u64 {
    mix(
        Arc::as_ptr(parent).addr() as u64,
        Arc::as_ptr(dentry).addr() as u64,
    )
}

/// The mount point `dentry`, made when it is none yet. Context: `MNT_TREE` held.
fn get_mountpoint(dentry: &Arc<Dentry>) -> Arc<Mountpoint> {
    let hash = dentry_hash(dentry);
    let known = MOUNTPOINT_HASHTABLE.find(hash, |point| Arc::ptr_eq(&point.dentry, dentry));
    if let Some(point) = known {
        return point;
    }
    let point = Arc::new(Mountpoint {
        dentry: dentry.clone(),
    });
    let _flags = MOUNTPOINT_FLAGS.lock();
    MOUNTPOINT_HASHTABLE.insert(hash, &point);
    dentry.set_mounted(true);
    point
}

/// The mount that covers `dentry` as seen through `mnt` (Linux: `__lookup_mnt`).
#[inline]
pub fn lookup_mnt(mnt: &Arc<Mount>, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
    MOUNT_HASHTABLE.find(mount_hash(mnt, dentry), |mount| {
        mount
            .place
            .lock()
            .on
            .as_ref()
            .is_some_and(|on| Arc::ptr_eq(&on.mnt, mnt) && Arc::ptr_eq(&on.dentry, dentry))
    })
}

/// Linux: `mnt_cache`.
static MNT_CACHE: ArcCache<Mount> = ArcCache::new("mnt_cache", SlabKind::Plain);

impl Mount {
    /// A mount that is not in any tree yet. Takes over one active reference to `sb`.
    pub fn new(sb: Arc<SuperBlock>, root: Arc<Dentry>, devname: &str, flags: u64) -> Arc<Mount> {
        MNT_CACHE.arc(Self {
            id: NEXT_MOUNT_ID.fetch_add(1, Ordering::Relaxed),
            sb,
            root,
            devname: String::from(devname),
            flags: AtomicU64::new(flags & MNT_FLAGS),
            writers: AtomicU32::new(0),
            place: SpinLock::new(Place::default()),
        })
    }

    /// The same file system once more, from `root` on (Linux: `clone_mnt`).
    pub fn clone_at(&self, root: &Arc<Dentry>) -> Arc<Mount> {
        self.sb.activate();
        Self::new(self.sb.clone(), root.clone(), &self.devname, self.flags())
    }

    /// MS_* flags of this mount.
    #[inline]
    pub fn flags(&self) -> u64 {
        self.flags.load(Ordering::Relaxed)
    }
    /// Replaces the flags. Errors: EBUSY when it becomes read-only under a writer.
    pub fn set_flags(&self, flags: u64) -> Result {
        let becomes_readonly = flags & MS_RDONLY != 0 && self.flags() & MS_RDONLY == 0;
        let old = self.flags.swap(flags & MNT_FLAGS, Ordering::SeqCst);
        if becomes_readonly && self.has_writers() {
            self.flags.store(old, Ordering::SeqCst);
            return Err(Errno::EBUSY);
        }
        Ok(())
    }
    /// Whether somebody has a file open for writing here.
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) != 0
    }
    /// Asks for the right to change the file system; it is given back when the guard is dropped
    /// (Linux: `mnt_want_write`). Errors: EROFS.
    pub fn want_write(self: &Arc<Self>) -> Result<WriteAccess> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        let access = WriteAccess { mnt: self.clone() };
        if self.flags() & MS_RDONLY != 0 || self.sb.is_readonly() {
            return Err(Errno::EROFS);
        }
        Ok(access)
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> Option<Path> {
        self.place.lock().on.clone()
    }
    /// The mount it sits on.
    pub fn parent(&self) -> Option<Arc<Mount>> {
        self.place.lock().on.as_ref().map(|on| on.mnt.clone())
    }
    /// Its namespace; `None` for internal and detached mounts.
    pub fn namespace(&self) -> Option<Arc<MntNamespace>> {
        self.place.lock().ns.upgrade()
    }
    /// Whether it can be seen in a mount tree.
    pub fn is_in_namespace(&self) -> bool {
        self.place.lock().ns.strong_count() != 0
    }
    /// Its root as a place.
    pub fn root_path(self: &Arc<Self>) -> Path {
        Path {
            mnt: self.clone(),
            dentry: self.root.clone(),
        }
    }
    /// Whether `self` is `top` or mounted somewhere below it.
    pub fn is_below(self: &Arc<Self>, top: &Arc<Mount>) -> bool {
        let mut mnt = self.clone();
        loop {
            if Arc::ptr_eq(&mnt, top) {
                return true;
            }
            match mnt.parent() {
                Some(parent) => mnt = parent,
                None => return false,
            }
        }
    }

    /// Hangs the mount into the tree (Linux: `mnt_set_mountpoint` + `__attach_mnt`).
    /// Context: `MNT_TREE` held.
    pub fn attach(self: &Arc<Self>, on: &Path) {
        let point = get_mountpoint(&on.dentry);
        {
            let mut place = self.place.lock();
            debug_assert!(place.on.is_none());
            place.on = Some(on.clone());
            place.point = Some(point);
        }
        MOUNT_HASHTABLE.insert(mount_hash(&on.mnt, &on.dentry), self);
    }
    /// Takes the mount out of the tree; its namespace still owns it. Context: `MNT_TREE` held.
    pub fn detach(self: &Arc<Self>) -> Option<Path> {
        let (on, point) = {
            let mut place = self.place.lock();
            (place.on.take()?, place.point.take())
        };
        MOUNT_HASHTABLE.remove(mount_hash(&on.mnt, &on.dentry), Arc::as_ptr(self));
        drop(point);
        Some(on)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(on) = self.place.get_mut().on.take() {
            MOUNT_HASHTABLE.remove(mount_hash(&on.mnt, &on.dentry), self);
        }
        self.sb.deactivate();
    }
}

/// The right to change a mounted file system.
#[must_use = "the right ends when this is dropped"]
pub struct WriteAccess {
    mnt: Arc<Mount>,
}

impl Drop for WriteAccess {
    fn drop(&mut self) {
        self.mnt.writers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl MntNamespace {
    /// A namespace of one mount, its root.
    pub fn new(root: &Arc<Mount>) -> Arc<MntNamespace> {
        let ns = Arc::new(Self {
            mounts: SpinLock::new(BTreeMap::new()),
            root: SpinLock::new(Some(root.clone())),
            event: AtomicU64::new(0),
            poll: crate::kernel::sched::wait::WaitQueueHead::new(),
        });
        ns.add(root);
        ns
    }
    /// The mount at its top.
    pub fn root(&self) -> Option<Arc<Mount>> {
        self.root.lock().clone()
    }
    /// Another mount becomes the top (pivot_root).
    pub fn set_root(&self, root: &Arc<Mount>) {
        let old = self.root.lock().replace(root.clone());
        drop(old);
    }
    /// Every mount, oldest first.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().values().cloned().collect()
    }
    /// Number of mounts.
    pub fn len(&self) -> usize {
        self.mounts.lock().len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Takes a mount in.
    pub fn add(self: &Arc<Self>, mount: &Arc<Mount>) {
        mount.place.lock().ns = Arc::downgrade(self);
        self.mounts.lock().insert(mount.id, mount.clone());
        self.changed();
    }
    /// Lets a mount go; the caller drops what is returned after `MNT_TREE` is released.
    pub fn remove(&self, mount: &Arc<Mount>) -> Option<Arc<Mount>> {
        mount.place.lock().ns = Weak::new();
        let removed = self.mounts.lock().remove(&mount.id);
        self.changed();
        removed
    }
    /// Number of changes so far.
    pub fn event(&self) -> u64 {
        self.event.load(Ordering::Acquire)
    }
    fn changed(&self) {
        self.event.fetch_add(1, Ordering::AcqRel);
        self.poll.wake_up_all();
    }
    /// The mounts directly on `mount`, oldest first.
    pub fn children_of(&self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let mut children = self.mounts();
        children.retain(|m| m.parent().is_some_and(|p| Arc::ptr_eq(&p, mount)));
        children
    }
    /// `top` and everything mounted below it, parents first.
    pub fn subtree(&self, top: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let mut tree = vec![top.clone()];
        let mut index = 0;
        while let Some(mount) = tree.get(index).cloned() {
            tree.extend(self.children_of(&mount));
            index += 1;
        }
        tree
    }
}
