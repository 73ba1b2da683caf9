//! Which CPUs there are (Linux: kernel/cpu.c, include/linux/cpumask.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::arch;
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::core::init_idle;
use crate::kernel::sched::task::{Task, state};
use crate::kernel::sched::{sched_cpu_activate, schedule, set_current_state, wake_up_process};
use crate::kernel::smpboot::{
    SmpHotplugThread, idle_thread_get, smpboot_create_threads, smpboot_register_percpu_thread,
    smpboot_unpark_threads,
};
use crate::mm::percpu::{NR_CPUS, set_nr_cpu_ids};
use crate::prelude::*;

/// A set of CPUs that any context may read and change.
pub struct CpuMask(AtomicU64);

const _: () = assert!(NR_CPUS <= 64, "a mask is one word");

impl CpuMask {
    /// No CPU.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    /// Adds a CPU.
    pub fn set(&self, cpu: usize) {
        self.0.fetch_or(1 << cpu, Ordering::AcqRel);
    }
    /// Takes a CPU out.
    pub fn clear(&self, cpu: usize) {
        self.0.fetch_and(!(1 << cpu), Ordering::AcqRel);
    }
    /// Whether a CPU is in.
    pub fn test(&self, cpu: usize) -> bool {
        cpu < NR_CPUS && self.bits() >> cpu & 1 != 0
    }
    /// How many are in.
    pub fn weight(&self) -> usize {
        self.bits().count_ones() as usize
    }
    /// As one word, CPU 0 lowest.
    pub fn bits(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    /// The CPUs that are in now, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let bits = self.bits();
        (0..NR_CPUS).filter(move |cpu| bits >> cpu & 1 != 0)
    }
}

impl Default for CpuMask {
    fn default() -> Self {
        Self::new()
    }
}

/// CPUs that may ever run; fixed after `setup_arch` (Linux: `cpu_possible_mask`).
pub static CPU_POSSIBLE: CpuMask = CpuMask::new();
/// CPUs that are there (Linux: `cpu_present_mask`).
pub static CPU_PRESENT: CpuMask = CpuMask::new();
/// CPUs that run and take interrupts (Linux: `cpu_online_mask`).
/// The boot CPU is in from the start.
pub static CPU_ONLINE: CpuMask = CpuMask(AtomicU64::new(1));
/// CPUs that the scheduler may move tasks to (Linux: `cpu_active_mask`).
pub static CPU_ACTIVE: CpuMask = CpuMask::new();

/// Whether `cpu` runs tasks and takes interrupts.
pub fn cpu_online(cpu: usize) -> bool {
    CPU_ONLINE.test(cpu)
}
/// Says that `cpu` runs from now on.
pub fn set_cpu_online(cpu: usize) {
    CPU_ONLINE.set(cpu);
}
/// Says that `cpu` has stopped for ever.
pub fn set_cpu_offline(cpu: usize) {
    CPU_ACTIVE.clear(cpu);
    CPU_ONLINE.clear(cpu);
}
/// The CPUs that run, lowest first (Linux: `for_each_online_cpu`).
pub fn online_cpus() -> impl Iterator<Item = usize> + Clone {
    CPU_ONLINE.iter()
}
/// How many CPUs run.
pub fn num_online_cpus() -> usize {
    CPU_ONLINE.weight()
}
/// Says that `cpu` may be started later: before `setup_nr_cpu_ids` (Linux: `set_cpu_possible`).
pub fn set_cpu_possible(cpu: usize) {
    CPU_POSSIBLE.set(cpu);
}
/// How many CPUs there may be.
pub fn num_possible_cpus() -> usize {
    CPU_POSSIBLE.weight()
}

/// Enters the CPU that boots into every mask (Linux: `boot_cpu_init`).
#[__init]
pub fn boot_cpu_init() {
    let cpu = arch::smp_processor_id();
    for mask in [&CPU_POSSIBLE, &CPU_PRESENT, &CPU_ONLINE, &CPU_ACTIVE] {
        mask.set(cpu);
    }
}

/// One more than the highest possible CPU is what per-CPU tables are made for
/// (Linux: kernel/smp.c, `setup_nr_cpu_ids`).
#[__init]
pub fn setup_nr_cpu_ids() {
    let highest = CPU_POSSIBLE.iter().last().unwrap_or(0);
    set_nr_cpu_ids(highest + 1);
}

// --- bring-up ---------------------------------------------------------------------------------

/// What a CPU's `cpuhp/N` is asked to do.
struct CpuHp {
    thread: IrqSpinLock<Option<Arc<Task>>>,
    /// The CPU runs, and shall become like all others.
    bring_online: AtomicBool,
    online: Completion,
}

