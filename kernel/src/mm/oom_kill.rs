//! Out of memory (Linux: mm/oom_kill.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

/// Times that every zone was exhausted.
static OOM_EVENTS: AtomicU64 = AtomicU64::new(0);

/// Called when every zone is exhausted: the place where a process would be chosen to die for
/// its memory. There is no such choice yet, so the allocation fails. Process context.
pub(super) fn out_of_memory(order: u32) -> Option<u32> {
    let _ = order;
    OOM_EVENTS.fetch_add(1, Ordering::Relaxed);
    None
}

/// How often memory ran out since boot.
pub fn oom_events() -> u64 {
    OOM_EVENTS.load(Ordering::Relaxed)
}
