//! Out of memory: who has to go (Linux: mm/oom_kill.c).
//!
//! An allocation that may sleep and finds every zone exhausted waits here until it is worth
//! another try. One task at a time looks for a process whose end gives most memory back, kills
//! it, and has the kernel thread `oom_reaper` take its private memory away at once: the victim
//! may be waiting for a lock that the allocating task holds. No second process is chosen before
//! the first one's memory is back, or cannot come.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::signal::SIGKILL;

use super::gfp::Gfp;
use super::mm_types::MmStruct;
use super::page_alloc::{PAGE_ALLOC_COSTLY_ORDER, memory_is_back, totalram_pages};
use super::show_mem::{kb, show_mem};
use super::util::set_atomic;
use crate::arch::{self, PAGE_SIZE};
use crate::kernel::kthread::kthread_run;
use crate::kernel::locking::Mutex;
use crate::kernel::pid;
use crate::kernel::preempt::in_atomic;
use crate::kernel::sched::task::{Task, pf};
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::sched::{current, schedule_timeout_uninterruptible};
use crate::kernel::signal::{SigInfo, send_sig_info};
use crate::kernel::sysctl::{CtlTable, register_sysctl};
use crate::kernel::time::HZ;
use crate::prelude::*;

/// Never to be chosen.
pub const OOM_SCORE_ADJ_MIN: i32 = -1000;
/// Chosen first.
pub const OOM_SCORE_ADJ_MAX: i32 = 1000;

/// Times that the reaper looks for the victim's memory to be free (Linux: `MAX_OOM_REAP_RETRIES`).
const MAX_OOM_REAP_RETRIES: u32 = 10;

/// Processes killed for their memory since boot (/proc/vmstat `oom_kill`).
static OOM_KILLS: AtomicU64 = AtomicU64::new(0);
/// /proc/sys/vm/panic_on_oom: nobody is killed, the machine stops.
static PANIC_ON_OOM: AtomicU32 = AtomicU32::new(0);
/// /proc/sys/vm/oom_kill_allocating_task: no search, the one that asks has to go.
static KILL_ALLOCATING_TASK: AtomicU32 = AtomicU32::new(0);
/// /proc/sys/vm/oom_dump_tasks: the report lists every process.
static DUMP_TASKS: AtomicU32 = AtomicU32::new(1);

/// One search at a time.
static OOM_LOCK: Mutex<()> = Mutex::new(());
/// The process whose memory is awaited. Lock order: a leaf.
static VICTIM: SpinLock<Option<Victim>> = SpinLock::new(None);
/// The reaper waits here for a victim.
static OOM_REAPER_WAIT: WaitQueueHead = WaitQueueHead::new();

#[derive(Clone)]
struct Victim {
    pid: i32,
    comm: String,
    mm: Weak<MmStruct>,
}

/// How much memory a process's end would give back, in pages, with its own wish added; `None` for
/// what is never chosen (Linux: `oom_badness`). Takes no lock that sleeps.
pub fn oom_badness(task: &Task, total_pages: u64) -> Option<i64> {
    let adj = task.signal.oom_score_adj.load(Ordering::Relaxed);
    if task.tgid() == 1 || task.is_kthread() || adj == OOM_SCORE_ADJ_MIN {
        return None;
    }
    let mm = task.mm()?;
    if mm.oom_skip() {
        return None;
    }
    let tables = mm.page_table().size_bytes() / PAGE_SIZE;
    let pages = mm.rss().anon() + mm.rss().file() + tables as u64;
    Some(pages as i64 + i64::from(adj) * (total_pages / 1000) as i64)
}

/// How many processes were killed for their memory since boot.
pub fn oom_kills() -> u64 {
    OOM_KILLS.load(Ordering::Relaxed)
}

/// Whether the running context can wait for memory: a task that may sleep, and is not itself the
/// one that makes memory free.
fn may_wait(gfp: Gfp, order: u32) -> bool {
    gfp.allowed().contains(Gfp::RECLAIM)
        && order <= PAGE_ALLOC_COSTLY_ORDER
        && !arch::current_ptr().is_null()
        && !in_atomic()
        && !current().rcu.is_reading()
        && !current().has_flag(pf::PF_IDLE | pf::PF_MEMALLOC)
}

/// Whether an allocation that may sleep should first do without the reserve: it can wait.
pub(super) fn can_wait(gfp: Gfp, order: u32) -> bool {
    may_wait(gfp, order) && !is_dying()
}

/// The running task is on its way out, and its memory with it: it gets some of the reserve
/// instead of waiting for another process's.
pub(super) fn is_dying() -> bool {
    !arch::current_ptr().is_null()
        && (current().fatal_signal_pending() || current().has_flag(pf::PF_EXITING))
}

