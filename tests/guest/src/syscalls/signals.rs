//! Signals: sending, handlers, masks, waiting, stopping.

use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{
    Status, call, fork, in_child, mask_of, now, on_signal, on_signal_masked, pipe, set_disposition,
    set_mask, sleep_ms, wait, wait_until_asleep, wait_with,
};

pub const CHECKS: &[Check] = table![
    a_signal_runs_its_handler_with_what_was_sent,
    signals_do_what_they_do_by_default,
    ignored_signals_are_lost,
    two_signals_cannot_be_caught_or_blocked,
    blocked_signals_wait,
    a_handler_blocks_its_own_signal_and_those_of_its_mask,
    a_handler_can_be_interrupted_by_its_own_signal,
    a_handler_for_one_time,
    realtime_signals_are_queued_in_order,
    ordinary_signals_are_not_counted,
    a_wait_takes_signals_without_a_handler,
    a_suspended_process_gets_its_mask_back,
    a_read_is_interrupted_or_restarted,
    a_sleep_tells_what_was_left,
    stopping_and_continuing_are_told_to_the_parent,
    the_parent_is_told_of_a_childs_end,
    a_group_gets_a_signal_together,
    impossible_signals_are_refused,
    handlers_are_forgotten_by_exec_and_kept_by_fork,
    the_other_stack_is_used_and_left,
    a_broken_pipe_kills_or_is_told,
    all_registers_survive_a_handler,
];

static COUNT: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static SENDER: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);
static ORDER: AtomicU64 = AtomicU64::new(0);

extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes it for as long as the handler runs.
    let (code, sender, value) = unsafe {
        (
            (*info).si_code,
            (*info).si_pid(),
            (*info).si_value().sival_ptr.expose_provenance(),
        )
    };
    CODE.store(code, Ordering::Relaxed);
    SENDER.store(sender, Ordering::Relaxed);
    VALUE.store(value, Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::Relaxed);
    let before = ORDER.load(Ordering::Relaxed);
    ORDER.store(
        before << 8 | u64::from(signal.cast_unsigned()),
        Ordering::Relaxed,
    );
}

fn count() -> i32 {
    COUNT.load(Ordering::Relaxed)
}

fn me() -> i32 {
    std::process::id().cast_signed()
}

/// Queues a signal with a value.
fn queue(signal: i32, value: usize) -> Outcome {
    let mut info = [0_usize; 16];
    info[1] = 0xffff_ffff; // SI_QUEUE
    info[2] = me() as usize;
    info[3] = value;
    works!(call!(SYS_rt_sigqueueinfo, me(), signal, &info));
    Ok(())
}

fn a_signal_runs_its_handler_with_what_was_sent() -> Outcome {
    on_signal(libc::SIGUSR1, note, 0);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    same!(
        (
            count(),
            CODE.load(Ordering::Relaxed),
            SENDER.load(Ordering::Relaxed)
        ),
        (1, 0, me())
    );
    works!(call!(SYS_tgkill, me(), me(), libc::SIGUSR1));
    same!((count(), CODE.load(Ordering::Relaxed)), (2, -6));
    queue(libc::SIGUSR1, 0x1234_5678_9abc)?;
    same!(
        (
            count(),
            CODE.load(Ordering::Relaxed),
            VALUE.load(Ordering::Relaxed)
        ),
        (3, -1, 0x1234_5678_9abc)
    );
    Ok(())
}

fn signals_do_what_they_do_by_default() -> Outcome {
    for signal in 1..=64 {
        if [
            libc::SIGSTOP,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
            32,
            33,
        ]
        .contains(&signal)
        {
            continue;
        }
        let status = in_child(|| {
            let _ = call!(SYS_prctl, libc::PR_SET_DUMPABLE, 0);
            if signal != libc::SIGKILL {
                set_disposition(signal, libc::SIG_DFL, 0, &[]);
            }
            let _ = call!(SYS_kill, me(), signal);
            99
        });
        let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
        let expected = match harmless.contains(&signal) {
            true => Status::Exited(99),
            false => Status::Killed(signal),
        };
        same!((signal, status), (signal, expected));
    }
    Ok(())
}

