//! Clocks, sleeping, interval timers.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Errno, Status, call, in_child, now, on_signal, pipe};

pub const CHECKS: &[Check] = table![
    clocks_move_forward,
    clocks_agree_with_each_other,
    resolutions_are_told,
    the_clock_can_be_set,
    the_clock_can_be_adjusted,
    impossible_adjustments_are_refused,
    sleeping_takes_its_time,
    sleeping_until_a_moment,
    impossible_times_are_refused,
    an_alarm_rings_once,
    an_interval_timer_rings_again_and_again,
    a_timer_of_used_time_rings,
    time_of_the_process_is_counted,
    forked_children_have_no_timers,
];

static COUNT: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

fn count() -> i32 {
    COUNT.load(Ordering::Relaxed)
}

/// Nanoseconds of a clock.
fn read(clock: i32) -> Result<i64, String> {
    let mut time = [0_i64; 2];
    works!(call!(SYS_clock_gettime, clock, &mut time));
    Ok(time[0] * 1_000_000_000 + time[1])
}

fn clocks_move_forward() -> Outcome {
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
    ] {
        let mut last = read(clock)?;
        for _ in 0..1000 {
            let time = read(clock)?;
            holds!(time >= last, "clock {clock}: {time} after {last}");
            last = time;
        }
    }
    let start = read(libc::CLOCK_MONOTONIC_COARSE)?;
    while read(libc::CLOCK_MONOTONIC_COARSE)? == start {}
    while read(libc::CLOCK_REALTIME_COARSE)? <= read(libc::CLOCK_REALTIME)? - 1_000_000_000 {}
    Ok(())
}

fn clocks_agree_with_each_other() -> Outcome {
    let mut time = [0_i64; 2];
    works!(call!(SYS_gettimeofday, &mut time, 0));
    let real = read(libc::CLOCK_REALTIME)?;
    let apart = real - (time[0] * 1_000_000_000 + time[1] * 1000);
    holds!((0..500_000_000).contains(&apart), "{apart}");
    let seconds = works!(call!(SYS_time, 0)) as i64;
    holds!((real / 1_000_000_000..real / 1_000_000_000 + 2).contains(&seconds));
    holds!(seconds > 1_700_000_000, "{seconds}");
    // As the library reads it, which may go around the kernel.
    let library = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let apart = works!(library).as_nanos() as i64 - real;
    holds!((0..500_000_000).contains(&apart), "{apart}");
    Ok(())
}

fn resolutions_are_told() -> Outcome {
    let mut time = [9_i64; 2];
    works!(call!(SYS_clock_getres, libc::CLOCK_MONOTONIC, &mut time));
    same!(time, [0, 1]);
    works!(call!(
        SYS_clock_getres,
        libc::CLOCK_REALTIME_COARSE,
        &mut time
    ));
    holds!(
        time[0] == 0 && (1_000_000..=10_000_000).contains(&time[1]),
        "{time:?}"
    );
    works!(call!(SYS_clock_getres, libc::CLOCK_REALTIME, 0));
    fails!(call!(SYS_clock_getres, 77, &mut time), EINVAL);
    fails!(call!(SYS_clock_gettime, 77, &mut time), EINVAL);
    fails!(
        call!(SYS_clock_settime, libc::CLOCK_MONOTONIC, &time),
        EINVAL
    );
    Ok(())
}

fn the_clock_can_be_set() -> Outcome {
    if std::process::id() > 5000 {
        return Ok(()); // not on a machine that is used for other things
    }
    let before = read(libc::CLOCK_REALTIME)?;
    let monotonic = read(libc::CLOCK_MONOTONIC)?;
    let moved = before / 1_000_000_000 + 1000;
    works!(call!(SYS_clock_settime, libc::CLOCK_REALTIME, &[moved, 0]));
    let now = read(libc::CLOCK_REALTIME)? / 1_000_000_000;
    holds!((moved..moved + 5).contains(&now));
    holds!(read(libc::CLOCK_MONOTONIC)? - monotonic < 5_000_000_000);
    works!(call!(
        SYS_clock_settime,
        libc::CLOCK_REALTIME,
        &[before / 1_000_000_000, 0]
    ));
    Ok(())
}

/// All zeros.
fn timex(modes: u32) -> libc::timex {
    // SAFETY: the structure has numbers only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = modes;
    timex
}

