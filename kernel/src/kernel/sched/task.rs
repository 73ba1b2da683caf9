//! The task (Linux: include/linux/sched.h, `struct task_struct`).

use core::ops::Deref;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::arch;
use crate::fs::file::{File, FilesStruct};
use crate::fs::fs_struct::FsStruct;
use crate::kernel::cred::Cred;
use crate::kernel::kthread::{Kthread, ThreadFn};
use crate::kernel::rcu::RcuReader;
use crate::kernel::rseq::RseqState;
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::entity::SchedState;
use crate::kernel::sched::stack::KernelStack;
use crate::kernel::signal::{SigContext, SigHand, SigPending, SignalStruct};
use crate::mm::mmap::MmStruct;
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::prelude::*;

/// A process or thread number in the initial namespace. 0 is the idle task of CPU 0.
pub type Pid = i32;

/// What a task is doing (Linux: `__state` and `exit_state`).
pub mod state {
    /// Running or waiting for a CPU.
    pub const TASK_RUNNING: u32 = 0;
    /// Sleeping; signals wake it.
    pub const TASK_INTERRUPTIBLE: u32 = 1;
    /// Sleeping; nothing but its event wakes it.
    pub const TASK_UNINTERRUPTIBLE: u32 = 2;
    /// Stopped by a signal.
    pub const TASK_STOPPED: u32 = 4;
    /// Traced and stopped.
    pub const TASK_TRACED: u32 = 8;
    /// Parked kernel thread.
    pub const TASK_PARKED: u32 = 0x40;
    /// Gone; the scheduler drops it at the next switch.
    pub const TASK_DEAD: u32 = 0x80;
    /// With UNINTERRUPTIBLE: fatal signals wake it (TASK_KILLABLE).
    pub const TASK_WAKEKILL: u32 = 0x100;
    /// With UNINTERRUPTIBLE: does not count for the load average (TASK_IDLE).
    pub const TASK_NOLOAD: u32 = 0x400;
    /// Created, not yet woken for the first time.
    pub const TASK_NEW: u32 = 0x800;
    /// Sleeping for an event or a fatal signal.
    pub const TASK_KILLABLE: u32 = TASK_WAKEKILL | TASK_UNINTERRUPTIBLE;
    /// Sleeping without counting for the load average.
    pub const TASK_IDLE: u32 = TASK_UNINTERRUPTIBLE | TASK_NOLOAD;
    /// Being woken: the waker owns it (Linux: `TASK_WAKING`).
    pub const TASK_WAKING: u32 = 0x200;
    /// Any state that a normal wake-up ends.
    pub const TASK_NORMAL: u32 = TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE;
}

/// `exit_state`: waits for its parent.
pub const EXIT_ZOMBIE: u32 = 0x20;
/// `exit_state`: reaped.
pub const EXIT_DEAD: u32 = 0x10;

/// Task flags (Linux: `PF_*`).
pub mod pf {
    /// The idle task of a CPU.
    pub const PF_IDLE: u32 = 0x2;
    /// On its way out.
    pub const PF_EXITING: u32 = 0x4;
    /// Had superuser privileges (accounting).
    pub const PF_SUPERPRIV: u32 = 0x100;
    /// Forked, has not exec'ed.
    pub const PF_FORKNOEXEC: u32 = 0x40;
    /// Killed by a signal.
    pub const PF_SIGNALED: u32 = 0x400;
    /// Makes memory free: may use the whole reserve, and never waits for memory.
    pub const PF_MEMALLOC: u32 = 0x800;
    /// A worker of a workqueue: `schedule` tells its pool.
    pub const PF_WQ_WORKER: u32 = 0x20;
    /// Never frozen.
    pub const PF_NOFREEZE: u32 = 0x8000;
    /// A kernel thread.
    pub const PF_KTHREAD: u32 = 0x20_0000;
}

