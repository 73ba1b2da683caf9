//! The way out (Linux: arch/x86/kernel/reboot.c).
/// Stops for ever.
pub fn machine_halt() -> ! {
    loop {
        crate::arch::local_irq_disable();
        // SAFETY: stops this CPU; that is what is asked for.
        unsafe { core::arch::asm!("hlt", options(nomem, nostack)) };
    }
}
/// Switches off through ACPI.
pub fn machine_power_off() -> ! {
    todo!()
}
/// Restarts.
pub fn machine_restart() -> ! {
    todo!()
}
/// Ends QEMU through its exit device (isa-debug-exit), when that is there.
pub fn qemu_exit(code: u32) {
    // SAFETY: port 0xf4 is QEMU's exit device or nothing.
    unsafe { crate::arch::x86::asm::io::outl(0xf4, code) };
}
