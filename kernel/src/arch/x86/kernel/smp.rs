//! Messages between CPUs, and the end of the others (Linux: arch/x86/kernel/smp.c).

use core::sync::atomic::{AtomicU32, Ordering};

use super::apic;
use crate::arch::x86::asm::irq_vectors::{CALL_FUNCTION_VECTOR, REBOOT_VECTOR};
use crate::arch::{cpu_relax, machine_halt, mdelay, smp_processor_id, udelay};
use crate::kernel::cpu::{CPU_ONLINE, set_cpu_offline};

/// The CPU that ends the system, plus one; 0 while there is none (Linux: `stopping_cpu`).
static STOPPING_CPU: AtomicU32 = AtomicU32::new(0);

/// Makes the CPUs of `mask` look at their queue of functions (Linux:
/// `arch_send_call_function_ipi_mask`). Any context; this CPU is not in the mask.
pub fn send_call_function_ipi(mask: u64) {
    for cpu in cpus_of(mask) {
        apic::send_vector(cpu, CALL_FUNCTION_VECTOR);
    }
}

fn cpus_of(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let cpu = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(cpu)
    })
}

fn others() -> u64 {
    CPU_ONLINE.bits() & !(1 << smp_processor_id())
}

/// Whether the others are gone within `ms` milliseconds.
fn wait_for_others(ms: u32) -> bool {
    for _ in 0..ms * 10 {
        if others() == 0 {
            return true;
        }
        udelay(100);
    }
    others() == 0
}

/// Stops all other CPUs for ever: by an interrupt, and those that have interrupts off by an NMI
/// (Linux: `native_stop_other_cpus`). Any context; the first CPU that calls it goes on, others
/// that call it meanwhile stop.
pub fn stop_other_cpus() {
    if !apic::enabled() {
        return;
    }
    let me = smp_processor_id() as u32 + 1;
    match STOPPING_CPU.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed) {
        Err(first) if first != me => stop_this_cpu(),
        _ if others() == 0 => return,
        _ => {}
    }
    // What they are just doing may take a moment to come to an end.
    for cpu in cpus_of(others()) {
        apic::send_vector(cpu, REBOOT_VECTOR);
    }
    if wait_for_others(1000) {
        return;
    }
    for cpu in cpus_of(others()) {
        apic::send_nmi(cpu);
    }
    wait_for_others(10);
}

/// Ends this CPU (Linux: `stop_this_cpu`).
pub fn stop_this_cpu() -> ! {
    set_cpu_offline(smp_processor_id());
    machine_halt()
}

/// An NMI may be the order to stop. Called first by the NMI handler.
pub fn nmi_stop() {
    let first = STOPPING_CPU.load(Ordering::Acquire);
    if first != 0 && first != smp_processor_id() as u32 + 1 {
        stop_this_cpu();
    }
}

/// A CPU that panics while another does already waits to be stopped
/// (Linux: `panic_smp_self_stop`).
pub fn panic_smp_self_stop() -> ! {
    for _ in 0..100 {
        cpu_relax();
    }
    mdelay(1);
    stop_this_cpu()
}
