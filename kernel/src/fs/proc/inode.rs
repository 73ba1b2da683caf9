//! Inodes of /proc (Linux: fs/proc/inode.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::dirent::mode_to_dtype;
use uapi::fcntl::{SEEK_CUR, SEEK_SET};
use uapi::stat::S_IFDIR;

use crate::fs::attr::{Attr, AttrValid};
use crate::fs::dcache::FIRST_CHILD_POS;
use crate::fs::file::{DirContext, File, FileOperations};
use crate::fs::inode::{
    Inode, InodeInit, InodeOperations, LinkTarget, ilookup, insert_inode_hash, simple_setattr,
};
use crate::fs::namei::permission::generic_permission;
use crate::fs::readdir::{dir_emit, dir_emit_dots};
use crate::fs::stat::Kstat;
use crate::fs::superblock::SuperBlock;
use crate::kernel::cred::Cred;
use crate::prelude::*;

/// Takes entries of a directory: name, inode number, mode, and the position behind the entry.
/// False: no room, stop.
pub type NodeEmit<'a> = dyn FnMut(&[u8], u64, u32, u64) -> bool + 'a;

/// Anything that can stand in /proc: a fixed entry, or a file or directory of a process. A
/// directory makes nodes for its children when they are looked up; the inode keeps the node.
#[expect(unused_variables, reason = "default methods refuse")]
pub trait ProcNode: Send + Sync {
    /// Type and permissions.
    fn mode(&self) -> u32;
    /// Inode number, unique in /proc. Fixed entries have numbers from 2 to 2^31.
    fn ino(&self) -> u64;
    /// Owner and group.
    fn owner(&self) -> (u32, u32) {
        (0, 0)
    }
    /// Number of names; directories count their subdirectories.
    fn nlink(&self) -> u32 {
        1 + u32::from(self.mode() & uapi::stat::S_IFMT == S_IFDIR)
    }
    /// Size that stat(2) shows; 0 for generated text.
    fn size(&self) -> u64 {
        0
    }
    /// Whether the thing still exists (a process may have ended). Asked before each use of a
    /// cached name when `may_vanish`.
    fn is_alive(&self) -> bool {
        true
    }
    /// Whether `is_alive` or `owner` can change.
    fn may_vanish(&self) -> bool {
        false
    }
    /// The child of a directory.
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        Ok(None)
    }
    /// Offers the children from position `from` on, `.` and `..` not among them. Positions start
    /// at 2 and rise.
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        Ok(())
    }
    /// Opens a file.
    fn open(&self, flags: u32) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::EINVAL)
    }
    /// Where a symbolic link leads.
    fn get_link(&self) -> Result<LinkTarget> {
        Err(Errno::EINVAL)
    }
    /// Text of a link that jumps.
    fn readlink(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// A permission check beyond the mode bits.
    fn permission(&self, mask: u32, cred: &Cred) -> Result {
        Ok(())
    }
    /// Whether `permission` is implemented.
    fn has_permission(&self) -> bool {
        false
    }
}

/// The inode operations of every node.
struct ProcInode {
    node: Arc<dyn ProcNode>,
}

/// The inode of a node; two lookups of one number share it.
pub fn proc_get_inode(sb: &Arc<SuperBlock>, node: Box<dyn ProcNode>) -> Arc<Inode> {
    let ino = node.ino();
    if !node.may_vanish()
        && let Some(inode) = ilookup(sb, ino)
    {
        return inode;
    }
    let (uid, gid) = node.owner();
    let init = InodeInit {
        uid,
        gid,
        size: node.size(),
        ..InodeInit::new(node.mode())
    };
    let (nlink, fixed) = (node.nlink(), !node.may_vanish());
    let ops = ProcInode {
        node: Arc::from(node),
    };
    let inode = Inode::new(sb, ino, Box::new(ops), init);
    inode.set_nlink(nlink);
    if fixed {
        insert_inode_hash(&inode);
    }
    inode
}

impl InodeOperations for ProcInode {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        let child = self.node.lookup(name)?;
        Ok(child.map(|node| proc_get_inode(&dir.sb, node)))
    }
    fn get_link(&self, _inode: &Arc<Inode>) -> Result<LinkTarget> {
        self.node.get_link()
    }
    fn readlink(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        if let Some(text) = self.node.readlink()? {
            return Ok(text);
        }
        match self.get_link(inode)? {
            LinkTarget::Text(text) => Ok(text.to_vec()),
            LinkTarget::Jump(path) => Ok(crate::fs::d_path::d_path(&path, None)),
        }
    }
    fn setattr(&self, inode: &Arc<Inode>, attr: &Attr, cred: &Cred) -> Result {
        if self.node.may_vanish() && attr.valid.contains(AttrValid::MODE) {
            return Err(Errno::EPERM);
        }
        let mut attr = *attr;
        // O_TRUNC means nothing to a file that is a command.
        attr.valid.remove(AttrValid::SIZE);
        simple_setattr(inode, &attr, cred)
    }
    fn getattr(&self, _inode: &Arc<Inode>, stat: &mut Kstat) {
        stat.nlink = self.node.nlink();
        stat.blksize = 1024;
    }
    fn permission(&self, inode: &Inode, mask: u32, cred: &Cred) -> Result {
        self.node.permission(mask, cred)?;
        generic_permission(inode, mask, cred)
    }
    fn has_permission(&self) -> bool {
        self.node.has_permission()
    }
    fn revalidate(&self, inode: &Inode) -> bool {
        let (uid, gid) = self.node.owner();
        inode.set_owner(uid, gid);
        inode.set_mode(self.node.mode());
        self.node.is_alive()
    }
    fn has_revalidate(&self) -> bool {
        self.node.may_vanish()
    }
    fn open(&self, inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOperations>> {
        if inode.is_dir() {
            return Ok(Arc::new(ProcDirFile {
                node: self.node.clone(),
            }));
        }
        self.node.open(flags)
    }
}

/// An open directory.
struct ProcDirFile {
    node: Arc<dyn ProcNode>,
}

impl FileOperations for ProcDirFile {
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        let target = match whence {
            SEEK_SET => Some(offset),
            SEEK_CUR => offset.checked_add(file.pos.load(Ordering::Relaxed) as i64),
            _ => None,
        };
        let target = target.ok_or(Errno::EINVAL)?;
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
        let from = file.pos.load(Ordering::Relaxed).max(FIRST_CHILD_POS);
        self.node.read_dir(from, &mut |name, ino, mode, next| {
            dir_emit(file, ctx, name, ino, mode_to_dtype(mode), next)
        })
    }
}
