//! Workqueues: queueing, flushing, draining (Linux: `struct workqueue_struct`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::init;
use super::pool::{PoolGuard, WorkerPool};
use super::rescuer::Rescuer;
use super::work::{FLUSH_WAIT, Place, Queued, Work, WorkAdapter, WorkList, remove_from};
use crate::arch;
use crate::kernel::kthread::kthread_stop;
use crate::kernel::locking::Mutex;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::sched::{current, might_sleep};
use crate::prelude::*;

bitflags::bitflags! {
    /// What kind of queue (Linux: `WQ_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct WqFlags: u32 {
        /// Its works run on any CPU.
        const UNBOUND = 2;
        /// Stops when the system is frozen; nothing freezes it yet.
        const FREEZABLE = 4;
        /// Memory may be freed by its works: it has a rescuer.
        const MEM_RECLAIM = 8;
        /// Its workers have a high priority.
        const HIGHPRI = 16;
        /// Its works use much CPU time: others need not wait for them.
        const CPU_INTENSIVE = 32;
    }
}

/// Works at a time on each pool when nobody says how many (Linux: `WQ_DFL_ACTIVE`).
const WQ_DFL_ACTIVE: u32 = 256;
/// Most works at a time (Linux: `WQ_MAX_ACTIVE`).
const WQ_MAX_ACTIVE: u32 = 512;

/// A queue's share of a pool (Linux: `struct pool_workqueue`).
pub(super) struct PoolWorkqueue {
    pub(super) pool: &'static WorkerPool,
    state: IrqSpinLock<PwqState>,
}

struct PwqState {
    /// Works in the pool's list, or running.
    nr_active: u32,
    /// Works that wait until there are fewer active ones.
    inactive: WorkList,
    /// Which count new works go into; a flush changes it.
    color: usize,
    /// Works that are queued or running.
    in_flight: [u32; 2],
}

/// A queue of works.
pub struct Workqueue {
    /// Name, as in the rescuer's.
    pub(super) name: String,
    pub(super) flags: WqFlags,
    max_active: u32,
    /// One for each CPU, or a single one for an unbound queue.
    pub(super) pwqs: Vec<PoolWorkqueue>,
    /// One flush at a time; holds the color of new works.
    flush: Mutex<usize>,
    /// Only works that are running may queue others.
    draining: AtomicBool,
    pub(super) rescuer: Option<Rescuer>,
}

/// Makes a queue; `max_active` works run at a time on each pool, 0 for the usual number (Linux:
/// `alloc_workqueue`). May sleep. Errors: ENOMEM, EINTR: there is no rescuer.
pub fn alloc_workqueue(name: &str, flags: WqFlags, max_active: u32) -> Result<Arc<Workqueue>> {
    let max_active = match max_active {
        0 => WQ_DFL_ACTIVE,
        max => max.min(WQ_MAX_ACTIVE),
    };
    let pools = init::pools_for(flags);
    let wq = Arc::new(Workqueue {
        name: String::from(name),
        flags,
        max_active,
        pwqs: pools.into_iter().map(PoolWorkqueue::new).collect(),
        flush: Mutex::new(0),
        draining: AtomicBool::new(false),
        rescuer: flags.contains(WqFlags::MEM_RECLAIM).then(Rescuer::new),
    });
    init::register(&wq)?;
    Ok(wq)
}

/// Makes an unbound queue that runs one work at a time, in order (Linux:
/// `alloc_ordered_workqueue`).
pub fn alloc_ordered_workqueue(name: &str, flags: WqFlags) -> Result<Arc<Workqueue>> {
    alloc_workqueue(name, flags | WqFlags::UNBOUND, 1)
}

/// Queues `work`, for a CPU's queue on the CPU that this runs on. False: it was queued already.
/// Any context but NMI (Linux: `queue_work`).
pub fn queue_work(wq: &Arc<Workqueue>, work: &Arc<Work>) -> bool {
    let claimed = work.claim();
    if claimed {
        insert(None, wq, work);
    }
    claimed
}

/// `queue_work` on a certain CPU, which is online.
pub fn queue_work_on(cpu: usize, wq: &Arc<Workqueue>, work: &Arc<Work>) -> bool {
    let claimed = work.claim();
    if claimed {
        insert(Some(cpu), wq, work);
    }
    claimed
}

/// Queues `work` on the queue for everything (Linux: `schedule_work`; 2.4: `schedule_task`, for
/// keventd). Any context but NMI.
pub fn schedule_work(work: &Arc<Work>) -> bool {
    queue_work(init::system_wq(), work)
}

