//! Interrupts from the vector to the handler (Linux: arch/x86/kernel/irq.c, irq_64.c).

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::apic;
use super::desc::HARDIRQ_STACK_TOP;
use super::{mce, nmi};
use crate::arch::x86::asm::irq_vectors::*;
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::arch::x86::entry::entry_64::call_on_stack;
use crate::kernel::irq as generic;
use crate::kernel::{softirq, time};
use crate::mm::percpu::PerCpu;
use crate::prelude::*;

/// Interrupts that have no descriptor, per CPU (Linux: `irq_cpustat_t`).
#[derive(Default)]
struct IrqCpuStat {
    local_timer: AtomicU32,
    spurious: AtomicU32,
    reschedule: AtomicU32,
    call_function: AtomicU32,
}

#[per_cpu]
static IRQ_STAT: PerCpu<IrqCpuStat> = PerCpu::new(IrqCpuStat {
    local_timer: AtomicU32::new(0),
    spurious: AtomicU32::new(0),
    reschedule: AtomicU32::new(0),
    call_function: AtomicU32::new(0),
});

/// Errors that a local APIC or the PIC reported.
pub static IRQ_ERR_COUNT: AtomicU32 = AtomicU32::new(0);
/// Level interrupts that an I/O APIC mistook for edges.
pub static IRQ_MIS_COUNT: AtomicU32 = AtomicU32::new(0);

/// The interrupt stack is in use.
#[per_cpu]
static HARDIRQ_STACK_INUSE: PerCpu<AtomicBool> = PerCpu::new(AtomicBool::new(false));

/// Which interrupt each vector means; 0 is none, else the interrupt number plus one. The same on
/// all CPUs: a vector is given to one interrupt in the whole machine.
static VECTOR_IRQ: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// Connects a vector with an interrupt number.
pub fn assign_vector(vector: u8, irq: u32) {
    VECTOR_IRQ[usize::from(vector)].store(irq + 1, Ordering::Release);
}

