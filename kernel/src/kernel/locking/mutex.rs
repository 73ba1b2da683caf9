//! Sleeping mutual exclusion (Linux: kernel/locking/mutex.c).
//!
//! One word holds the owner's address and whether somebody waits: locking and unlocking without
//! contention is one atomic instruction each. A contended unlock hands the lock to the waiter
//! that came first, so nobody starves.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch;
use crate::kernel::sched::{
    MAX_SCHEDULE_TIMEOUT, Sleep, SwaitQueue, WokenBy, might_sleep, swait_sleep_on,
};
use crate::prelude::*;

/// Somebody waits (or is about to): unlocking has to look at the queue.
const WAITERS: usize = 1;
/// Set in the owner word of every holder, so that a holder without a task is seen as one.
const HELD: usize = 2;

/// A lock whose waiters sleep. Process context only; the holder may sleep.
pub struct Mutex<T: ?Sized> {
    /// 0, or the address of the owner (tasks are aligned) with `HELD` and perhaps `WAITERS`.
    owner: AtomicUsize,
    wait: SpinLock<SwaitQueue>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one task at a time, which may be on any CPU.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

/// Access to the value of a locked mutex.
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The task that locks also unlocks.
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

/// The owner word of the running task.
#[inline]
fn me() -> usize {
    arch::current_ptr().addr() | HELD
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self {
            owner: AtomicUsize::new(0),
            wait: SpinLock::new(SwaitQueue::new()),
            value: UnsafeCell::new(value),
        }
    }
    /// The value, when nobody can hold the mutex any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Sleeps uninterruptibly until the mutex is ours.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        might_sleep();
        if !self.acquire() {
            self.lock_slow(Sleep::Uninterruptible);
        }
        self.guard()
    }
    /// Like `lock`. Errors: EINTR when a signal came first.
    #[track_caller]
    pub fn lock_interruptible(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_or_signal(Sleep::Interruptible)
    }
    /// Like `lock`. Errors: EINTR when a fatal signal came first.
    #[track_caller]
    pub fn lock_killable(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_or_signal(Sleep::Killable)
    }
    /// Takes the mutex if it is free now. Process context.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.acquire().then(|| self.guard())
    }
    /// Whether somebody holds it right now.
    pub fn is_locked(&self) -> bool {
        self.owner.load(Ordering::Relaxed) != 0
    }
    /// The value, through exclusive access to the mutex.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: self,
            _not_send: PhantomData,
        }
    }

    #[inline]
    fn acquire(&self) -> bool {
        self.owner
            .compare_exchange(0, me(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[track_caller]
    fn lock_or_signal(&self, how: Sleep) -> Result<MutexGuard<'_, T>> {
        might_sleep();
        if self.acquire() || self.lock_slow(how) != WokenBy::Signal {
            return Ok(self.guard());
        }
        Err(Errno::EINTR)
    }

    #[cold]
    fn lock_slow(&self, how: Sleep) -> WokenBy {
        let queue = self.wait.lock();
        // Announce the wait; from then on an unlock comes to the queue, whose lock is held here.
        loop {
            let owner = self.owner.load(Ordering::Relaxed);
            if owner == 0 {
                if self.acquire() {
                    return WokenBy::Event(0);
                }
                continue;
            }
            let announced = self.owner.compare_exchange(
                owner,
                owner | WAITERS,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if announced.is_ok() {
                break;
            }
        }
        let relock = || self.wait.lock();
        let (queue, why) =
            swait_sleep_on(queue, relock, |queue| queue, how, 0, MAX_SCHEDULE_TIMEOUT);
        if why == WokenBy::Signal {
            // `WAITERS` may stay set without any: the next unlock finds that out.
            return why;
        }
        // Handed over: the word says "held"; write our name into it.
        let waiters = if queue.is_empty() { 0 } else { WAITERS };
        self.owner.store(me() | waiters, Ordering::Relaxed);
        why
    }

    #[inline]
    fn unlock(&self) {
        let released = self
            .owner
            .compare_exchange(me(), 0, Ordering::Release, Ordering::Relaxed);
        if released.is_err() {
            self.unlock_slow();
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        let mut queue = self.wait.lock();
        // Until the new owner writes its name, newcomers see the lock held with waiters. The
        // queue's lock orders this owner's stores before the next one's loads.
        self.owner.store(HELD | WAITERS, Ordering::Relaxed);
        if queue.wake_first().is_none() {
            self.owner.store(0, Ordering::Release);
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard proves that the running task holds the mutex.
        unsafe { &*self.mutex.value.get() }
    }
}
impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}
impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}
