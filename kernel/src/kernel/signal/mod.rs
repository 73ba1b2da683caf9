//! Signals (Linux: kernel/signal.c).
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | the data: pending sets, actions, what a thread group shares |
//! | `send.rs` | sending: who gets it, who is woken |
//! | `deliver.rs` | taking a signal on the way back to user space |
//! | `sigaction.rs` | system calls on actions, masks and waiting |
//! | `kill.rs` | system calls that send |
//!
//! Locks: `SigHand::actions` is Linux's siglock. It is taken before the pending sets, never the
//! other way round, and with interrupts off (a timer or a terminal may send from an interrupt).
#![forbid(unsafe_code)]

mod deliver;
mod kill;
mod send;
pub mod sigaction;
#[cfg(test)]
mod tests;

pub use deliver::*;
pub use kill::*;
pub use send::*;
pub use sigaction::*;

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use uapi::resource::Rlimit;
use uapi::signal::*;

use crate::kernel::sched::task::{IoAccounting, Pid, Task};
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::time::posix_timers::{PosixTimers, TimerSignal};
use crate::prelude::*;

/// Who sends a signal and why, in the layout that handlers get.
pub type SigInfo = Siginfo;

/// Signals that cannot be blocked, caught or ignored.
pub const SIG_KERNEL_ONLY_MASK: u64 = sigmask(SIGKILL) | sigmask(SIGSTOP);
/// Signals that stop by default.
pub const SIG_KERNEL_STOP_MASK: u64 =
    sigmask(SIGSTOP) | sigmask(SIGTSTP) | sigmask(SIGTTIN) | sigmask(SIGTTOU);
/// Signals that are ignored by default.
pub const SIG_KERNEL_IGNORE_MASK: u64 =
    sigmask(SIGCONT) | sigmask(SIGCHLD) | sigmask(SIGWINCH) | sigmask(SIGURG);
/// Signals that a fault raises; taken before others.
const SYNCHRONOUS_MASK: u64 = sigmask(SIGSEGV)
    | sigmask(SIGBUS)
    | sigmask(SIGILL)
    | sigmask(SIGTRAP)
    | sigmask(SIGFPE)
    | sigmask(SIGSYS);

/// Whether `sig` is in `set`.
pub const fn in_set(set: u64, sig: i32) -> bool {
    set & sigmask(sig) != 0
}

/// An instance of a pending signal (Linux: `struct sigqueue`).
pub struct SigQueue {
    /// What the handler gets.
    pub info: SigInfo,
    /// The timer that sent it, which goes on when the signal is taken.
    pub timer: Option<TimerSignal>,
}

/// Pending signals of a thread or of a group (Linux: `struct sigpending`).
#[derive(Default)]
pub struct SigPending {
    /// Bit n-1 for signal n.
    pub set: u64,
    /// Details, in order of arrival; a signal may be pending without any.
    queue: VecDeque<SigQueue>,
}

impl SigPending {
    /// Adds a signal with its details.
    pub fn push(&mut self, info: SigInfo) {
        self.set |= sigmask(info.si_signo);
        self.queue.push_back(SigQueue { info, timer: None });
    }

    /// Adds the signal of a timer. A timer has one at a time: when it is still there, it only counts one overrun more
    /// (Linux: `send_sigqueue`).
    pub fn push_timer(&mut self, info: SigInfo, signal: TimerSignal) {
        let same =
            |entry: &&mut SigQueue| entry.timer.as_ref().is_some_and(|t| t.is_of_timer(&signal));
        if let Some(entry) = self.queue.iter_mut().find(same) {
            let overrun = entry.info.overrun().saturating_add(1);
            entry.info.set_overrun(overrun);
            entry.timer = Some(signal);
            return;
        }
        self.set |= sigmask(info.si_signo);
        let timer = Some(signal);
        self.queue.push_back(SigQueue { info, timer });
    }

    /// Removes the signals of timers (Linux: `flush_itimer_signals`).
    pub fn flush_timers(&mut self) {
        let mut sets = [0; 2];
        for entry in &self.queue {
            sets[usize::from(entry.timer.is_some())] |= sigmask(entry.info.si_signo);
        }
        let [others, timers] = sets;
        self.set = self.set & !timers | others;
        self.queue.retain(|entry| entry.timer.is_none());
    }

