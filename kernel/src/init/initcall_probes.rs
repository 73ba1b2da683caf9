//! Initcalls that only test images carry: one at each level tells that it ran, and three break a rule each, so that
//! the tripwires of `do_one_initcall` are seen to work.

#![forbid(unsafe_code)]

use crate::arch;
use crate::prelude::*;

/// A call that prints the level at which it was registered.
macro_rules! level_probe {
    ($register:ident, $function:ident, $level:literal) => {
        #[__init]
        fn $function() -> Result {
            pr_info!("initcall probe: level {}", $level);
            Ok(())
        }
        $register!($function);
    };
}

level_probe!(early_initcall, probe_early, "early");
level_probe!(pure_initcall, probe_pure, "0");
level_probe!(core_initcall, probe_core, "1");
level_probe!(core_initcall_sync, probe_core_sync, "1s");
level_probe!(postcore_initcall, probe_postcore, "2");
level_probe!(postcore_initcall_sync, probe_postcore_sync, "2s");
level_probe!(arch_initcall, probe_arch, "3");
level_probe!(arch_initcall_sync, probe_arch_sync, "3s");
level_probe!(subsys_initcall, probe_subsys, "4");
level_probe!(subsys_initcall_sync, probe_subsys_sync, "4s");
level_probe!(fs_initcall, probe_fs, "5");
level_probe!(fs_initcall_sync, probe_fs_sync, "5s");
level_probe!(rootfs_initcall, probe_rootfs, "rootfs");
level_probe!(device_initcall, probe_device, "6");
level_probe!(device_initcall_sync, probe_device_sync, "6s");
level_probe!(late_initcall, probe_late, "7");
level_probe!(late_initcall_sync, probe_late_sync, "7s");

/// Returns with preemption off once more than it was called.
#[__init]
fn probe_preemption_imbalance() -> Result {
    arch::preempt_count_add(1);
    Ok(())
}
late_initcall!(probe_preemption_imbalance);

/// Returns with interrupts off.
#[__init]
fn probe_disabled_interrupts() -> Result {
    arch::local_irq_disable();
    Ok(())
}
late_initcall!(probe_disabled_interrupts);

/// Breaks both rules.
#[__init]
fn probe_both_imbalances() -> Result {
    arch::preempt_count_add(1);
    arch::local_irq_disable();
    Ok(())
}
late_initcall!(probe_both_imbalances);

/// Fails, which is nobody's business but its own.
#[__init]
fn probe_failure() -> Result {
    Err(Errno::EINVAL)
}
late_initcall!(probe_failure);
