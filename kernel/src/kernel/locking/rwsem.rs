//! Sleeping reader-writer locks (Linux: kernel/locking/rwsem.c).
//!
//! One word counts the readers and knows the writer. As soon as somebody waits, newcomers wait
//! too, and the lock goes to the waiters in order of arrival: one writer, or all the readers in
//! front of the next writer. So neither side starves.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::sched::{
    MAX_SCHEDULE_TIMEOUT, Sleep, SwaitQueue, WokenBy, might_sleep, swait_sleep_on,
};
use crate::prelude::*;

/// A writer holds the lock.
const WRITER: u64 = 1;
/// Somebody waits: no short cuts.
const WAITERS: u64 = 2;
/// One reader.
const READER: u64 = 4;

/// Tag of a waiting reader.
const TAG_READER: u32 = 0;
/// Tag of a waiting writer.
const TAG_WRITER: u32 = 1;

/// A lock for many readers or one writer, whose waiters sleep. Process context only.
pub struct RwSemaphore<T: ?Sized> {
    count: AtomicU64,
    wait: SpinLock<SwaitQueue>,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes to whoever holds the lock, on any CPU.
unsafe impl<T: ?Sized + Send> Send for RwSemaphore<T> {}
// SAFETY: readers share it, writers are alone.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwSemaphore<T> {}

/// Shared access.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwSemaphoreReadGuard<'a, T: ?Sized> {
    sem: &'a RwSemaphore<T>,
    _not_send: PhantomData<*mut ()>,
}

/// Exclusive access.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwSemaphoreWriteGuard<'a, T: ?Sized> {
    sem: &'a RwSemaphore<T>,
    _not_send: PhantomData<*mut ()>,
}