fn the_clock_can_be_adjusted() -> Outcome {
    let mut state = timex(0);
    let known = works!(call!(SYS_adjtimex, &mut state));
    let unsynchronised = state.status & libc::STA_UNSYNC != 0;
    same!(known, if unsynchronised { 5 } else { 0 });
    same!((state.precision, state.tolerance), (1, 500 << 16));
    let seconds = read(libc::CLOCK_REALTIME)? / 1_000_000_000;
    holds!((seconds - 1..=seconds).contains(&state.time.tv_sec));
    if std::process::id() > 5000 {
        return Ok(()); // not on a machine that is used for other things
    }
    let before = read(libc::CLOCK_REALTIME)?;
    let mut jump = timex(libc::ADJ_SETOFFSET);
    jump.time.tv_sec = 50;
    works!(call!(SYS_clock_adjtime, libc::CLOCK_REALTIME, &mut jump));
    let moved = read(libc::CLOCK_REALTIME)? - before;
    holds!((50_000_000_000..55_000_000_000).contains(&moved), "{moved}");
    jump = timex(libc::ADJ_SETOFFSET | libc::ADJ_NANO);
    (jump.time.tv_sec, jump.time.tv_usec) = (-51, 999_999_999);
    works!(call!(SYS_adjtimex, &mut jump));
    holds!(read(libc::CLOCK_REALTIME)? - before < 5_000_000_000);
    // 2 ms too slow: the clock makes that up in 4 s, or a part of it until somebody asks again.
    let mut slew = timex(libc::ADJ_OFFSET_SINGLESHOT);
    slew.offset = 2000;
    works!(call!(SYS_adjtimex, &mut slew));
    same!(slew.offset, 0);
    crate::raw::sleep_ms(500);
    slew.offset = 0;
    works!(call!(SYS_adjtimex, &mut slew));
    holds!((1..=1900).contains(&slew.offset), "{}", slew.offset);
    let mut frequency = timex(libc::ADJ_FREQUENCY | libc::ADJ_TICK);
    (frequency.freq, frequency.tick) = (77 << 16, 10_001);
    works!(call!(SYS_adjtimex, &mut frequency));
    state = timex(0);
    works!(call!(SYS_adjtimex, &mut state));
    same!((state.freq, state.tick), (77 << 16, 10_001));
    (frequency.freq, frequency.tick) = (0, 10_000);
    works!(call!(SYS_adjtimex, &mut frequency));
    Ok(())
}

