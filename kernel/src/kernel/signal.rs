//! Signals (Linux: kernel/signal.c).
#![forbid(unsafe_code)]

use crate::kernel::sched::task::{Pid, Task};
use crate::mm::UserAddr;
use crate::prelude::*;

/// Pending signals of a thread or a group. Owner: signals.
#[derive(Default)]
pub struct SigPending {}
/// Handlers of a process. Owner: signals.
#[derive(Default)]
pub struct SigHand {}
/// What the threads of a process share (Linux: `struct signal_struct`). Owner: signals.
pub struct SignalStruct {
    /// Process group, session.
    pub pgrp: core::sync::atomic::AtomicI32,
    /// Session number.
    pub session: core::sync::atomic::AtomicI32,
    /// Controlling terminal.
    pub tty: SpinLock<Option<Arc<crate::drivers::tty::Tty>>>,
}

/// Who sends a signal and why (Linux: `struct kernel_siginfo`).
#[derive(Clone, Copy, Debug)]
pub struct SigInfo {
    /// Signal number 1..=64.
    pub signo: i32,
    /// `SI_USER`, `SEGV_MAPERR`, ...
    pub code: i32,
    /// errno value, usually 0.
    pub errno: i32,
    /// Sender, where the code has one.
    pub pid: Pid,
    /// Sender's user.
    pub uid: u32,
    /// Wait status (SIGCHLD) or value (SI_QUEUE).
    pub value: u64,
    /// Fault address.
    pub addr: u64,
}

/// Sends to a whole process (Linux: `send_sig_info` with PIDTYPE_TGID). Any context.
pub fn send_sig_info(info: &SigInfo, task: &Arc<Task>) -> Result {
    let _ = (info, task);
    todo!()
}
/// Sends a signal that the kernel itself raises (SI_KERNEL) to a process.
pub fn send_sig(sig: i32, task: &Arc<Task>) -> Result {
    let _ = (sig, task);
    todo!()
}
/// Sends to every process of a group (Linux: `kill_pgrp`). Errors: ESRCH when it is empty.
pub fn kill_pgrp(pgrp: Pid, sig: i32) -> Result {
    let _ = (pgrp, sig);
    todo!()
}
/// A synchronous fault of the running task; unblocked and un-ignored if need be.
pub fn force_sig_fault(sig: i32, code: i32, addr: UserAddr) {
    let _ = (sig, code, addr);
    todo!()
}