/// Queues a work that the caller has claimed (Linux: `__queue_work`).
pub(super) fn insert(cpu: Option<usize>, wq: &Arc<Workqueue>, work: &Arc<Work>) {
    let _here = preempt_disable();
    if wq.draining.load(Ordering::Acquire) && !current_works_for(wq) {
        crate::kernel::bug::warn_slowpath(Some(format_args!(
            "workqueue: cannot queue work on draining wq {}",
            wq.name
        )));
        work.pending.store(false, Ordering::Release);
        return;
    }
    let cpu = cpu.unwrap_or_else(arch::smp_processor_id);
    let index = wq.where_it_runs(work).unwrap_or(wq.pwq_of(cpu));
    let pwq = &wq.pwqs[index];
    let mut pool = pwq.pool.lock();
    let mut state = pwq.state.lock();
    let color = state.color;
    state.in_flight[color] += 1;
    let is_active = state.nr_active < wq.max_active;
    let old_wq = {
        let mut place = work.place.lock();
        place.pwq = index;
        place.color = color;
        place.last_pool = Some(pwq.pool);
        place.queued = match is_active {
            true => Queued::Active,
            false => Queued::Inactive,
        };
        place.wq.replace(wq.clone())
    };
    if is_active {
        state.nr_active += 1;
        drop(state);
        if pool.worklist.is_empty() {
            pwq.pool.touch_watchdog();
        }
        pool.worklist.push_back(work.clone());
        pwq.pool.kick(&pool);
    } else {
        state.inactive.push_back(work.clone());
        drop(state);
    }
    drop(pool);
    drop(old_wq);
}

/// Whether the running task is a worker that runs a work of `wq` (Linux: `is_chained_work`).
fn current_works_for(wq: &Arc<Workqueue>) -> bool {
    let worker = super::worker::current_worker();
    worker.is_some_and(|worker| worker.runs_for(wq))
}

impl PoolWorkqueue {
    fn new(pool: &'static WorkerPool) -> Self {
        Self {
            pool,
            state: IrqSpinLock::new(PwqState {
                nr_active: 0,
                inactive: WorkList::new(WorkAdapter::NEW),
                color: 0,
                in_flight: [0; 2],
            }),
        }
    }

    /// A work is done or was cancelled: the next inactive one takes its place (Linux:
    /// `pwq_dec_nr_in_flight`). The pool is locked.
    pub(super) fn dec_in_flight(&self, pool: &mut PoolGuard, color: usize, was: Queued) {
        let mut state = self.state.lock();
        state.in_flight[color] -= 1;
        if was != Queued::Active {
            return;
        }
        state.nr_active -= 1;
        if let Some(next) = state.inactive.pop_front() {
            state.nr_active += 1;
            next.place.lock().queued = Queued::Active;
            pool.worklist.push_back(next);
            self.pool.kick(pool);
        }
    }

    /// Takes a work out that waits for fewer active ones. The pool is locked.
    pub(super) fn remove_inactive(&self, work: &Work) -> Option<Arc<Work>> {
        remove_from(&mut self.state.lock().inactive, work)
    }

    fn in_flight(&self, color: usize) -> u32 {
        self.state.lock().in_flight[color]
    }
}

impl Workqueue {
    /// Which pool the works of `cpu` go to.
    fn pwq_of(&self, cpu: usize) -> usize {
        cpu.min(self.pwqs.len() - 1)
    }

    /// The pool on which a worker runs `work` for this queue right now: it must run it again, so
    /// that no two do at a time.
    fn where_it_runs(&self, work: &Arc<Work>) -> Option<usize> {
        let (last, pwq) = {
            let place = work.place.lock();
            if !place.is_running() {
                return None;
            }
            (place.last_pool?, place.pwq)
        };
        let pool = last.lock();
        let busy = pool.busy_with(work)?;
        core::ptr::eq(&*busy.wq, self).then_some(pwq)
    }

    /// Waits until every work that is queued now has run (Linux: `flush_workqueue`). May sleep;
    /// not in a work of this queue.
    pub fn flush(&self) {
        might_sleep();
        // Everything that is in flight has this color, since the last flush has waited for the
        // other one; new works get the other one from here on.
        let mut color = self.flush.lock();
        let (old, new) = (*color, 1 - *color);
        *color = new;
        for pwq in &self.pwqs {
            pwq.state.lock().color = new;
        }
        FLUSH_WAIT.wait_event(|| self.pwqs.iter().all(|pwq| pwq.in_flight(old) == 0));
    }

    fn is_empty(&self) -> bool {
        let empty = |pwq: &PoolWorkqueue| pwq.in_flight(0) + pwq.in_flight(1) == 0;
        self.pwqs.iter().all(empty)
    }

    /// Waits until nothing is queued any more; meanwhile only the queue's own works may queue
    /// others (Linux: `drain_workqueue`). May sleep.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let mut flushes = 0;
        loop {
            self.flush();
            if self.is_empty() {
                break;
            }
            flushes += 1;
            if flushes == 10 || flushes % 100 == 0 && flushes <= 1000 {
                pr_warn!(
                    "workqueue {}: drain_workqueue() isn't complete after {flushes} tries",
                    self.name
                );
            }
        }
        self.draining.store(false, Ordering::Release);
    }

    /// Drains the queue and ends its rescuer; the handle is the last that queues anything (Linux:
    /// `destroy_workqueue`). May sleep.
    pub fn destroy(self: Arc<Self>) {
        self.drain();
        init::unregister(&self);
        if let Some(thread) = self.rescuer.as_ref().and_then(Rescuer::take_thread) {
            kthread_stop(&thread);
        }
    }
}

/// The queue and its pool's number of a work.
pub(super) fn pwq_of_place(place: &Place) -> Option<(Arc<Workqueue>, usize)> {
    Some((place.wq.clone()?, place.pwq))
}

/// Name and number of the running task, for reports.
pub(super) fn who() -> String {
    format!("{}[{}]", current().comm(), current().pid())
}
