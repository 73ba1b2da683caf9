//! Root, working directory and umask of a process (Linux: fs/fs_struct.c).
use crate::fs::namei::Path;
use crate::prelude::*;
/// Shared with CLONE_FS.
pub struct FsStruct {
    /// `/` of the process.
    pub root: SpinLock<Path>,
    /// Working directory.
    pub pwd: SpinLock<Path>,
    /// Bits that open and mkdir clear.
    pub umask: core::sync::atomic::AtomicU32,
}
