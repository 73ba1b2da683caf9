//! Timers of a process (Linux: kernel/time/posix-timers.c).
//!
//! A timer that fired sends its signal and then rests. It goes on when the signal is taken: periods that went by
//! meanwhile count as overruns, and a short period cannot flood a process that does not run.
//!
//! Locks: the list of a process's CPU timers, then a timer's state, then the signal locks.

use alloc::collections::BTreeMap;

use uapi::resource::RLIMIT_SIGPENDING;
use uapi::signal::*;
use uapi::time::*;

use super::TICK_NSEC;
use super::deadline::{Deadline, WallClock, itimerspec_to_ns, ns_to_itimerspec};
use super::hrtimer::{ClockWatcher, HrTimer, Restart, watch_realtime_clock};
use super::posix_cpu_timers::{CpuClock, CpuTimers, is_of_device};
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::kernel::sched::task::Task;
use crate::kernel::signal::{Sent, SigInfo, Target, send_timer_signal};
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

/// The timers of a process.
#[derive(Default)]
pub struct PosixTimers {
    table: SpinLock<Table>,
    /// Timers on the process's clocks of used time.
    pub cpu: CpuTimers,
}

#[derive(Default)]
struct Table {
    timers: BTreeMap<i32, Arc<PosixTimer>>,
    next_id: i32,
}

/// A timer (Linux: `struct k_itimer`).
pub struct PosixTimer {
    id: i32,
    clock: TimerClock,
    notify: Notify,
    state: IrqSpinLock<State>,
}

/// What drives a timer.
enum TimerClock {
    Wall { id: i32, alarm: Arc<HrTimer> },
    Cpu(CpuClock),
}

/// What a timer does when it fires.
struct Notify {
    /// 0: nothing, one may ask how late it is (SIGEV_NONE).
    signo: i32,
    value: u64,
    task: Weak<Task>,
    target: Target,
}

#[derive(Default)]
struct State {
    deadline: Deadline,
    /// What `deadline` is on, unless it is used time.
    base: WallClock,
    /// It runs.
    armed: bool,
    /// It rests until its signal is taken.
    resting: bool,
    /// Changes whenever it fires or is set: tells the signal of now from older ones.
    sequence: u32,
    /// Periods that went by since it fired, less the one that it fired for.
    overrun: i64,
    /// The same of the signal taken last.
    overrun_last: i64,
}

/// The signal of a timer while it is pending.
pub struct TimerSignal {
    timer: Arc<PosixTimer>,
    sequence: u32,
}

impl TimerSignal {
    /// Whether both are the same timer's.
    pub fn is_of_timer(&self, other: &TimerSignal) -> bool {
        Arc::ptr_eq(&self.timer, &other.timer)
    }

    /// The signal is taken: a periodic timer runs on, and `info` tells how late it is (Linux: `posixtimer_rearm`).
    /// No signal lock may be held.
    pub fn deliver(self, info: &mut SigInfo) {
        let mut state = self.timer.state.lock();
        if !state.resting || state.sequence != self.sequence {
            return; // deleted or set again meanwhile
        }
        state.resting = false;
        self.timer.forward(&mut state, 0);
        state.overrun_last = state.overrun;
        state.overrun = -1;
        self.timer.arm(&mut state);
        info.set_overrun(overrun_to_int(
            state.overrun_last + i64::from(info.overrun()),
        ));
    }
}

/// Linux: `timer_overrun_to_int`.
fn overrun_to_int(overrun: i64) -> i32 {
    i32::try_from(overrun).unwrap_or(i32::MAX)
}

impl PosixTimer {
    fn new(id: i32, clock: i32, notify: Notify) -> Result<Arc<Self>> {
        let state = SpinLock::new(State {
            overrun: -1,
            ..State::default()
        });
        if !is_wall_clock(clock) {
            let clock = TimerClock::Cpu(CpuClock::for_timer(clock)?);
            return Ok(Arc::new(Self {
                id,
                clock,
                notify,
                state,
            }));
        }
        let timer = Arc::new_cyclic(|timer: &Weak<Self>| Self {
            id,
            clock: TimerClock::Wall {
                id: clock,
                alarm: alarm_of(timer.clone()),
            },
            notify,
            state,
        });
        if WallClock::for_timer(clock, true) == WallClock::Realtime {
            let watcher: Arc<dyn ClockWatcher> = timer.clone();
            watch_realtime_clock(Arc::downgrade(&watcher))?;
        }
        Ok(timer)
    }

    /// What its clock shows. A clock whose thread or process is gone stands still.
    fn now(&self, state: &State) -> u64 {
        match &self.clock {
            TimerClock::Wall { .. } => state.base.now(),
            TimerClock::Cpu(clock) => clock.now().unwrap_or(0),
        }
    }

    /// Moves the deadline of a periodic timer beyond now, and `ahead` ns more, and counts what it passed.
    fn forward(&self, state: &mut State, ahead: u64) {
        let now = self.now(state).saturating_add(ahead);
        let periods = i64::try_from(state.deadline.forward(now)).unwrap_or(i64::MAX);
        state.overrun = state.overrun.saturating_add(periods);
    }

