//! Out of memory (Linux: mm/oom_kill.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::PAGE_SIZE;
use crate::kernel::sched::task::Task;

/// Never to be chosen.
pub const OOM_SCORE_ADJ_MIN: i32 = -1000;
/// Chosen first.
pub const OOM_SCORE_ADJ_MAX: i32 = 1000;

/// How much memory a process's end would give back, in pages, with its own wish added; `None` for
/// what is never chosen (Linux: `oom_badness`).
pub fn oom_badness(task: &Task, total_pages: u64) -> Option<i64> {
    let adj = task.signal.oom_score_adj.load(Ordering::Relaxed);
    if task.tgid() == 1 || task.is_kthread() || adj == OOM_SCORE_ADJ_MIN {
        return None;
    }
    let sizes = task.mm()?.sizes();
    let pages = sizes.rss_anon + sizes.rss_file + sizes.pte_bytes / PAGE_SIZE as u64;
    Some(pages as i64 + i64::from(adj) * (total_pages / 1000) as i64)
}

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
