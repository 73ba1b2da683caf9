//! Which CPUs there are (Linux: kernel/cpu.c, include/linux/cpumask.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch;
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