/// Bits of `Task::thread_flags`: work to do before returning to user space (Linux: `TIF_*`).
pub mod tif {
    /// Call `schedule`.
    pub const NEED_RESCHED: u32 = 1;
    /// Look at the pending signals.
    pub const SIGPENDING: u32 = 2;
    /// Run task work.
    pub const NOTIFY_RESUME: u32 = 4;
    /// The idle task polls NEED_RESCHED: no interrupt needed to wake it.
    pub const POLLING_NRFLAG: u32 = 8;
}

/// Fixed part of `comm`, with the NUL.
pub const TASK_COMM_LEN: usize = 16;

/// A task. Shared through `Arc<Task>`; each field says who changes it.
pub struct Task {
    /// This thread's number; never changes (exec in a thread group may swap leaders).
    pub pid: AtomicI32,
    /// The thread group leader's number.
    pub tgid: AtomicI32,
    /// `state::*`.
    pub state: AtomicU32,
    /// 0, `EXIT_ZOMBIE` or `EXIT_DEAD`.
    pub exit_state: AtomicU32,
    /// Wait status (W* encoding).
    pub exit_code: AtomicU32,
    /// Signal that tells the parent of this task's end; -1 for a thread that leads no group.
    pub exit_signal: AtomicI32,
    /// Signal sent to this task when its parent ends (prctl PR_SET_PDEATHSIG); 0 for none.
    pub pdeath_signal: AtomicU32,
    /// prctl(2) PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: AtomicU32,
    /// `pf::*`.
    pub flags: AtomicU32,
    /// `tif::*`.
    pub thread_flags: AtomicU32,
    /// personality(2).
    pub personality: AtomicU32,
    /// Name shown by ps; NUL padded.
    pub comm: IrqSpinLock<[u8; TASK_COMM_LEN]>,
    /// User address space; `None` for kernel threads. Read by the context switch, hence IRQ-safe.
    pub mm: IrqSpinLock<Option<Arc<MmStruct>>>,
    /// Root, working directory, umask.
    pub fs: SpinLock<Option<Arc<FsStruct>>>,
    /// Open files. Only the task itself replaces the table.
    pub files: SpinLock<Option<Arc<FilesStruct>>>,
    /// Signal handlers, shared with CLONE_SIGHAND. Only the task itself replaces them.
    pub sighand: IrqSpinLock<Arc<SigHand>>,
    /// Shared by the threads of a group: group-wide signals, limits, tty, job control, times.
    pub signal: Arc<SignalStruct>,
    /// Blocked signals of this thread (bit n-1 for signal n).
    pub blocked: AtomicU64,
    /// Thread-directed pending signals.
    pub pending: IrqSpinLock<SigPending>,
    /// Saved mask, alternate stack, restart block.
    pub sigctx: IrqSpinLock<SigContext>,
    /// Credentials.
    pub cred: SpinLock<Arc<Cred>>,
    /// The parent process's number, for getppid(2): follows `Family::real_parent`.
    pub(crate) ppid: AtomicI32,
    /// Family links; changed under the tasklist lock (kernel/pid.rs).
    pub family: IrqSpinLock<Family>,
    /// CLONE_CHILD_SETTID: where the child writes its number before its first user instruction.
    pub set_child_tid: AtomicU64,
    /// Set by set_tid_address(2) and CLONE_CHILD_CLEARTID: cleared and woken at exit.
    pub clear_child_tid: AtomicU64,
    /// Head of the robust futex list in user space.
    pub robust_list: AtomicU64,
    /// What rseq(2) registered.
    pub rseq: RseqState,
    /// What the parent of a vfork child waits for.
    pub vfork_done: IrqSpinLock<Option<Arc<Completion>>>,
    /// State of a kernel thread; set before the task runs.
    pub kthread: Option<Arc<Kthread>>,
    /// What a task that begins in the kernel runs; taken by the task itself.
    pub(crate) start: SpinLock<Option<ThreadFn>>,
    /// Kernel stack; `None` for the boot task and once the task is dead and switched away.
    pub stack: IrqSpinLock<Option<KernelStack>>,
    /// Start time, ns since boot.
    pub start_time: AtomicU64,
    /// User CPU time by ticks, ns; `cputime::task_cputime_adjusted` gives the precise figures.
    pub utime: AtomicU64,
    /// System CPU time by ticks, ns.
    pub stime: AtomicU64,
    /// Faults without I/O.
    pub min_flt: AtomicU64,
    /// Faults with I/O.
    pub maj_flt: AtomicU64,
    /// Switches away because it slept.
    pub nvcsw: AtomicU64,
    /// Switches away because it was preempted.
    pub nivcsw: AtomicU64,
    /// What it read and wrote (Linux: `struct task_io_accounting`).
    pub ioac: IoAccounting,
    /// Its read-side sections; owned by kernel/rcu.
    pub rcu: RcuReader,
    /// Scheduling state; owned by kernel/sched.
    pub se: SchedState,
    /// Registers of a task that is not running; owned by arch.
    pub thread: arch::ThreadStruct,
}

