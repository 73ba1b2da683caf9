//! Sleeping and waking with real tasks on the test port.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{as_pid_1, settle};
use crate::kernel::kthread::{
    kthread_create, kthread_park, kthread_parkme, kthread_run, kthread_should_park,
    kthread_should_stop, kthread_stop, kthread_unpark,
};
use crate::kernel::locking::{Mutex, RwSemaphore, Semaphore};
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::poll::{PollTable, PollWoken};
use crate::kernel::sched::task::{Task, state};
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::sched::{
    current, schedule, schedule_timeout, schedule_timeout_uninterruptible, set_current_state,
    wake_up_process,
};
use crate::kernel::time::jiffies;
use crate::prelude::*;

/// Runs a thread; it is asleep or done when this returns.
fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Arc<Task> {
    let task = kthread_run(name, move || {
        f();
        0
    });
    settle();
    task.expect("a thread can be made")
}

type Log = Arc<SpinLock<Vec<u32>>>;

fn log() -> Log {
    Arc::new(SpinLock::new(Vec::new()))
}

#[test]
fn the_first_three_tasks_have_the_numbers_and_parents_of_linux() {
    as_pid_1(|| {
        assert_eq!(current().pid(), 1);
        assert_eq!(current().comm(), "swapper/0"); // until an execve
        assert!(!current().is_kthread());
        let kthreadd = crate::kernel::pid::find_task(2).expect("kthreadd");
        settle();
        assert_eq!(kthreadd.comm(), "kthreadd");
        assert!(kthreadd.is_kthread());
        for task in [&kthreadd, &current().to_arc()] {
            assert_eq!(task.real_parent().expect("pid 0").pid(), 0);
        }
    });
}

#[test]
fn a_kernel_thread_is_a_child_of_kthreadd_and_starts_asleep() {
    as_pid_1(|| {
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let task = kthread_create("worker/0", move || {
            flag.store(true, Ordering::Relaxed);
            0
        })
        .expect("a thread");
        settle();
        assert!(!ran.load(Ordering::Relaxed));
        assert_eq!(task.comm(), "worker/0");
        assert_eq!(task.real_parent().expect("kthreadd").pid(), 2);
        wake_up_process(&task);
        settle();
        assert!(ran.load(Ordering::Relaxed));
        assert!(
            crate::kernel::pid::find_task(task.pid()).is_none(),
            "no zombie is left"
        );
    });
}

#[test]
fn a_hundred_kernel_threads_can_be_made() {
    as_pid_1(|| {
        let sum = Arc::new(AtomicU32::new(0));
        for i in 1..=100 {
            let sum = sum.clone();
            let made = kthread_run(&format!("t{i}"), move || {
                sum.fetch_add(i, Ordering::Relaxed);
                0
            });
            made.expect("a thread");
        }
        settle();
        assert_eq!(sum.load(Ordering::Relaxed), 5050);
    });
}

#[test]
fn kthread_stop_ends_a_thread_and_returns_its_result() {
    as_pid_1(|| {
        let task = kthread_run("loop", || {
            while !kthread_should_stop() {
                set_current_state(state::TASK_INTERRUPTIBLE);
                if !kthread_should_stop() {
                    schedule();
                }
                set_current_state(state::TASK_RUNNING);
            }
            42
        })
        .expect("a thread");
        settle();
        assert_eq!(kthread_stop(&task), 42);
        let never_ran = kthread_create("never", || 7).expect("a thread");
        assert_eq!(kthread_stop(&never_ran), -4, "EINTR");
    });
}

#[test]
fn a_parked_thread_waits_until_it_is_unparked() {
    as_pid_1(|| {
        let rounds = Arc::new(AtomicU32::new(0));
        let count = rounds.clone();
        let task = kthread_run("parker", move || {
            while !kthread_should_stop() {
                if kthread_should_park() {
                    kthread_parkme();
                }
                count.fetch_add(1, Ordering::Relaxed);
                schedule_timeout_uninterruptible(1);
            }
            0
        })
        .expect("a thread");
        kthread_park(&task).expect("not parked before");
        let parked_at = rounds.load(Ordering::Relaxed);
        schedule_timeout_uninterruptible(5);
        assert_eq!(rounds.load(Ordering::Relaxed), parked_at);
        kthread_unpark(&task);
        schedule_timeout_uninterruptible(5);
        assert!(rounds.load(Ordering::Relaxed) > parked_at);
        kthread_stop(&task);
    });
}

