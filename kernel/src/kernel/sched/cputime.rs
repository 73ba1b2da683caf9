//! CPU time accounting (Linux: kernel/sched/cputime.c).
//!
//! The tick decides whether a task was in user or kernel code; the scheduler measures how long
//! it ran. What is reported is the measured time, divided in the proportion of the ticks.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::core::current;
use super::task::{Task, pf};
use crate::kernel::preempt;
use crate::kernel::time::TICK_NSEC;
use crate::mm::percpu::PerCpu;
use crate::prelude::*;

/// Columns of /proc/stat (Linux: `enum cpu_usage_stat`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[expect(missing_docs, reason = "the columns of proc(5)")]
pub enum CpuUsage {
    User,
    Nice,
    System,
    Idle,
    Iowait,
    Irq,
    Softirq,
    Steal,
    Guest,
    GuestNice,
}

/// Number of columns.
pub const NR_STATS: usize = 10;

/// Time spent by kind, ns (Linux: `kernel_cpustat`).
#[per_cpu]
static KERNEL_CPUSTAT: PerCpu<[AtomicU64; NR_STATS]> =
    PerCpu::new([const { AtomicU64::new(0) }; NR_STATS]);

/// Whether the interrupt that is being handled came from user code; entry code says so.
#[per_cpu]
static IRQ_FROM_USER: PerCpu<AtomicBool> = PerCpu::new(AtomicBool::new(false));

/// Entry code calls it with interrupts off before the handler of the outermost interrupt runs.
#[inline]
pub fn note_irq_entry(from_user: bool) {
    IRQ_FROM_USER.raw_this().store(from_user, Ordering::Relaxed);
}

/// Whether the interrupt that is being handled interrupted user code.
pub(super) fn irq_from_user() -> bool {
    IRQ_FROM_USER.raw_this().load(Ordering::Relaxed)
}

fn add(column: CpuUsage, ns: u64) {
    KERNEL_CPUSTAT.raw_this()[column as usize].fetch_add(ns, Ordering::Relaxed);
}

/// Charges one tick to the running task and to a column of /proc/stat (Linux:
/// `account_process_tick`). Hard interrupt context.
pub(super) fn account_process_tick() {
    let task = current();
    if irq_from_user() {
        task.utime.fetch_add(TICK_NSEC, Ordering::Relaxed);
        let column = if task.se.nice() > 0 {
            CpuUsage::Nice
        } else {
            CpuUsage::User
        };
        add(column, TICK_NSEC);
        task.signal.itimers.account_tick(TICK_NSEC, 0);
        task.signal.posix_timers.cpu.tick();
        return;
    }
    // The timer's own interrupt is one level; anything beyond was interrupted by it.
    let nested_irq = crate::arch::preempt_count() & preempt::HARDIRQ_MASK > preempt::HARDIRQ_OFFSET;
    let column = match (nested_irq, preempt::in_serving_softirq()) {
        (true, _) => CpuUsage::Irq,
        (false, true) => CpuUsage::Softirq,
        (false, false) if task.has_flag(pf::PF_IDLE) => return, // the idle loop measures itself
        (false, false) => CpuUsage::System,
    };
    task.stime.fetch_add(TICK_NSEC, Ordering::Relaxed);
    add(column, TICK_NSEC);
    task.signal.itimers.account_tick(0, TICK_NSEC);
    task.signal.posix_timers.cpu.tick();
}

/// Adds idle time of this CPU, ns; the idle loop calls it.
pub(super) fn account_idle_time(ns: u64) {
    add(CpuUsage::Idle, ns);
}

/// The columns of one CPU, ns.
pub fn cpustat(cpu: usize) -> [u64; NR_STATS] {
    let stat = KERNEL_CPUSTAT.on(cpu);
    core::array::from_fn(|column| stat[column].load(Ordering::Relaxed))
}

/// User and system time of a task, ns: its measured run time, divided as its ticks were (Linux:
/// `task_cputime_adjusted`).
pub fn task_cputime_adjusted(task: &Task) -> (u64, u64) {
    adjust(
        task.utime.load(Ordering::Relaxed),
        task.stime.load(Ordering::Relaxed),
        task.se.sum_exec_runtime(),
    )
}

fn adjust(utime: u64, stime: u64, rtime: u64) -> (u64, u64) {
    let ticks = u128::from(utime) + u128::from(stime);
    if ticks == 0 {
        return (0, rtime); // no tick ever met it: short work, most likely in the kernel
    }
    let stime = (u128::from(rtime) * u128::from(stime) / ticks) as u64;
    (rtime - stime, stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_time_is_divided_in_the_proportion_of_the_ticks() {
        assert_eq!(adjust(3, 1, 1000), (750, 250));
        assert_eq!(adjust(0, 7, 1000), (0, 1000));
        assert_eq!(adjust(0, 0, 1000), (0, 1000));
    }
    #[test]
    fn dividing_years_of_run_time_does_not_overflow() {
        let years = 300 * 365 * 86_400 * 1_000_000_000;
        let (user, system) = adjust(years, years, years);
        assert_eq!(user + system, years);
    }
}
