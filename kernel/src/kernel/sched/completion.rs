//! Completions (Linux: kernel/sched/completion.c).
//!
//! A completion says once that something happened, whoever comes first: the event or the waiter.
//! A semaphore used for that has two faults which this has not: here `complete` holds the lock
//! until it no longer touches the object, and the waiter takes the same lock before it returns,
//! so a completion on the waiter's stack does not go away under `complete`'s feet.
#![forbid(unsafe_code)]

use super::core::might_sleep;
use super::sleep_timeout::MAX_SCHEDULE_TIMEOUT;
use super::swait::{Sleep, SwaitQueue, WokenBy, sleep_on};
use crate::prelude::*;

/// `done` after `complete_all`: more than can be used up.
const DONE_FOR_EVER: u32 = u32::MAX;

struct State {
    /// How many waiters may still go on.
    done: u32,
    wait: SwaitQueue,
}

/// An event that happens once: a counter and a first-in first-out queue under one lock.
pub struct Completion {
    state: IrqSpinLock<State>,
}

impl Completion {
    /// Not done (Linux: `init_completion`).
    pub const fn new() -> Self {
        Self {
            state: IrqSpinLock::new(State {
                done: 0,
                wait: SwaitQueue::new(),
            }),
        }
    }
    /// Makes a used completion new again. Nobody waits (Linux: `reinit_completion`).
    pub fn reinit(&self) {
        self.state.lock().done = 0;
    }
    /// Sleeps uninterruptibly until done.
    pub fn wait_for_completion(&self) {
        self.wait_for_common(Sleep::Uninterruptible, MAX_SCHEDULE_TIMEOUT);
    }
    /// Sleeps until done, at most `timeout` jiffies: 0 when that was not enough, else what was
    /// left, at least 1.
    pub fn wait_for_completion_timeout(&self, timeout: u64) -> u64 {
        match self.wait_for_common(Sleep::Uninterruptible, timeout) {
            WokenBy::Event(left) => left.max(1),
            WokenBy::Timeout | WokenBy::Signal => 0,
        }
    }
    /// Sleeps until done. Errors: ERESTARTSYS when a signal came first.
    pub fn wait_for_completion_interruptible(&self) -> Result {
        self.wait_until_signal(Sleep::Interruptible, MAX_SCHEDULE_TIMEOUT)
            .map(|_| ())
    }
    /// Sleeps until done. Errors: ERESTARTSYS when a fatal signal came first.
    pub fn wait_for_completion_killable(&self) -> Result {
        self.wait_until_signal(Sleep::Killable, MAX_SCHEDULE_TIMEOUT)
            .map(|_| ())
    }
    /// Like `wait_for_completion_timeout`. Errors: ERESTARTSYS when a signal came first.
    pub fn wait_for_completion_interruptible_timeout(&self, timeout: u64) -> Result<u64> {
        self.wait_until_signal(Sleep::Interruptible, timeout)
    }
    /// Like `wait_for_completion_timeout`. Errors: ERESTARTSYS when a fatal signal came first.
    pub fn wait_for_completion_killable_timeout(&self, timeout: u64) -> Result<u64> {
        self.wait_until_signal(Sleep::Killable, timeout)
    }

    fn wait_until_signal(&self, how: Sleep, timeout: u64) -> Result<u64> {
        match self.wait_for_common(how, timeout) {
            WokenBy::Event(left) => Ok(left.max(1)),
            WokenBy::Timeout => Ok(0),
            WokenBy::Signal => Err(Errno::ERESTARTSYS),
        }
    }

    fn wait_for_common(&self, how: Sleep, timeout: u64) -> WokenBy {
        might_sleep();
        let mut state = self.state.lock();
        if state.use_up() {
            return WokenBy::Event(timeout);
        }
        let (state, why) = sleep_on(
            state,
            || self.state.lock(),
            |state| &mut state.wait,
            how,
            0,
            timeout,
        );
        drop(state);
        why
    }

    /// Uses up one event if there is one; never sleeps. Any context.
    pub fn try_wait_for_completion(&self) -> bool {
        self.state.lock().use_up()
    }
    /// Whether a waiter would not have to wait. Takes the lock, so that after `true` the object
    /// may be freed: `complete` is out of it (Linux: `completion_done`).
    pub fn completion_done(&self) -> bool {
        self.state.lock().done != 0
    }
    /// Lets one waiter go: the first in line, or the next to come. Any context.
    pub fn complete(&self) {
        let mut state = self.state.lock();
        if state.done != DONE_FOR_EVER && state.wait.wake_first().is_none() {
            state.done += 1;
        }
    }
    /// Lets every waiter go, now and later. Any context.
    pub fn complete_all(&self) {
        let mut state = self.state.lock();
        state.done = DONE_FOR_EVER;
        state.wait.wake_all();
    }
}

impl State {
    fn use_up(&mut self) -> bool {
        match self.done {
            0 => false,
            DONE_FOR_EVER => true,
            _ => {
                self.done -= 1;
                true
            }
        }
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self::new()
    }
}
