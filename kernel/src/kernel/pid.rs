//! Process numbers and who has them (Linux: kernel/pid.c, and the process group and session
//! calls of kernel/sys.c).
//!
//! One table answers for every number: the task with that number, the processes of the group and
//! of the session with that number. A number is free when all three are empty. The table's lock
//! is Linux's tasklist lock: it also orders changes of `Task::family`, of thread lists and of
//! group and session membership. Interrupt handlers take it for reading (Ctrl-C on a terminal).
//!
//! Lock order: tasklist, then family, then thread list, then signal locks and wait queues.
#![forbid(unsafe_code)]

mod index;

use core::sync::atomic::{AtomicI32, Ordering};

use self::index::PidIndex;
use crate::kernel::locking::{IrqsOff, RwSpinLock};
use crate::kernel::sched::current;
use crate::kernel::sched::task::{Pid, Task, pf};
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::prelude::*;

/// Default of /proc/sys/kernel/pid_max.
const PID_MAX_DEFAULT: Pid = 0x8000;
/// Greatest value of /proc/sys/kernel/pid_max.
pub const PID_MAX_LIMIT: Pid = 4 << 20;
/// Numbers below are not given out again after the first round (Linux: `RESERVED_PIDS`).
const RESERVED_PIDS: Pid = 300;
/// Numbers for each CPU, at least.
const PIDS_PER_CPU_DEFAULT: Pid = 1024;
/// Smallest value of /proc/sys/kernel/pid_max without more than one CPU.
const PID_MAX_MIN: Pid = RESERVED_PIDS + 1;

/// Numbers in one piece of the table.
const CHUNK: usize = 64;

static PID_MAX: AtomicI32 = AtomicI32::new(PID_MAX_DEFAULT);

/// /proc/sys/kernel/pid_max: numbers are below it.
pub fn pid_max() -> Pid {
    PID_MAX.load(Ordering::Relaxed)
}
/// Changes pid_max. Errors: EINVAL.
pub fn set_pid_max(max: Pid) -> Result {
    if !(PID_MAX_MIN..=PID_MAX_LIMIT).contains(&max) {
        return Err(Errno::EINVAL);
    }
    PID_MAX.store(max, Ordering::Relaxed);
    Ok(())
}

/// Everything about one number.
#[derive(Default)]
struct Slot {
    /// A fork in progress has it.
    reserved: bool,
    task: Option<Arc<Task>>,
    /// Thread group leaders whose process group this is.
    group: Vec<Arc<Task>>,
    /// Thread group leaders whose session this is.
    session: Vec<Arc<Task>>,
}

impl Slot {
    fn is_free(&self) -> bool {
        !self.reserved && self.task.is_none() && self.group.is_empty() && self.session.is_empty()
    }
}

/// `CHUNK` slots and how many are in use.
struct Chunk {
    used: usize,
    slots: [Slot; CHUNK],
}

/// All numbers, and all tasks.
pub struct PidTable {
    chunks: Vec<Option<Box<Chunk>>>,
    /// The number given out last.
    last: Pid,
    nr_threads: u32,
    /// Where readers find the tasks without the lock; tables of unit tests have none.
    index: Option<&'static PidIndex>,
}

/// Which list of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PidType {
    /// Process group.
    Pgid,
    /// Session.
    Sid,
}

impl Default for PidTable {
    fn default() -> Self {
        Self::new()
    }
}

