//! Per-CPU data (Linux: mm/percpu.c, include/linux/percpu-defs.h).

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch;
use crate::kernel::preempt::PreemptGuard;

/// Most CPUs this kernel runs on.
pub const NR_CPUS: usize = 64;

/// A variable of which every CPU has its own copy. Declare it with `#[per_cpu]`:
///
/// ```ignore
/// #[per_cpu]
/// static RUNS: PerCpu<AtomicU64> = PerCpu::new(AtomicU64::new(0));
/// ```
pub struct PerCpu<T: 'static>(T);

impl<T: Sync> PerCpu<T> {
    /// The value every CPU starts with; copied byte by byte, so it must not own memory.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// This CPU's copy; the guard proves that the task stays on the CPU.
    pub fn this<'a>(&'static self, _on_this_cpu: &'a PreemptGuard) -> &'a T {
        self.at(arch::this_cpu_offset())
    }

    /// This CPU's copy without a guard: for statistics and for code that runs with interrupts
    /// off anyway. The task may have moved when the reference is used.
    pub fn raw_this(&'static self) -> &'static T {
        self.at(arch::this_cpu_offset())
    }

    /// The copy of `cpu`, a possible CPU.
    pub fn on(&'static self, cpu: usize) -> &'static T {
        self.at(per_cpu_offset(cpu))
    }

    fn at(&'static self, offset: usize) -> &'static T {
        // Through an integer: the copy is another object than the template, which the compiler
        // would otherwise take it for.
        let here = (&raw const self.0).expose_provenance();
        let copy: *const T = core::ptr::with_exposed_provenance(here.wrapping_add(offset));
        // SAFETY: `offset` is 0 (the template itself, before the areas exist) or the distance
        // from the template to a CPU's copy, which lives for ever and was initialised by copy.
        unsafe { &*copy }
    }
}

/// One more than the highest possible CPU (Linux: `nr_cpu_ids`).
pub fn nr_cpu_ids() -> usize {
    NR_CPU_IDS.load(Ordering::Relaxed)
}

/// Tells how many CPUs are possible. The port calls it before it makes their areas.
pub fn set_nr_cpu_ids(nr_cpu_ids: usize) {
    assert!((1..=NR_CPUS).contains(&nr_cpu_ids));
    NR_CPU_IDS.store(nr_cpu_ids, Ordering::Relaxed);
}

static NR_CPU_IDS: AtomicUsize = AtomicUsize::new(1);

/// Distance from the template to the copy of `cpu`, in bytes.
pub fn per_cpu_offset(cpu: usize) -> usize {
    PER_CPU_OFFSET[cpu].load(Ordering::Relaxed)
}

/// Tells where a CPU's copy is. The port calls it once for each possible CPU.
pub fn set_per_cpu_offset(cpu: usize, offset: usize) {
    PER_CPU_OFFSET[cpu].store(offset, Ordering::Relaxed);
}

/// Linux: `__per_cpu_offset`.
static PER_CPU_OFFSET: [AtomicUsize; NR_CPUS] = [const { AtomicUsize::new(0) }; NR_CPUS];
