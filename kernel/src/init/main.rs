//! The boot path (Linux: init/main.c). Placeholder until the real one is merged.

/// The first portable code.
///
/// On entry: interrupts off, the loader's page tables, initial stack, per-CPU template.
pub fn start_kernel() -> ! {
    pr_notice!("Linux version 6.0.0-kindling");
    crate::arch::qemu_exit(0x10);
    crate::arch::machine_halt()
}
