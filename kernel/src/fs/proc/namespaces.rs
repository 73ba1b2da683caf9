//! Namespaces of a process: /proc/PID/ns (Linux: fs/proc/namespaces.c, fs/nsfs.c).
//!
//! There is one namespace of each kind, the initial one, with the number that Linux gives it.
#![forbid(unsafe_code)]

use uapi::magic::NSFS_MAGIC;
use uapi::stat::*;

use super::base::{Group, NodeBase, PidBody};
use super::inode::{NodeEmit, ProcNode};
use crate::fs::dcache::Dentry;
use crate::fs::file::FileOperations;
use crate::fs::filesystems::FileSystemType;
use crate::fs::inode::{Inode, InodeInit, InodeOperations, ilookup, insert_inode_hash};
use crate::fs::libfs::{PseudoFs, pseudo_mount};
use crate::fs::mount::Mount;
use crate::fs::namei::Path;
use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// A kind of namespace.
struct Namespace {
    /// Name of the link.
    name: &'static str,
    /// Kind in the link's text.
    kind: &'static str,
    /// Inode number of the initial one (Linux: include/linux/proc_ns.h; `net` and `mnt` get the
    /// first numbers that are given out).
    ino: u64,
}

const fn ns(name: &'static str, kind: &'static str, ino: u64) -> Namespace {
    Namespace { name, kind, ino }
}

static NAMESPACES: &[Namespace] = &[
    ns("net", "net", 0xf000_0000),
    ns("uts", "uts", 0xefff_fffe),
    ns("ipc", "ipc", 0xefff_ffff),
    ns("pid", "pid", 0xefff_fffc),
    ns("pid_for_children", "pid", 0xefff_fffc),
    ns("user", "user", 0xefff_fffd),
    ns("mnt", "mnt", 0xf000_0001),
    ns("cgroup", "cgroup", 0xefff_fffb),
    ns("time", "time", 0xefff_fffa),
    ns("time_for_children", "time", 0xefff_fffa),
];

static NSFS: FileSystemType = FileSystemType {
    name: "nsfs",
    requires_dev: false,
    mount: |_, _| Err(Errno::EINVAL),
};

fn nsfs_mount() -> &'static Arc<Mount> {
    static MOUNT: spin::Once<Arc<Mount>> = spin::Once::new();
    MOUNT.call_once(|| {
        pseudo_mount(PseudoFs {
            fs_type: &NSFS,
            magic: NSFS_MAGIC,
            dname: |dentry| {
                let kind = dentry.name();
                format!("{}:[{}]", String::from_utf8_lossy(&kind), dentry.inode.ino)
            },
        })
    })
}

/// The file that a namespace is; opening it keeps nothing but the name of the namespace.
struct NsInode;
struct NsFile;

impl InodeOperations for NsInode {
    fn open(&self, _inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(NsFile))
    }
}

impl FileOperations for NsFile {}

/// The place of a namespace's file (Linux: `ns_get_path`).
fn ns_path(namespace: &Namespace) -> Path {
    let mnt = nsfs_mount();
    let inode = ilookup(&mnt.sb, namespace.ino).unwrap_or_else(|| {
        let init = InodeInit::new(S_IFREG | 0o444);
        let inode = Inode::new(&mnt.sb, namespace.ino, Box::new(NsInode), init);
        insert_inode_hash(&inode);
        inode
    });
    Path {
        mnt: mnt.clone(),
        dentry: Dentry::new_anonymous(inode, namespace.kind.as_bytes()),
    }
}

/// /proc/PID/ns.
pub struct NsDir;

impl PidBody for NsDir {
    fn lookup(&self, base: &NodeBase, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        let named = |(_, ns): &(u64, &Namespace)| ns.name.as_bytes() == name;
        let found = (0..).zip(NAMESPACES).find(named);
        Ok(found.map(|(index, namespace)| {
            let ino = base.ino_of(Group::Ns, index);
            base.node(S_IFLNK | 0o777, ino, NsLink(namespace))
        }))
    }
    fn read_dir(&self, base: &NodeBase, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        for (index, namespace) in (0..).zip(NAMESPACES) {
            let (position, ino) = (index + 2, base.ino_of(Group::Ns, index));
            let name = namespace.name.as_bytes();
            if position >= from && !emit(name, ino, S_IFLNK | 0o777, position + 1) {
                break;
            }
        }
        Ok(())
    }
}

/// /proc/PID/ns/KIND.
struct NsLink(&'static Namespace);

impl PidBody for NsLink {
    fn link(&self, _task: &Arc<Task>) -> Result<Path> {
        Ok(ns_path(self.0))
    }
}
