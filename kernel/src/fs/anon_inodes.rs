//! Files that are nothing but an object of the kernel: eventfd, epoll (Linux: fs/anon_inodes.c).
#![forbid(unsafe_code)]

use uapi::resource::RLIMIT_NOFILE;

use crate::fs::dcache::Dentry;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations, current_files};
use crate::fs::filesystems::FileSystemType;
use crate::fs::inode::{Inode, InodeInit, InodeOperations};
use crate::fs::libfs::{PseudoFs, pseudo_mount};
use crate::fs::mount::Mount;
use crate::fs::namei::Path;
use crate::fs::rlimit::rlimit;
use crate::prelude::*;

static ANON_INODE_FS: FileSystemType = FileSystemType {
    name: "anon_inodefs",
    requires_dev: false,
    mount: |_, _| Err(Errno::EINVAL),
};

struct AnonInode;
impl InodeOperations for AnonInode {}

/// The mount, and the one inode that all these files share.
fn anon() -> &'static (Arc<Mount>, Arc<Inode>) {
    static ANON: spin::Once<(Arc<Mount>, Arc<Inode>)> = spin::Once::new();
    ANON.call_once(|| {
        let mnt = pseudo_mount(PseudoFs {
            fs_type: &ANON_INODE_FS,
            magic: uapi::magic::ANON_INODE_FS_MAGIC,
            dname: |dentry| {
                let name = dentry.name();
                format!("anon_inode:{}", String::from_utf8_lossy(&name))
            },
        });
        let init = InodeInit::new(0o600);
        let inode = Inode::new(&mnt.sb, mnt.sb.next_ino(), Box::new(AnonInode), init);
        (mnt, inode)
    })
}

/// An open file for `ops`; `name` shows in /proc/PID/fd, such as `[eventfd]`
/// (Linux: `anon_inode_getfile`). Errors: ENFILE.
pub fn anon_inode_getfile(
    name: &str,
    ops: Arc<dyn FileOperations>,
    flags: u32,
) -> Result<Arc<File>> {
    let (mnt, inode) = anon();
    let path = Path {
        mnt: mnt.clone(),
        dentry: Dentry::new_anonymous(inode.clone(), name.as_bytes()),
    };
    File::new_pseudo(path, flags, ops)
}

/// Gives such a file the lowest descriptor (Linux: `anon_inode_getfd`). Errors: EMFILE, ENFILE.
pub fn anon_inode_getfd(
    name: &str,
    ops: Arc<dyn FileOperations>,
    flags: u32,
    on_exec: OnExec,
) -> Result<u32> {
    let file = anon_inode_getfile(name, ops, flags)?;
    current_files()?.install(file, rlimit(RLIMIT_NOFILE), on_exec)
}
