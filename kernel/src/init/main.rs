//! The boot path (Linux: init/main.c). Placeholder until the real one is merged.

use crate::arch;
use crate::mm::memblock::memblock;

/// The first portable code.
///
/// On entry: interrupts off, the loader's page tables, initial stack, per-CPU template.
pub fn start_kernel() -> ! {
    pr_notice!("Linux version 6.0.0-kindling");
    arch::setup_arch(|_| ());
    arch::setup_per_cpu_areas(4);
    for range in memblock().memory() {
        pr_info!("memory {:?}", range);
    }
    for range in memblock().reserved() {
        pr_info!("reserved {:?}", range);
    }
    arch::debug_checkwx();
    arch::mark_rodata_ro();
    arch::debug_checkwx();
    if let Some(initrd) = arch::initrd() {
        pr_info!("initrd {:?}", &initrd[..6]);
    }
    pr_info!(
        "cpu {} offset {:#x}",
        arch::smp_processor_id(),
        arch::this_cpu_offset()
    );
    arch::x86::kernel::cpu::print_cpu_info("CPU0: ");
    arch::qemu_exit(0x10);
    arch::machine_halt()
}
