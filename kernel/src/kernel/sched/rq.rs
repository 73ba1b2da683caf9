//! The run queue of a CPU and its lock (Linux: kernel/sched/sched.h, `struct rq`).

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::entity::{Class, SchedState};
use super::fair::{CfsRq, Enqueue};
use super::rt::RtRq;
use super::stop_task::StopRq;
use super::task::{Task, tif};
use crate::arch;
use crate::mm::percpu::PerCpu;
use crate::mm::pgtable::PageTable;
use crate::prelude::*;

/// Runnable tasks of one CPU, and the one that runs.
pub(super) struct Rq {
    /// Index of the CPU.
    pub(super) cpu: u32,
    /// Runnable tasks, the running one included, the idle task not.
    pub(super) nr_running: u32,
    /// Fair ones of them.
    pub(super) nr_fair: u32,
    /// Clock of this queue, ns; `update_clock` brings it up to date.
    pub(super) clock: u64,
    /// Counts one for a task that slept uninterruptibly here and minus one where it is woken;
    /// only the sum over all CPUs means something (Linux: `nr_uninterruptible`).
    pub(super) nr_uninterruptible: i64,
    /// Switches.
    pub(super) nr_switches: u64,
    /// The running task; `None` only before `sched_init`.
    pub(super) curr: Option<Arc<Task>>,
    /// The idle task.
    pub(super) idle: Option<Arc<Task>>,
    /// Between the two halves of a switch: who was switched away from.
    pub(super) prev: Option<Arc<Task>>,
    /// The page tables that may be loaded, kept alive: kernel threads run on those of whoever
    /// ran before them ("lazily"), even when that process is gone (Linux: `active_mm`).
    pub(super) active_pgd: Option<Arc<PageTable>>,
    /// Between the two halves of a switch: the page tables that were switched away from.
    pub(super) prev_pgd: Option<Arc<PageTable>>,
    pub(super) cfs: CfsRq,
    pub(super) rt: RtRq,
    pub(super) stop: StopRq,
}

// SAFETY: an `Rq` is reached only through `RqCell`'s lock; the intrusive collections in it hold
// `Arc<Task>`, which may go to any CPU.
unsafe impl Send for Rq {}

impl Rq {
    pub(super) const fn new() -> Self {
        Self {
            cpu: 0,
            nr_running: 0,
            nr_fair: 0,
            clock: 0,
            nr_uninterruptible: 0,
            nr_switches: 0,
            curr: None,
            idle: None,
            prev: None,
            active_pgd: None,
            prev_pgd: None,
            cfs: CfsRq::new(),
            rt: RtRq::new(),
            stop: StopRq::new(),
        }
    }

    /// Reads the clock. The clock never goes back.
    #[inline]
    pub(super) fn update_clock(&mut self) {
        self.set_clock(super::core::sched_clock());
    }
    #[inline]
    pub(super) fn set_clock(&mut self, now: u64) {
        self.clock = self.clock.max(now);
    }

    /// What the running task adds to the sums of the fair class.
    #[inline]
    pub(super) fn fair_curr(curr: &Option<Arc<Task>>) -> Option<&SchedState> {
        let se = &curr.as_ref()?.se;
        (se.class() == Class::Fair && se.on_rq.load(Ordering::Relaxed)).then_some(se)
    }

    /// Charges the running task for the time since the last call.
    #[inline(always)]
    pub(super) fn update_curr(&mut self) {
        let Some(curr) = &self.curr else { return };
        match curr.se.class() {
            Class::Fair => {
                if self.cfs.update_curr(&curr.se, self.clock) {
                    self.resched_curr();
                }
            }
            Class::Rt => self.rt.update_curr(&curr.se, self.clock),
            Class::Stop | Class::Idle => curr.se.exec_start.set(self.clock),
        }
    }

