//! Counting semaphores (Linux: kernel/locking/semaphore.c).
//!
//! For exclusion use [`super::mutex::Mutex`], for "it happened" a completion: `up` may still
//! touch the semaphore after the waiter went on, so the object must live longer than both.
#![forbid(unsafe_code)]

use crate::kernel::sched::{MAX_SCHEDULE_TIMEOUT, swait_sleep_on};
use crate::kernel::sched::{Sleep, SwaitQueue, WokenBy, might_sleep};
use crate::prelude::*;

struct State {
    count: u32,
    wait: SwaitQueue,
}

/// A counter that cannot go below zero.
pub struct Semaphore {
    state: IrqSpinLock<State>,
}

impl Semaphore {
    /// With `count` free places; 0 is "locked" (Linux: `sema_init`).
    pub const fn new(count: u32) -> Self {
        Self {
            state: IrqSpinLock::new(State {
                count,
                wait: SwaitQueue::new(),
            }),
        }
    }
    /// Takes a place; sleeps uninterruptibly until there is one.
    pub fn down(&self) {
        self.down_common(Sleep::Uninterruptible, MAX_SCHEDULE_TIMEOUT);
    }
    /// Takes a place. Errors: EINTR when a signal came first.
    pub fn down_interruptible(&self) -> Result {
        self.down_or(Sleep::Interruptible, MAX_SCHEDULE_TIMEOUT)
    }
    /// Takes a place. Errors: EINTR when a fatal signal came first.
    pub fn down_killable(&self) -> Result {
        self.down_or(Sleep::Killable, MAX_SCHEDULE_TIMEOUT)
    }
    /// Takes a place within `timeout` jiffies. Errors: ETIME.
    pub fn down_timeout(&self, timeout: u64) -> Result {
        self.down_or(Sleep::Uninterruptible, timeout)
    }
    /// Takes a place if there is one now. Any context.
    #[must_use = "false: no place was taken"]
    pub fn down_trylock(&self) -> bool {
        let mut state = self.state.lock();
        let free = state.count > 0;
        if free {
            state.count -= 1;
        }
        free
    }
    /// Gives a place back: to the first in line, if somebody waits. Any context.
    pub fn up(&self) {
        let mut state = self.state.lock();
        if state.wait.wake_first().is_none() {
            state.count += 1;
        }
    }

    fn down_or(&self, how: Sleep, timeout: u64) -> Result {
        match self.down_common(how, timeout) {
            WokenBy::Event(_) => Ok(()),
            WokenBy::Signal => Err(Errno::EINTR),
            WokenBy::Timeout => Err(Errno::ETIME),
        }
    }

    fn down_common(&self, how: Sleep, timeout: u64) -> WokenBy {
        might_sleep();
        let mut state = self.state.lock();
        if state.count > 0 {
            state.count -= 1;
            return WokenBy::Event(timeout);
        }
        let relock = || self.state.lock();
        let (state, why) = swait_sleep_on(state, relock, |s| &mut s.wait, how, 0, timeout);
        drop(state);
        why
    }
}
