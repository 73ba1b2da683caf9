//! tmpfs: files in memory (Linux: mm/shmem.c, mm/memfd.c; fs/ramfs/inode.c for the types without
//! limits).
//!
//! Directories are the dentry tree itself; file contents are the page cache. The root file
//! system, ramfs and devtmpfs are tmpfs under other names.
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::fcntl::*;
use uapi::magic::{RAMFS_MAGIC, TMPFS_MAGIC};
use uapi::mman::{MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_NOEXEC_SEAL};
use uapi::resource::RLIMIT_NOFILE;
use uapi::stat::*;

use super::filemap::{AddressSpace, PageAccount, generic_file_read_iter, generic_file_write_iter};
use super::page_alloc::totalram_pages;
use super::uaccess::{IovIter, strncpy_from_user};
use crate::arch::{PAGE_SHIFT, PAGE_SIZE};
use crate::fs::attr::{Attr, AttrValid, setattr_copy};
use crate::fs::char_dev::{DevT, chrdev_open};
use crate::fs::dcache::Dentry;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations, MmapKind, current_files};
use crate::fs::filesystems::{FileSystemType, register_filesystem};
use crate::fs::inode::{Inode, InodeInit, InodeOperations, LinkTarget, NewNode, Rename};
use crate::fs::libfs::{dcache_dir_operations, simple_rename, simple_rmdir, simple_unlink};
use crate::fs::mount::Mount;
use crate::fs::namei::Path;
use crate::fs::pipe::fifo_open;
use crate::fs::read_write::{generic_file_llseek, vfs_setpos};
use crate::fs::rlimit::rlimit;
use crate::fs::superblock::{MountRequest, SuperBlock, SuperInit, SuperOperations};
use crate::fs::truncate::{MAX_FILE_SIZE, newsize_ok};
use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::prelude::*;

/// What a directory entry adds to its directory's size (Linux: `BOGO_DIRENT_SIZE`).
const BOGO_DIRENT_SIZE: u64 = 20;
/// Bytes of a memfd's name.
const MFD_NAME_MAX: usize = 249;

/// The limits of one tmpfs; 0 means none (Linux: `struct shmem_sb_info`).
#[derive(Default)]
struct Limits {
    max_blocks: AtomicU64,
    used_blocks: AtomicU64,
    max_inodes: AtomicU64,
    used_inodes: AtomicU64,
}

/// Adds to a counter unless that exceeds `max`. Errors: ENOSPC.
fn take(used: &AtomicU64, max: &AtomicU64, count: u64) -> Result {
    let max = max.load(Ordering::Relaxed);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        let sum = used.checked_add(count)?;
        (max == 0 || sum <= max).then_some(sum)
    })
    .map(drop)
    .map_err(|_| Errno::ENOSPC)
}

impl PageAccount for Limits {
    fn charge(&self, nr_pages: u64) -> Result {
        take(&self.used_blocks, &self.max_blocks, nr_pages)
    }
    fn uncharge(&self, nr_pages: u64) {
        self.used_blocks.fetch_sub(nr_pages, Ordering::Relaxed);
    }
}

/// Mount options of tmpfs; `None` leaves what there is.
#[derive(Default, Debug, PartialEq, Eq)]
struct Options {
    blocks: Option<u64>,
    inodes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// A number with a suffix k, m, g, t, p or e (Linux: lib/cmdline.c, `memparse`).
fn memparse(text: &str) -> Option<u64> {
    let shift = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        b'p' => 50,
        b'e' => 60,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(shift != 0)];
    let number: u64 = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(1 << shift)
}

/// Bytes of a `size=` option in pages, rounded up; a percentage is of all memory.
fn parse_size(text: &str) -> Option<u64> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.parse().ok()?;
        return Some(percent.checked_mul(totalram_pages())? / 100);
    }
    Some(memparse(text)?.div_ceil(PAGE_SIZE as u64))
}

impl Options {
    /// Parses `size=1m,mode=755,...`. Errors: EINVAL.
    fn parse(data: &str) -> Result<Self> {
        let mut options = Self::default();
        for option in data.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !options.set(key, value) {
                pr_err!("tmpfs: Bad value for '{key}'");
                return Err(Errno::EINVAL);
            }
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "size" => set_some(&mut self.blocks, parse_size(value)),
            "nr_blocks" => set_some(&mut self.blocks, memparse(value)),
            "nr_inodes" => set_some(&mut self.inodes, memparse(value)),
            "mode" => set_some(
                &mut self.mode,
                u32::from_str_radix(value, 8).ok().map(|mode| mode & 0o7777),
            ),
            "uid" => set_some(&mut self.uid, value.parse().ok()),
            "gid" => set_some(&mut self.gid, value.parse().ok()),
            "inode64" | "inode32" | "noswap" | "huge" | "mpol" => true,
            _ => false,
        }
    }
}

