//! The end of tasks, and who takes notice (Linux: kernel/exit.c).
//!
//! `do_exit` gives up what the task holds piece by piece, hands its children to another parent,
//! becomes a zombie and tells its parent; the parent's wait4(2) takes the status and releases
//! what is left. The wait half is in `exit/wait.rs`.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;
mod wait;

pub use wait::{sys_wait4, sys_waitid};

use core::sync::atomic::{AtomicU64, Ordering};

use uapi::signal::*;
use uapi::wait::status_exited;

use crate::arch;
use crate::drivers::tty;
use crate::kernel::fork::exit_mm_release;
use crate::kernel::pid::{self, PidTable, PidType, TASKLIST};
use crate::kernel::preempt;
use crate::kernel::sched::cputime::task_cputime_adjusted;
use crate::kernel::sched::task::{EXIT_DEAD, EXIT_ZOMBIE, Task, pf, state};
use crate::kernel::sched::{activate_mm, current, schedule, set_current_state, wake_up_process};
use crate::kernel::signal::{
    GroupTimes, SigHand, SigInfo, SignalStruct, send_sig_info, sigflags, signal_wake_up,
};
use crate::kernel::time::nsec_to_clock_t;
use crate::kpanic;
use crate::prelude::*;

/// What a wait4(2) in progress, or exec, still has to do with a dead task is over.
type Dead = Vec<Arc<Task>>;

// --- do_exit ----------------------------------------------------------------------------------

/// Ends the running task with a wait status (Linux: `do_exit`). Never returns.
pub fn do_exit(status: i32) -> ! {
    let me = current().as_task();
    check_may_exit(me);
    exit_signals(me);
    let group_dead = me.signal.nr_threads.fetch_sub(1, Ordering::AcqRel) == 1;
    if group_dead {
        if me.tgid() == 1 {
            let group_exit = me.signal.has_flag(sigflags::GROUP_EXIT);
            let group_status = me.signal.group_exit_code.load(Ordering::Relaxed);
            let status = if group_exit { group_status } else { status };
            kpanic!("Attempted to kill init! exitcode=0x{status:08x}");
        }
        me.signal.itimers.cancel_all();
        me.signal.posix_timers.delete_all();
        note_maxrss(me);
        last_thread_tells_status(&me.signal, status);
    }
    me.exit_code.store(status as u32, Ordering::Relaxed);
    exit_mm(me);
    exit_files(me);
    exit_fs(me);
    if group_dead {
        tty::disassociate_ctty(true);
    }
    exit_notify(me, group_dead);
    do_task_dead()
}

/// Without an exit of the whole group, the status of a process is that of its last thread (Linux:
/// `synchronize_group_exit`).
fn last_thread_tells_status(signal: &SignalStruct, status: i32) {
    if !signal.has_flag(sigflags::GROUP_EXIT) {
        signal.begin_group_exit(status);
    }
}

/// Ends a task after an oops (Linux: `make_task_dead`): in an interrupt or in the idle task
/// there is no task to end.
pub fn make_task_dead(sig: i32) -> ! {
    let me = current();
    if preempt::in_interrupt() {
        kpanic!("Aiee, killing interrupt handler!");
    }
    if me.pid() == 0 {
        kpanic!("Attempted to kill the idle task!");
    }
    arch::local_irq_enable();
    let held = arch::preempt_count();
    if held != 0 {
        pr_info!(
            "note: {}[{}] exited with preempt_count {held}",
            me.comm(),
            me.pid()
        );
        arch::preempt_count_sub(held);
    }
    if me.has_flag(pf::PF_EXITING) {
        pr_alert!("Fixing recursive fault but reboot is needed!");
        loop {
            set_current_state(state::TASK_UNINTERRUPTIBLE);
            schedule();
        }
    }
    do_exit(sig)
}

fn check_may_exit(me: &Task) {
    if preempt::in_interrupt() {
        kpanic!("Aiee, killing interrupt handler!");
    }
    if me.pid() == 0 {
        kpanic!("Attempted to kill the idle task!");
    }
}