    #[inline]
    fn count(&mut self, class: Class, change: i32) {
        self.nr_running = self.nr_running.wrapping_add_signed(change);
        if class == Class::Fair {
            self.nr_fair = self.nr_fair.wrapping_add_signed(change);
        }
    }

    /// Makes a task runnable (Linux: `activate_task`). The clock is up to date.
    #[inline(always)]
    pub(super) fn activate_task(&mut self, task: Arc<Task>, how: Enqueue) {
        let class = task.se.class();
        self.count(class, 1);
        task.se.queued_at.set(self.clock);
        task.se.on_rq.store(true, Ordering::Release);
        self.enqueue(class, task, how);
    }

    /// Puts a runnable task that does not run into its class.
    #[inline(always)]
    pub(super) fn enqueue(&mut self, class: Class, task: Arc<Task>, how: Enqueue) {
        match class {
            Class::Stop => self.stop.enqueue(task),
            Class::Rt => self.rt.enqueue(task),
            Class::Fair => {
                self.update_curr();
                if how == Enqueue::Wakeup {
                    let slept = self.clock.saturating_sub(task.se.exec_start.get());
                    CfsRq::decay_lag(&task.se, slept);
                }
                let curr = Self::fair_curr(&self.curr);
                self.cfs.place(curr, &task.se, how);
                self.cfs.insert(curr, task);
            }
            Class::Idle => {}
        }
    }

    /// The running task is about to sleep or to leave this CPU (Linux: `deactivate_task`).
    /// `update_curr` was called.
    #[inline(always)]
    pub(super) fn deactivate_curr(&mut self) {
        let Some(curr) = &self.curr else { return };
        let class = curr.se.class();
        if class == Class::Fair {
            self.cfs.save_lag(Some(&curr.se), &curr.se);
        }
        curr.se.on_rq.store(false, Ordering::Release);
        self.count(class, -1);
    }

    /// Takes a runnable task that does not run out of its class; it stays `on_rq`.
    pub(super) fn dequeue_waiting(&mut self, task: &Task) -> Option<Arc<Task>> {
        match task.se.class() {
            Class::Stop => self.stop.pick(),
            Class::Rt => Some(self.rt.remove(task)),
            Class::Fair => {
                self.update_curr();
                let curr = Self::fair_curr(&self.curr);
                self.cfs.save_lag(curr, &task.se);
                Some(self.cfs.remove(task))
            }
            Class::Idle => None,
        }
    }

    /// A runnable task changed class while it was off its queue.
    pub(super) fn recount(&mut self, from: Class, to: Class) {
        self.count(from, -1);
        self.count(to, 1);
    }

    /// Puts the running task, which stays runnable, back into its class.
    #[inline(never)]
    fn put_prev_task(&mut self) {
        let Some(prev) = self.curr.clone() else {
            return;
        };
        prev.se.queued_at.set(self.clock);
        match prev.se.class() {
            Class::Stop => self.stop.enqueue(prev),
            Class::Rt => self.rt.put_prev(prev),
            Class::Fair => {
                // Nobody counts as running from here until the next one is chosen.
                self.cfs.insert(None, prev);
            }
            Class::Idle => {}
        }
    }

    /// Chooses who runs next (Linux: `pick_next_task`). `None`: the running task goes on.
    /// The running task's `on_rq` says whether it takes part. `update_curr` was called.
    #[inline(always)]
    pub(super) fn pick_next_task(&mut self) -> Option<Arc<Task>> {
        let curr = self.curr.as_ref()?;
        let curr_class = curr.se.class();
        let curr_queued = curr_class != Class::Idle && curr.se.on_rq.load(Ordering::Relaxed);
        if self.nr_running == self.nr_fair && curr_class >= Class::Fair {
            return self.pick_fair_or_idle(curr_queued);
        }
        if curr_queued {
            self.put_prev_task();
        }
        let next = self.pick_any();
        let same = self
            .curr
            .as_ref()
            .zip(next.as_ref())
            .is_some_and(|(curr, next)| Arc::ptr_eq(curr, next));
        if same { None } else { next }
    }