/// Stores a parsed value; false when parsing failed.
fn set_some<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let parsed = value.is_some();
    *slot = value.or(slot.take());
    parsed
}

/// How one of the types that this file implements behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    /// Limited to half of memory unless options say otherwise.
    Tmpfs,
    /// No limits, one option.
    Ramfs,
    /// The kernel's own mount for memfd files.
    Internal,
}

struct ShmemSuper {
    flavour: Flavour,
    limits: Arc<Limits>,
    /// What the limits are without options, so that /proc/mounts shows chosen ones only.
    default_limit: u64,
    mode: AtomicU32,
}

impl SuperOperations for ShmemSuper {
    fn statfs(&self, _sb: &SuperBlock, statfs: &mut Statfs) {
        let limits = &self.limits;
        let max = limits.max_blocks.load(Ordering::Relaxed);
        if max != 0 {
            let free = max.saturating_sub(limits.used_blocks.load(Ordering::Relaxed));
            (statfs.f_blocks, statfs.f_bfree, statfs.f_bavail) = (max, free, free);
        }
        let max = limits.max_inodes.load(Ordering::Relaxed);
        if max != 0 {
            statfs.f_files = max;
            statfs.f_ffree = max.saturating_sub(limits.used_inodes.load(Ordering::Relaxed));
        }
    }
    fn show_options(&self, sb: &SuperBlock, out: &mut String) {
        if self.flavour != Flavour::Tmpfs {
            return;
        }
        let blocks = self.limits.max_blocks.load(Ordering::Relaxed);
        if blocks != self.default_limit {
            let _ = write!(out, ",size={}k", blocks << (PAGE_SHIFT - 10));
        }
        let inodes = self.limits.max_inodes.load(Ordering::Relaxed);
        if inodes != self.default_limit {
            let _ = write!(out, ",nr_inodes={inodes}");
        }
        if let Ok(root) = sb.root() {
            let mode = self.mode.load(Ordering::Relaxed);
            if mode != 0o1777 && sb.fs_type.name == "tmpfs" {
                let _ = write!(out, ",mode={mode:03o}");
            }
            if root.inode.uid() != 0 {
                let _ = write!(out, ",uid={}", root.inode.uid());
            }
            if root.inode.gid() != 0 {
                let _ = write!(out, ",gid={}", root.inode.gid());
            }
        }
    }
    fn remount(&self, _sb: &SuperBlock, request: &MountRequest<'_>) -> Result {
        let options = Options::parse(request.data)?;
        let limits = &self.limits;
        let too_small = |new: Option<u64>, used: &AtomicU64| {
            new.is_some_and(|max| max != 0 && max < used.load(Ordering::Relaxed))
        };
        if too_small(options.blocks, &limits.used_blocks)
            || too_small(options.inodes, &limits.used_inodes)
        {
            pr_err!("tmpfs: Too small a size for current use");
            return Err(Errno::EINVAL);
        }
        if let Some(blocks) = options.blocks {
            limits.max_blocks.store(blocks, Ordering::Relaxed);
        }
        if let Some(inodes) = options.inodes {
            limits.max_inodes.store(inodes, Ordering::Relaxed);
        }
        Ok(())
    }
    fn dname(&self, dentry: &Dentry) -> Option<String> {
        if self.flavour != Flavour::Internal {
            return None;
        }
        let name = dentry.name();
        Some(format!("/{} (deleted)", String::from_utf8_lossy(&name)))
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// One inode of a tmpfs; its slot in the count of inodes is free when it is dropped.
struct Node {
    limits: Arc<Limits>,
    link: Option<Arc<[u8]>>,
    /// F_SEAL_*.
    seals: AtomicU32,
}

impl Node {
    fn new(limits: &Arc<Limits>) -> Result<Self> {
        take(&limits.used_inodes, &limits.max_inodes, 1)?;
        Ok(Self {
            limits: limits.clone(),
            link: None,
            seals: AtomicU32::new(F_SEAL_SEAL),
        })
    }
    /// Makes an inode of any type in `dir`'s file system. Errors: ENOSPC.
    fn make(&self, dir: &Arc<Inode>, node: &NewNode, link: Option<&[u8]>) -> Result<Arc<Inode>> {
        let mut own = Node::new(&self.limits)?;
        own.link = link.map(Arc::from);
        Ok(new_inode(&dir.sb, own, node, link.map_or(0, <[u8]>::len)))
    }
    /// `make`, then the directory has an entry more.
    fn add(&self, dir: &Arc<Inode>, node: &NewNode, link: Option<&[u8]>) -> Result<Arc<Inode>> {
        let inode = self.make(dir, node, link)?;
        entry_added(dir);
        Ok(inode)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.limits.used_inodes.fetch_sub(1, Ordering::Relaxed);
    }
}

fn new_inode(sb: &Arc<SuperBlock>, own: Node, node: &NewNode, size: usize) -> Arc<Inode> {
    let account: Arc<dyn PageAccount> = own.limits.clone();
    let init = InodeInit {
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        rdev: node.rdev,
        mapping: s_isreg(node.mode).then(|| AddressSpace::new(Some(account))),
        size: size as u64,
    };
    Inode::new(sb, sb.next_ino(), Box::new(own), init)
}

fn entry_added(dir: &Inode) {
    dir.set_size(dir.size() + BOGO_DIRENT_SIZE);
    dir.touch_mtime();
}

fn entry_removed(dir: &Inode) {
    dir.set_size(dir.size().saturating_sub(BOGO_DIRENT_SIZE));
}

impl InodeOperations for Node {
    fn mknod(&self, dir: &Arc<Inode>, _name: &[u8], node: &NewNode) -> Result<Arc<Inode>> {
        self.add(dir, node, None)
    }
    fn mkdir(&self, dir: &Arc<Inode>, _name: &[u8], node: &NewNode) -> Result<Arc<Inode>> {
        let inode = self.make(dir, node, None)?;
        dir.inc_nlink()?;
        entry_added(dir);
        Ok(inode)
    }
    fn symlink(
        &self,
        dir: &Arc<Inode>,
        _name: &[u8],
        node: &NewNode,
        target: &[u8],
    ) -> Result<Arc<Inode>> {
        self.add(dir, node, Some(target))
    }
    fn link(&self, dir: &Arc<Inode>, _name: &[u8], inode: &Arc<Inode>) -> Result {
        inode.inc_nlink()?;
        entry_added(dir);
        inode.touch_ctime();
        Ok(())
    }
    fn unlink(&self, dir: &Arc<Inode>, dentry: &Arc<Dentry>) -> Result {
        entry_removed(dir);
        simple_unlink(dir, dentry);
        Ok(())
    }
    fn rmdir(&self, dir: &Arc<Inode>, dentry: &Arc<Dentry>) -> Result {
        simple_rmdir(dir, dentry)?;
        entry_removed(dir);
        Ok(())
    }
    fn rename(&self, request: &Rename<'_>) -> Result {
        simple_rename(request)?;
        if request.target.is_none() {
            entry_added(request.new_dir);
        }
        if !request.exchange {
            entry_removed(request.old_dir);
        }
        Ok(())
    }
    fn tmpfile(&self, dir: &Arc<Inode>, node: &NewNode) -> Result<Arc<Inode>> {
        self.make(dir, node, None)
    }
    fn get_link(&self, _inode: &Arc<Inode>) -> Result<LinkTarget> {
        let text = self.link.clone().ok_or(Errno::EINVAL)?;
        Ok(LinkTarget::Text(text))
    }
    fn setattr(&self, inode: &Arc<Inode>, attr: &Attr, cred: &Cred) -> Result {
        let mut attr = *attr;
        if attr.valid.contains(AttrValid::SIZE) {
            self.resize(inode, attr.size, &mut attr)?;
        }
        setattr_copy(inode, &attr, cred);
        Ok(())
    }
    fn open(&self, inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOperations>> {
        match inode.mode() & S_IFMT {
            S_IFDIR => Ok(dcache_dir_operations()),
            S_IFREG => Ok(shmem_file_operations()),
            S_IFCHR => chrdev_open(inode.rdev, flags),
            S_IFIFO => fifo_open(inode, flags),
            _ => Err(Errno::ENXIO),
        }
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

impl Node {
    /// Errors: EPERM when a seal forbids the new size.
    fn resize(&self, inode: &Arc<Inode>, size: u64, attr: &mut Attr) -> Result {
        let old = inode.size();
        let seals = self.seals.load(Ordering::Relaxed);
        let forbidden =
            size < old && seals & F_SEAL_SHRINK != 0 || size > old && seals & F_SEAL_GROW != 0;
        if forbidden {
            return Err(Errno::EPERM);
        }
        if size > MAX_FILE_SIZE {
            return Err(Errno::EFBIG);
        }
        inode.set_size(size);
        if size < old
            && let Some(mapping) = &inode.mapping
        {
            mapping.truncate(size);
        }
        if size == old {
            attr.valid |= AttrValid::MTIME;
        }
        Ok(())
    }
    fn has_seal(&self, seals: u32) -> bool {
        self.seals.load(Ordering::Relaxed) & seals != 0
    }
}

fn node_of(inode: &Inode) -> Option<&Node> {
    inode.ops.as_any().downcast_ref::<Node>()
}

/// Open regular files.
struct ShmemFile;

fn shmem_file_operations() -> Arc<dyn FileOperations> {
    static OPS: spin::Once<Arc<ShmemFile>> = spin::Once::new();
    OPS.call_once(|| Arc::new(ShmemFile)).clone()
}

impl FileOperations for ShmemFile {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        generic_file_read_iter(file, to, pos)
    }
    fn write_iter(&self, file: &File, from: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        generic_file_write_iter(file, from, pos, |pos, len| {
            let Some(node) = node_of(&file.inode) else {
                return Ok(());
            };
            let grows = pos.saturating_add(len as u64) > file.inode.size();
            if node.has_seal(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
                || grows && node.has_seal(F_SEAL_GROW)
            {
                return Err(Errno::EPERM);
            }
            Ok(())
        })
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        if !matches!(whence, SEEK_DATA | SEEK_HOLE) {
            return generic_file_llseek(file, offset, whence);
        }
        let size = file.inode.size();
        let start = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let mapping = file.inode.mapping.as_ref().ok_or(Errno::EINVAL)?;
        if start >= size {
            return Err(Errno::ENXIO);
        }
        let (index, end) = (start >> PAGE_SHIFT, size.div_ceil(PAGE_SIZE as u64));
        let target = if whence == SEEK_DATA {
            let data = mapping.next_data(index..end).ok_or(Errno::ENXIO)?;
            (data << PAGE_SHIFT).max(start)
        } else {
            let hole = mapping.next_hole(index).min(end);
            (hole << PAGE_SHIFT).clamp(start, size)
        };
        vfs_setpos(file, target as i64, MAX_FILE_SIZE)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn mmap(&self, _file: &File) -> Result<MmapKind> {
        Ok(MmapKind::PageCache)
    }
    fn fsync(&self, _file: &File) -> Result {
        Ok(())
    }
    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result {
        shmem_fallocate(file, mode, offset, len)
    }
}

/// Linux: `shmem_fallocate`. Errors: EOPNOTSUPP, EPERM (seals), EFBIG, ENOSPC, ENOMEM.
fn shmem_fallocate(file: &File, mode: u32, offset: u64, len: u64) -> Result {
    if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let inode = &file.inode;
    let mapping = inode.mapping.as_ref().ok_or(Errno::EOPNOTSUPP)?;
    let node = node_of(inode).ok_or(Errno::EOPNOTSUPP)?;
    let end = offset.saturating_add(len);
    let _locked = inode.lock.lock();
    if mode & FALLOC_FL_PUNCH_HOLE != 0 {
        if node.has_seal(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) {
            return Err(Errno::EPERM);
        }
        mapping.punch(offset, end);
        inode.touch_mtime();
        return Ok(());
    }
    let grows = mode & FALLOC_FL_KEEP_SIZE == 0 && end > inode.size();
    if grows {
        newsize_ok(inode.size(), end)?;
        if node.has_seal(F_SEAL_GROW) {
            return Err(Errno::EPERM);
        }
    }
    let (first, last) = (offset >> PAGE_SHIFT, end.div_ceil(PAGE_SIZE as u64));
    let max_blocks = node.limits.max_blocks.load(Ordering::Relaxed);
    if max_blocks != 0 && last - first > max_blocks {
        return Err(Errno::ENOSPC);
    }
    allocate_range(mapping, first, last)?;
    if grows {
        inode.set_size(end);
    }
    inode.touch_ctime();
    Ok(())
}

/// Fills the holes of a range of pages; after an error the new pages are taken out again.
fn allocate_range(mapping: &AddressSpace, first: u64, last: u64) -> Result {
    let mut new = Vec::new();
    for index in first..last {
        if mapping.contains(index) {
            continue;
        }
        let result = mapping.read_mapping_page(index);
        let noted = new.try_reserve(1).map_err(|_| Errno::ENOMEM);
        if let Err(error) = result.map(drop).and(noted) {
            new.iter().for_each(|&at| mapping.remove_pages(at, at + 1));
            return Err(error);
        }
        new.push(index);
    }
    Ok(())
}

/// Makes a file system of this kind (Linux: `shmem_fill_super`).
fn fill_super(
    fs_type: &'static FileSystemType,
    flavour: Flavour,
    root_mode: u32,
    request: &MountRequest<'_>,
) -> Result<Arc<SuperBlock>> {
    let options = match flavour {
        Flavour::Ramfs => ramfs_options(request.data),
        _ => Options::parse(request.data)?,
    };
    let default_limit = if flavour == Flavour::Tmpfs {
        totalram_pages() / 2
    } else {
        0
    };
    let limits = Arc::new(Limits::default());
    let blocks = options.blocks.unwrap_or(default_limit);
    limits.max_blocks.store(blocks, Ordering::Relaxed);
    let inodes = options.inodes.unwrap_or(default_limit);
    limits.max_inodes.store(inodes, Ordering::Relaxed);
    let mode = options.mode.unwrap_or(root_mode);
    let init = SuperInit {
        fs_type,
        magic: if flavour == Flavour::Ramfs {
            RAMFS_MAGIC
        } else {
            TMPFS_MAGIC
        },
        pinned: true,
        flags: request.flags & uapi::mount::MS_RMT_MASK,
    };
    let own = Node::new(&limits)?;
    let ops = ShmemSuper {
        flavour,
        limits,
        default_limit,
        mode: AtomicU32::new(mode),
    };
    let sb = SuperBlock::new(init, Box::new(ops));
    let node = NewNode {
        mode: S_IFDIR | mode,
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        rdev: DevT(0),
    };
    sb.set_root(Dentry::new_root(new_inode(&sb, own, &node, 0)));
    Ok(sb)
}

/// ramfs ignores what it does not know (Linux: `ramfs_parse_param`).
fn ramfs_options(data: &str) -> Options {
    let mut options = Options::default();
    if let Some(mode) = data
        .split(',')
        .find_map(|option| option.strip_prefix("mode="))
    {
        options.set("mode", mode);
    }
    options
}

static TMPFS: FileSystemType = FileSystemType {
    name: "tmpfs",
    requires_dev: false,
    mount: |fs_type, request| fill_super(fs_type, Flavour::Tmpfs, 0o1777, request),
};

static RAMFS: FileSystemType = FileSystemType {
    name: "ramfs",
    requires_dev: false,
    mount: |fs_type, request| fill_super(fs_type, Flavour::Ramfs, 0o755, request),
};

/// The root file system's type; mounted once, by the kernel (Linux: init/do_mounts.c).
pub static ROOTFS: FileSystemType = FileSystemType {
    name: "rootfs",
    requires_dev: false,
    mount: |fs_type, request| fill_super(fs_type, Flavour::Tmpfs, 0o755, request),
};

/// A tmpfs of another type, for devtmpfs (Linux: drivers/base/devtmpfs.c, `public_dev_mount`).
pub fn tmpfs_super(
    fs_type: &'static FileSystemType,
    request: &MountRequest<'_>,
) -> Result<Arc<SuperBlock>> {
    fill_super(fs_type, Flavour::Tmpfs, 0o755, request)
}

/// Registers tmpfs and ramfs (Linux: `shmem_init`, `init_ramfs_fs`).
pub fn shmem_init() {
    for fs_type in [&TMPFS, &RAMFS] {
        if register_filesystem(fs_type).is_err() {
            pr_err!("Could not register {}", fs_type.name);
        }
    }
}

/// The kernel's own tmpfs (Linux: `shm_mnt`).
fn shm_mount() -> Result<&'static Arc<Mount>> {
    static MOUNT: spin::Once<Arc<Mount>> = spin::Once::new();
    MOUNT.try_call_once(|| {
        let request = MountRequest {
            source: "tmpfs",
            flags: 0,
            data: "",
        };
        let sb = fill_super(&TMPFS, Flavour::Internal, 0o1777, &request)?;
        let root = sb.root()?;
        Ok(Mount::new(sb, root, "tmpfs", 0))
    })
}

/// A file in memory without a name in any directory (Linux: `shmem_file_setup`).
pub fn shmem_file_setup(name: &[u8], size: u64, mode: u32) -> Result<Arc<File>> {
    let mnt = shm_mount()?;
    let super_ops = mnt.sb.ops.as_any().downcast_ref::<ShmemSuper>();
    let limits = &super_ops.ok_or(Errno::ENODEV)?.limits;
    let cred = current().cred();
    let node = NewNode {
        mode: S_IFREG | mode,
        uid: cred.fsuid,
        gid: cred.fsgid,
        rdev: DevT(0),
    };
    let inode = new_inode(&mnt.sb, Node::new(limits)?, &node, 0);
    inode.set_nlink(0);
    inode.set_size(size);
    let path = Path {
        mnt: mnt.clone(),
        dentry: Dentry::new_anonymous(inode, name),
    };
    File::new_pseudo(path, O_RDWR | O_LARGEFILE, shmem_file_operations())
}

/// memfd_create(2). Errors: EINVAL, EFAULT, EMFILE, ENFILE.
pub fn sys_memfd_create(uname: UserAddr, flags: u32) -> Result<u32> {
    let known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;
    let both = MFD_NOEXEC_SEAL | MFD_EXEC;
    if flags & !known != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let text = match strncpy_from_user(uname, MFD_NAME_MAX + 1) {
        Err(Errno::ENAMETOOLONG) => return Err(Errno::EINVAL),
        text => text?,
    };
    let name = [b"memfd:", &text[..]].concat();
    let mode = if flags & MFD_NOEXEC_SEAL != 0 {
        0o666
    } else {
        0o777
    };
    let file = shmem_file_setup(&name, 0, mode)?;
    if let Some(node) = node_of(&file.inode) {
        let mut seals = F_SEAL_SEAL;
        if flags & MFD_NOEXEC_SEAL != 0 {
            seals = F_SEAL_EXEC;
        }
        if flags & MFD_ALLOW_SEALING != 0 {
            seals &= !F_SEAL_SEAL;
        }
        node.seals.store(seals, Ordering::Relaxed);
    }
    let on_exec = OnExec::from_flag(flags, MFD_CLOEXEC);
    current_files()?.install(file, rlimit(RLIMIT_NOFILE), on_exec)
}

/// F_ADD_SEALS (Linux: `memfd_add_seals`). Errors: EPERM, EINVAL for other files.
pub fn add_seals(file: &File, seals: u32) -> Result {
    let all = F_SEAL_SEAL
        | F_SEAL_SHRINK
        | F_SEAL_GROW
        | F_SEAL_WRITE
        | F_SEAL_FUTURE_WRITE
        | F_SEAL_EXEC;
    if !file.is_writable() {
        return Err(Errno::EPERM);
    }
    if seals & !all != 0 {
        return Err(Errno::EINVAL);
    }
    let node = node_of(&file.inode)
        .filter(|_| file.inode.is_reg())
        .ok_or(Errno::EINVAL)?;
    let _locked = file.inode.lock.lock();
    if node.has_seal(F_SEAL_SEAL) {
        return Err(Errno::EPERM);
    }
    node.seals.fetch_or(seals, Ordering::Relaxed);
    Ok(())
}

/// F_GET_SEALS. Errors: EINVAL for other files.
pub fn get_seals(file: &File) -> Result<u32> {
    let node = node_of(&file.inode)
        .filter(|_| file.inode.is_reg())
        .ok_or(Errno::EINVAL)?;
    Ok(node.seals.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_like_linux_does() {
        let options = Options::parse("size=1m,mode=755,uid=3,,inode64").unwrap();
        assert_eq!(options.blocks, Some(256));
        assert_eq!((options.mode, options.uid), (Some(0o755), Some(3)));
        assert_eq!(Options::parse("size=5000").unwrap().blocks, Some(2));
        assert_eq!(Options::parse("nr_inodes=2k").unwrap().inodes, Some(2048));
        for bad in ["size=x", "size", "mode=9", "bogus", "size=99999999999g"] {
            assert_eq!(Options::parse(bad), Err(Errno::EINVAL), "{bad}");
        }
        assert_eq!(Options::parse("").unwrap(), Options::default());
    }
}