/// From now on no signal is for this thread (Linux: `exit_signals`). One that the group still
/// waits for goes to another thread.
fn exit_signals(me: &Task) {
    let sighand = me.sighand.lock().clone();
    let last_to_stop = {
        let _siglock = sighand.actions.lock();
        me.flags.fetch_or(pf::PF_EXITING, Ordering::Relaxed);
        let signal = &me.signal;
        let stopping = signal.group_stop_count.load(Ordering::Relaxed) > 0;
        let last = stopping && signal.group_stop_count.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            signal
                .flags
                .fetch_or(sigflags::STOP_STOPPED, Ordering::AcqRel);
        }
        retarget_shared_pending(me);
        last
    };
    if last_to_stop {
        do_notify_parent_cldstop(&current().to_arc(), CLD_STOPPED);
    }
}

/// Wakes other threads for signals of the group that this one might have been meant to take.
fn retarget_shared_pending(me: &Task) {
    let pending = me.signal.shared_pending.lock().set & !me.blocked.load(Ordering::Relaxed);
    if pending == 0 || me.signal.has_flag(sigflags::GROUP_EXIT) {
        return;
    }
    for thread in me.signal.thread_list() {
        let takes = pending & !thread.blocked.load(Ordering::Relaxed) != 0;
        if takes && !thread.has_flag(pf::PF_EXITING) {
            signal_wake_up(&thread, false);
        }
    }
}

fn note_maxrss(me: &Task) {
    if let Some(mm) = me.mm() {
        let kib = mm.rss().peak() * (arch::PAGE_SIZE as u64 / 1024);
        me.signal.times.maxrss.fetch_max(kib, Ordering::Relaxed);
    }
}

/// Gives up the address space; the last user's pages are freed here, in process context.
fn exit_mm(me: &Task) {
    exit_mm_release(me);
    let mm = activate_mm(None);
    drop(mm);
}

/// Gives up the descriptor table; the last user's files are closed here.
fn exit_files(me: &Task) {
    let files = me.files.lock().take();
    drop(files);
}

fn exit_fs(me: &Task) {
    let fs = me.fs.lock().take();
    drop(fs);
}

/// The last switch (Linux: `do_task_dead`). The next task frees the stack.
fn do_task_dead() -> ! {
    set_current_state(state::TASK_DEAD);
    // Nobody wakes a task in this state.
    schedule();
    unreachable!("a dead task was scheduled")
}

// --- telling the family -----------------------------------------------------------------------

/// Hands over the children, becomes a zombie and tells the parent (Linux: `exit_notify`).
fn exit_notify(me: &Task, group_dead: bool) {
    let mut dead = Dead::new();
    let myself = current().to_arc();
    {
        let mut table = TASKLIST.write();
        forget_original_parent(&mut table, me, &mut dead);
        if group_dead && let Some(leader) = table.find(me.tgid()).cloned() {
            kill_orphaned_pgrp(&table, &leader, None);
        }
        me.exit_state.store(EXIT_ZOMBIE, Ordering::Release);
        let reaped = if me.is_group_leader() {
            is_last_thread(me) && do_notify_parent(&myself)
        } else {
            true
        };
        if reaped {
            me.exit_state.store(EXIT_DEAD, Ordering::Release);
            dead.push(myself);
        }
        wake_exec_task(me);
    }
    dead.iter().for_each(release_task);
}

/// Whether no other thread of the group is left unreleased (Linux: `thread_group_empty`).
fn is_last_thread(task: &Task) -> bool {
    task.signal.threads.lock().len() <= 1
}

/// A thread in execve(2) waits for the others to go.
fn wake_exec_task(me: &Task) {
    let exec = me.signal.group_exec_tid.load(Ordering::Acquire);
    if exec == 0 || exec == me.pid() {
        return;
    }
    let waiter = me
        .signal
        .thread_list()
        .into_iter()
        .find(|t| t.pid() == exec);
    if let Some(waiter) = waiter {
        wake_up_process(&waiter);
    }
}