impl PidTable {
    /// No tasks.
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            last: 0,
            nr_threads: 0,
            index: None,
        }
    }

    /// No tasks; those to come are found by `find_task`.
    const fn indexed() -> Self {
        Self {
            chunks: Vec::new(),
            last: 0,
            nr_threads: 0,
            index: Some(&PID_INDEX),
        }
    }

    fn publish(&self, pid: Pid, task: Option<&Arc<Task>>) {
        if let Some(index) = self.index {
            index.set(pid, task.cloned());
        }
    }

    fn slot(&self, pid: Pid) -> Option<&Slot> {
        let index = usize::try_from(pid).ok()?;
        let chunk = self.chunks.get(index / CHUNK)?.as_ref()?;
        chunk.slots.get(index % CHUNK)
    }

    /// The slot, made if need be. Errors: ENOMEM.
    fn make_slot(&mut self, pid: Pid) -> Result<&mut Chunk> {
        let index = usize::try_from(pid).map_err(|_| Errno::EINVAL)?;
        let chunk = index / CHUNK;
        if chunk >= self.chunks.len() {
            let missing = chunk + 1 - self.chunks.len();
            self.chunks
                .try_reserve(missing)
                .map_err(|_| Errno::ENOMEM)?;
            self.chunks.resize_with(chunk + 1, || None);
        }
        Ok(self.chunks[chunk].get_or_insert_with(|| {
            Box::new(Chunk {
                used: 0,
                slots: core::array::from_fn(|_| Slot::default()),
            })
        }))
    }

    /// Changes a slot and keeps the chunk's count. An empty chunk is freed, unless the next number
    /// is likely to be in it.
    fn with_slot<R>(&mut self, pid: Pid, change: impl FnOnce(&mut Slot) -> R) -> Result<R> {
        let index = usize::try_from(pid).map_err(|_| Errno::EINVAL)?;
        let chunk = self.make_slot(pid)?;
        let slot = &mut chunk.slots[index % CHUNK];
        let was_free = slot.is_free();
        let result = change(slot);
        match (was_free, slot.is_free()) {
            (true, false) => chunk.used += 1,
            (false, true) => chunk.used -= 1,
            _ => {}
        }
        if chunk.used == 0 && index / CHUNK != self.last_chunk() {
            self.chunks[index / CHUNK] = None;
        }
        Ok(result)
    }

    /// The chunk of the number given out last.
    fn last_chunk(&self) -> usize {
        self.last as usize / CHUNK
    }

    /// Notes the number given out last; leaves no empty chunk behind.
    fn set_last(&mut self, last: Pid) {
        let before = self.last_chunk();
        self.last = last;
        if before != self.last_chunk()
            && let Some(chunk) = self.chunks.get_mut(before)
            && chunk.as_ref().is_some_and(|chunk| chunk.used == 0)
        {
            *chunk = None;
        }
    }

    fn is_free(&self, pid: Pid) -> bool {
        self.slot(pid).is_none_or(Slot::is_free)
    }

    /// The first free number in `from..to`.
    fn first_free(&self, from: Pid, to: Pid) -> Option<Pid> {
        let mut pid = from;
        while pid < to {
            let full = self
                .chunks
                .get(pid as usize / CHUNK)
                .and_then(Option::as_ref)
                .is_some_and(|chunk| chunk.used == CHUNK);
            if full {
                pid = ((pid as usize / CHUNK + 1) * CHUNK) as Pid;
            } else if self.is_free(pid) {
                return Some(pid);
            } else {
                pid += 1;
            }
        }
        None
    }

    /// Reserves the next number after the last one, round and round (Linux: `alloc_pid`,
    /// `idr_alloc_cyclic`). Errors: EAGAIN when all are in use, ENOMEM.
    pub fn alloc(&mut self, max: Pid) -> Result<Pid> {
        let start = if self.last + 1 < max {
            self.last + 1
        } else {
            RESERVED_PIDS
        };
        // In the first round small numbers are free; later rounds leave them to early daemons.
        let lowest = RESERVED_PIDS.min(start).max(1);
        let pid = self
            .first_free(start.max(1), max)
            .or_else(|| self.first_free(lowest, start.min(max)))
            .ok_or(Errno::EAGAIN)?;
        self.with_slot(pid, |slot| slot.reserved = true)?;
        self.set_last(pid);
        Ok(pid)
    }

    /// Reserves one certain number (clone3's `set_tid`). Errors: EEXIST, EINVAL, ENOMEM.
    pub fn alloc_exact(&mut self, pid: Pid, max: Pid) -> Result<Pid> {
        if !(1..max).contains(&pid) {
            return Err(Errno::EINVAL);
        }
        if !self.is_free(pid) {
            return Err(Errno::EEXIST);
        }
        self.with_slot(pid, |slot| slot.reserved = true)?;
        Ok(pid)
    }

    /// Gives a reserved number back unused.
    pub fn free(&mut self, pid: Pid) {
        // The slot exists, so nothing is allocated and nothing fails.
        let _ = self.with_slot(pid, |slot| slot.reserved = false);
    }

    /// Enters a task under its (reserved) number.
    pub fn attach(&mut self, task: &Arc<Task>) -> Result {
        self.with_slot(task.pid(), |slot| {
            slot.reserved = false;
            slot.task = Some(task.clone());
        })?;
        self.nr_threads += 1;
        self.publish(task.pid(), Some(task));
        Ok(())
    }

    /// Removes a task; returns the table's reference.
    pub fn detach(&mut self, pid: Pid) -> Option<Arc<Task>> {
        self.publish(pid, None);
        let task = self.with_slot(pid, |slot| slot.task.take()).ok().flatten();
        self.nr_threads -= u32::from(task.is_some());
        task
    }

    /// Puts another task under a number (execve(2) of a thread that takes the leader's place).
    pub fn replace(&mut self, pid: Pid, task: &Arc<Task>) -> Option<Arc<Task>> {
        let task = task.clone();
        self.publish(pid, Some(&task));
        self.with_slot(pid, |slot| slot.task.replace(task))
            .ok()
            .flatten()
    }

    fn list(slot: &mut Slot, kind: PidType) -> &mut Vec<Arc<Task>> {
        match kind {
            PidType::Pgid => &mut slot.group,
            PidType::Sid => &mut slot.session,
        }
    }

    /// Adds a thread group leader to a group or session. Errors: ENOMEM.
    pub fn join(&mut self, number: Pid, kind: PidType, leader: &Arc<Task>) -> Result {
        self.with_slot(number, |slot| {
            let list = Self::list(slot, kind);
            list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            list.push(leader.clone());
            Ok(())
        })?
    }

    /// Takes a thread group leader out of a group or session.
    pub fn leave(&mut self, number: Pid, kind: PidType, leader: &Task) {
        // The caller holds a reference too, so none of these is the last one.
        let _ = self.with_slot(number, |slot| {
            let list = Self::list(slot, kind);
            if let Some(at) = list.iter().position(|t| core::ptr::eq(&**t, leader)) {
                list.swap_remove(at);
            }
        });
    }

    /// Puts `new` in the place of `old` in a group or session.
    pub fn substitute(&mut self, number: Pid, kind: PidType, old: &Task, new: &Arc<Task>) {
        // Both are held by the caller, so nothing is freed here.
        let _ = self.with_slot(number, |slot| {
            for member in Self::list(slot, kind) {
                if core::ptr::eq(&**member, old) {
                    *member = new.clone();
                }
            }
        });
    }

    /// The task with this number (Linux: `find_task_by_vpid`).
    pub fn find(&self, pid: Pid) -> Option<&Arc<Task>> {
        self.slot(pid)?.task.as_ref()
    }

    /// Thread group leaders of a group or session.
    pub fn members(&self, number: Pid, kind: PidType) -> &[Arc<Task>] {
        match (self.slot(number), kind) {
            (Some(slot), PidType::Pgid) => &slot.group,
            (Some(slot), PidType::Sid) => &slot.session,
            (None, _) => &[],
        }
    }

    /// All tasks, threads included, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.iter_from(0)
    }

    /// All tasks with numbers from `first` on.
    pub fn iter_from(&self, first: Pid) -> impl Iterator<Item = &Arc<Task>> {
        let first = usize::try_from(first).unwrap_or(0);
        let chunks = self.chunks.iter().enumerate().skip(first / CHUNK);
        chunks
            .filter_map(|(n, chunk)| chunk.as_ref().map(|chunk| (n, chunk)))
            .flat_map(move |(n, chunk)| {
                let skip = first.saturating_sub(n * CHUNK);
                chunk.slots.iter().skip(skip)
            })
            .filter_map(|slot| slot.task.as_ref())
    }

    /// Number of tasks, pid 0 not included.
    pub fn nr_threads(&self) -> u32 {
        self.nr_threads
    }
    /// The number given out last.
    pub fn last(&self) -> Pid {
        self.last
    }
}

