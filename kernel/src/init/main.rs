//! From the first line of portable code to the first program (Linux: init/main.c).

use core::sync::atomic::{AtomicU8, Ordering};

use crate::arch;
use crate::init::{do_mounts, init_task, initcall, initramfs, params, run_init, version};
use crate::kernel::sched::completion::Completion;
use crate::kernel::{async_, cpu, kthread, pid, printk, rcu, sched, softirq, time, workqueue};
use crate::prelude::*;
use crate::{drivers, fs, mm};

/// How far the system is up, or down (Linux: `enum system_states`). Compared with < and >.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum SystemState {
    /// `start_kernel` runs.
    Booting,
    /// The scheduler may switch.
    Scheduling,
    /// Init memory is being freed.
    FreeingInitmem,
    /// All is up.
    Running,
    /// Going to stop.
    Halt,
    /// Going to switch off.
    PowerOff,
    /// Going to restart.
    Restart,
    /// Going to sleep.
    Suspend,
}

static SYSTEM_STATE: AtomicU8 = AtomicU8::new(SystemState::Booting as u8);

/// The state now.
pub fn system_state() -> SystemState {
    match SYSTEM_STATE.load(Ordering::Acquire) {
        0 => SystemState::Booting,
        1 => SystemState::Scheduling,
        2 => SystemState::FreeingInitmem,
        3 => SystemState::Running,
        4 => SystemState::Halt,
        5 => SystemState::PowerOff,
        6 => SystemState::Restart,
        _ => SystemState::Suspend,
    }
}

/// Moves on to another state.
pub fn set_system_state(state: SystemState) {
    SYSTEM_STATE.store(state as u8, Ordering::Release);
}

/// Released by `rest_init` when pid 2 can be asked for kernel threads; pid 1 waits for it.
#[__initdata]
static KTHREADD_DONE: Completion = Completion::new();

/// The portable kernel's first function.
///
/// On entry: one CPU, interrupts off, preemption off, early page tables, boot stack.
/// Never returns: the caller becomes the idle task.
#[__init]
pub fn start_kernel() -> ! {
    init_task::setup_boot_task(); // this stack becomes pid 0's, with an end mark that is checked
    arch::smp_setup_processor_id();
    arch::local_irq_disable(); // until time can be kept, see `local_irq_enable` below
    cpu::boot_cpu_init(); // this CPU is possible, present, active and online
    pr_notice!("{}", version::linux_banner());
    arch::setup_arch(); // memory map, own page tables, memblock, ACPI tables
    params::setup_boot_config(); // `kernel.*` keys become part of the command line
    params::setup_command_line(); // kept as it is for /proc/cmdline; parsing leaves it alone
    cpu::setup_nr_cpu_ids();
    arch::setup_per_cpu_areas(); // each CPU its own copy of every per-CPU variable
    arch::smp_prepare_boot_cpu(); // this CPU uses its copy from here on
    params::print_command_line();
    params::parse_early_param(); // console level, memory limits: before anything depends on them
    params::parse_boot_options(); // the rest; what nobody knows goes to init
    printk::setup_log_buf(); // needs memblock, and the size that was asked for
    fs::dcache::vfs_caches_init_early(); // how large the hash tables of names will be
    arch::trap_init(); // a fault is reported from here on by its final handler
    mm::mm_init::mm_core_init(); // buddy, slab, vmalloc: from here on the real heap
    sched::core::sched_init(); // before any timer interrupt can arrive
    if !arch::irqs_disabled() {
        pr_warn!("Interrupts were enabled *very* early, fixing it");
        arch::local_irq_disable();
    }
    workqueue::workqueue_init_early(); // work can be queued from here on; nobody does it yet
    rcu::rcu_init(); // readers, callbacks and the softirq that runs them
    arch::early_irq_init(); // descriptors for every interrupt line
    arch::init_irq(); // vectors, interrupt controllers
    time::timer::init_timers(); // the timer wheel, before anybody starts a timeout
    softirq::softirq_init(); // tasklets
    time::timekeeping::timekeeping_init(); // the time of day from the RTC
    arch::time_init(); // which interrupt ticks is decided in late_time_init
    drivers::char::random::random_init(); // seeds; the stack canary and ASLR depend on it
    if !arch::irqs_disabled() {
        pr_warn!("Interrupts were enabled early");
    }
    arch::local_irq_enable(); // the first moment an interrupt can arrive
    drivers::tty::console_init(); // what was logged so far appears on the consoles
    params::panic_later(); // too many init arguments: only now somebody sees the message
    mm::mm_init::setup_per_cpu_pageset(); // per-CPU page lists get their real size
    arch::late_time_init(); // TSC and local APIC timer: the tick starts
    crate::init::calibrate::calibrate_delay(); // needs the tick
    pid::pid_idr_init(); // before the first fork
    crate::kernel::cred::cred_init(); // what tasks may do
    crate::kernel::fork::fork_init(); // thread limit from the size of memory
    crate::kernel::fork::proc_caches_init();
    fs::vfs_caches_init(); // mounts the root file system that initramfs fills
    fs::proc::proc_root_init();
    arch::check_bugs(); // the last thing about the CPU: its bugs and what is done about them
    pr_info!("POSIX conformance testing by UNIFIX");
    rest_init()
}

