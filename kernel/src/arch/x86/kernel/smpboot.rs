//! Starting the other CPUs (Linux: arch/x86/kernel/smpboot.c).
//!
//! The boot CPU starts one CPU at a time and waits until it is online. The two meet in
//! [`CPU_STATE`]: a CPU that comes too late, after the boot CPU has given up, stops itself.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::acpi::{CpuEntry, acpi};
use super::cpu::common::loops_per_jiffy;
use super::cpu::{cpu_init_features, init_lfence, print_cpu_info};
use super::desc::{self, CpuStacks, EXCEPTION_STKSZ, IRQ_STACK_SIZE, N_EXCEPTION_STACKS};
use super::setup_percpu::set_idle_task;
use super::{apic, fpu, idt, mce, process};
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::arch::x86::mm::init_64::init_top_pgt;
use crate::arch::x86::mm::pat::pat_init;
use crate::arch::x86::realmode::{real_mode_base, setup_real_mode};
use crate::arch::{cpu_relax, local_irq_enable, machine_halt, smp_processor_id};
use crate::init::calibrate::Bogomips;
use crate::kernel::cpu::{
    CPU_POSSIBLE, CPU_PRESENT, notify_cpu_starting, num_online_cpus, set_cpu_online,
    set_cpu_possible,
};
use crate::kernel::sched::idle::cpu_startup_entry;
use crate::kernel::sched::task::Task;
use crate::kernel::smp::CpuLimits;
use crate::kernel::time::{NSEC_PER_SEC, sched_clock};
use crate::mm::percpu::{NR_CPUS, per_cpu_offset};
use crate::mm::vmalloc::vmalloc;
use crate::prelude::*;

/// What a CPU that starts finds before it has anything of its own. The assembly reads it.
#[repr(C)]
pub struct SecondaryData {
    /// The kernel's top page table.
    pub pgd: AtomicU64,
    /// Where its stack begins.
    pub stack_top: AtomicU64,
    /// Its GS base.
    pub percpu_offset: AtomicU64,
}

/// For the CPU that is being started.
pub static SECONDARY: SecondaryData = SecondaryData {
    pgd: AtomicU64::new(0),
    stack_top: AtomicU64::new(0),
    percpu_offset: AtomicU64::new(0),
};

/// How far a CPU is (Linux: `cpuhp_state`, `enum cpuhp_sync_state`).
static CPU_STATE: [AtomicU32; NR_CPUS] = [const { AtomicU32::new(state::DEAD) }; NR_CPUS];
mod state {
    /// Nobody wants it.
    pub const DEAD: u32 = 0;
    /// It has been told to start.
    pub const KICKED: u32 = 1;
    /// It runs kernel code.
    pub const ALIVE: u32 = 2;
    /// It takes interrupts.
    pub const ONLINE: u32 = 3;
}

/// The stacks of the CPUs but the boot CPU: IST stacks, then the interrupt stack.
static STACKS: [AtomicU64; NR_CPUS] = [const { AtomicU64::new(0) }; NR_CPUS];

/// Who takes how long to start: an emulator with few host CPUs may need seconds.
const START_TIMEOUT_NS: u64 = 10 * NSEC_PER_SEC;

/// Numbers the CPUs that the tables list, the boot CPU first, and says how many may come up
/// (Linux: `prefill_possible_map`). The tables may list CPUs that are disabled, leave gaps
/// between the APIC's numbers, and need not begin with the boot CPU.
#[__init]
pub fn prefill_possible_map() {
    let limits = CpuLimits::from_command_line(super::setup::boot_command_line());
    let boot_id = apic::cpuid_apic_id();
    apic::set_apic_id(0, boot_id);
    // Physical destinations have eight bits; 255 is everybody.
    let highest = if apic::x2apic_by_firmware() {
        u32::MAX - 1
    } else {
        254
    };
    let usable = |cpu: &CpuEntry| cpu.apic_id != boot_id && cpu.apic_id <= highest;
    let listed = 1 + acpi().cpus.iter().filter(usable).count();
    let mut possible = listed;
    if possible > limits.nr_cpus {
        pr_warn!(
            "{possible} Processors exceeds NR_CPUS limit of {}",
            limits.nr_cpus
        );
        possible = limits.nr_cpus;
    }
    if limits.max_cpus == 0 && possible > 1 {
        pr_warn!("{possible} Processors exceeds max_cpus limit of 0");
        possible = 1;
    }
    for (cpu, entry) in (1..possible).zip(acpi().cpus.iter().filter(usable)) {
        apic::set_apic_id(cpu, entry.apic_id);
        set_cpu_possible(cpu);
        CPU_PRESENT.set(cpu);
    }
    pr_info!("smpboot: Allowing {possible} CPUs, 0 hotplug CPUs");
}

/// Readies what the other CPUs start with (Linux: `native_smp_prepare_cpus`). The boot CPU's
/// APIC works. `max_cpus` 0 means `nosmp`.
#[__init]
pub fn smp_prepare_cpus(max_cpus: usize) {
    print_cpu_info("smpboot: CPU0: ");
    if max_cpus == 0 || !apic::enabled() || setup_real_mode().is_err() {
        disable_smp();
    }
}

