//! The boot path (Linux: init/main.c). Placeholder until the real one is merged.

use crate::arch;
use crate::kernel::cpu;
use crate::mm;

#[cfg(target_os = "none")]
fn initcalls() {
    unsafe extern "C" {
        safe static __initcall0_start: u8;
        safe static __initcall_end: u8;
    }
    let start = &raw const __initcall0_start as usize;
    let end = &raw const __initcall_end as usize;
    for at in (start..end).step_by(8) {
        // SAFETY: the table.
        let call = unsafe { *(at as *const crate::init::initcall::Initcall) };
        if at == end - 8 {
            pr_info!("initcall {at:#x} {:?}", call());
        }
    }
}
#[cfg(not(target_os = "none"))]
fn initcalls() {}

/// The first portable code.
///
/// On entry: interrupts off, the loader's page tables, initial stack, per-CPU template.
pub fn start_kernel() -> ! {
    pr_notice!("Linux version 6.0.0-kindling");
    cpu::boot_cpu_init();
    arch::setup_arch();
    cpu::set_cpu_possible(3);
    cpu::setup_nr_cpu_ids();
    arch::setup_per_cpu_areas();
    arch::smp_prepare_boot_cpu();
    mm::mm_init::mm_core_init();
    arch::check_bugs();
    arch::free_initrd_mem();
    let line = arch::boot_command_line();
    #[cfg(target_os = "none")]
    if line == "ud2" {
        // SAFETY: tests.
        unsafe { core::arch::asm!("ud2") }
    }
    arch::mark_rodata_ro();
    mm::rodata_test::rodata_test();
    arch::debug_checkwx();
    initcalls();
    arch::free_initmem();
    pr_info!("{} KiB free", mm::page_alloc::nr_free_pages() * 4);
    pr_info!(
        "{} cycles",
        arch::get_cycles() - arch::boot_params().entry_tsc
    );
    arch::qemu_exit(0x10);
    arch::machine_halt()
}
