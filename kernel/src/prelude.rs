//! What nearly every file of the kernel needs.
#![forbid(unsafe_code)]

pub use alloc::boxed::Box;
pub use alloc::format;
pub use alloc::string::String;
pub use alloc::sync::{Arc, Weak};
pub use alloc::vec;
pub use alloc::vec::Vec;

pub use macros::{__init, __initdata, __ref, __ro_after_init, per_cpu};
pub use uapi::errno::Errno;

pub use crate::kernel::locking::{IrqSpinLock, IrqsOff, PreemptOff, SpinLock};
pub use crate::{
    pr_alert, pr_cont, pr_crit, pr_debug, pr_emerg, pr_err, pr_info, pr_notice, pr_warn,
};

/// The kernel's result: every failure is one of Linux's errno values.
pub type Result<T = (), E = Errno> = core::result::Result<T, E>;
