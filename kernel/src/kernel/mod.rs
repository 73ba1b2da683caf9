//! The core kernel (Linux: kernel/).

#[macro_use]
pub mod printk;
pub mod cpu;
pub mod cred;
pub mod locking;
pub mod panic;
pub mod preempt;
pub mod resource;
pub mod sched;
pub mod signal;
pub mod syscall;
pub mod time;
