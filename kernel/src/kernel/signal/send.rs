//! Sending signals (Linux: kernel/signal.c, `send_signal_locked`, `complete_signal`).

use core::sync::atomic::Ordering;

use uapi::resource::RLIMIT_SIGPENDING;

use super::*;
use crate::kernel::pid;
use crate::kernel::sched::task::{state, tif};
use crate::kernel::sched::{current, wake_up_state};
use crate::mm::UserAddr;

/// Whether a signal goes to one thread or to any thread of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// This thread (tgkill, faults).
    Thread,
    /// The process (kill, terminal).
    Group,
}

impl Task {
    /// Recomputes TIF_SIGPENDING of the running task after its mask or queues changed
    /// (Linux: `recalc_sigpending`).
    pub fn recalc_sigpending(&self) {
        let pending = self.pending.lock().set | self.signal.shared_pending.lock().set;
        let blocked = self.blocked.load(Ordering::Relaxed);
        let stopping = self.signal.group_stop_count.load(Ordering::Relaxed) > 0;
        if pending & !blocked != 0 || stopping {
            self.set_tif(tif::SIGPENDING);
        } else {
            self.clear_tif(tif::SIGPENDING);
        }
    }

    /// Whether SIGKILL waits (Linux: `fatal_signal_pending`).
    pub fn fatal_signal_pending(&self) -> bool {
        self.signal_pending() && in_set(self.pending.lock().set, SIGKILL)
    }

    /// The signal set that is pending for this thread, its own and the group's.
    pub fn pending_set(&self) -> u64 {
        self.pending.lock().set | self.signal.shared_pending.lock().set
    }

    fn blocks(&self, sig: i32) -> bool {
        in_set(self.blocked.load(Ordering::Relaxed), sig)
    }
}

/// Whether the default action of `sig` is to do nothing.
pub fn sig_ignored_by_default(sig: i32) -> bool {
    sig < SIGRTMIN && in_set(SIG_KERNEL_IGNORE_MASK, sig)
}

/// Whether the action makes the signal vanish (Linux: `sig_handler_ignored`).
fn action_ignores(action: &KernelSigaction, sig: i32) -> bool {
    action.handler == SIG_IGN || action.handler == SIG_DFL && sig_ignored_by_default(sig)
}

/// Whether a default action would end or stop a process that must not (pid 1).
fn protected(task: &Task, action: &KernelSigaction, sig: i32, forced: bool) -> bool {
    let unkillable = task.signal.has_flag(sigflags::UNKILLABLE) && action.handler == SIG_DFL;
    let init_kernel_only = in_set(SIG_KERNEL_ONLY_MASK, sig) && !forced;
    unkillable && (init_kernel_only || !forced && !in_set(SIG_KERNEL_ONLY_MASK, sig))
}

/// What became of a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is pending, or the process is dying anyway.
    Pending,
    /// Its action is to ignore it.
    Ignored,
}

/// Sends to one thread or to a process (Linux: `send_signal_locked`). Any context.
///
/// Errors: EAGAIN when a queued signal does not fit RLIMIT_SIGPENDING.
pub fn send_signal(info: &SigInfo, task: &Arc<Task>, target: Target) -> Result {
    send(info, None, task, target).map(drop)
}

/// Sends the signal of a timer, which is pending besides others of its number (Linux: `send_sigqueue`). Any context.
pub fn send_timer_signal(
    info: &SigInfo,
    timer: TimerSignal,
    task: &Arc<Task>,
    target: Target,
) -> Sent {
    // Never refused: the limit was looked at when the timer was made.
    send(info, Some(timer), task, target).unwrap_or(Sent::Pending)
}

fn send(
    info: &SigInfo,
    timer: Option<TimerSignal>,
    task: &Arc<Task>,
    target: Target,
) -> Result<Sent> {
    let sig = info.si_signo;
    let sighand = task.sighand.lock().clone();
    let actions = sighand.actions.lock(); // siglock
    if task.signal.has_flag(sigflags::GROUP_EXIT) {
        return Ok(Sent::Pending); // it is dying: a SIGCONT must not change its status any more
    }
    prepare_stop_cont(sig, task);
    let action = &actions[sig as usize - 1];
    let forced = info.si_code == SI_KERNEL || info.si_code > 0;
    // A blocked signal is kept, whatever its action: that may change, or sigtimedwait takes it.
    let kept = task.blocks(sig) || in_set(task.sigctx.lock().real_blocked, sig);
    if !kept && (protected(task, action, sig, forced) || action_ignores(action, sig)) {
        return Ok(Sent::Ignored);
    }
    queue_signal(info, timer, task, target)?;
    complete_signal(sig, action, task, target);
    Ok(Sent::Pending)
}

