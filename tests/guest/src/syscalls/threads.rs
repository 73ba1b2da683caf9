//! Threads: clone, futexes, what threads share, and how they end.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Errno, Status, call, in_child, map, now, on_signal, peek, poke};

pub const CHECKS: &[Check] = table![
    threads_share_memory_and_descriptors,
    a_futex_waits_only_for_its_value,
    a_futex_times_out,
    waking_counts_the_woken,
    requeueing_moves_waiters,
    a_futex_in_shared_memory_joins_processes,
    bits_choose_who_is_woken,
    mutexes_keep_others_out,
    condition_variables_pass_a_ball,
    many_threads_come_and_go,
    threads_have_names_and_numbers,
    thread_local_data_is_each_threads_own,
    the_end_of_the_process_ends_all_threads,
    the_end_of_the_main_thread_ends_only_itself,
    a_signal_for_a_thread_reaches_that_thread,
    exec_leaves_one_thread,
    a_fatal_signal_ends_all_threads,
    the_list_of_robust_locks_is_walked,
    impossible_clones_are_refused,
    the_working_folder_is_shared,
];

fn threads_share_memory_and_descriptors() -> Outcome {
    let value = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&value);
    let fd = thread::spawn(move || {
        theirs.store(7, Ordering::SeqCst);
        call!(SYS_open, c"file", libc::O_CREAT | libc::O_RDWR, 0o600)
    });
    let fd = works!(works!(fd.join().map_err(|_| "panic")));
    same!(value.load(Ordering::SeqCst), 7);
    same!(call!(SYS_write, fd, c"x", 1), Ok(1));
    Ok(())
}

fn futex(word: &AtomicU32, operation: i32, value: u32) -> Result<usize, Errno> {
    call!(
        SYS_futex,
        word,
        operation | libc::FUTEX_PRIVATE_FLAG,
        value,
        0,
        0,
        0
    )
}

fn a_futex_waits_only_for_its_value() -> Outcome {
    let word = AtomicU32::new(5);
    fails!(futex(&word, libc::FUTEX_WAIT, 6), EAGAIN);
    same!(futex(&word, libc::FUTEX_WAKE, 10), Ok(0));
    fails!(call!(SYS_futex, &word, 77, 0, 0), ENOSYS);
    let odd = (&raw const word).addr() + 1;
    fails!(call!(SYS_futex, odd, libc::FUTEX_WAIT, 0, 0), EINVAL);
    Ok(())
}

fn a_futex_times_out() -> Outcome {
    let word = AtomicU32::new(5);
    let start = now();
    fails!(
        call!(
            SYS_futex,
            &word,
            libc::FUTEX_WAIT | 128,
            5,
            &[0_u64, 20_000_000]
        ),
        ETIMEDOUT
    );
    holds!(now() - start >= 20_000_000);
    let end = now() + 20_000_000;
    let moment = [end / 1_000_000_000, end % 1_000_000_000];
    fails!(
        call!(
            SYS_futex,
            &word,
            libc::FUTEX_WAIT_BITSET | 128,
            5,
            &moment,
            0,
            u32::MAX
        ),
        ETIMEDOUT
    );
    holds!(now() >= end);
    fails!(
        call!(
            SYS_futex,
            &word,
            libc::FUTEX_WAIT | 128,
            5,
            &[0_u64, 1_000_000_000]
        ),
        EINVAL
    );
    fails!(
        call!(SYS_futex, &word, libc::FUTEX_WAIT_BITSET | 128, 5, 0, 0, 0),
        EINVAL
    );
    Ok(())
}