/// Who adopts the children of `father`: another thread of its process, else the nearest ancestor
/// that asked for it, else init (Linux: `find_new_reaper`).
fn find_new_reaper(table: &PidTable, father: &Task) -> Option<Arc<Task>> {
    find_alive_thread(father, father)
        .or_else(|| find_subreaper(father))
        .or_else(|| table.find(1).cloned())
}

/// A thread of the process of `task` that stays alive when `father` goes.
fn find_alive_thread(task: &Task, father: &Task) -> Option<Arc<Task>> {
    let alive =
        |thread: &Arc<Task>| !core::ptr::eq(&**thread, father) && !thread.has_flag(pf::PF_EXITING);
    task.signal.thread_list().into_iter().find(alive)
}

/// The nearest ancestor that set PR_SET_CHILD_SUBREAPER and lives.
fn find_subreaper(father: &Task) -> Option<Arc<Task>> {
    let mut ancestor = father.real_parent()?;
    while ancestor.pid() > 1 {
        if ancestor.signal.has_flag(sigflags::CHILD_SUBREAPER)
            && let Some(thread) = find_alive_thread(&ancestor, father)
        {
            return Some(thread);
        }
        ancestor = ancestor.real_parent()?;
    }
    None
}

/// Hands the children of `father` to a new parent (Linux: `forget_original_parent`).
fn forget_original_parent(table: &mut PidTable, father: &Task, dead: &mut Dead) {
    let children = core::mem::take(&mut father.family.lock().children);
    if children.is_empty() {
        return;
    }
    let Some(reaper) = find_new_reaper(table, father) else {
        return; // only pid 1 itself, whose exit ends the kernel
    };
    let same_process = reaper.tgid() == father.tgid();
    for child in &children {
        child.set_real_parent(&reaper);
        let pdeath_signal = child.pdeath_signal.load(Ordering::Relaxed) as i32;
        if pdeath_signal != 0 {
            let info = SigInfo::kill(pdeath_signal, SI_USER, father.tgid(), father.cred().uid);
            let _ = send_sig_info(&info, child);
        }
        if !same_process {
            reparent_leader(table, father, child, dead);
        }
    }
    reaper.family.lock().children.extend(children);
}

/// A child that changes process reports to its new parent with SIGCHLD.
fn reparent_leader(table: &PidTable, father: &Task, child: &Arc<Task>, dead: &mut Dead) {
    let exit_state = child.exit_state.load(Ordering::Acquire);
    if exit_state == EXIT_DEAD {
        return;
    }
    child.exit_signal.store(SIGCHLD, Ordering::Relaxed);
    if exit_state == EXIT_ZOMBIE && is_last_thread(child) && do_notify_parent(child) {
        child.exit_state.store(EXIT_DEAD, Ordering::Release);
        dead.push(child.clone());
    }
    kill_orphaned_pgrp(table, child, Some(father));
}

/// A group that loses the last process that could continue its stopped ones gets SIGHUP and
/// SIGCONT (Linux: `kill_orphaned_pgrp`). `parent` is the one that exits; without it, `task`.
fn kill_orphaned_pgrp(table: &PidTable, task: &Arc<Task>, parent: Option<&Task>) {
    let real_parent;
    let (other, ignored): (&Task, Option<&Task>) = match parent {
        Some(parent) => (parent, None),
        None => match task.real_parent() {
            Some(found) => {
                real_parent = found;
                (&real_parent, Some(&**task))
            }
            None => return,
        },
    };
    let pgrp = pid::task_pgrp(task);
    if pid::task_pgrp(other) == pgrp || pid::task_session(other) != pid::task_session(task) {
        return;
    }
    let members = table.members(pgrp, PidType::Pgid);
    let stopped = |member: &Arc<Task>| member.signal.has_flag(sigflags::STOP_STOPPED);
    if !pid::is_orphaned_pgrp(table, pgrp, ignored) || !members.iter().any(stopped) {
        return;
    }
    for sig in [SIGHUP, SIGCONT] {
        for member in members {
            let _ = send_sig_info(&SigInfo::kernel(sig), member);
        }
    }
}

