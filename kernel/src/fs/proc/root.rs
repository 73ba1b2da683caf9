//! The root of /proc and its mounting (Linux: fs/proc/root.c).
#![forbid(unsafe_code)]

use uapi::magic::PROC_SUPER_MAGIC;

use super::generic::{FixedNode, proc_create_node, proc_mkdir, proc_root, proc_symlink};
use super::inode::{NodeEmit, ProcNode, proc_get_inode};
use super::proc_sysctl::SysDir;
use crate::fs::dcache::Dentry;
use crate::fs::filesystems::{FileSystemType, register_filesystem};
use crate::fs::superblock::{MountRequest, SuperBlock, SuperInit, SuperOperations};
use crate::prelude::*;

/// Directories whose children appear in the root next to the fixed entries: `self`, `thread-self`
/// and the processes. Their positions must be at or above this.
pub const DYNAMIC_POS: u64 = 1 << 32;

static DYNAMIC: SpinLock<Vec<Arc<dyn ProcNode>>> = SpinLock::new(Vec::new());

/// Adds a directory whose children appear in /proc itself.
pub fn proc_register_dynamic(directory: Arc<dyn ProcNode>) {
    DYNAMIC.lock().push(directory);
}

/// The root directory: fixed entries, then the dynamic ones.
struct RootNode {
    fixed: FixedNode,
}

impl ProcNode for RootNode {
    fn mode(&self) -> u32 {
        self.fixed.mode()
    }
    fn ino(&self) -> u64 {
        self.fixed.ino()
    }
    fn nlink(&self) -> u32 {
        self.fixed.nlink()
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        if let Some(node) = self.fixed.lookup(name)? {
            return Ok(Some(node));
        }
        let directories = DYNAMIC.lock().clone();
        for directory in directories {
            if let Some(node) = directory.lookup(name)? {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        let mut has_room = true;
        if from < DYNAMIC_POS {
            self.fixed.read_dir(from, &mut |name, ino, mode, next| {
                has_room = emit(name, ino, mode, next);
                has_room
            })?;
        }
        let directories = DYNAMIC.lock().clone();
        for directory in directories {
            if !has_room {
                break;
            }
            let from = from.max(DYNAMIC_POS);
            directory.read_dir(from, &mut |name, ino, mode, next| {
                has_room = emit(name, ino, mode, next);
                has_room
            })?;
        }
        Ok(())
    }
}

struct ProcSuper;
impl SuperOperations for ProcSuper {}

static PROC_FS: FileSystemType = FileSystemType {
    name: "proc",
    requires_dev: false,
    mount: |_, request| {
        check_options(request)?;
        let sb = proc_sb()?;
        sb.activate();
        Ok(sb.clone())
    },
};

/// The file system type.
#[cfg(test)]
pub fn proc_fs() -> &'static FileSystemType {
    &PROC_FS
}

/// Options of proc change nothing here, but must be known. Errors: EINVAL.
fn check_options(request: &MountRequest<'_>) -> Result {
    let known = ["hidepid", "gid", "subset"];
    let options = request.data.split(',').filter(|option| !option.is_empty());
    for option in options {
        let key = option.split('=').next().unwrap_or("");
        if !known.contains(&key) {
            pr_err!("proc: Unknown parameter '{key}'");
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

/// The one super block; the kernel keeps it active for ever.
fn proc_sb() -> Result<&'static Arc<SuperBlock>> {
    static SB: spin::Once<Arc<SuperBlock>> = spin::Once::new();
    Ok(SB.call_once(|| {
        let init = SuperInit {
            fs_type: &PROC_FS,
            magic: PROC_SUPER_MAGIC,
            pinned: false,
            flags: 0,
        };
        let sb = SuperBlock::new(init, Box::new(ProcSuper));
        let node = RootNode {
            fixed: FixedNode(proc_root().clone()),
        };
        sb.set_root(Dentry::new_root(proc_get_inode(&sb, Box::new(node))));
        sb
    }))
}

/// Forgets cached names of a removed entry.
pub(super) fn forget_entry(ino: u64) {
    if let Ok(sb) = proc_sb() {
        sb.lru_prune(|dentry| dentry.inode.ino == ino);
    }
}

/// Makes proc mountable, with its directories
/// (Linux: `proc_root_init`).
#[__init]
pub fn proc_root_init() {
    let result = register_filesystem(&PROC_FS)
        .and_then(|()| proc_symlink("mounts", "self/mounts"))
        .and_then(|()| proc_symlink("net", "self/net"))
        .and_then(|()| proc_create_node("sys", |ino| Box::new(SysDir::root(ino))));
    let directories = ["fs", "driver", "bus", "tty"];
    let made = directories.iter().all(|path| proc_mkdir(path).is_ok());
    if result.is_err() || !made {
        pr_err!("proc: cannot make its first entries");
    }
}
