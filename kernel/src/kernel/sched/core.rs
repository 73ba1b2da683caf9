//! Switching and waking tasks (Linux: kernel/sched/core.c).
//!
//! # Sleeping without losing a wake-up
//!
//! A sleeper stores its state, then looks at its condition, then calls `schedule`. A waker makes
//! the condition true, then looks at the state. Each side has a full barrier between its two
//! steps ([`set_current_state`] and the first lines of [`try_to_wake_up`]), so at least one of
//! them sees what the other did.

use core::mem;
use core::panic::Location;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};

use super::balance;
use super::cputime;
use super::entity::Class;
use super::fair::Enqueue;
use super::rq::{self, Rq, RqGuard, cpu_rq, task_rq_lock, this_rq};
use super::stack;
use super::task::{self, CurrentTask, Task, pf, state::*, tif};
use crate::arch;
use crate::kernel::panic::{self, Taint};
use crate::kernel::preempt::PREEMPT_OFFSET;
use crate::kernel::rseq::rseq_preempt;
use crate::kernel::{rcu, time, workqueue};
use crate::mm::mmap::MmStruct;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// Nanoseconds since boot, for accounting (Linux: `sched_clock`). Any context.
#[inline]
pub(super) fn sched_clock() -> u64 {
    time::sched_clock()
}

/// The running task (Linux: `current`). Panics before `init_task` is set up (kernel bug).
#[inline]
pub fn current() -> CurrentTask {
    task::current_task()
}

/// The running task, or `None` before `setup_boot_task`: for code that may run very early.
#[inline]
pub fn try_current() -> Option<CurrentTask> {
    (!arch::current_ptr().is_null()).then(task::current_task)
}

/// Whether the running task was asked to call `schedule`.
#[inline]
pub fn need_resched() -> bool {
    try_current().is_some_and(|task| task.test_tif(tif::NEED_RESCHED))
}

// --- schedule ---------------------------------------------------------------------------------

/// Why `__schedule` is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SwitchKind {
    /// By the task itself: its state says whether it sleeps.
    Voluntary,
    /// Preemption: whatever its state, the task stays runnable.
    Preempt,
}

/// Gives the CPU to another task; returns when this one is chosen again (Linux: `schedule`).
/// The task's state says whether it stays runnable. Context: process, preempt count 0.
pub fn schedule() {
    let is_worker = current().has_flag(pf::PF_WQ_WORKER);
    if is_worker && current().state.load(Ordering::Relaxed) != TASK_RUNNING {
        workqueue::wq_worker_sleeping();
    }
    loop {
        arch::preempt_count_add(PREEMPT_OFFSET);
        __schedule(SwitchKind::Voluntary);
        arch::preempt_count_sub(PREEMPT_OFFSET);
        if !need_resched() {
            break;
        }
    }
    if is_worker {
        workqueue::wq_worker_running();
    }
}

/// `schedule` for a caller with a preempt count of 1, which it has again afterwards
/// (Linux: `schedule_preempt_disabled`).
pub fn schedule_preempt_disabled() {
    arch::preempt_count_sub(PREEMPT_OFFSET);
    schedule();
    arch::preempt_count_add(PREEMPT_OFFSET);
}

/// The idle task's way into the scheduler (Linux: `schedule_idle`). Its preempt count is 1 all
/// the time, and it never sleeps.
pub(super) fn schedule_idle() {
    loop {
        __schedule(SwitchKind::Voluntary);
        if !need_resched() {
            break;
        }
    }
}

/// Preempts the running task if that was asked for; called when the preempt count falls to 0.
#[inline]
pub fn preempt_check_resched() {
    if need_resched() {
        preempt_schedule();
    }
}

/// This CPU was told that its task should call `schedule`: from now on `preempt_enable` sees it.
pub fn fold_need_resched() {
    if need_resched() {
        arch::set_preempt_need_resched();
    }
}

