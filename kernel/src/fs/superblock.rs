//! Mounted file systems (Linux: fs/super.c).
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::mount::MS_RDONLY;
use uapi::stat::Statfs;

use crate::fs::char_dev::DevT;
use crate::fs::dcache::Dentry;
use crate::fs::filesystems::FileSystemType;
use crate::prelude::*;

/// What a mount(2) asks of a file system.
pub struct MountRequest<'a> {
    /// First argument: device or any text.
    pub source: &'a str,
    /// MS_* flags.
    pub flags: u64,
    /// The option text.
    pub data: &'a str,
}

/// What a file system does as a whole (Linux: `struct super_operations`).
#[expect(unused_variables, reason = "default methods do nothing")]
pub trait SuperOperations: Send + Sync {
    /// Fills sizes for statfs(2); type, block size and name length are filled already.
    fn statfs(&self, sb: &SuperBlock, statfs: &mut Statfs) {}
    /// Adds its mount options, each with a comma in front.
    fn show_options(&self, sb: &SuperBlock, out: &mut String) {}
    /// Takes new options. Errors: EINVAL.
    fn remount(&self, sb: &SuperBlock, request: &MountRequest<'_>) -> Result {
        Ok(())
    }
    /// Writes everything back.
    fn sync_fs(&self, sb: &SuperBlock) -> Result {
        Ok(())
    }
    /// Text of a file without a name, such as `pipe:[12]` (Linux: `d_op->d_dname`).
    fn dname(&self, dentry: &Dentry) -> Option<String> {
        None
    }
    /// For down-casts by the file system that made the super block.
    fn as_any(&self) -> &dyn core::any::Any {
        &()
    }
}

/// A super block's fixed properties.
pub struct SuperInit {
    /// Its file system type.
    pub fs_type: &'static FileSystemType,
    /// Magic number for statfs(2).
    pub magic: i64,
    /// The dentry tree is the directory tree: names are pinned.
    pub pinned: bool,
    /// MS_RDONLY, MS_NOEXEC, MS_NODEV, MS_SYNCHRONOUS: what holds for every mount of it.
    pub flags: u64,
}

/// A file system instance (Linux: `struct super_block`). It lives while mounts or kernel users
/// hold it active; then its dentry tree is taken apart, which frees inodes and the block itself.
pub struct SuperBlock {
    /// Its type.
    pub fs_type: &'static FileSystemType,
    /// What `st_dev` shows.
    pub dev: DevT,
    /// Magic number for statfs(2).
    pub magic: i64,
    /// Methods and private data.
    pub ops: Box<dyn SuperOperations>,
    pinned: bool,
    flags: AtomicU64,
    active: AtomicU32,
    next_ino: AtomicU64,
    root: SpinLock<Option<Arc<Dentry>>>,
    /// Dentries that stay cached without a user, oldest first.
    lru: SpinLock<VecDeque<Arc<Dentry>>>,
}

/// Unused dentries that a super block without pinned ones keeps.
const LRU_MAX: usize = 128;

static NEXT_ANON_DEV: AtomicU32 = AtomicU32::new(1);

/// Number of the root directory.
pub const ROOT_INO: u64 = 1;

impl SuperBlock {
    /// A super block without a root, with an anonymous device number and one active user, the
    /// caller (Linux: `sget_fc`, `set_anon_super`).
    pub fn new(init: SuperInit, ops: Box<dyn SuperOperations>) -> Arc<SuperBlock> {
        Arc::new(Self {
            fs_type: init.fs_type,
            dev: DevT::new(0, NEXT_ANON_DEV.fetch_add(1, Ordering::Relaxed) & 0xf_ffff),
            magic: init.magic,
            ops,
            pinned: init.pinned,
            flags: AtomicU64::new(init.flags),
            active: AtomicU32::new(1),
            next_ino: AtomicU64::new(ROOT_INO),
            root: SpinLock::new(None),
            lru: SpinLock::new(VecDeque::new()),
        })
    }

    /// Sets the root directory, once.
    pub fn set_root(&self, root: Arc<Dentry>) {
        *self.root.lock() = Some(root);
    }
    /// The root directory. Errors: ENODEV when the file system is gone.
    pub fn root(&self) -> Result<Arc<Dentry>> {
        self.root.lock().clone().ok_or(Errno::ENODEV)
    }
    /// A fresh inode number (Linux: `get_next_ino`).
    pub fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }
    /// Whether the dentry tree is the directory tree.
    #[inline]
    pub fn pins_dentries(&self) -> bool {
        self.pinned
    }
    /// MS_* flags that hold for every mount of it.
    pub fn flags(&self) -> u64 {
        self.flags.load(Ordering::Relaxed)
    }
    /// Changes the flags in `mask` to those of `flags`.
    pub fn set_flags(&self, flags: u64, mask: u64) {
        let _ = self
            .flags
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |old| {
                Some(old & !mask | flags & mask)
            });
    }
    /// Whether nothing can be changed on it.
    #[inline]
    pub fn is_readonly(&self) -> bool {
        self.flags() & MS_RDONLY != 0
    }

    /// One mount more.
    pub fn activate(&self) {
        self.active.fetch_add(1, Ordering::AcqRel);
    }
    /// One mount less; after the last one the file system goes (Linux: `deactivate_super`).
    /// May sleep.
    pub fn deactivate(&self) {
        if self.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.ops.sync_fs(self);
            let cached = core::mem::take(&mut *self.lru.lock());
            drop(cached);
            let root = self.root.lock().take();
            if let Some(root) = root {
                root.dismantle();
            }
        }
    }

    /// Keeps a dentry cached for a while; the oldest one leaves.
    pub fn lru_add(&self, dentry: &Arc<Dentry>) {
        let evicted = {
            let mut lru = self.lru.lock();
            let evicted = (lru.len() >= LRU_MAX).then(|| lru.pop_front()).flatten();
            lru.push_back(dentry.clone());
            evicted
        };
        drop(evicted);
    }
    /// Forgets cached names for which `stale` holds: those of an ended process, for example.
    pub fn lru_prune(&self, stale: impl Fn(&Dentry) -> bool) {
        let removed: Vec<Arc<Dentry>> = {
            let mut lru = self.lru.lock();
            let (gone, kept) = core::mem::take(&mut *lru)
                .into_iter()
                .partition::<VecDeque<_>, _>(|dentry| stale(dentry));
            *lru = kept;
            gone.into()
        };
        removed.iter().for_each(|dentry| dentry.forget());
    }

    /// What statfs(2) shows (Linux: `vfs_statfs`).
    pub fn statfs(&self) -> Statfs {
        let mut statfs = Statfs {
            f_type: self.magic,
            f_bsize: crate::arch::PAGE_SIZE as i64,
            f_frsize: crate::arch::PAGE_SIZE as i64,
            f_namelen: uapi::limits::NAME_MAX as i64,
            f_fsid: [self.dev.encode() as i32, 0],
            ..Statfs::default()
        };
        self.ops.statfs(self, &mut statfs);
        statfs
    }
}