    /// Lets it run to its deadline. A timer that tells nobody need not.
    fn arm(self: &Arc<Self>, state: &mut State) {
        if self.notify.signo == 0 {
            return;
        }
        state.armed = true;
        match &self.clock {
            TimerClock::Wall { alarm, .. } => {
                alarm.start(state.base.to_monotonic(state.deadline.expires));
            }
            TimerClock::Cpu(_) if self.now(state) >= state.deadline.expires => self.fire(state),
            TimerClock::Cpu(_) => {} // the tick looks at it
        }
    }

    fn disarm(&self, state: &mut State) {
        state.armed = false;
        state.resting = false;
        state.sequence = state.sequence.wrapping_add(1);
        if let TimerClock::Wall { alarm, .. } = &self.clock {
            alarm.cancel();
        }
    }

    /// The alarm rang, or a tick of used time went by. Any context.
    pub(super) fn expired(self: &Arc<Self>) {
        let mut state = self.state.lock();
        // It may have been stopped or set again in the last moment.
        if state.armed && self.now(&state) >= state.deadline.expires {
            self.fire(&mut state);
        }
    }

    /// Sends the signal (Linux: `posix_timer_fn`).
    fn fire(self: &Arc<Self>, state: &mut State) {
        state.armed = false;
        state.sequence = state.sequence.wrapping_add(1);
        let periodic = state.deadline.interval != 0;
        state.resting = periodic;
        let info = SigInfo::timer(self.notify.signo, self.id, 0, self.notify.value);
        let signal = TimerSignal {
            timer: self.clone(),
            sequence: state.sequence,
        };
        let Some(task) = self.notify.task.upgrade() else {
            return;
        };
        let sent = send_timer_signal(&info, signal, &task, self.notify.target);
        if sent == Sent::Ignored && periodic {
            self.go_on_unheard(state);
        }
    }

    /// Nobody takes the signal while it is ignored, but that may change: the timer runs on, not faster than the tick.
    fn go_on_unheard(self: &Arc<Self>, state: &mut State) {
        state.resting = false;
        let ahead = if state.deadline.interval < TICK_NSEC {
            TICK_NSEC
        } else {
            0
        };
        self.forward(state, ahead);
        self.arm(state);
    }

    /// Time left and period (Linux: `common_timer_get`).
    fn get(&self, state: &mut State) -> (u64, u64) {
        let interval = state.deadline.interval;
        let silent = self.notify.signo == 0;
        if interval == 0 && !state.armed && !silent {
            return (0, 0);
        }
        if interval != 0 && (state.resting || silent) {
            self.forward(state, 0);
        }
        let left = state.deadline.left(self.now(state));
        // A timer that is due but was not handled yet does not look as if it were off.
        (left.unwrap_or(u64::from(!silent)), interval)
    }

    /// Starts it, or stops it with a `value` of 0; what `get` said before (Linux: `common_timer_set`).
    fn set(self: &Arc<Self>, flags: u32, value: u64, interval: u64) -> (u64, u64) {
        let mut state = self.state.lock();
        let before = self.get(&mut state);
        self.disarm(&mut state);
        state.overrun = -1;
        state.overrun_last = 0;
        state.deadline = Deadline::default();
        if value == 0 {
            return before;
        }
        let absolute = flags & TIMER_ABSTIME != 0;
        if let TimerClock::Wall { id, .. } = &self.clock {
            state.base = WallClock::for_timer(*id, absolute);
        }
        let start = if absolute { 0 } else { self.now(&state) };
        state.deadline = Deadline {
            expires: start.saturating_add(value),
            interval,
        };
        self.arm(&mut state);
        before
    }

    /// Stops it for good.
    fn delete(&self) {
        if let TimerClock::Cpu(clock) = &self.clock {
            clock.detach(self);
        }
        self.disarm(&mut self.state.lock());
    }
}

impl ClockWatcher for PosixTimer {
    fn clock_was_set(&self) {
        let state = self.state.lock();
        if let TimerClock::Wall { alarm, .. } = &self.clock
            && state.armed
            && state.base == WallClock::Realtime
        {
            alarm.start(state.base.to_monotonic(state.deadline.expires));
        }
    }
}

/// The alarm holds its timer weakly, the timer holds the alarm.
fn alarm_of(timer: Weak<PosixTimer>) -> Arc<HrTimer> {
    HrTimer::new(move || {
        if let Some(timer) = timer.upgrade() {
            timer.expired();
        }
        Restart::No
    })
}

fn is_wall_clock(clock: i32) -> bool {
    matches!(
        clock,
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_TAI
    )
}