/// The table, under the tasklist lock.
pub static TASKLIST: RwSpinLock<PidTable, IrqsOff> = RwSpinLock::new(PidTable::indexed());

/// The tasks of `TASKLIST` by number, for readers without its lock.
static PID_INDEX: PidIndex = PidIndex::new();

/// The task with this number; takes no lock (Linux: `find_get_task_by_vpid`). Any context.
pub fn find_task(pid: Pid) -> Option<Arc<Task>> {
    PID_INDEX.find(pid)
}

/// No tasks for a new machine of the test port; returns the old table.
#[cfg(test)]
pub(crate) fn reset_for_test() -> PidTable {
    PID_INDEX.clear();
    core::mem::replace(&mut *TASKLIST.write(), PidTable::indexed())
}

/// The task with this number, 0 meaning the caller (the convention of most system calls).
/// Errors: ESRCH.
pub fn find_task_or_self(pid: Pid) -> Result<Arc<Task>> {
    match pid {
        0 => Ok(current().to_arc()),
        _ => find_task(pid).ok_or(Errno::ESRCH),
    }
}

/// Calls `f` for each process (its leader), zombies included. `f` must not sleep, nor take the
/// tasklist lock for writing (Linux: `for_each_process`).
pub fn for_each_process(mut f: impl FnMut(&Arc<Task>)) {
    let table = TASKLIST.read();
    table
        .iter()
        .filter(|t| t.is_group_leader())
        .for_each(&mut f);
}