fn impossible_adjustments_are_refused() -> Outcome {
    fails!(call!(SYS_adjtimex, 8), EFAULT);
    let mut state = timex(0);
    fails!(call!(SYS_clock_adjtime, 77, &mut state), EINVAL);
    fails!(
        call!(SYS_clock_adjtime, libc::CLOCK_MONOTONIC, &mut state),
        EOPNOTSUPP
    );
    if std::process::id() <= 5000 {
        fails!(call!(SYS_adjtimex, &mut timex(libc::ADJ_TICK)), EINVAL);
        let mut bad = timex(libc::ADJ_SETOFFSET);
        bad.time.tv_usec = 1_000_000;
        fails!(call!(SYS_adjtimex, &mut bad), EINVAL);
        fails!(call!(SYS_adjtimex, &mut timex(0x8000)), EINVAL);
        bad = timex(libc::ADJ_FREQUENCY);
        bad.freq = i64::MAX;
        fails!(call!(SYS_adjtimex, &mut bad), EINVAL);
    }
    let status = in_child(|| {
        crate::raw::become_nobody();
        let refused = [
            libc::ADJ_SETOFFSET,
            libc::ADJ_FREQUENCY,
            libc::ADJ_OFFSET_SINGLESHOT,
        ]
        .into_iter()
        .all(|mode| call!(SYS_adjtimex, &mut timex(mode)) == Err(Errno(libc::EPERM)));
        let may_ask = [0, libc::ADJ_OFFSET_SS_READ]
            .into_iter()
            .all(|mode| call!(SYS_adjtimex, &mut timex(mode)).is_ok());
        i32::from(!refused) + 2 * i32::from(!may_ask)
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn sleeping_takes_its_time() -> Outcome {
    for nanoseconds in [0_u64, 1, 1_000_000, 25_000_000] {
        let start = now();
        works!(call!(SYS_nanosleep, &[0, nanoseconds], 0));
        holds!(now() - start >= nanoseconds);
    }
    let start = now();
    for _ in 0..10 {
        works!(call!(SYS_nanosleep, &[0_u64, 1_000_000], 0));
    }
    holds!(now() - start < 2_000_000_000);
    Ok(())
}

fn sleeping_until_a_moment() -> Outcome {
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_BOOTTIME,
    ] {
        let end = read(clock)? + 10_000_000;
        let moment = [end / 1_000_000_000, end % 1_000_000_000];
        works!(call!(
            SYS_clock_nanosleep,
            clock,
            libc::TIMER_ABSTIME,
            &moment,
            0
        ));
        holds!(read(clock)? >= end);
        works!(call!(
            SYS_clock_nanosleep,
            clock,
            libc::TIMER_ABSTIME,
            &[1_u64, 0],
            0
        ));
    }
    Ok(())
}

fn impossible_times_are_refused() -> Outcome {
    for time in [[0_i64, 1_000_000_000], [-1, 0], [0, -1]] {
        fails!(call!(SYS_nanosleep, &time, 0), EINVAL);
        fails!(
            call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, &time, 0),
            EINVAL
        );
    }
    fails!(
        call!(
            SYS_clock_nanosleep,
            libc::CLOCK_THREAD_CPUTIME_ID,
            0,
            &[0_u64; 2],
            0
        ),
        EOPNOTSUPP
    );
    fails!(call!(SYS_setitimer, 3, &[0_u64; 4], 0), EINVAL);
    fails!(
        call!(SYS_setitimer, 0, &[0_u64, 1_000_000, 0, 0], 0),
        EINVAL
    );
    Ok(())
}

fn an_alarm_rings_once() -> Outcome {
    on_signal(libc::SIGALRM, note, 0);
    let left = works!(call!(SYS_alarm, 100));
    holds!(left > 0 && left <= 20, "{left}");
    holds!((99..=100).contains(&works!(call!(SYS_alarm, 0))));
    same!(call!(SYS_alarm, 0), Ok(0));
    works!(call!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &[0_u64, 0, 0, 10_000],
        0
    ));
    while count() == 0 {
        std::hint::spin_loop();
    }
    let mut left = [9_u64; 4];
    works!(call!(SYS_getitimer, libc::ITIMER_REAL, &mut left));
    same!((left, count()), ([0; 4], 1));
    Ok(())
}

fn an_interval_timer_rings_again_and_again() -> Outcome {
    on_signal(libc::SIGALRM, note, 0);
    let start = now();
    works!(call!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &[0_u64, 5000, 0, 5000],
        0
    ));
    while count() < 5 {
        let _ = call!(SYS_pause);
    }
    holds!(now() - start >= 25_000_000);
    let mut old = [0_u64; 4];
    works!(call!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &[0_u64; 4],
        &mut old
    ));
    same!((old[0], old[1]), (0, 5000));
    holds!(old[2] == 0 && old[3] <= 5000, "{old:?}");
    Ok(())
}

fn a_timer_of_used_time_rings() -> Outcome {
    for (which, signal) in [
        (libc::ITIMER_VIRTUAL, libc::SIGVTALRM),
        (libc::ITIMER_PROF, libc::SIGPROF),
    ] {
        let status = in_child(|| {
            let _ = call!(SYS_setitimer, which, &[0_u64, 0, 0, 20_000], 0);
            let start = now();
            while now() - start < 10_000_000_000 {
                std::hint::black_box((0..1000).sum::<u32>());
            }
            0
        });
        same!(status, Status::Killed(signal));
    }
    Ok(())
}

fn time_of_the_process_is_counted() -> Outcome {
    let start = read(libc::CLOCK_PROCESS_CPUTIME_ID)?;
    crate::raw::sleep_ms(50);
    let slept = read(libc::CLOCK_PROCESS_CPUTIME_ID)? - start;
    holds!(slept < 40_000_000, "{slept} ns in a sleep");
    let begin = now();
    while now() - begin < 50_000_000 {}
    let worked = read(libc::CLOCK_PROCESS_CPUTIME_ID)? - start - slept;
    holds!(worked > 5_000_000, "{worked} ns of 50 ms");
    Ok(())
}

fn forked_children_have_no_timers() -> Outcome {
    works!(call!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &[0_u64, 0, 5, 0],
        0
    ));
    let status = in_child(|| {
        let mut left = [9_u64; 4];
        let asked = call!(SYS_getitimer, libc::ITIMER_REAL, &mut left);
        i32::from(asked.is_err() || left != [0; 4])
    });
    same!(status, Status::Exited(0));
    let [_reader, _writer] = pipe(0);
    Ok(())
}