/// Preempts the running task, unless preemption or interrupts are off (Linux: `preempt_schedule`).
#[cold]
pub fn preempt_schedule() {
    if arch::preempt_count() != 0 || arch::irqs_disabled() {
        return; // the interrupt's exit or the next preempt_enable will see the flag
    }
    loop {
        arch::preempt_count_add(PREEMPT_OFFSET);
        __schedule(SwitchKind::Preempt);
        arch::preempt_count_sub(PREEMPT_OFFSET);
        if !need_resched() {
            break;
        }
    }
}

/// Preempts on the way out of an interrupt that came from kernel code (Linux:
/// `preempt_schedule_irq`). Entry code calls it when the preempt count is 0 after the interrupt;
/// it does nothing unless a switch was asked for.
///
/// On entry and on return: interrupts off.
pub fn preempt_schedule_irq() {
    debug_assert!(arch::irqs_disabled());
    while need_resched() && arch::preempt_count() == 0 {
        arch::preempt_count_add(PREEMPT_OFFSET);
        arch::local_irq_enable();
        __schedule(SwitchKind::Preempt);
        arch::local_irq_disable();
        arch::preempt_count_sub(PREEMPT_OFFSET);
    }
}

/// Tripwires at the entrance (Linux: `schedule_debug`). Returns what the preempt count had too much;
/// the caller gets it back when it runs again.
#[inline]
fn schedule_debug(prev: &Task) -> i32 {
    stack::check_stack_end(prev);
    if arch::preempt_count() != PREEMPT_OFFSET && prev.exit_state.load(Ordering::Relaxed) == 0 {
        return schedule_bug(prev);
    }
    0
}

#[cold]
fn schedule_bug(prev: &Task) -> i32 {
    let count = arch::preempt_count();
    pr_err!(
        "BUG: scheduling while atomic: {}/{}/0x{count:08x}",
        prev.comm(),
        prev.pid()
    );
    report_bad_context();
    // The count is the CPU's: other tasks must not inherit what this one has too much.
    let extra = count - PREEMPT_OFFSET;
    arch::preempt_count_add(-extra);
    extra
}

/// Chooses the next task and switches to it.
///
/// On entry: preempt count 1, interrupts in any state. On return: preempt count 1, interrupts on.
fn __schedule(kind: SwitchKind) {
    let prev = current().as_task();
    let extra = schedule_debug(prev);
    arch::local_irq_disable();
    rcu::note_context_switch(prev); // may wake a thread, so before the queue is locked
    let mut rq = this_rq().lock();
    rq.update_clock();
    rq.update_curr();
    let counter = match kind {
        SwitchKind::Voluntary if try_to_sleep(&mut rq, prev) => &prev.nvcsw,
        SwitchKind::Voluntary | SwitchKind::Preempt => &prev.nivcsw,
    };
    if rq.nr_running == 0 {
        balance::newidle_balance(&mut rq);
    }
    let next = rq.pick_next_task();
    prev.clear_tif(tif::NEED_RESCHED);
    arch::clear_preempt_need_resched();
    match next {
        Some(next) => {
            rq.nr_switches += 1;
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            context_switch(rq, prev, next);
        }
        None => {
            drop(rq);
            arch::local_irq_enable();
        }
    }
    if extra != 0 {
        arch::preempt_count_add(extra);
    }
}

/// Takes the caller off the queue if its state says so. False: it stays runnable.
#[inline]
fn try_to_sleep(rq: &mut Rq, prev: &Task) -> bool {
    let prev_state = prev.state.load(Ordering::Relaxed);
    if prev_state == TASK_RUNNING {
        return false;
    }
    if signal_pending_state(prev_state, prev) {
        prev.state.store(TASK_RUNNING, Ordering::Relaxed);
        return false;
    }
    let contributes = prev_state & TASK_UNINTERRUPTIBLE != 0 && prev_state & TASK_NOLOAD == 0;
    prev.se
        .contributes_to_load
        .store(contributes, Ordering::Relaxed);
    if contributes {
        rq.nr_uninterruptible += 1;
    }
    rq.deactivate_curr();
    true
}