    /// Removes every signal of `mask`.
    pub fn flush(&mut self, mask: u64) {
        if self.set & mask != 0 {
            self.set &= !mask;
            self.queue
                .retain(|entry| !in_set(mask, entry.info.si_signo));
        }
    }

    /// The next signal outside `blocked`: faults first, then the lowest number.
    pub fn next(&self, blocked: u64) -> Option<i32> {
        let ready = self.set & !blocked;
        let ready = if ready & SYNCHRONOUS_MASK != 0 {
            ready & SYNCHRONOUS_MASK
        } else {
            ready
        };
        (ready != 0).then(|| ready.trailing_zeros() as i32 + 1)
    }

    /// Takes the oldest instance of `sig`; the signal stays pending while more are queued.
    pub fn take(&mut self, sig: i32) -> SigQueue {
        let mut matching = self
            .queue
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.info.si_signo == sig);
        let first = matching.next().map(|(index, _)| index);
        if matching.next().is_none() {
            self.set &= !sigmask(sig);
        }
        match first.and_then(|index| self.queue.remove(index)) {
            Some(entry) => entry,
            None => SigQueue {
                info: SigInfo::kill(sig, SI_USER, 0, 0),
                timer: None,
            },
        }
    }

    /// Number of queued details (for RLIMIT_SIGPENDING and /proc/PID/status).
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
}

/// Handlers of a process, shared with CLONE_SIGHAND (Linux: `struct sighand_struct`).
pub struct SigHand {
    /// Action of signal n at index n-1. This lock is Linux's siglock.
    pub actions: IrqSpinLock<[KernelSigaction; _NSIG as usize]>,
}

impl Default for SigHand {
    fn default() -> Self {
        Self {
            actions: SpinLock::new([KernelSigaction::default(); _NSIG as usize]),
        }
    }
}

impl SigHand {
    /// A copy for a new process.
    pub fn dup(&self) -> Self {
        Self {
            actions: SpinLock::new(*self.actions.lock()),
        }
    }

    /// The action of one signal.
    pub fn action(&self, sig: i32) -> KernelSigaction {
        self.actions.lock()[sig as usize - 1]
    }
}

/// Bits of `SignalStruct::flags`.
pub mod sigflags {
    /// All threads are stopped.
    pub const STOP_STOPPED: u32 = 1;
    /// SIGCONT arrived; wait4 with WCONTINUED has not seen it.
    pub const STOP_CONTINUED: u32 = 2;
    /// The whole group is on its way out.
    pub const GROUP_EXIT: u32 = 4;
    /// pid 1: default actions do not apply to it.
    pub const UNKILLABLE: u32 = 0x40;
    /// Orphans below this process become its children (Linux: `is_child_subreaper`).
    pub const CHILD_SUBREAPER: u32 = 0x80;
    /// The parent is to hear of a stop.
    pub const CLD_STOPPED: u32 = 0x10;
    /// The parent is to hear of a continue.
    pub const CLD_CONTINUED: u32 = 0x20;
}

/// CPU time and faults of threads that are gone, or of reaped children. All in ns and counts.
#[derive(Default)]
pub struct GroupTimes {
    /// User time, ns.
    pub utime: AtomicU64,
    /// System time, ns.
    pub stime: AtomicU64,
    /// Faults without I/O.
    pub min_flt: AtomicU64,
    /// Faults with I/O.
    pub maj_flt: AtomicU64,
    /// Voluntary switches.
    pub nvcsw: AtomicU64,
    /// Involuntary switches.
    pub nivcsw: AtomicU64,
    /// Largest resident set, KiB.
    pub maxrss: AtomicU64,
}

