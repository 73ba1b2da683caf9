//! Waiting for children (Linux: kernel/exit.c, from `do_wait` on).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::resource::Rusage;
use uapi::signal::{CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCHLD};
use uapi::wait::*;

use super::{add_to, is_last_thread, process_times, release_task};
use crate::kernel::pid::{self, TASKLIST};
use crate::kernel::sched::current;
use crate::kernel::sched::task::{EXIT_DEAD, EXIT_ZOMBIE, Pid, Task};
use crate::kernel::signal::{SigInfo, sigflags};
use crate::kernel::sys;
use crate::mm::UserAddr;
use crate::mm::uaccess::put_user;
use crate::prelude::*;

/// Which children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    All,
    Pid(Pid),
    Pgid(Pid),
}

/// A wait in progress (Linux: `struct wait_opts`).
pub(super) struct WaitOpts {
    pub(super) who: Who,
    pub(super) options: u32,
}

/// What was found: who, what happened (`CLD_*`), the wait status or the code that waitid(2)
/// reports, and what was used.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) pid: Pid,
    uid: u32,
    cause: i32,
    /// For wait4(2).
    pub(super) status: i32,
    /// For waitid(2): exit code or signal.
    code: i32,
    usage: sys::Usage,
}

/// The result of one look at all children.
enum Look {
    /// Something to report.
    Found(Found),
    /// There are children, but nothing happened to them.
    Nothing,
    /// There is nobody to wait for.
    NoChild,
}

impl WaitOpts {
    fn wants(&self, option: u32) -> bool {
        self.options & option != 0
    }

    /// Whether this is one of the children that the call is about (Linux: `eligible_child`).
    fn is_eligible(&self, child: &Task) -> bool {
        let matches = match self.who {
            Who::All => true,
            Who::Pid(pid) => child.pid() == pid,
            Who::Pgid(pgrp) => pid::task_pgrp(child) == pgrp,
        };
        matches && self.wants_kind(child.exit_signal.load(Ordering::Relaxed))
    }

    /// "Clone" children report with another signal than SIGCHLD, or none: `__WCLONE` asks for
    /// those only, `__WALL` for both.
    fn wants_kind(&self, exit_signal: i32) -> bool {
        let is_clone = exit_signal != SIGCHLD;
        self.wants(__WALL) || is_clone == self.wants(__WCLONE)
    }
}

/// Waits as long as it takes, or as WNOHANG says (Linux: `do_wait`). `None`: WNOHANG, and
/// nothing happened. Errors: ECHILD, ERESTARTSYS.
pub(super) fn do_wait(opts: &WaitOpts) -> Result<Option<Found>> {
    let me = current();
    let mut result = Err(Errno::ECHILD);
    me.signal.wait_chldexit.wait_event_interruptible(|| {
        let look = look_at_children(opts, me.as_task());
        result = match look {
            Look::Found(found) => Ok(Some(found)),
            Look::Nothing if opts.wants(WNOHANG) => Ok(None),
            Look::Nothing => return false,
            Look::NoChild => Err(Errno::ECHILD),
        };
        true
    })?;
    result
}

/// What a look at one child finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Dead,
    Stopped,
    Continued,
}

/// Looks at the children of every thread of the process, or with `__WNOTHREAD` of the caller.
fn look_at_children(opts: &WaitOpts, me: &Task) -> Look {
    loop {
        let (any, news) = find_news(opts, me);
        let found = match &news {
            Some((child, News::Dead)) => wait_task_zombie(opts, me, child),
            Some((child, News::Stopped)) => wait_task_stopped(opts, child),
            Some((child, News::Continued)) => wait_task_continued(opts, child),
            None if any => return Look::Nothing,
            None => return Look::NoChild,
        };
        if let Some(found) = found {
            return Look::Found(found);
        }
        // Another thread took it meanwhile: look again.
    }
}

/// Whether there are children that the call is about, and the first to which something happened.
fn find_news(opts: &WaitOpts, me: &Task) -> (bool, Option<(Arc<Task>, News)>) {
    let _tasklist = TASKLIST.read();
    let (any, news) = find_news_of_thread(opts, me);
    if news.is_some() || opts.wants(__WNOTHREAD) || is_last_thread(me) {
        return (any, news);
    }
    let mut any = any;
    for thread in me.signal.thread_list() {
        if !core::ptr::eq(&*thread, me) {
            let (here, news) = find_news_of_thread(opts, &thread);
            any |= here;
            if news.is_some() {
                return (any, news);
            }
        }
    }
    (any, None)
}

