//! Who may do what (Linux: fs/namei.c, `inode_permission` and its neighbours).
#![forbid(unsafe_code)]

use uapi::capability::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER};
use uapi::stat::{S_ISVTX, S_IXUGO};

use crate::fs::dcache::Dentry;
use crate::fs::inode::Inode;
use crate::kernel::cred::Cred;
use crate::prelude::*;

/// Execute a file, search a directory.
pub const MAY_EXEC: u32 = 1;
/// Write.
pub const MAY_WRITE: u32 = 2;
/// Read.
pub const MAY_READ: u32 = 4;

/// The checks that every file system without its own rules uses (Linux: `generic_permission`).
/// Errors: EACCES.
pub fn generic_permission(inode: &Inode, mask: u32, cred: &Cred) -> Result {
    let mode = inode.mode();
    let shift = if cred.fsuid == inode.uid() {
        6
    } else if mode & 0o070 != (mode & 0o007) << 3 && cred.in_group(inode.gid()) {
        3
    } else {
        0
    };
    if mask & !(mode >> shift) & 7 == 0 || capability_overrides(inode, mask, cred) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

fn capability_overrides(inode: &Inode, mask: u32, cred: &Cred) -> bool {
    let mask = mask & 7;
    let reads_only = if inode.is_dir() {
        mask & MAY_WRITE == 0
    } else {
        mask == MAY_READ
    };
    if reads_only && cred.has_cap(CAP_DAC_READ_SEARCH) {
        return true;
    }
    let executable = inode.is_dir() || mask & MAY_EXEC == 0 || inode.mode() & S_IXUGO != 0;
    executable && cred.has_cap(CAP_DAC_OVERRIDE)
}

/// Whether `cred` may use the inode as `mask` says (Linux: `inode_permission`).
/// Errors: EACCES; EROFS for writing to a file, directory or link of a read-only file system.
pub fn inode_permission(inode: &Inode, mask: u32, cred: &Cred) -> Result {
    if mask & MAY_WRITE != 0 && inode.sb.is_readonly() && !inode.is_special() {
        return Err(Errno::EROFS);
    }
    if inode.has_own_permission() {
        return inode.ops.permission(inode, mask, cred);
    }
    generic_permission(inode, mask, cred)
}

/// Whether `cred` may search the directory; nearly every directory lets everybody
/// (Linux: `may_lookup`).
#[inline]
pub fn may_lookup(inode: &Inode, cred: &Cred) -> Result {
    if inode.mode() & S_IXUGO == S_IXUGO && !inode.has_own_permission() {
        return Ok(());
    }
    inode_permission(inode, MAY_EXEC, cred)
}

/// Whether a name can be made in `dir` (Linux: `may_create`). Errors: ENOENT for a removed
/// directory, EACCES.
pub fn may_create(dir: &Inode, cred: &Cred) -> Result {
    if dir.is_dead() {
        return Err(Errno::ENOENT);
    }
    inode_permission(dir, MAY_WRITE | MAY_EXEC, cred)
}

/// In a sticky directory only the owners of the file and of the directory may remove the file
/// (Linux: `check_sticky`).
pub fn is_sticky_for(dir: &Inode, inode: &Inode, cred: &Cred) -> bool {
    dir.mode() & S_ISVTX != 0
        && inode.uid() != cred.fsuid
        && dir.uid() != cred.fsuid
        && !cred.has_cap(CAP_FOWNER)
}

/// What kind of thing is about to be removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// rmdir(2), or a directory that rename(2) replaces.
    Directory,
    /// unlink(2).
    Other,
}

/// Whether `victim` can be removed from `dir` (Linux: `may_delete`).
/// Errors: EACCES, EPERM (sticky), ENOTDIR, EISDIR, EBUSY (a root), ENOENT.
pub fn may_delete(dir: &Inode, victim: &Arc<Dentry>, kind: Victim, cred: &Cred) -> Result {
    inode_permission(dir, MAY_WRITE | MAY_EXEC, cred)?;
    if is_sticky_for(dir, &victim.inode, cred) {
        return Err(Errno::EPERM);
    }
    match (kind, victim.inode.is_dir()) {
        (Victim::Directory, false) => return Err(Errno::ENOTDIR),
        (Victim::Other, true) => return Err(Errno::EISDIR),
        _ => {}
    }
    if victim.is_root() {
        return Err(Errno::EBUSY);
    }
    if dir.is_dead() {
        return Err(Errno::ENOENT);
    }
    Ok(())
}