/// Finds a vector that no interrupt has, for `irq`. Errors: ENOSPC.
pub fn allocate_vector(irq: u32) -> Result<u8> {
    (FIRST_DEVICE_VECTOR..FIRST_SYSTEM_VECTOR)
        .filter(|&vector| vector != IA32_SYSCALL_VECTOR)
        .find(|&vector| {
            VECTOR_IRQ[usize::from(vector)]
                .compare_exchange(0, irq + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
        .ok_or(Errno::ENOSPC)
}

/// Runs the handlers on the CPU's interrupt stack if the interrupt hit kernel code on a task's
/// stack; user code leaves that stack empty, so it serves itself
/// (Linux: `run_irq_on_irqstack_cond`). Interrupts are off throughout.
#[inline]
pub fn run_irq_on_irqstack_cond(regs: &mut PtRegs, vector: u8) {
    extern "C" fn on_stack(regs: u64, vector: u64) {
        // SAFETY: the address of the frame that the caller below has exclusively.
        handle_vector(unsafe { &mut *(regs as *mut PtRegs) }, vector as u8);
    }
    let in_use = HARDIRQ_STACK_INUSE.raw_this();
    let top = HARDIRQ_STACK_TOP.raw_this().load(Ordering::Relaxed);
    if regs.user_mode() || top == 0 || in_use.load(Ordering::Relaxed) {
        return handle_vector(regs, vector);
    }
    in_use.store(true, Ordering::Relaxed);
    // SAFETY: the stack is this CPU's own and not in use; handlers neither sleep nor migrate.
    unsafe { call_on_stack(&raw mut *regs as u64, u64::from(vector), on_stack, top) };
    in_use.store(false, Ordering::Relaxed);
}

fn handle_vector(regs: &mut PtRegs, vector: u8) {
    softirq::irq_enter();
    match vector {
        LOCAL_TIMER_VECTOR => {
            apic::eoi();
            count(&IRQ_STAT.raw_this().local_timer);
            time::timer_interrupt();
        }
        FIRST_EXTERNAL_VECTOR..FIRST_SYSTEM_VECTOR => handle_irq_vector(vector),
        _ => handle_system_vector(vector),
    }
    softirq::irq_exit();
    let _ = regs;
}

fn count(counter: &AtomicU32) {
    // Only this CPU writes it, with interrupts off.
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// A device's vector (Linux: `common_interrupt`).
#[inline]
fn handle_irq_vector(vector: u8) {
    match VECTOR_IRQ[usize::from(vector)].load(Ordering::Acquire) {
        0 => unexpected_vector(vector),
        irq => generic::generic_handle_irq(irq - 1),
    }
}

/// An interrupt that nobody expects. The PIC may deliver IRQ 7 and 15 although all its lines are
/// masked; everything else is acknowledged and counted.
#[cold]
fn unexpected_vector(vector: u8) {
    if vector < FIRST_DEVICE_VECTOR && super::i8259::handle_stray(vector - ISA_IRQ_VECTOR_BASE) {
        return;
    }
    apic::eoi();
    if crate::kernel::ratelimit::printk_ratelimit() {
        pr_emerg!(
            "common_interrupt: {}.{vector} No irq handler for vector",
            crate::arch::smp_processor_id()
        );
    }
}

fn handle_system_vector(vector: u8) {
    let stat = IRQ_STAT.raw_this();
    match vector {
        RESCHEDULE_VECTOR => {
            apic::eoi();
            count(&stat.reschedule);
            // The exit path looks at NEED_RESCHED; that was all (Linux: `scheduler_ipi`).
            crate::kernel::sched::fold_need_resched();
        }
        CALL_FUNCTION_VECTOR | CALL_FUNCTION_SINGLE_VECTOR => {
            apic::eoi();
            count(&stat.call_function);
        }
        REBOOT_VECTOR => stop_this_cpu(),
        ERROR_APIC_VECTOR => {
            count(&IRQ_ERR_COUNT);
            apic::error_interrupt();
        }
        SPURIOUS_APIC_VECTOR => {
            count(&stat.spurious);
            apic::spurious_interrupt(vector);
        }
        _ => {
            count(&stat.spurious);
            apic::eoi();
        }
    }
}

/// Another CPU ends the system (Linux: `stop_this_cpu`).
fn stop_this_cpu() -> ! {
    apic::eoi();
    crate::arch::machine_halt()
}

/// The rows of /proc/interrupts that no descriptor makes (Linux: `arch_show_interrupts`).
pub fn arch_show_interrupts(out: &mut String, width: usize, cpus: &[usize]) {
    type Counter = fn(usize) -> u32;
    const ROWS: [(&str, Counter, &str); 13] = [
        (
            "NMI",
            |cpu| nmi::NMI_COUNT.on(cpu).load(Ordering::Relaxed),
            "Non-maskable interrupts",
        ),
        (
            "LOC",
            |cpu| stat(cpu).local_timer.load(Ordering::Relaxed),
            "Local timer interrupts",
        ),
        (
            "SPU",
            |cpu| stat(cpu).spurious.load(Ordering::Relaxed),
            "Spurious interrupts",
        ),
        ("PMI", |_| 0, "Performance monitoring interrupts"),
        ("IWI", |_| 0, "IRQ work interrupts"),
        ("RTR", |_| 0, "APIC ICR read retries"),
        (
            "RES",
            |cpu| stat(cpu).reschedule.load(Ordering::Relaxed),
            "Rescheduling interrupts",
        ),
        (
            "CAL",
            |cpu| stat(cpu).call_function.load(Ordering::Relaxed),
            "Function call interrupts",
        ),
        ("TLB", |_| 0, "TLB shootdowns"),
        ("TRM", |_| 0, "Thermal event interrupts"),
        ("THR", |_| 0, "Threshold APIC interrupts"),
        ("MCE", mce_count, "Machine check exceptions"),
        ("MCP", |_| 0, "Machine check polls"),
    ];
    for (name, counter, text) in ROWS {
        generic::proc::row_head(out, width, name);
        for &cpu in cpus {
            generic::proc::count(out, counter(cpu));
        }
        out.push_str("  ");
        out.push_str(text);
        out.push('\n');
    }
    for (name, counter) in [("ERR", &IRQ_ERR_COUNT), ("MIS", &IRQ_MIS_COUNT)] {
        generic::proc::row_head(out, width, name);
        let value = counter.load(Ordering::Relaxed);
        out.push_str(&format!("{value:10}\n"));
    }
}

fn stat(cpu: usize) -> &'static IrqCpuStat {
    IRQ_STAT.on(cpu)
}
fn mce_count(cpu: usize) -> u32 {
    mce::MCE_EXCEPTION_COUNT.on(cpu).load(Ordering::Relaxed)
}

/// Sum of the interrupts without descriptors, for the `intr` line of /proc/stat
/// (Linux: `arch_irq_stat_cpu`, `arch_irq_stat`).
pub fn arch_irq_stat() -> u64 {
    let per_cpu = |cpu: usize| {
        let stat = stat(cpu);
        [
            &stat.local_timer,
            &stat.spurious,
            &stat.reschedule,
            &stat.call_function,
        ]
        .iter()
        .map(|counter| u64::from(counter.load(Ordering::Relaxed)))
        .sum::<u64>()
    };
    crate::kernel::cpu::CPU_ONLINE
        .iter()
        .map(per_cpu)
        .sum::<u64>()
        + u64::from(IRQ_ERR_COUNT.load(Ordering::Relaxed))
}
