//! Several processors: where threads run, what one of them sees of another's changes, and a storm.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{
    Status, call, fork, in_child, map, now, on_signal, peek, pipe, poke, shared_word, wait,
};

pub const CHECKS: &[Check] = table![
    a_thread_runs_where_it_is_allowed,
    a_running_thread_is_moved_by_another,
    a_child_inherits_the_processors,
    impossible_processors_are_refused,
    every_processor_takes_work,
    an_idle_processor_takes_what_waits_elsewhere,
    changed_mappings_are_seen_everywhere,
    a_revoked_right_to_write_is_gone_everywhere,
    a_thread_on_another_processor_sees_a_signal,
    the_counters_have_a_column_for_each_processor,
];

pub const STORM: &[Check] = table![a_storm_adds_up_and_leaves_nothing];

fn processors() -> usize {
    let mut mask = 0_u64;
    match call!(SYS_sched_getaffinity, 1, 8, &mut mask) {
        Ok(8) => mask.count_ones() as usize,
        other => panic!("sched_getaffinity: {other:?}"),
    }
}

fn allow(thread: usize, mask: u64) -> Result<usize, crate::raw::Errno> {
    call!(SYS_sched_setaffinity, thread, 8, &mask)
}

fn allowed() -> u64 {
    let mut mask = 0_u64;
    let _ = call!(SYS_sched_getaffinity, 0, 8, &mut mask);
    mask
}

fn here() -> usize {
    let mut cpu = u32::MAX;
    let _ = call!(SYS_getcpu, &mut cpu, 0, 0);
    cpu as usize
}

fn gettid() -> usize {
    call!(SYS_gettid).unwrap_or(0)
}

fn a_thread_runs_where_it_is_allowed() -> Outcome {
    let count = processors();
    for round in 0..200 {
        let cpu = round % count;
        works!(allow(0, 1 << cpu));
        same!(here(), cpu);
        same!(allowed(), 1 << cpu);
        if round % 3 == 0 {
            thread::yield_now();
            same!(here(), cpu);
        }
    }
    works!(allow(0, u64::MAX));
    same!(allowed().count_ones() as usize, count);
    Ok(())
}

fn a_running_thread_is_moved_by_another() -> Outcome {
    let count = processors();
    let tid = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicU64::new(0));
    let spinner = {
        let (tid, stop, seen) = (tid.clone(), stop.clone(), seen.clone());
        thread::spawn(move || {
            tid.store(gettid() as u64, Ordering::SeqCst);
            while !stop.load(Ordering::Relaxed) {
                seen.store(here() as u64 + 1, Ordering::SeqCst);
            }
        })
    };
    while tid.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let tid = usize::try_from(tid.load(Ordering::SeqCst)).unwrap_or(0);
    // Alone, the spinner gives the processor back only when its time is over.
    for round in 0..if count == 1 { 10 } else { 100 } {
        let cpu = round % count;
        works!(allow(tid, 1 << cpu));
        seen.store(0, Ordering::SeqCst);
        // One store may have been under way with the processor that it was on before.
        for _ in 0..2 {
            while seen.swap(0, Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
        }
        let mut now = 0;
        while now == 0 {
            thread::yield_now();
            now = seen.load(Ordering::SeqCst);
        }
        same!(now, cpu as u64 + 1);
    }
    stop.store(true, Ordering::SeqCst);
    holds!(spinner.join().is_ok());
    Ok(())
}

fn a_child_inherits_the_processors() -> Outcome {
    let last = processors() - 1;
    works!(allow(0, 1 << last));
    let status = in_child(|| i32::from(here() != last || allowed() != 1 << last));
    same!(status, Status::Exited(0));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = format!("Cpus_allowed_list:\t{last}\n");
    holds!(status.contains(&line), "in {status}");
    Ok(())
}

fn impossible_processors_are_refused() -> Outcome {
    fails!(allow(0, 0), EINVAL);
    if processors() < 64 {
        fails!(allow(0, 1 << processors()), EINVAL);
    }
    fails!(allow(999_999, 1), ESRCH);
    fails!(call!(SYS_sched_setaffinity, 0, 8, 16), EFAULT);
    Ok(())
}