/// Threads that wait at `word` with `bits`; each adds one to `woken` when it goes on.
fn waiters(
    count: usize,
    word: &Arc<AtomicU32>,
    woken: &Arc<AtomicUsize>,
    bits: u32,
) -> Vec<thread::JoinHandle<()>> {
    let ready = Arc::new(AtomicUsize::new(0));

    (0..count)
        .map(|_| {
            let (word, woken, ready) = (Arc::clone(word), Arc::clone(woken), Arc::clone(&ready));
            thread::spawn(move || {
                ready.store(call!(SYS_gettid).unwrap_or(0), Ordering::SeqCst);
                let operation = libc::FUTEX_WAIT_BITSET | 128;
                let _ = call!(SYS_futex, &*word, operation, 0, 0, 0, bits);
                woken.fetch_add(1, Ordering::SeqCst);
            })
        })
        .inspect(|_| {
            while ready.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            let thread = ready.swap(0, Ordering::SeqCst);
            while !sleeps(thread) {
                thread::yield_now();
            }
        })
        .collect()
}

/// Whether a thread of this process sleeps.
fn sleeps(thread: usize) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    stat.is_ok_and(|stat| stat.contains(") S "))
}

fn until(woken: &AtomicUsize, count: usize) -> bool {
    let start = now();
    while woken.load(Ordering::SeqCst) < count && now() - start < 5_000_000_000 {
        thread::yield_now();
    }
    woken.load(Ordering::SeqCst) == count
}

