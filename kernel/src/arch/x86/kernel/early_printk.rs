//! Output before any driver (Linux: arch/x86/kernel/early_printk.c).
/// Writes to the first serial port, if there is one.
pub fn early_console_write(bytes: &[u8]) {
    let _ = bytes;
    todo!()
}