/// There is no way to start others (Linux: `disable_smp`).
#[__init]
fn disable_smp() {
    pr_info!("smpboot: SMP disabled");
    for cpu in 1..NR_CPUS {
        CPU_POSSIBLE.clear(cpu);
        CPU_PRESENT.clear(cpu);
    }
}

/// Starts `cpu`, whose idle task is `idle`, and waits until it is online
/// (Linux: `native_kick_ap`, `do_boot_cpu`). Process context. Errors: ENOMEM; EIO when it does
/// not come up.
pub fn kick_cpu(cpu: usize, idle: &Task, idle_stack_top: u64) -> Result {
    let base = real_mode_base().ok_or(Errno::ENXIO)?;
    prepare_stacks(cpu)?;
    process::init_idle_task(idle, idle_stack_top);
    set_idle_task(cpu, idle, idle_stack_top);
    SECONDARY
        .pgd
        .store(init_top_pgt().as_u64(), Ordering::Relaxed);
    let below_regs = (idle_stack_top - size_of::<PtRegs>() as u64) & !15;
    SECONDARY.stack_top.store(below_regs, Ordering::Relaxed);
    let offset = per_cpu_offset(cpu) as u64;
    SECONDARY.percpu_offset.store(offset, Ordering::Relaxed);
    CPU_STATE[cpu].store(state::KICKED, Ordering::Release);
    apic::send_init_sipi(apic::apic_id_of(cpu), (base.as_u64() >> 12) as u8);
    let start = sched_clock();
    while CPU_STATE[cpu].load(Ordering::Acquire) != state::ONLINE {
        let late = sched_clock().saturating_sub(start) > START_TIMEOUT_NS;
        if late && give_up(cpu) {
            pr_err!("smpboot: do_boot_cpu failed(-1) to wakeup CPU#{cpu}");
            return Err(Errno::EIO);
        }
        cpu_relax();
    }
    Ok(())
}

/// Nobody waits for the CPU any more; false if it has come at the last moment.
fn give_up(cpu: usize) -> bool {
    CPU_STATE[cpu]
        .compare_exchange(
            state::KICKED,
            state::DEAD,
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .is_ok()
}

/// Memory for a CPU's IST and interrupt stacks. Errors: ENOMEM.
fn prepare_stacks(cpu: usize) -> Result {
    const SIZE: usize = N_EXCEPTION_STACKS * EXCEPTION_STKSZ + IRQ_STACK_SIZE;
    if STACKS[cpu].load(Ordering::Relaxed) != 0 {
        return Ok(());
    }
    let area = vmalloc(SIZE, "smp_prepare_cpus").ok_or(Errno::ENOMEM)?;
    STACKS[cpu].store(area.addr().as_u64(), Ordering::Relaxed);
    core::mem::forget(area); // for ever the CPU's
    Ok(())
}

/// The first Rust code of another CPU (Linux: `start_secondary`).
///
/// On entry: long mode, the kernel's page tables, GS base final, its idle task's stack and
/// per-CPU area, no IDT, interrupts off. Never returns: it becomes the CPU's idle loop.
pub extern "C" fn start_secondary() -> ! {
    let cpu = smp_processor_id();
    let exception = STACKS[cpu].load(Ordering::Relaxed);
    let irq = exception + (N_EXCEPTION_STACKS * EXCEPTION_STKSZ) as u64;
    desc::cpu_init_exception_handling(&CpuStacks { exception, irq });
    idt::load_idt(); // from here on a fault is reported
    cpu_init_features(); // as on the boot CPU, so that page tables mean the same
    init_lfence();
    pat_init();
    desc::cpu_init();
    fpu::fpu_init_cpu();
    mce::mcheck_cpu_init();
    process::reload_idle_stack();
    smp_callin(cpu);
    notify_cpu_starting(cpu);
    apic::match_boot_cpu_mode();
    apic::setup_local_apic();
    apic::setup_apic_timer();
    set_cpu_online(cpu); // before the first interrupt: handlers may ask
    CPU_STATE[cpu].store(state::ONLINE, Ordering::Release);
    local_irq_enable();
    cpu_startup_entry()
}

/// Meets the boot CPU (Linux: `smp_callin`), or stops when that has given up.
fn smp_callin(cpu: usize) {
    let alive = CPU_STATE[cpu].compare_exchange(
        state::KICKED,
        state::ALIVE,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
    if alive.is_err() {
        machine_halt();
    }
}

/// Says how many CPUs there are now (Linux: `native_smp_cpus_done`, `impress_friends`).
#[__init]
pub fn smp_cpus_done() {
    let online = num_online_cpus();
    let sum = Bogomips::of(loops_per_jiffy() * online as u64);
    pr_info!(
        "smpboot: Total of {online} processors activated ({}.{:02} BogoMIPS)",
        sum.whole,
        sum.hundredths
    );
}