/// What the threads of a process share (Linux: `struct signal_struct`).
pub struct SignalStruct {
    /// Process group.
    pub pgrp: AtomicI32,
    /// Session.
    pub session: AtomicI32,
    /// Whether it leads its session.
    pub leader: AtomicBool,
    /// Has called exec since fork: the parent may no longer setpgid it.
    pub did_exec: AtomicBool,
    /// Controlling terminal.
    pub tty: IrqSpinLock<Option<Arc<crate::drivers::tty::Tty>>>,
    /// Signals for the whole process.
    pub shared_pending: IrqSpinLock<SigPending>,
    /// Threads, the leader first.
    pub threads: IrqSpinLock<Vec<Weak<Task>>>,
    /// Threads that have not exited.
    pub nr_threads: AtomicI32,
    /// `sigflags::*`.
    pub flags: AtomicU32,
    /// Exit or stop code of the group.
    pub group_exit_code: AtomicI32,
    /// The thread whose execve(2) waits for the others to end; 0 for none.
    pub group_exec_tid: AtomicI32,
    /// Threads that must still stop.
    pub group_stop_count: AtomicI32,
    /// Sleepers in wait4(2).
    pub wait_chldexit: WaitQueueHead,
    /// Resource limits.
    pub rlimits: IrqSpinLock<[Rlimit; uapi::resource::RLIM_NLIMITS as usize]>,
    /// Of threads that are gone.
    pub times: GroupTimes,
    /// Of reaped children.
    pub child_times: GroupTimes,
    /// ITIMER_REAL, _VIRTUAL, _PROF.
    pub itimers: crate::kernel::time::itimer::Itimers,
    /// Those of timer_create(2).
    pub posix_timers: PosixTimers,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: AtomicI32,
    /// The least value that the process may set without CAP_SYS_RESOURCE.
    pub oom_score_adj_min: AtomicI32,
    /// What threads that are gone, and reaped children, read and wrote.
    pub ioac: IoAccounting,
    /// /proc/PID/coredump_filter: kinds of memory that a core dump would have.
    pub coredump_filter: AtomicU32,
    /// Who logged in (/proc/PID/loginuid), `u32::MAX` for nobody.
    pub loginuid: AtomicU32,
    /// Number of the login (/proc/PID/sessionid), `u32::MAX` for none.
    pub sessionid: AtomicU32,
}

/// Private and shared anonymous memory, ELF headers, private huge pages
/// (Linux: `MMF_DUMP_FILTER_DEFAULT`).
const COREDUMP_FILTER_DEFAULT: u32 = 0x33;

impl SignalStruct {
    /// Of pid 0: no limits but Linux's defaults (Linux: `INIT_SIGNALS`, INIT_RLIMITS).
    pub fn init() -> Self {
        Self::with_limits(default_rlimits())
    }