static CPUHP: [CpuHp; NR_CPUS] = [const {
    CpuHp {
        thread: SpinLock::new(None),
        bring_online: AtomicBool::new(false),
        online: Completion::new(),
    }
}; NR_CPUS];

static CPUHP_THREADS: SmpHotplugThread = SmpHotplugThread {
    name: "cpuhp",
    run: cpuhp_thread_fun,
    created: |cpu, thread| *CPUHP[cpu].thread.lock() = Some(thread.clone()),
};

/// Runs on a CPU whatever has to be done there when it comes up (Linux: `cpuhp_thread_fun`).
fn cpuhp_thread_fun(cpu: usize) -> i32 {
    loop {
        set_current_state(state::TASK_INTERRUPTIBLE);
        if CPUHP[cpu].bring_online.swap(false, Ordering::AcqRel) {
            set_current_state(state::TASK_RUNNING);
            cpuhp_ap_online(cpu);
            CPUHP[cpu].online.complete();
        } else {
            schedule();
        }
    }
}

/// A CPU runs kernel code for the first time: before its first reader and its first interrupt
/// (Linux: `notify_cpu_starting`). On that CPU, interrupts off.
pub fn notify_cpu_starting(cpu: usize) {
    crate::kernel::rcu::rcutree_online_cpu(cpu);
}

/// The steps from `CPUHP_AP_ONLINE_IDLE` to `CPUHP_ONLINE`.
fn cpuhp_ap_online(cpu: usize) {
    debug_assert_eq!(arch::smp_processor_id(), cpu);
    smpboot_unpark_threads(cpu);
    CPU_ACTIVE.set(cpu);
    sched_cpu_activate(cpu); // last: from here on anybody's tasks come
}

/// Gives every CPU its `cpuhp/N` (Linux: `cpuhp_threads_init`).
#[__init]
pub fn cpuhp_threads_init() {
    if let Err(errno) = smpboot_register_percpu_thread(&CPUHP_THREADS) {
        pr_err!("cpuhp: no threads: {errno}");
    }
}

/// Starts the CPUs of a list until `max_cpus` run (Linux: `bringup_nonboot_cpus`). Process
/// context.
#[__init]
pub fn bringup_nonboot_cpus(cpus: impl Iterator<Item = usize>, max_cpus: usize) {
    let wanted = max_cpus.saturating_sub(num_online_cpus());
    let cpus: Vec<usize> = cpus.filter(|&cpu| !cpu_online(cpu)).take(wanted).collect();
    announce_cpus(&cpus);
    for cpu in cpus {
        if let Err(errno) = cpu_up(cpu) {
            pr_err!("smp: CPU{cpu} does not come up: {errno}");
        }
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Says which CPUs are going to be started. Linux prints the line piece by piece, which a console
/// shows as one line all the same (Linux: arch/x86/kernel/smpboot.c, `announce_cpu`).
#[__init]
fn announce_cpus(cpus: &[usize]) {
    if cpus.is_empty() {
        return;
    }
    let width = 1 + digits(num_possible_cpus());
    let mut list = format!("{:1$}", "", width + 1);
    for cpu in cpus {
        let padding = width - digits(*cpu);
        list.push_str(&format!("{:padding$}#{cpu}", ""));
    }
    pr_info!("smpboot: x86: Booting SMP configuration:");
    pr_info!(".... node  #0, CPUs:  {list}");
}

/// Starts one CPU and waits until it takes tasks (Linux: `cpu_up`). Process context. Errors:
/// ENOMEM; what the port says.
#[__init]
fn cpu_up(cpu: usize) -> Result {
    let idle = idle_thread_get(cpu)?;
    smpboot_create_threads(cpu)?;
    let stack_top = init_idle(idle.clone(), cpu);
    arch::kick_cpu(cpu, &idle, stack_top)?;
    CPUHP[cpu].bring_online.store(true, Ordering::Release);
    let thread = CPUHP[cpu].thread.lock().clone();
    if let Some(thread) = thread {
        wake_up_process(&thread);
        CPUHP[cpu].online.wait_for_completion();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_lists_its_cpus_from_the_lowest() {
        let mask = CpuMask::new();
        for cpu in [63, 0, 5] {
            mask.set(cpu);
        }
        mask.clear(0);
        assert_eq!(mask.iter().collect::<Vec<_>>(), [5, 63]);
        assert!(mask.test(5) && !mask.test(0));
        assert_eq!(mask.weight(), 2);
    }
}
