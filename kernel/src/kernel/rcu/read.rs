//! The read side (Linux: include/linux/rcupdate.h, `rcu_read_lock`; kernel/rcu/tree_plugin.h).
#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use super::gp::{RCU, wake_gp_kthread};
use super::tree::RcuReader;
use crate::arch;
use crate::kernel::sched::task::Task;
use crate::kernel::sched::try_current;

/// A read-side section. While it lives, nothing is freed that RCU protects.
#[must_use = "the section ends when the guard is dropped"]
pub struct RcuReadGuard {
    /// The task that reads; host threads of unit tests are none.
    reader: Option<&'static RcuReader>,
    _not_send: PhantomData<*mut ()>,
}

/// Begins a read-side section (Linux: `rcu_read_lock`). It takes no lock, waits for nobody, and
/// nests. Preemption is allowed inside, sleeping is not. Any context but NMI.
#[inline]
pub fn rcu_read_lock() -> RcuReadGuard {
    let reader = match try_current() {
        Some(task) if arch::COUNTS_READERS_BY_TASK => {
            let reader = &task.as_task().rcu;
            reader.lock();
            Some(reader)
        }
        _ => {
            RCU.foreign_readers().fetch_add(1, Ordering::SeqCst);
            None
        }
    };
    RcuReadGuard {
        reader,
        _not_send: PhantomData,
    }
}

impl Drop for RcuReadGuard {
    #[inline]
    fn drop(&mut self) {
        match self.reader {
            Some(reader) => {
                if reader.unlock() {
                    unlock_special(reader);
                }
            }
            None => {
                RCU.foreign_readers().fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

/// A section was preempted: perhaps a grace period waits for it. Where preemption is off the
/// reader goes on in effect, and telling it (which may wake a thread) is left to the next switch
/// or tick (Linux: `rcu_read_unlock_special`).
#[cold]
fn unlock_special(reader: &RcuReader) {
    if arch::preempt_count() != 0 || arch::irqs_disabled() {
        return;
    }
    let flags = arch::local_irq_save();
    let over = RCU.remove_preempted(reader);
    arch::local_irq_restore(flags);
    if over {
        wake_gp_kthread();
    }
}

/// The scheduler is about to look for another task: the CPU is outside of any reader but those of
/// `prev` (Linux: `rcu_note_context_switch`). Interrupts off, no run queue locked.
#[inline(always)]
pub fn note_context_switch(prev: &Task) {
    let reader = &prev.rcu;
    let cpu = arch::smp_processor_id();
    if reader.is_reading() || reader.is_blocked() || RCU.needs_qs(cpu) {
        note_slow(cpu, reader);
    }
}

#[cold]
fn note_slow(cpu: usize, reader: &RcuReader) {
    if RCU.context_switch(cpu, reader) {
        wake_gp_kthread();
    }
}
