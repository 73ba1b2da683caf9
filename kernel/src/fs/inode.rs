//! Inodes (Linux: fs/inode.c, include/linux/fs.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use uapi::stat::*;

use crate::fs::attr::{Attr, AttrValid, setattr_copy, setattr_prepare};
use crate::fs::char_dev::DevT;
use crate::fs::dcache::Dentry;
use crate::fs::file::FileOperations;
use crate::fs::hashtable::{WeakTable, mix};
use crate::fs::locks::FileLockContext;
use crate::fs::namei::Path;
use crate::fs::pipe::Pipe;
use crate::fs::sleep_lock::SleepLock;
use crate::fs::stat::Kstat;
use crate::fs::superblock::SuperBlock;
use crate::kernel::cred::Cred;
use crate::mm::filemap::AddressSpace;
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::prelude::*;

/// A file without its name (Linux: `struct inode`).
pub struct Inode {
    /// Number in its file system.
    pub ino: u64,
    /// Its file system.
    pub sb: Arc<SuperBlock>,
    /// Which device a device node stands for.
    pub rdev: DevT,
    /// What its file system does for it.
    pub ops: Box<dyn InodeOperations>,
    /// Page cache, for regular files.
    pub mapping: Option<Arc<AddressSpace>>,
    /// Held while the directory or the size and contents change (Linux: `i_rwsem`).
    pub lock: SleepLock,
    mode: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    nlink: AtomicU32,
    /// Bits of `iflags`.
    flags: AtomicU32,
    /// Open for writing when above zero, executed (writing denied) when below.
    write_count: AtomicI32,
    size: AtomicU64,
    atime: AtomicI64,
    mtime: AtomicI64,
    ctime: AtomicI64,
    btime: i64,
    locks: spin::Once<Box<FileLockContext>>,
    /// The pipe behind an opened FIFO.
    pub(crate) fifo: SpinLock<Weak<Pipe>>,
}

mod iflags {
    /// The directory was removed: nothing can be created in it (Linux: `S_DEAD`).
    pub const DEAD: u32 = 1;
    /// `InodeOperations::permission` is not the generic one.
    pub const OWN_PERMISSION: u32 = 2;
    /// `InodeOperations::revalidate` must be asked before a cached name is used.
    pub const REVALIDATE: u32 = 4;
    /// In the inode hash table.
    pub const HASHED: u32 = 8;
    /// Has no name, but may get one: O_TMPFILE without O_EXCL (Linux: `I_LINKABLE`).
    pub const LINKABLE: u32 = 16;
}

/// What a new inode starts with.
pub struct InodeInit {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device, for device nodes.
    pub rdev: DevT,
    /// Page cache.
    pub mapping: Option<Arc<AddressSpace>>,
    /// Size in bytes.
    pub size: u64,
}

impl InodeInit {
    /// An empty file of `mode` that root owns.
    pub fn new(mode: u32) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            rdev: DevT(0),
            mapping: None,
            size: 0,
        }
    }
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// To the path in this text.
    Text(Arc<[u8]>),
    /// Straight to a place: the links of /proc/PID (Linux: `nd_jump_link`).
    Jump(Path),
}

