//! Waking without a wasted lock when nobody waits.
#![forbid(unsafe_code)]

use crate::kernel::sched::wait::WaitQueueHead;

/// Wakes everybody, if somebody waits. The caller changed the condition before.
#[inline]
pub fn wake_if_active(queue: &WaitQueueHead) {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    if queue.is_active() {
        queue.wake_up_all();
    }
}