/// The running task allocates in order to make memory free (Linux: `PF_MEMALLOC`).
pub(super) fn makes_memory_free() -> bool {
    !arch::current_ptr().is_null() && current().has_flag(pf::PF_MEMALLOC)
}

/// Every zone is exhausted. Waits for memory, having killed a process for it if need be; false
/// when there is no use in another try: the caller cannot wait, is about to die, or nobody is
/// left to kill (Linux: `__alloc_pages_may_oom`). Process context; sleeps if the caller may.
pub(super) fn wait_for_memory(gfp: Gfp, order: u32) -> bool {
    if !can_wait(gfp, order) {
        return false;
    }
    // What the search itself allocates may come from the reserve, and never waits.
    current().flags.fetch_or(pf::PF_MEMALLOC, Ordering::Relaxed);
    let goes_on = out_of_memory(gfp, order);
    if goes_on && !is_dying() {
        schedule_timeout_uninterruptible(1);
    }
    current()
        .flags
        .fetch_and(!pf::PF_MEMALLOC, Ordering::Relaxed);
    goes_on
}

/// An allocation that must not fail did, even from the reserve: sleeps until others may have
/// freed something; false when the caller cannot sleep.
#[cfg(target_os = "none")]
pub(super) fn sleep_for_memory(gfp: Gfp) -> bool {
    let can_sleep = may_wait(gfp, 0);
    if can_sleep {
        schedule_timeout_uninterruptible(1);
    }
    can_sleep
}

/// Sees to it that memory becomes free; false when that is impossible (Linux: `out_of_memory`).
fn out_of_memory(gfp: Gfp, order: u32) -> bool {
    let Some(_searching) = OOM_LOCK.try_lock() else {
        return true; // another task is at it
    };
    if memory_is_back(gfp, order) || victim_is_dying() {
        return true;
    }
    if PANIC_ON_OOM.load(Ordering::Relaxed) != 0 {
        dump_header(gfp, order);
        panic!("Out of memory: system-wide panic_on_oom is enabled");
    }
    let Some(victim) = choose() else {
        dump_header(gfp, order);
        pr_warn!("Out of memory and no killable processes...");
        if gfp.contains(Gfp::NOFAIL) {
            panic!("System is deadlocked on memory");
        }
        return false;
    };
    dump_header(gfp, order);
    oom_kill_process(&victim);
    true
}

/// Whether a process was killed whose memory can still come back.
fn victim_is_dying() -> bool {
    let victim = VICTIM.lock().clone();
    let mm = victim.as_ref().and_then(|victim| victim.mm.upgrade());
    mm.is_some_and(|mm| !mm.oom_skip())
}

/// Linux: `select_bad_process`, and the shortcut of `oom_kill_allocating_task`.
fn choose() -> Option<Arc<Task>> {
    let total = totalram_pages();
    if KILL_ALLOCATING_TASK.load(Ordering::Relaxed) != 0 {
        let own = current().to_arc();
        if oom_badness(&own, total).is_some() {
            return Some(own);
        }
    }
    let mut worst: Option<(i64, Arc<Task>)> = None;
    for_each_process_unlocked(|process| {
        for thread in process.signal.thread_list() {
            if let Some(points) = oom_badness(&thread, total)
                && worst.as_ref().is_none_or(|(most, _)| points > *most)
            {
                worst = Some((points, thread));
            }
        }
    });
    worst.map(|(_, task)| task)
}

/// Calls `f` for each process without the tasklist lock: dropping the last handle of an address
/// space must be allowed.
fn for_each_process_unlocked(mut f: impl FnMut(&Arc<Task>)) {
    let mut next = 1;
    while let Some(process) = pid::next_process(next) {
        next = process.tgid().saturating_add(1);
        f(&process);
        if next <= 1 {
            return;
        }
    }
}

/// Kills whoever uses the victim's memory, and lets the reaper begin
/// (Linux: `__oom_kill_process`).
fn oom_kill_process(victim: &Arc<Task>) {
    let Some(mm) = victim.mm() else {
        return; // it went by itself
    };
    OOM_KILLS.fetch_add(1, Ordering::Relaxed);
    report(victim, &mm);
    let mut shared_with_init = false;
    for_each_process_unlocked(|process| {
        let uses = |task: &Arc<Task>| task.mm().is_some_and(|other| Arc::ptr_eq(&other, &mm));
        if !process.signal.thread_list().iter().any(uses) || process.is_kthread() {
            return;
        }
        if process.tgid() == 1 {
            shared_with_init = true;
            return;
        }
        let _ = send_sig_info(&SigInfo::kernel(SIGKILL), process);
    });
    if shared_with_init {
        mm.set_oom_skip(); // it stays whatever happens
    }
    *VICTIM.lock() = Some(Victim {
        pid: victim.tgid(),
        comm: victim.comm(),
        mm: Arc::downgrade(&mm),
    });
    OOM_REAPER_WAIT.wake_up_all();
}