/// What a file system does for an inode (Linux: `struct inode_operations`). Methods that change a
/// directory are called with its lock held and return the inode; the VFS keeps the dentries.
#[expect(unused_variables, reason = "default methods refuse")]
pub trait InodeOperations: Send + Sync {
    /// The inode called `name`, for file systems that do not pin their dentries.
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        Ok(None)
    }
    /// Makes a file of any type but directory and symbolic link. Errors: EPERM, ENOSPC.
    fn mknod(&self, dir: &Arc<Inode>, name: &[u8], node: &NewNode) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a directory.
    fn mkdir(&self, dir: &Arc<Inode>, name: &[u8], node: &NewNode) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a symbolic link to `target`.
    fn symlink(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        node: &NewNode,
        target: &[u8],
    ) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a further name of `inode`.
    fn link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result {
        Err(Errno::EPERM)
    }
    /// Removes the name of a file.
    fn unlink(&self, dir: &Arc<Inode>, dentry: &Arc<Dentry>) -> Result {
        Err(Errno::EPERM)
    }
    /// Removes an empty directory. Errors: ENOTEMPTY.
    fn rmdir(&self, dir: &Arc<Inode>, dentry: &Arc<Dentry>) -> Result {
        Err(Errno::EPERM)
    }
    /// Moves `request.source`.
    fn rename(&self, request: &Rename<'_>) -> Result {
        Err(Errno::EPERM)
    }
    /// Makes a file without a name. Errors: EOPNOTSUPP.
    fn tmpfile(&self, dir: &Arc<Inode>, node: &NewNode) -> Result<Arc<Inode>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Where a symbolic link leads. Errors: EINVAL when it is none.
    fn get_link(&self, inode: &Arc<Inode>) -> Result<LinkTarget> {
        Err(Errno::EINVAL)
    }
    /// Text that readlink(2) shows for a link that jumps.
    fn readlink(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        match self.get_link(inode)? {
            LinkTarget::Text(text) => Ok(text.to_vec()),
            LinkTarget::Jump(path) => Ok(crate::fs::d_path::d_path(&path, None)),
        }
    }
    /// Changes attributes that were checked already (Linux: `->setattr`).
    fn setattr(&self, inode: &Arc<Inode>, attr: &Attr, cred: &Cred) -> Result {
        simple_setattr(inode, attr, cred)
    }
    /// Corrects what stat(2) shows.
    fn getattr(&self, inode: &Arc<Inode>, stat: &mut Kstat) {}
    /// Permission check of its own; only called when `has_permission` says so.
    fn permission(&self, inode: &Inode, mask: u32, cred: &Cred) -> Result {
        Ok(())
    }
    /// Whether `permission` is implemented.
    fn has_permission(&self) -> bool {
        false
    }
    /// Whether a cached name of the inode still holds; only called when `has_revalidate` says so.
    fn revalidate(&self, inode: &Inode) -> bool {
        true
    }
    /// Whether `revalidate` is implemented.
    fn has_revalidate(&self) -> bool {
        false
    }
    /// What an open file of this inode does; `flags` are those of open(2).
    fn open(&self, inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ENXIO)
    }
    /// For down-casts by the file system that made the inode.
    fn as_any(&self) -> &dyn core::any::Any {
        &()
    }
}

/// The simple attribute change: nothing but the inode's own fields.
pub fn simple_setattr(inode: &Arc<Inode>, attr: &Attr, cred: &Cred) -> Result {
    if attr.valid.contains(AttrValid::SIZE) {
        return Err(Errno::EINVAL);
    }
    setattr_copy(inode, attr, cred);
    Ok(())
}

/// Owner, mode and device of a file to be made.
#[derive(Clone, Copy)]
pub struct NewNode {
    /// Type and permissions, umask applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device, for device nodes.
    pub rdev: DevT,
}

impl NewNode {
    /// A node that `cred` makes in `dir` with `mode`, umask applied: a set-group-id directory
    /// hands its group down (Linux: `inode_init_owner`).
    pub fn new(dir: &Inode, mode: u32, rdev: DevT, cred: &Cred) -> Self {
        let mut node = Self {
            mode,
            uid: cred.fsuid,
            gid: cred.fsgid,
            rdev,
        };
        if dir.mode() & S_ISGID != 0 {
            node.gid = dir.gid();
            let group_exec = S_ISGID | S_IXGRP;
            if s_isdir(mode) {
                node.mode |= S_ISGID;
            } else if mode & group_exec == group_exec
                && !cred.in_group(node.gid)
                && !cred.has_cap(uapi::capability::CAP_FSETID)
            {
                node.mode &= !S_ISGID;
            }
        }
        node
    }
}

/// What rename(2) is to do; loops, permissions and types are checked.
pub struct Rename<'a> {
    /// Directory it is in.
    pub old_dir: &'a Arc<Inode>,
    /// What moves.
    pub source: &'a Arc<Dentry>,
    /// Directory it goes to.
    pub new_dir: &'a Arc<Inode>,
    /// Name it gets.
    pub new_name: &'a [u8],
    /// What has that name now: it is replaced, or exchanged.
    pub target: Option<&'a Arc<Dentry>>,
    /// `target` takes the place of `source`.
    pub exchange: bool,
}

/// Wall clock time in ns since 1970 for time stamps (Linux: `current_time`).
pub fn current_time() -> i64 {
    i64::try_from(crate::kernel::time::timekeeping::ktime_get_coarse_real()).unwrap_or(i64::MAX)
}

/// Adds to a counter that user space can push up; refuses at the top instead of wrapping.
const LINK_MAX: u32 = 1 << 30;

static INODE_HASHTABLE: WeakTable<Inode> = WeakTable::new();

/// Sizes the inode hash table for `total_bytes` of memory (Linux: `inode_init_early`).
pub fn inode_init_early(total_bytes: u64) {
    INODE_HASHTABLE.init("Inode-cache", total_bytes, 17);
}

fn inode_hash(sb: &Arc<SuperBlock>, ino: u64) -> u64 {
    mix(Arc::as_ptr(sb).addr() as u64, ino)
}

