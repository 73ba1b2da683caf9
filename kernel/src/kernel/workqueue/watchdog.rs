//! Pools that make no progress (Linux: `wq_watchdog_timer_fn`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::init;
use super::pool::WorkerPool;
use crate::kernel::time::timer::Timer;
use crate::kernel::time::{HZ, jiffies};
use crate::prelude::*;

/// Seconds without progress after which a pool is reported (`workqueue.watchdog_thresh=`); 0
/// turns the watchdog off.
static THRESH: AtomicU64 = AtomicU64::new(30);

fn thresh_jiffies() -> u64 {
    THRESH.load(Ordering::Relaxed) * HZ
}

/// Starts the watchdog (Linux: `wq_watchdog_init`).
pub(super) fn wq_watchdog_init() {
    let thresh = thresh_jiffies();
    if thresh != 0 {
        TIMER
            .call_once(|| Timer::new(watch))
            .mod_timer(jiffies() + thresh);
    }
}

static TIMER: spin::Once<Arc<Timer>> = spin::Once::new();

fn watch() {
    let (now, thresh) = (jiffies(), thresh_jiffies());
    let mut stuck = false;
    for pool in init::pools() {
        if now > pool.watchdog_ts.load(Ordering::Relaxed) + thresh
            && !pool.lock().worklist.is_empty()
        {
            report(pool, now);
            stuck = true;
        }
    }
    if stuck {
        for pool in init::pools() {
            pool.touch_watchdog(); // one report for each threshold
        }
    }
    if let Some(timer) = TIMER.get() {
        timer.mod_timer(now + thresh);
    }
}

fn report(pool: &WorkerPool, now: u64) {
    let seconds = now.saturating_sub(pool.watchdog_ts.load(Ordering::Relaxed)) / HZ;
    let cpus = pool
        .cpu
        .map_or_else(|| String::from("all"), |cpu| format!("{cpu}"));
    pr_emerg!(
        "BUG: workqueue lockup - pool cpus={cpus} node=0 flags={:#x} nice={} stuck for {seconds}s!",
        pool.flags.load(Ordering::Relaxed),
        pool.nice
    );
}

#[__init]
fn watchdog_thresh_setup(value: &str) -> Result {
    let seconds = value.parse().map_err(|_| Errno::EINVAL)?;
    THRESH.store(seconds, Ordering::Relaxed);
    Ok(())
}
__setup!("workqueue.watchdog_thresh=", watchdog_thresh_setup);
