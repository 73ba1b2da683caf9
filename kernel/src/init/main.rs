//! The boot path (Linux: init/main.c). Placeholder until the real one is merged.

use crate::arch;
use crate::kernel::cpu;
use crate::mm;

/// The first portable code.
///
/// On entry: interrupts off, the loader's page tables, initial stack, per-CPU template.
pub fn start_kernel() -> ! {
    pr_notice!("Linux version 6.0.0-kindling");
    cpu::boot_cpu_init();
    arch::setup_arch();
    cpu::CPU_POSSIBLE.set(3);
    cpu::setup_nr_cpu_ids();
    arch::setup_per_cpu_areas();
    arch::smp_prepare_boot_cpu();
    mm::mm_init::mm_core_init();
    let v: alloc::vec::Vec<u32> = (0..1000).collect();
    pr_info!("sum {}", v.iter().map(|&x| u64::from(x)).sum::<u64>());
    pr_info!("initrd {:x?}", &arch::initrd_bytes().get(..6));
    arch::free_initrd_mem();
    if let Some(screen) = arch::boot_params().screen {
        let at = arch::ioremap(screen.base, screen.size, arch::Cache::WriteCombining);
        pr_info!("{screen:x?} {at:?}");
    }
    let line = arch::boot_command_line();
    #[cfg(target_os = "none")]
    match line {
        // SAFETY: tests.
        "ud2" => unsafe { core::arch::asm!("ud2") },
        // SAFETY: tests.
        "rodata" => unsafe {
            arch::probe_kernel_write(arch::rodata_start(), 1);
        },
        // SAFETY: tests.
        "guard" => unsafe {
            arch::probe_kernel_write(
                mm::VirtAddr::new(arch::x86::kernel::head64::init_stack().0 - 8),
                1,
            );
        },
        _ => {}
    }
    arch::free_initmem();
    arch::mark_rodata_ro();
    arch::debug_checkwx();
    pr_info!("{} KiB free", mm::page_alloc::nr_free_pages() * 4);
    pr_info!(
        "{} cycles",
        arch::get_cycles() - arch::boot_params().entry_tsc
    );
    arch::qemu_exit(0x10);
    arch::machine_halt()
}