/// Tells the parent that a process is dead (Linux: `do_notify_parent`). True when the parent
/// does not care, so that nobody will wait for it. Tasklist lock held.
fn do_notify_parent(task: &Arc<Task>) -> bool {
    let Some(parent) = task.real_parent() else {
        return true;
    };
    let mut sig = task.exit_signal.load(Ordering::Relaxed);
    let mut reaped = false;
    if sig == SIGCHLD {
        let action = parent.sighand.lock().action(SIGCHLD);
        let ignored = action.handler == SIG_IGN;
        // POSIX: with either of them children leave no zombies; only ignoring saves the signal.
        reaped = ignored || action.flags & SA_NOCLDWAIT != 0;
        if ignored {
            sig = 0;
        }
    }
    if sig > 0 {
        let status = task.exit_code.load(Ordering::Relaxed) as i32;
        let (code, value) = match status & 0x7f {
            0 => (CLD_EXITED, status >> 8),
            signo if status & 0x80 != 0 => (CLD_DUMPED, signo),
            signo => (CLD_KILLED, signo),
        };
        let _ = send_sig_info(&child_info(sig, code, task, value), &parent);
    }
    parent.signal.wait_chldexit.wake_up_all();
    reaped
}

/// What SIGCHLD tells about a child.
fn child_info(sig: i32, code: i32, task: &Task, status: i32) -> SigInfo {
    let (utime, stime) = process_times(task);
    let ticks = |ns| nsec_to_clock_t(ns) as i64;
    let mut info = SigInfo::child(
        code,
        task.tgid(),
        task.cred().uid,
        status,
        ticks(utime),
        ticks(stime),
    );
    info.si_signo = sig;
    info
}

/// Tells the parent of a stop or of its end (Linux: `do_notify_parent_cldstop`). `why` is
/// CLD_STOPPED or CLD_CONTINUED.
pub fn do_notify_parent_cldstop(task: &Arc<Task>, why: i32) {
    let Some(leader) = pid::find_task(task.tgid()) else {
        return;
    };
    let Some(parent) = leader.real_parent() else {
        return;
    };
    let status = match why {
        CLD_CONTINUED => SIGCONT,
        _ => task.signal.group_exit_code.load(Ordering::Relaxed) & 0x7f,
    };
    let action = parent.sighand.lock().action(SIGCHLD);
    if action.handler != SIG_IGN && action.flags & SA_NOCLDSTOP == 0 {
        let _ = send_sig_info(&child_info(SIGCHLD, why, &leader, status), &parent);
    }
    // Even if the signal is not sent, the parent may be waiting.
    parent.signal.wait_chldexit.wake_up_all();
}

// --- releasing --------------------------------------------------------------------------------

/// CPU time of a whole process, threads that are gone included, ns.
fn process_times(task: &Task) -> (u64, u64) {
    let times = &task.signal.times;
    let (mut utime, mut stime) = (
        times.utime.load(Ordering::Relaxed),
        times.stime.load(Ordering::Relaxed),
    );
    for thread in task.signal.thread_list() {
        let (user, system) = task_cputime_adjusted(&thread);
        utime += user;
        stime += system;
    }
    (utime, stime)
}

