//! System calls on actions, masks and waiting for signals (Linux: kernel/signal.c).

use core::sync::atomic::Ordering;

use uapi::time::Timespec;

use super::*;
use crate::kernel::sched::current;
use crate::kernel::sched::task::state;
use crate::kernel::time;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};

fn check_sigset_size(size: usize) -> Result {
    if size == SIGSET_SIZE {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Replaces the mask of the running task; SIGKILL and SIGSTOP stay unblocked
/// (Linux: `set_current_blocked`).
pub fn set_current_blocked(mask: u64) {
    let task = current();
    task.blocked
        .store(mask & !SIG_KERNEL_ONLY_MASK, Ordering::Relaxed);
    task.recalc_sigpending();
    if !task.signal_pending() {
        return;
    }
    // A group signal that this thread now blocks may suit another thread.
    let shared = task.signal.shared_pending.lock().set;
    if shared & mask != 0 && task.signal.nr_threads.load(Ordering::Relaxed) > 1 {
        retarget_shared_pending(shared & mask);
    }
}

fn retarget_shared_pending(set: u64) {
    for thread in current().signal.thread_list() {
        if set & !thread.blocked.load(Ordering::Relaxed) != 0 {
            signal_wake_up(&thread, false);
        }
    }
}

/// rt_sigprocmask(2).
pub fn sys_rt_sigprocmask(how: i32, set: UserAddr, old: UserAddr, size: usize) -> Result {
    check_sigset_size(size)?;
    let before = current().blocked.load(Ordering::Relaxed);
    if !set.is_null() {
        let set: u64 = get_user(set)?;
        set_current_blocked(match how {
            SIG_BLOCK => before | set,
            SIG_UNBLOCK => before & !set,
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        });
    }
    if !old.is_null() {
        put_user(old, &before)?;
    }
    Ok(())
}

/// rt_sigaction(2).
pub fn sys_rt_sigaction(sig: i32, act: UserAddr, old: UserAddr, size: usize) -> Result {
    check_sigset_size(size)?;
    let new: Option<KernelSigaction> = if act.is_null() {
        None
    } else {
        Some(get_user(act)?)
    };
    let before = do_sigaction(sig, new)?;
    if !old.is_null() {
        put_user(old, &before)?;
    }
    Ok(())
}

/// Reads and changes an action. Errors: EINVAL for a bad number or a change of SIGKILL or SIGSTOP.
fn do_sigaction(sig: i32, new: Option<KernelSigaction>) -> Result<KernelSigaction> {
    if !(1..=_NSIG).contains(&sig) || new.is_some() && in_set(SIG_KERNEL_ONLY_MASK, sig) {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let sighand = task.own_sighand();
    let mut actions = sighand.actions.lock();
    let slot = &mut actions[sig as usize - 1];
    let before = *slot;
    if let Some(mut action) = new {
        action.mask &= !SIG_KERNEL_ONLY_MASK;
        *slot = action;
        let ignores =
            action.handler == SIG_IGN || action.handler == SIG_DFL && sig_ignored_by_default(sig);
        if ignores {
            // POSIX: setting a signal to be ignored discards pending ones, blocked or not.
            task.signal.shared_pending.lock().flush(sigmask(sig));
            for thread in task.signal.thread_list() {
                thread.pending.lock().flush(sigmask(sig));
            }
        }
    }
    Ok(before)
}

/// rt_sigpending(2).
pub fn sys_rt_sigpending(set: UserAddr, size: usize) -> Result {
    if size > SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let pending = task.pending_set() & task.blocked.load(Ordering::Relaxed);
    crate::mm::uaccess::copy_to_user(set, &pending.to_le_bytes()[..size])
}

/// Replaces the mask for the time of one system call; it goes back when that call's signal has
/// been handled (Linux: `set_user_sigmask`).
pub fn set_user_sigmask(mask: UserAddr, size: usize) -> Result {
    if mask.is_null() {
        return Ok(());
    }
    check_sigset_size(size)?;
    let mask: u64 = get_user(mask)?;
    save_and_block(mask);
    Ok(())
}

fn save_and_block(mask: u64) {
    let task = current();
    let before = task.blocked.load(Ordering::Relaxed);
    task.sigctx.lock().saved_mask = Some(before);
    set_current_blocked(mask);
}

/// The call ended: without a pending signal the mask goes back now, else when it is delivered
/// (Linux: `restore_saved_sigmask_unless`).
pub fn restore_saved_sigmask_unless(interrupted: bool) {
    if !interrupted {
        super::deliver::restore_saved_sigmask();
    }
}

/// rt_sigsuspend(2): always ends with EINTR.
pub fn sys_rt_sigsuspend(mask: UserAddr, size: usize) -> Result {
    check_sigset_size(size)?;
    let mask: u64 = get_user(mask)?;
    save_and_block(mask);
    wait_for_signal();
    Err(Errno::ERESTARTNOHAND)
}

/// pause(2).
pub fn sys_pause() -> Result {
    wait_for_signal();
    Err(Errno::ERESTARTNOHAND)
}

fn wait_for_signal() {
    use crate::kernel::sched::{schedule, set_current_state};
    while !current().signal_pending() {
        set_current_state(state::TASK_INTERRUPTIBLE);
        if !current().signal_pending() {
            schedule();
        }
    }
    set_current_state(state::TASK_RUNNING);
}

/// rt_sigtimedwait(2): takes a signal of the set without running a handler.
/// Errors: EAGAIN at the end of the time, EINTR, EINVAL.
pub fn sys_rt_sigtimedwait(
    set: UserAddr,
    info: UserAddr,
    timeout: UserAddr,
    size: usize,
) -> Result<i32> {
    check_sigset_size(size)?;
    let wanted: u64 = get_user::<u64>(set)? & !SIG_KERNEL_ONLY_MASK;
    let deadline = match timeout.is_null() {
        true => None,
        false => Some(
            time::ktime_get()
                .saturating_add(time::timespec_to_ns(&get_user::<Timespec>(timeout)?)?),
        ),
    };
    let found = sigtimedwait(wanted, deadline)?;
    if !info.is_null() {
        put_user(info, &found)?;
    }
    Ok(found.si_signo)
}

fn sigtimedwait(wanted: u64, deadline: Option<u64>) -> Result<SigInfo> {
    if let Some(info) = dequeue_signal(!wanted) {
        return Ok(info);
    }
    if deadline.is_some_and(|end| end <= time::ktime_get()) {
        return Err(Errno::EAGAIN);
    }
    // While we sleep the wanted signals are unblocked, so that they wake us.
    let task = current();
    let blocked = task.blocked.load(Ordering::Relaxed);
    task.sigctx.lock().real_blocked = blocked;
    task.blocked.store(blocked & !wanted, Ordering::Relaxed);
    task.recalc_sigpending();
    let timed_out = time::sleep_until_interruptible(deadline).is_ok();
    task.blocked.store(blocked, Ordering::Relaxed);
    task.sigctx.lock().real_blocked = 0;
    match dequeue_signal(!wanted) {
        Some(info) => Ok(info),
        None if timed_out => Err(Errno::EAGAIN),
        None => Err(Errno::EINTR),
    }
}

/// sigaltstack(2).
pub fn sys_sigaltstack(regs: &mut crate::arch::PtRegs, new: UserAddr, old: UserAddr) -> Result {
    let requested: Option<StackT> = if new.is_null() {
        None
    } else {
        Some(get_user(new)?)
    };
    let task = current();
    let before = task.sigctx.lock().altstack;
    let inside = on_altstack(&before, regs.sp());
    if let Some(stack) = requested {
        if inside {
            return Err(Errno::EPERM);
        }
        task.sigctx.lock().altstack = check_altstack(stack)?;
    }
    if !old.is_null() {
        let mut report = before;
        if inside {
            report.ss_flags |= SS_ONSTACK as i32;
        }
        put_user(old, &report)?;
    }
    Ok(())
}

/// Whether `sp` lies on the alternate stack.
pub fn on_altstack(stack: &StackT, sp: u64) -> bool {
    let usable = stack.ss_flags as u32 & (SS_DISABLE | SS_AUTODISARM) == 0 && stack.ss_size != 0;
    usable && sp > stack.ss_sp && sp - stack.ss_sp <= stack.ss_size
}

fn check_altstack(stack: StackT) -> Result<StackT> {
    let mode = stack.ss_flags as u32 & !SS_AUTODISARM;
    match mode {
        SS_DISABLE => Ok(StackT {
            ss_sp: 0,
            ss_size: 0,
            ..stack
        }),
        0 | SS_ONSTACK if stack.ss_size < MINSIGSTKSZ => Err(Errno::ENOMEM),
        0 | SS_ONSTACK => Ok(StackT {
            ss_flags: stack.ss_flags & !(SS_ONSTACK as i32),
            ..stack
        }),
        _ => Err(Errno::EINVAL),
    }
}

/// rt_sigreturn(2): undoes a handler's frame. The result register is part of the frame.
pub fn sys_rt_sigreturn(regs: &mut crate::arch::PtRegs) -> Result<i64> {
    match crate::arch::restore_rt_frame(regs) {
        Ok((mask, altstack)) => {
            set_current_blocked(mask);
            if let Ok(stack) = check_altstack(altstack) {
                current().sigctx.lock().altstack = stack;
            }
        }
        Err(_) => force_sig(SIGSEGV),
    }
    Ok(regs.return_value())
}

/// restart_syscall(2): goes on with a sleep that a stop interrupted.
pub fn sys_restart_syscall() -> Result<i64> {
    let block = current().sigctx.lock().restart.take();
    match block {
        Some(RestartBlock::Nanosleep {
            clock,
            expires_ns,
            remaining,
        }) => {
            time::posix::nanosleep_restart(clock, expires_ns, remaining)?;
            Ok(0)
        }
        Some(RestartBlock::Poll {
            fds,
            nfds,
            expires_ns,
        }) => crate::fs::select::poll_restart(UserAddr::new(fds), nfds, expires_ns).map(i64::from),
        None => Err(Errno::EINTR),
    }
}
