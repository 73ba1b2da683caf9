//! printk (Linux: kernel/printk/printk.c).
//!
//! A message goes into a ring of records first, then to every console that is registered, by
//! whoever gets the console lock: a CPU that finds it taken leaves its message to the holder, so
//! no context ever waits for another (an NMI or a panic included).
#![forbid(unsafe_code)]

pub mod devkmsg;
mod ringbuffer;
mod syslog;

pub use ringbuffer::Record;
pub use syslog::{sys_syslog, syslog_has_unread, syslog_read};

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::arch;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::time::sched_clock;
use crate::prelude::*;
use ringbuffer::RingBuffer;

/// Longest message, bytes (Linux: LOG_LINE_MAX).
const LINE_MAX: usize = 1000;
/// Level of `pr_cont`.
pub const LOGLEVEL_CONT: u8 = 255;
/// The system is unusable.
pub const LOGLEVEL_EMERG: u8 = 0;
/// A message without a level of its own.
pub const LOGLEVEL_DEFAULT: u8 = 4;
/// Something to know.
pub const LOGLEVEL_INFO: u8 = 6;

static RING: IrqSpinLock<RingBuffer> = SpinLock::new(RingBuffer::new());
static CONSOLES: IrqSpinLock<Vec<Registered>> = SpinLock::new(Vec::new());
/// Sleepers in syslog(2) and /dev/kmsg.
pub(crate) static LOG_WAIT: WaitQueueHead = WaitQueueHead::new();
static LOG_WAIT_NEEDED: AtomicBool = AtomicBool::new(false);

/// Messages of a lower number than this go to the consoles (/proc/sys/kernel/printk).
static CONSOLE_LOGLEVEL: AtomicU8 = AtomicU8::new(7);
static IGNORE_LOGLEVEL: AtomicBool = AtomicBool::new(false);
/// Next record that the early console has not shown.
static EARLY_SEQ: AtomicU64 = AtomicU64::new(0);
static EARLY_CONSOLE: AtomicBool = AtomicBool::new(true);

/// A console driver (Linux: `struct console`).
pub trait Console: Send + Sync {
    /// Name with index, e.g. `ttyS0`.
    fn name(&self) -> &str;
    /// Writes bytes; "\n" is a newline, the driver adds what its device wants. Any context, must
    /// not sleep and not wait without bound.
    fn write(&self, text: &[u8]);
    /// The tty device that /dev/console means when this console comes last.
    fn device(&self) -> Option<crate::fs::char_dev::DevT> {
        None
    }
}

struct Registered {
    console: Arc<dyn Console>,
    /// Next record to show.
    seq: u64,
}

/// Stores a message in the ring and shows it on the consoles. Any context.
pub fn printk(level: u8, args: fmt::Arguments<'_>) {
    let mut line = LineBuffer::new();
    let _ = line.write_fmt(args);
    for part in line
        .text()
        .split(|b| *b == b'\n')
        .enumerate()
        .filter(|(i, p)| *i == 0 || !p.is_empty())
    {
        store(level, part.1);
    }
    console_unlock();
}

fn store(level: u8, text: &[u8]) {
    let caller = caller_pid();
    let mut ring = RING.lock();
    if level == LOGLEVEL_CONT {
        ring.append(text, sched_clock(), caller);
    } else {
        ring.push(level, text, sched_clock(), caller);
    }
}

fn caller_pid() -> i32 {
    if arch::current_ptr().is_null() {
        0
    } else {
        crate::kernel::sched::current().pid()
    }
}