fn find_news_of_thread(opts: &WaitOpts, thread: &Task) -> (bool, Option<(Arc<Task>, News)>) {
    let mut any = false;
    let family = thread.family.lock();
    for child in family
        .children
        .iter()
        .filter(|child| opts.is_eligible(child))
    {
        let exit_state = child.exit_state.load(Ordering::Acquire);
        if exit_state == EXIT_DEAD {
            continue; // somebody has just taken it
        }
        any = true;
        if let Some(news) = news_of(opts, child, exit_state == EXIT_ZOMBIE) {
            return (true, Some((child.clone(), news)));
        }
    }
    (any, None)
}

/// Whether something happened to a child that the call wants to know (Linux:
/// `wait_consider_task`).
fn news_of(opts: &WaitOpts, child: &Task, zombie: bool) -> Option<News> {
    if zombie && is_last_thread(child) {
        return opts.wants(WEXITED).then_some(News::Dead);
    }
    let signal = &child.signal;
    let stopped = opts.wants(WUNTRACED)
        && signal.has_flag(sigflags::STOP_STOPPED)
        && signal.group_exit_code.load(Ordering::Relaxed) != 0;
    let continued = opts.wants(WCONTINUED) && signal.has_flag(sigflags::STOP_CONTINUED);
    match (stopped, continued) {
        (true, _) => Some(News::Stopped),
        (false, true) => Some(News::Continued),
        (false, false) => None,
    }
}

