//! Spinning locks (Linux: kernel/locking/spinlock.c).
//!
//! `SpinLock<T, PreemptOff>` is for data that only process context touches; `SpinLock<T, IrqsOff>`
//! for data that interrupt handlers touch as well. The guard restores the context when dropped.
#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::arch;
use crate::kernel::preempt::{PreemptGuard, preempt_disable};

/// What a lock does to the CPU while it is held.
pub trait LockContext {
    /// Undoes it when dropped.
    type Guard;
    /// Enters the context.
    fn enter() -> Self::Guard;
}

/// Preemption off: the lock is never taken in an interrupt.
pub struct PreemptOff;
/// Interrupts and preemption off: the lock may be taken anywhere but in an NMI.
pub struct IrqsOff;

impl LockContext for PreemptOff {
    type Guard = PreemptGuard;
    #[inline]
    fn enter() -> PreemptGuard {
        preempt_disable()
    }
}

impl LockContext for IrqsOff {
    type Guard = IrqGuard;
    #[inline]
    fn enter() -> IrqGuard {
        let flags = arch::local_irq_save();
        IrqGuard {
            flags,
            _preempt: preempt_disable(),
        }
    }
}

/// Interrupts off until dropped; preemption goes on again after the interrupts.
pub struct IrqGuard {
    flags: arch::IrqFlags,
    _preempt: PreemptGuard,
}

impl Drop for IrqGuard {
    #[inline]
    fn drop(&mut self) {
        arch::local_irq_restore(self.flags);
    }
}

/// A spin lock around a value.
pub struct SpinLock<T: ?Sized, C: LockContext = PreemptOff> {
    _context: PhantomData<fn() -> C>,
    inner: spin::mutex::SpinMutex<T>,
}

/// A spin lock that interrupt handlers may take too (Linux: `spin_lock_irqsave`).
pub type IrqSpinLock<T> = SpinLock<T, IrqsOff>;

/// Access to the value; fields drop in order: unlock first, then leave the context.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinLockGuard<'a, T: ?Sized, C: LockContext = PreemptOff> {
    inner: spin::mutex::SpinMutexGuard<'a, T>,
    _context: C::Guard,
    _not_send: PhantomData<*mut ()>,
}

impl<T, C: LockContext> SpinLock<T, C> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            _context: PhantomData,
            inner: spin::mutex::SpinMutex::new(value),
        }
    }
    /// Where the value is, for who knows another reason than the lock why it may be looked at.
    pub(in crate::kernel) fn as_ptr(&self) -> *mut T {
        self.inner.as_mut_ptr()
    }
    /// The value, when nobody can hold the lock any more.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, C: LockContext> SpinLock<T, C> {
    /// Spins until the lock is ours.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T, C> {
        let context = C::enter();
        SpinLockGuard {
            inner: self.inner.lock(),
            _context: context,
            _not_send: PhantomData,
        }
    }
    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T, C>> {
        let context = C::enter();
        let inner = self.inner.try_lock()?;
        Some(SpinLockGuard {
            inner,
            _context: context,
            _not_send: PhantomData,
        })
    }
    /// The value, through exclusive access to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
    /// Whether somebody holds the lock right now.
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

/// Access to the value of a lock that was taken with interrupts off already.
#[must_use = "the lock is released when the guard is dropped"]
pub struct NestedGuard<'a, T: ?Sized> {
    inner: spin::mutex::SpinMutexGuard<'a, T>,
    _not_send: PhantomData<*mut ()>,
}

impl<T: ?Sized> IrqSpinLock<T> {
    /// Takes the lock where interrupts are off anyway, and stay off until the guard is dropped:
    /// cheaper, because nothing has to be saved (Linux: `raw_spin_lock` inside `irqsave`).
    #[inline]
    pub fn lock_irqs_off(&self) -> NestedGuard<'_, T> {
        debug_assert!(arch::irqs_disabled(), "interrupts are on");
        NestedGuard {
            inner: self.inner.lock(),
            _not_send: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for NestedGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for NestedGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, C: LockContext> Deref for SpinLockGuard<'_, T, C> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, C: LockContext> DerefMut for SpinLockGuard<'_, T, C> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: Default, C: LockContext> Default for SpinLock<T, C> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// A reader-writer spin lock (Linux: `rwlock_t`).
pub struct RwSpinLock<T: ?Sized, C: LockContext = PreemptOff> {
    _context: PhantomData<fn() -> C>,
    inner: spin::RwLock<T>,
}

/// Shared access.
#[must_use = "the lock is released when the guard is dropped"]
pub struct ReadGuard<'a, T: ?Sized, C: LockContext> {
    inner: spin::RwLockReadGuard<'a, T>,
    _context: C::Guard,
    _not_send: PhantomData<*mut ()>,
}

/// Exclusive access.
#[must_use = "the lock is released when the guard is dropped"]
pub struct WriteGuard<'a, T: ?Sized, C: LockContext> {
    inner: spin::RwLockWriteGuard<'a, T>,
    _context: C::Guard,
    _not_send: PhantomData<*mut ()>,
}

impl<T, C: LockContext> RwSpinLock<T, C> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            _context: PhantomData,
            inner: spin::RwLock::new(value),
        }
    }
    /// Shared access.
    pub fn read(&self) -> ReadGuard<'_, T, C> {
        let context = C::enter();
        ReadGuard {
            inner: self.inner.read(),
            _context: context,
            _not_send: PhantomData,
        }
    }
    /// Exclusive access.
    pub fn write(&self) -> WriteGuard<'_, T, C> {
        let context = C::enter();
        WriteGuard {
            inner: self.inner.write(),
            _context: context,
            _not_send: PhantomData,
        }
    }
}

impl<T: ?Sized, C: LockContext> Deref for ReadGuard<'_, T, C> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}
impl<T: ?Sized, C: LockContext> Deref for WriteGuard<'_, T, C> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}
impl<T: ?Sized, C: LockContext> DerefMut for WriteGuard<'_, T, C> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_irq_lock_restores_the_interrupt_state_it_found() {
        let lock: IrqSpinLock<u32> = SpinLock::new(1);
        {
            let _held = lock.lock();
            assert!(arch::irqs_disabled());
            assert!(lock.try_lock().is_none());
        }
        assert!(!arch::irqs_disabled());
        assert_eq!(arch::preempt_count(), 0);
    }
}
