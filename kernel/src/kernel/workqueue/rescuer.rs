//! Help when no worker can be made (Linux: `rescuer_thread`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::pool::WorkerPool;
use super::queue::Workqueue;
use super::work::{WorkAdapter, WorkList};
use super::worker::{Worker, process_scheduled_works};
use crate::kernel::kthread::{kthread_create, kthread_should_stop};
use crate::kernel::sched::task::{Task, state::*};
use crate::kernel::sched::{schedule, set_current_state, wake_up_process};
use crate::kernel::time::{HZ, jiffies};
use crate::prelude::*;

/// Between two calls for help (Linux: `MAYDAY_INTERVAL`).
const MAYDAY_INTERVAL: u64 = HZ / 10;

/// The thread in reserve of a queue, which needs no memory when there is none.
pub(super) struct Rescuer {
    thread: IrqSpinLock<Option<Arc<Task>>>,
    /// Some pool cannot make a worker for this queue's works.
    mayday: AtomicBool,
}

impl Rescuer {
    pub(super) fn new() -> Self {
        Self {
            thread: IrqSpinLock::new(None),
            mayday: AtomicBool::new(false),
        }
    }

    pub(super) fn take_thread(&self) -> Option<Arc<Task>> {
        self.thread.lock().take()
    }

    /// Calls for help. Any context.
    fn wake(&self) {
        self.mayday.store(true, Ordering::Release);
        let thread = self.thread.lock().clone();
        if let Some(thread) = thread {
            wake_up_process(&thread);
        }
    }
}

/// Starts the rescuer of a queue that wants one (Linux: `init_rescuer`). May sleep. Errors:
/// ENOMEM, EINTR.
pub(super) fn init_rescuer(wq: &Arc<Workqueue>) -> Result {
    let Some(rescuer) = &wq.rescuer else {
        return Ok(());
    };
    let weak = Arc::downgrade(wq);
    let name = format!("kworker/R-{}", wq.name);
    let thread = kthread_create(&name, move || rescuer_thread(&weak)).inspect_err(|error| {
        pr_err!(
            "workqueue: Failed to create a rescuer kthread for wq \"{}\": -{}",
            wq.name,
            error.name()
        );
    })?;
    *rescuer.thread.lock() = Some(thread.clone());
    wake_up_process(&thread);
    Ok(())
}

/// A pool has had works and no idle worker for too long: the rescuers of their queues take over
/// (Linux: `pool_mayday_timeout`). Timer softirq.
pub(super) fn pool_mayday_timeout(pool: &'static WorkerPool) {
    let state = pool.lock();
    if !pool.need_to_create_worker(&state) {
        return;
    }
    for work in &state.worklist {
        let place = work.place.lock();
        if let Some(rescuer) = place.wq.as_ref().and_then(|wq| wq.rescuer.as_ref()) {
            rescuer.wake();
        }
    }
    drop(state);
    if let Some(timer) = pool.mayday_timer.get() {
        timer.mod_timer(jiffies() + MAYDAY_INTERVAL);
    }
}

/// The main function of a rescuer.
fn rescuer_thread(wq: &Weak<Workqueue>) -> i32 {
    let worker = Worker::new(0, None);
    worker.adopt_current();
    loop {
        set_current_state(TASK_IDLE);
        if kthread_should_stop() {
            set_current_state(TASK_RUNNING);
            return 0;
        }
        let called = wq.upgrade().filter(is_called);
        match called {
            Some(wq) => {
                set_current_state(TASK_RUNNING);
                rescue(&worker, &wq);
            }
            None => schedule(),
        }
    }
}

fn is_called(wq: &Arc<Workqueue>) -> bool {
    let rescuer = wq.rescuer.as_ref();
    rescuer.is_some_and(|rescuer| rescuer.mayday.swap(false, Ordering::AcqRel))
}

/// Runs the queue's works of every pool that cannot.
fn rescue(worker: &Arc<Worker>, wq: &Arc<Workqueue>) {
    for pwq in &wq.pwqs {
        let mut state = pwq.pool.lock();
        if !pwq.pool.need_to_create_worker(&state) {
            continue;
        }
        let mut others = WorkList::new(WorkAdapter::NEW);
        while let Some(work) = state.worklist.pop_front() {
            let is_ours = {
                let place = work.place.lock();
                place
                    .wq
                    .as_ref()
                    .is_some_and(|of_work| Arc::ptr_eq(of_work, wq))
            };
            match (is_ours, state.busy_with(&work)) {
                (false, _) => others.push_back(work),
                (true, Some(busy)) => busy.worker.scheduled.lock().push_back(work),
                (true, None) => worker.scheduled.lock().push_back(work),
            }
        }
        state.worklist = others;
        drop(process_scheduled_works(worker, pwq.pool, state));
    }
}
