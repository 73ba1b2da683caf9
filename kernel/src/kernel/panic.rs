//! The end of the kernel, and what is known on the way there (Linux: kernel/panic.c).
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::arch;
use crate::kernel::sched::task::TASK_COMM_LEN;
use crate::prelude::*;

/// CPUs that print an oops right now.
static OOPS_IN_PROGRESS: AtomicU32 = AtomicU32::new(0);
/// `oops=panic`.
static PANIC_ON_OOPS: AtomicBool = AtomicBool::new(false);
/// Taint bit 7: there was an oops.
static TAINTED_DIE: AtomicBool = AtomicBool::new(false);
/// Taint bit 9: there was a warning.
static TAINTED_WARN: AtomicBool = AtomicBool::new(false);

/// Stops the machine with Linux's last words. Any context.
pub fn panic(args: fmt::Arguments<'_>) -> ! {
    pr_emerg!("Kernel panic - not syncing: {args}");
    pr_emerg!("---[ end Kernel panic - not syncing: {args} ]---");
    arch::qemu_exit(1);
    arch::machine_halt()
}

/// Before an oops is printed.
pub fn oops_enter() {
    OOPS_IN_PROGRESS.fetch_add(1, Ordering::Relaxed);
}
/// After an oops: the end marker.
pub fn oops_exit() {
    OOPS_IN_PROGRESS.fetch_sub(1, Ordering::Relaxed);
    print_oops_end_marker();
}
/// The line under a report that tools look for.
pub fn print_oops_end_marker() {
    printk_default(format_args!("---[ end trace {:016x} ]---", 0));
}
/// Whether an oops ends the machine.
pub fn panic_on_oops() -> bool {
    PANIC_ON_OOPS.load(Ordering::Relaxed)
}
/// Remembers that there was an oops.
pub fn add_taint_die() {
    TAINTED_DIE.store(true, Ordering::Relaxed);
}
/// Remembers that there was a warning.
pub fn add_taint_warn() {
    TAINTED_WARN.store(true, Ordering::Relaxed);
}

/// `Not tainted`, or `Tainted: ` and a letter or blank for each kind (Linux: `print_tainted`).
pub struct Tainted;

impl fmt::Display for Tainted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let die = TAINTED_DIE.load(Ordering::Relaxed);
        let warn = TAINTED_WARN.load(Ordering::Relaxed);
        if !die && !warn {
            return f.write_str("Not tainted");
        }
        let letter = |set, letter| if set { letter } else { ' ' };
        write!(f, "Tainted: G      {} {}        ", letter(die, 'D'), letter(warn, 'W'))
    }
}

fn printk_default(args: fmt::Arguments<'_>) {
    crate::kernel::printk::printk(4, args);
}

/// The line about CPU and task in every report (Linux: lib/dump_stack.c,
/// `dump_stack_print_info`). Any context.
pub fn dump_stack_print_info() {
    let (pid, comm) = running_task();
    let len = comm.iter().position(|&b| b == 0).unwrap_or(TASK_COMM_LEN);
    printk_default(format_args!(
        "CPU: {} PID: {pid} Comm: {} {Tainted} {} #1",
        arch::smp_processor_id(),
        core::str::from_utf8(&comm[..len]).unwrap_or("?"),
        env!("CARGO_PKG_VERSION"),
    ));
}

/// Number and name of the running task; boot has none yet.
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

fn oops_setup(value: &str) -> Result {
    if value == "panic" {
        PANIC_ON_OOPS.store(true, Ordering::Relaxed);
    }
    Ok(())
}
crate::early_param!("oops", oops_setup);
