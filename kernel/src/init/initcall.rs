//! Initcall tables (Linux: include/linux/init.h). Entries are function pointers in sections that
//! the linker script sorts; `do_initcalls` walks them.

#![deny(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::kernel::kallsyms;
use crate::kernel::sched::current;
use crate::kernel::time::ktime_get;
use crate::prelude::*;

/// What an initcall looks like (Linux: `initcall_t`).
pub type Initcall = fn() -> Result;

/// A level and its entries, as the linker script lays them out.
struct Level {
    name: &'static str,
    entries: &'static [Initcall],
}

/// The levels of `do_initcalls` (Linux: `initcall_level_names`). The rootfs entries lie inside
/// level 5's range.
#[__initdata]
static LEVEL_NAMES: [&str; 8] = [
    "pure", "core", "postcore", "arch", "subsys", "fs", "device", "late",
];

/// `initcall_debug`: print every call with its result and time.
static INITCALL_DEBUG: AtomicBool = AtomicBool::new(false);

fn initcall_debug(value: &str) -> Result {
    INITCALL_DEBUG.store(!matches!(value, "0" | "n" | "N"), Ordering::Relaxed);
    Ok(())
}
early_param!("initcall_debug", initcall_debug);

/// Names that `initcall_blacklist=` forbids.
static BLACKLIST: SpinLock<Vec<String>> = SpinLock::new(Vec::new());

#[__init]
fn initcall_blacklist(value: &str) -> Result {
    for name in value.split(',').filter(|name| !name.is_empty()) {
        pr_debug!("blacklisting initcall {name}");
        BLACKLIST.lock().push(String::from(name));
    }
    Ok(())
}
__setup!("initcall_blacklist=", initcall_blacklist);

fn is_blacklisted(name: &str) -> bool {
    let blacklisted = BLACKLIST.lock().iter().any(|entry| entry == name);
    if blacklisted {
        pr_debug!("initcall {name} blacklisted");
    }
    blacklisted
}

/// Runs one call, watches that it leaves the CPU as it found it (Linux: `do_one_initcall`).
///
/// Errors: EPERM when it is blacklisted, else what the call returns.
pub fn do_one_initcall(call: Initcall) -> Result {
    let symbol = kallsyms::symbol_of(call as usize as u64);
    if is_blacklisted(kallsyms::bare_name(&symbol)) {
        return Err(Errno::EPERM);
    }
    let debug = INITCALL_DEBUG.load(Ordering::Relaxed);
    let preempt_before = arch::preempt_count();
    let start = ktime_get();
    if debug {
        pr_debug!("calling  {symbol} @ {}", current().pid());
    }
    let result = call();
    if debug {
        let code = result.map_or_else(|errno| -errno.code(), |()| 0);
        let usecs = (ktime_get() - start) / 1000;
        pr_debug!("initcall {symbol} returned {code} after {usecs} usecs");
    }
    check_tripwires(&symbol, preempt_before);
    result
}

/// What a call may have left behind is repaired and reported.
fn check_tripwires(symbol: &str, preempt_before: i32) {
    let mut complaint = String::new();
    let preempt_now = arch::preempt_count();
    if preempt_now != preempt_before {
        complaint.push_str("preemption imbalance ");
        arch::preempt_count_add(preempt_before - preempt_now);
    }
    if arch::irqs_disabled() {
        complaint.push_str("disabled interrupts ");
        arch::local_irq_enable();
    }
    if !complaint.is_empty() {
        crate::kernel::bug::warn_slowpath(Some(format_args!(
            "initcall {symbol} returned with {complaint}"
        )));
    }
}

/// The calls before the other CPUs start (Linux: `do_pre_smp_initcalls`).
#[__init]
pub fn do_pre_smp_initcalls() {
    for call in arch::sections::initcalls_early() {
        let _ = do_one_initcall(*call);
    }
}

/// All levels in order (Linux: `do_initcalls`).
#[__init]
pub fn do_initcalls() {
    for (name, entries) in LEVEL_NAMES.iter().zip(arch::sections::initcall_levels()) {
        do_initcall_level(&Level { name, entries });
    }
}

#[__init]
fn do_initcall_level(level: &Level) {
    if INITCALL_DEBUG.load(Ordering::Relaxed) {
        pr_debug!("entering initcall level: {}", level.name);
    }
    for call in level.entries {
        let _ = do_one_initcall(*call);
    }
}

/// The console drivers' calls; run inside `console_init`.
#[__init]
pub fn do_console_initcalls() {
    for call in arch::sections::con_initcalls() {
        let _ = do_one_initcall(*call);
    }
}

/// Fewest entries that a correct link has; a lost object file would be noticed here.
const MIN_INITCALLS: usize = 8;

/// Stops the boot when the linker dropped the tables.
#[__init]
pub fn assert_counts() {
    let levels: usize = arch::sections::initcall_levels()
        .iter()
        .map(|level| level.len())
        .sum();
    let early = arch::sections::initcalls_early().len();
    assert!(
        levels + early >= MIN_INITCALLS,
        "initcall tables lost entries: {early} + {levels}"
    );
    pr_debug!("initcalls: {early} early, {levels} in levels");
}

/// Constructors (`.init_array`); Rust makes none, but objects that are linked in may
/// (Linux: `do_ctors`).
#[__init]
pub fn do_ctors() {
    for constructor in arch::sections::constructors() {
        constructor();
    }
}

/// Puts a function pointer into a section; the base of the initcall macros. The section's name ends with the source
/// file's, by which the linker script sorts: inside a level the order is that of the paths, whatever is linked first.
#[macro_export]
#[cfg_attr(target_os = "none", allow_internal_unsafe)]
#[allow(
    unsafe_code,
    reason = "vouches for link_section, which the linker script gives a meaning"
)]
macro_rules! define_initcall {
    ($section:literal, $function:path) => {
        const _: () = {
            #[used]
            #[cfg_attr(target_os = "none", unsafe(link_section = concat!($section, ".", file!())))]
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
