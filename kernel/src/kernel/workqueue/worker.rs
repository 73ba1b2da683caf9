//! The threads that do the work (Linux: `worker_thread`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::pool::{Busy, POOL_DISASSOCIATED, PoolGuard, WorkerPool};
use super::queue::{self, Workqueue};
use super::work::{FLUSH_WAIT, Queued, Work, WorkAdapter, WorkList};
use crate::arch;
use crate::kernel::kthread::kthread_create;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::sched::syscalls::set_user_nice;
use crate::kernel::sched::task::{Task, pf, state::*};
use crate::kernel::sched::{
    cond_resched, current, schedule, schedule_timeout, schedule_timeout_interruptible,
    set_cpus_allowed, set_current_state, wake_up_process,
};
use crate::kernel::time::{HZ, jiffies};
use crate::prelude::*;

/// Why a worker does not count as running (Linux: `WORKER_NOT_RUNNING`).
mod wflags {
    /// Looks for work.
    pub const PREP: u32 = 8;
    /// Runs a work that others need not wait for.
    pub const CPU_INTENSIVE: u32 = 0x40;
    /// Of an unbound pool.
    pub const UNBOUND: u32 = 0x80;
    /// Any of them.
    pub const NOT_RUNNING: u32 = PREP | CPU_INTENSIVE | UNBOUND;
}

/// Idle workers that are too many end after so long (Linux: `IDLE_WORKER_TIMEOUT`).
const IDLE_WORKER_TIMEOUT: u64 = 300 * HZ;
/// More than one idle worker for so many busy ones is too many (Linux:
/// `MAX_IDLE_WORKERS_RATIO`).
const MAX_IDLE_WORKERS_RATIO: usize = 4;
/// Until the rescuers are called (Linux: `MAYDAY_INITIAL_TIMEOUT`): at least two jiffies.
const MAYDAY_INITIAL_TIMEOUT: u64 = if HZ / 100 >= 2 { HZ / 100 } else { 2 };
/// Between attempts to make a worker (Linux: `CREATE_COOLDOWN`).
const CREATE_COOLDOWN: u64 = HZ;

/// A thread of a pool, or a rescuer (Linux: `struct worker`).
pub struct Worker {
    id: usize,
    flags: AtomicU32,
    /// Sleeps in a work, and was taken out of `nr_running` for it.
    sleeping: AtomicBool,
    pool: IrqSpinLock<Option<&'static WorkerPool>>,
    task: IrqSpinLock<Weak<Task>>,
    /// Works that must follow the one that it runs: the same one, queued again meanwhile.
    pub(super) scheduled: IrqSpinLock<WorkList>,
    current_wq: IrqSpinLock<Option<Arc<Workqueue>>>,
}

/// The worker that the running task is.
pub(super) fn current_worker() -> Option<Arc<Worker>> {
    let kthread = current().as_task().kthread.as_ref()?;
    kthread.worker().cloned()
}

impl Worker {
    pub(super) fn new(id: usize, pool: Option<&'static WorkerPool>) -> Arc<Self> {
        let unbound = pool.is_none_or(|pool| pool.cpu.is_none());
        let flags = wflags::PREP | if unbound { wflags::UNBOUND } else { 0 };
        Arc::new(Self {
            id,
            flags: AtomicU32::new(flags),
            sleeping: AtomicBool::new(false),
            pool: IrqSpinLock::new(pool),
            task: IrqSpinLock::new(Weak::new()),
            scheduled: IrqSpinLock::new(WorkList::new(WorkAdapter::NEW)),
            current_wq: IrqSpinLock::new(None),
        })
    }

