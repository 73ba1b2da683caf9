//! The scheduler (Linux: kernel/sched/).
//!
//! Each CPU has a run queue ([`rq`]) with four classes: stop, real time ([`rt`]), fair ([`fair`])
//! and idle. [`core`] switches between tasks and wakes them; [`wait`], [`swait`] and
//! [`completion`] are what tasks sleep on; [`cputime`] and [`loadavg`] count.
//!
//! Lock order: tasklist lock (kernel/pid.rs), wait queue, `wake_lock` of a task, run queue.

mod change;
pub mod completion;
pub mod core;
pub mod cputime;
pub mod debug;
pub mod entity;
pub mod fair;
pub mod idle;
pub mod loadavg;
pub mod poll;
mod rq;
pub mod rt;
pub mod sleep_timeout;
pub mod stack;
mod stop_task;
mod swait;
pub mod syscalls;
pub mod task;
#[cfg(test)]
pub mod tests;
pub mod wait;
mod wchan;

pub use self::change::set_cpus_allowed;
pub use self::core::{
    activate_mm, cond_resched, current, exec_mmap, fold_need_resched, kick_process, might_sleep,
    need_resched, preempt_check_resched, preempt_schedule, preempt_schedule_irq, resched_cpu,
    sched_init, schedule, schedule_preempt_disabled, schedule_tail, scheduler_tick,
    set_current_state, task_sched_runtime, try_current, try_to_wake_up, wake_up_new_task,
    wake_up_process, wake_up_state, yield_now,
};
pub use self::loadavg::{calc_global_load, loadavg_fixed};
pub use self::rq::{cpu_active_mask, sched_cpu_activate};
pub use self::sleep_timeout::{
    MAX_SCHEDULE_TIMEOUT, schedule_timeout, schedule_timeout_idle, schedule_timeout_interruptible,
    schedule_timeout_killable, schedule_timeout_uninterruptible,
};
pub use self::swait::{Sleep, SwaitQueue, WokenBy, sleep_on as swait_sleep_on};
pub use self::wchan::get_wchan;
