//! Wait queues (Linux: kernel/sched/wait.c).
#![forbid(unsafe_code)]

use crate::prelude::*;

/// Tasks that wait for an event.
pub struct WaitQueueHead {
    // owner: kernel/sched
}

impl Default for WaitQueueHead {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitQueueHead {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {}
    }
    /// Wakes all non-exclusive waiters and one exclusive one. Any context.
    pub fn wake_up(&self) {
        todo!()
    }
    /// Wakes everybody. Any context.
    pub fn wake_up_all(&self) {
        todo!()
    }
    /// Whether somebody waits.
    pub fn is_active(&self) -> bool {
        todo!()
    }
    /// Sleeps uninterruptibly until `condition` holds.
    pub fn wait_event(&self, condition: impl FnMut() -> bool) {
        let _ = condition;
        todo!()
    }
    /// Sleeps until `condition` holds. Errors: ERESTARTSYS when a signal came first.
    pub fn wait_event_interruptible(&self, condition: impl FnMut() -> bool) -> Result {
        let _ = condition;
        todo!()
    }
    /// Like `wait_event_interruptible`, one waiter is woken at a time.
    pub fn wait_event_interruptible_exclusive(&self, condition: impl FnMut() -> bool) -> Result {
        let _ = condition;
        todo!()
    }
    /// Like `wait_event_interruptible`, gives up after `timeout_ns`: Ok(false) then.
    pub fn wait_event_interruptible_timeout(
        &self,
        timeout_ns: u64,
        condition: impl FnMut() -> bool,
    ) -> Result<bool> {
        let _ = (timeout_ns, condition);
        todo!()
    }
    /// Registers the caller of poll(2) or select(2) (Linux: `poll_wait`).
    pub fn poll_wait(&self, table: &mut PollTable) {
        let _ = table;
        todo!()
    }
}

/// What poll(2), select(2) and epoll collect their wait queues in (Linux: `struct poll_table_struct`).
pub struct PollTable {
    // owner: kernel/sched
}