/// A stop signal cancels a pending SIGCONT and the other way round; SIGCONT also lets stopped
/// threads run, whatever its action (Linux: `prepare_signal`).
fn prepare_stop_cont(sig: i32, task: &Arc<Task>) {
    if sig == SIGCONT {
        flush_group(task, SIG_KERNEL_STOP_MASK);
        continue_group(task);
    } else if sig < SIGRTMIN && in_set(SIG_KERNEL_STOP_MASK, sig) {
        flush_group(task, sigmask(SIGCONT));
    }
}

fn flush_group(task: &Arc<Task>, mask: u64) {
    task.signal.shared_pending.lock().flush(mask);
    for thread in task.signal.thread_list() {
        thread.pending.lock().flush(mask);
    }
}

fn continue_group(task: &Arc<Task>) {
    let signal = &task.signal;
    let was_stopped = signal.has_flag(sigflags::STOP_STOPPED);
    let was_stopping = signal.group_stop_count.swap(0, Ordering::AcqRel) > 0;
    for thread in signal.thread_list() {
        wake_up_state(&thread, state::TASK_STOPPED);
    }
    if was_stopped || was_stopping {
        let tell = if was_stopped {
            sigflags::CLD_CONTINUED
        } else {
            sigflags::CLD_STOPPED
        };
        signal
            .flags
            .fetch_and(!sigflags::STOP_STOPPED, Ordering::AcqRel);
        signal
            .flags
            .fetch_or(sigflags::STOP_CONTINUED | tell, Ordering::AcqRel);
        signal.group_exit_code.store(0, Ordering::Relaxed);
    }
}

fn queue_signal(
    info: &SigInfo,
    timer: Option<TimerSignal>,
    task: &Arc<Task>,
    target: Target,
) -> Result {
    let sig = info.si_signo;
    let queue = match target {
        Target::Thread => &task.pending,
        Target::Group => &task.signal.shared_pending,
    };
    let mut pending = queue.lock();
    if let Some(timer) = timer {
        pending.push_timer(*info, timer);
        return Ok(());
    }
    if sig < SIGRTMIN && in_set(pending.set, sig) {
        return Ok(()); // a standard signal is pending once
    }
    let limit = task.signal.rlimit(RLIMIT_SIGPENDING);
    if sig >= SIGRTMIN && pending.queued() as u64 >= limit {
        return Err(Errno::EAGAIN);
    }
    pending.push(*info);
    Ok(())
}

/// Chooses a thread, and starts the end of the group when the signal is fatal
/// (Linux: `complete_signal`).
fn complete_signal(sig: i32, action: &KernelSigaction, task: &Arc<Task>, target: Target) {
    let Some(chosen) = choose_thread(sig, task, target) else {
        return; // somebody takes it when it is unblocked
    };
    if is_fatal(sig, action, &chosen) {
        zap_group(sig, &chosen);
        return;
    }
    signal_wake_up(&chosen, sig == SIGKILL);
}

fn choose_thread(sig: i32, task: &Arc<Task>, target: Target) -> Option<Arc<Task>> {
    if wants_signal(sig, task) {
        return Some(task.clone());
    }
    if target == Target::Thread {
        return None;
    }
    task.signal
        .thread_list()
        .into_iter()
        .find(|thread| wants_signal(sig, thread))
}

fn wants_signal(sig: i32, task: &Task) -> bool {
    use crate::kernel::sched::task::pf::PF_EXITING;
    if task.blocks(sig) || task.flags.load(Ordering::Relaxed) & PF_EXITING != 0 {
        return false;
    }
    sig == SIGKILL || task.state.load(Ordering::Relaxed) & state::TASK_STOPPED == 0
}