/// Whether a signal forbids to sleep in this state (Linux: `signal_pending_state`).
#[inline]
pub(super) fn signal_pending_state(state: u32, task: &Task) -> bool {
    if state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL) == 0 || !task.signal_pending() {
        return false;
    }
    state & TASK_INTERRUPTIBLE != 0 || task.fatal_signal_pending()
}

// --- the switch -------------------------------------------------------------------------------

/// Switches address space and registers. The run queue stays locked over the switch: the next
/// task unlocks it in `finish_task_switch`, so that nobody chooses `prev` while its registers
/// are still here.
#[inline]
fn context_switch(mut rq: RqGuard<'_>, prev: &Task, next: Arc<Task>) {
    rseq_preempt(prev);
    rq.set_next_task(&next);
    next.se.on_cpu.store(true, Ordering::Relaxed);
    switch_mm_irqs_off(&mut rq, &next);
    let next_ptr: *const Task = &*next;
    rq.prev = rq.curr.replace(next);
    mem::forget(rq);
    // SAFETY: `rq.curr` and `rq.prev` keep both tasks alive; interrupts are off, and `prev` is
    // the running task, whose registers nobody else touches while its `on_cpu` is set.
    unsafe { arch::switch_to(prev, &*next_ptr) };
    // Somebody switched back to this task: perhaps on another CPU, from another `prev`.
    finish_task_switch();
}

/// Loads the page tables of `next` unless they are loaded already; a kernel thread keeps
/// whatever there is.
#[inline]
fn switch_mm_irqs_off(rq: &mut Rq, next: &Task) {
    if next.is_kthread() {
        return arch::enter_lazy_tlb();
    }
    let mm = next.mm.lock_irqs_off();
    match mm.as_ref() {
        Some(mm) => load_mm(rq, mm),
        None => arch::enter_lazy_tlb(), // on its way out
    }
}

/// Loads page tables on this CPU and keeps them alive while they are; the ones before go into
/// `prev_pgd`. Interrupts off.
#[inline]
fn load_mm(rq: &mut Rq, mm: &MmStruct) {
    arch::switch_mm(Some(mm));
    let pgd = mm.page_table();
    if !rq
        .active_pgd
        .as_ref()
        .is_some_and(|active| Arc::ptr_eq(active, pgd))
    {
        let before = rq.active_pgd.replace(pgd.clone());
        if let Some(before) = &before {
            before.left_by(rq.cpu as usize);
        }
        rq.prev_pgd = before;
    }
}

/// The second half of a switch, in the context of the task that was switched to: unlocks the run
/// queue that the other one locked and lets go of what it held.
///
/// On entry: interrupts off, run queue of this CPU locked. On return: interrupts on.
#[inline(always)]
fn finish_task_switch() {
    // SAFETY: the task that ran before locked this CPU's queue and forgot its guard.
    let mut rq = unsafe { this_rq().adopt() };
    let prev = rq.prev.take();
    let prev_pgd = rq.prev_pgd.take();
    let mut dead_stack = None;
    if let Some(prev) = &prev {
        // The state is read before `on_cpu` is cleared: then another CPU may run the task.
        let dead = prev.state.load(Ordering::Relaxed) == TASK_DEAD;
        debug_assert!(!dead || !prev.se.on_rq.load(Ordering::Relaxed));
        // Release: everything this task did here is seen by the CPU that runs it next.
        prev.se.on_cpu.store(false, Ordering::Release);
        if dead {
            prev.se.stack_end.set(0);
            dead_stack = prev.stack.lock().take();
        }
    }
    drop(rq);
    arch::local_irq_enable();
    if let Some(stack) = dead_stack {
        stack.free();
    }
    // Outside the lock: either may be the last reference.
    drop(prev_pgd);
    drop(prev);
}

/// The first thing a new task does (Linux: `schedule_tail`); arch's `ret_from_fork` calls it.
///
/// On entry: interrupts off, preempt count 1, run queue locked. On return: preempt count 0.
pub fn schedule_tail() {
    finish_task_switch();
    arch::preempt_count_sub(PREEMPT_OFFSET);
    preempt_check_resched();
    let task = current();
    let child_tid = task.set_child_tid.load(Ordering::Relaxed);
    if child_tid != 0 {
        // Nothing to be done about a bad pointer: clone(2) does not report it either.
        let _ = crate::mm::uaccess::put_user(crate::mm::UserAddr::new(child_tid), &task.pid());
    }
}

