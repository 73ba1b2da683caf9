//! The boot task: pid 0, `swapper/0` (Linux: init/init_task.c).
//!
//! It exists before anything else and becomes the idle task of the boot CPU. It is not in the
//! task table; pids 1 and 2 are its children.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use crate::kernel::cred::Cred;
use crate::kernel::sched::core::install_boot_task;
use crate::kernel::sched::task::{Task, TaskInit, comm_from, pf, state};
use crate::kernel::signal::{SigHand, SignalStruct};
use crate::prelude::*;

/// Makes the boot task and makes it current. `start_kernel` calls it before anything that asks
/// for `current`; it needs the early heap only.
pub fn setup_boot_task() {
    let task = Task::new(TaskInit {
        signal: Arc::new(SignalStruct::init()),
        sighand: Arc::new(SigHand::default()),
        cred: Arc::new(Cred::root()),
        mm: None,
        fs: None,
        files: None,
        flags: pf::PF_KTHREAD,
        comm: comm_from(b"swapper/0"),
        kthread: None,
        stack: None,
    });
    task.state.store(state::TASK_RUNNING, Ordering::Relaxed);
    install_boot_task(task);
}