/// Calls `f` for each thread of each process (Linux: `for_each_process_thread`).
pub fn for_each_thread(f: impl FnMut(&Arc<Task>)) {
    TASKLIST.read().iter().for_each(f);
}

/// All tasks, for slow work without the lock.
pub fn all_tasks() -> Vec<Arc<Task>> {
    TASKLIST.read().iter().cloned().collect()
}

/// All processes (their leaders), zombies included.
pub fn all_processes() -> Vec<Arc<Task>> {
    let table = TASKLIST.read();
    table
        .iter()
        .filter(|t| t.is_group_leader())
        .cloned()
        .collect()
}

/// The processes of a group, for work without the lock. Any context.
pub fn processes_of_group(pgrp: Pid) -> Vec<Arc<Task>> {
    TASKLIST.read().members(pgrp, PidType::Pgid).to_vec()
}

/// The first process with a number of at least `pid` (readdir of /proc; Linux: `next_tgid`).
pub fn next_process(pid: Pid) -> Option<Arc<Task>> {
    let table = TASKLIST.read();
    let mut processes = table.iter_from(pid).filter(|t| t.is_group_leader());
    processes.next().cloned()
}

/// The processes of a group (Linux: `do_each_pid_task(pgrp, PIDTYPE_PGID)`). Any context.
pub fn for_each_in_pgrp(pgrp: Pid, f: impl FnMut(&Arc<Task>)) {
    TASKLIST
        .read()
        .members(pgrp, PidType::Pgid)
        .iter()
        .for_each(f);
}

/// The processes of a session. Any context.
pub fn for_each_in_session(session: Pid, f: impl FnMut(&Arc<Task>)) {
    TASKLIST
        .read()
        .members(session, PidType::Sid)
        .iter()
        .for_each(f);
}

