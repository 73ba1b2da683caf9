//! Panic (Linux: kernel/panic.c). Placeholder until the real one is merged.

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::pr_emerg!("Kernel panic - not syncing: {info}");
    crate::arch::qemu_exit(0x11);
    crate::arch::machine_halt()
}