impl<T> RwSemaphore<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            count: AtomicU64::new(0),
            wait: SpinLock::new(SwaitQueue::new()),
            value: UnsafeCell::new(value),
        }
    }
    /// The value, when nobody can hold the lock any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwSemaphore<T> {
    /// Shared access (Linux: `down_read`).
    #[inline]
    #[track_caller]
    pub fn read(&self) -> RwSemaphoreReadGuard<'_, T> {
        might_sleep();
        if !self.try_acquire_read() {
            self.lock_slow(TAG_READER, Sleep::Uninterruptible);
        }
        self.read_guard()
    }
    /// Shared access. Errors: EINTR when a fatal signal came first.
    #[track_caller]
    pub fn read_killable(&self) -> Result<RwSemaphoreReadGuard<'_, T>> {
        might_sleep();
        if self.try_acquire_read() || self.lock_slow(TAG_READER, Sleep::Killable) {
            return Ok(self.read_guard());
        }
        Err(Errno::EINTR)
    }
    /// Shared access if it can be had now.
    #[inline]
    pub fn try_read(&self) -> Option<RwSemaphoreReadGuard<'_, T>> {
        self.try_acquire_read().then(|| self.read_guard())
    }
    /// Exclusive access (Linux: `down_write`).
    #[inline]
    #[track_caller]
    pub fn write(&self) -> RwSemaphoreWriteGuard<'_, T> {
        might_sleep();
        if !self.try_acquire_write() {
            self.lock_slow(TAG_WRITER, Sleep::Uninterruptible);
        }
        self.write_guard()
    }
    /// Exclusive access. Errors: EINTR when a fatal signal came first.
    #[track_caller]
    pub fn write_killable(&self) -> Result<RwSemaphoreWriteGuard<'_, T>> {
        might_sleep();
        if self.try_acquire_write() || self.lock_slow(TAG_WRITER, Sleep::Killable) {
            return Ok(self.write_guard());
        }
        Err(Errno::EINTR)
    }
    /// Exclusive access if it can be had now.
    #[inline]
    pub fn try_write(&self) -> Option<RwSemaphoreWriteGuard<'_, T>> {
        self.try_acquire_write().then(|| self.write_guard())
    }
    /// The value, through exclusive access to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
    /// Whether somebody holds it right now.
    pub fn is_locked(&self) -> bool {
        self.count.load(Ordering::Relaxed) & !WAITERS != 0
    }

    fn read_guard(&self) -> RwSemaphoreReadGuard<'_, T> {
        RwSemaphoreReadGuard {
            sem: self,
            _not_send: PhantomData,
        }
    }
    fn write_guard(&self) -> RwSemaphoreWriteGuard<'_, T> {
        RwSemaphoreWriteGuard {
            sem: self,
            _not_send: PhantomData,
        }
    }

    #[inline]
    fn try_acquire_read(&self) -> bool {
        let mut count = self.count.load(Ordering::Relaxed);
        while count & (WRITER | WAITERS) == 0 {
            match self.count.compare_exchange_weak(
                count,
                count + READER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }
    #[inline]
    fn try_acquire_write(&self) -> bool {
        self.count
            .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Queues up; false when a signal came first.
    #[cold]
    fn lock_slow(&self, tag: u32, how: Sleep) -> bool {
        let mut queue = self.wait.lock();
        // From here on whoever unlocks comes to the queue, and the queue's lock is held: either
        // the last holder is gone already and the lock is taken below, or it will wake us.
        self.count.fetch_or(WAITERS, Ordering::Relaxed);
        if queue.is_empty() && self.grant(tag) {
            self.count.fetch_and(!WAITERS, Ordering::Relaxed);
            return true;
        }
        let relock = || self.wait.lock();
        let why;
        (queue, why) = swait_sleep_on(queue, relock, |q| q, how, tag, MAX_SCHEDULE_TIMEOUT);
        if why == WokenBy::Signal {
            self.wake_waiters(&mut queue); // those behind us may be able to go now
            return false;
        }
        true
    }

    /// Takes the lock for a waiter if the holders allow it; `WAITERS` is set, so no newcomer
    /// interferes, only unlocks do.
    fn grant(&self, tag: u32) -> bool {
        let mut count = self.count.load(Ordering::Relaxed);
        loop {
            let next = match tag {
                TAG_READER if count & WRITER == 0 => count + READER,
                TAG_WRITER if count & !WAITERS == 0 => count | WRITER,
                _ => return false,
            };
            match self.count.compare_exchange_weak(
                count,
                next,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
    }

    /// Gives the lock to as many waiters as may have it, in order.
    fn wake_waiters(&self, queue: &mut SwaitQueue) {
        while let Some(tag) = queue.front_tag() {
            if !self.grant(tag) {
                return;
            }
            queue.wake_first();
        }
        self.count.fetch_and(!WAITERS, Ordering::Relaxed);
    }

    #[inline]
    fn release(&self, mine: u64) {
        let left = self.count.fetch_sub(mine, Ordering::Release) - mine;
        if left == WAITERS {
            self.release_slow();
        }
    }

    #[cold]
    fn release_slow(&self) {
        let mut queue = self.wait.lock();
        self.wake_waiters(&mut queue);
    }
}

impl<'a, T: ?Sized> RwSemaphoreWriteGuard<'a, T> {
    /// Goes on as a reader without letting a writer in between (Linux: `downgrade_write`).
    pub fn downgrade(self) -> RwSemaphoreReadGuard<'a, T> {
        let sem = self.sem;
        core::mem::forget(self);
        let before = sem.count.fetch_add(READER - WRITER, Ordering::Release);
        if before & WAITERS != 0 {
            sem.release_slow(); // readers in front of the queue may come in
        }
        sem.read_guard()
    }
}

impl<T: Default> Default for RwSemaphore<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> Deref for RwSemaphoreReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard proves that no writer is in.
        unsafe { &*self.sem.value.get() }
    }
}
impl<T: ?Sized> Drop for RwSemaphoreReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.sem.release(READER);
    }
}
impl<T: ?Sized> Deref for RwSemaphoreWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard proves that nobody else is in.
        unsafe { &*self.sem.value.get() }
    }
}
impl<T: ?Sized> DerefMut for RwSemaphoreWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.sem.value.get() }
    }
}
impl<T: ?Sized> Drop for RwSemaphoreWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.sem.release(WRITER);
    }
}
