//! Work that kernel threads do later (Linux: kernel/workqueue.c).
//!
//! A [`Work`] is a function; [`queue_work`] has it run once, soon, in process context. A
//! [`Workqueue`] says how: on the CPU that queued it or anywhere, with what priority, how many at
//! a time. The threads belong to worker pools, which queues share: two pools for each CPU and two
//! for everywhere.
//!
//! A CPU's pool keeps one worker running: when it sleeps in a work's function, `schedule` tells
//! the pool ([`wq_worker_sleeping`]), which wakes another one. A pool always has an idle worker in
//! reserve; while it cannot make one, the rescuers of queues with `MEM_RECLAIM` do their work.
//!
//! The boot has three steps: [`workqueue_init_early`] makes pools and system queues, so that work
//! can be queued; [`workqueue_init`] makes the first workers, so that it runs;
//! [`workqueue_init_topology`] comes when all CPUs are known.
//!
//! Lock order: pool, then the queue's share of the pool, then the work; all with interrupts off.

mod cancel;
mod delayed;
mod init;
mod pool;
mod queue;
mod rescuer;
#[cfg(test)]
pub(crate) mod tests;
mod watchdog;
mod work;
mod worker;

pub use self::cancel::{cancel_work_sync, flush_work};
pub use self::delayed::{
    DelayedWork, cancel_delayed_work, cancel_delayed_work_sync, flush_delayed_work,
    mod_delayed_work, queue_delayed_work, schedule_delayed_work,
};
pub use self::init::{
    system_freezable_wq, system_highpri_wq, system_long_wq, system_power_efficient_wq,
    system_unbound_wq, system_wq, workqueue_init, workqueue_init_early, workqueue_init_topology,
    workqueue_online_cpu,
};
pub use self::queue::{
    Workqueue, WqFlags, alloc_ordered_workqueue, alloc_workqueue, queue_work, queue_work_on,
    schedule_work,
};
pub use self::work::Work;
pub use self::worker::{Worker, wq_worker_running, wq_worker_sleeping};
