//! What the threads of a process share for scheduling, exit and wait (Linux:
//! include/linux/sched/signal.h). It is the field `group` of `SignalStruct`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::task::Task;
use super::wait::WaitQueueHead;
use crate::prelude::*;
use uapi::resource::{RLIM_INFINITY, RLIM_NLIMITS, Rlimit};

/// Bits of `ThreadGroup::flags` (Linux: `SIGNAL_*`).
pub mod group_flag {
    /// All threads are stopped by a signal.
    pub const STOP_STOPPED: u32 = 1;
    /// SIGCONT ended a stop; a parent may wait for that.
    pub const STOP_CONTINUED: u32 = 2;
    /// The whole group is on its way out.
    pub const GROUP_EXIT: u32 = 4;
    /// Signals without a handler do not kill it (pid 1).
    pub const UNKILLABLE: u32 = 0x40;
}

/// CPU time and counts; times in ns.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of getrusage(2)")]
pub struct Usage {
    pub utime: u64,
    pub stime: u64,
    pub sum_exec_runtime: u64,
    pub min_flt: u64,
    pub maj_flt: u64,
    pub nvcsw: u64,
    pub nivcsw: u64,
    /// Greatest resident size, KiB.
    pub maxrss: u64,
}

impl Usage {
    /// Adds counts; the resident size is the greater one.
    pub fn add(&mut self, other: &Usage) {
        self.utime = self.utime.saturating_add(other.utime);
        self.stime = self.stime.saturating_add(other.stime);
        self.sum_exec_runtime = self.sum_exec_runtime.saturating_add(other.sum_exec_runtime);
        self.min_flt = self.min_flt.saturating_add(other.min_flt);
        self.maj_flt = self.maj_flt.saturating_add(other.maj_flt);
        self.nvcsw = self.nvcsw.saturating_add(other.nvcsw);
        self.nivcsw = self.nivcsw.saturating_add(other.nivcsw);
        self.maxrss = self.maxrss.max(other.maxrss);
    }
    /// What one task has used so far.
    pub fn of_task(task: &Task) -> Usage {
        let (utime, stime) = super::cputime::task_cputime_adjusted(task);
        Usage {
            utime,
            stime,
            sum_exec_runtime: task.se.sum_exec_runtime(),
            min_flt: task.min_flt.load(Ordering::Relaxed),
            maj_flt: task.maj_flt.load(Ordering::Relaxed),
            nvcsw: task.nvcsw.load(Ordering::Relaxed),
            nivcsw: task.nivcsw.load(Ordering::Relaxed),
            maxrss: 0,
        }
    }
}

/// Threads of a process.
#[derive(Default)]
struct Threads {
    /// The leader; kept out of `others` so that a process with one thread allocates no list.
    leader: Option<Arc<Task>>,
    others: Vec<Arc<Task>>,
    /// The thread whose execve(2) waits for the others to end.
    exec_task: Option<Arc<Task>>,
}

/// The accounting of a process.
#[derive(Default)]
struct Account {
    /// Threads that are gone.
    gone: Usage,
    /// Children that were waited for.
    children: Usage,
}

/// The thread group part of `SignalStruct`.
pub struct ThreadGroup {
    /// Changed under the tasklist lock (write).
    threads: IrqSpinLock<Threads>,
    /// Threads that have not begun to exit (Linux: `live`).
    live: AtomicU32,
    /// `group_flag::*`.
    pub flags: AtomicU32,
    /// Wait status of the group's exit, or the signal that stopped it until a parent saw it
    /// (Linux: `group_exit_code`).
    pub group_exit_code: AtomicI32,
    /// Parents wait here for their children.
    pub wait_chldexit: WaitQueueHead,
    rlim: IrqSpinLock<[Rlimit; RLIM_NLIMITS as usize]>,
    account: IrqSpinLock<Account>,
}

