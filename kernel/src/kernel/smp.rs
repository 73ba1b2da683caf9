//! Functions that other CPUs run, and how the other CPUs come up (Linux: kernel/smp.c).
//!
//! Each CPU has one outgoing call at a time. The sender writes what to call into its own
//! [`CallData`], marks the CPUs that shall run it, enters itself into each one's `incoming` mask
//! and interrupts those whose mask was empty. A CPU clears its mark when it has run the function;
//! the call is over when no mark is left.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use crate::arch;
use crate::kernel::cpu::{CPU_ONLINE, CPU_PRESENT, bringup_nonboot_cpus, num_online_cpus};
use crate::kernel::preempt::{PreemptGuard, preempt_disable};
use crate::lib::cmdline::parse_args;
use crate::mm::percpu::{NR_CPUS, PerCpu};
use crate::prelude::*;

// --- function calls ---------------------------------------------------------------------------

/// What other CPUs can be asked to run: in a hard interrupt, with interrupts off.
pub type SmpCallFunc = fn(usize);

/// Whether the caller waits until the function has run everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Interrupts must be on: the other side may be waiting for this CPU.
    Yes,
    /// Any context.
    No,
}

/// The outgoing call of a CPU and the senders that call it (Linux: `struct call_single_data`).
struct CallData {
    call: IrqSpinLock<Option<(SmpCallFunc, usize)>>,
    /// CPUs that still have to run `call`.
    pending: AtomicU64,
    /// CPUs whose calls wait for this one.
    incoming: AtomicU64,
}

#[per_cpu]
static CALL_DATA: PerCpu<CallData> = PerCpu::new(CallData {
    call: SpinLock::new(None),
    pending: AtomicU64::new(0),
    incoming: AtomicU64::new(0),
});

/// The CPUs of a mask, lowest first.
pub fn cpus_of(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let cpu = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(cpu)
    })
}

/// Runs `func(arg)` on the CPUs of `mask` that are online, but not on this one
/// (Linux: `smp_call_function_many`). The guard keeps the caller here.
pub fn smp_call_function_many(
    mask: u64,
    func: SmpCallFunc,
    arg: usize,
    wait: Wait,
    _here: &PreemptGuard,
) {
    let me = arch::smp_processor_id();
    let targets = mask & CPU_ONLINE.bits() & !(1 << me);
    if targets == 0 {
        return;
    }
    debug_assert!(
        wait == Wait::No || !arch::irqs_disabled() || crate::kernel::panic::in_panic(),
        "waits for other CPUs with interrupts off"
    );
    let mine = CALL_DATA.on(me);
    claim(mine, targets, (func, arg));
    let mut to_interrupt = 0;
    for cpu in cpus_of(targets) {
        // A mask that was not empty has its interrupt under way already.
        if CALL_DATA
            .on(cpu)
            .incoming
            .fetch_or(1 << me, Ordering::SeqCst)
            == 0
        {
            to_interrupt |= 1 << cpu;
        }
    }
    if to_interrupt != 0 {
        arch::send_call_function_ipi(to_interrupt);
    }
    if wait == Wait::Yes {
        // An interrupt may have sent a call of its own meanwhile: then this waits for that too.
        wait_for(mine);
    }
}

/// Waits for the call before and puts the new one into its place.
fn claim(mine: &CallData, targets: u64, call: (SmpCallFunc, usize)) {
    loop {
        wait_for(mine);
        // No interrupt may come between the look and the store.
        let flags = arch::local_irq_save();
        let free = mine.pending.load(Ordering::Acquire) == 0;
        if free {
            *mine.call.lock() = Some(call);
            mine.pending.store(targets, Ordering::Release);
        }
        arch::local_irq_restore(flags);
        if free {
            return;
        }
    }
}

/// Waits until the last call has run; CPUs that were stopped meanwhile will never run it.
fn wait_for(mine: &CallData) {
    while mine.pending.load(Ordering::Acquire) & CPU_ONLINE.bits() != 0 {
        arch::cpu_relax();
    }
    mine.pending.fetch_and(CPU_ONLINE.bits(), Ordering::AcqRel);
}

/// The interrupt's handler (Linux: `generic_smp_call_function_interrupt`).
pub fn generic_smp_call_function_interrupt() {
    let me = arch::smp_processor_id();
    let senders = CALL_DATA.on(me).incoming.swap(0, Ordering::SeqCst);
    for sender in cpus_of(senders) {
        let data = CALL_DATA.on(sender);
        let call = *data.call.lock();
        if let Some((func, arg)) = call {
            func(arg);
        }
        data.pending.fetch_and(!(1 << me), Ordering::Release);
    }
}

/// Runs `func(arg)` on one CPU, this one included (Linux: `smp_call_function_single`).
/// Errors: ENXIO when it is not online.
pub fn smp_call_function_single(cpu: usize, func: SmpCallFunc, arg: usize, wait: Wait) -> Result {
    let here = preempt_disable();
    if cpu == arch::smp_processor_id() {
        run_here(func, arg);
        return Ok(());
    }
    if !CPU_ONLINE.test(cpu) {
        return Err(Errno::ENXIO);
    }
    smp_call_function_many(1 << cpu, func, arg, wait, &here);
    Ok(())
}

