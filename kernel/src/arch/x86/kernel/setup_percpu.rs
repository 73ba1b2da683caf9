//! Per-CPU areas (Linux: arch/x86/kernel/setup_percpu.c).

use core::mem::offset_of;

use super::sections;
use crate::arch::x86::asm::msr::{MSR_GS_BASE, wrmsr};
use crate::arch::x86::asm::page::{PAGE_SIZE, phys_to_virt};
use crate::arch::x86::asm::percpu::{INIT_PREEMPT_COUNT, PCPU_HOT, PcpuHot};
use crate::kernel::sched::task::Task;
use crate::mm::PhysAddr;
use crate::mm::memblock::memblock;
use crate::mm::percpu::{NR_CPUS, nr_cpu_ids, per_cpu_offset, set_per_cpu_offset};
use crate::mm::show_mem::PERCPU_PAGES;
use crate::prelude::*;

/// Gives each possible CPU a copy of the per-CPU template and moves the boot CPU to its
/// own (Linux: `setup_per_cpu_areas`).
///
/// On entry: boot CPU on the template, memblock in use, no lock held (a held one is counted in
/// the area that is copied).
/// On return: `PerCpu::on` works for every possible CPU; the template is init memory.
#[__init]
pub fn setup_per_cpu_areas() {
    let nr_cpu_ids = nr_cpu_ids();
    pr_info!(
        "setup_percpu: NR_CPUS:{NR_CPUS} nr_cpumask_bits:{nr_cpu_ids} nr_cpu_ids:{nr_cpu_ids} \
         nr_node_ids:1"
    );
    let template = sections::per_cpu_start();
    let static_size = (sections::per_cpu_end() - template) as usize;
    let unit_size = static_size.next_multiple_of(PAGE_SIZE);
    for cpu in 0..nr_cpu_ids {
        let area = memblock()
            .phys_alloc(unit_size as u64, PAGE_SIZE as u64, PhysAddr::new(u64::MAX))
            .expect("no memory for per-CPU areas");
        let area = phys_to_virt(area).as_usize();
        let offset = area.wrapping_sub(template.as_usize());
        // SAFETY: the area is as large as the template and was allocated just now. Nothing
        // changes the template meanwhile: one CPU runs, with interrupts off.
        unsafe {
            (area as *mut u8)
                .copy_from_nonoverlapping(template.as_usize() as *const u8, static_size);
        }
        name_area(cpu, offset);
        set_per_cpu_offset(cpu, offset);
        if cpu == 0 {
            // SAFETY: the copy has everything that the template had.
            unsafe { switch_percpu_base(offset) };
        }
    }
    let pages = nr_cpu_ids * (unit_size / PAGE_SIZE);
    PERCPU_PAGES.store(pages as u64, core::sync::atomic::Ordering::Relaxed);
    pr_info!(
        "percpu: Embedded {} pages/cpu s{static_size} r0 d{} u{unit_size}",
        unit_size / PAGE_SIZE,
        unit_size - static_size
    );
}

/// Writes into a new area whose it is.
fn name_area(cpu: usize, offset: usize) {
    let hot = (&raw const PCPU_HOT as usize).wrapping_add(offset);
    let number = (hot + offset_of!(PcpuHot, cpu_number)) as *mut u32;
    let this_cpu_off = (hot + offset_of!(PcpuHot, this_cpu_off)) as *mut usize;
    // SAFETY: both are fields of the area's copy of PCPU_HOT, which no CPU uses yet.
    unsafe { number.write(cpu as u32) };
    // SAFETY: as above.
    unsafe { this_cpu_off.write(offset) };
}

/// Writes into the area of a CPU that does not run which task it begins with, for ever alive,
/// and where that one's stack ends.
pub fn set_idle_task(cpu: usize, idle: &Task, stack_top: u64) {
    let hot = (&raw const PCPU_HOT as usize).wrapping_add(per_cpu_offset(cpu));
    let current = (hot + offset_of!(PcpuHot, current_task)) as *mut *const Task;
    let count = (hot + offset_of!(PcpuHot, preempt_count)) as *mut i32;
    let top = (hot + offset_of!(PcpuHot, top_of_stack)) as *mut u64;
    // SAFETY: a field of the area's copy of PCPU_HOT, which no CPU uses yet.
    unsafe { current.write(idle) };
    // SAFETY: as above.
    unsafe { count.write(INIT_PREEMPT_COUNT) };
    // SAFETY: as above.
    unsafe { top.write(stack_top) };
}

/// Makes the area at `offset` this CPU's own (Linux: `switch_gdt_and_percpu_base`).
///
/// # Safety
/// The area must hold a CPU's copy of the template, and nothing may hold a reference into the
/// present one.
pub unsafe fn switch_percpu_base(offset: usize) {
    // SAFETY: the caller's contract.
    unsafe { wrmsr(MSR_GS_BASE, offset as u64) };
}

/// The boot CPU is number 0; its place in the APIC's numbering does not matter
/// (Linux: `smp_setup_processor_id`).
pub fn smp_setup_processor_id() {
    debug_assert_eq!(crate::arch::smp_processor_id(), 0);
}

/// The boot CPU works on its own area from here on (Linux: `smp_prepare_boot_cpu`).
/// `setup_per_cpu_areas` has switched already, so that nothing can write to the template between
/// the copy and the switch; this only makes sure of it.
pub fn smp_prepare_boot_cpu() {
    assert_eq!(crate::arch::smp_processor_id(), 0);
    assert_ne!(crate::arch::this_cpu_offset(), 0);
}