static TASK_CACHE: ArcCache<Task> = ArcCache::new("task_struct", SlabKind::Plain);

/// Calls in one direction and the bytes they moved.
#[derive(Default)]
pub struct IoCount {
    /// Bytes.
    pub bytes: AtomicU64,
    /// Calls.
    pub calls: AtomicU64,
}

impl IoCount {
    /// Counts a call. Only the task itself does that, so no locked instruction is needed.
    #[inline]
    pub fn count(&self, bytes: usize) {
        let (total, calls) = (
            self.bytes.load(Ordering::Relaxed),
            self.calls.load(Ordering::Relaxed),
        );
        self.bytes
            .store(total.wrapping_add(bytes as u64), Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Relaxed);
    }
    /// Adds what another one has; any task.
    pub fn add(&self, other: &IoCount) {
        self.bytes
            .fetch_add(other.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.calls
            .fetch_add(other.calls.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What was read and written, whatever it came from (Linux: `struct task_io_accounting`).
#[derive(Default)]
pub struct IoAccounting {
    /// Reading.
    pub read: IoCount,
    /// Writing.
    pub write: IoCount,
}

impl IoAccounting {
    /// Adds what another task has.
    pub fn add(&self, other: &IoAccounting) {
        self.read.add(&other.read);
        self.write.add(&other.write);
    }
}

/// What a new task is made of; `Task::new` fills in the rest.
pub struct TaskInit {
    /// Shared state of the thread group.
    pub signal: Arc<SignalStruct>,
    /// Handlers.
    pub sighand: Arc<SigHand>,
    /// Credentials.
    pub cred: Arc<Cred>,
    /// User address space.
    pub mm: Option<Arc<MmStruct>>,
    /// Root and working directory.
    pub fs: Option<Arc<FsStruct>>,
    /// Open files.
    pub files: Option<Arc<FilesStruct>>,
    /// `pf::*`.
    pub flags: u32,
    /// Name.
    pub comm: [u8; TASK_COMM_LEN],
    /// For a kernel thread.
    pub kthread: Option<Arc<Kthread>>,
    /// Kernel stack.
    pub stack: Option<KernelStack>,
}

/// Links between tasks; changed under the tasklist lock.
#[derive(Default)]
pub struct Family {
    /// Who started it, or who adopted it.
    pub real_parent: Weak<Task>,
    /// Children, oldest first.
    pub children: Vec<Arc<Task>>,
}

impl Task {
    /// A task in state `TASK_NEW` that is in no list yet. Pid 0 until one is given. For boot, when
    /// there are no caches yet; everybody else uses `try_new`.
    pub fn new(init: TaskInit) -> Arc<Task> {
        Arc::new(Self::from_parts(init))
    }

    /// `new` with memory from the cache `task_struct`. Errors: ENOMEM.
    pub fn try_new(init: TaskInit) -> Result<Arc<Task>> {
        TASK_CACHE.try_arc(Self::from_parts(init))
    }

    /// Makes the cache of tasks, so that /proc/slabinfo lists it from the start.
    pub(crate) fn create_cache() {
        TASK_CACHE.create();
    }

    #[inline]
    fn from_parts(init: TaskInit) -> Task {
        let stack_end = init.stack.as_ref().map_or(0, |s| s.end_word().as_u64());
        Task {
            pid: AtomicI32::new(0),
            tgid: AtomicI32::new(0),
            state: AtomicU32::new(state::TASK_NEW),
            exit_state: AtomicU32::new(0),
            exit_code: AtomicU32::new(0),
            exit_signal: AtomicI32::new(0),
            pdeath_signal: AtomicU32::new(0),
            no_new_privs: AtomicU32::new(0),
            flags: AtomicU32::new(init.flags),
            thread_flags: AtomicU32::new(0),
            personality: AtomicU32::new(0),
            comm: IrqSpinLock::new(init.comm),
            mm: IrqSpinLock::new(init.mm),
            fs: SpinLock::new(init.fs),
            files: SpinLock::new(init.files),
            sighand: IrqSpinLock::new(init.sighand),
            signal: init.signal,
            blocked: AtomicU64::new(0),
            pending: IrqSpinLock::new(SigPending::default()),
            sigctx: IrqSpinLock::new(SigContext::default()),
            cred: SpinLock::new(init.cred),
            ppid: AtomicI32::new(0),
            family: IrqSpinLock::new(Family::default()),
            set_child_tid: AtomicU64::new(0),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            rseq: RseqState::new(),
            vfork_done: IrqSpinLock::new(None),
            kthread: init.kthread,
            start: SpinLock::new(None),
            stack: IrqSpinLock::new(init.stack),
            start_time: AtomicU64::new(0),
            utime: AtomicU64::new(0),
            stime: AtomicU64::new(0),
            min_flt: AtomicU64::new(0),
            maj_flt: AtomicU64::new(0),
            nvcsw: AtomicU64::new(0),
            nivcsw: AtomicU64::new(0),
            ioac: IoAccounting::default(),
            rcu: RcuReader::new(),
            se: SchedState::new(stack_end),
            thread: arch::ThreadStruct::new(),
        }
    }
}

/// The running task, borrowed: it cannot go away while it runs.
#[derive(Clone, Copy)]
pub struct CurrentTask {
    task: &'static Task,
    _not_send: core::marker::PhantomData<*mut ()>,
}

impl Deref for CurrentTask {
    type Target = Task;
    #[inline(always)]
    fn deref(&self) -> &Task {
        self.task
    }
}

#[inline(always)]
pub(super) fn current_task() -> CurrentTask {
    let task = arch::current_ptr();
    debug_assert!(!task.is_null(), "no current task");
    // SAFETY: `setup_boot_task` is the first thing that portable code does, so there is one. The
    // scheduler keeps the running task alive, and this handle stays on its stack.
    let task = unsafe { &*task };
    CurrentTask {
        task,
        _not_send: core::marker::PhantomData,
    }
}

/// A name as `Task::comm` holds it; longer ones are cut.
pub fn comm_from(name: &[u8]) -> [u8; TASK_COMM_LEN] {
    let mut comm = [0; TASK_COMM_LEN];
    let len = name.len().min(TASK_COMM_LEN - 1);
    comm[..len].copy_from_slice(&name[..len]);
    comm
}

impl CurrentTask {
    /// The table of open files, without its lock.
    #[inline]
    pub fn own_files(&self) -> Option<Arc<FilesStruct>> {
        // SAFETY: as in `file`.
        unsafe { &*self.task.files.as_ptr() }.clone()
    }
    /// The handlers of signals, without their lock.
    #[inline]
    pub fn own_sighand(&self) -> Arc<SigHand> {
        // SAFETY: only the task itself replaces them, and it is busy here; others only lock the field to read.
        unsafe { &*self.task.sighand.as_ptr() }.clone()
    }
    /// The open file behind a descriptor, without the lock of `files`. Errors: EBADF.
    #[inline]
    pub fn file(&self, fd: i32) -> Result<Arc<File>> {
        // SAFETY: only the task itself replaces its table, and it is busy here; others only lock the field to read.
        let files = unsafe { &*self.task.files.as_ptr() };
        files.as_ref().ok_or(Errno::EBADF)?.get(fd)
    }
    /// The running task itself, for the rest of the function: it cannot end before.
    pub fn as_task(&self) -> &'static Task {
        self.task
    }
    /// A counted handle to the running task.
    pub fn to_arc(&self) -> Arc<Task> {
        // SAFETY: every task lives in an `Arc` and is alive while it runs.
        unsafe {
            Arc::increment_strong_count(self.task);
            Arc::from_raw(self.task)
        }
    }
}

impl Task {
    /// Thread number.
    #[inline]
    pub fn pid(&self) -> Pid {
        self.pid.load(Ordering::Relaxed)
    }
    /// Process number.
    #[inline]
    pub fn tgid(&self) -> Pid {
        self.tgid.load(Ordering::Relaxed)
    }
    /// Whether a bit of `tif` is set.
    #[inline]
    pub fn test_tif(&self, flag: u32) -> bool {
        self.thread_flags.load(Ordering::Acquire) & flag != 0
    }
    /// Sets a bit of `tif`.
    #[inline]
    pub fn set_tif(&self, flag: u32) {
        self.thread_flags.fetch_or(flag, Ordering::AcqRel);
    }
    /// Clears a bit of `tif`.
    #[inline]
    pub fn clear_tif(&self, flag: u32) {
        self.thread_flags.fetch_and(!flag, Ordering::AcqRel);
    }
    /// Whether a signal waits (Linux: `signal_pending`).
    #[inline]
    pub fn signal_pending(&self) -> bool {
        self.test_tif(tif::SIGPENDING)
    }
    /// Whether it leads its thread group.
    pub fn is_group_leader(&self) -> bool {
        self.pid() == self.tgid()
    }
    /// Whether a bit of `pf` is set.
    pub fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }
    /// Whether it is a kernel thread.
    #[inline]
    pub fn is_kthread(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & pf::PF_KTHREAD != 0
    }
    /// Another parent; tasklist lock held for writing.
    pub(crate) fn set_real_parent(&self, parent: &Arc<Task>) {
        self.ppid.store(parent.tgid(), Ordering::Relaxed);
        let parent = Arc::downgrade(parent);
        let old = core::mem::replace(&mut self.family.lock().real_parent, parent);
        drop(old);
    }
    /// The parent that waits for this task; pid 0 has none (Linux: `real_parent`).
    pub fn real_parent(&self) -> Option<Arc<Task>> {
        self.family.lock().real_parent.upgrade()
    }
    /// The address space; `None` for kernel threads.
    pub fn mm(&self) -> Option<Arc<MmStruct>> {
        self.mm.lock().clone()
    }
    /// Open files; EBADF-like callers get a fresh empty table only for dead tasks.
    pub fn files(&self) -> Option<Arc<FilesStruct>> {
        self.files.lock().clone()
    }
    /// Root, working directory and umask.
    pub fn fs(&self) -> Option<Arc<FsStruct>> {
        self.fs.lock().clone()
    }
    /// Credentials.
    pub fn cred(&self) -> Arc<Cred> {
        self.cred.lock().clone()
    }
    /// Name without the padding, lossy.
    pub fn comm(&self) -> String {
        let comm = *self.comm.lock();
        let len = comm.iter().position(|&b| b == 0).unwrap_or(TASK_COMM_LEN);
        String::from_utf8_lossy(&comm[..len]).into_owned()
    }
    /// Changes the name; longer ones are cut.
    pub fn set_comm(&self, name: &[u8]) {
        *self.comm.lock() = comm_from(name);
    }
}
