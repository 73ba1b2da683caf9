//! The core kernel (Linux: kernel/).

#[macro_use]
pub mod printk;
pub mod async_;
pub mod bug;
pub mod capability;
pub mod cpu;
pub mod cred;
pub mod entry;
pub mod exec_domain;
pub mod exit;
pub mod fork;
pub mod futex;
pub mod groups;
pub mod irq;
pub mod kallsyms;
pub mod kthread;
pub mod locking;
pub mod panic;
pub mod pid;
pub mod preempt;
pub mod ptrace;
pub mod ratelimit;
pub mod rcu;
pub mod reboot;
pub mod resource;
pub mod rseq;
pub mod sched;
pub mod setid;
pub mod signal;
pub mod softirq;
pub mod sys;
pub mod syscall;
pub mod sysctl;
pub mod time;
pub mod workqueue;
