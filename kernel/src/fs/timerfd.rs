//! Timers as descriptors (Linux: fs/timerfd.c).
#![forbid(unsafe_code)]

use core::any::Any;
use core::fmt::Write;

use uapi::capability::CAP_WAKE_ALARM;
use uapi::fcntl::O_RDWR;
use uapi::poll::POLLIN;
use uapi::time::*;

use crate::fs::anon_inodes::anon_inode_getfd;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations, fget};
use crate::kernel::sched::current;
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::kernel::time::deadline::{Deadline, WallClock, itimerspec_to_ns, ns_to_itimerspec};
use crate::kernel::time::hrtimer::{ClockWatcher, HrTimer, Restart, watch_realtime_clock};
use crate::mm::UserAddr;
use crate::mm::uaccess::{IovIter, get_user, put_user};
use crate::prelude::*;

/// A timer that counts how often it fired (Linux: `struct timerfd_ctx`).
struct TimerFd {
    clock: i32,
    alarm: Arc<HrTimer>,
    state: IrqSpinLock<State>,
    wait: WaitQueueHead,
}

#[derive(Default)]
struct State {
    deadline: Deadline,
    base: WallClock,
    /// The alarm is set.
    armed: bool,
    /// It rang; a period makes it go on when somebody looks.
    expired: bool,
    /// How often it fired since the last read.
    ticks: u64,
    /// Of timerfd_settime(2).
    flags: u32,
    /// CLOCK_REALTIME was set, and whoever waits wanted to know.
    canceled: bool,
}

impl TimerFd {
    fn new(clock: i32) -> Arc<Self> {
        Arc::new_cyclic(|timer: &Weak<Self>| {
            let timer = timer.clone();
            Self {
                clock,
                alarm: HrTimer::new(move || {
                    if let Some(timer) = timer.upgrade() {
                        timer.rang();
                    }
                    Restart::No
                }),
                state: SpinLock::default(),
                wait: WaitQueueHead::new(),
            }
        })
    }

    /// The alarm rang. Hard interrupt context.
    fn rang(&self) {
        {
            let mut state = self.state.lock();
            // It may have been stopped or set again in the last moment.
            if !state.armed || state.deadline.left(state.base.now()).is_some() {
                return;
            }
            state.armed = false;
            state.expired = true;
            state.ticks += 1;
        }
        self.wait.wake_up_poll(POLLIN);
    }

    fn arm(&self, state: &mut State) {
        state.armed = true;
        self.alarm
            .start(state.base.to_monotonic(state.deadline.expires));
    }

    /// A periodic timer that rang counts the periods that went by and goes on.
    fn catch_up(&self, state: &mut State) {
        if state.expired && state.deadline.interval != 0 {
            let periods = state.deadline.forward(state.base.now());
            state.ticks += periods.saturating_sub(1);
            state.expired = false;
            self.arm(state);
        }
    }

    /// What a read gives; `None` while it has to wait. Errors: ECANCELED once after the clock was set.
    fn try_take(&self) -> Option<Result<u64>> {
        let mut state = self.state.lock();
        if state.ticks == 0 {
            return None;
        }
        if core::mem::take(&mut state.canceled) {
            (state.ticks, state.expired) = (0, false);
            return Some(Err(Errno::ECANCELED));
        }
        self.catch_up(&mut state);
        state.expired = false;
        Some(Ok(core::mem::take(&mut state.ticks)))
    }

    /// Time left and period.
    fn get(&self) -> (u64, u64) {
        let mut state = self.state.lock();
        self.catch_up(&mut state);
        let left = state.deadline.left(state.base.now()).unwrap_or(0);
        (left, state.deadline.interval)
    }

    /// Starts it, or stops it with a `value` of 0. Errors: ECANCELED when the clock was set since it was last asked;
    /// it is started all the same.
    fn set(&self, flags: u32, value: u64, interval: u64) -> Result {
        let mut state = self.state.lock();
        self.alarm.cancel();
        let absolute = flags & TFD_TIMER_ABSTIME != 0;
        let base = WallClock::for_timer(self.clock, absolute);
        let start = if absolute { 0 } else { base.now() };
        let canceled = state.canceled;
        *state = State {
            base,
            flags,
            ..State::default()
        };
        if value == 0 {
            return Ok(());
        }
        state.deadline = Deadline {
            expires: start.saturating_add(value),
            interval,
        };
        self.arm(&mut state);
        if canceled && state.may_be_canceled() {
            return Err(Errno::ECANCELED);
        }
        Ok(())
    }
}

