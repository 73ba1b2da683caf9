//! Panic (Linux: kernel/panic.c). Placeholder until the real one is merged.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::prelude::*;

/// `oops=panic`: an oops ends the kernel.
pub static PANIC_ON_OOPS: AtomicBool = AtomicBool::new(false);
/// `panic_on_warn=1`: a warning ends the kernel.
pub static PANIC_ON_WARN: AtomicBool = AtomicBool::new(false);

/// Why the kernel's state is not what its authors vouch for (Linux: `TAINT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Taint {
    /// An oops happened ('D').
    Die = 7,
    /// A warning was printed ('W').
    Warn = 9,
}

static TAINTED: AtomicU64 = AtomicU64::new(0);

/// Sets a taint bit.
pub fn add_taint(taint: Taint) {
    TAINTED.fetch_or(1 << taint as u8, Ordering::Relaxed);
}
/// `Not tainted`, or the letters.
pub fn print_tainted() -> String {
    match TAINTED.load(Ordering::Relaxed) {
        0 => String::from("Not tainted"),
        bits => format!("Tainted: {bits:#x}"),
    }
}
/// Stops for ever. Any context.
pub fn panic(args: fmt::Arguments<'_>) -> ! {
    pr_emerg!("Kernel panic - not syncing: {args}");
    pr_emerg!("---[ end Kernel panic - not syncing: {args} ]---");
    crate::arch::qemu_exit(0x11);
    crate::arch::machine_halt()
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic_handler(info: &core::panic::PanicInfo<'_>) -> ! {
    panic(format_args!("{info}"))
}
