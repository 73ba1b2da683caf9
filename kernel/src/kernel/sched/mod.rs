//! The scheduler (Linux: kernel/sched/).

pub mod completion;
pub mod task;
pub mod wait;

use alloc::sync::Arc;
use task::Task;

/// The running task (Linux: `current`). Panics before `init_task` is set up (kernel bug).
pub fn current() -> task::CurrentTask {
    task::current_task()
}

/// Gives the CPU to another task; returns when this one is chosen again (Linux: `schedule`).
/// The task's state says whether it stays runnable. Context: process, preempt count 0.
pub fn schedule() {
    todo!()
}
/// Preempts the running task if that was asked for; called when the preempt count falls to 0.
pub fn preempt_check_resched() {}
/// Sleeps for `timeout` jiffies at most in the state that was set before; returns what is left.
pub fn schedule_timeout(timeout: u64) -> u64 {
    let _ = timeout;
    todo!()
}
/// Lets others run (sched_yield(2)).
pub fn yield_now() {
    todo!()
}
/// Makes a sleeping task runnable; false if it was runnable already. Any context.
pub fn wake_up_process(task: &Arc<Task>) -> bool {
    let _ = task;
    todo!()
}
/// The periodic tick: accounting, preemption by deadline. Hard interrupt context.
pub fn scheduler_tick() {
    todo!()
}