/// Number of tasks.
pub fn nr_threads() -> u32 {
    TASKLIST.read().nr_threads()
}
/// The number given out last (/proc/loadavg).
pub fn last_pid() -> Pid {
    TASKLIST.read().last()
}

/// Sizes the number space for the machine (Linux: `pid_idr_init`). Context: boot.
#[__init]
pub fn pid_idr_init() {
    let nr_cpus = crate::kernel::sched::cpu_active_mask().count_ones() as Pid;
    let per_cpu = PIDS_PER_CPU_DEFAULT * nr_cpus;
    let max = PID_MAX_DEFAULT.max(per_cpu).min(PID_MAX_LIMIT);
    let min = PID_MAX_MIN.max(8 * nr_cpus);
    PID_MAX.store(max, Ordering::Relaxed);
    pr_info!("pid_max: default: {max} minimum: {min}");
}

// --- numbers of a task ------------------------------------------------------------------------

/// Process group of a task's process (Linux: `task_pgrp_vnr`).
pub fn task_pgrp(task: &Task) -> Pid {
    task.signal.pgrp.load(Ordering::Relaxed)
}
/// Session of a task's process (Linux: `task_session_vnr`).
pub fn task_session(task: &Task) -> Pid {
    task.signal.session.load(Ordering::Relaxed)
}
/// Whether a task's process leads its session (Linux: `signal->leader`).
pub fn is_session_leader(task: &Task) -> bool {
    task.signal.leader.load(Ordering::Relaxed)
}

/// Whether nobody could continue a stopped process of the group: no member, but for `ignored`,
/// has its parent in the same session but another group (Linux: `will_become_orphaned_pgrp`).
pub fn is_orphaned_pgrp(table: &PidTable, pgrp: Pid, ignored: Option<&Task>) -> bool {
    !table.members(pgrp, PidType::Pgid).iter().any(|member| {
        let is_ignored = ignored.is_some_and(|task| core::ptr::eq(task, &**member));
        let dead = member.exit_state.load(Ordering::Relaxed) != 0
            && member.signal.nr_threads.load(Ordering::Relaxed) <= 0;
        if is_ignored || dead {
            return false;
        }
        member.real_parent().is_some_and(|parent| {
            parent.tgid() != 1
                && task_pgrp(&parent) != pgrp
                && task_session(&parent) == task_session(member)
        })
    })
}

/// Whether the running task's group is orphaned: terminal stops do nothing to it.
pub fn is_current_pgrp_orphaned() -> bool {
    is_orphaned_pgrp(&TASKLIST.read(), task_pgrp(&current()), None)
}

/// Moves a process to another group. Tasklist lock held for writing. Errors: ENOMEM.
fn change_pgrp(table: &mut PidTable, leader: &Arc<Task>, pgrp: Pid) -> Result {
    let old = task_pgrp(leader);
    if old != pgrp {
        table.join(pgrp, PidType::Pgid, leader)?;
        leader.signal.pgrp.store(pgrp, Ordering::Relaxed);
        table.leave(old, PidType::Pgid, leader);
    }
    Ok(())
}

// --- system calls -----------------------------------------------------------------------------

/// getpid(2): the process.
pub fn sys_getpid() -> Result<i32> {
    Ok(current().tgid())
}
/// gettid(2): the thread.
pub fn sys_gettid() -> Result<i32> {
    Ok(current().pid())
}
/// getppid(2): the parent process, 0 for pid 1.
pub fn sys_getppid() -> Result<i32> {
    Ok(current().ppid.load(Ordering::Relaxed))
}

