//! Workqueues on the machine of the test port.

use core::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::tests::{as_pid_1, settle};
use crate::kernel::sched::{current, schedule_timeout_uninterruptible};
use crate::kernel::time::jiffies;
use crate::prelude::*;

type Log = Arc<SpinLock<Vec<&'static str>>>;

/// Runs `body` as pid 1 of a machine with workers.
pub(crate) fn with_workers<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    as_pid_1(|| {
        start();
        workqueue_init();
        body()
    })
}

/// Step 1 on a fresh machine.
fn start() {
    workqueue_init_early();
    init::reset_for_test();
}

fn logger(log: &Log, text: &'static str) -> Arc<Work> {
    let log = log.clone();
    Work::new(move || log.lock().push(text))
}

#[test]
fn work_that_was_queued_before_there_were_workers_runs_when_there_are() {
    as_pid_1(|| {
        start();
        let log = Log::default();
        let work = logger(&log, "ran");
        assert!(schedule_work(&work));
        assert!(!schedule_work(&work), "it is queued already");
        settle();
        assert!(log.lock().is_empty() && work.is_pending());
        workqueue_init();
        flush_work(&work); // unless it has run already
        assert_eq!(*log.lock(), ["ran"]);
        assert!(!flush_work(&work), "nothing to wait for");
        assert!(schedule_work(&work), "it can be queued again");
        flush_work(&work);
        assert_eq!(log.lock().len(), 2);
    });
}

#[test]
fn workers_have_linux_names_and_kthreadd_as_parent() {
    with_workers(|| {
        let names: Vec<String> = crate::kernel::pid::all_tasks()
            .iter()
            .filter(|task| task.real_parent().is_some_and(|parent| parent.pid() == 2))
            .map(|task| task.comm())
            .collect();
        for name in [
            "kworker/0:0",
            "kworker/0:0H",
            "kworker/u2:0",
            "kworker/u3:0",
        ] {
            assert!(
                names.iter().any(|found| found == name),
                "{name} in {names:?}"
            );
        }
    });
}

#[test]
fn a_worker_that_sleeps_lets_another_one_run() {
    with_workers(|| {
        let event = Arc::new(Completion::new());
        let (waits, ends) = (event.clone(), event.clone());
        let sleeper = Work::new(move || waits.wait_for_completion());
        let waker = Work::new(move || ends.complete());
        schedule_work(&sleeper);
        schedule_work(&waker);
        // With one worker this would never return.
        flush_work(&sleeper);
        let pool = init::pools().next().expect("a pool");
        assert_eq!(
            pool.nr_running.load(Ordering::Relaxed),
            0,
            "nobody is lost or counted twice"
        );
    });
}

