//! System calls that send signals (Linux: kernel/signal.c).

use super::*;
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::get_user;

const CAP_KILL: u32 = 5;

/// Whether the running task may signal `task` (Linux: `check_kill_permission`). Errors: EPERM.
fn check_kill_permission(sig: i32, info: &SigInfo, task: &Arc<Task>) -> Result {
    if info.si_code > 0 {
        return Ok(());
    }
    let me = current().cred();
    let other = task.cred();
    let same_user = [me.euid, me.uid]
        .iter()
        .any(|id| *id == other.suid || *id == other.uid);
    let same_session = sig == SIGCONT && task.signal.session() == current().signal.session();
    if same_user || same_session || me.has_cap(CAP_KILL) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn check_signal_number(sig: i32) -> Result {
    if (0..=_NSIG).contains(&sig) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Permission and, unless `sig` is 0, the signal itself.
fn send_checked(info: &SigInfo, task: &Arc<Task>, target: Target) -> Result {
    let sig = info.si_signo;
    check_kill_permission(sig, info, task)?;
    if sig == 0 {
        Ok(())
    } else {
        send_signal(info, task, target)
    }
}

fn user_info(sig: i32, code: i32) -> SigInfo {
    SigInfo::kill(sig, code, current().tgid(), current().cred().uid)
}

/// kill(2). Errors: EINVAL, EPERM, ESRCH.
pub fn sys_kill(pid: i32, sig: i32) -> Result {
    check_signal_number(sig)?;
    let info = user_info(sig, SI_USER);
    match pid {
        1.. => {
            let task = pid::find_task(pid).ok_or(Errno::ESRCH)?;
            send_checked(&info, &task, Target::Group)
        }
        0 => kill_group(&info, current().signal.pgrp()),
        -1 => kill_everybody(&info),
        i32::MIN => Err(Errno::ESRCH),
        group => kill_group(&info, -group),
    }
}

fn kill_group(info: &SigInfo, pgrp: Pid) -> Result {
    kill_each(info, pid::processes_of_group(pgrp))
}

/// kill(-1, ..): everybody but pid 1 and the sender.
fn kill_everybody(info: &SigInfo) -> Result {
    let me = current().tgid();
    let others: Vec<_> = pid::all_processes()
        .into_iter()
        .filter(|p| p.tgid() > 1 && p.tgid() != me)
        .collect();
    kill_each(info, others)
}

/// Succeeds when one succeeds; otherwise the last error, or ESRCH for nobody.
fn kill_each(info: &SigInfo, tasks: Vec<Arc<Task>>) -> Result {
    let mut result = Err(Errno::ESRCH);
    for task in tasks {
        let one = send_checked(info, &task, Target::Group);
        if result.is_err() {
            result = one;
        }
    }
    result
}

/// Sends to a thread, whose group must be `tgid` if that is given. Errors: ESRCH, EPERM.
fn do_tkill(tgid: Option<Pid>, tid: Pid, info: &SigInfo) -> Result {
    let task = pid::find_task(tid).ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| tgid != task.tgid()) {
        return Err(Errno::ESRCH);
    }
    send_checked(info, &task, Target::Thread)
}

/// tgkill(2).
pub fn sys_tgkill(tgid: i32, tid: i32, sig: i32) -> Result {
    check_signal_number(sig)?;
    if tgid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    do_tkill(Some(tgid), tid, &user_info(sig, SI_TKILL))
}

/// tkill(2).
pub fn sys_tkill(tid: i32, sig: i32) -> Result {
    check_signal_number(sig)?;
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    do_tkill(None, tid, &user_info(sig, SI_TKILL))
}

/// Details from user space: nobody may pretend to be the kernel or kill(2) towards others.
fn queued_info(sig: i32, info: UserAddr, target: Pid) -> Result<SigInfo> {
    check_signal_number(sig)?;
    let mut info: SigInfo = get_user(info)?;
    info.si_signo = sig;
    let forged = info.si_code >= 0 || info.si_code == SI_TKILL;
    if forged && target != current().tgid() {
        Err(Errno::EPERM)
    } else {
        Ok(info)
    }
}

/// rt_sigqueueinfo(2).
pub fn sys_rt_sigqueueinfo(pid: i32, sig: i32, info: UserAddr) -> Result {
    let info = queued_info(sig, info, pid)?;
    let task = pid::find_task(pid).ok_or(Errno::ESRCH)?;
    send_checked(&info, &task, Target::Group)
}

/// rt_tgsigqueueinfo(2).
pub fn sys_rt_tgsigqueueinfo(tgid: i32, tid: i32, sig: i32, info: UserAddr) -> Result {
    if tgid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = queued_info(sig, info, tgid)?;
    do_tkill(Some(tgid), tid, &info)
}

/// Signals queued for a task's user are counted per process here (/proc/PID/status, SigQ).
pub fn queued_signals(task: &Task) -> usize {
    let own = task.pending.lock().queued();
    own + task.signal.shared_pending.lock().queued()
}

/// Sets handled, ignored and caught signals apart (/proc/PID/status).
pub fn action_sets(task: &Task) -> (u64, u64) {
    let sighand = task.sighand.lock().clone();
    let actions = sighand.actions.lock();
    let mut ignored = 0;
    let mut caught = 0;
    for (index, action) in actions.iter().enumerate() {
        match action.handler {
            SIG_IGN => ignored |= 1 << index,
            SIG_DFL => {}
            _ => caught |= 1 << index,
        }
    }
    (ignored, caught)
}
