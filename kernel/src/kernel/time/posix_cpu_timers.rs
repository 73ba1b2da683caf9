//! Clocks of used CPU time, and what the tick does for timers on them (Linux: kernel/time/posix-cpu-timers.c).

use core::sync::atomic::{AtomicUsize, Ordering};

use uapi::time::{CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};

use super::posix_timers::PosixTimer;
use crate::kernel::pid;
use crate::kernel::sched::task::Task;
use crate::kernel::sched::{current, task_sched_runtime};
use crate::kernel::signal::SignalStruct;
use crate::prelude::*;

/// The clock of a thread, not of a process (Linux: `CPUCLOCK_PERTHREAD_MASK`).
const PERTHREAD: i32 = 4;
/// Which time, in a clock's number (Linux: `CPUCLOCK_CLOCK_MASK`).
const WHICH_MASK: i32 = 3;

/// Which time a clock counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    /// User and system time, by ticks (Linux: `CPUCLOCK_PROF`).
    Prof,
    /// User time, by ticks (Linux: `CPUCLOCK_VIRT`).
    Virt,
    /// Measured run time (Linux: `CPUCLOCK_SCHED`).
    Sched,
}

/// Whose time; weak, because a timer may outlive its subject.
enum Subject {
    Thread(Weak<Task>),
    Process(Weak<SignalStruct>),
}

/// A clock of used time.
pub struct CpuClock {
    which: Which,
    subject: Subject,
}

/// Whether the number would stand for the clock of an open device; there are none (Linux: `CLOCKFD`).
pub(super) fn is_of_device(clock: i32) -> bool {
    clock < 0 && clock & (PERTHREAD | WHICH_MASK) == 3
}

/// What a clock's number says: which time, of a thread or not, and its number, 0 for the caller.
fn decode(clock: i32) -> Option<(Which, bool, i32)> {
    match clock {
        CLOCK_PROCESS_CPUTIME_ID => return Some((Which::Sched, false, 0)),
        CLOCK_THREAD_CPUTIME_ID => return Some((Which::Sched, true, 0)),
        0.. => return None,
        _ => {}
    }
    let which = match clock & WHICH_MASK {
        0 => Which::Prof,
        1 => Which::Virt,
        2 => Which::Sched,
        _ => return None,
    };
    Some((which, clock & PERTHREAD != 0, !(clock >> 3)))
}

impl CpuClock {
    /// The clock with this number, for clock_gettime(2). Errors: EINVAL.
    pub fn for_reading(clock: i32) -> Result<Self> {
        Self::find(clock, true)
    }

    /// The clock with this number, for a timer. Errors: EINVAL.
    pub fn for_timer(clock: i32) -> Result<Self> {
        Self::find(clock, false)
    }

    /// Linux: `pid_for_clock`.
    fn find(clock: i32, for_reading: bool) -> Result<Self> {
        let (which, per_thread, number) = decode(clock).ok_or(Errno::EINVAL)?;
        let me = current();
        let task = match number {
            0 => me.to_arc(),
            number => pid::find_task(number).ok_or(Errno::EINVAL)?,
        };
        let ours = task.tgid() == me.tgid();
        let subject = if per_thread {
            if !ours {
                return Err(Errno::EINVAL);
            }
            Subject::Thread(Arc::downgrade(&task))
        } else {
            let named_by_itself = number == me.pid() && for_reading;
            if number != 0 && !task.is_group_leader() && !named_by_itself {
                return Err(Errno::EINVAL);
            }
            Subject::Process(Arc::downgrade(&task.signal))
        };
        Ok(Self { which, subject })
    }

    /// The time used so far, ns; `None` when the subject is gone. Any context without the lock of a run queue.
    pub fn now(&self) -> Option<u64> {
        match &self.subject {
            Subject::Thread(task) => task.upgrade().map(|task| self.which.of_thread(&task)),
            Subject::Process(signal) => signal.upgrade().map(|s| self.which.of_process(&s)),
        }
    }

    /// The process whose ticks drive timers on this clock.
    fn process(&self) -> Option<Arc<SignalStruct>> {
        match &self.subject {
            Subject::Thread(task) => Some(task.upgrade()?.signal.clone()),
            Subject::Process(signal) => signal.upgrade(),
        }
    }

    /// From now on the tick looks at `timer`. Errors: EINVAL when the subject is gone, ENOMEM.
    pub(super) fn attach(&self, timer: &Arc<PosixTimer>) -> Result {
        let process = self.process().ok_or(Errno::EINVAL)?;
        process.posix_timers.cpu.add(timer)
    }

    /// No longer.
    pub(super) fn detach(&self, timer: &PosixTimer) {
        if let Some(process) = self.process() {
            process.posix_timers.cpu.remove(timer);
        }
    }
}

impl Which {
    fn of_thread(self, task: &Task) -> u64 {
        let utime = task.utime.load(Ordering::Relaxed);
        match self {
            Self::Virt => utime,
            Self::Prof => utime + task.stime.load(Ordering::Relaxed),
            Self::Sched => task_sched_runtime(task),
        }
    }

    fn of_process(self, signal: &SignalStruct) -> u64 {
        let gone = signal.times.utime.load(Ordering::Relaxed)
            + match self {
                Self::Virt => 0,
                Self::Prof | Self::Sched => signal.times.stime.load(Ordering::Relaxed),
            };
        let threads = signal.thread_list();
        gone + threads.iter().map(|t| self.of_thread(t)).sum::<u64>()
    }
}

/// Timers on clocks of a process and of its threads, whoever made them.
#[derive(Default)]
pub struct CpuTimers {
    /// Taken before the lock of a timer.
    list: IrqSpinLock<Vec<Weak<PosixTimer>>>,
    /// Length of the list, so that the tick need not take its lock.
    len: AtomicUsize,
}

impl CpuTimers {
    fn add(&self, timer: &Arc<PosixTimer>) -> Result {
        let mut list = self.list.lock();
        list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        list.push(Arc::downgrade(timer));
        self.len.store(list.len(), Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self, timer: &PosixTimer) {
        let mut list = self.list.lock();
        list.retain(|other| !core::ptr::eq(other.as_ptr(), timer));
        self.len.store(list.len(), Ordering::Relaxed);
    }

    /// A thread of the process used a tick: fires what is due (Linux: `run_posix_cpu_timers`). Hard interrupt
    /// context, without the lock of the run queue.
    #[inline]
    pub fn tick(&self) {
        if self.len.load(Ordering::Relaxed) != 0 {
            self.run();
        }
    }

    fn run(&self) {
        for timer in self.list.lock().iter().filter_map(Weak::upgrade) {
            timer.expired();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_clock_says_whose_time_and_which() {
        assert_eq!(decode(2), Some((Which::Sched, false, 0)));
        assert_eq!(decode(3), Some((Which::Sched, true, 0)));
        assert_eq!(decode(1), None);
        // As the C library makes them: the complement of the number, then three bits.
        assert_eq!(decode(!42 << 3 | 2), Some((Which::Sched, false, 42)));
        assert_eq!(decode(!7 << 3 | 4), Some((Which::Prof, true, 7)));
        assert_eq!(decode(!0 << 3 | 1), Some((Which::Virt, false, 0)));
        assert_eq!(decode(!42 << 3 | 3), None, "a device's");
    }
}