fn is_fatal(sig: i32, action: &KernelSigaction, task: &Task) -> bool {
    let ends = action.handler == SIG_DFL
        && !sig_ignored_by_default(sig)
        && !in_set(SIG_KERNEL_STOP_MASK, sig);
    (sig == SIGKILL || ends && !dumps_core(sig))
        && !task.signal.has_flag(sigflags::GROUP_EXIT)
        // sigtimedwait unblocks what it waits for only to be woken by it.
        && !in_set(task.sigctx.lock().real_blocked, sig)
        && !(task.signal.has_flag(sigflags::UNKILLABLE) && sig != SIGKILL)
}

/// Signals whose default is to dump core: the thread that takes one ends the group itself.
pub fn dumps_core(sig: i32) -> bool {
    const CORE: u64 = SYNCHRONOUS_MASK
        | sigmask(SIGQUIT)
        | sigmask(SIGABRT)
        | sigmask(SIGXCPU)
        | sigmask(SIGXFSZ);
    sig < SIGRTMIN && in_set(CORE, sig)
}

/// SIGKILL for every thread; the exit code is that of the signal that began it.
fn zap_group(sig: i32, task: &Arc<Task>) {
    let signal = &task.signal;
    signal.group_stop_count.store(0, Ordering::Relaxed);
    signal.begin_group_exit(sig);
    for thread in signal.thread_list() {
        thread.pending.lock().set |= sigmask(SIGKILL);
        signal_wake_up(&thread, true);
    }
    if signal.thread_list().is_empty() {
        task.pending.lock().set |= sigmask(SIGKILL);
        signal_wake_up(task, true);
    }
}

/// Tells a thread to look at its signals (Linux: `signal_wake_up`).
pub fn signal_wake_up(task: &Arc<Task>, fatal: bool) {
    task.set_tif(tif::SIGPENDING);
    let mut states = state::TASK_INTERRUPTIBLE;
    if fatal {
        states |= state::TASK_WAKEKILL | state::TASK_STOPPED | state::TASK_TRACED;
    }
    if !wake_up_state(task, states) {
        crate::kernel::sched::kick_process(task);
    }
}

/// Sends to a whole process. Any context.
pub fn send_sig_info(info: &SigInfo, task: &Arc<Task>) -> Result {
    send_signal(info, task, Target::Group)
}

/// Sends a signal of the kernel's own (SI_KERNEL) to a process. Any context.
pub fn send_sig(sig: i32, task: &Arc<Task>) -> Result {
    send_sig_info(&SigInfo::kernel(sig), task)
}

/// Sends to every process of a group (Linux: `kill_pgrp`). Errors: ESRCH when it is empty.
pub fn kill_pgrp(pgrp: Pid, sig: i32) -> Result {
    let members = pid::processes_of_group(pgrp);
    if members.is_empty() {
        return Err(Errno::ESRCH);
    }
    for member in &members {
        send_sig(sig, member)?;
    }
    Ok(())
}

/// A synchronous fault of the running task (Linux: `force_sig_fault`).
pub fn force_sig_fault(sig: i32, code: i32, addr: UserAddr) {
    force_sig_info(&SigInfo::fault(sig, code, addr.as_u64()));
}

/// A signal that the running task cannot escape with SI_KERNEL.
pub fn force_sig(sig: i32) {
    force_sig_info(&SigInfo::kernel(sig));
}

/// A blocked or ignored signal gets its default action back, so that the fault cannot repeat for
/// ever; even pid 1 dies of it (Linux: `force_sig_info_to_task`).
pub fn force_sig_info(info: &SigInfo) {
    let task = current().to_arc();
    let sig = info.si_signo;
    let sighand = task.sighand.lock().clone();
    {
        let mut actions = sighand.actions.lock();
        let action = &mut actions[sig as usize - 1];
        if action.handler == SIG_IGN || task.blocks(sig) {
            action.handler = SIG_DFL;
            task.blocked.fetch_and(!sigmask(sig), Ordering::Relaxed);
        }
        if action.handler == SIG_DFL {
            task.signal
                .flags
                .fetch_and(!sigflags::UNKILLABLE, Ordering::Relaxed);
        }
    }
    let _ = send_signal(info, &task, Target::Thread);
    task.recalc_sigpending();
}

/// Whether nobody handles `sig`: its death is worth a line in the log
/// (Linux: `unhandled_signal`).
pub fn unhandled_signal(task: &Task, sig: i32) -> bool {
    if task.tgid() == 1 {
        return true;
    }
    let handler = task.sighand.lock().clone().action(sig).handler;
    handler == SIG_DFL || handler == SIG_IGN
}
