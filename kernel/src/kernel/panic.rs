//! The end of the kernel (Linux: kernel/panic.c).
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::arch;
use crate::kernel::printk;
use crate::prelude::*;

/// `panic=`: seconds until the restart; 0 waits for ever, negative restarts at once.
pub static PANIC_TIMEOUT: AtomicI32 = AtomicI32::new(0);
/// `oops=panic`: an oops ends the kernel.
pub static PANIC_ON_OOPS: AtomicBool = AtomicBool::new(false);
/// `panic_on_warn=1`: a warning ends the kernel.
pub static PANIC_ON_WARN: AtomicBool = AtomicBool::new(false);
/// `kindling.qemu_exit`: end QEMU through its exit device after a panic.
static QEMU_EXIT: AtomicBool = AtomicBool::new(false);

/// What QEMU's exit device gets after a panic (QEMU then exits with `code << 1 | 1`).
pub const QEMU_EXIT_PANIC: u32 = 0x11;
/// What a test writes when it passed.
pub const QEMU_EXIT_SUCCESS: u32 = 0x10;

/// CPU that panics, plus one; 0 while there is none.
static PANIC_CPU: AtomicU32 = AtomicU32::new(0);

/// Why the kernel's state is not what its authors vouch for (Linux: `TAINT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Taint {
    /// An oops happened ('D').
    Die = 7,
    /// A warning was printed ('W').
    Warn = 9,
    /// A lock-up was detected ('L').
    SoftLockup = 14,
    /// Tests ran ('N').
    Test = 18,
}

static TAINTED: AtomicU64 = AtomicU64::new(0);

/// Letters of the taint bits; a blank for a bit that is clear, 'G' for "no proprietary module".
const TAINT_LETTERS: &[u8; 19] = b"PFSRMBUDAWCIOELKXTN";

/// Sets a taint bit.
pub fn add_taint(taint: Taint) {
    TAINTED.fetch_or(1 << taint as u8, Ordering::Relaxed);
}

/// The bits (/proc/sys/kernel/tainted).
pub fn tainted() -> u64 {
    TAINTED.load(Ordering::Relaxed)
}

/// `Not tainted`, or `Tainted: G      D W` (Linux: `print_tainted`).
pub fn print_tainted() -> String {
    taint_text(tainted())
}

fn taint_text(bits: u64) -> String {
    if bits == 0 {
        return String::from("Not tainted");
    }
    let letter = |(bit, letter): (usize, &u8)| match (bit, bits & 1 << bit != 0) {
        (_, true) => char::from(*letter),
        (0, false) => 'G',
        (_, false) => ' ',
    };
    let letters: String = TAINT_LETTERS.iter().enumerate().map(letter).collect();
    format!("Tainted: {letters}")
}

/// Whether a panic is under way.
pub fn in_panic() -> bool {
    PANIC_CPU.load(Ordering::Relaxed) != 0
}

/// Prints the message and stops for ever, or restarts (`panic=`). Any context.
///
/// The other CPUs are stopped, the consoles flushed whoever holds them.
pub fn panic(args: fmt::Arguments<'_>) -> ! {
    arch::local_irq_disable();
    let _never_preempted = core::mem::ManuallyDrop::new(crate::kernel::preempt::preempt_disable());
    let me = arch::smp_processor_id() as u32 + 1;
    if let Err(first) = PANIC_CPU.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed) {
        if first != me {
            arch::panic_smp_self_stop(); // the first one speaks
        }
        // The panic panicked: say so with the least that can work, then stop.
        arch::early_console_write(b"Kernel panic - not syncing: recursive panic\n");
        finish();
    }
    printk::set_console_loglevel(15);
    pr_emerg!("Kernel panic - not syncing: {args}");
    dump_stack_unless_oops();
    arch::stop_other_cpus(); // nobody holds the consoles for long any more
    printk::console_flush_on_panic();
    restart_after_timeout();
    pr_emerg!("---[ end Kernel panic - not syncing: {args} ]---");
    printk::console_flush_on_panic();
    finish();
}

/// An oops has printed a back trace already.
fn dump_stack_unless_oops() {
    if tainted() & 1 << Taint::Die as u8 == 0 {
        arch::dump_stack();
    }
}

fn restart_after_timeout() {
    let timeout = PANIC_TIMEOUT.load(Ordering::Relaxed);
    if timeout == 0 {
        return;
    }
    if timeout > 0 {
        pr_emerg!("Rebooting in {timeout} seconds..");
        printk::console_flush_on_panic();
        for _ in 0..timeout * 10 {
            arch::mdelay(100);
        }
    }
    exit_qemu();
    arch::machine_restart();
}

fn exit_qemu() {
    if QEMU_EXIT.load(Ordering::Relaxed) {
        arch::qemu_exit(QEMU_EXIT_PANIC);
    }
}

fn finish() -> ! {
    exit_qemu();
    arch::local_irq_disable();
    arch::machine_halt()
}

/// panic() with a format string.
#[macro_export]
macro_rules! kpanic {
    ($($arg:tt)*) => { $crate::kernel::panic::panic(format_args!($($arg)*)) };
}

#[cfg(target_os = "none")]
mod rust_panic {
    /// A Rust panic is Linux's BUG(): the kernel's own code went wrong.
    #[panic_handler]
    fn panic_handler(info: &core::panic::PanicInfo<'_>) -> ! {
        crate::arch::local_irq_disable();
        pr_emerg!("------------[ cut here ]------------");
        match info.location() {
            Some(at) => pr_emerg!("kernel BUG at {}:{}!", at.file(), at.line()),
            None => pr_emerg!("kernel BUG!"),
        }
        super::panic(format_args!("{}", info.message()))
    }
}

fn panic_timeout(value: &str) -> Result {
    PANIC_TIMEOUT.store(value.parse().map_err(|_| Errno::EINVAL)?, Ordering::Relaxed);
    Ok(())
}
early_param!("panic", panic_timeout);

fn oops_setup(value: &str) -> Result {
    if value == "panic" {
        PANIC_ON_OOPS.store(true, Ordering::Relaxed);
    }
    Ok(())
}
early_param!("oops", oops_setup);

fn panic_on_warn(value: &str) -> Result {
    PANIC_ON_WARN.store(value != "0", Ordering::Relaxed);
    Ok(())
}
early_param!("panic_on_warn", panic_on_warn);

fn qemu_exit(_value: &str) -> Result {
    QEMU_EXIT.store(true, Ordering::Relaxed);
    Ok(())
}
early_param!("kindling.qemu_exit", qemu_exit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taint_letters_stand_at_their_bits() {
        assert_eq!(taint_text(0), "Not tainted");
        let warned = 1 << Taint::Warn as u8;
        assert_eq!(taint_text(warned), "Tainted: G        W         ");
    }
}
