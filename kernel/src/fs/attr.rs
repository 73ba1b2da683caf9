//! Changing attributes: chmod, chown, utimes, truncate (Linux: fs/attr.c).
#![forbid(unsafe_code)]

use uapi::capability::{CAP_CHOWN, CAP_FOWNER, CAP_FSETID};
use uapi::stat::{S_ISGID, S_ISUID, S_IXGRP};

use crate::fs::inode::{Inode, current_time};
use crate::kernel::cred::Cred;
use crate::prelude::*;

bitflags::bitflags! {
    /// Which attributes change (Linux: `ATTR_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct AttrValid: u32 {
        /// Permission bits.
        const MODE = 1;
        /// Owner.
        const UID = 2;
        /// Group.
        const GID = 4;
        /// Size.
        const SIZE = 8;
        /// Time of the last access, now or `ATIME_SET`.
        const ATIME = 16;
        /// Time of the last change.
        const MTIME = 32;
        /// To a given time: the owner's privilege.
        const ATIME_SET = 64;
        /// To a given time: the owner's privilege.
        const MTIME_SET = 128;
        /// Clears the set-user-id and set-group-id bits as chown(2) and write(2) do.
        const KILL_PRIV = 256;
    }
}

/// A change of attributes (Linux: `struct iattr`).
#[derive(Clone, Copy)]
pub struct Attr {
    /// The fields that count.
    pub valid: AttrValid,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// ns since 1970.
    pub atime: i64,
    /// ns since 1970.
    pub mtime: i64,
}

impl Attr {
    /// Changes what `valid` says, to zero until the fields are set.
    pub fn new(valid: AttrValid) -> Self {
        Self {
            valid,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            atime: 0,
            mtime: 0,
        }
    }
}

/// Whether the caller owns the inode or may act as if (Linux: `inode_owner_or_capable`).
pub fn inode_owner_or_capable(inode: &Inode, cred: &Cred) -> bool {
    cred.fsuid == inode.uid() || cred.has_cap(CAP_FOWNER)
}

/// Checks whether `cred` may make the change, and adjusts the new mode (Linux:
/// `setattr_prepare`). Errors: EPERM.
pub fn setattr_prepare(inode: &Inode, attr: &mut Attr, cred: &Cred) -> Result {
    if attr.valid.contains(AttrValid::UID) && !chown_ok(inode, attr.uid, cred) {
        return Err(Errno::EPERM);
    }
    if attr.valid.contains(AttrValid::GID) && !chgrp_ok(inode, attr.gid, cred) {
        return Err(Errno::EPERM);
    }
    let owner_only = AttrValid::MODE | AttrValid::ATIME_SET | AttrValid::MTIME_SET;
    if attr.valid.intersects(owner_only) && !inode_owner_or_capable(inode, cred) {
        return Err(Errno::EPERM);
    }
    if attr.valid.contains(AttrValid::KILL_PRIV) && !attr.valid.contains(AttrValid::MODE) {
        kill_priv(inode, attr);
    }
    Ok(())
}

fn chown_ok(inode: &Inode, uid: u32, cred: &Cred) -> bool {
    cred.fsuid == inode.uid() && uid == inode.uid() || cred.has_cap(CAP_CHOWN)
}

fn chgrp_ok(inode: &Inode, gid: u32, cred: &Cred) -> bool {
    let own_group = gid == inode.gid() || cred.in_group(gid);
    cred.fsuid == inode.uid() && own_group || cred.has_cap(CAP_CHOWN)
}

/// The mode without the bits that a write or a change of owner takes away
/// (Linux: `should_remove_suid`): set-group-id without group execution marks mandatory locks.
pub fn mode_without_suid(mode: u32) -> u32 {
    let kill = if mode & S_IXGRP != 0 {
        S_ISUID | S_ISGID
    } else {
        S_ISUID
    };
    mode & !kill
}

fn kill_priv(inode: &Inode, attr: &mut Attr) {
    let mode = inode.mode();
    let killed = mode_without_suid(mode);
    if !inode.is_dir() && killed != mode {
        attr.valid |= AttrValid::MODE;
        attr.mode = killed;
    }
}

/// A write by somebody without CAP_FSETID takes the set-id bits away (Linux: `file_remove_privs`).
/// Context: the inode's lock is held.
pub fn file_remove_privs(inode: &Inode, cred: &Cred) {
    let mode = inode.mode();
    if mode & (S_ISUID | S_ISGID) != 0 && inode.is_reg() && !cred.has_cap(CAP_FSETID) {
        inode.set_mode(mode_without_suid(mode));
    }
}

/// Stores the checked attributes (Linux: `setattr_copy`). The size is the file system's matter.
pub fn setattr_copy(inode: &Inode, attr: &Attr, cred: &Cred) {
    let valid = attr.valid;
    if valid.intersects(AttrValid::UID | AttrValid::GID) {
        let pick = |flag, new, old| if valid.contains(flag) { new } else { old };
        inode.set_owner(
            pick(AttrValid::UID, attr.uid, inode.uid()),
            pick(AttrValid::GID, attr.gid, inode.gid()),
        );
    }
    if valid.contains(AttrValid::MODE) {
        let mut mode = attr.mode;
        if !cred.in_group(inode.gid()) && !cred.has_cap(CAP_FSETID) {
            mode &= !S_ISGID;
        }
        inode.set_mode(mode);
    }
    let now = current_time();
    if valid.contains(AttrValid::ATIME) {
        let set = valid.contains(AttrValid::ATIME_SET);
        inode.set_atime(if set { attr.atime } else { now });
    }
    if valid.contains(AttrValid::MTIME) {
        let set = valid.contains(AttrValid::MTIME_SET);
        inode.set_mtime(if set { attr.mtime } else { now });
    }
    inode.set_ctime(now);
}
