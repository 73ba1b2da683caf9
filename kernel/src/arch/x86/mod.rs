//! x86_64 on bare metal (Linux: arch/x86/).

pub mod asm;
pub mod boot;
pub mod entry;
pub mod kernel;
pub mod lib;
pub mod mm;

pub use asm::irqflags::{
    IrqFlags, cpu_relax, irqs_disabled, local_irq_disable, local_irq_enable, local_irq_restore,
    local_irq_save, safe_halt,
};
pub use asm::irqflags::{
    local_irq_restore as local_unlock_irqrestore, local_irq_save as local_lock_irqsave,
};
pub use asm::page::{
    PAGE_SHIFT, PAGE_SIZE, TASK_SIZE, clear_page, copy_page, phys_to_virt, self_hosted_ram,
    virt_addr_valid, virt_to_phys, vmemmap_start,
};
pub use asm::percpu::{
    current_ptr, preempt_count, preempt_count_add, preempt_count_sub, set_current_ptr,
    smp_processor_id, this_cpu_offset,
};
pub use asm::ptrace::PtRegs;
pub use boot::{BootParams, PixelFormat, ScreenInfo};
pub use kernel::early_printk::early_console_write;
pub use kernel::head64::boot_params;
pub use kernel::process::{ThreadStruct, copy_thread, flush_thread, start_thread, switch_to};
pub use kernel::random::arch_get_random;
pub use kernel::reboot::{machine_halt, machine_power_off, machine_restart, qemu_exit};
pub use kernel::sections::{image_sizes, kallsyms_blob};
pub use kernel::setup::{initrd, initrd_range, max_pfn, setup_arch};
pub use kernel::setup_percpu::setup_per_cpu_areas;
pub use kernel::tsc::get_cycles;
pub use lib::usercopy::{raw_copy_from_user, raw_copy_to_user};
pub use mm::dump_pagetables::debug_checkwx;
pub use mm::init::{free_initmem, free_kernel_image_gaps, mark_rodata_ro, vmemmap_populate};
pub use mm::init_64::{
    Cache, KProt, flush_tlb_kernel_range, kernel_virt_to_pfn, map_kernel_page, unmap_kernel_page,
};
pub use mm::ioremap::{ioremap, iounmap, memremap};
pub use mm::set_memory::{set_memory_nx, set_memory_ro, set_memory_rw, set_memory_x};
pub use mm::pgtable::{leave_pgd, load_pgd, pgd_ctor, pte_bits, supported_pte_mask};
pub use mm::tlb::flush_tlb_range;
