//! Locks (Linux: kernel/locking/). The type of a lock says which context may take it.

pub mod spinlock;

pub use spinlock::{
    IrqSpinLock, IrqsOff, LockContext, PreemptOff, RwSpinLock, SpinLock, SpinLockGuard,
};