fn ignored_signals_are_lost() -> Outcome {
    set_disposition(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    set_mask(libc::SIG_BLOCK, mask_of(&[libc::SIGUSR1]));
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    on_signal(libc::SIGUSR1, note, 0);
    set_mask(libc::SIG_UNBLOCK, mask_of(&[libc::SIGUSR1]));
    // Blocked signals are kept even while they are ignored only if somebody might wait for them: not after `SIG_IGN`.
    holds!(count() <= 1);
    works!(call!(SYS_kill, me(), 0));
    Ok(())
}

fn two_signals_cannot_be_caught_or_blocked() -> Outcome {
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        let action = [
            note as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize,
            0,
            0,
            0,
        ];
        fails!(call!(SYS_rt_sigaction, signal, &action, 0, 8), EINVAL);
        works!(call!(SYS_rt_sigaction, signal, 0, &mut [0_usize; 4], 8));
    }
    set_mask(libc::SIG_SETMASK, u64::MAX);
    let blocked = set_mask(libc::SIG_SETMASK, 0);
    same!(blocked, !mask_of(&[libc::SIGKILL, libc::SIGSTOP]));
    Ok(())
}

fn blocked_signals_wait() -> Outcome {
    on_signal(libc::SIGUSR1, note, 0);
    let signals = mask_of(&[libc::SIGUSR1]);
    set_mask(libc::SIG_BLOCK, signals);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    same!(count(), 0);
    let mut pending = 0_u64;
    works!(call!(SYS_rt_sigpending, &mut pending, 8));
    same!(pending, signals);
    set_mask(libc::SIG_UNBLOCK, signals);
    same!(count(), 1);
    works!(call!(SYS_rt_sigpending, &mut pending, 8));
    same!(pending, 0);
    // A child starts without the pending signals of its parent but with its mask.
    set_mask(libc::SIG_BLOCK, signals);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    let status = in_child(|| {
        let mut pending = 1_u64;
        let asked = call!(SYS_rt_sigpending, &mut pending, 8);
        i32::from(asked.is_err() || pending != 0 || set_mask(libc::SIG_BLOCK, 0) != signals)
    });
    same!(status, Status::Exited(0));
    Ok(())
}

extern "C" fn send_both(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let mine = call!(SYS_kill, me(), signal);
    let other = call!(SYS_kill, me(), libc::SIGUSR2);
    let failed = mine.is_err() || other.is_err();
    // The others run only after this one.
    COUNT.store(
        if failed { -100 } else { count() * 10 + 1 },
        Ordering::Relaxed,
    );
    set_disposition(signal, libc::SIG_IGN, 0, &[]);
}

extern "C" fn second(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    COUNT.store(count() * 10 + 2, Ordering::Relaxed);
}

fn a_handler_blocks_its_own_signal_and_those_of_its_mask() -> Outcome {
    on_signal_masked(libc::SIGUSR1, send_both, 0, &[libc::SIGUSR2]);
    on_signal(libc::SIGUSR2, second, 0);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    same!(count(), 12);
    same!(set_mask(libc::SIG_BLOCK, 0), 0);
    Ok(())
}

extern "C" fn nest(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if COUNT.fetch_add(1, Ordering::Relaxed) < 4 {
        let _ = call!(SYS_kill, me(), signal);
        VALUE.fetch_add(count() as usize, Ordering::Relaxed);
    }
}

fn a_handler_can_be_interrupted_by_its_own_signal() -> Outcome {
    on_signal(libc::SIGUSR1, nest, libc::SA_NODEFER);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    same!(count(), 5);
    // Each added the count only after the deepest had run.
    same!(VALUE.load(Ordering::Relaxed), 20);
    Ok(())
}

fn a_handler_for_one_time() -> Outcome {
    let status = in_child(|| {
        on_signal(libc::SIGUSR1, note, libc::SA_RESETHAND);
        let _ = call!(SYS_kill, me(), libc::SIGUSR1);
        let first = count();
        let _ = call!(SYS_kill, me(), libc::SIGUSR1);
        first + 50
    });
    same!(status, Status::Killed(libc::SIGUSR1));
    Ok(())
}

fn realtime_signals_are_queued_in_order() -> Outcome {
    let (low, high) = (36, 40);
    on_signal_masked(low, note, 0, &[high]);
    on_signal_masked(high, note, 0, &[low]);
    set_mask(libc::SIG_BLOCK, mask_of(&[low, high]));
    for (signal, value) in [(high, 1), (low, 2), (low, 3)] {
        queue(signal, value)?;
    }
    set_mask(libc::SIG_SETMASK, 0);
    same!(count(), 3);
    // The handler of the lower one ran first and twice.
    same!(ORDER.load(Ordering::Relaxed), 0x24_2428);
    same!(VALUE.load(Ordering::Relaxed), 1);
    Ok(())
}

