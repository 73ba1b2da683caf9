//! Making tasks: fork(2), vfork(2), clone(2), clone3(2) and kernel threads (Linux: kernel/fork.c).
//!
//! A child is built from parts that are shared or copied, each of which goes away by itself if a
//! later step fails. Only at the very end, under the tasklist lock, does anybody else see it.
#![forbid(unsafe_code)]

mod syscalls;

pub use syscalls::{sys_clone, sys_clone3, sys_fork, sys_set_tid_address, sys_unshare, sys_vfork};

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::capability::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use uapi::resource::{RLIM_INFINITY, RLIMIT_NPROC, RLIMIT_SIGPENDING, Rlimit};
use uapi::sched::*;
use uapi::signal::{SIG_DFL, SIG_IGN, SIGCHLD};

use crate::arch::{self, PAGE_SIZE, PtRegs, ThreadEntry};
use crate::fs::file::FilesStruct;
use crate::fs::fs_struct::FsStruct;
use crate::kernel::futex;
use crate::kernel::kthread::{Kthread, ThreadFn};
use crate::kernel::pid::{self, PidTable, PidType, TASKLIST};
use crate::kernel::rseq::{rseq_execve, rseq_fork};
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::core::sched_fork;
use crate::kernel::sched::stack::{KernelStack, THREAD_SIZE};
use crate::kernel::sched::task::{Pid, Task, TaskInit, comm_from, pf};
use crate::kernel::sched::{current, wake_up_new_task};
use crate::kernel::signal::{SigHand, SignalStruct, sigflags};
use crate::kernel::time::ktime_get;
use crate::mm::UserAddr;
use crate::mm::mmap::MmStruct;
use crate::mm::page_alloc::totalram_pages;
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::mm::uaccess::put_user;
use crate::prelude::*;

/// Fewest and most tasks (Linux: `MIN_THREADS`, `MAX_THREADS`).
const MIN_THREADS: u64 = 20;
const MAX_THREADS: u64 = 0x3fff_ffff;

/// Namespaces: none can be made.
const CLONE_NEW_NAMESPACES: u64 = CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWTIME;

static MAX_NR_THREADS: AtomicU32 = AtomicU32::new(MIN_THREADS as u32);
static TOTAL_FORKS: AtomicU64 = AtomicU64::new(0);

/// /proc/sys/kernel/threads-max.
pub fn max_threads() -> u32 {
    MAX_NR_THREADS.load(Ordering::Relaxed)
}
/// Changes threads-max. Errors: EINVAL.
pub fn set_max_threads(max: u32) -> Result {
    if !(MIN_THREADS..=MAX_THREADS).contains(&u64::from(max)) {
        return Err(Errno::EINVAL);
    }
    MAX_NR_THREADS.store(max, Ordering::Relaxed);
    Ok(())
}
/// Tasks made since boot (/proc/stat `processes`).
pub fn total_forks() -> u64 {
    TOTAL_FORKS.load(Ordering::Relaxed)
}

/// Limits the number of tasks so that their stacks use at most an eighth of memory (Linux:
/// `fork_init`). Context: boot, after the page allocator is up.
#[__init]
pub fn fork_init() {
    let bytes = totalram_pages().saturating_mul(PAGE_SIZE as u64);
    let threads = (bytes / (8 * THREAD_SIZE as u64)).clamp(MIN_THREADS, MAX_THREADS);
    MAX_NR_THREADS.store(threads as u32, Ordering::Relaxed);
    let half = Rlimit {
        rlim_cur: threads / 2,
        rlim_max: threads / 2,
    };
    Task::create_cache();
    let signal = &current().signal;
    let mut limits = signal.rlimits.lock();
    limits[RLIMIT_NPROC as usize] = half;
    limits[RLIMIT_SIGPENDING as usize] = half;
}

static SIGNAL_CACHE: ArcCache<SignalStruct> = ArcCache::new("signal_cache", SlabKind::Plain);
static SIGHAND_CACHE: ArcCache<SigHand> = ArcCache::new("sighand_cache", SlabKind::Plain);
static FILES_CACHE: ArcCache<FilesStruct> = ArcCache::new("files_cache", SlabKind::Plain);
static FS_CACHE: ArcCache<FsStruct> = ArcCache::new("fs_cache", SlabKind::Plain);