fn add_to(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

/// What one thread used stays with its process.
fn account_thread(times: &GroupTimes, thread: &Task) {
    let (utime, stime) = task_cputime_adjusted(thread);
    add_to(&times.utime, utime);
    add_to(&times.stime, stime);
    add_to(&times.min_flt, thread.min_flt.load(Ordering::Relaxed));
    add_to(&times.maj_flt, thread.maj_flt.load(Ordering::Relaxed));
    add_to(&times.nvcsw, thread.nvcsw.load(Ordering::Relaxed));
    add_to(&times.nivcsw, thread.nivcsw.load(Ordering::Relaxed));
}

/// Takes a dead task out of everything (Linux: `release_task`). When the last thread of a dead
/// leader goes, the leader's end is reported, and it may go too.
fn release_task(task: &Arc<Task>) {
    let mut next = Some(task.clone());
    while let Some(task) = next.take() {
        let mut table = TASKLIST.write();
        exit_signal_struct(&task);
        let unhashed = unhash_process(&mut table, &task);
        if !task.is_group_leader() {
            next = dead_leader_to_release(&table, &task);
        }
        drop(table);
        drop(unhashed);
    }
}

/// Adds up the figures and leaves the thread list (Linux: `__exit_signal`).
fn exit_signal_struct(task: &Arc<Task>) {
    account_thread(&task.signal.times, task);
    task.signal.ioac.add(&task.ioac);
    let mut threads = task.signal.threads.lock();
    threads.retain(|thread| !core::ptr::eq(thread.as_ptr(), &raw const **task));
}

/// Leaves the table, the group, the session and the parent's children. Returns the references,
/// to be dropped outside the lock.
fn unhash_process(
    table: &mut PidTable,
    task: &Arc<Task>,
) -> (Option<Arc<Task>>, Option<Arc<Task>>) {
    let mut from_parent = None;
    if task.is_group_leader() {
        table.leave(pid::task_pgrp(task), PidType::Pgid, task);
        table.leave(pid::task_session(task), PidType::Sid, task);
        if let Some(parent) = task.real_parent() {
            let children = &mut parent.family.lock().children;
            if let Some(at) = children.iter().position(|child| Arc::ptr_eq(child, task)) {
                from_parent = Some(children.remove(at));
            }
        }
    }
    (table.detach(task.pid()), from_parent)
}

fn dead_leader_to_release(table: &PidTable, task: &Task) -> Option<Arc<Task>> {
    let leader = table.find(task.tgid())?.clone();
    let zombie = leader.exit_state.load(Ordering::Acquire) == EXIT_ZOMBIE;
    if zombie && is_last_thread(&leader) && do_notify_parent(&leader) {
        leader.exit_state.store(EXIT_DEAD, Ordering::Release);
        return Some(leader);
    }
    None
}

// --- groups of threads ------------------------------------------------------------------------

/// Sends SIGKILL to every other thread of the process (Linux: `zap_other_threads`). Returns how
/// many there are. Siglock held.
fn zap_other_threads(me: &Task) -> usize {
    me.signal.group_stop_count.store(0, Ordering::Relaxed);
    let mut others = 0;
    for thread in me.signal.thread_list() {
        if thread.pid() == me.pid() {
            continue;
        }
        others += 1;
        if thread.exit_state.load(Ordering::Acquire) == 0 {
            thread.pending.lock().set |= sigmask(SIGKILL);
            signal_wake_up(&thread, true);
        }
    }
    others
}

/// Ends all threads of the process (Linux: `do_group_exit`). If its end began before, with the
/// status of that. Never returns.
pub fn do_group_exit(status: i32) -> ! {
    let me = current().as_task();
    let sighand = me.sighand.lock().clone();
    let status = {
        let _siglock = sighand.actions.lock();
        let signal = &me.signal;
        let exec = signal.group_exec_tid.load(Ordering::Acquire);
        if signal.has_flag(sigflags::GROUP_EXIT) {
            signal.group_exit_code.load(Ordering::Relaxed)
        } else if exec != 0 && exec != me.pid() {
            0 // another thread's execve(2) ends this one only
        } else {
            signal.begin_group_exit(status);
            zap_other_threads(me);
            status
        }
    };
    drop(sighand);
    do_exit(status)
}

/// For execve(2): ends the other threads, takes the leader's place and number if the caller is
/// not the leader, and gives it handlers of its own (Linux: fs/exec.c, `de_thread`). May sleep.
///
/// Errors: EAGAIN when the whole process is ending.
pub fn de_thread() -> Result {
    let me = current();
    let signal = &me.signal;
    let sighand = me.sighand.lock().clone();
    {
        let _siglock = sighand.actions.lock();
        let busy = signal.group_exec_tid.load(Ordering::Acquire) != 0;
        if signal.has_flag(sigflags::GROUP_EXIT) || busy {
            return Err(Errno::EAGAIN);
        }
        signal.group_exec_tid.store(me.pid(), Ordering::Release);
        zap_other_threads(&me);
    }
    let result = wait_until_alone(&me);
    if result.is_ok() {
        if !me.is_group_leader() {
            take_leaders_place(&me.to_arc());
        }
        me.exit_signal.store(SIGCHLD, Ordering::Relaxed);
        unshare_sighand(&me, &sighand);
    }
    signal.group_exec_tid.store(0, Ordering::Release);
    result
}

/// Handlers that another process shares (CLONE_SIGHAND without CLONE_THREAD) stay with it.
fn unshare_sighand(me: &Task, shared: &Arc<SigHand>) {
    // One reference is the task's, one the caller's.
    if Arc::strong_count(shared) > 2 {
        let own = Arc::new(shared.dup());
        let old = core::mem::replace(&mut *me.sighand.lock(), own);
        drop(old);
    }
}

/// Sleeps until only this thread and a zombie leader are left. Errors: EAGAIN when killed.
fn wait_until_alone(me: &Task) -> Result {
    loop {
        // The state comes before the look: `wake_exec_task` comes after a thread is gone.
        set_current_state(state::TASK_KILLABLE);
        let alone = me.signal.thread_list().iter().all(|thread| {
            let zombie = thread.exit_state.load(Ordering::Acquire) == EXIT_ZOMBIE;
            thread.pid() == me.pid() || thread.is_group_leader() && zombie
        });
        if alone || me.fatal_signal_pending() {
            set_current_state(state::TASK_RUNNING);
            return if alone { Ok(()) } else { Err(Errno::EAGAIN) };
        }
        schedule();
    }
}

/// The caller becomes the leader; the old one, a zombie, gets the caller's number and goes.
fn take_leaders_place(me: &Arc<Task>) {
    let mut table = TASKLIST.write();
    let Some(leader) = table.find(me.tgid()).cloned() else {
        return;
    };
    let (my_old_pid, tgid) = (me.pid(), me.tgid());
    leader.pid.store(my_old_pid, Ordering::Relaxed);
    me.pid.store(tgid, Ordering::Relaxed);
    let replaced = (table.replace(tgid, me), table.replace(my_old_pid, &leader));
    for (number, kind) in [
        (pid::task_pgrp(me), PidType::Pgid),
        (pid::task_session(me), PidType::Sid),
    ] {
        table.substitute(number, kind, &leader, me);
    }
    if let Some(parent) = leader.real_parent() {
        for child in &mut parent.family.lock().children {
            if Arc::ptr_eq(child, &leader) {
                *child = me.clone();
            }
        }
        me.set_real_parent(&parent);
    }
    let started = leader.start_time.load(Ordering::Relaxed);
    me.start_time.store(started, Ordering::Relaxed);
    leader.exit_signal.store(-1, Ordering::Relaxed);
    leader.exit_state.store(EXIT_DEAD, Ordering::Release);
    drop(table);
    drop(replaced);
    release_task(&leader);
}

// --- system calls -----------------------------------------------------------------------------

/// exit(2): ends the calling thread.
pub fn sys_exit(code: i32) -> Result<()> {
    do_exit(status_exited(code))
}

/// exit_group(2): ends the process.
pub fn sys_exit_group(code: i32) -> Result<()> {
    do_group_exit(status_exited(code))
}