/// Creates pid 1 and pid 2 and becomes the idle task (Linux: `rest_init`). Not init text: pid 1
/// frees that while this function is still on pid 0's stack.
#[__ref]
fn rest_init() -> ! {
    rcu::rcu_scheduler_starting(); // one CPU, no switch yet: the last moment without readers
    // Pid 1 must exist before kthreadd so that it is numbered 1, yet must not run ahead: it waits
    // on KTHREADD_DONE, since it will ask for kernel threads.
    let init = crate::kernel::fork::user_mode_thread(kernel_init);
    assert_eq!(init, Ok(1), "init must be pid 1");
    let kthreadd = crate::kernel::fork::kernel_thread(kthread::kthreadd);
    assert_eq!(kthreadd, Ok(2), "kthreadd must be pid 2");
    kthread::set_kthreadd_task(pid::find_task(2));
    // might_sleep() checks and kthread requests are meaningful from here on.
    set_system_state(SystemState::Scheduling);
    KTHREADD_DONE.complete();
    sched::idle::schedule_preempt_disabled(); // at least once, to get things moving
    sched::idle::cpu_startup_entry()
}

/// Pid 1 in the kernel. On return: the registers of the first program are in place and the entry
/// code goes to user mode (Linux: `kernel_init`).
#[__ref]
fn kernel_init() {
    KTHREADD_DONE.wait_for_completion();
    kernel_init_freeable();
    async_::async_synchronize_full(); // no call may still run in init text when that is freed
    set_system_state(SystemState::FreeingInitmem);
    free_initmem();
    mark_readonly();
    set_system_state(SystemState::Running);
    rcu::rcu_end_inkernel_boot(); // grace periods need not be fast any more
    crate::kernel::sysctl::do_sysctl_args();
    run_init::run_init_process();
}

/// The part of pid 1's life whose code is freed afterwards.
#[__init]
fn kernel_init_freeable() {
    mm::gfp::allow_all(); // the scheduler runs: an allocation may sleep
    crate::kernel::reboot::CAD_PID.store(1, Ordering::Relaxed); // Ctrl-Alt-Del goes to init
    arch::print_cpu_info("smpboot: CPU0: "); // all that there is of smp_prepare_cpus with one CPU
    workqueue::workqueue_init(); // the first workers: what was queued so far runs
    initcall::do_pre_smp_initcalls();
    workqueue::workqueue_init_topology(); // all CPUs are up
    initcall::assert_counts(); // an entry that the linker lost would be noticed here
    do_basic_setup();
    initramfs::wait_for_initramfs();
    console_on_rootfs();
    run_init::check_ramdisk_execute_command(do_mounts::prepare_namespace);
}

/// The machine is up, memory and processes work: devices and everything else (Linux: `do_basic_setup`).
#[__init]
fn do_basic_setup() {
    drivers::base::driver_init(); // devtmpfs first: drivers announce their devices to it
    initcall::do_ctors();
    initcall::do_initcalls();
}

/// Descriptors 0, 1 and 2 of pid 1 (Linux: `console_on_rootfs`).
#[__init]
fn console_on_rootfs() {
    if fs::init::open_console().is_err() {
        pr_err!("Warning: unable to open an initial console.");
    }
}

/// Gives the init sections back (Linux: arch/x86/mm/init.c, `free_initmem`).
#[__ref]
fn free_initmem() {
    arch::free_initmem();
}

/// Whether kernel text and constants become read-only (`rodata=`).
fn mark_readonly() {
    if params::rodata_enabled() {
        rcu::rcu_barrier(); // no callback is left that would write there
        arch::mark_rodata_ro();
        arch::debug_checkwx(); // in Linux the end of mark_rodata_ro
        mm::rodata_test::rodata_test();
    } else {
        pr_info!("Kernel memory protection disabled.");
    }
}

/// `kindling.bench`: says when the kernel got control, so that the boot's cost can be counted.
fn bench_setup(_value: &str) -> Result {
    pr_notice!("bench: entry tsc={}", arch::boot_params().entry_tsc);
    Ok(())
}
early_param!("kindling.bench", bench_setup);