/// Makes the caches of what tasks consist of (Linux: `proc_caches_init`).
#[__init]
pub fn proc_caches_init() {
    SIGHAND_CACHE.create();
    SIGNAL_CACHE.create();
    FILES_CACHE.create();
    FS_CACHE.create();
    crate::mm::mm_types::mm_cache_init();
}

// --- arguments --------------------------------------------------------------------------------

/// What a new task shares with its maker and how it starts (Linux: `struct kernel_clone_args`).
#[derive(Clone, Default, Debug)]
pub struct KernelCloneArgs {
    /// CLONE_*, without the exit signal.
    pub flags: u64,
    /// CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID.
    pub child_tid: u64,
    /// CLONE_PARENT_SETTID.
    pub parent_tid: u64,
    /// Signal that tells the parent of the end; 0 for none.
    pub exit_signal: i32,
    /// User stack pointer of the child; `None` for the parent's.
    pub stack: Option<u64>,
    /// CLONE_SETTLS.
    pub tls: u64,
    /// Number that the child must get (clone3's `set_tid`).
    pub set_tid: Option<Pid>,
}

impl KernelCloneArgs {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

/// Combinations that make no sense, and what this kernel has not got (Linux: `copy_process`).
/// `init` says that the caller is pid 1, whose siblings nobody would reap.
fn check_flags(flags: u64, init: bool) -> Result {
    let has = |flag| flags & flag != 0;
    let shares_without_base = has(CLONE_THREAD) && !has(CLONE_SIGHAND)
        || has(CLONE_SIGHAND) && !has(CLONE_VM)
        || has(CLONE_SIGHAND) && has(CLONE_CLEAR_SIGHAND);
    let sibling_of_init = has(CLONE_PARENT) && init;
    let absent = has(CLONE_NEW_NAMESPACES | CLONE_PIDFD | CLONE_INTO_CGROUP);
    if shares_without_base || sibling_of_init || absent {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// What a new task begins with.
enum Start<'a> {
    /// A copy of the caller's registers.
    User(&'a PtRegs),
    /// A function of the kernel.
    Kernel {
        f: ThreadFn,
        name: Option<&'a [u8]>,
        kthread: Option<Arc<Kthread>>,
    },
}

// --- copying the parts ------------------------------------------------------------------------

fn copy_mm(parent: &Task, args: &KernelCloneArgs) -> Result<Option<Arc<MmStruct>>> {
    match parent.mm() {
        Some(mm) if args.has(CLONE_VM) => Ok(Some(mm)),
        Some(mm) => mm.dup().map(Some),
        None => Ok(None),
    }
}

fn copy_files(parent: &Task, args: &KernelCloneArgs) -> Result<Option<Arc<FilesStruct>>> {
    match parent.files() {
        Some(files) if args.has(CLONE_FILES) => Ok(Some(files)),
        Some(files) => dup_files(&files).map(Some),
        None => Ok(None),
    }
}

/// A descriptor table with the same files. Errors: ENOMEM.
fn dup_files(files: &FilesStruct) -> Result<Arc<FilesStruct>> {
    FILES_CACHE.try_arc(files.dup()?)
}

fn copy_fs(parent: &Task, args: &KernelCloneArgs) -> Result<Option<Arc<FsStruct>>> {
    match parent.fs() {
        Some(fs) if args.has(CLONE_FS) => Ok(Some(fs)),
        Some(fs) => dup_fs(&fs).map(Some),
        None => Ok(None),
    }
}

/// The same root and working directory, to be changed independently. Errors: ENOMEM.
fn dup_fs(fs: &FsStruct) -> Result<Arc<FsStruct>> {
    FS_CACHE.try_arc(fs.dup())
}

fn copy_sighand(parent: &Task, args: &KernelCloneArgs) -> Result<Arc<SigHand>> {
    let sighand = parent.sighand.lock().clone();
    if args.has(CLONE_SIGHAND) {
        return Ok(sighand);
    }
    let copy = sighand.dup();
    if args.has(CLONE_CLEAR_SIGHAND) {
        for action in copy.actions.lock().iter_mut() {
            if action.handler != SIG_IGN {
                *action = Default::default();
                action.handler = SIG_DFL;
            }
        }
    }
    SIGHAND_CACHE.try_arc(copy)
}

fn copy_signal(parent: &Task, args: &KernelCloneArgs) -> Result<Arc<SignalStruct>> {
    if args.has(CLONE_THREAD) {
        Ok(parent.signal.clone())
    } else {
        SIGNAL_CACHE.try_arc(parent.signal.fork())
    }
}

/// Errors: EAGAIN when the user or the machine has too many tasks.
fn check_limits(parent: &Task) -> Result {
    let cred = parent.cred();
    let limit = parent.signal.rlimit(RLIMIT_NPROC);
    let privileged = cred.uid == 0 || cred.has_cap(CAP_SYS_RESOURCE) || cred.has_cap(CAP_SYS_ADMIN);
    let table = TASKLIST.read();
    if table.nr_threads() >= max_threads() {
        return Err(Errno::EAGAIN);
    }
    if limit == RLIM_INFINITY || privileged {
        return Ok(());
    }
    let uid = cred.uid;
    let mine = table
        .iter()
        .filter(|task| task.cred.lock().uid == uid)
        .count();
    if mine as u64 >= limit {
        return Err(Errno::EAGAIN);
    }
    Ok(())
}

// --- copy_process -----------------------------------------------------------------------------

/// A task that is complete but does not run yet (Linux: `copy_process`). May sleep.
///
/// Errors: EINVAL for flags, EAGAIN for limits, ENOMEM, EEXIST for `set_tid`, ERESTARTNOINTR
/// and EINTR when a signal should be taken first.
fn copy_process(args: &KernelCloneArgs, start: Start<'_>) -> Result<Arc<Task>> {
    let parent = current();
    check_flags(args.flags, parent.signal.has_flag(sigflags::UNKILLABLE))?;
    // A signal for the whole group goes to the parent before there are two who would have to
    // take it.
    if !args.has(CLONE_THREAD) && parent.signal_pending() {
        parent.recalc_sigpending();
        if parent.signal_pending() {
            return Err(Errno::ERESTARTNOINTR);
        }
    }
    check_limits(&parent)?;
    let (comm, kthread) = match &start {
        Start::Kernel {
            name: Some(name),
            kthread,
            ..
        } => (comm_from(name), kthread.clone()),
        Start::Kernel { kthread, .. } => (*parent.comm.lock(), kthread.clone()),
        Start::User(_) => (*parent.comm.lock(), None),
    };
    let stack = KernelStack::alloc().ok_or(Errno::ENOMEM)?;
    let stack_top = stack.top();
    let child = Task::try_new(TaskInit {
        signal: copy_signal(&parent, args)?,
        sighand: copy_sighand(&parent, args)?,
        cred: parent.cred(),
        files: copy_files(&parent, args)?,
        fs: copy_fs(&parent, args)?,
        mm: copy_mm(&parent, args)?,
        flags: child_flags(&parent, kthread.is_some()),
        comm,
        kthread,
        stack: Some(stack),
    })?;
    copy_fields(&parent, &child, args);
    sched_fork(&parent, &child);
    copy_thread(&child, stack_top, start, args)?;
    publish(&parent, &child, args)?;
    TOTAL_FORKS.fetch_add(1, Ordering::Relaxed);
    Ok(child)
}

fn child_flags(parent: &Task, kthread: bool) -> u32 {
    let inherited = parent.flags.load(Ordering::Relaxed)
        & !(pf::PF_IDLE
            | pf::PF_KTHREAD
            | pf::PF_EXITING
            | pf::PF_SIGNALED
            | pf::PF_SUPERPRIV
            | pf::PF_NOFREEZE);
    inherited | pf::PF_FORKNOEXEC | if kthread { pf::PF_KTHREAD } else { 0 }
}

/// The words of a task that are neither shared nor zero.
fn copy_fields(parent: &Task, child: &Task, args: &KernelCloneArgs) {
    let copy = |from: &AtomicU32, to: &AtomicU32| {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    copy(&parent.personality, &child.personality);
    copy(&parent.no_new_privs, &child.no_new_privs);
    let blocked = parent.blocked.load(Ordering::Relaxed);
    child.blocked.store(blocked, Ordering::Relaxed);
    child.start_time.store(ktime_get(), Ordering::Relaxed);
    if !args.has(CLONE_VM) || args.has(CLONE_VFORK) {
        // A thread with memory in common needs a signal stack of its own.
        child.sigctx.lock().altstack = parent.sigctx.lock().altstack;
    }
    rseq_fork(parent, child, args.has(CLONE_VM));
    let exit_signal = if args.has(CLONE_THREAD) {
        -1
    } else if args.has(CLONE_PARENT) {
        let leader = pid::find_task(parent.tgid());
        leader.map_or(SIGCHLD, |leader| leader.exit_signal.load(Ordering::Relaxed))
    } else {
        args.exit_signal
    };
    child.exit_signal.store(exit_signal, Ordering::Relaxed);
    let tid = |flag| if args.has(flag) { args.child_tid } else { 0 };
    child
        .set_child_tid
        .store(tid(CLONE_CHILD_SETTID), Ordering::Relaxed);
    child
        .clear_child_tid
        .store(tid(CLONE_CHILD_CLEARTID), Ordering::Relaxed);
}

fn copy_thread(
    child: &Arc<Task>,
    stack_top: crate::mm::VirtAddr,
    start: Start<'_>,
    args: &KernelCloneArgs,
) -> Result {
    let entry = match start {
        Start::User(parent_regs) => ThreadEntry::User {
            parent_regs,
            stack: args.stack,
            tls: args.has(CLONE_SETTLS).then_some(args.tls),
        },
        Start::Kernel { f, .. } => {
            *child.start.lock() = Some(f);
            ThreadEntry::Kernel {
                f: kernel_thread_start,
                arg: 0,
            }
        }
    };
    arch::copy_thread(child, stack_top, entry)
}

/// First function of a task that begins in the kernel. When it returns, the task goes to user
/// space: its function has called execve.
fn kernel_thread_start(_arg: usize) {
    let f = current().start.lock().take();
    if let Some(f) = f {
        f();
    }
}

/// Gives the child its number and enters it everywhere (Linux: the end of `copy_process`).
fn publish(parent: &Task, child: &Arc<Task>, args: &KernelCloneArgs) -> Result {
    let max = pid::pid_max();
    let mut table = TASKLIST.write();
    if parent.fatal_signal_pending() {
        return Err(Errno::EINTR);
    }
    let pid = match args.set_tid {
        Some(pid) => table.alloc_exact(pid, max)?,
        None => table.alloc(max)?,
    };
    child.pid.store(pid, Ordering::Relaxed);
    let thread = args.has(CLONE_THREAD);
    let tgid = if thread { parent.tgid() } else { pid };
    child.tgid.store(tgid, Ordering::Relaxed);
    let entered = if thread {
        enter_thread(&mut table, parent, child)
    } else {
        enter_process(&mut table, parent, child, args)
    };
    if entered.is_err() {
        table.free(pid);
    }
    entered
}

/// A thread joins its group. Whatever can fail comes first.
fn enter_thread(table: &mut PidTable, parent: &Task, child: &Arc<Task>) -> Result {
    let signal = &child.signal;
    {
        let mut threads = signal.threads.lock();
        threads.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        threads.push(Arc::downgrade(child));
    }
    signal.nr_threads.fetch_add(1, Ordering::Relaxed);
    if let Some(real_parent) = parent.real_parent() {
        child.set_real_parent(&real_parent);
    }
    table.attach(child)
}

/// A process joins its parent's children, group and session. Whatever can fail comes first.
fn enter_process(
    table: &mut PidTable,
    parent: &Task,
    child: &Arc<Task>,
    args: &KernelCloneArgs,
) -> Result {
    let real_parent = if args.has(CLONE_PARENT) {
        parent.real_parent().ok_or(Errno::EINVAL)?
    } else {
        current().to_arc()
    };
    let signal = &child.signal;
    let no_memory = |_| Errno::ENOMEM;
    signal.threads.lock().try_reserve(1).map_err(no_memory)?;
    real_parent
        .family
        .lock()
        .children
        .try_reserve(1)
        .map_err(no_memory)?;
    let (pgrp, session) = (signal.pgrp(), signal.session());
    table.join(pgrp, PidType::Pgid, child)?;
    if let Err(error) = table.join(session, PidType::Sid, child) {
        table.leave(pgrp, PidType::Pgid, child);
        return Err(error);
    }
    signal.threads.lock().push(Arc::downgrade(child));
    if child.pid() == 1 {
        // Default actions of signals do not end init.
        signal
            .flags
            .fetch_or(sigflags::UNKILLABLE, Ordering::Relaxed);
    }
    child.set_real_parent(&real_parent);
    real_parent.family.lock().children.push(child.clone());
    table.attach(child)
}

// --- kernel_clone -----------------------------------------------------------------------------

/// Makes a task and lets it run (Linux: `kernel_clone`). With CLONE_VFORK it returns when the
/// child has exec'ed or ended, or when the caller is killed.
fn kernel_clone(args: &KernelCloneArgs, start: Start<'_>) -> Result<Pid> {
    let child = copy_process(args, start)?;
    let pid = child.pid();
    if args.has(CLONE_PARENT_SETTID) {
        // A bad pointer is the caller's own loss: the child exists.
        let _ = put_user(UserAddr::new(args.parent_tid), &pid);
    }
    let vfork = args.has(CLONE_VFORK).then(|| Arc::new(Completion::new()));
    *child.vfork_done.lock() = vfork.clone();
    wake_up_new_task(&child);
    if let Some(vfork) = vfork
        && vfork.wait_for_completion_killable().is_err()
    {
        // Killed: nobody will look at it any more.
        *child.vfork_done.lock() = None;
    }
    Ok(pid)
}

/// The address space is given up, by exec or exit: lets the parent of a vfork go on, and tells
/// those who join this thread (Linux: `mm_release`).
fn mm_release(task: &Task) {
    let clear = task.clear_child_tid.swap(0, Ordering::Relaxed);
    if clear != 0
        && task
            .mm
            .lock()
            .as_ref()
            .is_some_and(|mm| Arc::strong_count(mm) > 1)
    {
        // Only others who share the memory can be waiting.
        futex::clear_child_tid(UserAddr::new(clear));
    }
    let vfork_done = task.vfork_done.lock().take();
    if let Some(vfork_done) = vfork_done {
        vfork_done.complete();
    }
}

fn release_robust_list(task: &Task) {
    let head = task.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        futex::exit_robust_list(UserAddr::new(head));
    }
}

/// Before execve(2) replaces the address space (Linux: `exec_mm_release`). The running task's.
pub fn exec_mm_release(task: &Task) {
    release_robust_list(task);
    rseq_execve(task);
    mm_release(task);
}

/// Before exit(2) gives the address space up (Linux: `exit_mm_release`). The running task's.
pub fn exit_mm_release(task: &Task) {
    release_robust_list(task);
    mm_release(task);
}

// --- tasks that begin in the kernel -----------------------------------------------------------

/// Makes a kernel thread that runs at once (Linux: `kernel_thread`). Only `kthreadd` and boot
/// call it; everybody else asks `kthreadd` (`kthread_run`).
pub(crate) fn create_kernel_thread(name: &[u8], f: ThreadFn, flags: u64) -> Result<Arc<Task>> {
    let args = KernelCloneArgs {
        flags: (flags | CLONE_VM | CLONE_UNTRACED) & !CSIGNAL,
        exit_signal: (flags & CSIGNAL) as i32,
        ..Default::default()
    };
    let start = Start::Kernel {
        f,
        name: Some(name),
        kthread: Some(Arc::new(Kthread::new())),
    };
    let task = copy_process(&args, start)?;
    wake_up_new_task(&task);
    Ok(task)
}

/// Makes a kernel thread of the boot task: pid 2 (Linux: `kernel_thread`).
pub fn kernel_thread(f: fn()) -> Result<Pid> {
    let f = move || {
        f();
        0
    };
    let task = create_kernel_thread(b"kthreadd", Box::new(f), CLONE_FS | CLONE_FILES)?;
    Ok(task.pid())
}

/// Makes a task that begins in the kernel and goes on in user space when `f` returns, after an
/// execve (Linux: `user_mode_thread`): pid 1.
pub fn user_mode_thread(f: impl FnOnce() + Send + 'static) -> Result<Pid> {
    let args = KernelCloneArgs {
        flags: CLONE_FS | CLONE_VM | CLONE_UNTRACED,
        ..Default::default()
    };
    let run = move || {
        f();
        0
    };
    let start = Start::Kernel {
        f: Box::new(run),
        name: None, // the parent's, `swapper/0`, until execve gives it one
        kthread: None,
    };
    kernel_clone(&args, start)
}