/// setpgid(2): moves a process to another group or makes it lead a new one. Errors: EINVAL for a
/// negative group or a thread, ESRCH for a process that is neither ours nor our child, EACCES
/// for a child that has exec'ed, EPERM for session leaders and foreign sessions.
pub fn sys_setpgid(pid: i32, pgid: i32) -> Result<()> {
    let me = current();
    let pid = if pid == 0 { me.tgid() } else { pid };
    let pgid = if pgid == 0 { pid } else { pgid };
    if pgid < 0 {
        return Err(Errno::EINVAL);
    }
    let mut table = TASKLIST.write();
    let task = table.find(pid).cloned().ok_or(Errno::ESRCH)?;
    if !task.is_group_leader() {
        return Err(Errno::EINVAL);
    }
    may_set_pgid(&me, &task)?;
    if pgid != pid {
        let group = table.members(pgid, PidType::Pgid).first();
        let session = group.map(|member| task_session(member));
        if session != Some(task_session(&me)) {
            return Err(Errno::EPERM);
        }
    }
    change_pgrp(&mut table, &task, pgid)
}

fn may_set_pgid(me: &Task, task: &Arc<Task>) -> Result {
    let parent = task.real_parent();
    if parent.is_some_and(|parent| parent.tgid() == me.tgid()) {
        if task_session(task) != task_session(me) {
            return Err(Errno::EPERM);
        }
        let did_exec = task.signal.did_exec.load(Ordering::Relaxed);
        if did_exec || !task.has_flag(pf::PF_FORKNOEXEC) {
            return Err(Errno::EACCES);
        }
    } else if task.tgid() != me.tgid() {
        return Err(Errno::ESRCH);
    }
    if is_session_leader(task) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// getpgid(2). Errors: ESRCH.
pub fn sys_getpgid(pid: i32) -> Result<i32> {
    Ok(task_pgrp(&*find_task_or_self(pid)?))
}
/// getpgrp(2).
pub fn sys_getpgrp() -> Result<i32> {
    Ok(task_pgrp(&current()))
}
/// getsid(2). Errors: ESRCH.
pub fn sys_getsid(pid: i32) -> Result<i32> {
    Ok(task_session(&*find_task_or_self(pid)?))
}

/// setsid(2): begins a session and a group of its own, without a terminal. Errors: EPERM when
/// a group with the caller's number exists already.
pub fn sys_setsid() -> Result<i32> {
    ksys_setsid()
}

/// setsid from the kernel (Linux: `ksys_setsid`).
pub fn ksys_setsid() -> Result<i32> {
    let me = current();
    let session = me.tgid();
    let mut table = TASKLIST.write();
    let leader = table.find(session).cloned().ok_or(Errno::EPERM)?;
    if is_session_leader(&leader) || !table.members(session, PidType::Pgid).is_empty() {
        return Err(Errno::EPERM);
    }
    let (old_session, old_pgrp) = (task_session(&leader), task_pgrp(&leader));
    table.join(session, PidType::Sid, &leader)?;
    if let Err(error) = table.join(session, PidType::Pgid, &leader) {
        table.leave(session, PidType::Sid, &leader);
        return Err(error);
    }
    table.leave(old_session, PidType::Sid, &leader);
    table.leave(old_pgrp, PidType::Pgid, &leader);
    leader.signal.leader.store(true, Ordering::Relaxed);
    leader.signal.session.store(session, Ordering::Relaxed);
    leader.signal.pgrp.store(session, Ordering::Relaxed);
    drop(table);
    let tty = leader.signal.tty.lock().take();
    drop(tty);
    Ok(session)
}

static PID_TABLE: &[CtlTable] = &[CtlTable {
    path: "kernel/pid_max",
    get: || format!("{}", pid_max()),
    set: Some(|text| set_pid_max(parse_number(text, 0, PID_MAX_LIMIT)?)),
}];

#[__init]
fn pid_sysctl_init() -> Result {
    register_sysctl(PID_TABLE);
    Ok(())
}
fs_initcall!(pid_sysctl_init);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sched::tests::lone_task;

    fn task(table: &mut PidTable, max: Pid) -> Arc<Task> {
        let task = lone_task();
        let pid = table.alloc(max).expect("a free number");
        task.pid.store(pid, Ordering::Relaxed);
        task.tgid.store(pid, Ordering::Relaxed);
        table.attach(&task).expect("memory");
        task
    }

    #[test]
    fn numbers_rise_and_are_not_used_again_before_the_end_of_the_round() {
        let mut table = PidTable::new();
        assert_eq!(task(&mut table, 1000).pid(), 1);
        assert_eq!(task(&mut table, 1000).pid(), 2);
        table.detach(2);
        assert_eq!(task(&mut table, 1000).pid(), 3);
    }

    #[test]
    fn the_second_round_leaves_small_numbers_alone() {
        let mut table = PidTable::new();
        for _ in 0..399 {
            task(&mut table, 400);
        }
        assert_eq!(table.last(), 399);
        table.detach(5);
        assert_eq!(
            table.alloc(400),
            Err(Errno::EAGAIN),
            "5 is reserved for the first round"
        );
        table.detach(350);
        table.detach(310);
        assert_eq!(table.alloc(400), Ok(310));
        assert_eq!(table.alloc(400), Ok(350));
        assert_eq!(table.alloc(400), Err(Errno::EAGAIN));
        assert_eq!(table.nr_threads(), 396);
    }

    #[test]
    fn a_reserved_number_that_is_given_back_is_free() {
        let mut table = PidTable::new();
        let pid = table.alloc_exact(77, 1000).expect("is free");
        assert_eq!(table.alloc_exact(77, 1000), Err(Errno::EEXIST));
        table.free(pid);
        assert_eq!(table.alloc_exact(77, 1000), Ok(77));
        assert_eq!(table.alloc_exact(0, 1000), Err(Errno::EINVAL));
        assert_eq!(table.alloc_exact(1000, 1000), Err(Errno::EINVAL));
    }

    #[test]
    fn tasks_are_found_and_listed_by_number() {
        let mut table = PidTable::new();
        let tasks: Vec<_> = (0..200).map(|_| task(&mut table, 1000)).collect();
        for gone in (1..=200).filter(|n| n % 3 == 0) {
            assert!(table.detach(gone).is_some());
        }
        let listed: Vec<Pid> = table.iter_from(100).map(|t| t.pid()).collect();
        let expected: Vec<Pid> = (100..=200).filter(|n| n % 3 != 0).collect();
        assert_eq!(listed, expected);
        assert!(Arc::ptr_eq(table.find(1).expect("is there"), &tasks[0]));
        for nobody in [0, 3, 201, 100_000, -1, i32::MAX, i32::MIN] {
            assert!(table.find(nobody).is_none());
        }
        assert!(table.members(-5, PidType::Pgid).is_empty());
    }

    #[test]
    fn a_number_is_free_only_when_no_group_and_no_session_has_it() {
        let mut table = PidTable::new();
        let leader = task(&mut table, 1000);
        let other = task(&mut table, 1000);
        table.join(1, PidType::Pgid, &other).expect("memory");
        table.join(1, PidType::Sid, &other).expect("memory");
        table.detach(leader.pid());
        assert_eq!(table.alloc_exact(1, 1000), Err(Errno::EEXIST));
        table.leave(1, PidType::Pgid, &other);
        assert_eq!(table.alloc_exact(1, 1000), Err(Errno::EEXIST));
        table.leave(1, PidType::Sid, &other);
        assert_eq!(table.alloc_exact(1, 1000), Ok(1));
    }

    #[test]
    fn empty_pieces_of_the_table_are_freed_but_for_the_one_in_use() {
        let mut table = PidTable::new();
        for round in 0..300 {
            let task = task(&mut table, 1000);
            assert_eq!(task.pid(), round + 1);
            table.detach(task.pid());
            let pieces = table.chunks.iter().flatten().count();
            assert_eq!(pieces, 1, "after {}", task.pid());
        }
    }

    #[test]
    fn pid_max_has_its_limits() {
        assert_eq!(set_pid_max(300), Err(Errno::EINVAL));
        assert_eq!(set_pid_max(PID_MAX_LIMIT + 1), Err(Errno::EINVAL));
    }
}
