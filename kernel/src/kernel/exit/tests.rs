//! Exit and wait with real tasks on the test port.

use core::sync::atomic::{AtomicBool, Ordering};

use uapi::sched::{CLONE_FS, CLONE_SIGHAND, CLONE_THREAD};
use uapi::signal::*;
use uapi::wait::*;

use super::wait::{WaitOpts, Who, do_wait};
use super::{de_thread, do_exit, do_group_exit};
use crate::kernel::fork::create_kernel_thread;
use crate::kernel::pid::{self, find_task, sys_getsid, sys_setpgid, sys_setsid};
use crate::kernel::sched::task::{EXIT_ZOMBIE, Task, state};
use crate::kernel::sched::tests::{as_pid_1, settle};
use crate::kernel::sched::{
    current, schedule, schedule_timeout_uninterruptible, set_current_state,
};
use crate::kernel::signal::{sigflags, signal_wake_up};
use crate::prelude::*;

/// Forks a child that runs `f` and exits with the wait status it returns.
fn fork(f: impl FnOnce() -> i32 + Send + 'static) -> Arc<Task> {
    clone(SIGCHLD as u64, f)
}

fn clone(flags: u64, f: impl FnOnce() -> i32 + Send + 'static) -> Arc<Task> {
    let body = Box::new(move || do_exit(f()));
    create_kernel_thread(b"child", body, flags | CLONE_FS).expect("a child")
}

fn thread(f: impl FnOnce() -> i32 + Send + 'static) -> Arc<Task> {
    clone(CLONE_THREAD | CLONE_SIGHAND, f)
}

fn sleep_for_ever() -> ! {
    loop {
        set_current_state(state::TASK_UNINTERRUPTIBLE);
        schedule();
    }
}

fn wait(who: Who, options: u32) -> Result<Option<(i32, i32)>> {
    let opts = WaitOpts {
        who,
        options: options | WEXITED,
    };
    Ok(do_wait(&opts)?.map(|found| (found.pid, found.status)))
}

#[test]
fn wait_returns_the_status_of_a_child_and_then_it_is_gone() {
    as_pid_1(|| {
        let child = fork(|| status_exited(3)).pid();
        assert_eq!(wait(Who::All, 0), Ok(Some((child, 0x300))));
        assert!(find_task(child).is_none());
        assert_eq!(wait(Who::All, 0), Err(Errno::ECHILD));
    });
}

#[test]
fn wait_sleeps_until_the_child_ends() {
    as_pid_1(|| {
        let child = fork(|| {
            schedule_timeout_uninterruptible(5);
            status_signaled(SIGSEGV, true)
        })
        .pid();
        assert_eq!(wait(Who::Pid(child), WNOHANG), Ok(None));
        assert_eq!(wait(Who::Pid(child), 0), Ok(Some((child, 0x8b))));
    });
}

#[test]
fn a_dead_child_stays_a_zombie_until_it_is_waited_for() {
    as_pid_1(|| {
        let child = fork(|| 0);
        settle();
        assert_eq!(child.exit_state.load(Ordering::Relaxed), EXIT_ZOMBIE);
        assert!(child.stack.lock().is_none(), "its stack is free already");
        let again = WNOWAIT | WNOHANG;
        assert_eq!(wait(Who::All, again), Ok(Some((child.pid(), 0))));
        assert_eq!(wait(Who::All, again), Ok(Some((child.pid(), 0))));
        assert_eq!(wait(Who::All, WNOHANG), Ok(Some((child.pid(), 0))));
        assert_eq!(wait(Who::All, WNOHANG), Err(Errno::ECHILD));
    });
}

#[test]
fn wait_for_another_child_or_group_finds_nobody() {
    as_pid_1(|| {
        let child = fork(|| sleep_for_ever());
        assert_eq!(wait(Who::Pid(child.pid() + 1), WNOHANG), Err(Errno::ECHILD));
        assert_eq!(wait(Who::Pgid(77), WNOHANG), Err(Errno::ECHILD));
        let group = pid::task_pgrp(&child);
        assert_eq!(wait(Who::Pgid(group), WNOHANG), Ok(None));
        assert_eq!(wait(Who::All, WNOHANG | __WCLONE), Err(Errno::ECHILD));
    });
}

