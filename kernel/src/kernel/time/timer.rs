//! Timers (Linux: kernel/time/timer.c). For now only what `schedule_timeout` needs.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;

use crate::kernel::sched::task::Task;
use crate::kernel::sched::wake_up_process;
use crate::prelude::*;

struct Pending {
    next_id: u64,
    /// By expiry and number.
    tasks: BTreeMap<(u64, u64), Arc<Task>>,
}

static PENDING: IrqSpinLock<Pending> = IrqSpinLock::new(Pending {
    next_id: 0,
    tasks: BTreeMap::new(),
});

/// A wake-up that is cancelled when the handle is dropped.
#[must_use = "the wake-up is cancelled when the handle is dropped"]
pub struct TimerHandle {
    key: (u64, u64),
}

/// Wakes `task` when jiffies reach `expires`.
pub fn wake_task_at(task: Arc<Task>, expires: u64) -> TimerHandle {
    let mut pending = PENDING.lock();
    let key = (expires, pending.next_id);
    pending.next_id += 1;
    pending.tasks.insert(key, task);
    TimerHandle { key }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        let task = PENDING.lock().tasks.remove(&self.key);
        drop(task);
    }
}

/// Runs what is due at `now`, in jiffies. Interrupt context.
pub fn run_local_timers(now: u64) {
    loop {
        let due = {
            let mut pending = PENDING.lock();
            match pending.tasks.first_entry() {
                Some(first) if first.key().0 <= now => first.remove(),
                _ => return,
            }
        };
        wake_up_process(&due);
    }
}
