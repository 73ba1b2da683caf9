//! Who may look into another process (Linux: kernel/ptrace.c).
#![forbid(unsafe_code)]

use uapi::capability::CAP_SYS_PTRACE;

use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// Whether the running task may see what belongs to `task`: its memory, its open files (Linux:
/// `ptrace_may_access` with PTRACE_MODE_READ_FSCREDS). Errors: EPERM.
pub fn ptrace_may_access(task: &Task) -> Result {
    let me = current();
    if Arc::ptr_eq(&me.signal, &task.signal) || may_see(&me.cred(), &task.cred()) {
        return Ok(());
    }
    Err(Errno::EPERM)
}

/// The same user throughout and no more capabilities, or CAP_SYS_PTRACE.
fn may_see(reader: &Cred, target: &Cred) -> bool {
    let users = [target.uid, target.euid, target.suid];
    let groups = [target.gid, target.egid, target.sgid];
    let same_user =
        users.iter().all(|id| *id == reader.fsuid) && groups.iter().all(|id| *id == reader.fsgid);
    let stronger = target.cap_permitted & !reader.cap_effective != 0;
    same_user && !stronger || reader.has_cap(CAP_SYS_PTRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32) -> Cred {
        let mut cred = Cred::root();
        (cred.uid, cred.euid, cred.suid, cred.fsuid) = (id, id, id, id);
        (cred.gid, cred.egid, cred.sgid, cred.fsgid) = (id, id, id, id);
        (cred.cap_effective, cred.cap_permitted) = (0, 0);
        cred
    }

    #[test]
    fn only_the_same_user_and_root_may_look() {
        assert!(may_see(&user(1000), &user(1000)));
        assert!(!may_see(&user(1000), &user(1001)));
        assert!(!may_see(&user(1000), &Cred::root()));
        assert!(may_see(&Cred::root(), &user(1000)));
    }

    #[test]
    fn a_set_user_id_program_is_closed_to_its_caller() {
        let mut target = user(1000);
        (target.euid, target.suid, target.fsuid) = (0, 0, 0);
        assert!(!may_see(&user(1000), &target));
    }
}
