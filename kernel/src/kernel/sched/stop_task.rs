//! The stop class: one thread per CPU that nothing preempts (Linux: kernel/sched/stop_task.c).
//!
//! CPU hot-plug and active load balancing run in it; a single slot holds it while it waits.
#![forbid(unsafe_code)]

use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// The stopper of one CPU.
pub(super) struct StopRq {
    queued: Option<Arc<Task>>,
}

impl StopRq {
    pub(super) const fn new() -> Self {
        Self { queued: None }
    }
    /// Queues the stopper; there is only one for each CPU.
    pub(super) fn enqueue(&mut self, task: Arc<Task>) {
        debug_assert!(self.queued.is_none());
        self.queued = Some(task);
    }
    /// Takes it.
    pub(super) fn pick(&mut self) -> Option<Arc<Task>> {
        self.queued.take()
    }
}