fn ordinary_signals_are_not_counted() -> Outcome {
    on_signal(libc::SIGUSR1, note, 0);
    set_mask(libc::SIG_BLOCK, mask_of(&[libc::SIGUSR1]));
    for value in 1..=3 {
        queue(libc::SIGUSR1, value)?;
    }
    set_mask(libc::SIG_SETMASK, 0);
    same!((count(), VALUE.load(Ordering::Relaxed)), (1, 1));
    Ok(())
}

fn a_wait_takes_signals_without_a_handler() -> Outcome {
    let signals = mask_of(&[libc::SIGUSR1, 36]);
    set_mask(libc::SIG_BLOCK, signals);
    queue(36, 77)?;
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    let mut info = [0_i32; 32];
    same!(
        call!(SYS_rt_sigtimedwait, &signals, &mut info, 0, 8),
        Ok(10)
    );
    same!((info[0], info[2], info[4]), (10, 0, me()));
    same!(
        call!(SYS_rt_sigtimedwait, &signals, &mut info, 0, 8),
        Ok(36)
    );
    same!((info[0], info[2], info[6]), (36, -1, 77));
    fails!(
        call!(SYS_rt_sigtimedwait, &signals, 0, &[0_u64; 2], 8),
        EAGAIN
    );
    let start = now();
    fails!(
        call!(SYS_rt_sigtimedwait, &signals, 0, &[0_u64, 30_000_000], 8),
        EAGAIN
    );
    holds!(now() - start >= 30_000_000);
    fails!(
        call!(SYS_rt_sigtimedwait, &signals, 0, &[0_u64, 1_000_000_000], 8),
        EINVAL
    );
    // Woken by a child.
    let parent = me();
    let child = fork(|| {
        wait_until_asleep(parent);
        i32::from(call!(SYS_kill, parent, libc::SIGUSR1).is_err())
    });
    same!(
        call!(SYS_rt_sigtimedwait, &signals, &mut info, 0, 8),
        Ok(10)
    );
    same!((wait(child), info[4]), (Status::Exited(0), child));
    Ok(())
}

fn a_suspended_process_gets_its_mask_back() -> Outcome {
    on_signal(libc::SIGUSR1, note, 0);
    let both = mask_of(&[libc::SIGUSR1, libc::SIGUSR2]);
    set_mask(libc::SIG_SETMASK, both);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    let only = mask_of(&[libc::SIGUSR2]);
    fails!(call!(SYS_rt_sigsuspend, &only, 8), EINTR);
    same!((count(), set_mask(libc::SIG_BLOCK, 0)), (1, both));
    fails!(call!(SYS_rt_sigsuspend, &only, 4), EINVAL);
    Ok(())
}

/// A child that signals this process once it sleeps.
fn interrupt_when_asleep(signal: i32) -> i32 {
    let parent = me();
    fork(move || {
        wait_until_asleep(parent);
        i32::from(call!(SYS_kill, parent, signal).is_err())
    })
}

fn a_read_is_interrupted_or_restarted() -> Outcome {
    let [reader, writer] = pipe(0);
    let mut byte = 0_u8;
    on_signal(libc::SIGUSR1, note, 0);
    let child = interrupt_when_asleep(libc::SIGUSR1);
    fails!(call!(SYS_read, reader, &mut byte, 1), EINTR);
    wait(child);
    on_signal(libc::SIGUSR1, note, libc::SA_RESTART);
    let parent = me();
    let child = fork(move || {
        wait_until_asleep(parent);
        let _ = call!(SYS_kill, parent, libc::SIGUSR1);
        sleep_ms(20);
        wait_until_asleep(parent);
        i32::from(call!(SYS_write, writer, &b'x', 1).is_err())
    });
    same!(call!(SYS_read, reader, &mut byte, 1), Ok(1));
    same!((count(), byte), (2, b'x'));
    wait(child);
    // Nothing is restarted without a handler that ran: a signal that does nothing goes unnoticed.
    let child = fork(move || {
        wait_until_asleep(parent);
        let _ = call!(SYS_kill, parent, libc::SIGWINCH);
        i32::from(call!(SYS_write, writer, &b'y', 1).is_err())
    });
    same!(call!(SYS_read, reader, &mut byte, 1), Ok(1));
    wait(child);
    Ok(())
}

