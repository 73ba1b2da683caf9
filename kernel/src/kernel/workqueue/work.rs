//! A unit of work (Linux: `struct work_struct`).
#![deny(unsafe_code)] // but for what the list macro expands to

use core::sync::atomic::{AtomicBool, Ordering};

use intrusive_collections::{LinkedList, LinkedListAtomicLink, intrusive_adapter};

use super::pool::WorkerPool;
use super::queue::Workqueue;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::prelude::*;

/// Who waits for works to end: all of them, since such waits are rare.
pub(super) static FLUSH_WAIT: WaitQueueHead = WaitQueueHead::new();

/// A function to be called in process context, by at most one worker of a queue at a time.
pub struct Work {
    link: LinkedListAtomicLink,
    pub(super) func: Box<dyn Fn() + Send + Sync>,
    /// Queued, or about to be, or waiting for its timer. Whoever sets it owns the right to queue.
    pub(super) pending: AtomicBool,
    pub(super) place: IrqSpinLock<Place>,
}

intrusive_adapter!(pub(super) WorkAdapter = Arc<Work>: Work { link => LinkedListAtomicLink });

/// Works in order.
pub(super) type WorkList = LinkedList<WorkAdapter>;

/// Where a queued work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queued {
    /// Nowhere.
    No,
    /// In its pool's list, or in that of the worker that runs it already.
    Active,
    /// In its queue's list of those that are too many at a time.
    Inactive,
}

/// What is known of a work's past and present.
pub(super) struct Place {
    /// The queue it is in, or was last in.
    pub(super) wq: Option<Arc<Workqueue>>,
    /// Which of the queue's pools.
    pub(super) pwq: usize,
    /// Which of the queue's two flush counts it is in.
    pub(super) color: usize,
    pub(super) queued: Queued,
    /// Somebody cancels it.
    pub(super) canceling: bool,
    pub(super) last_pool: Option<&'static WorkerPool>,
    /// How often a worker began it.
    pub(super) started: u64,
    /// How often a worker ended it.
    pub(super) finished: u64,
}

impl Place {
    pub(super) fn is_running(&self) -> bool {
        self.started != self.finished
    }
    pub(super) fn is_idle(&self) -> bool {
        !self.is_running() && self.queued == Queued::No
    }
}

impl Work {
    /// Work that calls `func` (Linux: `INIT_WORK`).
    pub fn new(func: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            link: LinkedListAtomicLink::new(),
            func: Box::new(func),
            pending: AtomicBool::new(false),
            place: IrqSpinLock::new(Place {
                wq: None,
                pwq: 0,
                color: 0,
                queued: Queued::No,
                canceling: false,
                last_pool: None,
                started: 0,
                finished: 0,
            }),
        })
    }

    /// Work that calls `func` the first time it runs and never again.
    pub fn once(func: impl FnOnce() + Send + 'static) -> Arc<Self> {
        let func: Box<dyn FnOnce() + Send> = Box::new(func);
        let func = SpinLock::<_>::new(Some(func));
        Self::new(move || {
            let func = func.lock().take();
            if let Some(func) = func {
                func();
            }
        })
    }

    /// Whether it waits to run (Linux: `work_pending`).
    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Takes the right to queue it. False: somebody else has it.
    pub(super) fn claim(&self) -> bool {
        !self.pending.swap(true, Ordering::SeqCst)
    }
}

/// Takes a certain work out of a list; lists are short where that happens.
pub(super) fn remove_from(list: &mut WorkList, work: &Work) -> Option<Arc<Work>> {
    let mut cursor = list.front_mut();
    while let Some(entry) = cursor.get() {
        if core::ptr::eq(entry, work) {
            return cursor.remove();
        }
        cursor.move_next();
    }
    None
}
