//! Taking signals on the way back to user space (Linux: kernel/signal.c, `get_signal`;
//! arch/x86/kernel/signal.c, `arch_do_signal_or_restart`).

use core::sync::atomic::Ordering;

use uapi::unistd::NR_RESTART_SYSCALL;

use super::*;
use crate::arch::{self, PtRegs, SignalFrame};
use crate::kernel::exit;
use crate::kernel::pid;
use crate::kernel::rseq::rseq_handle_notify_resume;
use crate::kernel::sched::task::state;
use crate::kernel::sched::{current, schedule, set_current_state};

/// A signal that has a handler.
struct Caught {
    info: SigInfo,
    action: KernelSigaction,
}

/// Delivers one signal or repairs an interrupted system call. Called in a loop by the exit path
/// with interrupts on (Linux: `arch_do_signal_or_restart`).
pub fn do_signal(regs: &mut PtRegs) {
    match get_signal() {
        Some(caught) => handle_signal(caught, regs),
        None => restart_without_handler(regs),
    }
}

/// No handler runs: the call starts again, and a mask of sigsuspend goes back.
fn restart_without_handler(regs: &mut PtRegs) {
    match interrupted_with(regs) {
        Some(Errno::ERESTARTNOHAND | Errno::ERESTARTSYS | Errno::ERESTARTNOINTR) => {
            regs.rewind_syscall(None);
        }
        Some(Errno::ERESTART_RESTARTBLOCK) => regs.rewind_syscall(Some(NR_RESTART_SYSCALL)),
        _ => {}
    }
    restore_saved_sigmask();
}

/// Puts back the mask that sigsuspend, ppoll or pselect6 replaced.
pub fn restore_saved_sigmask() {
    let task = current();
    let saved = task.sigctx.lock().saved_mask.take();
    if let Some(mask) = saved {
        set_current_blocked(mask);
    }
}

fn interrupted_with(regs: &PtRegs) -> Option<Errno> {
    let result = regs.return_value();
    (regs.syscall_nr() >= 0 && (-4095..0).contains(&result))
        .then(|| Errno::from_code(-result as i32))
        .flatten()
}

/// Builds the frame and switches the registers to the handler (Linux: `handle_signal`).
fn handle_signal(caught: Caught, regs: &mut PtRegs) {
    match interrupted_with(regs) {
        Some(Errno::ERESTARTNOHAND | Errno::ERESTART_RESTARTBLOCK) => {
            regs.set_return(-i64::from(Errno::EINTR.code()));
        }
        Some(Errno::ERESTARTSYS) if caught.action.flags & SA_RESTART == 0 => {
            regs.set_return(-i64::from(Errno::EINTR.code()));
        }
        Some(Errno::ERESTARTSYS | Errno::ERESTARTNOINTR) => regs.rewind_syscall(None),
        _ => {}
    }
    rseq_handle_notify_resume(regs);
    let task = current();
    let blocked = task.blocked.load(Ordering::Relaxed);
    let (saved, altstack) = {
        let mut context = task.sigctx.lock();
        (
            context.saved_mask.take().unwrap_or(blocked),
            context.altstack,
        )
    };
    let frame = SignalFrame {
        info: caught.info,
        action: caught.action,
        saved_mask: saved,
        altstack,
    };
    if arch::setup_rt_frame(regs, &frame).is_err() {
        force_sigsegv(caught.info.si_signo);
        return;
    }
    if altstack.ss_flags as u32 & SS_AUTODISARM != 0 {
        sigaltstack_reset();
    }
    let mut mask = blocked | caught.action.mask;
    if caught.action.flags & SA_NODEFER == 0 {
        mask |= sigmask(caught.info.si_signo);
    }
    set_current_blocked(mask);
}

/// The frame could not be written: SIGSEGV, by default action if that was the signal.
pub fn force_sigsegv(sig: i32) {
    if sig == SIGSEGV {
        let sighand = current().own_sighand();
        sighand.actions.lock()[SIGSEGV as usize - 1].handler = SIG_DFL;
    }
    force_sig(SIGSEGV);
}

/// Takes signals until one has a handler; acts on the others (Linux: `get_signal`).
fn get_signal() -> Option<Caught> {
    let task = current();
    loop {
        notify_parent_of_stop_change();
        if task.signal.has_flag(sigflags::GROUP_EXIT) && in_set(task.pending.lock().set, SIGKILL) {
            exit::do_group_exit(task.signal.group_exit_code.load(Ordering::Relaxed));
        }
        if task.signal.group_stop_count.load(Ordering::Acquire) > 0 {
            participate_in_group_stop(0);
            continue;
        }
        let info = dequeue_signal(task.blocked.load(Ordering::Relaxed))?;
        let sig = info.si_signo;
        let action = take_action(sig);
        if action.handler == SIG_IGN {
            continue;
        }
        if action.handler != SIG_DFL {
            return Some(Caught { info, action });
        }
        default_action(sig);
    }
}

/// Reads the action; SA_RESETHAND resets it once it is used.
fn take_action(sig: i32) -> KernelSigaction {
    let sighand = current().own_sighand();
    let mut actions = sighand.actions.lock();
    let slot = &mut actions[sig as usize - 1];
    let action = *slot;
    if action.flags & SA_RESETHAND != 0 && action.handler > SIG_IGN {
        slot.handler = SIG_DFL;
    }
    action
}