impl PosixTimers {
    fn find(&self, id: i32) -> Result<Arc<PosixTimer>> {
        let table = self.table.lock();
        table.timers.get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// The next free number.
    fn reserve_id(&self) -> Result<i32> {
        let limit = current().signal.rlimit(RLIMIT_SIGPENDING);
        let mut table = self.table.lock();
        if table.timers.len() as u64 >= limit {
            return Err(Errno::EAGAIN);
        }
        let mut id = table.next_id;
        while table.timers.contains_key(&id) {
            id = id.wrapping_add(1) & i32::MAX;
        }
        table.next_id = id.wrapping_add(1) & i32::MAX;
        Ok(id)
    }

    /// exec(2) and the end of the process (Linux: `exit_itimers`).
    pub fn delete_all(&self) {
        let timers = core::mem::take(&mut self.table.lock().timers);
        timers.values().for_each(|timer| timer.delete());
    }
}

/// What `event` asks for (Linux: `good_sigevent`). Errors: EINVAL.
fn notify_for(event: &Sigevent) -> Result<Notify> {
    let me = current();
    let (task, target) = if event.sigev_notify == SIGEV_SIGNAL | SIGEV_THREAD_ID {
        let thread = pid::find_task(event.sigev_tid).ok_or(Errno::EINVAL)?;
        if thread.tgid() != me.tgid() {
            return Err(Errno::EINVAL);
        }
        (thread, Target::Thread)
    } else {
        let leader = pid::find_task(me.tgid()).unwrap_or_else(|| me.to_arc());
        (leader, Target::Group)
    };
    let signo = match event.sigev_notify {
        SIGEV_NONE => 0,
        SIGEV_SIGNAL | SIGEV_THREAD | SIGEV_THREAD_ID => event.sigev_signo,
        _ => return Err(Errno::EINVAL),
    };
    if event.sigev_notify != SIGEV_NONE && !(1..=SIGRTMAX).contains(&signo) {
        return Err(Errno::EINVAL);
    }
    Ok(Notify {
        signo,
        value: event.sigev_value,
        task: Arc::downgrade(&task),
        target,
    })
}

/// Whether timers can be made on a clock. Errors: EOPNOTSUPP, EINVAL for no clock at all.
fn check_clock(clock: i32) -> Result {
    match clock {
        CLOCK_MONOTONIC_RAW | CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => {
            Err(Errno::EOPNOTSUPP)
        }
        // They need a clock that wakes the machine.
        CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM => Err(Errno::EOPNOTSUPP),
        _ if is_wall_clock(clock) => Ok(()),
        _ if is_of_device(clock) => Err(Errno::EOPNOTSUPP),
        _ => CpuClock::for_timer(clock).map(drop),
    }
}

/// timer_create(2). Errors: EINVAL, EOPNOTSUPP, EAGAIN, EFAULT, ENOMEM.
pub fn sys_timer_create(clock: i32, event: UserAddr, timer_id: UserAddr) -> Result {
    check_clock(clock)?;
    let mine = &current().signal.posix_timers;
    let event: Option<Sigevent> = match event.is_null() {
        true => None,
        false => Some(get_user(event)?),
    };
    let id = mine.reserve_id()?;
    let by_default = Sigevent {
        sigev_value: id as u64,
        sigev_signo: SIGALRM,
        sigev_notify: SIGEV_SIGNAL,
        ..Sigevent::default()
    };
    let notify = notify_for(&event.unwrap_or(by_default))?;
    put_user(timer_id, &id)?;
    let timer = PosixTimer::new(id, clock, notify)?;
    if let TimerClock::Cpu(clock) = &timer.clock {
        clock.attach(&timer)?;
    }
    mine.table.lock().timers.insert(id, timer);
    Ok(())
}

/// timer_settime(2). Errors: EINVAL, EFAULT.
pub fn sys_timer_settime(id: i32, flags: u32, new: UserAddr, old: UserAddr) -> Result {
    if new.is_null() {
        return Err(Errno::EINVAL);
    }
    let (value, interval) = itimerspec_to_ns(&get_user(new)?)?;
    let timer = current().signal.posix_timers.find(id)?;
    let (left, period) = timer.set(flags, value, interval);
    if !old.is_null() {
        put_user(old, &ns_to_itimerspec(left, period))?;
    }
    Ok(())
}

/// timer_gettime(2). Errors: EINVAL, EFAULT.
pub fn sys_timer_gettime(id: i32, setting: UserAddr) -> Result {
    let timer = current().signal.posix_timers.find(id)?;
    let (left, period) = timer.get(&mut timer.state.lock());
    put_user(setting, &ns_to_itimerspec(left, period))
}

/// timer_getoverrun(2). Errors: EINVAL.
pub fn sys_timer_getoverrun(id: i32) -> Result<i32> {
    let timer = current().signal.posix_timers.find(id)?;
    let overrun = timer.state.lock().overrun_last;
    Ok(overrun_to_int(overrun))
}

/// timer_delete(2). Errors: EINVAL.
pub fn sys_timer_delete(id: i32) -> Result {
    let removed = current()
        .signal
        .posix_timers
        .table
        .lock()
        .timers
        .remove(&id);
    removed.ok_or(Errno::EINVAL)?.delete();
    Ok(())
}