/// The cached inode `ino` of a file system (Linux: `ilookup`).
pub fn ilookup(sb: &Arc<SuperBlock>, ino: u64) -> Option<Arc<Inode>> {
    INODE_HASHTABLE.find(inode_hash(sb, ino), |inode| {
        inode.ino == ino && Arc::ptr_eq(&inode.sb, sb)
    })
}

/// Makes `ilookup` find the inode as long as it lives (Linux: `insert_inode_hash`).
pub fn insert_inode_hash(inode: &Arc<Inode>) {
    if inode.flags.fetch_or(iflags::HASHED, Ordering::AcqRel) & iflags::HASHED == 0 {
        INODE_HASHTABLE.insert(inode_hash(&inode.sb, inode.ino), inode);
    }
}

/// Inodes in memory, the first number of /proc/sys/fs/inode-nr.
static NR_INODES: AtomicI64 = AtomicI64::new(0);

/// Inodes in memory.
pub fn nr_inodes() -> i64 {
    NR_INODES.load(Ordering::Relaxed)
}

impl Drop for Inode {
    fn drop(&mut self) {
        NR_INODES.fetch_sub(1, Ordering::Relaxed);
        if *self.flags.get_mut() & iflags::HASHED != 0 {
            INODE_HASHTABLE.remove(inode_hash(&self.sb, self.ino), self);
        }
    }
}

/// Linux: `inode_cachep`; the inodes of every file system are of one size here.
static INODE_CACHE: ArcCache<Inode> = ArcCache::new("inode_cache", SlabKind::Plain);

impl Inode {
    /// A new inode with all times at the present (Linux: `new_inode`).
    pub fn new(
        sb: &Arc<SuperBlock>,
        ino: u64,
        ops: Box<dyn InodeOperations>,
        init: InodeInit,
    ) -> Arc<Inode> {
        let now = current_time();
        let own_permission = u32::from(ops.has_permission()) * iflags::OWN_PERMISSION;
        let revalidate = u32::from(ops.has_revalidate()) * iflags::REVALIDATE;
        let nlink = if s_isdir(init.mode) { 2 } else { 1 };
        NR_INODES.fetch_add(1, Ordering::Relaxed);
        INODE_CACHE.arc(Self {
            ino,
            sb: sb.clone(),
            rdev: init.rdev,
            ops,
            mapping: init.mapping,
            lock: SleepLock::new(),
            mode: AtomicU32::new(init.mode),
            uid: AtomicU32::new(init.uid),
            gid: AtomicU32::new(init.gid),
            nlink: AtomicU32::new(nlink),
            flags: AtomicU32::new(own_permission | revalidate),
            write_count: AtomicI32::new(0),
            size: AtomicU64::new(init.size),
            atime: AtomicI64::new(now),
            mtime: AtomicI64::new(now),
            ctime: AtomicI64::new(now),
            btime: now,
            locks: spin::Once::new(),
            fifo: SpinLock::new(Weak::new()),
        })
    }

