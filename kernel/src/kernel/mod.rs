//! The core kernel (Linux: kernel/).

#[macro_use]
pub mod printk;
#[macro_use]
pub mod bug;
pub mod cpu;
pub mod cred;
pub mod entry;
pub mod exit;
pub mod irq;
pub mod locking;
pub mod panic;
pub mod preempt;
pub mod ratelimit;
pub mod resource;
pub mod sched;
pub mod signal;
pub mod softirq;
pub mod syscall;
pub mod time;
