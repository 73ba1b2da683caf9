//! The list of file system types (Linux: fs/filesystems.c).
#![forbid(unsafe_code)]

use core::fmt::Write;

use crate::fs::superblock::{MountRequest, SuperBlock};
use crate::prelude::*;

/// A file system type (Linux: `struct file_system_type`).
pub struct FileSystemType {
    /// Name for mount(2).
    pub name: &'static str,
    /// Whether it needs a block device.
    pub requires_dev: bool,
    /// Makes or finds the super block, with one active reference for the caller.
    pub mount: fn(&'static FileSystemType, &MountRequest<'_>) -> Result<Arc<SuperBlock>>,
}

static FILE_SYSTEMS: SpinLock<Vec<&'static FileSystemType>> = SpinLock::new(Vec::new());

/// Makes a type known to mount(2). Errors: EBUSY when the name is taken.
pub fn register_filesystem(fs_type: &'static FileSystemType) -> Result {
    let mut list = FILE_SYSTEMS.lock();
    if list.iter().any(|known| known.name == fs_type.name) {
        return Err(Errno::EBUSY);
    }
    list.push(fs_type);
    Ok(())
}

/// The type called `name` (Linux: `get_fs_type`).
pub fn get_fs_type(name: &[u8]) -> Option<&'static FileSystemType> {
    FILE_SYSTEMS
        .lock()
        .iter()
        .find(|fs_type| fs_type.name.as_bytes() == name)
        .copied()
}

/// Names of the types that need a block device, in the order of their registration.
pub fn list_bdev_fs_names() -> Vec<&'static str> {
    let list = FILE_SYSTEMS.lock();
    let types = list.iter().filter(|fs_type| fs_type.requires_dev);
    types.map(|fs_type| fs_type.name).collect()
}

/// The text of /proc/filesystems.
pub fn filesystems_proc_show(out: &mut String) -> Result {
    let list = FILE_SYSTEMS.lock().clone();
    for fs_type in list {
        let nodev = if fs_type.requires_dev { "" } else { "nodev" };
        let _ = writeln!(out, "{nodev}\t{}", fs_type.name);
    }
    Ok(())
}
