//! Waiting for many queues at once (Linux: fs/select.c, `struct poll_wqueues`).
//!
//! poll(2), select(2) and epoll pass a [`PollTable`] to each file's `poll`, which registers it in
//! the file's queues. The registrations go away with the table; a queue that goes away first
//! tells its registrations. One global lock settles which of the two comes first.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::core::{__set_current_state, current, set_current_state};
use super::sleep_timeout::{deadline_in, schedule_until};
use super::task::{Task, state::*};
use super::wait::{WaitEntry, WaitQueueHead, WakeAction};
use crate::prelude::*;

/// Registrations in one allocation.
const CHUNK: usize = 16;

/// Held while a registration and its queue part company, so that neither goes away under the
/// other's hands. Taken before the queue's own lock.
static POLL_LOCK: IrqSpinLock<()> = IrqSpinLock::new(());

/// Who is told about a wake-up; epoll implements it (Linux: `ep_poll_callback`).
pub trait PollWake: Send + Sync {
    /// POLL* events came, 0 when the waker did not say which. Called with the queue's lock held,
    /// in any context: must not sleep nor allocate.
    fn poll_wake(&self, events: u32);
}

/// The task that waits in poll(2), and whether something happened since it last looked.
struct PollWaiter {
    task: &'static Task,
    triggered: AtomicBool,
}

enum Target {
    Task(Box<PollWaiter>),
    Callback(Arc<dyn PollWake>),
}

/// One registration. `wait` comes first: a queue knows only that part.
#[repr(C)]
pub(super) struct PollEntry {
    wait: WaitEntry,
    /// The queue it is in; null once the queue is gone. `POLL_LOCK`.
    head: AtomicPtr<WaitQueueHead>,
    /// The table's target, which outlives the registration.
    target: *const Target,
    /// POLL* events that matter.
    key: u32,
}

// SAFETY: `target` points into a box of the table that also owns this entry, and everything in
// it is shareable.
unsafe impl Send for PollEntry {}
// SAFETY: as above.
unsafe impl Sync for PollEntry {}

impl PollEntry {
    /// The registration whose `wait` field this is.
    ///
    /// # Safety
    /// `entry` is the first field of a `PollEntry`.
    pub(super) unsafe fn of(entry: &WaitEntry) -> &PollEntry {
        // SAFETY: `repr(C)`, and the caller's promise.
        unsafe { &*core::ptr::from_ref(entry).cast::<PollEntry>() }
    }

    fn wake(&self, events: u32) -> bool {
        if events != 0 && events & self.key == 0 {
            return false;
        }
        // SAFETY: the table keeps its target until its registrations are gone, and this one is
        // in a queue whose lock is held.
        match unsafe { &*self.target } {
            Target::Task(waiter) => {
                // Before the wake-up: the waiter looks at it after setting its state.
                waiter.triggered.store(true, Ordering::Release);
                super::core::try_to_wake_up(waiter.task, TASK_NORMAL)
            }
            Target::Callback(callback) => {
                callback.poll_wake(events);
                true
            }
        }
    }
}

/// The wake function of registrations (Linux: `pollwake`).
fn pollwake(entry: &WaitEntry, events: u32) -> bool {
    // SAFETY: only `PollTable::register` makes entries with this function.
    unsafe { PollEntry::of(entry) }.wake(events)
}

/// For a queue that goes away: `each` gets a function that forgets the queue in a registration.
pub(super) fn detach_poll_entries(each: impl FnOnce(&dyn Fn(&PollEntry))) {
    let _lock = POLL_LOCK.lock();
    each(&|entry: &PollEntry| {
        entry.head.store(core::ptr::null_mut(), Ordering::Relaxed);
    });
}

/// How `poll_schedule_timeout` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollWoken {
    /// An event, or a signal: look again.
    Look,
    /// Nothing came in time.
    TimedOut,
}

/// What poll(2), select(2) and epoll collect their wait queues in (Linux: `struct poll_table_struct`).
pub struct PollTable {
    /// Fixed while there are registrations, which point to it.
    target: Box<Target>,
    /// Full but for the last; entries never move.
    chunks: Vec<Vec<PollEntry>>,
    key: u32,
    out_of_memory: bool,
}

