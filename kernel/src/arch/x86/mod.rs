//! x86_64 on bare metal (Linux: arch/x86/).

pub mod asm;
pub mod boot;
pub mod entry;
pub mod kernel;
pub mod lib;
pub mod mm;

pub use crate::kernel::irq::early_irq_init;
pub use asm::barrier::array_index_nospec;
pub use asm::irqflags::{
    IrqFlags, cpu_relax, irqs_disabled, local_irq_disable, local_irq_enable, local_irq_restore,
    local_irq_save, safe_halt,
};
pub use asm::irqflags::{
    local_irq_restore as local_unlock_irqrestore, local_irq_save as local_lock_irqsave,
};
pub use asm::page::{
    PAGE_SHIFT, PAGE_SIZE, TASK_SIZE, VMALLOC_END, VMALLOC_START, clear_page, copy_page,
    direct_map_phys, phys_to_virt, self_hosted_ram, virt_to_phys, vmemmap_start,
};
pub use asm::percpu::{
    COUNTS_READERS_BY_TASK, clear_preempt_need_resched, current_ptr, preempt_count,
    preempt_count_add, preempt_count_dec_and_test, preempt_count_inc, preempt_count_sub,
    set_current_ptr, set_preempt_need_resched, smp_processor_id, this_cpu_offset,
};
pub use asm::ptrace::PtRegs;
pub use boot::{BootParams, PixelFormat, ScreenInfo};
pub use kernel::apic::smp_send_reschedule;
pub use kernel::cpu::common::set_loops_per_jiffy;
pub use kernel::cpu::{check_bugs, print_cpu_info};
pub use kernel::dumpstack::{dump_stack, return_address};
pub use kernel::early_printk::early_console_write;
pub use kernel::elf::{ELF_PLATFORM, elf_hwcap, elf_hwcap2, elf_minsigstksz};
pub use kernel::head64::{boot_params, init_stack_end};
pub use kernel::initcall_tables as sections;
pub use kernel::ioport::{IoRegion, ioports_text};
pub use kernel::irq::{arch_irq_stat, arch_show_interrupts};
pub use kernel::irqinit::init_irq;
pub use kernel::kallsyms::{kallsyms_lookup, kallsyms_symbol};
pub use kernel::process::{
    ThreadEntry, ThreadStruct, copy_thread, default_idle, die_bug, flush_thread, start_thread,
    switch_to, task_pt_regs, walk_task_stack, with_current_pt_regs,
};
pub use kernel::random::arch_get_random;
pub use kernel::reboot::{
    can_power_off, machine_halt, machine_power_off, machine_restart, power_off_prepare, qemu_exit,
};
pub use kernel::rtc::{read_persistent_clock, write_persistent_clock};
pub use kernel::screen_info::{Framebuffer, framebuffer};
pub use kernel::sections::{image_sections, kallsyms_blob, rodata_end, rodata_start};
pub use kernel::setup::{
    boot_command_line, command_line_is_default, free_initrd_mem, initrd_bytes, max_pfn,
    set_initrd_len, setup_arch,
};
pub use kernel::setup_percpu::{setup_per_cpu_areas, smp_prepare_boot_cpu, smp_setup_processor_id};
pub use kernel::signal::{SignalFrame, max_frame_size, restore_rt_frame, setup_rt_frame};
pub use kernel::time::{late_time_init, time_init};
pub use kernel::traps::trap_init;
pub use kernel::tsc::{get_cycles, lpj_fine};
pub use lib::delay::{delay_loops, mdelay, ndelay, udelay};
pub use lib::usercopy::{
    raw_clear_user, raw_cmpxchg_user_u32, raw_copy_from_user, raw_copy_to_user,
};
pub use mm::dump_pagetables::debug_checkwx;
pub use mm::init::{free_initmem, mark_rodata_ro, vmemmap_populate};
pub use mm::init_64::{
    Cache, KProt, flush_tlb_kernel_range, kernel_virt_to_pfn, map_kernel_page, slow_virt_to_phys,
    unmap_kernel_page,
};
pub use mm::ioremap::{ioremap, iounmap, memremap};
pub use mm::nofault::probe_kernel_write;
pub use mm::pgtable::{leave_pgd, load_pgd, pgd_ctor, pte_bits, supported_pte_mask};
pub use mm::set_memory::{set_memory_nx, set_memory_ro, set_memory_rw, set_memory_x};
pub use mm::tlb::{flush_tlb_range, switch_mm};
