//! Supplementary groups (Linux: kernel/groups.c).
#![forbid(unsafe_code)]

use uapi::capability::CAP_SETGID;

use crate::kernel::cred::commit_creds;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, copy_to_user};
use crate::prelude::*;

/// Most groups of a task.
const NGROUPS_MAX: usize = 65536;

/// getgroups(2): the number, or with a size of 0 only that. Errors: EINVAL, EFAULT.
pub fn sys_getgroups(size: i32, list: UserAddr) -> Result<usize> {
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    let groups = current().cred().groups.clone();
    if size == 0 {
        return Ok(groups.len());
    }
    if groups.len() > size {
        return Err(Errno::EINVAL);
    }
    let bytes: Vec<u8> = groups.iter().flat_map(|gid| gid.to_le_bytes()).collect();
    copy_to_user(list, &bytes)?;
    Ok(groups.len())
}

/// setgroups(2). Errors: EPERM, EINVAL, ENOMEM, EFAULT.
pub fn sys_setgroups(size: i32, list: UserAddr) -> Result {
    let cred = current().cred();
    if !cred.has_cap(CAP_SETGID) {
        return Err(Errno::EPERM);
    }
    let size = usize::try_from(size)
        .ok()
        .filter(|n| *n <= NGROUPS_MAX)
        .ok_or(Errno::EINVAL)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size * 4)
        .map_err(|_| Errno::ENOMEM)?;
    bytes.resize(size * 4, 0);
    copy_from_user(&mut bytes, list)?;
    let mut groups: Vec<u32> = bytes
        .chunks_exact(4)
        .map(|gid| u32::from_le_bytes([gid[0], gid[1], gid[2], gid[3]]))
        .collect();
    groups.sort_unstable();
    let mut new = (*cred).clone();
    new.groups = Arc::from(groups);
    commit_creds(new);
    Ok(())
}
