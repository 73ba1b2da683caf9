//! Locks (Linux: kernel/locking/). The type of a lock says which context may take it.

pub mod mutex;
pub mod rwsem;
pub mod semaphore;
pub mod spinlock;

pub use mutex::{Mutex, MutexGuard};
pub use rwsem::{RwSemaphoreReadGuard, RwSemaphoreWriteGuard, RwSemaphore};
pub use semaphore::Semaphore;
pub use spinlock::{
    IrqSpinLock, IrqsOff, LockContext, PreemptOff, RwSpinLock, SpinLock, SpinLockGuard,
};
