//! Wait queues (Linux: kernel/sched/wait.c, include/linux/wait.h).
//!
//! A waiter puts an entry into the queue, sets its state, looks at its condition and sleeps; a
//! waker makes the condition true and then looks for entries. Entries of sleeping tasks live on
//! their stacks; entries of poll(2) and epoll live in a [`super::poll::PollTable`]. A waker
//! allocates and frees nothing.

use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use intrusive_collections::{LinkedList, LinkedListAtomicLink, UnsafeRef, intrusive_adapter};

use super::core::{
    __set_current_state, current, might_sleep, set_current_state, signal_pending_state,
    try_to_wake_up,
};
use super::poll::{PollEntry, detach_poll_entries};
pub use super::poll::{PollTable, PollWake};
use super::sleep_timeout::{deadline_in, schedule_until};
use super::swait::Sleep;
use super::task::{Task, state::*};
use crate::prelude::*;

/// What a wake-up does with an entry.
pub(super) enum WakeAction {
    /// Wakes the task and, if that worked, takes the entry off (Linux: `autoremove_wake_function`).
    Task(&'static Task),
    /// Tells the poll entry that this is the head of; the entry stays.
    Poll(fn(&WaitEntry, u32) -> bool),
}

/// One waiter of a queue (Linux: `struct wait_queue_entry`).
#[repr(C)]
pub(super) struct WaitEntry {
    link: LinkedListAtomicLink,
    pub(super) action: WakeAction,
    exclusive: bool,
    /// In the list. Cleared as the very last access of a waker, with release: a waiter that sees
    /// it cleared may end its stack frame without taking the queue's lock.
    queued: AtomicBool,
}

impl WaitEntry {
    pub(super) const fn new(action: WakeAction, exclusive: bool) -> Self {
        Self {
            link: LinkedListAtomicLink::new(),
            action,
            exclusive,
            queued: AtomicBool::new(false),
        }
    }
}

intrusive_adapter!(EntryAdapter = UnsafeRef<WaitEntry>: WaitEntry { link => LinkedListAtomicLink });

/// Tasks that wait for an event.
pub struct WaitQueueHead {
    list: IrqSpinLock<List>,
    /// Entries in the list: lets a waker skip the lock when there are none.
    len: AtomicU32,
    /// Had a poll entry once, so dropping has to look for them.
    polled: AtomicBool,
}

struct List(LinkedList<EntryAdapter>);

// SAFETY: entries are shared between CPUs only under the queue's lock; whoever owns an entry
// takes it off before the entry goes away.
unsafe impl Send for List {}

impl Default for WaitQueueHead {
    fn default() -> Self {
        Self::new()
    }
}

/// How many of the waiters a wake-up is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// All non-exclusive ones and so many exclusive ones.
    Exclusive(u32),
    /// All.
    All,
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Condition,
    Timeout,
    Signal,
}

/// Wait alone, or with everybody.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Shared,
    Exclusive,
}

