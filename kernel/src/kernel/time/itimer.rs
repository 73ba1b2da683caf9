//! Interval timers of a process (Linux: kernel/time/itimer.c).

use core::sync::atomic::{AtomicU64, Ordering};

use uapi::signal::{SIGALRM, SIGPROF, SIGVTALRM};
use uapi::time::{ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, Itimerval};

use super::hrtimer::{HrTimer, Restart};
use super::{NSEC_PER_SEC, ktime_get, ns_to_timeval, timeval_to_ns};
use crate::kernel::sched::current;
use crate::kernel::sched::task::Task;
use crate::kernel::signal::send_sig;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

/// The three timers; times in ns.
#[derive(Default)]
pub struct Itimers {
    real: IrqSpinLock<RealTimer>,
    /// Counts user time.
    virt: CpuTimer,
    /// Counts user and system time.
    prof: CpuTimer,
}

#[derive(Default)]
struct RealTimer {
    timer: Option<Arc<HrTimer>>,
    interval: u64,
    /// Fired, waits for its signal to be taken before it runs again.
    expired_at: u64,
}

/// A timer that runs while the process does: time left and period.
#[derive(Default)]
struct CpuTimer {
    left: AtomicU64,
    interval: AtomicU64,
}

impl CpuTimer {
    /// Time passed; true when the timer fired.
    fn account(&self, ns: u64) -> bool {
        if ns == 0 || self.left.load(Ordering::Relaxed) == 0 {
            return false;
        }
        // Threads on other CPUs count as well; one of them sees the end.
        let interval = self.interval.load(Ordering::Relaxed);
        let next = |left: u64| match left {
            0 => None,
            left if left > ns => Some(left - ns),
            _ => Some(interval),
        };
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok_and(|before| before <= ns)
    }

    fn get(&self) -> (u64, u64) {
        (
            self.left.load(Ordering::Relaxed),
            self.interval.load(Ordering::Relaxed),
        )
    }

    fn set(&self, value: u64, interval: u64) {
        self.left.store(value, Ordering::Relaxed);
        self.interval.store(interval, Ordering::Relaxed);
    }
}

impl Itimers {
    /// Time left and period of ITIMER_REAL, ns.
    fn get_real(&self) -> (u64, u64) {
        let real = self.real.lock();
        let expires = real.timer.as_ref().and_then(|timer| timer.expires());
        let left = expires.map_or(0, |at| at.saturating_sub(ktime_get()).max(1000));
        (left, real.interval)
    }

    /// Starts or stops ITIMER_REAL of `task`'s process.
    fn set_real(&self, task: &Arc<Task>, value: u64, interval: u64) {
        let mut real = self.real.lock();
        if let Some(timer) = real.timer.as_ref() {
            timer.cancel();
        }
        real.interval = interval;
        real.expired_at = 0;
        if value == 0 {
            return;
        }
        let timer = real.timer.get_or_insert_with(|| real_timer(task)).clone();
        drop(real);
        timer.start(ktime_get().saturating_add(value));
    }

    /// The SIGALRM was taken: a periodic timer runs on (Linux: `posixtimer_rearm`; this keeps a
    /// short period from flooding a process that does not run).
    pub fn rearm_real(&self) {
        let real = self.real.lock();
        if real.interval == 0 || real.expired_at == 0 {
            return;
        }
        let mut next = real.expired_at + real.interval;
        let now = ktime_get();
        if next <= now {
            next += (now - next) / real.interval * real.interval + real.interval;
        }
        let timer = real.timer.clone();
        drop(real);
        if let Some(timer) = timer
            && !timer.is_active()
        {
            timer.start(next);
        }
    }

    /// Stops everything: the process ends or execs no further (exec keeps them).
    pub fn cancel_all(&self) {
        if let Some(timer) = self.real.lock().timer.take() {
            timer.cancel();
        }
        self.virt.set(0, 0);
        self.prof.set(0, 0);
    }

    /// The running process used a tick of user or of system time (Linux: `run_posix_cpu_timers`). Hard interrupt
    /// context, without the lock of the run queue: a signal may wake a thread.
    pub fn account_tick(&self, user_ns: u64, system_ns: u64) {
        if self.virt.account(user_ns) {
            let _ = send_sig(SIGVTALRM, &current().to_arc());
        }
        if self.prof.account(user_ns + system_ns) {
            let _ = send_sig(SIGPROF, &current().to_arc());
        }
    }
}

/// The timer holds the task weakly: it must not keep a dead process.
fn real_timer(task: &Arc<Task>) -> Arc<HrTimer> {
    let task = Arc::downgrade(task);
    HrTimer::new(move || {
        if let Some(task) = task.upgrade() {
            task.signal.itimers.real.lock().expired_at = ktime_get();
            let _ = send_sig(SIGALRM, &task);
        }
        Restart::No
    })
}

fn get_itimer(which: i32) -> Result<Itimerval> {
    let timers = &current().signal.itimers;
    let (value, interval) = match which {
        ITIMER_REAL => timers.get_real(),
        ITIMER_VIRTUAL => timers.virt.get(),
        ITIMER_PROF => timers.prof.get(),
        _ => return Err(Errno::EINVAL),
    };
    Ok(Itimerval {
        it_interval: ns_to_timeval(interval),
        it_value: ns_to_timeval(value),
    })
}

/// The process's leader: its timers must not die with a thread.
fn leader() -> Arc<Task> {
    let me = current();
    crate::kernel::pid::find_task(me.tgid()).unwrap_or_else(|| me.to_arc())
}

fn set_itimer(which: i32, value: u64, interval: u64) -> Result {
    let timers = &current().signal.itimers;
    match which {
        ITIMER_REAL => timers.set_real(&leader(), value, interval),
        ITIMER_VIRTUAL => timers.virt.set(value, interval),
        ITIMER_PROF => timers.prof.set(value, interval),
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// getitimer(2).
pub fn sys_getitimer(which: i32, value: UserAddr) -> Result {
    put_user(value, &get_itimer(which)?)
}

/// setitimer(2).
pub fn sys_setitimer(which: i32, new: UserAddr, old: UserAddr) -> Result {
    let value: Itimerval = if new.is_null() {
        Itimerval::default()
    } else {
        get_user(new)?
    };
    let (first, interval) = (
        timeval_to_ns(&value.it_value)?,
        timeval_to_ns(&value.it_interval)?,
    );
    let before = get_itimer(which)?;
    set_itimer(which, first, interval)?;
    if !old.is_null() {
        put_user(old, &before)?;
    }
    Ok(())
}

/// alarm(2): returns the seconds that were left, rounded as Linux does.
pub fn sys_alarm(seconds: u32) -> Result<u32> {
    let before = get_itimer(ITIMER_REAL)?.it_value;
    set_itimer(ITIMER_REAL, u64::from(seconds) * NSEC_PER_SEC, 0)?;
    let round_up = before.tv_sec == 0 && before.tv_usec != 0 || before.tv_usec >= 500_000;
    Ok(before.tv_sec as u32 + u32::from(round_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_of_used_time_fires_when_enough_was_used_and_starts_again() {
        let timer = CpuTimer::default();
        assert!(!timer.account(10), "it is not set");
        timer.set(25, 20);
        let fired: Vec<bool> = (0..6).map(|_| timer.account(10)).collect();
        assert_eq!(fired, [false, false, true, false, true, false]);
        timer.set(10, 0);
        assert!(!timer.account(0), "no time of its kind was used");
        assert!(timer.account(10));
        assert!(!timer.account(10), "without a period once is all");
    }
}