/// The limits of pid 0 (Linux: include/asm-generic/resource.h, `INIT_RLIMITS`).
fn init_rlimits() -> [Rlimit; RLIM_NLIMITS as usize] {
    use uapi::resource::*;
    let limit = |rlim_cur, rlim_max| Rlimit { rlim_cur, rlim_max };
    let mut rlim = [limit(RLIM_INFINITY, RLIM_INFINITY); RLIM_NLIMITS as usize];
    rlim[RLIMIT_STACK as usize] = limit(_STK_LIM, RLIM_INFINITY);
    rlim[RLIMIT_CORE as usize] = limit(0, RLIM_INFINITY);
    rlim[RLIMIT_NPROC as usize] = limit(0, 0);
    rlim[RLIMIT_NOFILE as usize] = limit(INR_OPEN_CUR.into(), INR_OPEN_MAX.into());
    rlim[RLIMIT_MEMLOCK as usize] = limit(MLOCK_LIMIT, MLOCK_LIMIT);
    rlim[RLIMIT_SIGPENDING as usize] = limit(0, 0);
    rlim[RLIMIT_MSGQUEUE as usize] = limit(819_200, 819_200);
    rlim[RLIMIT_NICE as usize] = limit(0, 0);
    rlim[RLIMIT_RTPRIO as usize] = limit(0, 0);
    rlim
}

impl ThreadGroup {
    /// The group of a new process, with its parent's limits.
    pub fn new_for(parent: Option<&ThreadGroup>) -> Self {
        Self {
            threads: IrqSpinLock::new(Threads::default()),
            live: AtomicU32::new(1),
            flags: AtomicU32::new(0),
            group_exit_code: AtomicI32::new(0),
            wait_chldexit: WaitQueueHead::new(),
            rlim: IrqSpinLock::new(parent.map_or_else(init_rlimits, |p| *p.rlim.lock())),
            account: IrqSpinLock::new(Account::default()),
        }
    }

    // --- limits ---

    /// A resource limit; `RLIM_INFINITY` both for a resource that does not exist.
    pub fn rlimit(&self, resource: u32) -> Rlimit {
        let none = Rlimit {
            rlim_cur: RLIM_INFINITY,
            rlim_max: RLIM_INFINITY,
        };
        let rlim = self.rlim.lock();
        rlim.get(resource as usize).copied().unwrap_or(none)
    }
    /// Changes a limit; the caller has checked that it may. Errors: EINVAL.
    pub fn set_rlimit(&self, resource: u32, limit: Rlimit) -> Result {
        let mut rlim = self.rlim.lock();
        *rlim.get_mut(resource as usize).ok_or(Errno::EINVAL)? = limit;
        Ok(())
    }

    // --- threads ---

