//! Which CPUs there are (Linux: kernel/cpu.c, include/linux/cpumask.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::mm::percpu::NR_CPUS;

const _: () = assert!(NR_CPUS <= 64, "the masks have 64 bits");

/// CPUs that run; the boot CPU does from the start (Linux: `__cpu_online_mask`).
static ONLINE: AtomicU64 = AtomicU64::new(1);

/// Whether `cpu` runs tasks and takes interrupts.
pub fn cpu_online(cpu: usize) -> bool {
    cpu < NR_CPUS && ONLINE.load(Ordering::Acquire) & 1 << cpu != 0
}
/// Says that `cpu` runs from now on.
pub fn set_cpu_online(cpu: usize) {
    ONLINE.fetch_or(1 << cpu, Ordering::AcqRel);
}
/// The CPUs that run, lowest first (Linux: `for_each_online_cpu`).
pub fn online_cpus() -> impl Iterator<Item = usize> + Clone {
    let mask = ONLINE.load(Ordering::Acquire);
    (0..NR_CPUS).filter(move |cpu| mask & 1 << cpu != 0)
}
/// How many CPUs run.
pub fn num_online_cpus() -> usize {
    ONLINE.load(Ordering::Acquire).count_ones() as usize
}
