//! Timers of a process and timers as descriptors.

use std::fs;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{
    Returned, Status, call, fork, in_child, mask_of, now, on_signal, set_disposition, set_mask,
    sleep_ms, wait, wait_until_asleep,
};

pub const CHECKS: &[Check] = table![
    timers_of_the_process_count,
    a_timer_rings_once_and_shows_what_is_left,
    a_timer_rings_at_a_moment,
    a_timer_can_be_meant_for_one_thread,
    a_silent_timer_can_be_asked,
    timers_of_used_time_ring,
    clocks_of_others_can_be_read,
    an_ignored_timer_is_heard_later,
    each_timer_has_a_signal_of_its_own,
    timers_stay_behind_in_fork_and_exec,
    impossible_timers_are_refused,
    timers_as_descriptors_count,
    a_descriptor_is_ready_when_it_rang,
    a_waiting_reader_is_woken,
    setting_the_clock_is_told,
    impossible_descriptors_are_refused,
];

static COUNT: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

fn count() -> i32 {
    COUNT.load(Ordering::Relaxed)
}

/// A `sigevent`: value, signal and kind, thread.
fn event(value: u64, signal: i32, kind: i32, thread: i32) -> [u64; 8] {
    let mut event = [0; 8];
    event[0] = value;
    event[1] = u64::from(signal.cast_unsigned()) | u64::from(kind.cast_unsigned()) << 32;
    event[2] = u64::from(thread.cast_unsigned());
    event
}

fn create(clock: i32, event: &[u64; 8]) -> Result<i32, String> {
    let mut timer = -1;
    works!(call!(SYS_timer_create, clock, event, &mut timer));
    Ok(timer)
}

/// Starts a timer: first after so many microseconds, then again and again.
fn start(timer: i32, first: u64, period: u64) -> Returned {
    call!(
        SYS_timer_settime,
        timer,
        0,
        &[0, period * 1000, 0, first * 1000],
        0
    )
}

/// Waits for a signal of the set for so many milliseconds; `siginfo_t` as words.
fn take(signals: u64, milliseconds: u64) -> Option<[i32; 32]> {
    let mut info = [0_i32; 32];
    let limit = [0, milliseconds * 1_000_000];
    let taken = call!(SYS_rt_sigtimedwait, &signals, &mut info, &limit, 8);
    taken.is_ok().then_some(info)
}

fn block(signals: &[i32]) -> u64 {
    let mask = mask_of(signals);
    set_mask(libc::SIG_BLOCK, mask);
    mask
}

fn read_clock(clock: i32) -> Result<u64, String> {
    let mut time = [0_u64; 2];
    works!(call!(SYS_clock_gettime, clock, &mut time));
    Ok(time[0] * 1_000_000_000 + time[1])
}

fn timers_of_the_process_count() -> Outcome {
    let signals = block(&[libc::SIGUSR1]);
    let timer = create(libc::CLOCK_MONOTONIC, &event(77, libc::SIGUSR1, 0, 0))?;
    works!(start(timer, 2000, 2000));
    let mut info = [0_i32; 32];
    same!(
        call!(SYS_rt_sigtimedwait, &signals, &mut info, 0, 8),
        Ok(10)
    );
    same!((info[2], info[4], info[6]), (libc::SI_TIMER, timer, 77));
    sleep_ms(20);
    same!(
        call!(SYS_rt_sigtimedwait, &signals, &mut info, 0, 8),
        Ok(10)
    );
    let overrun = works!(call!(SYS_timer_getoverrun, timer));
    holds!(overrun >= 5 && info[5] >= 5, "{overrun} {info:?}");
    works!(call!(SYS_timer_delete, timer));
    fails!(call!(SYS_timer_delete, timer), EINVAL);
    Ok(())
}