    /// Number in its file system.
    #[inline]
    pub fn ino(&self) -> u64 {
        self.ino
    }
    /// Device number of its file system.
    #[inline]
    pub fn sb_dev(&self) -> DevT {
        self.sb.dev
    }
    /// Size in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }
    /// Changes the size; the lock is held.
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }
    /// File type and permission bits (S_IF*, S_I*).
    #[inline]
    pub fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }
    /// Changes the permission bits; the type stays.
    pub fn set_mode(&self, mode: u32) {
        let kind = self.mode() & S_IFMT;
        self.mode.store(kind | mode & S_IALLUGO, Ordering::Relaxed);
    }
    /// Owner.
    #[inline]
    pub fn uid(&self) -> u32 {
        self.uid.load(Ordering::Relaxed)
    }
    /// Group.
    #[inline]
    pub fn gid(&self) -> u32 {
        self.gid.load(Ordering::Relaxed)
    }
    /// Changes owner and group.
    pub fn set_owner(&self, uid: u32, gid: u32) {
        self.uid.store(uid, Ordering::Relaxed);
        self.gid.store(gid, Ordering::Relaxed);
    }
    /// Number of names.
    #[inline]
    pub fn nlink(&self) -> u32 {
        self.nlink.load(Ordering::Relaxed)
    }
    /// Sets the number of names.
    pub fn set_nlink(&self, nlink: u32) {
        self.nlink.store(nlink, Ordering::Relaxed);
    }
    /// One name more. Errors: EMLINK.
    pub fn inc_nlink(&self) -> Result {
        if self.nlink() >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        self.nlink.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    /// One name less.
    pub fn drop_nlink(&self) {
        let _ = self
            .nlink
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }

    /// Whether it is a directory.
    #[inline]
    pub fn is_dir(&self) -> bool {
        s_isdir(self.mode())
    }
    /// Whether it is a regular file.
    #[inline]
    pub fn is_reg(&self) -> bool {
        s_isreg(self.mode())
    }
    /// Whether it is a symbolic link.
    #[inline]
    pub fn is_symlink(&self) -> bool {
        s_islnk(self.mode())
    }
    /// Whether writing it does not change the file system: devices, FIFOs, sockets.
    pub fn is_special(&self) -> bool {
        !matches!(self.mode() & S_IFMT, S_IFREG | S_IFDIR | S_IFLNK)
    }

    /// Last access, ns since 1970.
    pub fn atime(&self) -> i64 {
        self.atime.load(Ordering::Relaxed)
    }
    /// Last change of the contents.
    pub fn mtime(&self) -> i64 {
        self.mtime.load(Ordering::Relaxed)
    }
    /// Last change of the inode.
    pub fn ctime(&self) -> i64 {
        self.ctime.load(Ordering::Relaxed)
    }
    /// Creation.
    pub fn btime(&self) -> i64 {
        self.btime
    }
    /// Sets the last access.
    pub fn set_atime(&self, ns: i64) {
        self.atime.store(ns, Ordering::Relaxed);
    }
    /// Sets the last change of the contents.
    pub fn set_mtime(&self, ns: i64) {
        self.mtime.store(ns, Ordering::Relaxed);
    }
    /// The inode changed now.
    pub fn touch_ctime(&self) {
        self.ctime.store(current_time(), Ordering::Relaxed);
    }
    /// Sets the last change of the inode.
    pub fn set_ctime(&self, ns: i64) {
        self.ctime.store(ns, Ordering::Relaxed);
    }
    /// The contents changed now (Linux: `file_update_time`, or a directory's entries).
    pub fn touch_mtime(&self) {
        let now = current_time();
        self.mtime.store(now, Ordering::Relaxed);
        self.ctime.store(now, Ordering::Relaxed);
    }

    /// Whether the directory was removed.
    pub fn is_dead(&self) -> bool {
        self.flags.load(Ordering::Acquire) & iflags::DEAD != 0
    }
    /// Marks a removed directory.
    pub fn set_dead(&self) {
        self.flags.fetch_or(iflags::DEAD, Ordering::AcqRel);
    }
    /// Whether linkat(2) may give the nameless file a name.
    pub fn is_linkable(&self) -> bool {
        self.flags.load(Ordering::Acquire) & iflags::LINKABLE != 0
    }
    /// Lets linkat(2) give the nameless file a name.
    pub fn set_linkable(&self) {
        self.flags.fetch_or(iflags::LINKABLE, Ordering::AcqRel);
    }
    /// Whether the generic permission check does not apply.
    #[inline]
    pub fn has_own_permission(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & iflags::OWN_PERMISSION != 0
    }
    /// Whether a cached name of it must be checked before use.
    #[inline]
    pub fn must_revalidate(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & iflags::REVALIDATE != 0
    }

    /// A writer opens the file. Errors: ETXTBSY while it is executed.
    pub fn get_write_access(&self) -> Result {
        self.count_writers(|count| (count >= 0).then(|| count.saturating_add(1)))
    }
    /// The writer is gone.
    pub fn put_write_access(&self) {
        self.write_count.fetch_sub(1, Ordering::AcqRel);
    }
    /// A program starts from the file. Errors: ETXTBSY while it is open for writing.
    pub fn deny_write_access(&self) -> Result {
        self.count_writers(|count| (count <= 0).then(|| count.saturating_sub(1)))
    }
    /// The program ended.
    pub fn allow_write_access(&self) {
        self.write_count.fetch_add(1, Ordering::AcqRel);
    }
    fn count_writers(&self, change: impl FnMut(i32) -> Option<i32>) -> Result {
        self.write_count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
            .map(drop)
            .map_err(|_| Errno::ETXTBSY)
    }

    /// Record and file locks, made when the first one is set.
    pub fn locks(&self) -> &FileLockContext {
        self.locks
            .call_once(|| Box::new(FileLockContext::default()))
    }
    /// Record and file locks, if there ever were any.
    #[inline]
    pub fn locks_if_any(&self) -> Option<&FileLockContext> {
        self.locks.get().map(|context| &**context)
    }

    /// Checks and makes an attribute change (Linux: `notify_change`). Context: lock held.
    pub fn notify_change(self: &Arc<Self>, attr: &mut Attr, cred: &Cred) -> Result {
        setattr_prepare(self, attr, cred)?;
        self.ops.setattr(self, attr, cred)
    }
}