/// Makes `mm` the address space of the running task and loads its page tables; returns the old
/// one, which the caller drops where it may sleep (Linux: `activate_mm`). With `None` the task
/// goes on as a kernel thread does, on page tables that nobody changes under it.
/// Context: process.
pub fn activate_mm(mm: Option<Arc<MmStruct>>) -> Option<Arc<MmStruct>> {
    let task = current();
    // Interrupts off: no switch may come between the task's mm and the CPU's tables.
    let flags = arch::local_irq_save();
    let mut before = None;
    if let Some(mm) = &mm {
        let mut rq = this_rq().lock();
        load_mm(&mut rq, mm);
        before = rq.prev_pgd.take();
    } else {
        arch::enter_lazy_tlb();
    }
    let old = mem::replace(&mut *task.mm.lock(), mm);
    arch::local_irq_restore(flags);
    drop(before);
    old
}

/// execve(2): the running task continues in `mm`; returns the old address space (Linux:
/// fs/exec.c, `exec_mmap`). Wakes the parent that waits in vfork(2).
pub fn exec_mmap(mm: Arc<MmStruct>) -> Option<Arc<MmStruct>> {
    crate::kernel::fork::exec_mm_release(&current());
    activate_mm(Some(mm))
}

// --- waking -----------------------------------------------------------------------------------

/// Changes the state of the running task, with a full barrier (Linux: `set_current_state`).
#[inline]
pub fn set_current_state(state: u32) {
    current().state.swap(state, Ordering::SeqCst);
}

/// Changes the state of the running task to one that does not stand in a loop which looks again
/// (Linux: `set_special_state`). A waker that has seen an earlier state is done with it before,
/// or sees the new one: it cannot write over it.
pub fn set_special_state(state: u32) {
    let task = current();
    let _wakers = task.se.wake_lock.lock();
    task.state.store(state, Ordering::SeqCst);
}

/// `set_current_state` without the barrier, for going back to `TASK_RUNNING`.
#[inline]
pub(super) fn __set_current_state(state: u32) {
    current().state.store(state, Ordering::Relaxed);
}

/// Makes a sleeping task runnable; false if it was runnable already. Any context.
pub fn wake_up_process(task: &Arc<Task>) -> bool {
    try_to_wake_up(task, TASK_NORMAL)
}

/// Wakes a task that sleeps in one of the states of the mask. Any context.
pub fn wake_up_state(task: &Task, mask: u32) -> bool {
    try_to_wake_up(task, mask)
}

/// Makes `task` runnable if its state is in `mask` (Linux: `try_to_wake_up`). Any context but
/// NMI. The caller keeps the task alive; it lives in an `Arc`.
pub fn try_to_wake_up(task: &Task, mask: u32) -> bool {
    if core::ptr::eq(task, arch::current_ptr()) {
        return wake_up_current(task, mask);
    }
    let flags = arch::local_irq_save();
    let woken = ttwu_irqs_off(task, mask);
    arch::local_irq_restore(flags);
    // Without a lock around this, the woken task may be due at once.
    if woken && arch::preempt_count() == 0 {
        preempt_check_resched();
    }
    woken
}

#[inline]
fn ttwu_irqs_off(task: &Task, mask: u32) -> bool {
    // The waker's stores (its condition) come before its look at the state: taking the lock, a
    // read-modify-write, is a full barrier on x86, and the fence keeps the compiler to it.
    compiler_fence(Ordering::SeqCst);
    let _wakers = task.se.wake_lock.lock_irqs_off();
    if task.state.load(Ordering::Relaxed) & mask == 0 {
        return false;
    }
    if task.se.on_rq.load(Ordering::Acquire) && ttwu_runnable(task) {
        return true;
    }
    task.state.store(TASK_WAKING, Ordering::Relaxed);
    // It may still be on its way out of `schedule` on another CPU. Acquire: pairs with
    // `finish_task_switch`; after it the registers are saved.
    while task.se.on_cpu.load(Ordering::Acquire) {
        arch::cpu_relax();
    }
    ttwu_queue(task);
    true
}

