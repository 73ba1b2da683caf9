//! Softirqs, ksoftirqd and tasklets (Linux: kernel/softirq.c).
//!
//! A hard interrupt raises a bit; the handlers run when the outermost interrupt ends, with
//! interrupts on. After ten rounds or two milliseconds the rest is left to ksoftirqd/N, so that a
//! flood of interrupts cannot starve the tasks.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::arch;
use crate::kernel::preempt::{
    HARDIRQ_OFFSET, SOFTIRQ_DISABLE_OFFSET, SOFTIRQ_OFFSET, in_interrupt,
};
use crate::kernel::rcu;
use crate::kernel::sched::task::Task;
use crate::kernel::smpboot::{SmpHotplugThread, smpboot_register_percpu_thread};
use crate::mm::percpu::{NR_CPUS, PerCpu};
use crate::prelude::*;

/// The ten softirqs in order of service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Softirq {
    Hi,
    Timer,
    NetTx,
    NetRx,
    Block,
    IrqPoll,
    Tasklet,
    Sched,
    Hrtimer,
    Rcu,
}

/// Number of softirqs.
pub const NR_SOFTIRQS: usize = 10;
/// Names of /proc/softirqs.
pub const SOFTIRQ_NAMES: [&str; NR_SOFTIRQS] = [
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
];

const MAX_SOFTIRQ_RESTART: u32 = 10;
const MAX_SOFTIRQ_TIME_NS: u64 = 2_000_000;

static HANDLERS: [spin::Once<fn()>; NR_SOFTIRQS] = [const { spin::Once::new() }; NR_SOFTIRQS];

#[per_cpu]
static PENDING: PerCpu<AtomicU32> = PerCpu::new(AtomicU32::new(0));
#[per_cpu]
static COUNTS: PerCpu<[AtomicU64; NR_SOFTIRQS]> =
    PerCpu::new([const { AtomicU64::new(0) }; NR_SOFTIRQS]);
static KSOFTIRQD: [IrqSpinLock<Option<Arc<Task>>>; NR_CPUS] =
    [const { SpinLock::new(None) }; NR_CPUS];

/// Installs the handler of a softirq (Linux: `open_softirq`).
pub fn open_softirq(nr: Softirq, handler: fn()) {
    HANDLERS[nr as usize].call_once(|| handler);
}

/// How often a softirq ran on a CPU.
pub fn softirq_count(cpu: usize, nr: usize) -> u64 {
    COUNTS.on(cpu)[nr].load(Ordering::Relaxed)
}

/// Asks for a softirq on this CPU. Outside interrupts ksoftirqd is woken to serve it.
pub fn raise_softirq(nr: Softirq) {
    let flags = arch::local_irq_save();
    PENDING
        .raw_this()
        .fetch_or(1 << nr as u8, Ordering::Relaxed);
    if !in_interrupt() {
        wakeup_softirqd();
    }
    arch::local_irq_restore(flags);
}

fn wakeup_softirqd() {
    let cpu = arch::smp_processor_id();
    let thread = KSOFTIRQD[cpu].lock().clone();
    if let Some(thread) = thread {
        crate::kernel::sched::wake_up_process(&thread);
    }
}

fn pending() -> u32 {
    PENDING.raw_this().load(Ordering::Relaxed)
}

/// Enters a hard interrupt (Linux: `irq_enter`).
#[inline]
pub fn irq_enter() {
    arch::preempt_count_add(HARDIRQ_OFFSET);
    rcu::rcu_irq_enter();
    crate::kernel::time::tick::tick_irq_enter();
}

/// Leaves a hard interrupt and serves what it raised (Linux: `irq_exit`). Interrupts are off.
#[inline]
pub fn irq_exit() {
    arch::preempt_count_sub(HARDIRQ_OFFSET);
    if in_interrupt() {
        return;
    }
    if pending() != 0 {
        do_softirq_own_context();
    }
    rcu::rcu_irq_exit();
}

/// Serves pending softirqs; interrupts are off on entry and on return.
fn do_softirq_own_context() {
    let start = crate::kernel::time::sched_clock();
    arch::preempt_count_add(SOFTIRQ_OFFSET);
    for _ in 0..MAX_SOFTIRQ_RESTART {
        serve_once();
        let over = crate::kernel::time::sched_clock() - start > MAX_SOFTIRQ_TIME_NS;
        if pending() == 0 || over {
            break;
        }
    }
    arch::preempt_count_sub(SOFTIRQ_OFFSET);
    if pending() != 0 {
        wakeup_softirqd();
    }
}

fn serve_once() {
    let mut bits = PENDING.raw_this().swap(0, Ordering::Relaxed);
    arch::local_irq_enable();
    while bits != 0 {
        let nr = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        COUNTS.raw_this()[nr].fetch_add(1, Ordering::Relaxed);
        run_handler(nr);
    }
    arch::local_irq_disable();
}

fn run_handler(nr: usize) {
    let Some(handler) = HANDLERS[nr].get() else {
        return;
    };
    let before = arch::preempt_count();
    handler();
    let after = arch::preempt_count();
    if before != after {
        pr_err!(
            "huh, entered softirq {} {} {:p} with preempt_count {:08x}, exited with {:08x}?",
            nr,
            SOFTIRQ_NAMES[nr],
            *handler,
            before,
            after
        );
        arch::preempt_count_add(before - after);
    }
}