#[test]
fn a_work_never_runs_twice_at_a_time_and_is_not_forgotten() {
    static RUNNING: AtomicU64 = AtomicU64::new(0);
    static RUNS: AtomicU64 = AtomicU64::new(0);
    with_workers(|| {
        let work = Work::new(|| {
            assert_eq!(RUNNING.fetch_add(1, Ordering::Relaxed), 0);
            schedule_timeout_uninterruptible(2);
            RUNNING.fetch_sub(1, Ordering::Relaxed);
            RUNS.fetch_add(1, Ordering::Relaxed);
        });
        schedule_work(&work);
        settle(); // it runs and sleeps
        assert!(schedule_work(&work));
        // Another worker meets it in the list and puts it aside.
        let other = Work::new(|| ());
        schedule_work(&other);
        flush_work(&other);
        flush_work(&work);
        assert_eq!(RUNS.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn an_ordered_queue_runs_one_work_at_a_time_in_order() {
    with_workers(|| {
        let wq = alloc_ordered_workqueue("ordered", WqFlags::empty()).expect("a queue");
        let log = Log::default();
        let slow_log = log.clone();
        let slow = Work::new(move || {
            slow_log.lock().push("slow begins");
            schedule_timeout_uninterruptible(3);
            slow_log.lock().push("slow ends");
        });
        let (second, third) = (logger(&log, "second"), logger(&log, "third"));
        for work in [&slow, &second, &third] {
            queue_work(&wq, work);
        }
        settle();
        assert!(cancel_work_sync(&second), "it waits for its turn");
        wq.flush();
        assert_eq!(*log.lock(), ["slow begins", "slow ends", "third"]);
        wq.destroy();
    });
}

#[test]
fn flushing_a_queue_waits_for_what_was_queued_before() {
    with_workers(|| {
        let wq = alloc_workqueue("flushed", WqFlags::UNBOUND, 0).expect("a queue");
        let log = Log::default();
        for round in 0..3 {
            let works: Vec<_> = (0..5)
                .map(|_| {
                    let log = log.clone();
                    Work::new(move || {
                        schedule_timeout_uninterruptible(2);
                        log.lock().push("ran");
                    })
                })
                .collect();
            works.iter().for_each(|work| _ = queue_work(&wq, work));
            wq.flush();
            assert_eq!(log.lock().len(), 5 * (round + 1));
        }
        wq.destroy();
    });
}

#[test]
fn draining_waits_for_works_that_queue_themselves_again() {
    static LEFT: AtomicU64 = AtomicU64::new(5);
    with_workers(|| {
        let wq = alloc_workqueue("drained", WqFlags::empty(), 1).expect("a queue");
        let own: Arc<spin::Once<(Arc<Work>, Arc<Workqueue>)>> = Arc::new(spin::Once::new());
        let of_work = own.clone();
        let work = Work::new(move || {
            if LEFT.fetch_sub(1, Ordering::Relaxed) > 1
                && let Some((work, wq)) = of_work.get()
            {
                queue_work(wq, work);
            }
        });
        own.call_once(|| (work.clone(), wq.clone()));
        queue_work(&wq, &work);
        wq.drain();
        assert_eq!(LEFT.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_delayed_work_runs_after_its_time_unless_it_is_cancelled() {
    static RAN_AT: AtomicU64 = AtomicU64::new(0);
    with_workers(|| {
        let work = DelayedWork::new(|| RAN_AT.store(jiffies(), Ordering::Relaxed));
        let start = jiffies();
        assert!(schedule_delayed_work(&work, 10));
        assert!(!schedule_delayed_work(&work, 1), "it waits already");
        schedule_timeout_uninterruptible(30);
        let ran_at = RAN_AT.swap(0, Ordering::Relaxed);
        assert!(
            (start + 10..start + 20).contains(&ran_at),
            "{start} {ran_at}"
        );
        schedule_delayed_work(&work, 10);
        assert!(cancel_delayed_work_sync(&work));
        assert!(!cancel_delayed_work_sync(&work));
        schedule_timeout_uninterruptible(30);
        assert_eq!(RAN_AT.load(Ordering::Relaxed), 0);
        schedule_delayed_work(&work, 1_000_000);
        assert!(mod_delayed_work(system_wq(), &work, 1));
        schedule_timeout_uninterruptible(10);
        assert_ne!(RAN_AT.swap(0, Ordering::Relaxed), 0);
        schedule_delayed_work(&work, 1_000_000);
        assert!(flush_delayed_work(&work));
        assert_ne!(RAN_AT.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn cancelling_stops_a_work_that_queues_itself() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    with_workers(|| {
        let own: Arc<spin::Once<Weak<Work>>> = Arc::new(spin::Once::new());
        let of_work = own.clone();
        let work = Work::new(move || {
            RUNS.fetch_add(1, Ordering::Relaxed);
            schedule_timeout_uninterruptible(1);
            if let Some(work) = of_work.get().and_then(Weak::upgrade) {
                schedule_work(&work);
            }
        });
        own.call_once(|| Arc::downgrade(&work));
        schedule_work(&work);
        schedule_timeout_uninterruptible(10);
        cancel_work_sync(&work);
        let runs = RUNS.load(Ordering::Relaxed);
        assert!(runs > 1);
        schedule_timeout_uninterruptible(10);
        assert_eq!(RUNS.load(Ordering::Relaxed), runs);
        assert!(schedule_work(&work), "it is not disabled for good");
        cancel_work_sync(&work);
    });
}

#[test]
fn a_rescuer_does_the_work_when_no_worker_can_be_made() {
    with_workers(|| {
        let wq = alloc_workqueue("reclaim", WqFlags::MEM_RECLAIM, 0).expect("a queue");
        let who = Arc::new(SpinLock::<String>::new(String::new()));
        let by = who.clone();
        let work = Work::new(move || *by.lock() = current().comm());
        let pool = init::pools().next().expect("a pool");
        // The only worker is gone for another one, which never comes.
        let idle = core::mem::take(&mut pool.lock().idle);
        queue_work(&wq, &work);
        rescuer::pool_mayday_timeout(pool);
        flush_work(&work);
        assert_eq!(*who.lock(), "kworker/R-recla");
        pool.lock().idle = idle;
        if let Some(timer) = pool.mayday_timer.get() {
            timer.del_timer();
        }
        wq.destroy();
    });
}