/// An interrupt, or the task itself, wakes the running task: it only has to stay runnable.
fn wake_up_current(task: &Task, mask: u32) -> bool {
    let flags = arch::local_irq_save();
    let sleeps = task.state.load(Ordering::Relaxed) & mask != 0;
    if sleeps {
        task.state.store(TASK_RUNNING, Ordering::Relaxed);
    }
    arch::local_irq_restore(flags);
    sleeps
}

/// The task is still queued: it was about to sleep. Only its state has to change.
fn ttwu_runnable(task: &Task) -> bool {
    let rq = task_rq_lock(task);
    let queued = task.se.on_rq.load(Ordering::Relaxed);
    if queued {
        task.state.store(TASK_RUNNING, Ordering::Relaxed);
    }
    drop(rq);
    queued
}

/// Chooses a CPU and queues the task there. Interrupts off, `wake_lock` held.
#[inline]
fn ttwu_queue(task: &Task) {
    let from = task.se.cpu();
    let cpu = balance::select_task_rq(task, Enqueue::Wakeup);
    let mut rq = cpu_rq(cpu).lock();
    if cpu != from {
        task.se.cpu.store(cpu as u32, Ordering::Relaxed);
    }
    if task.se.contributes_to_load.swap(false, Ordering::Relaxed) {
        rq.nr_uninterruptible -= 1;
    }
    rq.update_clock();
    rq.activate_task(task_arc(task), Enqueue::Wakeup);
    rq.check_preempt_curr(task);
    task.state.store(TASK_RUNNING, Ordering::Release);
}

/// A counted handle to a task known by reference.
pub(super) fn task_arc(task: &Task) -> Arc<Task> {
    // SAFETY: every task is made by `Task::new`, in an `Arc`, and `task` is alive.
    unsafe {
        Arc::increment_strong_count(task);
        Arc::from_raw(task)
    }
}

/// Runs a new task for the first time (Linux: `wake_up_new_task`). Process context.
pub fn wake_up_new_task(task: &Arc<Task>) {
    let _wakers = task.se.wake_lock.lock();
    task.state.store(TASK_RUNNING, Ordering::Relaxed);
    let cpu = balance::select_task_rq(task, Enqueue::New);
    let mut rq = cpu_rq(cpu).lock();
    task.se.cpu.store(cpu as u32, Ordering::Relaxed);
    rq.update_clock();
    rq.activate_task(task.clone(), Enqueue::New);
    rq.check_preempt_curr(task);
}

// --- fork -------------------------------------------------------------------------------------

/// Gives a new task its parent's policy, or the default if the parent wants that (Linux:
/// `sched_fork`).
pub(crate) fn sched_fork(parent: &Task, child: &Task) {
    let (from, to) = (&parent.se, &child.se);
    let reset = from.reset_on_fork.load(Ordering::Relaxed);
    let (class, policy, nice) = match (from.class(), reset) {
        (Class::Fair, false) => (Class::Fair, from.policy(), from.nice()),
        (Class::Rt, false) => (Class::Rt, from.policy(), from.nice()),
        (Class::Rt, true) => (Class::Fair, uapi::sched::SCHED_NORMAL, 0),
        (Class::Fair, true) => (Class::Fair, from.policy(), from.nice().max(0)),
        (Class::Stop | Class::Idle, _) => (Class::Fair, uapi::sched::SCHED_NORMAL, 0),
    };
    to.set_class(class);
    to.set_policy(policy);
    to.set_nice_value(nice);
    to.set_rt_priority(if class == Class::Rt {
        from.rt_priority()
    } else {
        0
    });
    to.weight.set(super::change::weight_of(policy, nice));
    to.slice.set(from.slice.get());
    // The idle task belongs to its CPU, its children (pids 1 and 2) do not.
    let mask = match from.class() {
        Class::Idle => u64::MAX,
        Class::Stop | Class::Rt | Class::Fair => from.cpus_mask(),
    };
    to.cpus_mask.store(mask, Ordering::Relaxed);
    to.cpu
        .store(arch::smp_processor_id() as u32, Ordering::Relaxed);
}

