//! Changing who a task acts as (Linux: kernel/sys.c, `__sys_setuid` and its family).
#![forbid(unsafe_code)]

use uapi::capability::{CAP_SETGID, CAP_SETUID};

use crate::kernel::cred::{Cred, commit_creds};
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::put_user;
use crate::prelude::*;

/// "Leave it" in the calls that take several ids.
const KEEP: u32 = u32::MAX;

/// Changes a copy of the credentials and makes it the task's.
fn change(f: impl FnOnce(&mut Cred) -> Result) -> Result {
    let mut cred = (*current().cred()).clone();
    let before = cred.clone();
    f(&mut cred)?;
    cred.fix_capabilities_after_setuid(&before);
    commit_creds(cred);
    Ok(())
}

fn check_id(id: u32) -> Result {
    if id == KEEP {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// getuid(2).
pub fn sys_getuid() -> Result<u32> {
    Ok(current().cred().uid)
}
/// geteuid(2).
pub fn sys_geteuid() -> Result<u32> {
    Ok(current().cred().euid)
}
/// getgid(2).
pub fn sys_getgid() -> Result<u32> {
    Ok(current().cred().gid)
}
/// getegid(2).
pub fn sys_getegid() -> Result<u32> {
    Ok(current().cred().egid)
}

/// setuid(2). Errors: EINVAL, EPERM.
pub fn sys_setuid(uid: u32) -> Result {
    check_id(uid)?;
    change(|cred| {
        if cred.has_cap(CAP_SETUID) {
            cred.uid = uid;
            cred.suid = uid;
        } else if uid != cred.uid && uid != cred.suid {
            return Err(Errno::EPERM);
        }
        cred.euid = uid;
        cred.fsuid = uid;
        Ok(())
    })
}

/// setgid(2). Errors: EINVAL, EPERM.
pub fn sys_setgid(gid: u32) -> Result {
    check_id(gid)?;
    change(|cred| {
        if cred.has_cap(CAP_SETGID) {
            cred.gid = gid;
            cred.sgid = gid;
        } else if gid != cred.gid && gid != cred.sgid {
            return Err(Errno::EPERM);
        }
        cred.egid = gid;
        cred.fsgid = gid;
        Ok(())
    })
}

/// setreuid(2). Errors: EPERM.
pub fn sys_setreuid(ruid: u32, euid: u32) -> Result {
    change(|cred| {
        let free = cred.has_cap(CAP_SETUID);
        let old = cred.uid;
        if ruid != KEEP {
            if !free && ruid != cred.uid && ruid != cred.euid {
                return Err(Errno::EPERM);
            }
            cred.uid = ruid;
        }
        if euid != KEEP {
            if !free && euid != old && euid != cred.euid && euid != cred.suid {
                return Err(Errno::EPERM);
            }
            cred.euid = euid;
        }
        if ruid != KEEP || euid != KEEP && euid != old {
            cred.suid = cred.euid;
        }
        cred.fsuid = cred.euid;
        Ok(())
    })
}

/// setregid(2). Errors: EPERM.
pub fn sys_setregid(rgid: u32, egid: u32) -> Result {
    change(|cred| {
        let free = cred.has_cap(CAP_SETGID);
        let old = cred.gid;
        if rgid != KEEP {
            if !free && rgid != cred.gid && rgid != cred.egid {
                return Err(Errno::EPERM);
            }
            cred.gid = rgid;
        }
        if egid != KEEP {
            if !free && egid != old && egid != cred.egid && egid != cred.sgid {
                return Err(Errno::EPERM);
            }
            cred.egid = egid;
        }
        if rgid != KEEP || egid != KEEP && egid != old {
            cred.sgid = cred.egid;
        }
        cred.fsgid = cred.egid;
        Ok(())
    })
}

/// setresuid(2). Errors: EPERM.
pub fn sys_setresuid(ruid: u32, euid: u32, suid: u32) -> Result {
    change(|cred| {
        let mine = [cred.uid, cred.euid, cred.suid];
        let allowed = cred.has_cap(CAP_SETUID)
            || [ruid, euid, suid]
                .iter()
                .all(|id| *id == KEEP || mine.contains(id));
        if !allowed {
            return Err(Errno::EPERM);
        }
        replace(&mut cred.uid, ruid);
        replace(&mut cred.euid, euid);
        replace(&mut cred.suid, suid);
        cred.fsuid = cred.euid;
        Ok(())
    })
}

/// setresgid(2). Errors: EPERM.
pub fn sys_setresgid(rgid: u32, egid: u32, sgid: u32) -> Result {
    change(|cred| {
        let mine = [cred.gid, cred.egid, cred.sgid];
        let allowed = cred.has_cap(CAP_SETGID)
            || [rgid, egid, sgid]
                .iter()
                .all(|id| *id == KEEP || mine.contains(id));
        if !allowed {
            return Err(Errno::EPERM);
        }
        replace(&mut cred.gid, rgid);
        replace(&mut cred.egid, egid);
        replace(&mut cred.sgid, sgid);
        cred.fsgid = cred.egid;
        Ok(())
    })
}

fn replace(id: &mut u32, new: u32) {
    if new != KEEP {
        *id = new;
    }
}

fn put_three(addresses: [UserAddr; 3], ids: [u32; 3]) -> Result {
    addresses
        .into_iter()
        .zip(ids)
        .try_for_each(|(address, id)| put_user(address, &id))
}

/// getresuid(2).
pub fn sys_getresuid(ruid: UserAddr, euid: UserAddr, suid: UserAddr) -> Result {
    let cred = current().cred();
    put_three([ruid, euid, suid], [cred.uid, cred.euid, cred.suid])
}

/// getresgid(2).
pub fn sys_getresgid(rgid: UserAddr, egid: UserAddr, sgid: UserAddr) -> Result {
    let cred = current().cred();
    put_three([rgid, egid, sgid], [cred.gid, cred.egid, cred.sgid])
}

/// setfsuid(2): returns the old one, whether it changed or not.
pub fn sys_setfsuid(uid: u32) -> Result<u32> {
    let cred = current().cred();
    let mine = [cred.uid, cred.euid, cred.suid, cred.fsuid];
    if uid != KEEP && (mine.contains(&uid) || cred.has_cap(CAP_SETUID)) {
        change(|new| {
            new.fsuid = uid;
            Ok(())
        })?;
    }
    Ok(cred.fsuid)
}

/// setfsgid(2): returns the old one.
pub fn sys_setfsgid(gid: u32) -> Result<u32> {
    let cred = current().cred();
    let mine = [cred.gid, cred.egid, cred.sgid, cred.fsgid];
    if gid != KEEP && (mine.contains(&gid) || cred.has_cap(CAP_SETGID)) {
        change(|new| {
            new.fsgid = gid;
            Ok(())
        })?;
    }
    Ok(cred.fsgid)
}
