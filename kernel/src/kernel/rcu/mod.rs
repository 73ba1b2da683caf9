//! Read-copy update (Linux: kernel/rcu/, include/linux/rcupdate.h).
//!
//! Readers of a structure take no lock: between [`rcu_read_lock`] and the drop of its guard,
//! whatever they have reached stays in memory. A writer publishes a new version and frees the old
//! one after a grace period, when every reader that may have seen it has ended: by
//! [`synchronize_rcu`], which waits, or [`call_rcu`], which does not. [`Rcu`] is a pointer with
//! these rules built in.
//!
//! [`tree`] counts who a grace period waits for; [`gp`] runs grace periods in the thread
//! `rcu_preempt`; callbacks run in the softirq RCU. A reader may be preempted but does not sleep.
//! Regions with preemption or interrupts off are readers as well.

mod barrier;
mod gp;
mod pointer;
mod read;
mod segcblist;
mod seq;
mod stall;
#[cfg(test)]
mod tests;
mod tree;
mod update;

pub use self::barrier::rcu_barrier;
pub use self::gp::{needs_cpu, rcu_idle_enter, rcu_idle_exit, rcu_irq_enter, rcu_irq_exit};
pub use self::gp::{rcu_init, rcu_sched_clock_irq, rcutree_online_cpu};
#[cfg(test)]
pub(crate) use self::gp::{rcu_spawn_gp_kthread, reset_for_test};
pub use self::pointer::{Rcu, Retired};
pub use self::read::{RcuReadGuard, note_context_switch, rcu_read_lock};
pub use self::tree::{RcuReader, RcuState};
pub use self::update::{
    call_rcu, drop_rcu, gp_seq, rcu_end_inkernel_boot, rcu_expedite_gp, rcu_scheduler_starting,
    rcu_unexpedite_gp, synchronize_rcu, synchronize_rcu_expedited,
};
