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
    __setup, arch_initcall, arch_initcall_sync, console_initcall, core_initcall,
    core_initcall_sync, device_initcall, device_initcall_sync, early_initcall, early_param,
    fs_initcall, fs_initcall_sync, late_initcall, late_initcall_sync, postcore_initcall,
    postcore_initcall_sync, pure_initcall, rootfs_initcall, subsys_initcall, subsys_initcall_sync,
};
pub use crate::{
    pr_alert, pr_cont, pr_crit, pr_debug, pr_emerg, pr_err, pr_info, pr_notice, pr_warn,
};

/// The kernel's result: every failure is one of Linux's errno values.
pub type Result<T = (), E = Errno> = core::result::Result<T, E>;
