//! Callbacks by how near their grace period is (Linux: kernel/rcu/rcu_segcblist.c).
#![deny(unsafe_code)] // but for what the list macro expands to

use intrusive_collections::{LinkedList, LinkedListAtomicLink, intrusive_adapter};

use super::seq;
use crate::prelude::*;

/// What happens when the grace period is over.
pub(super) enum Func {
    /// A function runs, in softirq context.
    Call(Box<dyn FnOnce() + Send>),
    /// A reference is given up.
    Drop(Arc<dyn Send + Sync>),
}

impl Func {
    /// Does it.
    pub(super) fn invoke(self) {
        match self {
            Func::Call(function) => function(),
            Func::Drop(object) => drop(object),
        }
    }
}

/// A callback in a list (Linux: `struct rcu_head`).
pub(super) struct Callback {
    link: LinkedListAtomicLink,
    func: Func,
}

intrusive_adapter!(pub(super) CallbackAdapter = Box<Callback>: Callback { link => LinkedListAtomicLink });

/// Callbacks in the order in which they came.
pub(super) type CallbackList = LinkedList<CallbackAdapter>;

impl Callback {
    pub(super) fn new(func: Func) -> Box<Self> {
        Box::new(Self {
            link: LinkedListAtomicLink::new(),
            func,
        })
    }
    /// Runs a callback that is in no list.
    pub(super) fn invoke(self) {
        self.func.invoke();
    }
}

/// Their grace period is over.
const DONE: usize = 0;
/// They wait for the nearest grace period.
const WAIT: usize = 1;
/// They wait for the one after.
const NEXT_READY: usize = 2;
/// No grace period has been chosen for them.
const NEXT: usize = 3;
const SEGMENTS: usize = 4;

/// The callbacks of one CPU (Linux: `struct rcu_segcblist`).
pub(super) struct SegCbList {
    segments: [CallbackList; SEGMENTS],
    /// The sequence number that WAIT and NEXT_READY wait for.
    gp_seq: [u64; SEGMENTS],
    len: usize,
}

impl SegCbList {
    pub(super) const fn new() -> Self {
        Self {
            segments: [const { LinkedList::new(CallbackAdapter::NEW) }; SEGMENTS],
            gp_seq: [0; SEGMENTS],
            len: 0,
        }
    }

    /// Callbacks that have not been taken to run.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a callback at the end.
    pub(super) fn enqueue(&mut self, callback: Box<Callback>) {
        self.segments[NEXT].push_back(callback);
        self.len += 1;
    }

    /// Adds a callback that runs right after the last one there is, in the same grace period
    /// (Linux: `rcu_segcblist_entrain`). Gives it back when there is none.
    pub(super) fn entrain(&mut self, callback: Box<Callback>) -> Result<(), Box<Callback>> {
        match self.segments.iter_mut().rev().find(|list| !list.is_empty()) {
            Some(last) => {
                last.push_back(callback);
                self.len += 1;
                Ok(())
            }
            None => Err(callback),
        }
    }

    /// Moves callbacks on whose grace period is over (Linux: `rcu_segcblist_advance`).
    pub(super) fn advance(&mut self, now: u64) {
        while !self.segments[WAIT].is_empty() && seq::is_done(now, self.gp_seq[WAIT]) {
            let done = self.segments[WAIT].take();
            append(&mut self.segments[DONE], done);
            self.segments[WAIT] = self.segments[NEXT_READY].take();
            self.gp_seq[WAIT] = self.gp_seq[NEXT_READY];
        }
    }

    /// Gives new callbacks a grace period: the first that begins after now (Linux:
    /// `rcu_segcblist_accelerate`). True when one is needed that nobody may have asked for.
    pub(super) fn accelerate(&mut self, wanted: u64) -> bool {
        if self.segments[NEXT].is_empty() {
            return false;
        }
        let new = self.segments[NEXT].take();
        let can_wait = self.segments[WAIT].is_empty() || self.gp_seq[WAIT] == wanted;
        let segment = if can_wait { WAIT } else { NEXT_READY };
        append(&mut self.segments[segment], new);
        self.gp_seq[segment] = wanted;
        true
    }

    /// Whether some can run, given the sequence number now.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        !self.segments[DONE].is_empty()
            || !self.segments[WAIT].is_empty() && seq::is_done(now, self.gp_seq[WAIT])
    }

    /// Whether some have no grace period yet.
    pub(super) fn has_new(&self) -> bool {
        !self.segments[NEXT].is_empty()
    }

    /// Takes one callback that may run.
    pub(super) fn take_done(&mut self) -> Option<Box<Callback>> {
        let callback = self.segments[DONE].pop_front()?;
        self.len -= 1;
        Some(callback)
    }
}

fn append(to: &mut CallbackList, from: CallbackList) {
    to.back_mut().splice_after(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(log: &Arc<SpinLock<Vec<u32>>>, number: u32) -> Box<Callback> {
        let log = log.clone();
        Callback::new(Func::Call(Box::new(move || log.lock().push(number))))
    }

    fn run(list: &mut SegCbList, now: u64) {
        list.advance(now);
        while let Some(callback) = list.take_done() {
            callback.invoke();
        }
    }

    #[test]
    fn callbacks_run_in_order_and_not_before_their_grace_period_is_over() {
        let log = Arc::new(SpinLock::new(Vec::new()));
        let mut list = SegCbList::new();
        list.enqueue(numbered(&log, 1));
        run(&mut list, 1000);
        assert!(log.lock().is_empty(), "no grace period was chosen");
        assert!(list.accelerate(4));
        list.enqueue(numbered(&log, 2));
        assert!(list.accelerate(8));
        list.enqueue(numbered(&log, 3));
        assert!(list.accelerate(12));
        run(&mut list, 3);
        assert!(log.lock().is_empty());
        run(&mut list, 4);
        assert_eq!(*log.lock(), [1]);
        run(&mut list, 8);
        assert_eq!(
            *log.lock(),
            [1],
            "the second was put off together with the third"
        );
        run(&mut list, 12);
        assert_eq!(*log.lock(), [1, 2, 3]);
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn an_entrained_callback_follows_the_last_one_without_a_grace_period_of_its_own() {
        let log = Arc::new(SpinLock::new(Vec::new()));
        let mut list = SegCbList::new();
        assert!(
            list.entrain(numbered(&log, 9)).is_err(),
            "nothing to follow"
        );
        list.enqueue(numbered(&log, 1));
        list.accelerate(4);
        assert!(list.entrain(numbered(&log, 2)).is_ok());
        run(&mut list, 4);
        assert_eq!(*log.lock(), [1, 2]);
    }
}