fn a_timer_rings_once_and_shows_what_is_left() -> Outcome {
    on_signal(libc::SIGALRM, note, 0);
    let mut timer = -1;
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_TAI,
    ] {
        // Without a description: SIGALRM.
        works!(call!(SYS_timer_create, clock, 0, &mut timer));
        let mut left = [9_u64; 4];
        works!(call!(SYS_timer_gettime, timer, &mut left));
        same!(left, [0; 4]);
        works!(start(timer, 900_000, 7));
        works!(call!(
            SYS_timer_settime,
            timer,
            0,
            &[0_u64, 0, 0, 5_000_000],
            &mut left
        ));
        same!((left[0], left[1], left[2]), (0, 7000, 0));
        holds!(left[3] > 500_000_000 && left[3] <= 900_000_000, "{left:?}");
        let before = count();
        while count() == before {
            std::hint::spin_loop();
        }
        works!(call!(SYS_timer_gettime, timer, &mut left));
        same!((left, count()), ([0; 4], before + 1));
        same!(call!(SYS_timer_getoverrun, timer), Ok(0));
        works!(call!(SYS_timer_delete, timer));
    }
    Ok(())
}

fn a_timer_rings_at_a_moment() -> Outcome {
    let signals = block(&[libc::SIGUSR1]);
    for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
        let timer = create(clock, &event(1, libc::SIGUSR1, 0, 0))?;
        let end = read_clock(clock)? + 20_000_000;
        let moment = [0, 0, end / 1_000_000_000, end % 1_000_000_000];
        works!(call!(
            SYS_timer_settime,
            timer,
            libc::TIMER_ABSTIME,
            &moment,
            0
        ));
        holds!(take(signals, 900).is_some());
        holds!(read_clock(clock)? >= end);
        // A moment of the past rings at once.
        works!(call!(
            SYS_timer_settime,
            timer,
            libc::TIMER_ABSTIME,
            &[0_u64, 0, 1, 0],
            0
        ));
        holds!(take(signals, 900).is_some());
        works!(call!(SYS_timer_delete, timer));
    }
    Ok(())
}

fn a_timer_can_be_meant_for_one_thread() -> Outcome {
    let signals = block(&[libc::SIGUSR2]);
    let me = works!(call!(SYS_gettid)) as i32;
    let mine = event(5, libc::SIGUSR2, libc::SIGEV_THREAD_ID, me);
    let timer = create(libc::CLOCK_MONOTONIC, &mine)?;
    works!(start(timer, 1000, 0));
    let other = std::thread::spawn(move || take(signals, 50).is_some());
    same!(works!(other.join().map_err(|_| "panic")), false);
    holds!(take(signals, 900).is_some_and(|info| info[6] == 5));
    let mut timer = 0;
    for thread in [1, -1] {
        let event = event(5, libc::SIGUSR2, libc::SIGEV_THREAD_ID, thread);
        fails!(
            call!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut timer),
            EINVAL
        );
    }
    Ok(())
}

fn a_silent_timer_can_be_asked() -> Outcome {
    let timer = create(libc::CLOCK_MONOTONIC, &event(0, 0, libc::SIGEV_NONE, 0))?;
    works!(start(timer, 5000, 0));
    let mut left = [0_u64; 4];
    works!(call!(SYS_timer_gettime, timer, &mut left));
    holds!(left[3] > 0 && left[3] <= 5_000_000, "{left:?}");
    sleep_ms(10);
    works!(call!(SYS_timer_gettime, timer, &mut left));
    same!(left, [0; 4]);
    works!(start(timer, 5000, 5000));
    sleep_ms(12);
    works!(call!(SYS_timer_gettime, timer, &mut left));
    same!(left[1], 5_000_000);
    holds!(left[3] > 0 && left[3] <= 5_000_000, "{left:?}");
    Ok(())
}

/// Works until a signal ends this process; not for ever.
fn work() -> i32 {
    let start = now();
    while now() - start < 10_000_000_000 {
        std::hint::black_box((0..1000).sum::<u32>());
    }
    0
}

