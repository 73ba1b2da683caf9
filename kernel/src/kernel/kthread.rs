//! Kernel threads (Linux: kernel/kthread.c).
//!
//! `kthreadd`, pid 2, makes all of them, so that none inherits anything from whoever wanted it.
//! A request goes into a list, `kthreadd` is woken, and the new thread itself reports back; it
//! then sleeps until it is woken for the first time.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};

use crate::kernel::exit::do_exit;
use crate::kernel::fork::create_kernel_thread;
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::task::{Task, pf, state::*};
use crate::kernel::sched::{current, schedule, set_current_state, wake_up_process, wake_up_state};
use crate::kernel::signal;
use crate::kernel::workqueue::Worker;
use crate::prelude::*;
use uapi::sched::{CLONE_FILES, CLONE_FS};
use uapi::signal::SIGCHLD;

const SHOULD_STOP: u32 = 1;
const SHOULD_PARK: u32 = 2;
const IS_PARKED: u32 = 4;

/// What a kernel thread runs.
pub type ThreadFn = Box<dyn FnOnce() -> i32 + Send>;

/// The part of a task that only kernel threads have (Linux: `struct kthread`).
pub struct Kthread {
    flags: AtomicU32,
    /// Done when the thread is parked.
    parked: Completion,
    /// Done when the thread's function has returned, or will never run.
    exited: Completion,
    result: AtomicI32,
    /// What a workqueue's thread is to its pool (Linux: `kthread_data`).
    worker: spin::Once<Arc<Worker>>,
}

impl Kthread {
    /// For a new thread.
    pub fn new() -> Self {
        Self {
            flags: AtomicU32::new(0),
            parked: Completion::new(),
            exited: Completion::new(),
            result: AtomicI32::new(0),
            worker: spin::Once::new(),
        }
    }
    /// The worker that the thread is.
    pub fn worker(&self) -> Option<&Arc<Worker>> {
        self.worker.get()
    }
    /// The thread becomes a worker, for good.
    pub fn set_worker(&self, worker: Arc<Worker>) {
        self.worker.call_once(|| worker);
    }
    fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }
    fn set(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }
    fn clear(&self, flag: u32) {
        self.flags.fetch_and(!flag, Ordering::AcqRel);
    }
}

impl Default for Kthread {
    fn default() -> Self {
        Self::new()
    }
}

/// A request to `kthreadd` (Linux: `struct kthread_create_info`). Shared by the requester,
/// `kthreadd` and the new thread; whoever is last frees it.
struct KthreadCreateInfo {
    full_name: String,
    threadfn: SpinLock<Option<ThreadFn>>,
    result: SpinLock<Option<Result<Arc<Task>>>>,
    done: Completion,
    /// `PENDING`, then one of the others for good.
    fate: AtomicU8,
}

/// Neither has the thread reported nor the requester given up.
const PENDING: u8 = 0;
/// The thread reports, and then sleeps until the requester wakes it.
const REPORTED: u8 = 1;
/// The requester was killed and no longer waits: the thread has to end.
const ABANDONED: u8 = 2;

impl KthreadCreateInfo {
    /// Decides how the request ends; false when the other side was faster (Linux: the exchange
    /// of `create->done`).
    fn settle(&self, fate: u8) -> bool {
        let (set, failed) = (Ordering::AcqRel, Ordering::Acquire);
        let settled = self.fate.compare_exchange(PENDING, fate, set, failed);
        settled.is_ok()
    }
}

/// Requests, first in, first out (Linux: `kthread_create_list` under `kthread_create_lock`).
static KTHREAD_CREATE_LIST: SpinLock<VecDeque<Arc<KthreadCreateInfo>>> =
    SpinLock::new(VecDeque::new());

/// Pid 2 (Linux: `kthreadd_task`), once it runs.
static KTHREADD_TASK: SpinLock<Option<Arc<Task>>> = SpinLock::new(None);

