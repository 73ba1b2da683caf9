//! A sleeping lock without data of its own (Linux: `inode->i_rwsem`, `file->f_pos_lock`,
//! `pipe->mutex`). It is four bytes wide, because every inode and every open file has one;
//! waiters sleep in one of a few shared queues, chosen by the lock's address.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::sched::wait::WaitQueueHead;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep for it.
const CONTENDED: u32 = 2;

const NR_QUEUES: usize = 64;
static QUEUES: [WaitQueueHead; NR_QUEUES] = [const { WaitQueueHead::new() }; NR_QUEUES];

/// A mutual exclusion lock whose holder may sleep. Context: process, no spin lock held.
#[derive(Default)]
pub struct SleepLock {
    state: AtomicU32,
}

/// The lock is held until this is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SleepGuard<'a> {
    lock: &'a SleepLock,
}

impl SleepLock {
    /// A free lock.
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
        }
    }
    /// Sleeps uninterruptibly until the lock is ours.
    #[inline]
    pub fn lock(&self) -> SleepGuard<'_> {
        if !self.acquire() {
            self.lock_slow();
        }
        SleepGuard { lock: self }
    }
    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SleepGuard<'_>> {
        self.acquire().then_some(SleepGuard { lock: self })
    }
    #[inline]
    fn acquire(&self) -> bool {
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
    /// Whoever slept takes the lock as contended: it cannot know whether it was the last sleeper.
    #[cold]
    fn lock_slow(&self) {
        self.queue()
            .wait_event(|| self.state.swap(CONTENDED, Ordering::Acquire) == FREE);
    }
    fn queue(&self) -> &'static WaitQueueHead {
        let address = core::ptr::from_ref(self).addr();
        &QUEUES[(address >> 4) % NR_QUEUES]
    }
}

impl Drop for SleepGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.state.swap(FREE, Ordering::Release) == CONTENDED {
            self.lock.queue().wake_up_all();
        }
    }
}

/// Takes the locks of two objects in the order of their addresses, so that two tasks that lock
/// the same pair cannot wait for each other; the same lock is taken once
/// (Linux: `lock_two_nondirectories`).
pub fn lock_two<'a>(
    a: &'a SleepLock,
    b: &'a SleepLock,
) -> (SleepGuard<'a>, Option<SleepGuard<'a>>) {
    let (a_addr, b_addr) = (core::ptr::from_ref(a).addr(), core::ptr::from_ref(b).addr());
    match a_addr.cmp(&b_addr) {
        core::cmp::Ordering::Equal => (a.lock(), None),
        core::cmp::Ordering::Less => (a.lock(), Some(b.lock())),
        core::cmp::Ordering::Greater => (b.lock(), Some(a.lock())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_not_given_twice() {
        let lock = SleepLock::new();
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn a_pair_of_one_lock_is_taken_once() {
        let lock = SleepLock::new();
        let pair = lock_two(&lock, &lock);
        assert!(pair.1.is_none());
    }
}
