//! Simple wait queues: first in, first out, one task at a time (Linux: kernel/sched/swait.c).
//!
//! The base of completions, semaphores, mutexes and read-write semaphores. A queue has no lock:
//! it is a field of what its owner's lock protects, and whoever wakes a waiter hands over what
//! it waited for under that lock. A waiter lives on the sleeper's stack; it leaves the queue
//! under the owner's lock before its stack frame ends, so an on-stack owner is safe too.

use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};

use intrusive_collections::{LinkedList, LinkedListAtomicLink, UnsafeRef, intrusive_adapter};

use super::core::{
    __set_current_state, current, set_current_state, signal_pending_state, try_to_wake_up,
};
use super::sleep_timeout::schedule_timeout;
use super::task::{CurrentTask, Task, state::*};
use crate::kernel::locking::SpinLockGuard;

/// Which signals end a sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sleep {
    /// None.
    Uninterruptible,
    /// Fatal ones.
    Killable,
    /// Any.
    Interruptible,
}

impl Sleep {
    /// `TASK_*`.
    pub fn state(self) -> u32 {
        match self {
            Sleep::Uninterruptible => TASK_UNINTERRUPTIBLE,
            Sleep::Killable => TASK_KILLABLE,
            Sleep::Interruptible => TASK_INTERRUPTIBLE,
        }
    }
}

/// Why a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WokenBy {
    /// The event; jiffies that were left of the timeout.
    Event(u64),
    /// The timeout.
    Timeout,
    /// A signal.
    Signal,
}

/// Somebody that waits; lives on its own stack.
struct Waiter {
    link: LinkedListAtomicLink,
    task: &'static Task,
    /// What the owner's code makes of it, e.g. reader or writer.
    tag: u32,
    /// Set by the waker, under the owner's lock.
    granted: AtomicU32,
}

intrusive_adapter!(WaiterAdapter = UnsafeRef<Waiter>: Waiter { link => LinkedListAtomicLink });

/// Tasks that wait in order of arrival (Linux: `struct swait_queue_head`).
pub struct SwaitQueue {
    list: LinkedList<WaiterAdapter>,
}

// SAFETY: waiters are shared between CPUs only under the owner's lock.
unsafe impl Send for SwaitQueue {}

impl Default for SwaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl SwaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            list: LinkedList::new(WaiterAdapter::NEW),
        }
    }
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// Tag of the first waiter.
    pub fn front_tag(&self) -> Option<u32> {
        self.list.front().get().map(|waiter| waiter.tag)
    }
    /// Takes the first waiter off, tells it that it has what it waited for, and wakes it.
    /// Returns its tag. The owner's lock is held.
    pub fn wake_first(&mut self) -> Option<u32> {
        let waiter = self.list.pop_front()?;
        let (task, tag) = (waiter.task, waiter.tag);
        waiter.granted.store(1, Ordering::Relaxed);
        // The waiter cannot return before it gets the owner's lock, so its task is alive.
        try_to_wake_up(task, TASK_NORMAL | TASK_WAKEKILL);
        Some(tag)
    }
    /// Wakes everybody.
    pub fn wake_all(&mut self) {
        while self.wake_first().is_some() {}
    }
}

/// Sleeps at the end of a queue inside a locked owner until somebody wakes this waiter with
/// `wake_first`, a signal comes, or `timeout` jiffies are over. The lock is released while
/// sleeping; `relock` takes it again and `queue` finds the queue in it. Returns with the lock held.
///
/// Context: process, and nothing but the owner's lock held.
pub fn sleep_on<'a, T, C: crate::kernel::locking::LockContext>(
    mut owner: SpinLockGuard<'a, T, C>,
    relock: impl Fn() -> SpinLockGuard<'a, T, C>,
    queue: impl Fn(&mut T) -> &mut SwaitQueue,
    how: Sleep,
    tag: u32,
    mut timeout: u64,
) -> (SpinLockGuard<'a, T, C>, WokenBy) {
    let task: CurrentTask = current();
    let waiter = pin!(Waiter {
        link: LinkedListAtomicLink::new(),
        task: task.as_task(),
        tag,
        granted: AtomicU32::new(0),
    });
    let waiter = waiter.into_ref();
    // SAFETY: the waiter is pinned here until the end of this function, and each way out of the
    // loop below leaves it unlinked: by the waker (`granted`) or by `unlink`.
    queue(&mut owner)
        .list
        .push_back(unsafe { UnsafeRef::from_raw(&raw const *waiter) });
    let unlink = |owner: &mut SpinLockGuard<'a, T, C>| {
        // SAFETY: the waiter is linked in this very queue, whose lock is held.
        unsafe { queue(owner).list.cursor_mut_from_ptr(&raw const *waiter) }.remove();
    };
    loop {
        if signal_pending_state(how.state(), &task) {
            unlink(&mut owner);
            return (owner, WokenBy::Signal);
        }
        if timeout == 0 {
            unlink(&mut owner);
            return (owner, WokenBy::Timeout);
        }
        set_current_state(how.state());
        drop(owner);
        timeout = schedule_timeout(timeout);
        __set_current_state(TASK_RUNNING);
        owner = relock();
        if waiter.granted.load(Ordering::Relaxed) != 0 {
            return (owner, WokenBy::Event(timeout));
        }
    }
}