/// Takes the status of a dead child, and the child away unless WNOWAIT is given. `None` when
/// somebody else has taken it.
fn wait_task_zombie(opts: &WaitOpts, me: &Task, child: &Arc<Task>) -> Option<Found> {
    let signal = &child.signal;
    let status = if signal.has_flag(sigflags::GROUP_EXIT) {
        signal.group_exit_code.load(Ordering::Relaxed)
    } else {
        child.exit_code.load(Ordering::Relaxed) as i32
    };
    let (cause, code) = match status & 0x7f {
        0 => (CLD_EXITED, (status >> 8) & 0xff),
        signo if status & 0x80 != 0 => (CLD_DUMPED, signo),
        signo => (CLD_KILLED, signo),
    };
    let found = Found {
        pid: child.pid(),
        uid: child.cred().uid,
        cause,
        status,
        code,
        usage: usage_with_children(child),
    };
    if opts.wants(WNOWAIT) {
        return Some(found);
    }
    // Whoever moves it from zombie to dead takes it: two threads may be here at once.
    let taken = child.exit_state.compare_exchange(
        EXIT_ZOMBIE,
        EXIT_DEAD,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
    taken.ok()?;
    account_child(me, &found.usage);
    release_task(child);
    me.signal.ioac.add(&child.signal.ioac);
    Some(found)
}

/// What a process and the children it waited for have used.
fn usage_with_children(task: &Task) -> sys::Usage {
    let mut usage = sys::process_usage(task);
    let (utime, stime) = process_times(task);
    (usage.utime, usage.stime) = (utime, stime);
    sys::add_times(&task.signal.child_times, &mut usage);
    usage
}

fn account_child(me: &Task, usage: &sys::Usage) {
    let times = &me.signal.child_times;
    add_to(&times.utime, usage.utime);
    add_to(&times.stime, usage.stime);
    add_to(&times.min_flt, usage.min_flt);
    add_to(&times.maj_flt, usage.maj_flt);
    add_to(&times.nvcsw, usage.nvcsw);
    add_to(&times.nivcsw, usage.nivcsw);
    times.maxrss.fetch_max(usage.maxrss_kib, Ordering::Relaxed);
}

/// A child whose group is stopped and was not reported yet.
fn wait_task_stopped(opts: &WaitOpts, child: &Task) -> Option<Found> {
    let sighand = child.sighand.lock().clone();
    let _siglock = sighand.actions.lock();
    let signal = &child.signal;
    let signo = signal.group_exit_code.load(Ordering::Relaxed);
    if !signal.has_flag(sigflags::STOP_STOPPED) || signo == 0 {
        return None;
    }
    if !opts.wants(WNOWAIT) {
        signal.group_exit_code.store(0, Ordering::Relaxed);
    }
    Some(report(child, CLD_STOPPED, status_stopped(signo), signo))
}

/// A child that SIGCONT set going again.
fn wait_task_continued(opts: &WaitOpts, child: &Task) -> Option<Found> {
    let sighand = child.sighand.lock().clone();
    let _siglock = sighand.actions.lock();
    if !child.signal.has_flag(sigflags::STOP_CONTINUED) {
        return None;
    }
    if !opts.wants(WNOWAIT) {
        child
            .signal
            .flags
            .fetch_and(!sigflags::STOP_CONTINUED, Ordering::AcqRel);
    }
    Some(report(
        child,
        CLD_CONTINUED,
        STATUS_CONTINUED,
        uapi::signal::SIGCONT,
    ))
}

fn report(child: &Task, cause: i32, status: i32, code: i32) -> Found {
    Found {
        pid: child.pid(),
        uid: child.cred().uid,
        cause,
        status,
        code,
        usage: sys::process_usage(child),
    }
}

// --- system calls -----------------------------------------------------------------------------

/// The children that wait4(2) means by its first argument. Errors: ESRCH for `i32::MIN`.
fn who_of_wait4(upid: i32) -> Result<Who> {
    if upid == i32::MIN {
        return Err(Errno::ESRCH);
    }
    match upid {
        -1 => Ok(Who::All),
        0 => Ok(Who::Pgid(pid::task_pgrp(&current()))),
        ..=-2 => Ok(Who::Pgid(-upid)),
        1.. => Ok(Who::Pid(upid)),
    }
}

/// wait4(2): waits for a child to end (and, if asked, to stop or to continue); returns its
/// number, or 0 with WNOHANG when nothing happened. Errors: EINVAL, ECHILD, ESRCH, EFAULT,
/// ERESTARTSYS.
pub fn sys_wait4(upid: i32, stat_addr: UserAddr, options: u32, ru: UserAddr) -> Result<i32> {
    let known = WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL;
    if options & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let opts = WaitOpts {
        who: who_of_wait4(upid)?,
        options: options | WEXITED,
    };
    let Some(found) = do_wait(&opts)? else {
        return Ok(0);
    };
    if !stat_addr.is_null() {
        put_user(stat_addr, &found.status)?;
    }
    if !ru.is_null() {
        put_user(ru, &found.usage.to_rusage())?;
    }
    Ok(found.pid)
}

/// The children that waitid(2) means. Errors: EINVAL.
fn who_of_waitid(which: u32, upid: i32) -> Result<Who> {
    match (which, upid) {
        (P_ALL, _) => Ok(Who::All),
        (P_PID, 1..) => Ok(Who::Pid(upid)),
        (P_PGID, 0) => Ok(Who::Pgid(pid::task_pgrp(&current()))),
        (P_PGID, 1..) => Ok(Who::Pgid(upid)),
        _ => Err(Errno::EINVAL),
    }
}

/// waitid(2): waits for what the options name and tells it as a `siginfo`. Errors: EINVAL,
/// ECHILD, EFAULT, ERESTARTSYS.
pub fn sys_waitid(
    which: u32,
    upid: i32,
    infop: UserAddr,
    options: u32,
    ru: UserAddr,
) -> Result<i32> {
    let events = WEXITED | WSTOPPED | WCONTINUED;
    let known = WNOHANG | WNOWAIT | events | __WNOTHREAD | __WCLONE | __WALL;
    if options & !known != 0 || options & events == 0 {
        return Err(Errno::EINVAL);
    }
    let who = who_of_waitid(which, upid)?;
    let found = do_wait(&WaitOpts { who, options })?;
    if let Some(found) = &found
        && !ru.is_null()
    {
        let usage: Rusage = found.usage.to_rusage();
        put_user(ru, &usage)?;
    }
    if !infop.is_null() {
        let info = found.map_or_else(SigInfo::default, |found| {
            SigInfo::child(found.cause, found.pid, found.uid, found.code, 0, 0)
        });
        put_user(infop, &info)?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opts(who: Who, options: u32) -> WaitOpts {
        WaitOpts { who, options }
    }

    #[test]
    fn without_flags_only_children_that_report_with_sigchld_count() {
        let wait = opts(Who::All, WEXITED);
        assert!(wait.wants_kind(SIGCHLD));
        assert!(!wait.wants_kind(0));
        assert!(!wait.wants_kind(uapi::signal::SIGUSR1));
    }
    #[test]
    fn wclone_asks_for_the_others_and_wall_for_all() {
        let clones = opts(Who::All, WEXITED | __WCLONE);
        assert!(!clones.wants_kind(SIGCHLD));
        assert!(clones.wants_kind(0));
        let all = opts(Who::All, WEXITED | __WALL);
        assert!(all.wants_kind(SIGCHLD) && all.wants_kind(0));
    }
    #[test]
    fn wait4_reads_its_first_argument_as_posix_says() {
        assert_eq!(who_of_wait4(-1), Ok(Who::All));
        assert_eq!(who_of_wait4(7), Ok(Who::Pid(7)));
        assert_eq!(who_of_wait4(-7), Ok(Who::Pgid(7)));
        assert_eq!(who_of_wait4(i32::MIN), Err(Errno::ESRCH));
    }
    #[test]
    fn waitid_refuses_senseless_targets() {
        assert_eq!(who_of_waitid(P_PID, 0), Err(Errno::EINVAL));
        assert_eq!(who_of_waitid(P_PGID, -3), Err(Errno::EINVAL));
        assert_eq!(who_of_waitid(P_PIDFD, 3), Err(Errno::EINVAL));
        assert_eq!(who_of_waitid(P_PGID, 3), Ok(Who::Pgid(3)));
    }
}