// --- run time ---------------------------------------------------------------------------------

/// CPU time of a task up to now, ns (Linux: `task_sched_runtime`).
pub fn task_sched_runtime(task: &Task) -> u64 {
    let flags = arch::local_irq_save();
    let mut rq = task_rq_lock(task);
    if rq.curr.as_ref().is_some_and(|c| core::ptr::eq(&**c, task)) {
        rq.update_clock();
        rq.update_curr();
    }
    drop(rq);
    arch::local_irq_restore(flags);
    task.se.sum_exec_runtime()
}

// --- yielding and timeouts --------------------------------------------------------------------

/// Lets others run (sched_yield(2)).
pub fn yield_now() {
    arch::local_irq_disable();
    let others = give_way();
    arch::local_irq_enable();
    if others {
        schedule();
    }
}

/// Puts the running task behind the others; whether there are any. Interrupts off.
#[inline]
fn give_way() -> bool {
    let mut rq = this_rq().lock();
    if rq.nr_running <= 1 {
        return need_resched();
    }
    rq.update_clock();
    rq.update_curr();
    if let Some(curr) = &rq.curr {
        match curr.se.class() {
            Class::Fair => rq.cfs.yield_task(&curr.se),
            Class::Rt => curr.se.rt_requeue.store(true, Ordering::Relaxed),
            Class::Stop | Class::Idle => {}
        }
    }
    true
}

/// Lets others run if that was asked for, in a loop that takes long (Linux: `cond_resched`).
/// Process context.
#[inline]
pub fn cond_resched() -> bool {
    let asked = need_resched();
    if asked {
        preempt_check_resched();
    }
    asked
}

/// Makes a task that runs on another CPU enter the kernel, so that it sees a new signal (Linux:
/// `kick_process`). On this CPU it is in the kernel already. Any context.
pub fn kick_process(task: &Task) {
    let _here = crate::kernel::preempt::preempt_disable();
    let cpu = task.se.cpu();
    if cpu != arch::smp_processor_id() && task.se.is_running() {
        arch::smp_send_reschedule(cpu);
    }
}

// --- tick and boot ----------------------------------------------------------------------------

/// The periodic tick: accounting, preemption by deadline. Hard interrupt context.
pub fn scheduler_tick() {
    let mut rq = this_rq().lock();
    rq.update_clock();
    rq.task_tick();
    let idle = balance::nohz_idle_cpu(&rq);
    drop(rq);
    cputime::account_process_tick();
    rcu::rcu_sched_clock_irq(cputime::irq_from_user());
    balance::trigger_load_balance(idle);
}

/// Asks `cpu` for a switch, whoever runs there (Linux: `resched_cpu`). Any context, no queue locked.
pub fn resched_cpu(cpu: usize) {
    let flags = arch::local_irq_save();
    cpu_rq(cpu).lock().resched_curr();
    arch::local_irq_restore(flags);
}

/// Set by the first line of `sched_init`'s end: from then on sleeping is possible.
static SCHEDULER_RUNNING: AtomicBool = AtomicBool::new(false);

/// Warns when a function that may sleep is called where that is forbidden (Linux:
/// `might_sleep`).
#[inline]
#[track_caller]
pub fn might_sleep() {
    if (arch::preempt_count() != 0 || arch::irqs_disabled())
        && SCHEDULER_RUNNING.load(Ordering::Relaxed)
    {
        might_sleep_bug(Location::caller());
    }
}