fn timers_of_used_time_ring() -> Outcome {
    // The last two are clocks of this process and thread as the C library names them: ticks, and ticks of user time.
    for clock in [
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
        !0 << 3,
        !0 << 3 | 4 | 1,
    ] {
        let status = in_child(|| {
            let event = event(0, libc::SIGUSR1, 0, 0);
            match create(clock, &event).map(|timer| start(timer, 20_000, 0)) {
                Ok(Ok(_)) => work(),
                _ => 1,
            }
        });
        same!(status, Status::Killed(libc::SIGUSR1),);
    }
    // Sleeping uses no time.
    let signals = block(&[libc::SIGUSR1]);
    let timer = create(
        libc::CLOCK_PROCESS_CPUTIME_ID,
        &event(0, libc::SIGUSR1, 0, 0),
    )?;
    works!(start(timer, 20_000, 0));
    holds!(take(signals, 60).is_none());
    let mut left = [0_u64; 4];
    works!(call!(SYS_timer_gettime, timer, &mut left));
    holds!(left[3] > 0 && left[3] <= 20_000_000, "{left:?}");
    // A moment of used time that is over.
    works!(call!(
        SYS_timer_settime,
        timer,
        libc::TIMER_ABSTIME,
        &[0_u64, 0, 0, 1],
        0
    ));
    holds!(take(signals, 900).is_some());
    Ok(())
}

fn clocks_of_others_can_be_read() -> Outcome {
    let child = fork(work);
    let clock = !child << 3 | 2;
    let begin = now();
    while read_clock(clock)? < 5_000_000 && now() - begin < 10_000_000_000 {}
    holds!(read_clock(clock)? >= 5_000_000);
    // The clock of a thread is for its own process only.
    let mut time = [0_u64; 2];
    fails!(call!(SYS_clock_gettime, !child << 3 | 6, &mut time), EINVAL);
    works!(call!(SYS_kill, child, libc::SIGKILL));
    same!(wait(child), Status::Killed(libc::SIGKILL));
    fails!(call!(SYS_clock_gettime, clock, &mut time), EINVAL);
    Ok(())
}

