//! Initcall tables (Linux: include/linux/init.h). Entries are function pointers in sections that
//! the linker script sorts; `do_initcalls` walks them.

use crate::prelude::*;

/// What an initcall looks like (Linux: `initcall_t`).
pub type Initcall = fn() -> Result;

/// Puts a function pointer into a section; the base of the initcall macros.
#[macro_export]
#[cfg_attr(target_os = "none", allow_internal_unsafe)]
macro_rules! define_initcall {
    ($section:literal, $function:path) => {
        const _: () = {
            #[used]
            #[cfg_attr(target_os = "none", unsafe(link_section = $section))]
            static INITCALL: $crate::init::initcall::Initcall = $function;
        };
    };
}

/// Runs before the other CPUs are started.
#[macro_export]
macro_rules! early_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcallearly.init", $function);
    };
}
/// Level 0: no dependencies at all.
#[macro_export]
macro_rules! pure_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall0.init", $function);
    };
}
/// Level 1.
#[macro_export]
macro_rules! core_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall1.init", $function);
    };
}
/// After every level-1 call.
#[macro_export]
macro_rules! core_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall1s.init", $function);
    };
}
/// Level 2: buses.
#[macro_export]
macro_rules! postcore_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall2.init", $function);
    };
}
/// After every level-2 call.
#[macro_export]
macro_rules! postcore_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall2s.init", $function);
    };
}
/// Level 3: architecture.
#[macro_export]
macro_rules! arch_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall3.init", $function);
    };
}
/// After every level-3 call.
#[macro_export]
macro_rules! arch_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall3s.init", $function);
    };
}
/// Level 4: subsystems.
#[macro_export]
macro_rules! subsys_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall4.init", $function);
    };
}
/// After every level-4 call.
#[macro_export]
macro_rules! subsys_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall4s.init", $function);
    };
}
/// Level 5: file systems.
#[macro_export]
macro_rules! fs_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall5.init", $function);
    };
}
/// After every level-5 call.
#[macro_export]
macro_rules! fs_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall5s.init", $function);
    };
}
/// Between 5s and 6: fills the root file system.
#[macro_export]
macro_rules! rootfs_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcallrootfs.init", $function);
    };
}
/// Level 6: drivers.
#[macro_export]
macro_rules! device_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall6.init", $function);
    };
}
/// After every level-6 call.
#[macro_export]
macro_rules! device_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall6s.init", $function);
    };
}
/// Level 7.
#[macro_export]
macro_rules! late_initcall {
    ($function:path) => {
        $crate::define_initcall!(".initcall7.init", $function);
    };
}
/// After every level-7 call.
#[macro_export]
macro_rules! late_initcall_sync {
    ($function:path) => {
        $crate::define_initcall!(".initcall7s.init", $function);
    };
}
/// Run inside `console_init`.
#[macro_export]
macro_rules! console_initcall {
    ($function:path) => {
        $crate::define_initcall!(".con_initcall.init", $function);
    };
}
