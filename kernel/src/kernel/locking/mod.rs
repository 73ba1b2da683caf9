//! Locks (Linux: kernel/locking/). The type of a lock says which context may take it.

pub mod local_lock;
pub mod mutex;
pub mod rwsem;
pub mod semaphore;
pub mod spinlock;

pub use local_lock::{LocalIrqGuard, local_lock_irqsave};
pub use mutex::{Mutex, MutexGuard};
pub use rwsem::{RwSemaphore, RwSemaphoreReadGuard, RwSemaphoreWriteGuard};
pub use semaphore::Semaphore;
pub use spinlock::{
    IrqSpinLock, IrqsOff, LockContext, PreemptOff, RwSpinLock, SpinLock, SpinLockGuard,
};