fn report(victim: &Task, mm: &MmStruct) {
    let (pid, uid) = (victim.tgid(), victim.cred().uid);
    let comm = victim.comm();
    pr_info!(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
         task_memcg=/,task={comm},pid={pid},uid={uid}"
    );
    pr_err!(
        "Out of memory: Killed process {pid} ({comm}) total-vm:{}kB, anon-rss:{}kB, \
         file-rss:{}kB, shmem-rss:0kB, UID:{uid} pgtables:{}kB oom_score_adj:{}",
        mm.try_read().map_or(0, |map| kb(map.stat.total)),
        kb(mm.rss().anon()),
        kb(mm.rss().file()),
        mm.page_table().size_bytes() >> 10,
        victim.signal.oom_score_adj.load(Ordering::Relaxed),
    );
}

/// Linux: `dump_header`.
fn dump_header(gfp: Gfp, order: u32) {
    pr_warn!(
        "{} invoked oom-killer: gfp_mask={:#x}({gfp}), order={order}, oom_score_adj={}",
        current().comm(),
        gfp.bits(),
        current().signal.oom_score_adj.load(Ordering::Relaxed),
    );
    arch::dump_stack();
    show_mem();
    if DUMP_TASKS.load(Ordering::Relaxed) != 0 {
        dump_tasks();
    }
}

/// Linux: `dump_tasks`.
fn dump_tasks() {
    pr_info!("Tasks state (memory values in pages):");
    pr_info!("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name");
    for_each_process_unlocked(|process| {
        if let Some(mm) = process.mm() {
            pr_info!(
                "[{:7}] {:5} {:5} {:8} {:8} {:8} {:8}         {:5} {}",
                process.pid(),
                process.cred().uid,
                process.tgid(),
                mm.try_read().map_or(0, |map| map.stat.total),
                mm.rss().anon() + mm.rss().file(),
                mm.page_table().size_bytes(),
                0,
                process.signal.oom_score_adj.load(Ordering::Relaxed),
                process.comm()
            );
        }
    });
}

/// The kernel thread that takes a victim's memory away (Linux: `oom_reaper`).
fn oom_reaper() -> i32 {
    current().flags.fetch_or(pf::PF_MEMALLOC, Ordering::Relaxed);
    loop {
        OOM_REAPER_WAIT.wait_event(victim_is_dying);
        let victim = VICTIM.lock().clone();
        if let Some(victim) = victim {
            oom_reap_task(&victim);
        }
    }
}

/// Linux: `oom_reap_task`.
fn oom_reap_task(victim: &Victim) {
    for _ in 0..MAX_OOM_REAP_RETRIES {
        let Some(mm) = victim.mm.upgrade() else {
            return; // everything is free already
        };
        if mm.oom_reap() {
            report_reaped(victim, &mm);
            mm.set_oom_skip();
            return;
        }
        drop(mm);
        schedule_timeout_uninterruptible(HZ / 10);
    }
    if let Some(mm) = victim.mm.upgrade() {
        pr_info!(
            "oom_reaper: unable to reap pid:{} ({})",
            victim.pid,
            victim.comm
        );
        mm.set_oom_skip();
    }
}

fn report_reaped(victim: &Victim, mm: &MmStruct) {
    pr_info!(
        "oom_reaper: reaped process {} ({}), now anon-rss:{}kB, file-rss:{}kB, shmem-rss:0kB",
        victim.pid,
        victim.comm,
        kb(mm.rss().anon()),
        kb(mm.rss().file()),
    );
}

static VM_OOM_KILL_TABLE: &[CtlTable] = &[
    CtlTable {
        path: "vm/panic_on_oom",
        get: || format!("{}", PANIC_ON_OOM.load(Ordering::Relaxed)),
        set: Some(|text| set_atomic(&PANIC_ON_OOM, text, 2)),
    },
    CtlTable {
        path: "vm/oom_kill_allocating_task",
        get: || format!("{}", KILL_ALLOCATING_TASK.load(Ordering::Relaxed)),
        set: Some(|text| set_atomic(&KILL_ALLOCATING_TASK, text, i32::MAX as u32)),
    },
    CtlTable {
        path: "vm/oom_dump_tasks",
        get: || format!("{}", DUMP_TASKS.load(Ordering::Relaxed)),
        set: Some(|text| set_atomic(&DUMP_TASKS, text, i32::MAX as u32)),
    },
];

#[__init]
fn oom_init() -> Result {
    kthread_run("oom_reaper", oom_reaper)?;
    register_sysctl(VM_OOM_KILL_TABLE);
    Ok(())
}
crate::subsys_initcall!(oom_init);
