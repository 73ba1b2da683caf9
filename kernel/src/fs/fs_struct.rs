//! Root, working directory and umask of a process (Linux: fs/fs_struct.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use crate::fs::namei::Path;
use crate::prelude::*;

/// Shared with CLONE_FS.
pub struct FsStruct {
    /// `/` of the process.
    pub root: SpinLock<Path>,
    /// Working directory.
    pub pwd: SpinLock<Path>,
    /// Bits that open and mkdir clear.
    pub umask: AtomicU32,
}

impl FsStruct {
    /// Root and working directory at `root`, umask 022 (Linux: `init_fs`).
    pub fn new(root: Path) -> Self {
        Self {
            pwd: SpinLock::new(root.clone()),
            root: SpinLock::new(root),
            umask: AtomicU32::new(0o022),
        }
    }
    /// A copy for a new process (Linux: `copy_fs_struct`).
    pub fn dup(&self) -> Self {
        Self {
            root: SpinLock::new(self.root()),
            pwd: SpinLock::new(self.pwd()),
            umask: AtomicU32::new(self.umask()),
        }
    }
    /// `/` of the process.
    #[inline]
    pub fn root(&self) -> Path {
        self.root.lock().clone()
    }
    /// Working directory.
    #[inline]
    pub fn pwd(&self) -> Path {
        self.pwd.lock().clone()
    }
    /// Bits that creation clears.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }
    /// Sets the root directory; the old one is let go outside the lock.
    pub fn set_root(&self, path: Path) {
        let old = core::mem::replace(&mut *self.root.lock(), path);
        drop(old);
    }
    /// Sets the working directory.
    pub fn set_pwd(&self, path: Path) {
        let old = core::mem::replace(&mut *self.pwd.lock(), path);
        drop(old);
    }
    /// Exchanges `from` for `to` wherever it is root or working directory
    /// (Linux: `chroot_fs_refs`).
    pub fn replace(&self, from: &Path, to: &Path) {
        for slot in [&self.root, &self.pwd] {
            let old = {
                let mut path = slot.lock();
                (*path == *from).then(|| core::mem::replace(&mut *path, to.clone()))
            };
            drop(old);
        }
    }
}
