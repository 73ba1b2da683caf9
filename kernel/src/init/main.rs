//! The boot path (Linux: init/main.c). Placeholder until the real one is merged.

use crate::arch;
use crate::mm::memblock::memblock;

/// The first portable code.
///
/// On entry: interrupts off, the loader's page tables, initial stack, per-CPU template.
pub fn start_kernel() -> ! {
    pr_notice!("Linux version 6.0.0-kindling");
    let line = arch::setup_arch(|_| ());
    arch::setup_per_cpu_areas(4);
    for range in memblock().memory() {
        pr_info!("memory {:x?}", range);
    }
    for range in memblock().reserved() {
        pr_info!("reserved {:x?}", range);
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
    if let Some(screen) = arch::boot_params().screen {
        let at = arch::ioremap(screen.base, screen.size, arch::Cache::WriteCombining);
        pr_info!("{screen:x?} {at:?}");
        arch::iounmap(at.unwrap());
    }
    let at = arch::ioremap(
        crate::mm::PhysAddr::new(0xfee00030),
        4,
        arch::Cache::Uncached,
    );
    pr_info!("apic {at:?} {:#x}", unsafe {
        (at.unwrap().as_usize() as *const u32).read_volatile()
    });
    let rsdp = arch::boot_params().rsdp;
    if let Some(rsdp) = rsdp {
        let at = arch::memremap(rsdp, 36).unwrap();
        pr_info!("rsdp {rsdp:?} {at:?} {:?}", unsafe {
            core::str::from_utf8(core::slice::from_raw_parts(at.as_usize() as *const u8, 8))
        });
    }
    match line {
        "ud2" => unsafe { core::arch::asm!("ud2") },
        "pf" => unsafe { (0x1234usize as *mut u8).write_volatile(1) },
        "ro" => unsafe { (line.as_ptr() as *mut u8).write_volatile(1) },
        "text" => unsafe { (start_kernel as *const () as *mut u8).write_volatile(1) },
        "panic" => panic!("on demand"),
        _ => {}
    }
    let mut freed = 0;
    arch::free_initmem(|_| freed += 1);
    arch::free_kernel_image_gaps(|_| freed += 1);
    pr_info!("freed {freed}");
    arch::debug_checkwx();
    arch::qemu_exit(0x10);
    arch::machine_halt()
}