    /// The common case: nothing but fair tasks.
    #[inline]
    fn pick_fair_or_idle(&mut self, curr_queued: bool) -> Option<Arc<Task>> {
        let curr = Self::fair_curr(&self.curr);
        match self.cfs.pick(curr) {
            Some(next) => {
                if curr_queued {
                    self.put_prev_task();
                }
                Some(next)
            }
            None if curr_queued => {
                if let Some(se) = curr {
                    self.cfs.set_next(se);
                }
                None
            }
            None => self.idle_unless_running(),
        }
    }

    fn idle_unless_running(&self) -> Option<Arc<Task>> {
        let curr_is_idle = self.curr.as_ref()?.se.class() == Class::Idle;
        if curr_is_idle {
            None
        } else {
            self.idle.clone()
        }
    }

    /// Class by class; the running task, if runnable, was put back before.
    #[inline(never)]
    fn pick_any(&mut self) -> Option<Arc<Task>> {
        if let Some(stopper) = self.stop.pick() {
            return Some(stopper);
        }
        if !(self.rt.throttled() && self.cfs.nr_queued() > 0)
            && let Some(task) = self.rt.pick()
        {
            return Some(task);
        }
        self.cfs.pick(None).or_else(|| self.idle.clone())
    }

    /// Starts the accounting of a task that is about to run (Linux: `set_next_task`).
    #[inline]
    pub(super) fn set_next_task(&mut self, next: &Task) {
        let se = &next.se;
        se.exec_start.set(self.clock);
        se.prev_sum_exec_runtime.set(se.sum_exec_runtime.get());
        match se.class() {
            Class::Idle => return,
            Class::Fair => self.cfs.set_next(se),
            Class::Stop | Class::Rt => {}
        }
        let waited = self.clock.saturating_sub(se.queued_at.get());
        se.run_delay.set(se.run_delay.get() + waited);
        se.pcount.set(se.pcount.get() + 1);
    }

    /// Asks the CPU to call `schedule` soon (Linux: `resched_curr`).
    pub(super) fn resched_curr(&self) {
        let Some(curr) = &self.curr else { return };
        if curr.test_tif(tif::NEED_RESCHED) {
            return;
        }
        let before = curr
            .thread_flags
            .fetch_or(tif::NEED_RESCHED, Ordering::SeqCst);
        let here = self.cpu as usize == arch::smp_processor_id();
        if here {
            arch::set_preempt_need_resched();
        } else if before & tif::POLLING_NRFLAG == 0 {
            arch::smp_send_reschedule(self.cpu as usize);
        }
    }

    /// A task was queued: should it run at once? (Linux: `wakeup_preempt`)
    #[inline(always)]
    pub(super) fn check_preempt_curr(&mut self, woken: &Task) {
        let Some(curr) = &self.curr else { return };
        let (curr_class, woken_class) = (curr.se.class(), woken.se.class());
        let preempts = match woken_class.cmp(&curr_class) {
            core::cmp::Ordering::Less => true,
            core::cmp::Ordering::Greater => false,
            core::cmp::Ordering::Equal => match woken_class {
                Class::Rt => woken.se.rt_priority() > curr.se.rt_priority(),
                Class::Fair => self.cfs.wakeup_preempts(&curr.se, &woken.se),
                Class::Stop | Class::Idle => false,
            },
        };
        if preempts {
            self.resched_curr();
        }
    }

    /// The tick: charges the running task and asks for a switch when its time is over.
    pub(super) fn task_tick(&mut self) {
        self.update_curr();
        let curr = Self::fair_curr(&self.curr);
        self.cfs.tick(curr);
        let throttle_changed = self.rt.update_throttle(self.clock);
        let Some(curr) = &self.curr else { return };
        let slice_over = curr.se.class() == Class::Rt && self.rt.tick(&curr.se);
        if slice_over || throttle_changed {
            self.resched_curr();
        }
    }
}

