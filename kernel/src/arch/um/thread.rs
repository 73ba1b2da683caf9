//! Tasks of the test port: each runs on a host thread of its own, and a baton says which one has
//! "the CPU". So the real scheduler runs real tasks in unit tests, one at a time.

use std::sync::{Condvar, Mutex};

use crate::kernel::sched;
use crate::kernel::sched::task::{Task, state};
use crate::mm::VirtAddr;
use crate::prelude::*;

use super::process::ThreadEntry;
use super::{IRQS_OFF, PREEMPT_COUNT, set_current_ptr};

/// Whether the task's host thread may run.
#[derive(Default)]
pub struct ThreadStruct {
    baton: Mutex<bool>,
    passed: Condvar,
}

impl ThreadStruct {
    /// Of a task that does not run.
    pub const fn new() -> Self {
        Self {
            baton: Mutex::new(false),
            passed: Condvar::new(),
        }
    }
    fn give(&self) {
        *self.baton.lock().expect("no task panics with the baton") = true;
        self.passed.notify_one();
    }
    fn wait(&self) {
        let mut baton = self.baton.lock().expect("no task panics with the baton");
        while !*baton {
            baton = self
                .passed
                .wait(baton)
                .expect("no task panics with the baton");
        }
        *baton = false;
    }
}

/// Starts the task's host thread, which waits for the baton. See the x86 port.
pub fn copy_thread(child: &Task, _stack_top: VirtAddr, entry: ThreadEntry<'_>) -> Result {
    let start: Option<(fn(usize), usize)> = match entry {
        ThreadEntry::Kernel { f, arg } => Some((f, arg)),
        ThreadEntry::User { .. } => None,
    };
    // SAFETY: every task lives in an `Arc`.
    let task = unsafe {
        Arc::increment_strong_count(child);
        Arc::from_raw(child)
    };
    let run = move || {
        task.thread.wait();
        IRQS_OFF.set(true);
        PREEMPT_COUNT.set(1);
        // SAFETY: the scheduler keeps the running task alive.
        unsafe { set_current_ptr(&*task) };
        drop(task);
        sched::schedule_tail();
        if let Some((f, arg)) = start {
            f(arg);
        }
        // Here a real machine goes to user mode; a test task waits there for ever.
        loop {
            sched::set_current_state(state::TASK_UNINTERRUPTIBLE);
            sched::schedule();
        }
    };
    let spawned = std::thread::Builder::new()
        .name("um task".into())
        .spawn(run);
    spawned.map(drop).map_err(|_| Errno::ENOMEM)
}

/// The boot task runs on a stack of the host.
pub fn init_stack_end() -> Option<VirtAddr> {
    None
}

/// Passes the baton from `prev` to `next`; see the x86 port.
///
/// # Safety
/// `prev` is the running task, `next` one that waits for the baton.
pub unsafe fn switch_to(prev: &Task, next: &Task) {
    if prev.state.load(core::sync::atomic::Ordering::Relaxed) == state::TASK_DEAD {
        next.thread.give();
        // Nothing of the dead task may be touched any more; its host thread just stops here.
        loop {
            std::thread::park();
        }
    }
    next.thread.give();
    prev.thread.wait();
}