/// A message being formatted; what does not fit is cut.
struct LineBuffer {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl LineBuffer {
    fn new() -> Self {
        Self {
            bytes: [0; LINE_MAX],
            len: 0,
        }
    }
    fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for LineBuffer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = LINE_MAX - self.len;
        let n = s.len().min(room);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Shows what the consoles have not shown yet, unless another context is doing that.
fn console_unlock() {
    if let Some(mut consoles) = CONSOLES.try_lock() {
        flush(&mut consoles);
    }
    if LOG_WAIT_NEEDED.load(Ordering::Relaxed) && !in_critical_context() {
        LOG_WAIT.wake_up_all();
    }
}

/// A wake-up takes run-queue locks: not from an NMI, nor with interrupts off, where this very
/// message may come from the scheduler. Readers look again at the next message or tick.
fn in_critical_context() -> bool {
    arch::irqs_disabled() || crate::kernel::preempt::in_interrupt()
}

fn flush(consoles: &mut [Registered]) {
    if consoles.is_empty() {
        if EARLY_CONSOLE.load(Ordering::Relaxed) {
            let seq = show_from(
                EARLY_SEQ.load(Ordering::Relaxed),
                &arch::early_console_write,
            );
            EARLY_SEQ.store(seq, Ordering::Relaxed);
        }
        return;
    }
    for entry in consoles.iter_mut() {
        let console = entry.console.clone();
        entry.seq = show_from(entry.seq, &|text: &[u8]| console.write(text));
    }
}

/// Shows the records from `seq` on; returns the next one.
fn show_from(mut seq: u64, write: &dyn Fn(&[u8])) -> u64 {
    let mut text = [0u8; LINE_MAX + 64];
    loop {
        // The ring is not held while a slow console prints.
        let Some((next, level, len)) = RING.lock().format(seq, &mut text) else {
            return seq;
        };
        if level < CONSOLE_LOGLEVEL.load(Ordering::Relaxed)
            || IGNORE_LOGLEVEL.load(Ordering::Relaxed)
        {
            write(&text[..len]);
        }
        seq = next;
    }
}

/// Adds a console (Linux: `register_console`). It gets the whole log, except when the early
/// console has shown it on the same device (`replay` false): then it goes on from there.
pub fn register_console(console: Arc<dyn Console>, replay: Replay) {
    let name = String::from(console.name());
    let early = EARLY_CONSOLE.load(Ordering::Relaxed);
    let seq = match replay {
        Replay::All => 0,
        Replay::AfterEarly if early => EARLY_SEQ.load(Ordering::Relaxed),
        Replay::AfterEarly => RING.lock().next_seq(),
    };
    CONSOLES.lock().push(Registered { console, seq });
    EARLY_CONSOLE.store(false, Ordering::Relaxed);
    pr_info!("printk: legacy console [{name}] enabled");
}

/// What a new console shows first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replay {
    /// Everything in the ring.
    All,
    /// Only what the early console has not shown on this device.
    AfterEarly,
}

/// Whether `console=` names this console.
pub fn console_requested(name: &str) -> bool {
    CONSOLE_OPTIONS.lock().iter().any(|option| option == name)
}

/// Names of the consoles in order of registration; the last is /dev/console's.
pub fn console_names() -> Vec<String> {
    CONSOLES
        .lock()
        .iter()
        .map(|entry| String::from(entry.console.name()))
        .collect()
}

/// The device that /dev/console stands for.
pub fn console_device() -> Option<crate::fs::char_dev::DevT> {
    CONSOLES
        .lock()
        .iter()
        .rev()
        .find_map(|entry| entry.console.device())
}

/// Makes the console `name` (as in `console=ttyS0`) the preferred one: it comes last.
pub fn prefer_console(name: &str) {
    let mut consoles = CONSOLES.lock();
    if let Some(index) = consoles
        .iter()
        .position(|entry| entry.console.name() == name)
    {
        let entry = consoles.remove(index);
        consoles.push(entry);
    }
}

/// Words of `console=`, in order; the last one is /dev/console.
static CONSOLE_OPTIONS: IrqSpinLock<Vec<String>> = SpinLock::new(Vec::new());

fn console_setup(value: &str) -> Result {
    let name = value.split(',').next().unwrap_or("");
    // "tty" and "tty0" are the foreground virtual terminal.
    let name = if name == "tty" { "tty0" } else { name };
    if !name.is_empty() {
        CONSOLE_OPTIONS.lock().push(String::from(name));
    }
    Ok(())
}
__setup!("console=", console_setup);

/// Whether a console of this name is wanted: all are, when `console=` is not given.
pub fn console_wanted(name: &str) -> bool {
    let options = CONSOLE_OPTIONS.lock();
    options.is_empty() || options.iter().any(|option| option == name)
}

/// Brings the consoles into the order of `console=`.
pub fn apply_console_options() {
    let options = CONSOLE_OPTIONS.lock().clone();
    for name in &options {
        prefer_console(name);
    }
}

/// panic(): show everything, whoever holds the console lock is stopped by now
/// (Linux: `console_flush_on_panic`).
pub fn console_flush_on_panic() {
    for _ in 0..100_000 {
        if let Some(mut consoles) = CONSOLES.try_lock() {
            flush(&mut consoles);
            return;
        }
        arch::cpu_relax();
    }
    show_from(
        EARLY_SEQ.load(Ordering::Relaxed),
        &arch::early_console_write,
    );
}

/// Messages below this level are shown.
pub fn console_loglevel() -> u8 {
    CONSOLE_LOGLEVEL.load(Ordering::Relaxed)
}

/// Changes the level, 1..=15.
pub fn set_console_loglevel(level: u8) {
    CONSOLE_LOGLEVEL.store(level.clamp(1, 15), Ordering::Relaxed);
}

fn loglevel(value: &str) -> Result {
    set_console_loglevel(value.trim().parse::<u8>().map_err(|_| Errno::EINVAL)?);
    Ok(())
}
early_param!("loglevel", loglevel);

fn debug_kernel(_value: &str) -> Result {
    set_console_loglevel(10);
    Ok(())
}
early_param!("debug", debug_kernel);

fn quiet_kernel(_value: &str) -> Result {
    set_console_loglevel(4);
    Ok(())
}
early_param!("quiet", quiet_kernel);

fn ignore_loglevel(_value: &str) -> Result {
    IGNORE_LOGLEVEL.store(true, Ordering::Relaxed);
    pr_info!("debug: ignoring loglevel setting.");
    Ok(())
}
early_param!("ignore_loglevel", ignore_loglevel);

/// `log_buf_len=n[KMG]`: a larger ring, kept until `setup_log_buf`.
static LOG_BUF_LEN: AtomicU64 = AtomicU64::new(0);

fn log_buf_len(value: &str) -> Result {
    let (bytes, _) = crate::lib::cmdline::memparse(value);
    if bytes == 0 {
        return Err(Errno::EINVAL);
    }
    LOG_BUF_LEN.store(bytes.min(1 << 24).next_power_of_two(), Ordering::Relaxed);
    Ok(())
}
early_param!("log_buf_len", log_buf_len);

/// Moves the log into a larger buffer when `log_buf_len=` asks for one (Linux: `setup_log_buf`).
#[__init]
pub fn setup_log_buf() {
    let wanted = LOG_BUF_LEN.load(Ordering::Relaxed) as usize;
    let mut ring = RING.lock();
    if wanted <= ring.size() {
        return;
    }
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(wanted).is_err() {
        drop(ring);
        pr_err!("printk: log_buf_len: {} bytes not available", wanted);
        return;
    }
    bytes.resize(wanted, 0);
    let free = ring.grow(bytes);
    let early = ring.early_size();
    drop(ring);
    pr_info!("printk: log_buf_len: {} bytes", wanted);
    pr_info!(
        "printk: early log buf free: {}({}%)",
        free,
        free * 100 / early
    );
}

/// KERN_EMERG.
#[macro_export]
macro_rules! pr_emerg {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(0, format_args!($($arg)*)) };
}
/// KERN_ALERT.
#[macro_export]
macro_rules! pr_alert {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(1, format_args!($($arg)*)) };
}
/// KERN_CRIT.
#[macro_export]
macro_rules! pr_crit {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(2, format_args!($($arg)*)) };
}
/// KERN_ERR.
#[macro_export]
macro_rules! pr_err {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(3, format_args!($($arg)*)) };
}
/// KERN_WARNING.
#[macro_export]
macro_rules! pr_warn {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(4, format_args!($($arg)*)) };
}
/// KERN_NOTICE.
#[macro_export]
macro_rules! pr_notice {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(5, format_args!($($arg)*)) };
}
/// KERN_INFO.
#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(6, format_args!($($arg)*)) };
}
/// KERN_DEBUG.
#[macro_export]
macro_rules! pr_debug {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(7, format_args!($($arg)*)) };
}
/// KERN_CONT: continues the line before.
#[macro_export]
macro_rules! pr_cont {
    ($($arg:tt)*) => { $crate::kernel::printk::printk(255, format_args!($($arg)*)) };
}