#[test]
fn complete_wakes_one_waiter_at_a_time_in_order_of_arrival() {
    as_pid_1(|| {
        let (done, order) = (Arc::new(Completion::new()), log());
        for i in 0..4 {
            let (done, order) = (done.clone(), order.clone());
            let task = spawn("waiter", move || {
                done.wait_for_completion();
                order.lock().push(i);
            });
            assert_eq!(
                task.state.load(Ordering::Relaxed),
                state::TASK_UNINTERRUPTIBLE
            );
        }
        for served in 1..=4 {
            done.complete();
            settle();
            assert_eq!(*order.lock(), (0..served).collect::<Vec<_>>());
        }
        assert!(!done.completion_done());
    });
}

#[test]
fn complete_before_wait_is_not_lost_and_is_used_up() {
    as_pid_1(|| {
        let done = Completion::new();
        done.complete();
        done.complete();
        assert!(done.completion_done());
        done.wait_for_completion();
        assert!(done.try_wait_for_completion());
        assert!(!done.try_wait_for_completion());
        assert!(!done.completion_done());
    });
}

#[test]
fn complete_all_lets_everybody_go_until_it_is_made_new() {
    as_pid_1(|| {
        let (done, order) = (Arc::new(Completion::new()), log());
        for i in 0..3 {
            let (done, order) = (done.clone(), order.clone());
            spawn("waiter", move || {
                done.wait_for_completion();
                order.lock().push(i);
            });
        }
        done.complete_all();
        settle();
        assert_eq!(order.lock().len(), 3);
        done.wait_for_completion();
        done.wait_for_completion();
        assert!(done.completion_done());
        done.reinit();
        assert!(!done.completion_done());
    });
}

#[test]
fn a_completion_may_live_on_the_waiters_stack() {
    as_pid_1(|| {
        for _ in 0..50 {
            let done = Arc::new(Completion::new());
            let theirs = done.clone();
            spawn("completer", move || {
                schedule_timeout_uninterruptible(1);
                theirs.complete();
            });
            done.wait_for_completion();
            drop(done);
        }
    });
}

#[test]
fn waiting_with_a_timeout_returns_zero_or_what_is_left() {
    as_pid_1(|| {
        let done = Arc::new(Completion::new());
        let before = jiffies();
        assert_eq!(done.wait_for_completion_timeout(10), 0);
        assert!(jiffies() >= before + 10);
        let theirs = done.clone();
        spawn("completer", move || {
            schedule_timeout_uninterruptible(5);
            theirs.complete();
        });
        let left = done.wait_for_completion_timeout(1000);
        assert!((900..1000).contains(&left), "{left}");
        assert_eq!(done.wait_for_completion_interruptible_timeout(2), Ok(0));
    });
}

#[test]
fn a_signal_ends_an_interruptible_wait_but_no_other() {
    as_pid_1(|| {
        let done = Arc::new(Completion::new());
        let result = Arc::new(IrqSpinLock::new(None));
        let (theirs, result_of) = (done.clone(), result.clone());
        let task = spawn("waiter", move || {
            *result_of.lock() = Some(theirs.wait_for_completion_interruptible());
            theirs.wait_for_completion();
        });
        crate::kernel::signal::signal_wake_up(&task, false);
        settle();
        assert_eq!(*result.lock(), Some(Err(Errno::ERESTARTSYS)));
        crate::kernel::signal::signal_wake_up(&task, true);
        settle();
        assert_eq!(
            task.state.load(Ordering::Relaxed),
            state::TASK_UNINTERRUPTIBLE
        );
        done.complete();
        settle();
        assert_eq!(
            task.exit_state.load(Ordering::Relaxed),
            super::super::task::EXIT_DEAD
        );
    });
}