fn a_sleep_tells_what_was_left() -> Outcome {
    on_signal(libc::SIGUSR1, note, libc::SA_RESTART);
    let child = interrupt_when_asleep(libc::SIGUSR1);
    let mut left = [0_u64; 2];
    fails!(call!(SYS_nanosleep, &[10_u64, 0], &mut left), EINTR);
    holds!(left[0] < 10 && left[1] < 1_000_000_000, "{left:?}");
    wait(child);
    let child = interrupt_when_asleep(libc::SIGUSR1);
    fails!(call!(SYS_pause), EINTR);
    wait(child);
    same!(count(), 2);
    Ok(())
}

fn stopping_and_continuing_are_told_to_the_parent() -> Outcome {
    let child = fork(|| {
        let _ = call!(SYS_kill, me(), libc::SIGSTOP);
        7
    });
    let options = libc::WUNTRACED | libc::WCONTINUED;
    same!(
        wait_with(child, options),
        Ok((child, Status::Stopped(libc::SIGSTOP)))
    );
    same!(crate::raw::state_of(child), Some('T'));
    same!(call!(SYS_wait4, child, 0, libc::WNOHANG, 0), Ok(0));
    // A stopped process keeps its signals until it continues; only SIGKILL is for at once.
    works!(call!(SYS_kill, child, libc::SIGCONT));
    same!(wait_with(child, options), Ok((child, Status::Continued)));
    same!(wait(child), Status::Exited(7));
    let child = fork(|| {
        let _ = call!(SYS_kill, me(), libc::SIGTSTP);
        7
    });
    same!(
        wait_with(child, options),
        Ok((child, Status::Stopped(libc::SIGTSTP)))
    );
    works!(call!(SYS_kill, child, libc::SIGTERM));
    same!(call!(SYS_wait4, child, 0, libc::WNOHANG, 0), Ok(0));
    works!(call!(SYS_kill, child, libc::SIGKILL));
    same!(wait(child), Status::Killed(libc::SIGKILL));
    let child = fork(|| {
        let _ = call!(SYS_kill, me(), libc::SIGTTIN);
        0
    });
    same!(
        wait_with(child, libc::WUNTRACED),
        Ok((child, Status::Stopped(libc::SIGTTIN)))
    );
    works!(call!(SYS_kill, child, libc::SIGKILL));
    same!(wait(child), Status::Killed(libc::SIGKILL));
    Ok(())
}

fn the_parent_is_told_of_a_childs_end() -> Outcome {
    let signals = mask_of(&[libc::SIGCHLD]);
    set_mask(libc::SIG_BLOCK, signals);
    for (work, code, status) in [
        ((|| 7) as fn() -> i32, 1, 7),
        (
            || i32::from(call!(SYS_kill, std::process::id(), libc::SIGTERM).is_err()),
            2,
            15,
        ),
    ] {
        let child = fork(work);
        let mut info = [0_i32; 32];
        same!(
            call!(SYS_rt_sigtimedwait, &signals, &mut info, 0, 8),
            Ok(17)
        );
        same!((info[2], info[4], info[6]), (code, child, status));
        wait(child);
    }
    // Ignoring it means that nobody waits.
    set_disposition(libc::SIGCHLD, libc::SIG_IGN, 0, &[]);
    let child = fork(|| 0);
    fails!(call!(SYS_wait4, child, 0, 0, 0), ECHILD);
    Ok(())
}

fn a_group_gets_a_signal_together() -> Outcome {
    let mut children = Vec::new();
    let mut group = 0;
    for _ in 0..3 {
        let child = fork(|| {
            loop {
                let _ = call!(SYS_pause);
            }
        });
        works!(call!(SYS_setpgid, child, group));
        group = if group == 0 { child } else { group };
        children.push(child);
    }
    same!(call!(SYS_getpgid, children[2]), Ok(group as usize));
    works!(call!(SYS_kill, -group, libc::SIGTERM));
    for child in children {
        same!(wait(child), Status::Killed(libc::SIGTERM));
    }
    fails!(call!(SYS_kill, -group, libc::SIGTERM), ESRCH);
    Ok(())
}

fn impossible_signals_are_refused() -> Outcome {
    fails!(call!(SYS_kill, me(), 65), EINVAL);
    fails!(call!(SYS_kill, me(), -1), EINVAL);
    fails!(call!(SYS_kill, 4_000_000, 0), ESRCH);
    fails!(call!(SYS_tgkill, me(), 4_000_000, 0), ESRCH);
    fails!(call!(SYS_tgkill, -1, me(), 0), EINVAL);
    fails!(call!(SYS_rt_sigaction, 0, 0, 0, 8), EINVAL);
    fails!(call!(SYS_rt_sigaction, 65, 0, 0, 8), EINVAL);
    fails!(call!(SYS_rt_sigaction, 1, 0, 0, 16), EINVAL);
    fails!(call!(SYS_rt_sigprocmask, 7, &0_u64, 0, 8), EINVAL);
    fails!(call!(SYS_rt_sigprocmask, 0, &0_u64, 0, 4), EINVAL);
    fails!(call!(SYS_sigaltstack, &[0_usize, 0, 100], 0), ENOMEM);
    fails!(call!(SYS_sigaltstack, &[0_usize, 77, 100_000], 0), EINVAL);
    Ok(())
}