impl PollTable {
    /// A table that wakes the running task (poll, select).
    pub fn new() -> Self {
        Self::with_target(Target::Task(Box::new(PollWaiter {
            task: current().as_task(),
            triggered: AtomicBool::new(false),
        })))
    }
    /// A table that calls back (epoll); it must be dropped where it may sleep.
    pub fn for_callback(callback: Arc<dyn PollWake>) -> Self {
        Self::with_target(Target::Callback(callback))
    }
    fn with_target(target: Target) -> Self {
        Self {
            target: Box::new(target),
            chunks: Vec::new(),
            key: u32::MAX,
            out_of_memory: false,
        }
    }

    /// POLL* events that those who register from now on wait for; POLLERR and POLLHUP always
    /// count (Linux: `pt->_key`).
    pub fn set_key(&mut self, events: u32) {
        self.key = events | uapi::poll::POLLERR | uapi::poll::POLLHUP;
    }
    /// The events of `set_key`.
    pub fn key(&self) -> u32 {
        self.key
    }
    /// Whether a registration failed for lack of memory: the system call returns ENOMEM.
    pub fn out_of_memory(&self) -> bool {
        self.out_of_memory
    }

    /// Registers in a queue (Linux: `__pollwait`).
    pub(super) fn register(&mut self, head: &WaitQueueHead) {
        let target: *const Target = &*self.target;
        let key = self.key;
        let Some(chunk) = self.chunk_with_room() else {
            self.out_of_memory = true;
            return;
        };
        chunk.push(PollEntry {
            wait: WaitEntry::new(WakeAction::Poll(pollwake), false),
            head: AtomicPtr::new(core::ptr::from_ref(head).cast_mut()),
            target,
            key,
        });
        if let Some(entry) = chunk.last() {
            // SAFETY: a chunk never grows beyond its capacity, so the entry stays in place until
            // `drop` below has taken it off the queue, or the queue has done so itself.
            unsafe { head.add_entry(&entry.wait) };
        }
    }

    fn chunk_with_room(&mut self) -> Option<&mut Vec<PollEntry>> {
        if self.chunks.last().is_none_or(|c| c.len() == c.capacity()) {
            let mut chunk = Vec::new();
            chunk.try_reserve_exact(CHUNK).ok()?;
            self.chunks.try_reserve(1).ok()?;
            self.chunks.push(chunk);
        }
        self.chunks.last_mut()
    }

    /// Sleeps until something happens in one of the queues, a signal comes or `timeout_ns` is
    /// over (`None`: no end). Returns at once when something happened since the last call
    /// (Linux: `poll_schedule_timeout`). For tables of `new`.
    pub fn poll_schedule_timeout(&mut self, timeout_ns: Option<u64>) -> PollWoken {
        let Target::Task(waiter) = &*self.target else {
            return PollWoken::Look;
        };
        let mut woken = PollWoken::Look;
        set_current_state(TASK_INTERRUPTIBLE);
        if !waiter.triggered.load(Ordering::Acquire) {
            let deadline = timeout_ns.and_then(deadline_in);
            if !schedule_until(deadline) {
                woken = PollWoken::TimedOut;
            }
        }
        __set_current_state(TASK_RUNNING);
        // Full barrier: the caller asks the files again after this store.
        waiter.triggered.swap(false, Ordering::SeqCst);
        woken
    }
}

impl Default for PollTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PollTable {
    fn drop(&mut self) {
        if self.chunks.is_empty() {
            return;
        }
        let _lock = POLL_LOCK.lock();
        for entry in self.chunks.iter().flatten() {
            let head = entry.head.load(Ordering::Relaxed);
            if !head.is_null() {
                // SAFETY: the queue is there: it cannot go away before it gets `POLL_LOCK` and
                // forgets itself in this entry. The entry was put into this queue only.
                unsafe { (*head).remove_entry(&entry.wait) };
            }
        }
    }
}