    pub(super) fn task(&self) -> Option<Arc<Task>> {
        self.task.lock().upgrade()
    }
    pub(super) fn runs_for(&self, wq: &Arc<Workqueue>) -> bool {
        let current = self.current_wq.lock();
        current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, wq))
    }

    /// The running task becomes this worker.
    pub(super) fn adopt_current(self: &Arc<Self>) {
        let me = current();
        *self.task.lock() = Arc::downgrade(&me.to_arc());
        if let Some(kthread) = &me.as_task().kthread {
            kthread.set_worker(self.clone());
        }
        me.flags.fetch_or(pf::PF_WQ_WORKER, Ordering::Relaxed);
    }

    fn has(&self, flags: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flags != 0
    }
    /// Sets flags; a worker that ran stops counting. The pool is locked.
    fn set_flags(&self, pool: &WorkerPool, flags: u32) {
        let before = self.flags.fetch_or(flags, Ordering::Relaxed);
        if before & wflags::NOT_RUNNING == 0 && flags & wflags::NOT_RUNNING != 0 {
            pool.nr_running.fetch_sub(1, Ordering::Relaxed);
        }
    }
    /// Clears flags; with the last one the worker counts. The pool is locked.
    fn clear_flags(&self, pool: &WorkerPool, flags: u32) {
        let before = self.flags.fetch_and(!flags, Ordering::Relaxed);
        let after = before & !flags;
        if before & wflags::NOT_RUNNING != 0 && after & wflags::NOT_RUNNING == 0 {
            pool.nr_running.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// --- what the scheduler tells -----------------------------------------------------------------------

/// A worker is about to sleep: if nobody else of its pool runs, somebody is woken for the works
/// that wait (Linux: `wq_worker_sleeping`). `schedule` calls it for workers.
#[cold]
pub fn wq_worker_sleeping() {
    let Some(worker) = current_worker() else {
        return;
    };
    if worker.has(wflags::NOT_RUNNING) || worker.sleeping.load(Ordering::Relaxed) {
        return;
    }
    let Some(pool) = *worker.pool.lock() else {
        return;
    };
    worker.sleeping.store(true, Ordering::Relaxed);
    let state = pool.lock();
    pool.nr_running.fetch_sub(1, Ordering::Relaxed);
    pool.kick(&state);
}

/// A worker runs again (Linux: `wq_worker_running`). `schedule` calls it for workers.
#[cold]
pub fn wq_worker_running() {
    let Some(worker) = current_worker() else {
        return;
    };
    if !worker.sleeping.load(Ordering::Relaxed) {
        return;
    }
    // No switch in between, which would count the worker twice or not at all.
    let _here = preempt_disable();
    let pool = *worker.pool.lock();
    if let (Some(pool), false) = (pool, worker.has(wflags::NOT_RUNNING)) {
        pool.nr_running.fetch_add(1, Ordering::Relaxed);
    }
    worker.sleeping.store(false, Ordering::Relaxed);
}

// --- making workers ---------------------------------------------------------------------------------

/// Makes a worker, which starts idle (Linux: `create_worker`). May sleep. Errors: ENOMEM, EAGAIN.
pub(super) fn create_worker(pool: &'static WorkerPool) -> Result {
    let id = pool.lock().free_id();
    let worker = Worker::new(id, Some(pool));
    let name = match pool.cpu {
        Some(cpu) => {
            let high = if pool.nice < 0 { "H" } else { "" };
            format!("kworker/{cpu}:{id}{high}")
        }
        None => format!("kworker/u{}:{id}", pool.id),
    };
    let me = worker.clone();
    let task = kthread_create(&name, move || worker_thread(&me, pool))?;
    set_user_nice(&task, pool.nice);
    if let Some(cpu) = pool.cpu {
        set_cpus_allowed(&task, 1 << cpu)?;
    }
    *worker.task.lock() = Arc::downgrade(&task);
    let mut state = pool.lock();
    let most = state.workers.len() + 1;
    state.idle.reserve(most);
    state.busy.reserve(most);
    state.workers.push(worker.clone());
    state.idle.push(worker);
    pool.flags.fetch_and(!POOL_DISASSOCIATED, Ordering::Relaxed);
    wake_up_process(&task);
    Ok(())
}

impl super::pool::PoolState {
    /// The smallest number that no worker has. One worker is made at a time.
    fn free_id(&self) -> usize {
        let is_free = |id: &usize| self.workers.iter().all(|worker| worker.id != *id);
        (0..).find(is_free).unwrap_or(0)
    }
}

/// Makes sure that an idle worker is in reserve, while nobody else does (Linux:
/// `manage_workers`). False: nothing was done.
fn manage_workers(pool: &'static WorkerPool, mut state: PoolGuard) -> (PoolGuard, bool) {
    if state.manager_active {
        return (state, false);
    }
    state.manager_active = true;
    drop(state);
    create_until_idle(pool);
    state = pool.lock();
    state.manager_active = false;
    (state, true)
}

/// Linux: `maybe_create_worker`. Rescuers are called while it takes too long.
fn create_until_idle(pool: &'static WorkerPool) {
    let mayday = pool.mayday_timer.get();
    if let Some(timer) = mayday {
        timer.mod_timer(jiffies() + MAYDAY_INITIAL_TIMEOUT);
    }
    while create_worker(pool).is_err() {
        schedule_timeout_interruptible(CREATE_COOLDOWN);
        if !pool.need_to_create_worker(&pool.lock()) {
            break;
        }
    }
    if let Some(timer) = mayday {
        timer.del_timer();
    }
}

// --- the thread ---------------------------------------------------------------------------------------

/// The main function of a worker.
fn worker_thread(worker: &Arc<Worker>, pool: &'static WorkerPool) -> i32 {
    worker.adopt_current();
    loop {
        let mut state = pool.lock();
        state.idle.retain(|idle| !Arc::ptr_eq(idle, worker));
        while pool.need_more_worker(&state) {
            if state.idle.is_empty() {
                let managed;
                (state, managed) = manage_workers(pool, state);
                if managed {
                    continue; // the lock was dropped: look again
                }
            }
            state = work_off(worker, pool, state);
        }
        // From here to `schedule` under the lock that wakers hold: no wake-up is lost.
        set_current_state(TASK_IDLE);
        state.idle.push(worker.clone());
        let timeout = state.has_too_many_workers().then_some(IDLE_WORKER_TIMEOUT);
        drop(state);
        match timeout {
            None => schedule(),
            Some(timeout) if schedule_timeout(timeout) > 0 => {}
            Some(_) if retire(worker, pool) => return 0,
            Some(_) => {}
        }
        set_current_state(TASK_RUNNING);
    }
}

impl super::pool::PoolState {
    /// Linux: `too_many_workers`.
    fn has_too_many_workers(&self) -> bool {
        let idle = self.idle.len();
        idle > 2 && (idle - 2) * MAX_IDLE_WORKERS_RATIO >= self.workers.len() - idle
    }
}

/// Takes the worker, idle for long, out of the pool if there are too many (Linux:
/// `idle_cull_fn`).
fn retire(worker: &Arc<Worker>, pool: &'static WorkerPool) -> bool {
    let mut state = pool.lock();
    let is_idle = state.idle.iter().any(|idle| Arc::ptr_eq(idle, worker));
    if !is_idle || !state.has_too_many_workers() || pool.need_more_worker(&state) {
        return false;
    }
    state.idle.retain(|idle| !Arc::ptr_eq(idle, worker));
    state.workers.retain(|other| !Arc::ptr_eq(other, worker));
    drop(state);
    set_current_state(TASK_RUNNING);
    true
}

/// Runs works as long as there are any and no other worker runs (Linux: `keep_working`).
fn work_off(worker: &Arc<Worker>, pool: &'static WorkerPool, mut state: PoolGuard) -> PoolGuard {
    worker.clear_flags(pool, wflags::PREP);
    while pool.nr_running.load(Ordering::Relaxed) <= 1 {
        let Some(work) = state.worklist.pop_front() else {
            break;
        };
        pool.touch_watchdog();
        if let Some(busy) = state.busy_with(&work) {
            // Another worker runs it: no two may at a time, so that one runs it again.
            busy.worker.scheduled.lock().push_back(work);
            continue;
        }
        state = process_one_work(worker, pool, state, work);
        state = process_scheduled_works(worker, pool, state);
    }
    worker.set_flags(pool, wflags::PREP);
    state
}

/// Runs what was put aside for this worker.
pub(super) fn process_scheduled_works(
    worker: &Arc<Worker>,
    pool: &'static WorkerPool,
    mut state: PoolGuard,
) -> PoolGuard {
    loop {
        let Some(work) = worker.scheduled.lock().pop_front() else {
            return state;
        };
        state = process_one_work(worker, pool, state, work);
    }
}

/// Runs one work that was taken out of its list (Linux: `process_one_work`).
fn process_one_work(
    worker: &Arc<Worker>,
    pool: &'static WorkerPool,
    mut state: PoolGuard,
    work: Arc<Work>,
) -> PoolGuard {
    let (wq, pwq, color) = {
        let mut place = work.place.lock();
        place.queued = Queued::No;
        place.started += 1;
        let Some((wq, pwq)) = queue::pwq_of_place(&place) else {
            return pool_without(state);
        };
        (wq, pwq, place.color)
    };
    state.busy.push(Busy {
        work: work.clone(),
        wq: wq.clone(),
        worker: worker.clone(),
    });
    *worker.current_wq.lock() = Some(wq.clone());
    let is_intensive = wq.flags.contains(super::WqFlags::CPU_INTENSIVE);
    if is_intensive {
        worker.set_flags(pool, wflags::CPU_INTENSIVE);
    }
    // Workers that do not count leave the rest to the next one.
    pool.kick(&state);
    drop(state);
    // From here on it can be queued again; what was stored before that is seen by the function.
    work.pending.swap(false, Ordering::SeqCst);
    (work.func)();
    check_leaks();
    cond_resched();
    state = pool.lock();
    if is_intensive {
        worker.clear_flags(pool, wflags::CPU_INTENSIVE);
    }
    let done = {
        let index = state
            .busy
            .iter()
            .position(|busy| Arc::ptr_eq(&busy.worker, worker));
        index.map(|index| state.busy.swap_remove(index))
    };
    let current = worker.current_wq.lock().take();
    work.place.lock().finished += 1;
    wq.pwqs[pwq].dec_in_flight(&mut state, color, Queued::Active);
    drop(state);
    FLUSH_WAIT.wake_up_all();
    // Outside the lock: each may be the last handle.
    drop((done, current, wq, work));
    pool.lock()
}

/// A work without a queue cannot be in a list.
fn pool_without(state: PoolGuard) -> PoolGuard {
    crate::warn_on_once!(true);
    state
}

/// Repairs and reports what a work's function left behind.
fn check_leaks() {
    let count = arch::preempt_count();
    let reading = u32::from(current().as_task().rcu.is_reading());
    if count != 0 || reading != 0 || arch::irqs_disabled() {
        pr_err!(
            "BUG: workqueue leaked atomic, lock or RCU: {}",
            queue::who()
        );
        pr_err!("     preempt={count:#010x} lock=0->0 RCU=0->{reading}");
        arch::preempt_count_sub(count);
        arch::local_irq_enable();
    }
}