/// `kthreadd` itself, for those who compare parents.
pub fn kthreadd_task() -> Option<Arc<Task>> {
    KTHREADD_TASK.lock().clone()
}

// --- kthreadd ---------------------------------------------------------------------------------

/// Makes a task known as the one that makes kernel threads; `rest_init` calls it before anybody
/// can ask for one. What is asked for before it runs lies in the list until then.
pub fn set_kthreadd_task(task: Option<Arc<Task>>) {
    *KTHREADD_TASK.lock() = task;
}

/// The main function of pid 2 (Linux: `kthreadd`). Never returns.
pub fn kthreadd() {
    let me = current();
    me.set_comm(b"kthreadd");
    signal::ignore_signals(&me);
    me.flags.fetch_or(pf::PF_NOFREEZE, Ordering::Relaxed);
    loop {
        // The state comes before the look at the list: a request in between makes the task
        // runnable again, and `schedule` returns at once.
        set_current_state(TASK_INTERRUPTIBLE);
        if KTHREAD_CREATE_LIST.lock().is_empty() {
            schedule();
        }
        set_current_state(TASK_RUNNING);
        // The lock is dropped around each creation, which sleeps.
        while let Some(create) = next_request() {
            create_kthread(create);
        }
    }
}

fn next_request() -> Option<Arc<KthreadCreateInfo>> {
    KTHREAD_CREATE_LIST.lock().pop_front()
}

/// Makes one thread; it reports to the requester itself unless it cannot be made.
fn create_kthread(create: Arc<KthreadCreateInfo>) {
    let info = create.clone();
    let flags = CLONE_FS | CLONE_FILES | SIGCHLD as u64;
    let name = create.full_name.as_bytes();
    let made = create_kernel_thread(name, Box::new(move || kthread(&info)), flags);
    if let Err(error) = made {
        *create.result.lock() = Some(Err(error));
        create.done.complete();
    }
}

/// The first function of every kernel thread.
fn kthread(create: &Arc<KthreadCreateInfo>) -> i32 {
    let me = current();
    let threadfn = create.threadfn.lock().take();
    if !create.settle(REPORTED) {
        kthread_exit(-EINTR);
    }
    // Asleep before the report: the requester's wake-up must find the thread sleeping.
    set_current_state(TASK_UNINTERRUPTIBLE);
    *create.result.lock() = Some(Ok(me.to_arc()));
    create.done.complete();
    schedule();
    let mut result = -EINTR;
    if !kthread_should_stop() {
        kthread_parkme_if_asked();
        if let Some(threadfn) = threadfn {
            result = threadfn();
        }
    }
    kthread_exit(result)
}

const EINTR: i32 = Errno::EINTR.code();

/// Ends the running kernel thread with a result for `kthread_stop` (Linux: `kthread_exit`).
pub fn kthread_exit(result: i32) -> ! {
    if let Some(kthread) = &current().kthread {
        kthread.result.store(result, Ordering::Release);
        kthread.exited.complete_all();
    }
    do_exit(0)
}

// --- creation ---------------------------------------------------------------------------------

/// Makes a kernel thread that sleeps until it is woken (Linux: `kthread_create_on_node`).
/// May sleep. Errors: ENOMEM, EAGAIN, EINTR when the caller is killed meanwhile.
pub fn kthread_create(
    name: &str,
    threadfn: impl FnOnce() -> i32 + Send + 'static,
) -> Result<Arc<Task>> {
    let create = Arc::new(KthreadCreateInfo {
        full_name: String::from(name),
        threadfn: SpinLock::new(Some(Box::new(threadfn))),
        result: SpinLock::new(None),
        done: Completion::new(),
        fate: AtomicU8::new(PENDING),
    });
    KTHREAD_CREATE_LIST.lock().push_back(create.clone());
    if let Some(kthreadd) = kthreadd_task() {
        wake_up_process(&kthreadd);
    }
    if create.done.wait_for_completion_killable().is_err() {
        if create.settle(ABANDONED) {
            return Err(Errno::EINTR);
        }
        // The thread is about to report, and sleeps until it is woken: it must not be lost.
        create.done.wait_for_completion();
    }
    create.result.lock().take().unwrap_or(Err(Errno::ENOMEM))
}

