//! capget(2) and capset(2) (Linux: kernel/capability.c).
#![forbid(unsafe_code)]

use crate::kernel::cred::commit_creds;
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// Words of each set for a version of the interface. A version that nobody knows gets the
/// newest one written back. Errors: EINVAL, EFAULT.
fn words_of_version(header: UserAddr) -> Result<u64> {
    match get_user::<u32>(header)? {
        VERSION_1 => Ok(1),
        VERSION_2 | VERSION_3 => Ok(2),
        _ => {
            put_user(header, &VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}

/// capget(2). With a null `data` an unknown version is only a question. Errors: EINVAL, ESRCH,
/// EFAULT.
pub fn sys_capget(header: UserAddr, data: UserAddr) -> Result {
    let words = match words_of_version(header) {
        Err(Errno::EINVAL) if data.is_null() => return Ok(()),
        words => words?,
    };
    let pid: i32 = get_user(header + 4)?;
    let task = match pid {
        0 => current().to_arc(),
        pid if pid < 0 => return Err(Errno::EINVAL),
        pid => pid::find_task(pid).ok_or(Errno::ESRCH)?,
    };
    if data.is_null() {
        return Ok(());
    }
    let cred = task.cred();
    let sets = [cred.cap_effective, cred.cap_permitted, cred.cap_inheritable];
    for word in 0..words {
        let row: [u32; 3] = sets.map(|set| (set >> (32 * word)) as u32);
        put_user(data + word * 12, &row)?;
    }
    Ok(())
}

/// capset(2), of the running task only. Errors: EINVAL, EPERM, EFAULT.
pub fn sys_capset(header: UserAddr, data: UserAddr) -> Result {
    let words = words_of_version(header)?;
    let pid: i32 = get_user(header + 4)?;
    if pid != 0 && pid != current().pid() {
        return Err(Errno::EPERM);
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        let row: [u32; 3] = get_user(data + word * 12)?;
        for (set, bits) in sets.iter_mut().zip(row) {
            *set |= u64::from(bits) << (32 * word);
        }
    }
    let mut new = (*current().cred()).clone();
    let [effective, permitted, inheritable] = sets.map(|set| set & ((1 << 41) - 1));
    let may_inherit = new.cap_inheritable | new.cap_permitted;
    if permitted & !new.cap_permitted != 0
        || effective & !permitted != 0
        || inheritable & !may_inherit != 0
    {
        return Err(Errno::EPERM);
    }
    (new.cap_effective, new.cap_permitted, new.cap_inheritable) =
        (effective, permitted, inheritable);
    commit_creds(new);
    Ok(())
}