fn an_ignored_timer_is_heard_later() -> Outcome {
    set_disposition(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
    let timer = create(libc::CLOCK_MONOTONIC, &event(0, libc::SIGUSR1, 0, 0))?;
    works!(start(timer, 1000, 1000));
    sleep_ms(20);
    on_signal(libc::SIGUSR1, note, 0);
    while count() < 3 {
        std::hint::spin_loop();
    }
    Ok(())
}

fn each_timer_has_a_signal_of_its_own() -> Outcome {
    let signals = block(&[libc::SIGUSR1]);
    let first = create(libc::CLOCK_MONOTONIC, &event(1, libc::SIGUSR1, 0, 0))?;
    let second = create(libc::CLOCK_MONOTONIC, &event(2, libc::SIGUSR1, 0, 0))?;
    holds!(first != second);
    works!(start(first, 1000, 0));
    works!(start(second, 2000, 0));
    sleep_ms(20);
    // The first one rings again while its signal waits.
    works!(start(first, 1000, 0));
    sleep_ms(20);
    let values: Vec<i32> = (0..3)
        .map_while(|_| take(signals, 0))
        .map(|info| info[6])
        .collect();
    same!(values, [1, 2]);
    Ok(())
}

fn timers_stay_behind_in_fork_and_exec() -> Outcome {
    block(&[libc::SIGUSR1]);
    let timer = create(libc::CLOCK_MONOTONIC, &event(0, libc::SIGUSR1, 0, 0))?;
    works!(start(timer, 900_000, 0));
    let status = in_child(|| {
        let mut left = [0_u64; 4];
        i32::from(call!(SYS_timer_gettime, timer, &mut left).is_ok())
    });
    same!(status, Status::Exited(0));
    let status = in_child(|| {
        let event = event(0, libc::SIGUSR1, 0, 0);
        let started = create(libc::CLOCK_MONOTONIC, &event).map(|timer| start(timer, 1000, 1000));
        if !matches!(started, Ok(Ok(_))) {
            return 97;
        }
        sleep_ms(10);
        let name = c"program".as_ptr().expose_provenance();
        let order = c"child:timers".as_ptr().expose_provenance();
        let _ = call!(SYS_execve, c"/proc/self/exe", &[name, order, 0], 0);
        98
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn impossible_timers_are_refused() -> Outcome {
    let mut timer = 0;
    let good = event(0, libc::SIGUSR1, 0, 0);
    for clock in [77, !9_999_999 << 3] {
        fails!(call!(SYS_timer_create, clock, &good, &mut timer), EINVAL);
    }
    // The last one would be the clock of a device.
    for clock in [libc::CLOCK_MONOTONIC_RAW, !0 << 3 | 3] {
        fails!(
            call!(SYS_timer_create, clock, &good, &mut timer),
            EOPNOTSUPP
        );
    }
    for bad in [
        event(0, 0, 0, 0),
        event(0, 65, 0, 0),
        event(0, 10, 3, 0),
        event(0, 10, libc::SIGEV_NONE | libc::SIGEV_THREAD_ID, 0),
    ] {
        fails!(
            call!(SYS_timer_create, libc::CLOCK_MONOTONIC, &bad, &mut timer),
            EINVAL
        );
    }
    fails!(
        call!(SYS_timer_create, libc::CLOCK_MONOTONIC, &good, 8),
        EFAULT
    );
    let timer = create(libc::CLOCK_MONOTONIC, &good)?;
    for time in [[0_i64, 0, 0, 1_000_000_000], [0, -1, 1, 0], [-1, 0, 1, 0]] {
        fails!(call!(SYS_timer_settime, timer, 0, &time, 0), EINVAL);
    }
    fails!(call!(SYS_timer_settime, timer, 0, 0, 0), EINVAL);
    fails!(call!(SYS_timer_settime, timer, 0, 8, 0), EFAULT);
    fails!(call!(SYS_timer_gettime, timer, 8), EFAULT);
    let mut left = [0_u64; 4];
    for none in [timer + 1, -1] {
        fails!(call!(SYS_timer_settime, none, 0, &left, 0), EINVAL);
        fails!(call!(SYS_timer_gettime, none, &mut left), EINVAL);
        fails!(call!(SYS_timer_getoverrun, none), EINVAL);
        fails!(call!(SYS_timer_delete, none), EINVAL);
    }
    Ok(())
}

fn descriptor(clock: i32, flags: i32) -> Result<usize, String> {
    Ok(works!(call!(SYS_timerfd_create, clock, flags)))
}

fn timers_as_descriptors_count() -> Outcome {
    let fd = descriptor(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)?;
    let mut ticks = 0_u64;
    fails!(call!(SYS_read, fd, &mut ticks, 8), EAGAIN);
    works!(call!(
        SYS_timerfd_settime,
        fd,
        0,
        &[0_u64, 1_000_000, 0, 1_000_000],
        0
    ));
    sleep_ms(10);
    same!(call!(SYS_read, fd, &mut ticks, 8), Ok(8));
    holds!(ticks >= 5, "{ticks}");
    fails!(call!(SYS_read, fd, &mut ticks, 4), EINVAL);
    fails!(call!(SYS_write, fd, &ticks, 8), EINVAL);
    let mut left = [0_u64; 4];
    works!(call!(SYS_timerfd_settime, fd, 0, &[0_u64; 4], &mut left));
    same!(left[1], 1_000_000);
    holds!(left[3] <= 1_000_000, "{left:?}");
    fails!(call!(SYS_read, fd, &mut ticks, 8), EAGAIN);
    Ok(())
}

/// Whether poll(2) finds the descriptor readable within so many milliseconds.
fn readable(fd: usize, milliseconds: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: fd as i32,
        events: libc::POLLIN,
        revents: 0,
    };
    call!(SYS_poll, &mut poll, 1, milliseconds) == Ok(1) && poll.revents == libc::POLLIN
}

fn a_descriptor_is_ready_when_it_rang() -> Outcome {
    let fd = descriptor(libc::CLOCK_REALTIME, libc::TFD_CLOEXEC)?;
    same!(call!(SYS_fcntl, fd, libc::F_GETFD), Ok(1));
    holds!(!readable(fd, 0));
    let end = read_clock(libc::CLOCK_REALTIME)? + 10_000_000;
    works!(call!(
        SYS_timerfd_settime,
        fd,
        libc::TFD_TIMER_ABSTIME,
        &[0, 0, end / 1_000_000_000, end % 1_000_000_000],
        0
    ));
    let info = works!(fs::read_to_string(format!("/proc/self/fdinfo/{fd}")));
    holds!(info.contains("clockid: 0\nticks: 0\n"), "{info}");
    holds!(info.contains("settime flags: 01\n"), "{info}");
    holds!(readable(fd, 900));
    holds!(read_clock(libc::CLOCK_REALTIME)? >= end);
    let link = works!(fs::read_link(format!("/proc/self/fd/{fd}")));
    same!(link.to_str(), Some("anon_inode:[timerfd]"));
    let mut ticks = 0_u64;
    same!((call!(SYS_read, fd, &mut ticks, 8), ticks), (Ok(8), 1));
    holds!(!readable(fd, 0));
    Ok(())
}

fn a_waiting_reader_is_woken() -> Outcome {
    let fd = descriptor(libc::CLOCK_BOOTTIME, 0)?;
    let child = fork(|| {
        let mut ticks = 0_u64;
        let _ = call!(SYS_read, fd, &mut ticks, 8);
        ticks as i32
    });
    wait_until_asleep(child);
    works!(call!(
        SYS_timerfd_settime,
        fd,
        0,
        &[0_u64, 0, 0, 1_000_000],
        0
    ));
    same!(wait(child), Status::Exited(1));
    Ok(())
}

fn setting_the_clock_is_told() -> Outcome {
    if std::process::id() > 5000 {
        return Ok(()); // not on a machine that is used for other things
    }
    let told = descriptor(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK)?;
    let moved = descriptor(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK)?;
    let before = read_clock(libc::CLOCK_REALTIME)?;
    let far = [0, 0, before / 1_000_000_000 + 500, 0];
    for (fd, flags) in [
        (
            told,
            libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET,
        ),
        (moved, libc::TFD_TIMER_ABSTIME),
    ] {
        works!(call!(SYS_timerfd_settime, fd, flags, &far, 0));
    }
    holds!(!readable(told, 0) && !readable(moved, 0));
    works!(call!(
        SYS_clock_settime,
        libc::CLOCK_REALTIME,
        &[before / 1_000_000_000 + 1000, 0]
    ));
    let mut ticks = 0_u64;
    fails!(call!(SYS_read, told, &mut ticks, 8), ECANCELED);
    // For the other one the moment has come.
    holds!(readable(moved, 900));
    works!(call!(
        SYS_clock_settime,
        libc::CLOCK_REALTIME,
        &[before / 1_000_000_000, 0]
    ));
    Ok(())
}

fn impossible_descriptors_are_refused() -> Outcome {
    fails!(call!(SYS_timerfd_create, libc::CLOCK_TAI, 0), EINVAL);
    fails!(
        call!(SYS_timerfd_create, libc::CLOCK_PROCESS_CPUTIME_ID, 0),
        EINVAL
    );
    fails!(call!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 1), EINVAL);
    let fd = descriptor(libc::CLOCK_MONOTONIC, 0)?;
    let mut left = [0_u64; 4];
    fails!(call!(SYS_timerfd_settime, fd, 4, &left, 0), EINVAL);
    fails!(
        call!(SYS_timerfd_settime, fd, 0, &[0_u64, 0, 0, 1_000_000_000], 0),
        EINVAL
    );
    fails!(call!(SYS_timerfd_settime, fd, 0, 8, 0), EFAULT);
    fails!(call!(SYS_timerfd_settime, 99, 0, &left, 0), EBADF);
    fails!(call!(SYS_timerfd_gettime, 99, &mut left), EBADF);
    fails!(call!(SYS_timerfd_gettime, fd, 8), EFAULT);
    let other = works!(call!(SYS_eventfd2, 0, 0));
    fails!(call!(SYS_timerfd_gettime, other, &mut left), EINVAL);
    fails!(call!(SYS_timerfd_settime, other, 0, &left, 0), EINVAL);
    Ok(())
}