#[test]
fn children_are_reaped_by_themselves_when_sigchld_is_ignored() {
    as_pid_1(|| {
        for (handler, flags) in [(SIG_IGN, 0), (SIG_DFL, SA_NOCLDWAIT)] {
            let sighand = current().sighand.lock().clone();
            sighand.actions.lock()[SIGCHLD as usize - 1] = KernelSigaction {
                handler,
                flags,
                ..KernelSigaction::default()
            };
            let child = fork(|| 0).pid();
            assert_eq!(
                wait(Who::All, 0),
                Err(Errno::ECHILD),
                "but wait waits for the end"
            );
            assert!(find_task(child).is_none());
        }
    });
}

#[test]
fn orphans_become_children_of_init_which_reaps_them() {
    as_pid_1(|| {
        let orphan = Arc::new(SpinLock::<Option<Arc<Task>>>::new(None));
        let slot = orphan.clone();
        let child = fork(move || {
            let grandchild = fork(|| {
                schedule_timeout_uninterruptible(10);
                status_exited(9)
            });
            *slot.lock() = Some(grandchild);
            0
        });
        assert_eq!(wait(Who::Pid(child.pid()), 0), Ok(Some((child.pid(), 0))));
        let grandchild = orphan.lock().take().expect("was made");
        assert_eq!(grandchild.real_parent().expect("a parent").pid(), 1);
        assert_eq!(wait(Who::All, 0), Ok(Some((grandchild.pid(), 0x900))));
    });
}

#[test]
fn a_zombie_orphan_is_reported_to_init() {
    as_pid_1(|| {
        let child = fork(|| {
            fork(|| status_exited(5));
            schedule_timeout_uninterruptible(5);
            0
        });
        let first = wait(Who::All, 0).expect("a child").expect("ended");
        let second = wait(Who::All, 0).expect("a child").expect("ended");
        assert_eq!(first, (child.pid(), 0));
        assert_eq!(second.1, 0x500);
    });
}

#[test]
fn the_usage_of_children_adds_up() {
    as_pid_1(|| {
        let child = fork(|| {
            current().min_flt.store(7, Ordering::Relaxed);
            0
        });
        wait(Who::Pid(child.pid()), 0).expect("a child");
        let times = &current().signal.child_times;
        assert_eq!(times.min_flt.load(Ordering::Relaxed), 7);
        assert!(times.nvcsw.load(Ordering::Relaxed) + times.nivcsw.load(Ordering::Relaxed) < 100);
    });
}

#[test]
fn a_process_ends_when_its_last_thread_does() {
    as_pid_1(|| {
        let child = fork(|| {
            for _ in 0..3 {
                thread(|| {
                    schedule_timeout_uninterruptible(5);
                    status_exited(1)
                });
            }
            status_exited(2)
        });
        settle();
        assert_eq!(child.exit_state.load(Ordering::Relaxed), EXIT_ZOMBIE);
        assert_eq!(wait(Who::All, WNOHANG), Ok(None), "its threads still run");
        // As on Linux, the last thread's status is the process's.
        assert_eq!(wait(Who::All, 0), Ok(Some((child.pid(), 0x100))));
    });
}

#[test]
fn exit_group_ends_the_other_threads_with_the_same_status() {
    as_pid_1(|| {
        let child = fork(|| {
            thread(|| {
                // What the way to user space does with a fatal signal.
                set_current_state(state::TASK_KILLABLE);
                schedule();
                assert!(current().fatal_signal_pending());
                do_group_exit(SIGKILL)
            });
            settle();
            do_group_exit(status_exited(6))
        });
        assert_eq!(wait(Who::All, 0), Ok(Some((child.pid(), 0x600))));
    });
}

#[test]
fn exec_in_a_thread_takes_the_leaders_place() {
    as_pid_1(|| {
        let seen = Arc::new(SpinLock::<Option<(i32, i32, usize)>>::new(None));
        let slot = seen.clone();
        let child = fork(move || {
            thread(move || {
                let before = current().pid();
                assert_ne!(before, current().tgid());
                assert_eq!(de_thread(), Ok(()));
                let threads = current().signal.thread_list().len();
                *slot.lock() = Some((before, current().pid(), threads));
                assert!(find_task(before).is_none(), "the old number is free");
                assert!(core::ptr::eq(
                    &*find_task(current().pid()).expect("me"),
                    &*current()
                ));
                status_exited(8)
            });
            set_current_state(state::TASK_KILLABLE);
            schedule();
            do_group_exit(SIGKILL)
        });
        let number = child.tgid(); // its own number may be the other thread's by now
        assert_eq!(wait(Who::Pid(number), 0), Ok(Some((number, 0x800))));
        let (before, after, threads) = seen.lock().take().expect("exec happened");
        assert_ne!(before, after);
        assert_eq!((after, threads), (number, 1));
        assert_eq!(wait(Who::All, 0), Err(Errno::ECHILD));
    });
}