fn waking_counts_the_woken() -> Outcome {
    let (word, woken) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads = waiters(4, &word, &woken, u32::MAX);
    same!(futex(&word, libc::FUTEX_WAKE, 1), Ok(1));
    holds!(until(&woken, 1));
    same!(futex(&word, libc::FUTEX_WAKE, 2), Ok(2));
    same!(futex(&word, libc::FUTEX_WAKE, 100), Ok(1));
    holds!(until(&woken, 4));
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn requeueing_moves_waiters() -> Outcome {
    let (word, woken) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let other = AtomicU32::new(0);
    let threads = waiters(4, &word, &woken, u32::MAX);
    let operation = libc::FUTEX_CMP_REQUEUE | 128;
    fails!(
        call!(SYS_futex, &*word, operation, 1, 100, &other, 5),
        EAGAIN
    );
    same!(
        call!(SYS_futex, &*word, operation, 1, 100, &other, 0),
        Ok(4)
    );
    holds!(until(&woken, 1));
    same!(futex(&word, libc::FUTEX_WAKE, 100), Ok(0));
    same!(futex(&other, libc::FUTEX_WAKE, 100), Ok(3));
    holds!(until(&woken, 4));
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn a_futex_in_shared_memory_joins_processes() -> Outcome {
    let page = map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let child = crate::raw::fork(|| {
        let result = call!(SYS_futex, page, libc::FUTEX_WAIT, 0, &[10_u64, 0]);
        i32::from(result != Ok(0))
    });
    crate::raw::wait_until_asleep(child);
    poke(page, 1);
    same!(call!(SYS_futex, page, libc::FUTEX_WAKE, 1), Ok(1));
    same!(crate::raw::wait(child), Status::Exited(0));
    Ok(())
}

fn bits_choose_who_is_woken() -> Outcome {
    let (word, woken) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let first = waiters(2, &word, &woken, 1);
    let second = waiters(1, &word, &woken, 2);
    let wake = |bits: u32| {
        call!(
            SYS_futex,
            &*word,
            libc::FUTEX_WAKE_BITSET | 128,
            100,
            0,
            0,
            bits
        )
    };
    same!((wake(4), wake(2)), (Ok(0), Ok(1)));
    holds!(until(&woken, 1));
    same!(wake(3), Ok(2));
    for thread in first.into_iter().chain(second) {
        drop(thread.join());
    }
    Ok(())
}

fn mutexes_keep_others_out() -> Outcome {
    let total = Arc::new(Mutex::new(0_u64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let total = Arc::clone(&total);
            thread::spawn(move || {
                for _ in 0..5000 {
                    let mut total = total
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    *total = std::hint::black_box(*total) + 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    same!(*works!(total.lock().map_err(|_| "poisoned")), 20_000);
    Ok(())
}

fn condition_variables_pass_a_ball() -> Outcome {
    const ROUNDS: u32 = 500;
    let ball = Arc::new((Mutex::new(0_u32), Condvar::new()));
    let players: Vec<_> = (0..2)
        .map(|me| {
            let ball = Arc::clone(&ball);
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    let (count, changed) = &*ball;
                    let lock = count
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    let mut count = changed
                        .wait_while(lock, |count| *count % 2 != me)
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    *count += 1;
                    changed.notify_all();
                }
            })
        })
        .collect();
    players.into_iter().for_each(|player| drop(player.join()));
    same!(*works!(ball.0.lock().map_err(|_| "poisoned")), 2 * ROUNDS);
    Ok(())
}

fn many_threads_come_and_go() -> Outcome {
    for _ in 0..5 {
        let barrier = Arc::new(Barrier::new(21));
        let threads: Vec<_> = (0..20_u64)
            .map(|number| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                    number
                })
            })
            .collect();
        barrier.wait();
        let sum: u64 = threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum();
        same!(sum, 190);
    }
    Ok(())
}

fn threads_have_names_and_numbers() -> Outcome {
    let main = works!(call!(SYS_gettid));
    same!(main, std::process::id() as usize);
    let body = || {
        let number = call!(SYS_gettid).unwrap_or(0);
        let comm = std::fs::read_to_string(format!("/proc/self/task/{number}/comm"));
        (
            number,
            std::process::id() as usize,
            comm.unwrap_or_default(),
        )
    };
    let made = works!(thread::Builder::new().name("worker".into()).spawn(body));
    let (number, process, name) = works!(made.join().map_err(|_| "panic"));
    same!((process, name.as_str()), (main, "worker\n"));
    holds!(number != main);
    // Joining waits for its memory only; the rest goes a moment later.
    while call!(SYS_tgkill, main, number, 0).is_ok() {
        thread::yield_now();
    }
    fails!(call!(SYS_tgkill, main, number, 0), ESRCH);
    Ok(())
}

thread_local! {
    static MINE: std::cell::Cell<usize> = const { std::cell::Cell::new(5) };
}

fn thread_local_data_is_each_threads_own() -> Outcome {
    MINE.set(1);
    let threads: Vec<_> = (10..14)
        .map(|value| {
            thread::spawn(move || {
                let fresh = MINE.get();
                MINE.set(value);
                for _ in 0..50 {
                    thread::yield_now();
                }
                (fresh, MINE.get())
            })
        })
        .collect();
    for (value, thread) in (10..14).zip(threads) {
        same!(thread.join().ok(), Some((5, value)));
    }
    same!(MINE.get(), 1);
    Ok(())
}

fn forever() {
    loop {
        let _ = call!(SYS_pause);
    }
}

fn the_end_of_the_process_ends_all_threads() -> Outcome {
    let status = in_child(|| {
        thread::spawn(forever);
        thread::spawn(|| {
            loop {
                std::hint::spin_loop()
            }
        });
        let _ = thread::spawn(|| call!(SYS_exit_group, 7)).join();
        9
    });
    same!(status, Status::Exited(7));
    Ok(())
}

fn the_end_of_the_main_thread_ends_only_itself() -> Outcome {
    let status = in_child(|| {
        let main = std::process::id();
        thread::spawn(move || {
            while crate::raw::state_of(main.cast_signed()) != Some('Z') {
                crate::raw::sleep_ms(1);
            }
            let _ = call!(SYS_exit, 3);
        });
        let _ = call!(SYS_exit, 5);
        9
    });
    // The last word counts.
    same!(status, Status::Exited(3));
    Ok(())
}

static CAUGHT_BY: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note_thread(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CAUGHT_BY.store(call!(SYS_gettid).unwrap_or(0), Ordering::SeqCst);
}

fn a_signal_for_a_thread_reaches_that_thread() -> Outcome {
    on_signal(libc::SIGUSR1, note_thread, 0);
    let number = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&number);
    let waiting = thread::spawn(move || {
        theirs.store(call!(SYS_gettid).unwrap_or(0), Ordering::SeqCst);
        call!(SYS_pause)
    });
    while number.load(Ordering::SeqCst) == 0 || !sleeps(number.load(Ordering::SeqCst)) {
        thread::yield_now();
    }
    let number = number.load(Ordering::SeqCst);
    works!(call!(SYS_tgkill, std::process::id(), number, libc::SIGUSR1));
    same!(waiting.join().ok(), Some(Err(Errno(libc::EINTR))));
    same!(CAUGHT_BY.load(Ordering::SeqCst), number);
    works!(call!(SYS_tkill, std::process::id(), libc::SIGUSR1));
    same!(
        CAUGHT_BY.load(Ordering::SeqCst),
        std::process::id() as usize
    );
    Ok(())
}

