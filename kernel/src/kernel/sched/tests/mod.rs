//! Tests of the scheduler, and a machine to run kernel code with tasks in unit tests.

mod classes;
mod fair;
mod sleeping;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use core::sync::atomic::{AtomicBool, Ordering};

use super::core::{need_resched, sched_init, schedule_idle};
use super::task::{Task, TaskInit, comm_from, state};
use crate::arch;
use crate::init::init_task::setup_boot_task;
use crate::kernel::cred::Cred;
use crate::kernel::fork::{kernel_thread, set_max_threads, user_mode_thread};
use crate::kernel::pid::PidTable;
use crate::kernel::sched::{schedule, schedule_timeout_uninterruptible, set_current_state};
use crate::kernel::signal::{SigHand, SignalStruct};
use crate::kernel::{kthread, softirq, time};
use crate::prelude::*;

/// One machine at a time: run queue, task table and timers are the kernel's own statics.
static ONE_MACHINE: Mutex<()> = Mutex::new(());

fn lock_machine() -> MutexGuard<'static, ()> {
    ONE_MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task in no list, for tests that look at data structures only.
pub fn lone_task() -> Arc<Task> {
    Task::new(TaskInit {
        signal: Arc::new(SignalStruct::init()),
        sighand: Arc::new(SigHand::default()),
        cred: Arc::new(Cred::root()),
        mm: None,
        fs: None,
        files: None,
        flags: 0,
        comm: comm_from(b"test"),
        kthread: None,
        stack: None,
    })
}

/// Makes this host thread a task, once, for tests of code that asks who is running.
pub fn run_as_lone_task() {
    if arch::current_ptr().is_null() {
        // SAFETY: the handle is given away, so the task lives for ever.
        unsafe { arch::set_current_ptr(Arc::into_raw(lone_task())) };
    }
}

/// Boots pids 0, 1 and 2 of a fresh machine and runs `body` as pid 1. Idle time passes in ticks,
/// as fast as the host can.
pub fn as_pid_1<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let _machine = lock_machine();
    let old_tasks = crate::kernel::pid::reset_for_test();
    drop::<PidTable>(old_tasks);
    super::rq::reset_for_test();
    kthread::reset_for_test();
    crate::kernel::rcu::reset_for_test();
    time::sched_clock_register(1_000_000_000);
    time::timer::init_timers();
    setup_boot_task();
    arch::preempt_count_add(1);
    sched_init();
    set_max_threads(1000).expect("a valid limit");

    let result = Arc::new(SpinLock::<Option<std::thread::Result<R>>>::new(None));
    let done = Arc::new(AtomicBool::new(false));
    let (result_of_body, body_done) = (result.clone(), done.clone());
    let init = user_mode_thread(move || {
        let outcome = catch_unwind(AssertUnwindSafe(body));
        *result_of_body.lock() = Some(outcome);
        body_done.store(true, Ordering::Release);
        loop {
            set_current_state(state::TASK_UNINTERRUPTIBLE);
            schedule();
        }
    });
    assert_eq!(init, Ok(1));
    assert_eq!(kernel_thread(kthread::kthreadd), Ok(2));
    kthread::set_kthreadd_task(crate::kernel::pid::find_task(2));
    idle_until(&done);
    arch::preempt_count_sub(1);
    // SAFETY: this thread is no task of the machine any more.
    unsafe { arch::set_current_ptr(core::ptr::null()) };
    let outcome = result.lock().take().expect("the body has ended");
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Lets everybody else run until they sleep: time passes only when nobody runs.
pub fn settle() {
    schedule_timeout_uninterruptible(1);
}

/// What the idle loop does, with a timer interrupt whenever nothing runs.
fn idle_until(done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        schedule_idle();
        arch::local_irq_disable();
        if !need_resched() {
            softirq::irq_enter();
            time::tick::tick_periodic();
            softirq::irq_exit();
        }
        arch::local_irq_enable();
    }
}