#[test]
fn exclusive_waiters_are_woken_one_by_one_in_order_and_others_all_at_once() {
    as_pid_1(|| {
        let (queue, tickets, order) = (
            Arc::new(WaitQueueHead::new()),
            Arc::new(AtomicU32::new(0)),
            log(),
        );
        let take = |tickets: &AtomicU32| {
            tickets
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
        };
        for i in 0..3 {
            let (queue, tickets, order) = (queue.clone(), tickets.clone(), order.clone());
            spawn("exclusive", move || {
                let got = queue.wait_event_interruptible_exclusive(|| take(&tickets));
                got.expect("no signal");
                order.lock().push(i);
            });
        }
        let watched = Arc::new(AtomicU32::new(0));
        for _ in 0..2 {
            let (queue, tickets, watched) = (queue.clone(), tickets.clone(), watched.clone());
            spawn("watcher", move || {
                queue.wait_event(|| {
                    watched.fetch_add(1, Ordering::Relaxed);
                    tickets.load(Ordering::Relaxed) > 100
                });
            });
        }
        assert!(queue.is_active());
        for served in 1..=3 {
            let looked = watched.load(Ordering::Relaxed);
            tickets.fetch_add(1, Ordering::Relaxed);
            queue.wake_up();
            settle();
            assert_eq!(*order.lock(), (0..served).collect::<Vec<_>>());
            assert!(watched.load(Ordering::Relaxed) >= looked + 2, "both looked");
        }
        tickets.store(1000, Ordering::Relaxed);
        queue.wake_up_all();
        settle();
        assert!(!queue.is_active());
    });
}

#[test]
fn no_wake_up_is_lost_between_a_producer_and_a_consumer() {
    as_pid_1(|| {
        let (to, from) = (
            Arc::new(WaitQueueHead::new()),
            Arc::new(WaitQueueHead::new()),
        );
        let cell = Arc::new(AtomicU32::new(0));
        let (to2, from2, cell2) = (to.clone(), from.clone(), cell.clone());
        spawn("consumer", move || {
            for _ in 0..1000 {
                to2.wait_event(|| cell2.load(Ordering::Relaxed) != 0);
                cell2.store(0, Ordering::Relaxed);
                from2.wake_up();
            }
        });
        for round in 1..=1000 {
            cell.store(round, Ordering::Relaxed);
            to.wake_up();
            from.wait_event(|| cell.load(Ordering::Relaxed) == 0);
        }
    });
}

#[test]
fn a_timed_wait_says_whether_the_condition_came_true() {
    as_pid_1(|| {
        let queue = WaitQueueHead::new();
        assert!(queue.wait_event_timeout(1_000_000, || true));
        assert!(!queue.wait_event_timeout(2_000_000, || false));
        assert_eq!(
            queue.wait_event_interruptible_timeout(1_000_000, || false),
            Ok(false)
        );
        assert!(!queue.is_active());
    });
}

#[test]
fn a_poll_table_hears_of_any_of_its_queues_and_leaves_them_when_dropped() {
    as_pid_1(|| {
        let queues: Vec<_> = (0..40).map(|_| Arc::new(WaitQueueHead::new())).collect();
        let mut table = PollTable::new();
        table.set_key(uapi::poll::POLLIN);
        queues.iter().for_each(|queue| queue.poll_wait(&mut table));
        assert_eq!(
            table.poll_schedule_timeout(Some(1_000_000)),
            PollWoken::TimedOut
        );
        let theirs = queues[33].clone();
        spawn("writer", move || {
            schedule_timeout_uninterruptible(5);
            theirs.wake_up_poll(uapi::poll::POLLOUT); // not what the table waits for
            theirs.wake_up_poll(uapi::poll::POLLIN);
        });
        assert_eq!(table.poll_schedule_timeout(None), PollWoken::Look);
        queues[1].wake_up();
        assert_eq!(
            table.poll_schedule_timeout(None),
            PollWoken::Look,
            "at once"
        );
        drop(table);
        assert!(queues.iter().all(|queue| !queue.is_active()));
    });
}

#[test]
fn a_queue_may_go_away_before_the_poll_table() {
    as_pid_1(|| {
        let mut table = PollTable::new();
        let (gone, stays) = (WaitQueueHead::new(), WaitQueueHead::new());
        gone.poll_wait(&mut table);
        stays.poll_wait(&mut table);
        drop(gone);
        assert!(stays.is_active());
        drop(table);
        assert!(!stays.is_active());
    });
}

