//! Preemption control (Linux: include/linux/preempt.h).
//!
//! One counter per CPU: bits 0-7 preempt_disable depth, 8-15 softirq depth, 16-19 hard
//! interrupt depth, 20-23 NMI depth. Code may be preempted when the whole counter is zero and
//! interrupts are on.
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use crate::arch;

/// One level of `preempt_disable`.
pub const PREEMPT_OFFSET: i32 = 1;
/// One level of softirq processing.
pub const SOFTIRQ_OFFSET: i32 = 1 << 8;
/// One level of `local_bh_disable`.
pub const SOFTIRQ_DISABLE_OFFSET: i32 = 2 * SOFTIRQ_OFFSET;
/// One level of hard interrupt.
pub const HARDIRQ_OFFSET: i32 = 1 << 16;
/// One level of NMI.
pub const NMI_OFFSET: i32 = 1 << 20;

/// Bits of a `preempt_disable` depth.
pub const PREEMPT_MASK: i32 = 0xff;
/// Bits of the softirq depth.
pub const SOFTIRQ_MASK: i32 = 0xff00;
/// Bits of the hard interrupt depth.
pub const HARDIRQ_MASK: i32 = 0xf_0000;
/// Bits of the NMI depth.
pub const NMI_MASK: i32 = 0xf0_0000;

/// Keeps the task on this CPU until dropped.
#[must_use = "preemption is enabled again when the guard is dropped"]
pub struct PreemptGuard {
    _not_send: PhantomData<*mut ()>,
}

/// Disables preemption (Linux: `preempt_disable`). Any context.
#[inline]
pub fn preempt_disable() -> PreemptGuard {
    arch::preempt_count_inc();
    PreemptGuard {
        _not_send: PhantomData,
    }
}

impl Drop for PreemptGuard {
    #[inline]
    fn drop(&mut self) {
        if arch::preempt_count_dec_and_test() {
            crate::kernel::sched::preempt_schedule();
        }
    }
}

/// In a hard interrupt handler.
pub fn in_hardirq() -> bool {
    arch::preempt_count() & HARDIRQ_MASK != 0
}
/// In a softirq handler, or with bottom halves disabled.
pub fn in_softirq() -> bool {
    arch::preempt_count() & SOFTIRQ_MASK != 0
}
/// Processing a softirq right now.
pub fn in_serving_softirq() -> bool {
    arch::preempt_count() & SOFTIRQ_OFFSET != 0
}
/// In any interrupt (Linux: `in_interrupt`).
pub fn in_interrupt() -> bool {
    arch::preempt_count() & (NMI_MASK | HARDIRQ_MASK | SOFTIRQ_MASK) != 0
}
/// May not sleep here (Linux: `in_atomic` or interrupts off).
pub fn in_atomic() -> bool {
    arch::preempt_count() != 0 || arch::irqs_disabled()
}
