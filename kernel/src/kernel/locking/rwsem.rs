//! Sleeping reader-writer locks (Linux: kernel/locking/rwsem.c).
#![forbid(unsafe_code)]

/// A reader-writer lock whose holder may sleep.
pub struct RwSemaphore<T: ?Sized>(spin::RwLock<T>);

/// Shared access.
pub type RwSemaphoreReadGuard<'a, T> = spin::RwLockReadGuard<'a, T>;
/// Exclusive access.
pub type RwSemaphoreWriteGuard<'a, T> = spin::RwLockWriteGuard<'a, T>;

impl<T> RwSemaphore<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self(spin::RwLock::new(value))
    }
}

impl<T: ?Sized> RwSemaphore<T> {
    /// Shared access (Linux: `down_read`).
    pub fn read(&self) -> RwSemaphoreReadGuard<'_, T> {
        self.0.read()
    }
    /// Exclusive access (Linux: `down_write`).
    pub fn write(&self) -> RwSemaphoreWriteGuard<'_, T> {
        self.0.write()
    }
}
