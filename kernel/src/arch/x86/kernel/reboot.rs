//! The way out (Linux: arch/x86/kernel/reboot.c).
/// Stops for ever.
pub fn machine_halt() -> ! {
    todo!()
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
    let _ = code;
    todo!()
}