    /// For a new process: limits, group, session and terminal are inherited, all else is fresh
    /// (Linux: kernel/fork.c, `copy_signal`).
    pub fn fork(&self) -> Self {
        let child = Self::with_limits(*self.rlimits.lock());
        child
            .pgrp
            .store(self.pgrp.load(Ordering::Relaxed), Ordering::Relaxed);
        child
            .session
            .store(self.session.load(Ordering::Relaxed), Ordering::Relaxed);
        child.oom_score_adj.store(
            self.oom_score_adj.load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
        let least = self.oom_score_adj_min.load(Ordering::Relaxed);
        child.oom_score_adj_min.store(least, Ordering::Relaxed);
        for (to, from) in [
            (&child.coredump_filter, &self.coredump_filter),
            (&child.loginuid, &self.loginuid),
            (&child.sessionid, &self.sessionid),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let tty = self.tty.lock().clone();
        *child.tty.lock() = tty;
        child
    }

    fn with_limits(limits: [Rlimit; uapi::resource::RLIM_NLIMITS as usize]) -> Self {
        Self {
            pgrp: AtomicI32::new(0),
            session: AtomicI32::new(0),
            leader: AtomicBool::new(false),
            did_exec: AtomicBool::new(false),
            tty: SpinLock::new(None),
            shared_pending: SpinLock::default(),
            threads: SpinLock::default(),
            nr_threads: AtomicI32::new(1),
            flags: AtomicU32::new(0),
            group_exit_code: AtomicI32::new(0),
            group_exec_tid: AtomicI32::new(0),
            group_stop_count: AtomicI32::new(0),
            wait_chldexit: WaitQueueHead::new(),
            rlimits: SpinLock::new(limits),
            times: GroupTimes::default(),
            child_times: GroupTimes::default(),
            itimers: Default::default(),
            posix_timers: Default::default(),
            oom_score_adj: AtomicI32::new(0),
            oom_score_adj_min: AtomicI32::new(0),
            ioac: IoAccounting::default(),
            coredump_filter: AtomicU32::new(COREDUMP_FILTER_DEFAULT),
            loginuid: AtomicU32::new(u32::MAX),
            sessionid: AtomicU32::new(u32::MAX),
        }
    }

    /// Process group number.
    pub fn pgrp(&self) -> Pid {
        self.pgrp.load(Ordering::Relaxed)
    }
    /// Session number.
    pub fn session(&self) -> Pid {
        self.session.load(Ordering::Relaxed)
    }
    /// Soft limit of a resource (`RLIMIT_*`).
    pub fn rlimit(&self, resource: u32) -> u64 {
        self.rlimits.lock()[resource as usize].rlim_cur
    }
    /// Whether one of `sigflags` is set.
    pub fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }
    /// From now on the process ends with this status: it is no longer stopped, nor to be continued (Linux: the
    /// assignment of SIGNAL_GROUP_EXIT to `flags`). siglock held.
    pub fn begin_group_exit(&self, status: i32) {
        const OVER: u32 = sigflags::STOP_STOPPED
            | sigflags::STOP_CONTINUED
            | sigflags::CLD_STOPPED
            | sigflags::CLD_CONTINUED;
        self.group_exit_code.store(status, Ordering::Relaxed);
        self.flags.fetch_and(!OVER, Ordering::AcqRel);
        self.flags.fetch_or(sigflags::GROUP_EXIT, Ordering::AcqRel);
    }
    /// Live threads.
    pub fn thread_list(&self) -> Vec<Arc<Task>> {
        self.threads
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

/// Linux's limits of the first process (asm-generic/resource.h).
fn default_rlimits() -> [Rlimit; uapi::resource::RLIM_NLIMITS as usize] {
    use uapi::resource::*;
    let unlimited = Rlimit {
        rlim_cur: RLIM_INFINITY,
        rlim_max: RLIM_INFINITY,
    };
    let mut limits = [unlimited; RLIM_NLIMITS as usize];
    let mut set = |which: u32, cur: u64, max: u64| {
        limits[which as usize] = Rlimit {
            rlim_cur: cur,
            rlim_max: max,
        };
    };
    set(RLIMIT_STACK, 8 << 20, RLIM_INFINITY);
    set(RLIMIT_CORE, 0, RLIM_INFINITY);
    set(RLIMIT_NOFILE, 1024, 4096);
    set(RLIMIT_MEMLOCK, 8 << 20, 8 << 20);
    set(RLIMIT_MSGQUEUE, 819_200, 819_200);
    set(RLIMIT_NICE, 0, 0);
    set(RLIMIT_RTPRIO, 0, 0);
    limits
}

/// What a thread keeps for signals besides its mask and queue.
#[derive(Clone, Copy, Default)]
pub struct SigContext {
    /// Mask to put back after sigsuspend, ppoll or pselect6; `None` when there is none.
    pub saved_mask: Option<u64>,
    /// The mask that sigtimedwait(2) has opened for a while: these signals still count as
    /// blocked for whoever asks whether they are ignored.
    pub real_blocked: u64,
    /// sigaltstack(2).
    pub altstack: StackT,
    /// Absolute end (ns, CLOCK_MONOTONIC) and user pointer of an interrupted sleep for
    /// restart_syscall(2).
    pub restart: Option<RestartBlock>,
}

/// How restart_syscall(2) goes on (Linux: `struct restart_block`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RestartBlock {
    /// nanosleep or clock_nanosleep with a relative time.
    Nanosleep {
        /// Clock it was asked with.
        clock: i32,
        /// End, ns of CLOCK_MONOTONIC.
        expires_ns: u64,
        /// Where the time left goes, or NULL.
        remaining: u64,
    },
    /// poll(2).
    Poll {
        /// Array of `pollfd`.
        fds: u64,
        /// Its length.
        nfds: u32,
        /// End, ns of CLOCK_MONOTONIC; `None` waits for ever.
        expires_ns: Option<u64>,
    },
}
