//! Work between the kernel and user space (Linux: kernel/entry/common.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use crate::arch::{self, PtRegs};
use crate::kernel::sched::task::tif;
use crate::kernel::{rseq, sched, signal};

/// What must be done before a task returns to user space (Linux: `EXIT_TO_USER_MODE_WORK`).
const EXIT_TO_USER_MODE_WORK: u32 = tif::NEED_RESCHED | tif::SIGPENDING | tif::NOTIFY_RESUME;

/// Called with the registers of user code right before they are restored.
/// On entry and on return: interrupts off.
#[inline]
pub fn exit_to_user_mode_prepare(regs: &mut PtRegs) {
    let flags = sched::current().thread_flags.load(Ordering::Relaxed);
    if flags & EXIT_TO_USER_MODE_WORK != 0 {
        exit_to_user_mode_loop(regs);
    }
}

/// Does the work until none is left; each kind may bring new work, and interrupts are on while
/// it is done (Linux: `exit_to_user_mode_loop`).
#[cold]
#[inline(never)]
pub fn exit_to_user_mode_loop(regs: &mut PtRegs) {
    loop {
        let work = sched::current().thread_flags.load(Ordering::Acquire) & EXIT_TO_USER_MODE_WORK;
        if work == 0 {
            return;
        }
        arch::local_irq_enable();
        if work & tif::NEED_RESCHED != 0 {
            sched::schedule();
        }
        if work & tif::SIGPENDING != 0 {
            signal::do_signal(regs);
        }
        if work & tif::NOTIFY_RESUME != 0 {
            sched::current().clear_tif(tif::NOTIFY_RESUME);
            rseq::rseq_handle_notify_resume(regs);
        }
        // The next look at the flags and the return must not be separated by an interrupt.
        arch::local_irq_disable();
    }
}

/// Preempts the interrupted kernel code if that was asked for and nothing forbids it
/// (Linux: `irqentry_exit_cond_resched`). Interrupts off.
#[inline]
pub fn irqentry_exit_cond_resched() {
    if arch::preempt_count() == 0
        && !arch::current_ptr().is_null()
        && sched::current().test_tif(tif::NEED_RESCHED)
    {
        sched::preempt_schedule_irq();
    }
}
