//! Worker pools (Linux: `struct worker_pool`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::queue::Workqueue;
use super::work::{Work, WorkAdapter, WorkList};
use super::worker::Worker;
use crate::kernel::locking::SpinLockGuard;
use crate::kernel::sched::wake_up_process;
use crate::kernel::time::jiffies;
use crate::kernel::time::timer::Timer;
use crate::prelude::*;

/// Threads that share a list of works. Pools live for ever.
pub(super) struct WorkerPool {
    /// Number, as in the names of unbound workers.
    pub(super) id: usize,
    /// The CPU its workers are bound to; `None` for an unbound pool.
    pub(super) cpu: Option<usize>,
    /// Of its workers.
    pub(super) nice: i32,
    /// Workers that run and count for concurrency. Only those of a CPU's pool ever do.
    pub(super) nr_running: AtomicI32,
    /// No worker has been made, or its CPU is offline (Linux: `POOL_DISASSOCIATED`).
    pub(super) flags: AtomicU32,
    /// Jiffy of the last progress.
    pub(super) watchdog_ts: AtomicU64,
    state: IrqSpinLock<PoolState>,
    pub(super) mayday_timer: spin::Once<Arc<Timer>>,
}

/// In `flags`.
pub(super) const POOL_DISASSOCIATED: u32 = 4;

/// What the pool's lock protects.
pub(super) struct PoolState {
    pub(super) worklist: WorkList,
    pub(super) workers: Vec<Arc<Worker>>,
    /// The one that became idle last is woken first: its data are still in the caches.
    pub(super) idle: Vec<Arc<Worker>>,
    pub(super) busy: Vec<Busy>,
    /// A worker is making another one (Linux: `POOL_MANAGER_ACTIVE`).
    pub(super) manager_active: bool,
}

/// Who runs what (Linux: `busy_hash`).
pub(super) struct Busy {
    pub(super) work: Arc<Work>,
    pub(super) wq: Arc<Workqueue>,
    pub(super) worker: Arc<Worker>,
}

/// A locked pool.
pub(super) type PoolGuard = SpinLockGuard<'static, PoolState, IrqsOff>;

impl WorkerPool {
    pub(super) fn new(id: usize, cpu: Option<usize>, nice: i32) -> &'static Self {
        let pool = Box::leak(Box::new(Self {
            id,
            cpu,
            nice,
            nr_running: AtomicI32::new(0),
            flags: AtomicU32::new(POOL_DISASSOCIATED),
            watchdog_ts: AtomicU64::new(jiffies()),
            state: IrqSpinLock::new(PoolState {
                worklist: WorkList::new(WorkAdapter::NEW),
                workers: Vec::new(),
                idle: Vec::new(),
                busy: Vec::new(),
                manager_active: false,
            }),
            mayday_timer: spin::Once::new(),
        }));
        let pool: &'static Self = pool;
        pool.mayday_timer
            .call_once(|| Timer::new(move || super::rescuer::pool_mayday_timeout(pool)));
        pool
    }

    pub(super) fn lock(&'static self) -> PoolGuard {
        self.state.lock()
    }

    pub(super) fn touch_watchdog(&self) {
        self.watchdog_ts.store(jiffies(), Ordering::Relaxed);
    }

    /// Work waits and nobody runs any (Linux: `need_more_worker`).
    pub(super) fn need_more_worker(&self, state: &PoolState) -> bool {
        !state.worklist.is_empty() && self.nr_running.load(Ordering::Relaxed) == 0
    }

    /// Wakes an idle worker if one is needed (Linux: `kick_pool`).
    pub(super) fn kick(&self, state: &PoolState) {
        if self.need_more_worker(state)
            && let Some(task) = state.idle.last().and_then(|worker| worker.task())
        {
            wake_up_process(&task);
        }
    }

    /// A new worker is needed and there is no idle one (Linux: `need_to_create_worker`).
    pub(super) fn need_to_create_worker(&self, state: &PoolState) -> bool {
        self.need_more_worker(state) && state.idle.is_empty()
    }

    /// A machine of the test port is gone, and its threads with it.
    #[cfg(test)]
    pub(super) fn reset_for_test(&'static self) {
        let old = {
            let mut state = self.lock();
            self.nr_running.store(0, Ordering::Relaxed);
            core::mem::replace(
                &mut *state,
                PoolState {
                    worklist: WorkList::new(WorkAdapter::NEW),
                    workers: Vec::new(),
                    idle: Vec::new(),
                    busy: Vec::new(),
                    manager_active: false,
                },
            )
        };
        drop(old);
    }
}

impl PoolState {
    /// Who runs a work (Linux: `find_worker_executing_work`).
    pub(super) fn busy_with(&self, work: &Work) -> Option<&Busy> {
        let mut busy = self.busy.iter();
        busy.find(|busy| core::ptr::eq(&*busy.work, work))
    }
}