#[test]
fn a_contended_mutex_goes_to_the_waiter_that_came_first() {
    as_pid_1(|| {
        let (mutex, order) = (Arc::new(Mutex::new(0)), log());
        let held = mutex.lock();
        for i in 0..4 {
            let (mutex, order) = (mutex.clone(), order.clone());
            spawn("locker", move || {
                let mut value = mutex.lock();
                order.lock().push(i);
                schedule_timeout_uninterruptible(1);
                *value += 1;
            });
        }
        assert!(mutex.try_lock().is_none());
        drop(held);
        assert!(mutex.try_lock().is_none(), "it was handed over");
        let value = *mutex.lock();
        assert_eq!(value, 4, "the last in line is last");
        assert_eq!(*order.lock(), [0, 1, 2, 3]);
    });
}

#[test]
fn an_interrupted_mutex_waiter_leaves_the_line() {
    as_pid_1(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock();
        let result = Arc::new(IrqSpinLock::new(None));
        let (theirs, result_of) = (mutex.clone(), result.clone());
        let task = spawn("locker", move || {
            *result_of.lock() = Some(theirs.lock_interruptible().map(drop));
        });
        crate::kernel::signal::signal_wake_up(&task, false);
        settle();
        assert_eq!(*result.lock(), Some(Err(Errno::EINTR)));
        drop(held);
        assert!(!mutex.is_locked());
        drop(mutex.lock());
    });
}

#[test]
fn a_semaphore_counts_and_serves_in_order() {
    as_pid_1(|| {
        let (semaphore, order) = (Arc::new(Semaphore::new(1)), log());
        assert!(semaphore.down_trylock());
        assert!(!semaphore.down_trylock());
        assert_eq!(semaphore.down_timeout(2), Err(Errno::ETIME));
        for i in 0..3 {
            let (semaphore, order) = (semaphore.clone(), order.clone());
            spawn("downer", move || {
                semaphore.down();
                order.lock().push(i);
            });
        }
        semaphore.up();
        semaphore.up();
        settle();
        assert_eq!(*order.lock(), [0, 1]);
        semaphore.up();
        semaphore.up();
        semaphore.down();
        settle();
        assert_eq!(*order.lock(), [0, 1, 2]);
    });
}

#[test]
fn readers_share_a_writer_is_alone_and_nobody_overtakes() {
    as_pid_1(|| {
        let (lock, order) = (Arc::new(RwSemaphore::new(0)), log());
        let (first, second) = (lock.read(), lock.read());
        assert!(lock.try_write().is_none());
        let (theirs, log_of) = (lock.clone(), order.clone());
        spawn("writer", move || {
            let mut value = theirs.write();
            *value += 1;
            log_of.lock().push(100);
        });
        assert!(
            lock.try_read().is_none(),
            "a writer waits: newcomers queue up"
        );
        for i in 0..2 {
            let (theirs, log_of) = (lock.clone(), order.clone());
            spawn("reader", move || {
                let value = theirs.read();
                log_of.lock().push(*value + i);
                schedule_timeout_uninterruptible(1);
            });
        }
        assert!(order.lock().is_empty());
        drop((first, second));
        settle();
        assert_eq!(order.lock()[0], 100);
        assert_eq!(order.lock().len(), 3, "both readers are in at once");
        let written = lock.write();
        assert_eq!(*written, 1);
        let read = written.downgrade();
        assert!(lock.try_read().is_some());
        drop(read);
        assert!(!lock.is_locked());
    });
}

#[test]
fn a_timeout_lasts_its_ticks_and_a_wake_up_ends_it_early() {
    as_pid_1(|| {
        let before = jiffies();
        assert_eq!(schedule_timeout_uninterruptible(5), 0);
        assert!(jiffies() - before >= 5);
        let sleeper = current().to_arc();
        spawn("waker", move || {
            schedule_timeout_uninterruptible(5);
            wake_up_process(&sleeper);
        });
        set_current_state(state::TASK_UNINTERRUPTIBLE);
        assert!(schedule_timeout(1000) > 900);
    });
}