/// A run queue behind its lock. Taken with interrupts off; the innermost lock but for the
/// console's.
pub(super) struct RqCell {
    locked: AtomicBool,
    rq: UnsafeCell<Rq>,
}

// SAFETY: `rq` is reached only by the holder of `locked`.
unsafe impl Sync for RqCell {}

/// Access to a locked run queue.
#[must_use = "the run queue is unlocked when the guard is dropped"]
pub(super) struct RqGuard<'a> {
    cell: &'a RqCell,
    _not_send: PhantomData<*mut ()>,
}

impl RqCell {
    const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            rq: UnsafeCell::new(Rq::new()),
        }
    }

    /// Spins until the queue is ours. Interrupts are off, which also rules out preemption: so,
    /// unlike other spin locks, this one leaves the preempt count alone.
    ///
    /// Taking it is a full barrier (a SeqCst read-modify-write): `schedule` relies on that
    /// between the caller's store to its state and the queue's decision.
    #[inline]
    pub(super) fn lock(&self) -> RqGuard<'_> {
        debug_assert!(arch::irqs_disabled(), "run queue lock with interrupts on");
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            while self.locked.load(Ordering::Relaxed) {
                arch::cpu_relax();
            }
        }
        RqGuard {
            cell: self,
            _not_send: PhantomData,
        }
    }

    /// The guard of a lock that the task which ran before on this CPU took.
    ///
    /// # Safety
    /// This CPU holds the lock and no other guard of it will be dropped.
    #[inline]
    pub(super) unsafe fn adopt(&self) -> RqGuard<'_> {
        RqGuard {
            cell: self,
            _not_send: PhantomData,
        }
    }
}

impl Deref for RqGuard<'_> {
    type Target = Rq;
    #[inline]
    fn deref(&self) -> &Rq {
        // SAFETY: this guard proves that the lock is held.
        unsafe { &*self.cell.rq.get() }
    }
}
impl DerefMut for RqGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Rq {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.cell.rq.get() }
    }
}
impl Drop for RqGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.cell.locked.store(false, Ordering::Release);
    }
}

/// The run queues.
#[per_cpu]
static RUNQUEUES: PerCpu<RqCell> = PerCpu::new(RqCell::new());

/// The queue of this CPU; the caller does not move to another one (preemption or interrupts off).
#[inline]
pub(super) fn this_rq() -> &'static RqCell {
    RUNQUEUES.raw_this()
}
/// The queue of `cpu`.
#[inline]
pub(super) fn cpu_rq(cpu: usize) -> &'static RqCell {
    RUNQUEUES.on(cpu)
}

/// Online CPUs, bit n for CPU n. The boot CPU is always there.
static CPU_ACTIVE_MASK: AtomicU64 = AtomicU64::new(1);

/// CPUs that tasks may be put on (Linux: `cpu_active_mask`).
#[inline]
pub fn cpu_active_mask() -> u64 {
    CPU_ACTIVE_MASK.load(Ordering::Relaxed)
}
/// CPU bring-up: from now on tasks may be put on `cpu` (Linux: `sched_cpu_activate`).
pub fn sched_cpu_activate(cpu: usize) {
    CPU_ACTIVE_MASK.fetch_or(1 << cpu, Ordering::Relaxed);
}

/// Looks at the queue of `cpu` from process context.
pub(super) fn with_rq<R>(cpu: usize, look: impl FnOnce(&Rq) -> R) -> R {
    let flags = arch::local_irq_save();
    let result = look(&cpu_rq(cpu).lock());
    arch::local_irq_restore(flags);
    result
}

/// An empty queue for a new machine of the test port.
#[cfg(test)]
pub(super) fn reset_for_test() {
    let flags = arch::local_irq_save();
    let old = core::mem::replace(&mut *this_rq().lock(), Rq::new());
    drop(old);
    arch::local_irq_restore(flags);
}
