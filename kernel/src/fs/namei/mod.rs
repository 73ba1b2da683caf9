//! From names to files (Linux: fs/namei.c).
//!
//! * [`walk`]: the path walk itself
//! * [`permission`]: who may search, create and delete
//! * [`filename`]: names from user space, and where a walk starts
//! * [`create`], [`remove`], [`rename`]: the calls that change directories
#![forbid(unsafe_code)]

pub mod create;
pub mod filename;
pub mod permission;
pub mod remove;
pub mod rename;
pub mod walk;

use crate::fs::{dcache::Dentry, inode::Inode, mount::Mount};
use crate::prelude::*;

pub use filename::{Filename, WalkEnv, getname, getname_flags, start_at};
pub use permission::{MAY_EXEC, MAY_READ, MAY_WRITE, inode_permission};
pub use walk::{LastType, LookupFlags, Nameidata, lookup_one, path_lookup};

/// A place in the tree: a dentry seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mnt: Arc<Mount>,
    /// The name in its file system.
    pub dentry: Arc<Dentry>,
}

impl Path {
    /// What is there.
    #[inline]
    pub fn inode(&self) -> &Arc<Inode> {
        &self.dentry.inode
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mnt, &other.mnt)
    }
}