#[cold]
fn might_sleep_bug(at: &Location<'_>) {
    static NEXT_REPORT: AtomicU64 = AtomicU64::new(0);
    let Some(task) = try_current() else { return };
    let now = time::jiffies();
    if task.pid() == 0 || now < NEXT_REPORT.load(Ordering::Relaxed) {
        return;
    }
    NEXT_REPORT.store(now + time::HZ, Ordering::Relaxed);
    pr_err!(
        "BUG: sleeping function called from invalid context at {}:{}",
        at.file(),
        at.line()
    );
    pr_err!(
        "in_atomic(): {}, irqs_disabled(): {}, non_block: 0, pid: {}, name: {}",
        u32::from(arch::preempt_count() != 0),
        u32::from(arch::irqs_disabled()),
        task.pid(),
        task.comm()
    );
    pr_err!("preempt_count: {:x}, expected: 0", arch::preempt_count());
    report_bad_context();
}

/// What follows both reports of a sleep where none is allowed.
#[cold]
fn report_bad_context() {
    arch::dump_stack();
    if panic::PANIC_ON_WARN.load(Ordering::Relaxed) {
        panic::panic(format_args!("scheduling while atomic"));
    }
    panic::add_taint(Taint::Warn);
}

/// Makes the boot task current, before anything else asks for it, and marks the end of the stack
/// that it runs on.
pub(crate) fn install_boot_task(task: Arc<Task>) {
    if let Some(end) = arch::init_stack_end() {
        // SAFETY: arch says where the boot stack ends; nothing has grown that far yet.
        unsafe { stack::set_boot_stack(&task, end) };
    }
    // SAFETY: the reference is never given back, so the task lives for ever.
    unsafe { arch::set_current_ptr(Arc::into_raw(task)) };
}

/// Prepares the run queues and makes the running task the idle task of this CPU (Linux:
/// `sched_init`). Context: boot, one CPU, interrupts off: before any timer interrupt can come.
pub fn sched_init() {
    for cpu in 0..NR_CPUS {
        if rq::cpu_active_mask() & (1 << cpu) != 0 {
            init_idle(current().to_arc(), cpu);
        }
    }
    balance::init_sched_fair_class();
    SCHEDULER_RUNNING.store(true, Ordering::Relaxed);
}

/// Makes `idle` the idle task of `cpu`, which does not run others yet (Linux: `init_idle`).
/// Returns where its stack begins; 0 for the boot task.
pub fn init_idle(idle: Arc<Task>, cpu: usize) -> u64 {
    let stack_top = idle
        .stack
        .lock()
        .as_ref()
        .map_or(0, |stack| stack.top().as_u64());
    idle.se.cpus_mask.store(1 << cpu, Ordering::Relaxed);
    idle.se.set_class(Class::Idle);
    idle.se.cpu.store(cpu as u32, Ordering::Relaxed);
    idle.se.on_rq.store(true, Ordering::Relaxed);
    idle.se.on_cpu.store(true, Ordering::Relaxed);
    idle.state.store(TASK_RUNNING, Ordering::Relaxed);
    let flags = arch::local_irq_save();
    {
        let mut rq = cpu_rq(cpu).lock();
        rq.cpu = cpu as u32;
        rq.update_clock();
        rq.idle = Some(idle.clone());
        rq.curr = Some(idle);
    }
    arch::local_irq_restore(flags);
    stack_top
}

// --- figures ----------------------------------------------------------------------------------

/// Sums a figure over the active CPUs.
fn sum_rq(figure: impl Fn(&Rq) -> i64) -> i64 {
    let flags = arch::local_irq_save();
    let sum = (0..NR_CPUS)
        .filter(|cpu| rq::cpu_active_mask() & (1 << cpu) != 0)
        .map(|cpu| figure(&cpu_rq(cpu).lock()))
        .sum();
    arch::local_irq_restore(flags);
    sum
}

/// Switches since boot on all CPUs (/proc/stat `ctxt`).
pub fn nr_context_switches() -> u64 {
    sum_rq(|rq| rq.nr_switches as i64) as u64
}
/// Runnable tasks on all CPUs (/proc/stat `procs_running`).
pub fn nr_running() -> u32 {
    sum_rq(|rq| i64::from(rq.nr_running)) as u32
}
/// Tasks in uninterruptible sleep (load average).
pub fn nr_uninterruptible() -> u64 {
    sum_rq(|rq| rq.nr_uninterruptible).max(0) as u64
}
