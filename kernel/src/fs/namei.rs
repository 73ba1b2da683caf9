//! Path walk (Linux: fs/namei.c).
use crate::fs::{dcache::Dentry, mount::Mount};
use crate::prelude::*;
/// A place in the tree: a dentry seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mnt: Arc<Mount>,
    /// The name in its file system.
    pub dentry: Arc<Dentry>,
}
