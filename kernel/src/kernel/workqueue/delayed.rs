//! Work that waits for a time first (Linux: `struct delayed_work`).
#![forbid(unsafe_code)]

use super::cancel::{cancel, flush_work, give_back, grab};
use super::init::system_wq;
use super::queue::{Workqueue, insert};
use super::work::Work;
use crate::kernel::time::jiffies;
use crate::kernel::time::timer::Timer;
use crate::prelude::*;

/// A work with a timer.
pub struct DelayedWork {
    /// What runs.
    pub work: Arc<Work>,
    timer: Arc<Timer>,
    /// The queue that the timer puts it into.
    wq: IrqSpinLock<Option<Arc<Workqueue>>>,
}

impl DelayedWork {
    /// Work that calls `func` (Linux: `INIT_DELAYED_WORK`).
    pub fn new(func: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| {
            let me = me.clone();
            Self {
                work: Work::new(func),
                timer: Timer::new(move || {
                    if let Some(me) = me.upgrade() {
                        me.timer_fires();
                    }
                }),
                wq: IrqSpinLock::new(None),
            }
        })
    }

    /// Linux: `delayed_work_timer_fn`. The claim goes over to the queue.
    fn timer_fires(&self) {
        let wq = self.wq.lock().take();
        if let Some(wq) = wq {
            insert(None, &wq, &self.work);
        }
    }

    /// Starts a work whose claim the caller has (Linux: `__queue_delayed_work`).
    fn start(&self, wq: &Arc<Workqueue>, delay: u64) {
        if delay == 0 {
            insert(None, wq, &self.work);
            return;
        }
        let old = self.wq.lock().replace(wq.clone());
        drop(old);
        self.timer.mod_timer(jiffies() + delay);
    }
}

/// Queues the work after `delay` jiffies. False: it was queued, or waits, already. Any context
/// but NMI.
pub fn queue_delayed_work(wq: &Arc<Workqueue>, work: &Arc<DelayedWork>, delay: u64) -> bool {
    let claimed = work.work.claim();
    if claimed {
        work.start(wq, delay);
    }
    claimed
}

/// `queue_delayed_work` on the queue for everything.
pub fn schedule_delayed_work(work: &Arc<DelayedWork>, delay: u64) -> bool {
    queue_delayed_work(system_wq(), work, delay)
}

/// Queues the work after `delay` jiffies from now, whatever it waited for before; true: it did.
/// May sleep.
pub fn mod_delayed_work(wq: &Arc<Workqueue>, work: &Arc<DelayedWork>, delay: u64) -> bool {
    let was_pending = grab(&work.work, Some(&work.timer));
    work.work.place.lock().canceling = false;
    work.start(wq, delay);
    was_pending
}

/// `cancel_work_sync` for a delayed work.
pub fn cancel_delayed_work_sync(work: &Arc<DelayedWork>) -> bool {
    cancel(&work.work, Some(&work.timer))
}

/// Queues the work at once if it waits for its time, and waits for it. May sleep.
pub fn flush_delayed_work(work: &Arc<DelayedWork>) -> bool {
    if work.timer.del_timer() {
        work.timer_fires();
    }
    flush_work(&work.work)
}

/// Takes the work back if it waits; does not wait for it to end (Linux: `cancel_delayed_work`).
pub fn cancel_delayed_work(work: &Arc<DelayedWork>) -> bool {
    let was_pending = grab(&work.work, Some(&work.timer));
    give_back(&work.work);
    was_pending
}
