//! printk (Linux: kernel/printk/printk.c).
use core::fmt;
/// Stores a message in the ring buffer and shows it on the consoles. Any context.
pub fn printk(level: u8, args: fmt::Arguments<'_>) {
    let _ = level;
    let mut text = alloc::string::String::new();
    let _ = fmt::write(&mut text, args);
    crate::arch::early_console_write(text.as_bytes());
    crate::arch::early_console_write(b"\n");
}
/// A console driver (Linux: `struct console`).
pub trait Console: Send + Sync {
    /// Name with index, e.g. `ttyS0`.
    fn name(&self) -> &str;
    /// Writes bytes ("\n" is a newline; the driver adds carriage returns). Any context, must not sleep.
    fn write(&self, text: &[u8]);
}
/// Adds a console; the buffered text is replayed on it.
pub fn register_console(console: alloc::sync::Arc<dyn Console>) {
    let _ = console;
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
