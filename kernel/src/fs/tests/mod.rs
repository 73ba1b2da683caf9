//! Tests of the VFS: each has a root file system of its own and runs as pid 1.

mod dirs;
mod files;
mod mounts;
mod pipes;
mod polling;
mod proc;
mod storm;
mod walks;

use uapi::fcntl::*;

use super::fdtable::FilesStruct;
use super::file::File;
use super::fs_struct::FsStruct;
use super::mount::MntNamespace;
use super::namei::create::*;
use super::namei::remove::*;
use super::namei::rename::do_renameat2;
use super::namei::{LookupFlags, Path, WalkEnv, path_lookup};
use super::namespace::{MountArgs, new_namespace, path_mount, path_umount};
use super::open::{OpenFlags, do_filp_open};
use super::stat::{Kstat, vfs_getattr};
use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::kernel::sched::tests::as_pid_1;
use crate::prelude::*;

/// A root file system, and who looks at it.
pub struct World {
    pub env: WalkEnv,
    pub files: Arc<FilesStruct>,
    pub ns: Arc<MntNamespace>,
}

/// Runs `body` as pid 1 with an empty root file system and no open files.
pub fn in_world<R: Send + 'static>(body: impl FnOnce(&World) -> R + Send + 'static) -> R {
    as_pid_1(move || {
        let world = World::new();
        let task = current();
        *task.fs.lock() = Some(world.env.fs.clone());
        *task.files.lock() = Some(world.files.clone());
        let result = body(&world);
        let files = task.files.lock().take();
        drop(files);
        result
    })
}

/// A user without privileges.
pub fn user(uid: u32) -> Cred {
    let mut cred = Cred::root();
    (cred.uid, cred.euid, cred.suid, cred.fsuid) = (uid, uid, uid, uid);
    (cred.gid, cred.egid, cred.sgid, cred.fsgid) = (uid, uid, uid, uid);
    (cred.cap_effective, cred.cap_permitted) = (0, 0);
    cred
}

impl World {
    fn new() -> Self {
        let (ns, root) = new_namespace(&crate::mm::shmem::ROOTFS).expect("a root file system");
        let fs = FsStruct::new(root);
        fs.umask.store(0, core::sync::atomic::Ordering::Relaxed);
        Self {
            env: WalkEnv {
                fs: Arc::new(fs),
                cred: Arc::new(Cred::root()),
            },
            files: Arc::new(FilesStruct::new()),
            ns,
        }
    }
    /// The same world seen by another user.
    pub fn by(&self, cred: Cred) -> World {
        World {
            env: WalkEnv {
                fs: self.env.fs.clone(),
                cred: Arc::new(cred),
            },
            files: self.files.clone(),
            ns: self.ns.clone(),
        }
    }
    pub fn walk(&self, path: &str) -> Result<Path> {
        path_lookup(&self.env, None, path.as_bytes(), LookupFlags::FOLLOW)
    }
    pub fn lwalk(&self, path: &str) -> Result<Path> {
        path_lookup(&self.env, None, path.as_bytes(), LookupFlags::empty())
    }
    pub fn stat(&self, path: &str) -> Result<Kstat> {
        Ok(vfs_getattr(self.walk(path)?.inode()))
    }
    pub fn mkdir(&self, path: &str) -> Result {
        do_mkdirat(&self.env, None, path.as_bytes(), 0o755).map(drop)
    }
    pub fn symlink(&self, target: &str, path: &str) -> Result {
        do_symlinkat(&self.env, target.as_bytes(), None, path.as_bytes()).map(drop)
    }
    pub fn link(&self, old: &str, new: &str) -> Result {
        let old = self.lwalk(old)?;
        do_linkat(&self.env, &old, None, new.as_bytes()).map(drop)
    }
    pub fn unlink(&self, path: &str) -> Result {
        do_unlinkat(&self.env, None, path.as_bytes())
    }
    pub fn rmdir(&self, path: &str) -> Result {
        do_rmdir(&self.env, None, path.as_bytes())
    }
    pub fn rename(&self, old: &str, new: &str) -> Result {
        self.rename2(old, new, 0)
    }
    pub fn rename2(&self, old: &str, new: &str, flags: u32) -> Result {
        do_renameat2(
            &self.env,
            (None, old.as_bytes()),
            (None, new.as_bytes()),
            flags,
        )
    }
    pub fn open(&self, path: &str, flags: u32) -> Result<Arc<File>> {
        let how = OpenFlags::new(flags | O_LARGEFILE, 0o644)?;
        do_filp_open(&self.env, None, path.as_bytes(), &how)
    }
    /// Creates or overwrites a file.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result {
        let file = self.open(path, O_WRONLY | O_CREAT | O_TRUNC)?;
        assert_eq!(file.kernel_write(bytes, &mut 0)?, bytes.len());
        Ok(())
    }
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        read_all(&*self.open(path, O_RDONLY)?)
    }
    pub fn mount(&self, source: &str, path: &str, fs_type: &str, flags: u64, data: &str) -> Result {
        let args = MountArgs {
            source: Some(source.as_bytes()),
            fs_type: Some(fs_type.as_bytes()),
            flags,
            data,
        };
        crate::mm::shmem::shmem_init();
        path_mount(&self.env, &self.walk(path)?, &args)
    }
    pub fn umount(&self, path: &str, flags: u32) -> Result {
        path_umount(&self.env, self.walk(path)?, flags)
    }
}

/// Everything from the start of a file.
pub fn read_all(file: &File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut pos = 0;
    loop {
        let mut piece = [0; 1000];
        match file.kernel_read(&mut piece, &mut pos)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