/// No softirqs on this CPU until dropped.
#[must_use = "softirqs run again when the guard is dropped"]
pub struct BhGuard {
    _not_send: core::marker::PhantomData<*mut ()>,
}

/// Keeps softirqs off this CPU (Linux: `local_bh_disable`). Not in hard interrupts.
pub fn local_bh_disable() -> BhGuard {
    arch::preempt_count_add(SOFTIRQ_DISABLE_OFFSET);
    BhGuard {
        _not_send: core::marker::PhantomData,
    }
}

impl Drop for BhGuard {
    fn drop(&mut self) {
        // Keep one level of preemption off while the softirqs run.
        arch::preempt_count_sub(SOFTIRQ_DISABLE_OFFSET - 1);
        if !in_interrupt() && pending() != 0 {
            let flags = arch::local_irq_save();
            do_softirq_own_context();
            arch::local_irq_restore(flags);
        }
        arch::preempt_count_sub(1);
        if arch::preempt_count() == 0 {
            crate::kernel::sched::preempt_check_resched();
        }
    }
}

/// ksoftirqd/N: serves what the interrupt exit left over.
fn run_ksoftirqd(_cpu: usize) -> i32 {
    use crate::kernel::sched::task::state;
    use crate::kernel::sched::{schedule, set_current_state};
    loop {
        set_current_state(state::TASK_INTERRUPTIBLE);
        if pending() == 0 {
            schedule();
        }
        set_current_state(state::TASK_RUNNING);
        while pending() != 0 {
            let flags = arch::local_irq_save();
            do_softirq_own_context();
            arch::local_irq_restore(flags);
            crate::kernel::sched::cond_resched();
        }
    }
}

static SOFTIRQ_THREADS: SmpHotplugThread = SmpHotplugThread {
    name: "ksoftirqd",
    run: run_ksoftirqd,
    created: |cpu, thread| *KSOFTIRQD[cpu].lock() = Some(thread.clone()),
};

/// Gives every CPU its ksoftirqd (Linux: `spawn_ksoftirqd`).
#[__init]
fn spawn_ksoftirqd() -> Result {
    smpboot_register_percpu_thread(&SOFTIRQ_THREADS)
}
early_initcall!(spawn_ksoftirqd);

// --- tasklets ---

/// A function that softirq context runs once for each time it is scheduled; never on two CPUs at
/// a time (Linux: `struct tasklet_struct`).
pub struct Tasklet {
    function: fn(usize),
    data: usize,
    state: AtomicUsize,
}

const TASKLET_SCHED: usize = 1;
const TASKLET_RUN: usize = 2;

type TaskletQueue = IrqSpinLock<Vec<&'static Tasklet>>;
static TASKLETS: [TaskletQueue; NR_CPUS] = [const { SpinLock::new(Vec::new()) }; NR_CPUS];
static TASKLETS_HI: [TaskletQueue; NR_CPUS] = [const { SpinLock::new(Vec::new()) }; NR_CPUS];

impl Tasklet {
    /// A tasklet that calls `function(data)`.
    pub const fn new(function: fn(usize), data: usize) -> Self {
        Self {
            function,
            data,
            state: AtomicUsize::new(0),
        }
    }

    /// Runs it soon (Linux: `tasklet_schedule`). Any context.
    pub fn schedule(&'static self) {
        self.queue_on(&TASKLETS, Softirq::Tasklet);
    }

    /// Runs it before the ordinary ones (Linux: `tasklet_hi_schedule`).
    pub fn hi_schedule(&'static self) {
        self.queue_on(&TASKLETS_HI, Softirq::Hi);
    }

    fn queue_on(&'static self, queues: &'static [TaskletQueue; NR_CPUS], nr: Softirq) {
        if self.state.fetch_or(TASKLET_SCHED, Ordering::AcqRel) & TASKLET_SCHED != 0 {
            return;
        }
        let flags = arch::local_irq_save();
        queues[arch::smp_processor_id()].lock().push(self);
        raise_softirq(nr);
        arch::local_irq_restore(flags);
    }
}

fn run_tasklets(queues: &'static [TaskletQueue; NR_CPUS], nr: Softirq) {
    let list = core::mem::take(&mut *queues[arch::smp_processor_id()].lock());
    for tasklet in list {
        if tasklet.state.fetch_or(TASKLET_RUN, Ordering::AcqRel) & TASKLET_RUN != 0 {
            // Runs on another CPU: later.
            queues[arch::smp_processor_id()].lock().push(tasklet);
            raise_softirq(nr);
            continue;
        }
        tasklet.state.fetch_and(!TASKLET_SCHED, Ordering::AcqRel);
        (tasklet.function)(tasklet.data);
        tasklet.state.fetch_and(!TASKLET_RUN, Ordering::AcqRel);
    }
}

/// Opens the two tasklet softirqs (Linux: `softirq_init`).
#[__init]
pub fn softirq_init() {
    open_softirq(Softirq::Tasklet, || {
        run_tasklets(&TASKLETS, Softirq::Tasklet)
    });
    open_softirq(Softirq::Hi, || run_tasklets(&TASKLETS_HI, Softirq::Hi));
}
