//! `WARN_ON` and `BUG` (Linux: lib/bug.c, include/asm-generic/bug.h, kernel/panic.c `__warn`).
#![forbid(unsafe_code)]

use core::fmt;
use core::panic::Location;
use core::sync::atomic::Ordering;

use crate::arch;
use crate::init::version;
use crate::kernel::kallsyms::SymbolAt;
use crate::kernel::panic::{self, Taint};
use crate::kernel::sched::task::TASK_COMM_LEN;

/// First line of every report.
pub const CUT_HERE: &str = "------------[ cut here ]------------";

/// Prints a warning with a stack trace and goes on; use the `warn_on!` macro. Any context.
#[cold]
#[inline(never)]
#[track_caller]
pub fn warn_slowpath(message: Option<fmt::Arguments<'_>>) {
    let at = Location::caller();
    pr_warn!("{CUT_HERE}");
    if let Some(message) = message {
        pr_warn!("{message}");
    }
    let pid = if arch::current_ptr().is_null() {
        0
    } else {
        crate::kernel::sched::current().pid()
    };
    pr_warn!(
        "WARNING: CPU: {} PID: {pid} at {}:{} {}",
        arch::smp_processor_id(),
        at.file(),
        at.line(),
        SymbolAt(arch::return_address()),
    );
    arch::dump_stack();
    if panic::PANIC_ON_WARN.load(Ordering::Relaxed) {
        panic::panic(format_args!("kernel: panic_on_warn set ..."));
    }
    print_oops_end_marker();
    panic::add_taint(Taint::Warn);
}

/// The line under a report that tools look for (Linux: `print_oops_end_marker`).
pub fn print_oops_end_marker() {
    printk_default(format_args!("---[ end trace {:016x} ]---", 0));
}

/// KERN_DEFAULT.
fn printk_default(args: fmt::Arguments<'_>) {
    crate::kernel::printk::printk(4, args);
}

/// The line about CPU and task in every report (Linux: lib/dump_stack.c,
/// `dump_stack_print_info`). Any context.
pub fn dump_stack_print_info() {
    let (pid, comm) = running_task();
    let len = comm
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(TASK_COMM_LEN);
    printk_default(format_args!(
        "CPU: {} PID: {pid} Comm: {} {} {} #{}",
        arch::smp_processor_id(),
        core::str::from_utf8(&comm[..len]).unwrap_or("?"),
        panic::print_tainted(),
        version::RELEASE,
        version::BUILD,
    ));
}

/// Number and name of the running task; early boot has none yet.
fn running_task() -> (i32, [u8; TASK_COMM_LEN]) {
    let mut comm = [0; TASK_COMM_LEN];
    if arch::current_ptr().is_null() {
        comm[..7].copy_from_slice(b"swapper");
        return (0, comm);
    }
    let task = crate::kernel::sched::current();
    // The name's lock may be held by the code that crashed.
    if let Some(name) = task.comm.try_lock() {
        comm = *name;
    }
    (task.pid(), comm)
}

/// A condition that must not be: reports it and ends the task or the machine; use `bug!`.
#[cold]
#[inline(never)]
#[track_caller]
pub fn bug_slowpath() -> ! {
    let at = Location::caller();
    pr_crit!("{CUT_HERE}");
    pr_crit!("kernel BUG at {}:{}!", at.file(), at.line());
    arch::die_bug()
}

/// Warns with a stack trace if the condition holds; the value is the condition.
/// Further arguments are a message that comes before the report.
#[macro_export]
macro_rules! warn_on {
    ($cond:expr $(,)?) => {{
        let condition: bool = $cond;
        if condition {
            $crate::kernel::bug::warn_slowpath(None);
        }
        condition
    }};
    ($cond:expr, $($arg:tt)+) => {{
        let condition: bool = $cond;
        if condition {
            $crate::kernel::bug::warn_slowpath(Some(format_args!($($arg)+)));
        }
        condition
    }};
}

/// Like `warn_on!`, but each place warns only once.
#[macro_export]
macro_rules! warn_on_once {
    ($cond:expr $(, $($arg:tt)*)?) => {{
        static WARNED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
        let condition: bool = $cond;
        if condition && !WARNED.swap(true, core::sync::atomic::Ordering::Relaxed) {
            let _ = $crate::warn_on!(true $(, $($arg)*)?);
        }
        condition
    }};
}

/// Ends the task, or the machine, because of a bug of the kernel.
#[macro_export]
macro_rules! bug {
    () => {
        $crate::kernel::bug::bug_slowpath()
    };
}

/// `bug!` if the condition holds.
#[macro_export]
macro_rules! bug_on {
    ($cond:expr) => {
        if $cond {
            $crate::kernel::bug::bug_slowpath()
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn warn_on_gives_back_its_condition() {
        assert!(!crate::warn_on!(1 > 2));
        assert!(crate::warn_on!(2 > 1, "two is more than {}", 1));
    }
}