/// The next signal of the thread or its group outside `blocked` (Linux: `dequeue_signal`).
pub fn dequeue_signal(blocked: u64) -> Option<SigInfo> {
    let task = current();
    let taken = {
        let sighand = task.own_sighand();
        let _siglock = sighand.actions.lock();
        take_from(&task.pending, blocked)
            .or_else(|| take_from(&task.signal.shared_pending, blocked))
    };
    task.recalc_sigpending();
    let SigQueue { mut info, timer } = taken?;
    if let Some(timer) = timer {
        timer.deliver(&mut info);
    } else if info.si_signo == SIGALRM {
        task.signal.itimers.rearm_real();
    }
    Some(info)
}

fn take_from(queue: &IrqSpinLock<SigPending>, blocked: u64) -> Option<SigQueue> {
    let mut pending = queue.lock();
    let sig = pending.next(blocked)?;
    Some(pending.take(sig))
}

fn default_action(sig: i32) {
    let task = current();
    if sig_ignored_by_default(sig) {
        return;
    }
    if task.signal.has_flag(sigflags::UNKILLABLE) && !in_set(SIG_KERNEL_ONLY_MASK, sig) {
        return;
    }
    if sig < SIGRTMIN && in_set(SIG_KERNEL_STOP_MASK, sig) {
        // The terminal's stops do nothing to an orphaned group: nobody could continue it.
        if sig == SIGSTOP || !pid::is_current_pgrp_orphaned() {
            do_signal_stop(sig);
        }
        return;
    }
    task.flags.fetch_or(
        crate::kernel::sched::task::pf::PF_SIGNALED,
        Ordering::Relaxed,
    );
    exit::do_group_exit(sig)
}

/// Begins a stop of the whole group and takes part in it (Linux: `do_signal_stop`).
fn do_signal_stop(sig: i32) {
    let task = current();
    let signal = &task.signal;
    {
        let sighand = task.own_sighand();
        let _siglock = sighand.actions.lock();
        if signal.has_flag(sigflags::GROUP_EXIT) {
            return;
        }
        signal.group_exit_code.store(sig, Ordering::Relaxed);
        signal
            .flags
            .fetch_and(!sigflags::STOP_CONTINUED, Ordering::AcqRel);
        let others: Vec<Arc<Task>> = signal
            .thread_list()
            .into_iter()
            .filter(|t| t.pid() != task.pid() && t.exit_state.load(Ordering::Relaxed) == 0)
            .filter(|t| t.state.load(Ordering::Relaxed) & state::TASK_STOPPED == 0)
            .collect();
        signal
            .group_stop_count
            .store(others.len() as i32 + 1, Ordering::Release);
        for thread in &others {
            signal_wake_up(thread, false);
        }
    }
    participate_in_group_stop(sig);
}

/// This thread stops; the last one tells the parent.
fn participate_in_group_stop(_sig: i32) {
    let task = current();
    let signal = &task.signal;
    let last = {
        let sighand = task.own_sighand();
        let _siglock = sighand.actions.lock();
        if signal.group_stop_count.load(Ordering::Acquire) == 0 {
            return; // SIGCONT came in between
        }
        set_current_state(state::TASK_STOPPED);
        let last = signal.group_stop_count.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            signal
                .flags
                .fetch_or(sigflags::STOP_STOPPED, Ordering::AcqRel);
        }
        task.recalc_sigpending();
        last
    };
    if last {
        exit::do_notify_parent_cldstop(&task.to_arc(), CLD_STOPPED);
    }
    schedule();
    task.recalc_sigpending();
}

/// A SIGCONT that ended a stop left a note: the parent hears of it from us.
fn notify_parent_of_stop_change() {
    let signal = &current().signal;
    let notes = sigflags::CLD_STOPPED | sigflags::CLD_CONTINUED;
    if !signal.has_flag(notes) {
        return;
    }
    let before = signal.flags.fetch_and(!notes, Ordering::AcqRel);
    let why = if before & sigflags::CLD_CONTINUED != 0 {
        CLD_CONTINUED
    } else {
        CLD_STOPPED
    };
    if before & notes != 0 {
        exit::do_notify_parent_cldstop(&current().to_arc(), why);
    }
}

/// exec(2): handlers become default, ignored signals stay ignored (Linux: `flush_signal_handlers`).
pub fn flush_signal_handlers() {
    let sighand = current().own_sighand();
    for action in sighand.actions.lock().iter_mut() {
        let handler = if action.handler == SIG_IGN {
            SIG_IGN
        } else {
            SIG_DFL
        };
        *action = KernelSigaction {
            handler,
            ..KernelSigaction::default()
        };
    }
}

/// exec(2): the timers are gone, and what they sent goes too (Linux: `flush_itimer_signals`).
pub fn flush_timer_signals() {
    let task = current();
    let sighand = task.own_sighand();
    let _siglock = sighand.actions.lock();
    task.pending.lock().flush_timers();
    task.signal.shared_pending.lock().flush_timers();
}

/// A kernel thread that wants no signals: all are ignored (Linux: `ignore_signals`).
pub fn ignore_signals(task: &Task) {
    let sighand = task.sighand.lock().clone();
    for action in sighand.actions.lock().iter_mut() {
        action.handler = SIG_IGN;
    }
    task.pending.lock().flush(u64::MAX);
    task.clear_tif(crate::kernel::sched::task::tif::SIGPENDING);
}

/// exec(2) and SS_AUTODISARM: no alternate stack.
pub fn sigaltstack_reset() {
    current().sigctx.lock().altstack = StackT {
        ss_flags: SS_DISABLE as i32,
        ..StackT::default()
    };
}