impl WaitQueueHead {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            list: IrqSpinLock::new(List(LinkedList::new(EntryAdapter::NEW))),
            len: AtomicU32::new(0),
            polled: AtomicBool::new(false),
        }
    }

    // --- wakers ---

    /// Wakes all non-exclusive waiters and one exclusive one. Any context.
    #[inline]
    pub fn wake_up(&self) {
        if self.is_active() {
            self.wake_up_common(TASK_NORMAL, Wake::Exclusive(1), 0);
        }
    }
    /// Wakes all non-exclusive waiters and `nr` exclusive ones. Any context.
    pub fn wake_up_nr(&self, nr: u32) {
        if self.is_active() {
            self.wake_up_common(TASK_NORMAL, Wake::Exclusive(nr), 0);
        }
    }
    /// Wakes everybody. Any context.
    pub fn wake_up_all(&self) {
        if self.is_active() {
            self.wake_up_common(TASK_NORMAL, Wake::All, 0);
        }
    }
    /// `wake_up` for interruptible sleepers only.
    pub fn wake_up_interruptible(&self) {
        if self.is_active() {
            self.wake_up_common(TASK_INTERRUPTIBLE, Wake::Exclusive(1), 0);
        }
    }
    /// `wake_up_all` for interruptible sleepers only.
    pub fn wake_up_interruptible_all(&self) {
        if self.is_active() {
            self.wake_up_common(TASK_INTERRUPTIBLE, Wake::All, 0);
        }
    }
    /// `wake_up` that tells pollers which POLL* events came, so that those who wait for others
    /// sleep on (Linux: `wake_up_poll`).
    pub fn wake_up_poll(&self, events: u32) {
        if self.is_active() {
            self.wake_up_common(TASK_NORMAL, Wake::Exclusive(1), events);
        }
    }
    /// Whether somebody waits. With a full barrier in front: what the caller stored before is
    /// seen by a waiter that this misses.
    #[inline]
    pub fn is_active(&self) -> bool {
        fence(Ordering::SeqCst);
        self.len.load(Ordering::Relaxed) != 0
    }

    fn wake_up_common(&self, mask: u32, how_many: Wake, events: u32) {
        let mut exclusive_left = match how_many {
            Wake::Exclusive(nr) => nr,
            Wake::All => u32::MAX,
        };
        let mut list = self.list.lock();
        let mut cursor = list.0.front_mut();
        while let Some(entry) = cursor.get() {
            let woken = match &entry.action {
                WakeAction::Task(task) => try_to_wake_up(task, mask),
                WakeAction::Poll(wake) => wake(entry, events),
            };
            let exclusive = entry.exclusive;
            if woken && matches!(entry.action, WakeAction::Task(_)) {
                self.unlinked(cursor.remove());
            } else {
                cursor.move_next();
            }
            if woken && exclusive {
                exclusive_left -= 1;
                if exclusive_left == 0 {
                    break;
                }
            }
        }
    }

    /// Book-keeping for an entry that was just taken out of the list; its last access.
    fn unlinked(&self, entry: Option<UnsafeRef<WaitEntry>>) {
        self.len.fetch_sub(1, Ordering::Relaxed);
        if let Some(entry) = entry {
            entry.queued.store(false, Ordering::Release);
        }
    }

    // --- waiters ---

    /// Queues an entry: exclusive ones at the end, others in front of them. Exclusive ones are
    /// therefore served first in, first out.
    ///
    /// # Safety
    /// The entry does not move or go away before it is out of the queue.
    pub(super) unsafe fn add_entry(&self, entry: &WaitEntry) {
        let mut list = self.list.lock();
        if entry.queued.load(Ordering::Relaxed) {
            return;
        }
        entry.queued.store(true, Ordering::Relaxed);
        self.len.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the entry alive and in place.
        let entry = unsafe { UnsafeRef::from_raw(entry) };
        if entry.exclusive {
            list.0.push_back(entry);
        } else {
            list.0.push_front(entry);
        }
    }

    /// Takes an entry off this queue if it is still there (Linux: `finish_wait`).
    ///
    /// # Safety
    /// The entry is in this queue or in none.
    #[inline]
    pub(super) unsafe fn remove_entry(&self, entry: &WaitEntry) {
        if entry.queued.load(Ordering::Acquire) {
            // SAFETY: the caller's promise.
            unsafe { self.remove_queued_entry(entry) };
        }
    }

    /// # Safety
    /// The entry is in this queue or in none.
    unsafe fn remove_queued_entry(&self, entry: &WaitEntry) {
        let mut list = self.list.lock();
        if entry.queued.load(Ordering::Relaxed) {
            // SAFETY: the flag says that it is in the list, and by contract it is in this one.
            let removed = unsafe { list.0.cursor_mut_from_ptr(entry) }.remove();
            self.unlinked(removed);
        }
    }

    /// Takes all (poll) entries off, for a queue that goes away.
    fn drain(&self, mut each: impl FnMut(&WaitEntry)) {
        let mut list = self.list.lock();
        while let Some(entry) = list.0.pop_front() {
            self.len.fetch_sub(1, Ordering::Relaxed);
            each(&entry);
            entry.queued.store(false, Ordering::Release);
        }
    }

    /// The slow half of all `wait_event*`: sleeps until the condition holds (Linux:
    /// `___wait_event`). `deadline` in ns of CLOCK_MONOTONIC.
    fn wait(
        &self,
        how: Sleep,
        mode: Mode,
        deadline: Option<u64>,
        condition: &mut dyn FnMut() -> bool,
    ) -> Ended {
        might_sleep();
        let task = current();
        let action = WakeAction::Task(task.as_task());
        let entry = pin!(WaitEntry::new(action, mode == Mode::Exclusive));
        let queued = Queued {
            head: self,
            entry: &entry,
        };
        let mut in_time = true;
        let why = loop {
            // SAFETY: `queued` takes the entry off before this frame ends, on unwinding too.
            unsafe { self.add_entry(queued.entry) };
            let signal = signal_pending_state(how.state(), &task);
            if signal {
                // Off the queue under its lock first: an exclusive wake-up that chose this task
                // is over by now, and the condition below sees what it was for.
                // SAFETY: the entry is in this queue or in none.
                unsafe { self.remove_entry(queued.entry) };
            } else {
                set_current_state(how.state());
            }
            if condition() {
                break Ended::Condition;
            }
            if signal {
                break Ended::Signal;
            }
            if !in_time {
                break Ended::Timeout;
            }
            in_time = schedule_until(deadline);
            // Most wake-ups are for us: then there is no need to queue up again. The waker made
            // the condition true before it made this task runnable.
            if condition() {
                break Ended::Condition;
            }
        };
        __set_current_state(TASK_RUNNING);
        why
    }

    /// Sleeps uninterruptibly until `condition` holds.
    pub fn wait_event(&self, mut condition: impl FnMut() -> bool) {
        if !condition() {
            let how = Sleep::Uninterruptible;
            self.wait(how, Mode::Shared, None, &mut condition);
        }
    }
    /// Sleeps uninterruptibly until `condition` holds; one waiter is woken at a time.
    pub fn wait_event_exclusive(&self, mut condition: impl FnMut() -> bool) {
        if !condition() {
            let how = Sleep::Uninterruptible;
            self.wait(how, Mode::Exclusive, None, &mut condition);
        }
    }
    /// What `take` gives, at once or, unless `nonblocking`, as soon as it gives something. Errors:
    /// EAGAIN, ERESTARTSYS when a signal came first.
    pub fn take_or_wait<T>(
        &self,
        nonblocking: bool,
        mut take: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let mut taken = take();
        if taken.is_none() && !nonblocking {
            self.wait_event_interruptible(|| {
                taken = take();
                taken.is_some()
            })?;
        }
        taken.ok_or(Errno::EAGAIN)
    }
    /// Sleeps until `condition` holds. Errors: ERESTARTSYS when a signal came first.
    pub fn wait_event_interruptible(&self, condition: impl FnMut() -> bool) -> Result {
        self.wait_or_signal(Sleep::Interruptible, Mode::Shared, condition)
    }
    /// Like `wait_event_interruptible`, one waiter is woken at a time.
    pub fn wait_event_interruptible_exclusive(&self, condition: impl FnMut() -> bool) -> Result {
        self.wait_or_signal(Sleep::Interruptible, Mode::Exclusive, condition)
    }
    /// Sleeps until `condition` holds. Errors: ERESTARTSYS when a fatal signal came first.
    pub fn wait_event_killable(&self, condition: impl FnMut() -> bool) -> Result {
        self.wait_or_signal(Sleep::Killable, Mode::Shared, condition)
    }
    /// Like `wait_event_killable`, one waiter is woken at a time.
    pub fn wait_event_killable_exclusive(&self, condition: impl FnMut() -> bool) -> Result {
        self.wait_or_signal(Sleep::Killable, Mode::Exclusive, condition)
    }
    /// Like `wait_event`, gives up after `timeout_ns`: false then.
    pub fn wait_event_timeout(&self, timeout_ns: u64, condition: impl FnMut() -> bool) -> bool {
        // An uninterruptible sleep knows no signal.
        self.wait_timeout(Sleep::Uninterruptible, timeout_ns, condition)
            .unwrap_or(false)
    }
    /// Like `wait_event_interruptible`, gives up after `timeout_ns`: Ok(false) then.
    pub fn wait_event_interruptible_timeout(
        &self,
        timeout_ns: u64,
        condition: impl FnMut() -> bool,
    ) -> Result<bool> {
        self.wait_timeout(Sleep::Interruptible, timeout_ns, condition)
    }
    /// Like `wait_event_killable`, gives up after `timeout_ns`: Ok(false) then.
    pub fn wait_event_killable_timeout(
        &self,
        timeout_ns: u64,
        condition: impl FnMut() -> bool,
    ) -> Result<bool> {
        self.wait_timeout(Sleep::Killable, timeout_ns, condition)
    }

    fn wait_or_signal(
        &self,
        how: Sleep,
        mode: Mode,
        mut condition: impl FnMut() -> bool,
    ) -> Result {
        if condition() {
            return Ok(());
        }
        match self.wait(how, mode, None, &mut condition) {
            Ended::Signal => Err(Errno::ERESTARTSYS),
            Ended::Condition | Ended::Timeout => Ok(()),
        }
    }

    fn wait_timeout(
        &self,
        how: Sleep,
        timeout_ns: u64,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool> {
        if condition() {
            return Ok(true);
        }
        match self.wait(how, Mode::Shared, deadline_in(timeout_ns), &mut condition) {
            Ended::Condition => Ok(true),
            Ended::Timeout => Ok(false),
            Ended::Signal => Err(Errno::ERESTARTSYS),
        }
    }

    /// Registers the caller of poll(2) or select(2) (Linux: `poll_wait`).
    pub fn poll_wait(&self, table: &mut PollTable) {
        self.polled.store(true, Ordering::Relaxed);
        table.register(self);
    }
}

/// Takes a stack entry off its queue when the waiting function ends.
struct Queued<'a> {
    head: &'a WaitQueueHead,
    entry: &'a WaitEntry,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        // SAFETY: the entry was never put into another queue.
        unsafe { self.head.remove_entry(self.entry) };
    }
}

impl Drop for WaitQueueHead {
    /// Poll entries may outlive the queue: they are told that it is gone. Stack entries cannot,
    /// they borrow it.
    fn drop(&mut self) {
        if *self.polled.get_mut() {
            detach_poll_entries(|forget| {
                self.drain(|entry| {
                    if let WakeAction::Poll(_) = entry.action {
                        // SAFETY: entries with this action are the first field of a `PollEntry`.
                        forget(unsafe { PollEntry::of(entry) });
                    }
                });
            });
        }
    }
}
