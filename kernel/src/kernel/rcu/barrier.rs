//! Waiting for callbacks (Linux: kernel/rcu/tree.c, `rcu_barrier`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::gp::RCU;
use super::segcblist::{Callback, Func};
use super::seq;
use crate::kernel::locking::Mutex;
use crate::kernel::sched::completion::Completion;
use crate::mm::percpu::nr_cpu_ids;
use crate::prelude::*;

/// Counts barriers, so that those who waited for the mutex see that theirs is done.
static BARRIER_SEQUENCE: AtomicU64 = AtomicU64::new(0);
static BARRIER_MUTEX: Mutex<()> = Mutex::new(());

/// One barrier: its callbacks, one for each CPU that has others, and who waits for them.
struct Barrier {
    /// CPUs whose callback has not run.
    count: AtomicU32,
    completion: Completion,
}

impl Barrier {
    fn sub(&self, value: u32) {
        if self.count.fetch_sub(value, Ordering::AcqRel) == value {
            self.completion.complete();
        }
    }
}

/// Waits until all callbacks that were queued before the call have run. It asks for no grace
/// period: without callbacks it returns at once. May sleep.
pub fn rcu_barrier() {
    let snap = seq::snap(BARRIER_SEQUENCE.load(Ordering::SeqCst));
    let _one_at_a_time = BARRIER_MUTEX.lock();
    if seq::is_done(BARRIER_SEQUENCE.load(Ordering::SeqCst), snap) {
        return; // somebody else's whole barrier began after this call
    }
    advance_sequence(seq::start);
    // The count starts at two: callbacks of the first CPUs that run at once, while the others
    // are still being visited, must not bring it to zero.
    let barrier = Arc::new(Barrier {
        count: AtomicU32::new(2),
        completion: Completion::new(),
    });
    for cpu in 0..nr_cpu_ids() {
        entrain(&barrier, cpu);
    }
    barrier.sub(2);
    barrier.completion.wait_for_completion();
    advance_sequence(seq::end);
}

fn advance_sequence(step: fn(u64) -> u64) {
    let now = BARRIER_SEQUENCE.load(Ordering::Relaxed);
    BARRIER_SEQUENCE.store(step(now), Ordering::SeqCst);
}

/// Puts a callback behind the last one of `cpu`, if there is any. The list's lock makes that
/// possible from here, so the CPU is not interrupted for it (Linux: `rcu_barrier_entrain`).
fn entrain(barrier: &Arc<Barrier>, cpu: usize) {
    let of_callback = barrier.clone();
    let callback = Callback::new(Func::Call(Box::new(move || of_callback.sub(1))));
    let data = RCU.data(cpu);
    let mut callbacks = data.callbacks.lock();
    // Counted before it is in the list: it may run as soon as the lock is released.
    barrier.count.fetch_add(1, Ordering::Relaxed);
    match callbacks.entrain(callback) {
        Ok(()) => {
            data.nr_callbacks.fetch_add(1, Ordering::Relaxed);
        }
        Err(unused) => {
            barrier.count.fetch_sub(1, Ordering::Relaxed);
            drop(callbacks);
            drop(unused);
        }
    }
}