/// `kthread_create` and the first wake-up.
pub fn kthread_run(
    name: &str,
    threadfn: impl FnOnce() -> i32 + Send + 'static,
) -> Result<Arc<Task>> {
    let task = kthread_create(name, threadfn)?;
    wake_up_process(&task);
    Ok(task)
}

/// `kthread_create` for a thread that belongs to one CPU (Linux: `kthread_create_on_cpu`).
/// A `{cpu}` in the name is up to the caller.
pub fn kthread_create_on_cpu(
    name: &str,
    cpu: usize,
    threadfn: impl FnOnce() -> i32 + Send + 'static,
) -> Result<Arc<Task>> {
    let task = kthread_create(name, threadfn)?;
    crate::kernel::sched::set_cpus_allowed(&task, 1 << cpu)?;
    Ok(task)
}

// --- control ----------------------------------------------------------------------------------

/// Whether somebody asked the running kernel thread to end.
pub fn kthread_should_stop() -> bool {
    current()
        .kthread
        .as_ref()
        .is_some_and(|k| k.has(SHOULD_STOP))
}

/// Asks a kernel thread to end and waits for that. Returns what its function returned; EINTR as
/// a negative number when it never ran. May sleep.
pub fn kthread_stop(task: &Arc<Task>) -> i32 {
    let Some(kthread) = &task.kthread else {
        return -Errno::EINVAL.code();
    };
    kthread.set(SHOULD_STOP);
    kthread_unpark(task);
    wake_up_process(task);
    kthread.exited.wait_for_completion();
    kthread.result.load(Ordering::Acquire)
}

/// Whether somebody asked the running kernel thread to park.
pub fn kthread_should_park() -> bool {
    current()
        .kthread
        .as_ref()
        .is_some_and(|k| k.has(SHOULD_PARK))
}

fn kthread_parkme_if_asked() {
    if kthread_should_park() {
        kthread_parkme();
    }
}

/// Sleeps until `kthread_unpark`; the thread calls it when it should park.
pub fn kthread_parkme() {
    let me = current();
    let Some(kthread) = &me.kthread else { return };
    loop {
        set_current_state(TASK_PARKED);
        if !kthread.has(SHOULD_PARK) {
            break;
        }
        if !kthread.has(IS_PARKED) {
            kthread.set(IS_PARKED);
            kthread.parked.complete();
        }
        schedule();
    }
    kthread.clear(IS_PARKED);
    set_current_state(TASK_RUNNING);
}

/// Asks a kernel thread to park and waits until it did. May sleep. Errors: ENOSYS when it is on
/// its way out, EBUSY when it is asked to already.
pub fn kthread_park(task: &Arc<Task>) -> Result {
    let kthread = task.kthread.as_ref().ok_or(Errno::EINVAL)?;
    if task.has_flag(pf::PF_EXITING) {
        return Err(Errno::ENOSYS);
    }
    if kthread.has(SHOULD_PARK) {
        return Err(Errno::EBUSY);
    }
    kthread.parked.reinit();
    kthread.set(SHOULD_PARK);
    wake_up_process(task);
    kthread.parked.wait_for_completion();
    Ok(())
}

/// Lets a parked kernel thread go on.
pub fn kthread_unpark(task: &Arc<Task>) {
    if let Some(kthread) = &task.kthread {
        kthread.clear(SHOULD_PARK);
        wake_up_state(task, TASK_PARKED);
    }
}

/// A new machine of the test port has a new `kthreadd`.
#[cfg(test)]
pub(crate) fn reset_for_test() {
    KTHREAD_CREATE_LIST.lock().clear();
    let _ = KTHREADD_TASK.lock().take();
}
