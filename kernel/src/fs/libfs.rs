//! Pieces that file systems in memory share (Linux: fs/libfs.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::dirent::mode_to_dtype;
use uapi::fcntl::{SEEK_CUR, SEEK_END, SEEK_SET};
use uapi::stat::S_IFDIR;

use crate::fs::dcache::{Dentry, FIRST_CHILD_POS};
use crate::fs::file::{DirContext, File, FileOperations};
use crate::fs::filesystems::FileSystemType;
use crate::fs::inode::{Inode, InodeInit, InodeOperations, Rename};
use crate::fs::mount::Mount;
use crate::fs::readdir::{dir_emit, dir_emit_dots};
use crate::fs::superblock::{SuperBlock, SuperInit, SuperOperations};
use crate::prelude::*;

/// Lists directories whose dentries are pinned (Linux: `simple_offset_dir_operations`): an
/// entry's position stays the same for its whole life.
pub struct DcacheDir;

/// Entries that a listing takes at a time.
const BATCH: usize = 16;

/// The shared operations of all pinned directories.
pub fn dcache_dir_operations() -> Arc<dyn FileOperations> {
    static OPS: spin::Once<Arc<DcacheDir>> = spin::Once::new();
    OPS.call_once(|| Arc::new(DcacheDir)).clone()
}

impl FileOperations for DcacheDir {
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        let target = match whence {
            SEEK_SET => offset,
            SEEK_CUR => (file.pos.load(Ordering::Relaxed) as i64)
                .checked_add(offset)
                .ok_or(Errno::EOVERFLOW)?,
            SEEK_END => (file.path.dentry.end_position() as i64)
                .checked_add(offset)
                .ok_or(Errno::EOVERFLOW)?,
            _ => return Err(Errno::EINVAL),
        };
        crate::fs::read_write::vfs_setpos(file, target, i64::MAX as u64)
    }
    fn read_iter(
        &self,
        _file: &File,
        _to: &mut crate::mm::uaccess::IovIter<'_>,
        _pos: &mut u64,
    ) -> Result<usize> {
        Err(Errno::EISDIR)
    }
    fn iterate(&self, file: &File, ctx: &mut dyn DirContext) -> Result {
        if !dir_emit_dots(file, ctx) {
            return Ok(());
        }
        let mut pos = file.pos.load(Ordering::Relaxed).max(FIRST_CHILD_POS);
        loop {
            let mut batch = [const { None }; BATCH];
            file.path.dentry.children_from(pos, &mut batch);
            for child in batch {
                let Some((at, child)) = child else {
                    return Ok(());
                };
                pos = at + 1;
                let inode = &child.inode;
                let kind = mode_to_dtype(inode.mode());
                let room = child.with_name(|name| dir_emit(file, ctx, name, inode.ino, kind, pos));
                if !room {
                    return Ok(());
                }
            }
        }
    }
    fn fsync(&self, _file: &File) -> Result {
        Ok(())
    }
}

/// Bookkeeping of a removed name (Linux: `simple_unlink`).
pub fn simple_unlink(dir: &Arc<Inode>, dentry: &Arc<Dentry>) {
    dir.touch_mtime();
    dentry.inode.set_ctime(dir.mtime());
    dentry.inode.drop_nlink();
}

/// Bookkeeping of a removed directory (Linux: `simple_rmdir`). Errors: ENOTEMPTY.
pub fn simple_rmdir(dir: &Arc<Inode>, dentry: &Arc<Dentry>) -> Result {
    if !dentry.is_empty() {
        return Err(Errno::ENOTEMPTY);
    }
    dentry.inode.drop_nlink();
    simple_unlink(dir, dentry);
    dir.drop_nlink();
    Ok(())
}

/// Bookkeeping of a move inside one file system with pinned dentries (Linux: `simple_rename`).
/// Errors: ENOTEMPTY, EMLINK.
pub fn simple_rename(request: &Rename<'_>) -> Result {
    let source_is_dir = request.source.inode.is_dir();
    let crosses = !Arc::ptr_eq(request.old_dir, request.new_dir);
    match request.target {
        Some(target) if request.exchange => {
            let target_is_dir = target.inode.is_dir();
            if crosses && source_is_dir != target_is_dir {
                let (from, to) = if source_is_dir {
                    (request.old_dir, request.new_dir)
                } else {
                    (request.new_dir, request.old_dir)
                };
                to.inc_nlink()?;
                from.drop_nlink();
            }
            target.inode.touch_ctime();
        }
        Some(target) => {
            if target.inode.is_dir() {
                simple_rmdir(request.new_dir, target)?;
            } else {
                simple_unlink(request.new_dir, target);
            }
            move_dir_link(request, source_is_dir && crosses)?;
        }
        None => move_dir_link(request, source_is_dir && crosses)?,
    }
    request.old_dir.touch_mtime();
    request.new_dir.touch_mtime();
    request.source.inode.touch_ctime();
    Ok(())
}

/// A directory that moves takes its `..` along.
fn move_dir_link(request: &Rename<'_>, moves: bool) -> Result {
    if moves {
        request.new_dir.inc_nlink()?;
        request.old_dir.drop_nlink();
    }
    Ok(())
}

/// A file system that only the kernel uses, for files without names.
#[derive(Clone, Copy)]
pub struct PseudoFs {
    /// Its type; it need not be registered.
    pub fs_type: &'static FileSystemType,
    /// Magic number for fstatfs(2).
    pub magic: i64,
    /// Text of a file in /proc/PID/fd.
    pub dname: fn(&Dentry) -> String,
}

struct PseudoSuper(PseudoFs);

impl SuperOperations for PseudoSuper {
    fn dname(&self, dentry: &Dentry) -> Option<String> {
        Some((self.0.dname)(dentry))
    }
}

struct PseudoRoot;
impl InodeOperations for PseudoRoot {}

/// Mounts a file system for the kernel's own use (Linux: `init_pseudo` + `kern_mount`).
pub fn pseudo_mount(fs: PseudoFs) -> Arc<Mount> {
    let init = SuperInit {
        fs_type: fs.fs_type,
        magic: fs.magic,
        pinned: true,
        flags: 0,
    };
    let sb = SuperBlock::new(init, Box::new(PseudoSuper(fs)));
    let root = Inode::new(
        &sb,
        sb.next_ino(),
        Box::new(PseudoRoot),
        InodeInit::new(S_IFDIR | 0o600),
    );
    let root = Dentry::new_root(root);
    sb.set_root(root.clone());
    Mount::new(sb, root, "none", 0)
}