fn exec_leaves_one_thread() -> Outcome {
    let status = in_child(|| {
        thread::spawn(forever);
        let process = std::process::id();
        // Executed by a thread, which then has the number of the process.
        let _ = thread::spawn(move || {
            let name = c"name".as_ptr().expose_provenance();
            let order = c"child:single".as_ptr().expose_provenance();
            let number = std::ffi::CString::new(process.to_string()).unwrap_or_default();
            let number = number.as_ptr().expose_provenance();
            call!(SYS_execve, c"/proc/self/exe", &[name, order, number, 0], 0)
        })
        .join();
        9
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn a_fatal_signal_ends_all_threads() -> Outcome {
    let status = in_child(|| {
        thread::spawn(|| peek(std::ptr::null()));
        forever();
        9
    });
    same!(status, Status::Killed(libc::SIGSEGV));
    Ok(())
}

fn the_list_of_robust_locks_is_walked() -> Outcome {
    let page = map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let lock = std::ptr::with_exposed_provenance::<AtomicU32>(page.expose_provenance() + 64);
    // SAFETY: the page is mapped for the rest of the check.
    let lock = unsafe { &*lock };
    let status = in_child(|| {
        let head: *mut usize = page.cast();
        // The list: head -> entry -> head; the lock is 48 bytes behind its entry.
        let entry = page.expose_provenance() + 16 + 16;
        // SAFETY: both are in the page, and aligned.
        unsafe {
            head.write(entry);
            head.add(1).write(64 - 32);
            head.add(2).write(0);
            head.add(4).write(head.expose_provenance());
        }
        lock.store(std::process::id(), Ordering::SeqCst);
        i32::from(call!(SYS_set_robust_list, head, 24).is_err())
    });
    same!(status, Status::Exited(0));
    same!(lock.load(Ordering::SeqCst) & 0x4000_0000, 0x4000_0000);
    fails!(call!(SYS_set_robust_list, page, 23), EINVAL);
    Ok(())
}

fn impossible_clones_are_refused() -> Outcome {
    fails!(call!(SYS_clone, libc::CLONE_THREAD, 0, 0, 0, 0), EINVAL);
    fails!(call!(SYS_clone, libc::CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
    fails!(
        call!(SYS_clone, libc::CLONE_FS | libc::CLONE_NEWNS, 0, 0, 0, 0),
        EINVAL
    );
    fails!(call!(SYS_clone3, &[0_u64; 8], 8), EINVAL);
    fails!(call!(SYS_clone3, &[0_u64; 1024], 8000), E2BIG);
    Ok(())
}

fn the_working_folder_is_shared() -> Outcome {
    works!(std::fs::create_dir("inner"));
    let before = works!(std::env::current_dir());
    let moved = thread::spawn(|| call!(SYS_chdir, c"inner")).join();
    same!(moved.ok(), Some(Ok(0)));
    same!(works!(std::env::current_dir()), before.join("inner"));
    let mask = thread::spawn(|| call!(SYS_umask, 0o077)).join();
    same!(
        (mask.ok(), call!(SYS_umask, 0o022)),
        (Some(Ok(0o022)), Ok(0o077))
    );
    Ok(())
}
