//! Where a task sleeps (Linux: kernel/sched/core.c, `get_wchan`, `in_sched_functions`).
#![forbid(unsafe_code)]

use alloc::string::ToString;
use core::ops::ControlFlow;

use crate::arch;
use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// What sleeps for others: their caller is what a reader wants to know. Linux marks them with `__sched`.
const SLEEPERS: &[&str] = &[
    "schedule",
    "__schedule",
    "switch_to",
    "context_switch",
    "sleep_on",
    "sleep_until",
    "Completion::",
    "Mutex::",
    "PollTable::",
    "RwSemaphore::",
    "Semaphore::",
    "SleepLock::",
    "SwaitQueue::",
    "WaitQueueHead::",
];

/// Name of the function in which a task sleeps that is not running; `None` if nobody can tell.
pub fn get_wchan(task: &Task) -> Option<String> {
    let mut found = None;
    arch::walk_task_stack(task, |address| {
        // A call may be the last instruction of a function.
        let Some((name, ..)) = arch::kallsyms_lookup(address.wrapping_sub(1)) else {
            return ControlFlow::Break(());
        };
        let name = ToString::to_string(&name);
        if sleeps_for_others(&name) {
            return ControlFlow::Continue(());
        }
        found = Some(name);
        ControlFlow::Break(())
    });
    found
}

fn sleeps_for_others(name: &str) -> bool {
    SLEEPERS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_and_the_locks_are_not_what_is_waited_for() {
        for name in [
            "schedule",
            "schedule_timeout",
            "WaitQueueHead::wait",
            "Mutex::lock_slow",
        ] {
            assert!(sleeps_for_others(name), "{name}");
        }
        for name in ["Tty::wait_for_input", "sys_wait4", "Pipe::wait_readable"] {
            assert!(!sleeps_for_others(name), "{name}");
        }
    }
}