impl State {
    fn may_be_canceled(&self) -> bool {
        self.base == WallClock::Realtime && self.flags & TFD_TIMER_CANCEL_ON_SET != 0
    }
}

impl ClockWatcher for TimerFd {
    fn clock_was_set(&self) {
        {
            let mut state = self.state.lock();
            if state.armed && state.base == WallClock::Realtime {
                self.arm(&mut state);
            }
            if !state.may_be_canceled() {
                return;
            }
            state.canceled = true;
            state.ticks += 1;
        }
        self.wait.wake_up_poll(POLLIN);
    }
}

impl FileOperations for TimerFd {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        if to.count() < 8 {
            return Err(Errno::EINVAL);
        }
        let taken = self
            .wait
            .take_or_wait(file.is_nonblocking(), || self.try_take());
        let ticks = taken??;
        to.copy_to_iter(&ticks.to_le_bytes())
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            self.wait.poll_wait(table);
        }
        if self.state.lock().ticks > 0 {
            POLLIN
        } else {
            0
        }
    }
    fn can_poll(&self) -> bool {
        true
    }
    fn release(&self, _file: &File) {
        let mut state = self.state.lock();
        state.armed = false;
        self.alarm.cancel();
    }
    fn show_fdinfo(&self, text: &mut String) {
        let (ticks, flags) = {
            let state = self.state.lock();
            (state.ticks, state.flags)
        };
        let (left, interval) = self.get();
        let setting = ns_to_itimerspec(left, interval);
        let (value, period) = (setting.it_value, setting.it_interval);
        let _ = write!(
            text,
            "clockid: {}\nticks: {ticks}\nsettime flags: 0{flags:o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.clock, value.tv_sec, value.tv_nsec, period.tv_sec, period.tv_nsec,
        );
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Errors: EPERM for a clock that would wake the machine.
fn check_may_wake(clock: i32) -> Result {
    let alarm = matches!(clock, CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM);
    if alarm && !current().cred().has_cap(CAP_WAKE_ALARM) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// timerfd_create(2). Errors: EINVAL, EPERM, EMFILE, ENFILE, ENOMEM.
pub fn sys_timerfd_create(clock: i32, flags: u32) -> Result<u32> {
    let known = matches!(
        clock,
        CLOCK_REALTIME
            | CLOCK_MONOTONIC
            | CLOCK_BOOTTIME
            | CLOCK_REALTIME_ALARM
            | CLOCK_BOOTTIME_ALARM
    );
    if !known || flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    check_may_wake(clock)?;
    let timer = TimerFd::new(clock);
    if WallClock::for_timer(clock, true) == WallClock::Realtime {
        let watcher: Arc<dyn ClockWatcher> = timer.clone();
        watch_realtime_clock(Arc::downgrade(&watcher))?;
    }
    let on_exec = OnExec::from_flag(flags, TFD_CLOEXEC);
    anon_inode_getfd("[timerfd]", timer, O_RDWR | flags & TFD_NONBLOCK, on_exec)
}

/// The timer behind a descriptor. Errors: EINVAL when it is something else.
fn timer_of(file: &File) -> Result<&TimerFd> {
    file.ops.as_any().downcast_ref().ok_or(Errno::EINVAL)
}

/// timerfd_settime(2). Errors: EINVAL, EBADF, EPERM, EFAULT, ECANCELED.
pub fn sys_timerfd_settime(fd: i32, flags: u32, new: UserAddr, old: UserAddr) -> Result {
    let request: Itimerspec = get_user(new)?;
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let (value, interval) = itimerspec_to_ns(&request)?;
    let file = fget(fd)?;
    let timer = timer_of(&file)?;
    check_may_wake(timer.clock)?;
    let (left, period) = timer.get();
    timer.set(flags, value, interval)?;
    if !old.is_null() {
        put_user(old, &ns_to_itimerspec(left, period))?;
    }
    Ok(())
}

/// timerfd_gettime(2). Errors: EBADF, EINVAL, EFAULT.
pub fn sys_timerfd_gettime(fd: i32, setting: UserAddr) -> Result {
    let file = fget(fd)?;
    let (left, interval) = timer_of(&file)?.get();
    put_user(setting, &ns_to_itimerspec(left, interval))
}