fn every_processor_takes_work() -> Outcome {
    let count = processors();
    let stop = Arc::new(AtomicBool::new(false));
    let used = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (stop, used) = (stop.clone(), used.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    used.fetch_or(1 << here(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    while used.load(Ordering::SeqCst).count_ones() as usize != count {
        thread::yield_now();
    }
    stop.store(true, Ordering::SeqCst);
    holds!(threads.into_iter().all(|thread| thread.join().is_ok()));
    Ok(())
}

/// Two that only compute, begun on one processor and then free: nobody wakes, so it takes a balancer.
fn an_idle_processor_takes_what_waits_elsewhere() -> Outcome {
    if processors() == 1 {
        return Ok(());
    }
    works!(allow(0, 1));
    let stop = Arc::new(AtomicBool::new(false));
    let used = Arc::new(AtomicU64::new(0));
    let both = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (stop, used, both) = (stop.clone(), used.clone(), both.clone());
            thread::spawn(move || {
                let free = u64::MAX;
                let _ = call!(SYS_sched_setaffinity, 0, 8, &free);
                both.fetch_add(1, Ordering::SeqCst);
                while !stop.load(Ordering::Relaxed) {
                    used.fetch_or(1 << here(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    while both.load(Ordering::SeqCst) != 2 || used.load(Ordering::SeqCst).count_ones() < 2 {
        thread::yield_now();
    }
    stop.store(true, Ordering::SeqCst);
    holds!(threads.into_iter().all(|thread| thread.join().is_ok()));
    Ok(())
}

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// One thread puts page after page at the same address; what the others read is never older than what they were told.
fn changed_mappings_are_seen_everywhere() -> Outcome {
    const OVER: u32 = u32::MAX;
    let page = map(4096, READ_WRITE, libc::MAP_PRIVATE).expose_provenance();
    let epoch = Arc::new(AtomicU32::new(0));
    let reads = Arc::new(AtomicU32::new(0));
    let readers: Vec<_> = (1..processors().max(2))
        .map(|cpu| {
            let (epoch, reads) = (epoch.clone(), reads.clone());
            thread::spawn(move || {
                let _ = allow(0, 1 << (cpu % processors()));
                loop {
                    let told = epoch.load(Ordering::SeqCst);
                    if told == OVER {
                        return None;
                    }
                    let word = shared_word(page).load(Ordering::SeqCst);
                    reads.fetch_add(1, Ordering::Relaxed);
                    // 0: the new page has come and is still empty.
                    if word != 0 && word < told && epoch.load(Ordering::SeqCst) == told {
                        return Some((word, told));
                    }
                }
            })
        })
        .collect();
    let end = now() + 4_000_000_000;
    let rounds = (1..0xffff).take_while(|_| now() < end);
    for round in rounds {
        works!(call!(
            SYS_mmap,
            page,
            4096,
            READ_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0
        ));
        shared_word(page).store(round, Ordering::SeqCst);
        epoch.store(round, Ordering::SeqCst);
    }
    epoch.store(OVER, Ordering::SeqCst);
    for reader in readers {
        same!(reader.join().map_err(|_| "panic"), Ok(None));
    }
    holds!(reads.load(Ordering::Relaxed) > 0);
    Ok(())
}

static FAULTS: AtomicU32 = AtomicU32::new(0);
static WRITABLE_AGAIN: AtomicU32 = AtomicU32::new(0);

/// The page is not writable: waits until the test says that it is again.
extern "C" fn wait_for_right(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let seen = WRITABLE_AGAIN.load(Ordering::SeqCst);
    FAULTS.fetch_add(1, Ordering::SeqCst);
    while WRITABLE_AGAIN.load(Ordering::SeqCst) == seen {
        std::hint::spin_loop();
    }
}

fn a_revoked_right_to_write_is_gone_everywhere() -> Outcome {
    const ROUNDS: u32 = 50;
    if processors() == 1 {
        return Ok(()); // the handler spins
    }
    let page = map(4096, READ_WRITE, libc::MAP_PRIVATE).expose_provenance();
    poke(std::ptr::with_exposed_provenance_mut(page), 0);
    on_signal(libc::SIGSEGV, wait_for_right, libc::SA_NODEFER);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let stop = stop.clone();
        thread::spawn(move || {
            let target: *mut u8 = std::ptr::with_exposed_provenance_mut(page);
            while !stop.load(Ordering::SeqCst) {
                poke(target, peek(target).wrapping_add(1));
            }
        })
    };
    for round in 0..ROUNDS {
        works!(call!(SYS_mprotect, page, 4096, libc::PROT_READ));
        let target: *const u8 = std::ptr::with_exposed_provenance(page);
        let before = peek(target);
        while FAULTS.load(Ordering::SeqCst) == round {
            same!(peek(target), before);
        }
        same!(peek(target), before);
        works!(call!(SYS_mprotect, page, 4096, READ_WRITE));
        WRITABLE_AGAIN.fetch_add(1, Ordering::SeqCst);
    }
    stop.store(true, Ordering::SeqCst);
    holds!(writer.join().is_ok());
    same!(FAULTS.load(Ordering::SeqCst), ROUNDS);
    Ok(())
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);
extern "C" fn count_signal(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// It never enters the kernel by itself.
fn a_thread_on_another_processor_sees_a_signal() -> Outcome {
    on_signal(libc::SIGUSR1, count_signal, 0);
    let tid = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = {
        let (tid, stop) = (tid.clone(), stop.clone());
        thread::spawn(move || {
            let _ = allow(0, 1 << (processors() - 1));
            tid.store(gettid() as u64, Ordering::SeqCst);
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    works!(allow(0, 1));
    while tid.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let tid = tid.load(Ordering::SeqCst);
    for round in 1..=200 {
        works!(call!(SYS_tgkill, std::process::id(), tid, libc::SIGUSR1));
        while SIGNALS.load(Ordering::SeqCst) < round {
            thread::yield_now();
        }
    }
    stop.store(true, Ordering::SeqCst);
    holds!(spinner.join().is_ok());
    same!(SIGNALS.load(Ordering::SeqCst), 200);
    Ok(())
}

fn the_counters_have_a_column_for_each_processor() -> Outcome {
    let count = processors();
    let interrupts = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let header = interrupts.lines().next().unwrap_or_default();
    same!(header.split_whitespace().count(), count);
    for name in ["LOC:", "RES:", "CAL:", "TLB:"] {
        let row = interrupts
            .lines()
            .find(|row| row.trim_start().starts_with(name))
            .unwrap_or_default();
        let numbers = row
            .split_whitespace()
            .skip(1)
            .map_while(|word| word.parse::<u64>().ok());
        same!(numbers.count(), count);
    }
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let lines = stat.lines().filter(|line| line.starts_with("cpu"));
    same!(lines.count(), count + 1);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    same!(
        info.lines()
            .filter(|line| line.starts_with("processor"))
            .count(),
        count
    );
    Ok(())
}

// --- the storm --------------------------------------------------------------------------------

/// How long each kind of weather lasts.
const STORM_SECONDS: u64 = 12;

/// What a worker does until the deadline; it returns how often it did it, `None` when something was lost.
type Weather = fn(u64) -> Option<u32>;

const WEATHER: [(&str, Weather); 7] = [
    ("fork", storm_of_forks),
    ("exec", storm_of_programs),
    ("mmap", storm_of_mappings),
    ("pipe", storm_of_pipes),
    ("signal", storm_of_signals),
    ("futex", storm_of_futexes),
    ("thread", storm_of_threads),
];

fn storm_of_forks(end: u64) -> Option<u32> {
    let mut rounds = 0;
    while now() < end {
        let children: Vec<i32> = (0..4)
            .map(|number| fork(move || number + in_grandchild()))
            .collect();
        for (number, child) in (0..).zip(children) {
            (wait(child) == Status::Exited(number + 7)).then_some(())?;
        }
        rounds += 1;
    }
    Some(rounds)
}

fn in_grandchild() -> i32 {
    match in_child(|| 7) {
        Status::Exited(status) => status,
        _ => 50,
    }
}

fn storm_of_programs(end: u64) -> Option<u32> {
    let mut rounds = 0;
    while now() < end {
        let status = Command::new("/proc/self/exe").arg("child:none").status();
        (status.ok()?.code() == Some(97)).then_some(())?;
        rounds += 1;
    }
    Some(rounds)
}

fn storm_of_mappings(end: u64) -> Option<u32> {
    let threads: Vec<_> = (0..3u8)
        .map(|mark| {
            thread::spawn(move || {
                let mut rounds = 0;
                while now() < end {
                    let pages = map(64 << 12, READ_WRITE, libc::MAP_PRIVATE);
                    let page = |index: usize| pages.wrapping_add(index << 12);
                    (0..64).for_each(|index| poke(page(index), mark + index as u8));
                    let address = pages.expose_provenance();
                    call!(SYS_mprotect, address, 32 << 12, libc::PROT_READ).ok()?;
                    call!(
                        SYS_madvise,
                        address + (48 << 12),
                        16 << 12,
                        libc::MADV_DONTNEED
                    )
                    .ok()?;
                    for index in 0..64 {
                        let wanted = if index < 48 { mark + index as u8 } else { 0 };
                        (peek(page(index)) == wanted).then_some(())?;
                    }
                    call!(SYS_munmap, address, 64 << 12).ok()?;
                    rounds += 1;
                }
                Some(rounds)
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().ok()?)
        .sum::<Option<u32>>()
}

/// A number goes round through four processes.
fn storm_of_pipes(end: u64) -> Option<u32> {
    const STATIONS: usize = 4;
    let pipes: Vec<[i32; 2]> = (0..=STATIONS).map(|_| pipe(0)).collect();
    let children: Vec<i32> = (0..STATIONS)
        .map(|station| {
            let (from, to) = (pipes[station][0], pipes[station + 1][1]);
            let all: Vec<i32> = pipes.iter().flatten().copied().collect();
            fork(move || {
                for fd in all.iter().filter(|&&fd| fd != from && fd != to) {
                    let _ = call!(SYS_close, *fd);
                }
                let mut number = 0_u64;
                while call!(SYS_read, from, &mut number, 8) == Ok(8) {
                    number += 1;
                    if call!(SYS_write, to, &number, 8) != Ok(8) {
                        return 1;
                    }
                }
                0
            })
        })
        .collect();
    let (first, last) = (pipes[0][1], pipes[STATIONS][0]);
    for fd in pipes
        .iter()
        .flatten()
        .filter(|&&fd| fd != first && fd != last)
    {
        let _ = call!(SYS_close, *fd);
    }
    let mut rounds = 0_u32;
    while now() < end {
        let mut number = u64::from(rounds) << 8;
        call!(SYS_write, first, &number, 8).ok()?;
        call!(SYS_read, last, &mut number, 8).ok()?;
        (number == u64::from(rounds) << 8 | STATIONS as u64).then_some(())?;
        rounds += 1;
    }
    let _ = call!(SYS_close, first);
    let ended = children
        .into_iter()
        .all(|child| wait(child) == Status::Exited(0));
    ended.then_some(rounds)
}

/// Real-time signals queue up: none may be lost.
fn storm_of_signals(end: u64) -> Option<u32> {
    const BURST: u32 = 20;
    let signal = 40;
    on_signal(signal, count_signal, libc::SA_RESTART);
    let me = std::process::id();
    let [reader, writer] = pipe(0);
    let sender = fork(move || {
        let mut byte = 0_u8;
        let _ = call!(SYS_close, writer);
        while call!(SYS_read, reader, &mut byte, 1) == Ok(1) {
            for _ in 0..BURST {
                if call!(SYS_kill, me, signal).is_err() {
                    return 1;
                }
            }
        }
        0
    });
    let _ = call!(SYS_close, reader);
    let mut rounds = 0;
    while now() < end {
        call!(SYS_write, writer, c"x", 1).ok()?;
        rounds += 1;
        while SIGNALS.load(Ordering::SeqCst) < rounds * BURST {
            // The alarm of the whole check ends a wait for a signal that was lost.
            thread::yield_now();
        }
    }
    let _ = call!(SYS_close, writer);
    let ended = wait(sender) == Status::Exited(0);
    (ended && SIGNALS.load(Ordering::SeqCst) == rounds * BURST).then_some(rounds)
}

/// A ball between threads, and a counter under a lock.
fn storm_of_futexes(end: u64) -> Option<u32> {
    const PLAYERS: u32 = 4;
    let ball = Arc::new((Mutex::new(0_u32), Condvar::new()));
    let counter = Arc::new(Mutex::new(0_u32));
    let over = Arc::new(AtomicBool::new(false));
    let players: Vec<_> = (0..PLAYERS)
        .map(|me| {
            let (ball, counter, over) = (ball.clone(), counter.clone(), over.clone());
            thread::spawn(move || {
                let mut mine = 0;
                let (turn, changed) = &*ball;
                let mut turn = turn.lock().ok()?;
                loop {
                    while *turn % PLAYERS != me && !over.load(Ordering::SeqCst) {
                        turn = changed.wait(turn).ok()?;
                    }
                    if over.load(Ordering::SeqCst) || now() >= end {
                        over.store(true, Ordering::SeqCst);
                        changed.notify_all();
                        return Some(mine);
                    }
                    *turn = turn.wrapping_add(1);
                    changed.notify_all();
                    mine += 1;
                    *counter.lock().ok()? += 1;
                }
            })
        })
        .collect();
    let played = players
        .into_iter()
        .map(|player| player.join().ok()?)
        .sum::<Option<u32>>()?;
    (played == *counter.lock().ok()?).then_some(played)
}

fn storm_of_threads(end: u64) -> Option<u32> {
    let mut rounds = 0;
    while now() < end {
        let sum = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (1..=8)
            .map(|number| {
                let sum = sum.clone();
                thread::spawn(move || sum.fetch_add(number, Ordering::SeqCst))
            })
            .collect();
        for thread in threads {
            thread.join().ok()?;
        }
        (sum.load(Ordering::SeqCst) == 36).then_some(())?;
        rounds += 1;
    }
    Some(rounds)
}

/// kB of memory that nobody uses, and tasks.
fn resources() -> (i64, usize) {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = info.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let free = free.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    let is_number = |name: &std::ffi::OsStr| name.as_encoded_bytes()[0].is_ascii_digit();
    let tasks = fs::read_dir("/proc").map_or(0, |entries| {
        entries
            .flatten()
            .filter(|entry| is_number(&entry.file_name()))
            .count()
    });
    (free.unwrap_or(0), tasks)
}

fn one_storm(end: u64) -> Outcome {
    let [reader, writer] = pipe(0);
    let workers: Vec<i32> = WEATHER
        .iter()
        .map(|(_, weather)| {
            fork(move || {
                let Some(rounds) = weather(end) else { return 1 };
                let _ = call!(SYS_write, writer, &rounds, 4);
                i32::from(rounds == 0)
            })
        })
        .collect();
    let mut failed = Vec::new();
    for ((name, _), worker) in WEATHER.iter().zip(workers) {
        let status = wait(worker);
        if status != Status::Exited(0) {
            failed.push(format!("{name}: {status:?}"));
        }
    }
    let mut rounds = 0_u32;
    let mut total = 0;
    let _ = call!(SYS_close, writer);
    while call!(SYS_read, reader, &mut rounds, 4) == Ok(4) {
        total += rounds;
    }
    let _ = call!(SYS_close, reader);
    println!("storm: {total} rounds");
    holds!(failed.is_empty(), "{failed:?}");
    Ok(())
}

fn a_storm_adds_up_and_leaves_nothing() -> Outcome {
    let _ = call!(SYS_alarm, 100);
    // What caches keep for the next time is there after a short one.
    one_storm(now() + 1_000_000_000)?;
    let (free, tasks) = resources();
    one_storm(now() + STORM_SECONDS * 1_000_000_000)?;
    let (free_now, tasks_now) = resources();
    same!(tasks_now, tasks);
    holds!(
        free_now + 4096 > free,
        "{free} kB before, {free_now} kB after"
    );
    Ok(())
}
