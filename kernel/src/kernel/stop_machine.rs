//! Work that nothing on a CPU can delay (Linux: kernel/stop_machine.c).
//!
//! Each CPU has a thread `migration/N` of the stop class: it preempts everything. It moves running
//! tasks to other CPUs, and with `stop_machine` holds all CPUs while one of them changes something
//! that nobody may look at meanwhile.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch;
use crate::kernel::cpu::{CPU_ACTIVE, cpu_online};
use crate::kernel::locking::Mutex;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::task::{Task, state};
use crate::kernel::sched::{sched_set_stop_task, schedule, set_current_state, wake_up_process};
use crate::kernel::smpboot::{SmpHotplugThread, smpboot_register_percpu_thread};
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// What a stopper runs: with preemption off, not sleeping.
type Work = Box<dyn FnOnce() + Send>;

/// The stopper of a CPU (Linux: `struct cpu_stopper`).
struct CpuStopper {
    works: IrqSpinLock<VecDeque<Work>>,
    thread: IrqSpinLock<Option<Arc<Task>>>,
}

static STOPPERS: [CpuStopper; NR_CPUS] = [const {
    CpuStopper {
        works: SpinLock::new(VecDeque::new()),
        thread: SpinLock::new(None),
    }
}; NR_CPUS];

fn queue_stop_work(cpu: usize, work: Work) {
    STOPPERS[cpu].works.lock().push_back(work);
    let thread = STOPPERS[cpu].thread.lock().clone();
    if let Some(thread) = thread {
        wake_up_process(&thread);
    }
}

/// Runs `work` in the stopper of `cpu` and waits for it (Linux: `stop_one_cpu`). May sleep.
/// Errors: ENOENT when the CPU does not run.
pub fn stop_one_cpu(cpu: usize, work: impl FnOnce() + Send + 'static) -> Result {
    if !cpu_online(cpu) || STOPPERS[cpu].thread.lock().is_none() {
        return Err(Errno::ENOENT);
    }
    let done = Arc::new(Completion::new());
    let tell = done.clone();
    let run = move || {
        work();
        tell.complete();
    };
    queue_stop_work(cpu, Box::new(run));
    done.wait_for_completion();
    Ok(())
}

/// The thread's loop (Linux: `cpu_stopper_thread`).
fn cpu_stopper_thread(cpu: usize) -> i32 {
    loop {
        set_current_state(state::TASK_INTERRUPTIBLE);
        let work = STOPPERS[cpu].works.lock().pop_front();
        match work {
            Some(work) => {
                set_current_state(state::TASK_RUNNING);
                let _here = preempt_disable();
                work();
            }
            None => schedule(),
        }
    }
}

static CPU_STOP_THREADS: SmpHotplugThread = SmpHotplugThread {
    name: "migration",
    run: cpu_stopper_thread,
    created: |cpu, thread| {
        sched_set_stop_task(thread);
        *STOPPERS[cpu].thread.lock() = Some(thread.clone());
    },
};

/// Linux: `cpu_stop_init`.
#[__init]
fn cpu_stop_init() -> Result {
    smpboot_register_percpu_thread(&CPU_STOP_THREADS)
}
early_initcall!(cpu_stop_init);

// --- all CPUs ---------------------------------------------------------------------------------

/// Steps that all CPUs take together (Linux: `enum multi_stop_state`).
const PREPARE: u32 = 0;
const DISABLE_IRQ: u32 = 1;
const RUN: u32 = 2;
const EXIT: u32 = 3;

/// What the stoppers of one `stop_machine` share (Linux: `struct multi_stop_data`).
struct MultiStop {
    state: AtomicU32,
    /// CPUs that have not taken the present step yet.
    missing: AtomicU32,
    cpus: u32,
    work: IrqSpinLock<Option<Work>>,
    finished: Completion,
}

impl MultiStop {
    /// The last CPU that takes a step leads all to the next one.
    fn acknowledge(&self, step: u32) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.missing.store(self.cpus, Ordering::Relaxed);
        if step == EXIT {
            self.finished.complete();
        } else {
            self.state.store(step + 1, Ordering::Release);
        }
    }

    /// What each stopper does (Linux: `multi_cpu_stop`). Preemption is off.
    fn take_part(&self, runs_work: bool) {
        for step in PREPARE..=EXIT {
            while self.state.load(Ordering::Acquire) < step {
                arch::cpu_relax();
            }
            match step {
                DISABLE_IRQ => arch::local_irq_disable(),
                RUN if runs_work => {
                    let work = self.work.lock().take();
                    work.into_iter().for_each(|work| work());
                }
                _ => {}
            }
            self.acknowledge(step);
        }
        arch::local_irq_enable();
    }
}

/// Runs `work` on one CPU while all others wait with interrupts off (Linux: `stop_machine`).
/// One at a time. May sleep.
pub fn stop_machine(work: impl FnOnce() + Send + 'static) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let cpus = CPU_ACTIVE.bits();
    let shared = Arc::new(MultiStop {
        state: AtomicU32::new(PREPARE),
        missing: AtomicU32::new(cpus.count_ones()),
        cpus: cpus.count_ones(),
        work: SpinLock::new(Some(Box::new(work))),
        finished: Completion::new(),
    });
    let first = cpus.trailing_zeros() as usize;
    for cpu in crate::kernel::smp::cpus_of(cpus) {
        let shared = shared.clone();
        queue_stop_work(cpu, Box::new(move || shared.take_part(cpu == first)));
    }
    shared.finished.wait_for_completion();
}