fn handlers_are_forgotten_by_exec_and_kept_by_fork() -> Outcome {
    on_signal(libc::SIGUSR1, note, 0);
    let status = in_child(|| {
        let _ = call!(SYS_kill, me(), libc::SIGUSR1);
        count()
    });
    same!(status, Status::Exited(1));
    let exec = |ignore: bool| {
        in_child(move || {
            if ignore {
                set_disposition(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
            }
            let name = c"program".as_ptr().expose_provenance();
            let order = c"child:usr1".as_ptr().expose_provenance();
            let _ = call!(SYS_execve, c"/proc/self/exe", &[name, order, 0], 0);
            98
        })
    };
    same!(exec(false), Status::Killed(libc::SIGUSR1));
    same!(exec(true), Status::Exited(0));
    Ok(())
}

extern "C" fn note_stack(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let here = 0_u8;
    VALUE.store((&raw const here).expose_provenance(), Ordering::Relaxed);
    let mut stack = [0_usize; 3];
    let _ = call!(SYS_sigaltstack, 0, &mut stack);
    CODE.store(stack[1] as i32, Ordering::Relaxed);
    // It cannot be exchanged while it is in use.
    COUNT.store(
        i32::from(call!(SYS_sigaltstack, &[0_usize, 0, 100_000], 0).is_err()),
        Ordering::Relaxed,
    );
}

fn the_other_stack_is_used_and_left() -> Outcome {
    let memory = vec![0_u8; 65536];
    let start = memory.as_ptr().expose_provenance();
    works!(call!(SYS_sigaltstack, &[start, 0, 65536], 0));
    on_signal(libc::SIGUSR1, note_stack, libc::SA_ONSTACK);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    holds!((start..start + 65536).contains(&VALUE.load(Ordering::Relaxed)));
    same!((CODE.load(Ordering::Relaxed), count()), (1, 1));
    let mut stack = [0_usize; 3];
    works!(call!(SYS_sigaltstack, &[0_usize, 2, 0], &mut stack));
    same!(stack, [start, 0, 65536]);
    works!(call!(SYS_kill, me(), libc::SIGUSR1));
    holds!(!(start..start + 65536).contains(&VALUE.load(Ordering::Relaxed)));
    Ok(())
}

fn a_broken_pipe_kills_or_is_told() -> Outcome {
    let write_to_nobody = || {
        let [reader, writer] = pipe(0);
        let _ = call!(SYS_close, reader);
        match call!(SYS_write, writer, &b'x', 1) {
            Err(crate::raw::Errno(libc::EPIPE)) => 5,
            _ => 6,
        }
    };
    set_disposition(libc::SIGPIPE, libc::SIG_DFL, 0, &[]);
    same!(in_child(write_to_nobody), Status::Killed(libc::SIGPIPE));
    set_disposition(libc::SIGPIPE, libc::SIG_IGN, 0, &[]);
    same!(in_child(write_to_nobody), Status::Exited(5));
    Ok(())
}

fn all_registers_survive_a_handler() -> Outcome {
    on_signal(libc::SIGALRM, note, 0);
    // A timer that strikes anywhere in the sum, which fills general and vector registers.
    works!(call!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &[0_u64, 2000, 0, 2000],
        0
    ));
    let mut floats = [1.0_f64, 2.0, 3.0, 4.0];
    let mut sum = 0_u64;
    let start = now();
    while count() < 20 && now() - start < 5_000_000_000 {
        floats = [1.0, 2.0, 3.0, 4.0];
        sum = 0;
        for i in 0..20_000_u64 {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(i));
            for float in &mut floats {
                *float = std::hint::black_box(*float) + 0.5;
            }
        }
        same!(
            (sum, floats),
            (
                6_815_359_206_200_444_688,
                [10001.0, 10002.0, 10003.0, 10004.0]
            )
        );
    }
    works!(call!(SYS_setitimer, libc::ITIMER_REAL, &[0_u64; 4], 0));
    holds!(count() >= 20, "{} strokes, {sum} {floats:?}", count());
    Ok(())
}
