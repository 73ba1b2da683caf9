//! Pointers that readers follow without a lock (Linux: `rcu_dereference`, `rcu_assign_pointer`).

use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::read::RcuReadGuard;
use super::update::{drop_rcu, synchronize_rcu};
use crate::prelude::*;

/// A place for an `Arc<T>` or nothing. Readers need a read-side section and no lock; a writer
/// swaps the whole value, and what was there before is kept until every reader has ended.
pub struct Rcu<T: Send + Sync + 'static> {
    /// From `Arc::into_raw`, or null. The reference behind it belongs to this cell.
    pointer: AtomicPtr<T>,
}

impl<T: Send + Sync + 'static> Rcu<T> {
    /// With a value or empty.
    pub fn new(value: Option<Arc<T>>) -> Self {
        Self {
            pointer: AtomicPtr::new(into_ptr(value)),
        }
    }

    /// Empty.
    pub const fn empty() -> Self {
        Self {
            pointer: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The value now; it stays in memory while the section lasts (Linux: `rcu_dereference`).
    #[inline]
    pub fn read<'a>(&'a self, _section: &'a RcuReadGuard) -> Option<&'a T> {
        // Acquire: what the writer stored in the value before it published it is seen.
        let pointer = self.pointer.load(Ordering::Acquire);
        // SAFETY: a pointer that was in the cell after the section began keeps its reference
        // until a grace period has passed (`Retired`), that is until after the section.
        unsafe { pointer.as_ref() }
    }

    /// A counted handle to the value, which may outlive the section.
    #[inline]
    pub fn get(&self, _section: &RcuReadGuard) -> Option<Arc<T>> {
        let pointer = self.pointer.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: as in `read`: the cell's reference is still there, so the count is not zero,
        // and the pointer came from `Arc::into_raw`.
        unsafe {
            Arc::increment_strong_count(pointer);
            Some(Arc::from_raw(pointer))
        }
    }

    /// Publishes another value (Linux: `rcu_replace_pointer`). Writers that depend on what is
    /// there keep a lock of their own. Any context.
    #[must_use = "the old value is retired when this is dropped"]
    pub fn replace(&self, value: Option<Arc<T>>) -> Option<Retired<T>> {
        // Release: the value is complete before readers can find it.
        let old = self.pointer.swap(into_ptr(value), Ordering::AcqRel);
        if old.is_null() {
            return None;
        }
        // SAFETY: the cell owned this reference, and gives it away here.
        let old = unsafe { Arc::from_raw(old) };
        Some(Retired(ManuallyDrop::new(old)))
    }
}

impl<T: Send + Sync + 'static> Drop for Rcu<T> {
    fn drop(&mut self) {
        // Nobody reads the cell any more, or it could not be dropped.
        let pointer = *self.pointer.get_mut();
        if !pointer.is_null() {
            // SAFETY: the cell's own reference.
            drop(unsafe { Arc::from_raw(pointer) });
        }
    }
}

impl<T: Send + Sync + 'static> Default for Rcu<T> {
    fn default() -> Self {
        Self::empty()
    }
}

fn into_ptr<T>(value: Option<Arc<T>>) -> *mut T {
    value.map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut())
}

/// What was taken out of a [`Rcu`]. Readers may still look at it: its reference is given up after
/// a grace period, whatever is done with this handle.
pub struct Retired<T: Send + Sync + 'static>(ManuallyDrop<Arc<T>>);

impl<T: Send + Sync + 'static> Retired<T> {
    /// Waits for the readers and gives the value back. May sleep.
    pub fn synchronize(self) -> Arc<T> {
        synchronize_rcu();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the reference is taken once.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }

    /// Another counted handle, for use after this one.
    pub fn to_arc(&self) -> Arc<T> {
        Arc::clone(&self.0)
    }
}

impl<T: Send + Sync + 'static> Deref for Retired<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: this is dropped once.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        drop_rcu(value);
    }
}
