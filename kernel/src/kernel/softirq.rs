//! Softirqs (Linux: kernel/softirq.c). Placeholder until the real one is merged.
#![forbid(unsafe_code)]

use crate::arch;
use crate::kernel::preempt::HARDIRQ_OFFSET;

/// Enters a hard interrupt.
#[inline]
pub fn irq_enter() {
    arch::preempt_count_add(HARDIRQ_OFFSET);
}
/// Leaves it.
#[inline]
pub fn irq_exit() {
    arch::preempt_count_sub(HARDIRQ_OFFSET);
}
