//! Unit tests of the queues; sending and delivery need tasks and are tested in the guest.

use super::*;

fn info(sig: i32) -> SigInfo {
    SigInfo::kernel(sig)
}

#[test]
fn a_fault_is_taken_before_a_lower_numbered_signal() {
    let mut pending = SigPending::default();
    pending.push(info(SIGHUP));
    pending.push(info(SIGSEGV));
    assert_eq!(pending.next(0), Some(SIGSEGV));
    assert_eq!(pending.next(sigmask(SIGSEGV)), Some(SIGHUP));
}

#[test]
fn real_time_signals_queue_and_keep_their_order() {
    let mut pending = SigPending::default();
    for value in 1..=3 {
        pending.push(SigInfo::queue(40, SI_QUEUE, 1, 0, value));
    }
    let values: Vec<u64> = (0..3).map(|_| pending.take(40).info.value()).collect();
    assert_eq!(values, [1, 2, 3]);
    assert_eq!(pending.set, 0);
}

#[test]
fn flushing_stop_signals_keeps_the_others() {
    let mut pending = SigPending::default();
    pending.push(info(SIGTSTP));
    pending.push(info(SIGUSR1));
    pending.flush(SIG_KERNEL_STOP_MASK);
    assert_eq!(pending.set, sigmask(SIGUSR1));
    assert_eq!(pending.queued(), 1);
}

#[test]
fn a_forked_group_inherits_limits_and_job_control_only() {
    let parent = SignalStruct::init();
    parent.pgrp.store(7, Ordering::Relaxed);
    parent.session.store(5, Ordering::Relaxed);
    parent.rlimits.lock()[uapi::resource::RLIMIT_NOFILE as usize].rlim_cur = 99;
    parent.shared_pending.lock().push(info(SIGTERM));
    let child = parent.fork();
    assert_eq!((child.pgrp(), child.session()), (7, 5));
    assert_eq!(child.rlimit(uapi::resource::RLIMIT_NOFILE), 99);
    assert_eq!(child.shared_pending.lock().set, 0);
}