/// Runs `func(arg)` on all other CPUs (Linux: `smp_call_function`).
pub fn smp_call_function(func: SmpCallFunc, arg: usize, wait: Wait) {
    smp_call_function_many(u64::MAX, func, arg, wait, &preempt_disable());
}

/// Runs `func(arg)` on all CPUs, this one included (Linux: `on_each_cpu`).
pub fn on_each_cpu(func: SmpCallFunc, arg: usize, wait: Wait) {
    on_each_cpu_mask(u64::MAX, func, arg, wait);
}

/// Runs `func(arg)` on the CPUs of a mask (Linux: `on_each_cpu_mask`).
pub fn on_each_cpu_mask(mask: u64, func: SmpCallFunc, arg: usize, wait: Wait) {
    let here = preempt_disable();
    smp_call_function_many(mask, func, arg, wait, &here);
    if mask & 1 << arch::smp_processor_id() != 0 {
        run_here(func, arg);
    }
}

fn run_here(func: SmpCallFunc, arg: usize) {
    let flags = arch::local_irq_save();
    func(arg);
    arch::local_irq_restore(flags);
}

/// Makes sure that every CPU has been in the kernel since the call, and so sees what was stored
/// before it (Linux: `kick_all_cpus_sync`). Process context.
pub fn kick_all_cpus_sync() {
    fence(Ordering::SeqCst);
    smp_call_function(|_| {}, 0, Wait::Yes);
}

// --- how many CPUs ----------------------------------------------------------------------------

/// What the command line allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuLimits {
    /// `nr_cpus=`: CPUs beyond are never known.
    pub nr_cpus: usize,
    /// `maxcpus=`: CPUs beyond are not started at boot; 0, or `nosmp`: nothing of SMP is set up.
    pub max_cpus: usize,
}

/// Linux: `setup_max_cpus`.
static SETUP_MAX_CPUS: AtomicUsize = AtomicUsize::new(NR_CPUS);

impl CpuLimits {
    /// Reads the three parameters, and keeps `maxcpus=` for [`setup_max_cpus`]. They are needed
    /// before the other early parameters can be run.
    #[__init]
    pub fn from_command_line(line: &str) -> Self {
        let limits = Self::parse(line);
        SETUP_MAX_CPUS.store(limits.max_cpus, Ordering::Relaxed);
        limits
    }

    fn parse(line: &str) -> Self {
        let mut limits = Self {
            nr_cpus: NR_CPUS,
            max_cpus: NR_CPUS,
        };
        for arg in parse_args(line) {
            let number = || arg.value.and_then(|value| value.parse::<usize>().ok());
            match (arg.name, number()) {
                ("nosmp", _) => limits.max_cpus = 0,
                ("maxcpus", Some(max)) => limits.max_cpus = max.min(NR_CPUS),
                ("nr_cpus", Some(nr @ 1..)) => limits.nr_cpus = nr.min(NR_CPUS),
                _ => {}
            }
        }
        limits
    }
}

/// CPUs that boot starts at most; 0 with `nosmp`.
pub fn setup_max_cpus() -> usize {
    SETUP_MAX_CPUS.load(Ordering::Relaxed)
}

#[__init]
fn accept(_value: &str) -> Result {
    Ok(())
}
early_param!("nosmp", accept);
early_param!("maxcpus", accept);
early_param!("nr_cpus", accept);

/// Starts the CPUs (Linux: `smp_init`). Pid 1, before the initcalls.
#[__init]
pub fn smp_init() {
    crate::kernel::cpu::cpuhp_threads_init();
    pr_info!("smp: Bringing up secondary CPUs ...");
    bringup_nonboot_cpus(CPU_PRESENT.iter(), setup_max_cpus());
    let cpus = num_online_cpus();
    let plural = if cpus == 1 { "" } else { "s" };
    pr_info!("smp: Brought up 1 node, {cpus} CPU{plural}");
    arch::smp_cpus_done();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_limits_the_cpus() {
        let limits = |line| {
            let limits = CpuLimits::parse(line);
            (limits.nr_cpus, limits.max_cpus)
        };
        assert_eq!(limits("quiet"), (NR_CPUS, NR_CPUS));
        assert_eq!(limits("nr_cpus=3 maxcpus=2"), (3, 2));
        assert_eq!(limits("nosmp"), (NR_CPUS, 0));
        assert_eq!(limits("maxcpus=0"), (NR_CPUS, 0));
        assert_eq!(
            limits("nr_cpus=0 maxcpus=none nr_cpus=1000"),
            (NR_CPUS, NR_CPUS)
        );
    }

    #[test]
    fn a_mask_lists_its_cpus() {
        assert_eq!(cpus_of(0).count(), 0);
        assert_eq!(cpus_of(1 << 63 | 0b101).collect::<Vec<_>>(), [0, 2, 63]);
    }

    #[test]
    fn a_call_to_this_cpu_runs_with_interrupts_off() {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        on_each_cpu(
            |arg| {
                assert!(arch::irqs_disabled());
                RUNS.fetch_add(arg, Ordering::Relaxed);
            },
            7,
            Wait::Yes,
        );
        assert_eq!(RUNS.load(Ordering::Relaxed), 7);
        assert!(!arch::irqs_disabled());
    }
}