#[test]
fn a_stopped_and_a_continued_child_are_reported_once_each() {
    as_pid_1(|| {
        let child = fork(|| sleep_for_ever());
        settle();
        let signal = &child.signal;
        signal.group_exit_code.store(SIGTSTP, Ordering::Relaxed);
        signal
            .flags
            .fetch_or(sigflags::STOP_STOPPED, Ordering::Relaxed);
        assert_eq!(wait(Who::All, WNOHANG), Ok(None), "nobody asked for stops");
        let stopped = Ok(Some((child.pid(), status_stopped(SIGTSTP))));
        assert_eq!(wait(Who::All, WNOHANG | WUNTRACED), stopped);
        assert_eq!(wait(Who::All, WNOHANG | WUNTRACED), Ok(None));
        signal
            .flags
            .store(sigflags::STOP_CONTINUED, Ordering::Relaxed);
        let continued = Ok(Some((child.pid(), STATUS_CONTINUED)));
        assert_eq!(wait(Who::All, WNOHANG | WCONTINUED), continued);
        assert_eq!(wait(Who::All, WNOHANG | WCONTINUED), Ok(None));
    });
}

#[test]
fn a_signal_interrupts_the_wait() {
    as_pid_1(|| {
        let waiting = Arc::new(AtomicBool::new(false));
        let flag = waiting.clone();
        let child = fork(move || {
            fork(|| sleep_for_ever());
            flag.store(true, Ordering::Relaxed);
            let result = wait(Who::All, 0);
            assert_eq!(result, Err(Errno::ERESTARTSYS));
            status_exited(1)
        });
        settle();
        assert!(waiting.load(Ordering::Relaxed));
        signal_wake_up(&child, false);
        assert_eq!(
            wait(Who::Pid(child.pid()), 0),
            Ok(Some((child.pid(), 0x100)))
        );
    });
}

#[test]
fn sessions_and_groups_follow_the_rules_of_posix() {
    as_pid_1(|| {
        let child = fork(|| sleep_for_ever());
        let number = child.pid();
        assert_eq!(
            sys_setpgid(number, 0),
            Ok(()),
            "a child that has not exec'ed"
        );
        assert_eq!(pid::task_pgrp(&child), number);
        assert_eq!(
            sys_setpgid(number, 4000),
            Err(Errno::EPERM),
            "no such group"
        );
        assert_eq!(sys_setpgid(number, -1), Err(Errno::EINVAL));
        assert_eq!(sys_setpgid(4000, 0), Err(Errno::ESRCH));
        child.signal.did_exec.store(true, Ordering::Relaxed);
        assert_eq!(sys_setpgid(number, 0), Err(Errno::EACCES), "it has exec'ed");
        assert_eq!(sys_getsid(4000), Err(Errno::ESRCH));

        let leader = fork(|| {
            let me = current().pid();
            assert_eq!(sys_setsid(), Ok(me));
            assert_eq!(
                (pid::task_session(&current()), pid::task_pgrp(&current())),
                (me, me)
            );
            assert_eq!(sys_setsid(), Err(Errno::EPERM), "leads a group already");
            assert_eq!(sys_setpgid(0, 0), Err(Errno::EPERM), "leads a session");
            sleep_for_ever()
        });
        settle();
        assert_eq!(sys_getsid(leader.pid()), Ok(leader.pid()));
        assert_eq!(sys_setpgid(leader.pid(), 0), Err(Errno::EPERM));
        assert_eq!(sys_setpgid(number, leader.pid()), Err(Errno::EACCES));
    });
}

#[test]
fn a_number_stays_taken_while_it_names_a_group() {
    as_pid_1(|| {
        let child = fork(|| {
            assert_eq!(sys_setpgid(0, 0), Ok(()));
            fork(|| sleep_for_ever());
            0
        });
        let number = child.pid();
        wait(Who::Pid(number), 0).expect("a child");
        assert!(find_task(number).is_none());
        let members = pid::processes_of_group(number);
        assert_eq!(members.len(), 1);
        let mut table = pid::TASKLIST.write();
        assert_eq!(table.alloc_exact(number, 1000), Err(Errno::EEXIST));
    });
}
