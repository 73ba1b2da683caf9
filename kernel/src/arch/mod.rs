//! The port contract: everything portable code may ask of a machine, in one list.
//!
//! `x86` is the real machine (target x86_64-unknown-none). `um` runs the portable code as an
//! ordinary host program, so that unit tests sit under the code (Linux: arch/um).
//!
//! The other direction is as short: arch code calls `start_kernel`, `do_syscall`, `handle_irq`,
//! `do_page_fault`, `schedule_tail`, `do_notify_resume` and nothing else upward.

// Pure code of the x86 port, for its unit tests.
#[cfg(test)]
#[path = "x86/kernel/e820.rs"]
#[expect(dead_code, reason = "the tests need not use everything")]
mod e820;
#[cfg(not(target_os = "none"))]
#[path = "x86/boot/params.rs"]
mod params;
#[cfg(not(target_os = "none"))]
mod um;
#[cfg(not(target_os = "none"))]
use um as imp;
#[cfg(target_os = "none")]
pub mod x86;
#[cfg(target_os = "none")]
use x86 as imp;

// --- interrupt flag of this CPU (Linux: asm/irqflags.h) ---
pub use imp::{
    IrqFlags, cpu_relax, irqs_disabled, local_irq_disable, local_irq_enable, local_irq_restore,
    local_irq_save, local_lock_irqsave, local_unlock_irqrestore, safe_halt,
};

// --- who and where am I (Linux: asm/percpu.h, asm/current.h, asm/preempt.h) ---
pub use imp::{
    COUNTS_READERS_BY_TASK, clear_preempt_need_resched, current_ptr, preempt_count,
    preempt_count_add, preempt_count_dec_and_test, preempt_count_inc, preempt_count_sub,
    set_current_ptr, set_preempt_need_resched, smp_processor_id, this_cpu_offset,
};

// --- physical memory (Linux: asm/page.h) ---
pub use imp::{
    PAGE_SHIFT, PAGE_SIZE, TASK_SIZE, clear_page, copy_page, direct_map_phys, phys_to_virt,
    self_hosted_ram, virt_to_phys, vmemmap_start,
};

// --- boot: what the loader and the machine say (Linux: asm/setup.h, asm/sections.h) ---
pub use imp::{
    BootParams, PixelFormat, ScreenInfo, boot_command_line, boot_params, check_bugs,
    command_line_is_default, free_initmem, free_initrd_mem, image_sections, initrd_bytes,
    kallsyms_blob, max_pfn, print_cpu_info, rodata_end, rodata_start, set_initrd_len, setup_arch,
    setup_per_cpu_areas, smp_prepare_boot_cpu, smp_setup_processor_id,
};

// --- the kernel's own address space (Linux: asm/set_memory.h, asm/io.h, linux/vmalloc.h) ---
pub use imp::{
    Cache, KProt, VMALLOC_END, VMALLOC_START, debug_checkwx, flush_tlb_kernel_range, ioremap,
    iounmap, kernel_virt_to_pfn, map_kernel_page, mark_rodata_ro, memremap, probe_kernel_write,
    set_memory_nx, set_memory_ro, set_memory_rw, set_memory_x, slow_virt_to_phys,
    unmap_kernel_page, vmemmap_populate,
};

// --- user address spaces (Linux: asm/pgtable.h, asm/tlbflush.h, asm/uaccess.h) ---
pub use imp::{
    flush_tlb_range, leave_pgd, load_pgd, pgd_ctor, pte_bits, raw_copy_from_user, raw_copy_to_user,
    supported_pte_mask, switch_mm,
};
pub use imp::{raw_clear_user, raw_cmpxchg_user_u32};

// --- no reads on a guess (Linux: linux/nospec.h) ---
pub use imp::array_index_nospec;

// --- tasks (Linux: asm/ptrace.h, asm/processor.h, asm/switch_to.h) ---
pub use imp::{
    PtRegs, ThreadEntry, ThreadStruct, copy_thread, default_idle, flush_thread, init_stack_end,
    start_thread, switch_to, task_pt_regs, walk_task_stack, with_current_pt_regs,
};

// --- signal frames (Linux: asm/sigframe.h) ---
pub use imp::{SignalFrame, max_frame_size, restore_rt_frame, setup_rt_frame};

// --- interrupts and exceptions (Linux: asm/hw_irq.h, asm/traps.h) ---
pub use imp::{
    arch_irq_stat, arch_show_interrupts, early_irq_init, init_irq, smp_send_reschedule, trap_init,
};

// --- what programs are told about the CPU (Linux: asm/elf.h) ---
pub use imp::{ELF_PLATFORM, elf_hwcap, elf_hwcap2, elf_minsigstksz};

// --- reports (Linux: asm/stacktrace.h, linux/kallsyms.h) ---
pub use imp::{die_bug, dump_stack, kallsyms_lookup, kallsyms_symbol, return_address};

// --- time (Linux: asm/tsc.h, asm/delay.h, asm/mc146818rtc.h) ---
pub use imp::{
    delay_loops, late_time_init, lpj_fine, mdelay, ndelay, read_persistent_clock,
    set_loops_per_jiffy, time_init, udelay, write_persistent_clock,
};

// --- time, entropy, the way out ---
pub use imp::{
    arch_get_random, can_power_off, early_console_write, get_cycles, machine_halt,
    machine_power_off, machine_restart, power_off_prepare, qemu_exit,
};

// --- ports and pixels that a driver may own (Linux: linux/ioport.h, linux/screen_info.h) ---
pub use imp::{Framebuffer, IoRegion, framebuffer, ioports_text};

// --- tables that the linker made (Linux: asm-generic/sections.h, linux/init.h) ---
pub use imp::sections;
