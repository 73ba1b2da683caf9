//! Idle tasks and kernel threads that every CPU has one of (Linux: kernel/smpboot.c).
#![forbid(unsafe_code)]

use crate::kernel::cpu::online_cpus;
use crate::kernel::fork::fork_idle;
use crate::kernel::kthread::kthread_create_on_cpu;
use crate::kernel::locking::Mutex;
use crate::kernel::sched::task::Task;
use crate::kernel::sched::wake_up_process;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// A kind of thread of which each CPU has one (Linux: `struct smp_hotplug_thread`).
pub struct SmpHotplugThread {
    /// Its name is `NAME/CPU`.
    pub name: &'static str,
    /// Its function; the argument is the CPU.
    pub run: fn(usize) -> i32,
    /// Is told about each new thread before it runs.
    pub created: fn(usize, &Arc<Task>),
}

struct Registered {
    kind: &'static SmpHotplugThread,
    threads: [Option<Arc<Task>>; NR_CPUS],
}

/// The kinds, in the order in which they were registered. Process context.
static HOTPLUG_THREADS: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// Makes the thread for all CPUs that run, and for others when they start (Linux:
/// `smpboot_register_percpu_thread`). May sleep. Errors: ENOMEM.
pub fn smpboot_register_percpu_thread(kind: &'static SmpHotplugThread) -> Result {
    let mut kinds = HOTPLUG_THREADS.lock();
    let mut registered = Registered {
        kind,
        threads: [const { None }; NR_CPUS],
    };
    for cpu in online_cpus() {
        registered.create(cpu)?;
        registered.wake(cpu);
    }
    kinds.push(registered);
    Ok(())
}

impl Registered {
    fn create(&mut self, cpu: usize) -> Result {
        if self.threads[cpu].is_some() {
            return Ok(());
        }
        let run = self.kind.run;
        let name = format!("{}/{cpu}", self.kind.name);
        let thread = kthread_create_on_cpu(&name, cpu, move || run(cpu))?;
        (self.kind.created)(cpu, &thread);
        self.threads[cpu] = Some(thread);
        Ok(())
    }

    fn wake(&self, cpu: usize) {
        if let Some(thread) = &self.threads[cpu] {
            wake_up_process(thread);
        }
    }
}

/// Makes the threads of a CPU that is about to start; they sleep (Linux:
/// `smpboot_create_threads`). The kind that was registered last comes first. Errors: ENOMEM.
pub fn smpboot_create_threads(cpu: usize) -> Result {
    let mut kinds = HOTPLUG_THREADS.lock();
    kinds.iter_mut().rev().try_for_each(|kind| kind.create(cpu))
}

/// Lets the threads of a CPU run (Linux: `smpboot_unpark_threads`).
pub fn smpboot_unpark_threads(cpu: usize) {
    HOTPLUG_THREADS
        .lock()
        .iter()
        .for_each(|kind| kind.wake(cpu));
}

/// The idle task of a CPU that is about to start (Linux: `idle_thread_get`, `idle_init`).
/// Errors: ENOMEM.
pub fn idle_thread_get(cpu: usize) -> Result<Arc<Task>> {
    static IDLE_THREADS: Mutex<[Option<Arc<Task>>; NR_CPUS]> =
        Mutex::new([const { None }; NR_CPUS]);
    let mut idle = IDLE_THREADS.lock();
    if let Some(idle) = &idle[cpu] {
        return Ok(idle.clone());
    }
    let made = fork_idle(cpu)?;
    idle[cpu] = Some(made.clone());
    Ok(made)
}
