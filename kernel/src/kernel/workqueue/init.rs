//! The three steps of the boot, and the queues of the system (Linux: `workqueue_init_early`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::pool::WorkerPool;
use super::queue::{Workqueue, WqFlags, alloc_workqueue};
use super::rescuer::init_rescuer;
use super::watchdog::wq_watchdog_init;
use super::worker::create_worker;
use crate::kernel::cpu;
use crate::mm::percpu::nr_cpu_ids;
use crate::prelude::*;

/// Of the pools of a CPU and of the unbound ones (Linux: `NR_STD_WORKER_POOLS`).
const STD_NICE: [i32; 2] = [0, -20];
/// Works at a time of the unbound system queue.
const UNBOUND_MAX_ACTIVE: u32 = 512;

/// All pools: two of each possible CPU, then two unbound ones.
static POOLS: spin::Once<Vec<&'static WorkerPool>> = spin::Once::new();
/// There are workers (Linux: `wq_online`).
static WQ_ONLINE: AtomicBool = AtomicBool::new(false);
/// All queues.
static WORKQUEUES: SpinLock<Vec<Weak<Workqueue>>> = SpinLock::new(Vec::new());

macro_rules! system_queues {
    ($($(#[$doc:meta])* $function:ident, $name:literal, $flags:expr, $max:expr;)*) => {
        /// The queues that always exist.
        struct SystemQueues {
            $($function: Arc<Workqueue>,)*
        }
        impl SystemQueues {
            fn new() -> Result<Self> {
                Ok(Self { $($function: alloc_workqueue($name, $flags, $max)?,)* })
            }
        }
        $(
            $(#[$doc])*
            pub fn $function() -> &'static Arc<Workqueue> {
                &system_queues().$function
            }
        )*
    };
}

system_queues! {
    /// For everything that is short.
    system_wq, "events", WqFlags::empty(), 0;
    /// For what must come first.
    system_highpri_wq, "events_highpri", WqFlags::HIGHPRI, 0;
    /// For what may take long.
    system_long_wq, "events_long", WqFlags::empty(), 0;
    /// For what belongs to no CPU.
    system_unbound_wq, "events_unbound", WqFlags::UNBOUND, UNBOUND_MAX_ACTIVE;
    /// For what stops while the system is frozen.
    system_freezable_wq, "events_freezable", WqFlags::FREEZABLE, 0;
    /// For what may run on a CPU that is awake anyway.
    system_power_efficient_wq, "events_power_efficient", WqFlags::empty(), 0;
}

static SYSTEM_QUEUES: spin::Once<SystemQueues> = spin::Once::new();

fn system_queues() -> &'static SystemQueues {
    SYSTEM_QUEUES.get().expect("workqueue_init_early has run")
}

/// Step 1: pools and system queues, so that work can be queued. There is no thread yet, and
/// nothing runs. Context: boot, one CPU, after the allocator.
#[__init]
pub fn workqueue_init_early() {
    let cpus = (0..nr_cpu_ids()).map(Some);
    let owners = cpus
        .chain([None])
        .flat_map(|cpu| STD_NICE.map(|nice| (cpu, nice)));
    let numbered = owners.enumerate();
    POOLS.call_once(|| {
        numbered
            .map(|(id, (cpu, nice))| WorkerPool::new(id, cpu, nice))
            .collect()
    });
    let queues = SystemQueues::new();
    SYSTEM_QUEUES.call_once(|| queues.expect("queues without rescuers do not fail"));
}

/// Step 2: rescuers, and the first worker of every pool: what was queued so far runs. Context:
/// pid 1, `kthreadd` runs; one CPU is online.
#[__init]
pub fn workqueue_init() {
    let waiting = core::mem::take(&mut *WORKQUEUES.lock());
    for wq in waiting.iter().filter_map(Weak::upgrade) {
        if init_rescuer(&wq).is_err() {
            crate::kernel::bug::warn_slowpath(Some(format_args!(
                "workqueue: failed to create early rescuer for {}",
                wq.name
            )));
        }
    }
    WORKQUEUES.lock().extend(waiting);
    cpu::online_cpus().for_each(workqueue_online_cpu);
    for pool in pools().filter(|pool| pool.cpu.is_none()) {
        first_worker(pool);
    }
    WQ_ONLINE.store(true, Ordering::Release);
    wq_watchdog_init();
}

/// `cpu` has come online: its pools get workers (Linux: `workqueue_online_cpu`). May sleep.
pub fn workqueue_online_cpu(cpu: usize) {
    for pool in pools().filter(|pool| pool.cpu == Some(cpu)) {
        if pool.lock().workers.is_empty() {
            first_worker(pool);
        }
    }
}

fn first_worker(pool: &'static WorkerPool) {
    let made = create_worker(pool);
    assert!(made.is_ok(), "no worker for pool {}: {made:?}", pool.id);
}

/// Step 3: all CPUs are known, so unbound queues could be divided by caches and nodes. There is
/// one pod for the whole machine, which is what a machine with one last-level cache has; CPUs that
/// have come online since step 2 get their workers.
#[__init]
pub fn workqueue_init_topology() {
    cpu::online_cpus().for_each(workqueue_online_cpu);
}

/// All pools.
pub(super) fn pools() -> impl Iterator<Item = &'static WorkerPool> {
    POOLS.get().into_iter().flatten().copied()
}

/// The pools that a queue of this kind uses: one for each CPU, or an unbound one.
pub(super) fn pools_for(flags: WqFlags) -> Vec<&'static WorkerPool> {
    let nice = STD_NICE[usize::from(flags.contains(WqFlags::HIGHPRI))];
    let unbound = flags.contains(WqFlags::UNBOUND);
    pools()
        .filter(|pool| pool.nice == nice && pool.cpu.is_none() == unbound)
        .collect()
}

/// Enters a new queue; its rescuer starts now, or in step 2. Errors: ENOMEM, EINTR.
pub(super) fn register(wq: &Arc<Workqueue>) -> Result {
    if WQ_ONLINE.load(Ordering::Acquire) {
        init_rescuer(wq)?;
    }
    WORKQUEUES.lock().push(Arc::downgrade(wq));
    Ok(())
}

/// Removes a queue.
pub(super) fn unregister(wq: &Arc<Workqueue>) {
    let mut queues = WORKQUEUES.lock();
    queues.retain(|other| !core::ptr::eq(other.as_ptr(), Arc::as_ptr(wq)));
}

/// A new machine of the test port has no workers.
#[cfg(test)]
pub(super) fn reset_for_test() {
    WQ_ONLINE.store(false, Ordering::Release);
    WORKQUEUES.lock().clear();
    pools().for_each(WorkerPool::reset_for_test);
}