    /// The thread group leader; `None` only before the first thread is added.
    pub fn leader(&self) -> Option<Arc<Task>> {
        self.threads.lock().leader.clone()
    }
    /// All threads that were not released yet, the leader first.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        let threads = self.threads.lock();
        threads.leader.iter().chain(&threads.others).cloned().collect()
    }
    /// Calls `f` for each thread, the leader first. `f` must not sleep.
    pub fn for_each_thread(&self, f: impl FnMut(&Arc<Task>)) {
        let threads = self.threads.lock();
        threads.leader.iter().chain(&threads.others).for_each(f);
    }
    /// Number of threads that were not released yet.
    pub fn nr_threads(&self) -> usize {
        let threads = self.threads.lock();
        usize::from(threads.leader.is_some()) + threads.others.len()
    }
    /// Whether there is one thread only (Linux: `thread_group_empty`).
    pub fn is_single(&self) -> bool {
        self.threads.lock().others.is_empty()
    }
    /// Makes room for one more thread, so that `add_thread` cannot fail. Errors: ENOMEM.
    pub(crate) fn reserve_thread(&self) -> Result {
        let mut threads = self.threads.lock();
        threads.others.try_reserve(1).map_err(|_| Errno::ENOMEM)
    }
    pub(crate) fn set_leader(&self, leader: Arc<Task>) {
        self.threads.lock().leader = Some(leader);
    }
    pub(crate) fn add_thread(&self, thread: Arc<Task>) {
        self.live.fetch_add(1, Ordering::Relaxed);
        self.threads.lock().others.push(thread);
    }
    /// Takes a thread off the list; tasklist lock held. Returns the list's reference.
    pub(crate) fn remove_thread(&self, thread: &Task) -> Option<Arc<Task>> {
        let mut threads = self.threads.lock();
        if threads.leader.as_deref().is_some_and(|l| core::ptr::eq(l, thread)) {
            return threads.leader.take();
        }
        let at = threads
            .others
            .iter()
            .position(|t| core::ptr::eq(&**t, thread))?;
        Some(threads.others.swap_remove(at))
    }
    /// execve(2) of a thread that is not the leader: it takes the leader's place.
    pub(crate) fn replace_leader(&self, new: &Arc<Task>) {
        let mut threads = self.threads.lock();
        threads.others.retain(|t| !Arc::ptr_eq(t, new));
        let old = threads.leader.replace(new.clone());
        threads.others.extend(old); // room: `new` just left
    }

    // --- exit ---

    /// Threads that have not begun to exit.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }
    /// One thread begins to exit; true for the last one.
    pub(crate) fn live_dec_and_test(&self) -> bool {
        self.live.fetch_sub(1, Ordering::AcqRel) == 1
    }
    /// Whether a flag of `group_flag` is set.
    pub fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }
    /// The thread whose execve(2) waits for the others to end.
    pub fn exec_task(&self) -> Option<Arc<Task>> {
        self.threads.lock().exec_task.clone()
    }
    /// Whether threads that get to their signals have to exit: the whole group ends, or another
    /// thread calls execve(2).
    pub fn must_exit(&self, thread: &Task) -> bool {
        self.has_flag(group_flag::GROUP_EXIT)
            || self
                .exec_task()
                .is_some_and(|exec| !core::ptr::eq(&*exec, thread))
    }
    /// Begins the exit of the whole group. Returns the status that counts: `status`, unless an
    /// exit began before; and whether this call began it.
    pub fn begin_group_exit(&self, status: i32) -> (i32, bool) {
        let threads = self.threads.lock(); // settles races between threads
        if self.has_flag(group_flag::GROUP_EXIT) {
            return (self.group_exit_code.load(Ordering::Relaxed), false);
        }
        if threads.exec_task.is_some() {
            return (0, false);
        }
        self.group_exit_code.store(status, Ordering::Relaxed);
        self.flags.store(
            group_flag::GROUP_EXIT | self.flags.load(Ordering::Relaxed) & group_flag::UNKILLABLE,
            Ordering::Release,
        );
        (status, true)
    }
    /// Begins an execve(2) that leaves only `task`. False when the group exits already.
    pub(crate) fn begin_exec(&self, task: Arc<Task>) -> bool {
        let mut threads = self.threads.lock();
        if self.has_flag(group_flag::GROUP_EXIT) || threads.exec_task.is_some() {
            return false;
        }
        threads.exec_task = Some(task);
        true
    }
    pub(crate) fn end_exec(&self) {
        let task = self.threads.lock().exec_task.take();
        drop(task);
    }

    // --- accounting ---

    /// A thread is released: its figures stay with the group.
    pub(crate) fn account_gone(&self, usage: &Usage) {
        self.account.lock().gone.add(usage);
    }
    /// A child was waited for: its figures, and those of its own children, come to us.
    pub(crate) fn account_child(&self, usage: &Usage) {
        self.account.lock().children.add(usage);
    }
    /// Notes the resident size of an address space that is given up, KiB.
    pub fn note_maxrss(&self, kib: u64) {
        let mut account = self.account.lock();
        account.gone.maxrss = account.gone.maxrss.max(kib);
    }
    /// Figures of the whole process, threads that are gone included (getrusage RUSAGE_SELF).
    pub fn usage(&self) -> Usage {
        let mut sum = self.account.lock().gone;
        self.for_each_thread(|thread| sum.add(&Usage::of_task(thread)));
        sum
    }
    /// Figures of children that were waited for (getrusage RUSAGE_CHILDREN).
    pub fn children_usage(&self) -> Usage {
        self.account.lock().children
    }
}
