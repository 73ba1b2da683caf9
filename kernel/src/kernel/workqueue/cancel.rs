//! Waiting for works and taking them back (Linux: `flush_work`, `cancel_work_sync`).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::queue::pwq_of_place;
use super::work::{FLUSH_WAIT, Queued, Work, remove_from};
use crate::arch;
use crate::kernel::sched::{cond_resched, might_sleep};
use crate::kernel::time::timer::Timer;
use crate::prelude::*;

/// Waits until the work has run that is queued now, or has ended that runs now. False: there was
/// nothing to wait for. May sleep; not from the work itself.
pub fn flush_work(work: &Arc<Work>) -> bool {
    might_sleep();
    let wanted = {
        let place = work.place.lock();
        if place.is_idle() {
            return false;
        }
        place.started + u64::from(place.queued != Queued::No)
    };
    FLUSH_WAIT.wait_event(|| {
        let place = work.place.lock();
        place.finished >= wanted || place.is_idle()
    });
    true
}

/// Takes the work back if it is queued, and waits until it does not run any more, even if it
/// queues itself. True: it was queued. May sleep; not from the work itself.
pub fn cancel_work_sync(work: &Arc<Work>) -> bool {
    cancel(work, None)
}

/// `cancel_work_sync`, for a work that may also wait for a timer.
pub(super) fn cancel(work: &Arc<Work>, timer: Option<&Arc<Timer>>) -> bool {
    might_sleep();
    let was_pending = grab(work, timer);
    // The claim is ours: nobody can queue it until it is given back below.
    FLUSH_WAIT.wait_event(|| !work.place.lock().is_running());
    give_back(work);
    was_pending
}

/// Makes the work's claim the caller's own, wherever it is (Linux: `work_grab_pending`). True:
/// it was queued, or waited for its timer.
pub(super) fn grab(work: &Arc<Work>, timer: Option<&Arc<Timer>>) -> bool {
    loop {
        let was_pending = match try_grab(work, timer) {
            Some(was_pending) => was_pending,
            None => {
                wait_for_owner(work);
                continue;
            }
        };
        work.place.lock().canceling = true;
        return was_pending;
    }
}

/// Ends what `grab` began.
pub(super) fn give_back(work: &Arc<Work>) {
    work.place.lock().canceling = false;
    work.pending.store(false, Ordering::SeqCst);
    FLUSH_WAIT.wake_up_all();
}

/// One attempt; `None` while somebody else is just queueing or cancelling the work.
fn try_grab(work: &Arc<Work>, timer: Option<&Arc<Timer>>) -> Option<bool> {
    if work.claim() {
        return Some(false);
    }
    if timer.is_some_and(Timer::del_timer) {
        return Some(true);
    }
    take_out(work).then_some(true)
}

/// Takes a queued work out of its list.
fn take_out(work: &Arc<Work>) -> bool {
    let Some(pool) = work.place.lock().last_pool else {
        return false;
    };
    let mut state = pool.lock();
    // Under the pool's lock it stays where it is, if it is in this pool.
    let (wq, index, queued, color) = {
        let place = work.place.lock();
        let is_here = place
            .last_pool
            .is_some_and(|last| core::ptr::eq(last, pool));
        match pwq_of_place(&place) {
            Some((wq, index)) if is_here && place.queued != Queued::No => {
                (wq, index, place.queued, place.color)
            }
            _ => return false,
        }
    };
    let removed = match queued {
        Queued::Inactive => wq.pwqs[index].remove_inactive(work),
        _ => remove_from(&mut state.worklist, work).or_else(|| {
            let mut workers = state.busy.iter().map(|busy| &busy.worker);
            workers.find_map(|worker| remove_from(&mut worker.scheduled.lock(), work))
        }),
    };
    if removed.is_none() {
        return false;
    }
    work.place.lock().queued = Queued::No;
    wq.pwqs[index].dec_in_flight(&mut state, color, queued);
    drop(state);
    FLUSH_WAIT.wake_up_all();
    true
}

fn wait_for_owner(work: &Arc<Work>) {
    if work.place.lock().canceling {
        FLUSH_WAIT.wait_event(|| !work.place.lock().canceling);
    } else {
        arch::cpu_relax();
        cond_resched();
    }
}
