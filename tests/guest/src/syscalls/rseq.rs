//! Restartable sequences, with the area that the C library registers for each thread.

use std::arch::asm;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Status, call, fork, in_child, on_signal, wait_with};

pub const CHECKS: &[Check] = table![
    the_area_tells_the_processor,
    areas_are_registered_once_and_with_care,
    a_signal_aborts_the_critical_section,
    losing_the_processor_aborts_the_critical_section,
    a_senseless_critical_section_is_fatal,
];

/// The word before each abort address, as the C library registers it for x86.
const SIGNATURE: u32 = 0x5305_3053;
/// Size that the C library registers.
const SIZE: u32 = 32;

unsafe extern "C" {
    /// Where the area is, from the thread pointer.
    static __rseq_offset: isize;
}

/// Fields of the area.
#[repr(C)]
struct Area {
    cpu_id_start: AtomicU32,
    cpu_id: AtomicU32,
    section: AtomicU32,
    section_high: AtomicU32,
}

/// The running thread's area.
fn area() -> &'static Area {
    let thread: usize;
    // SAFETY: the thread pointer's first word is its own address (x86-64 psABI); the library keeps the area next to it
    // as long as the thread lives, and all fields are atomics.
    unsafe {
        asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly));
        &*std::ptr::with_exposed_provenance(thread.wrapping_add_signed(__rseq_offset))
    }
}

fn the_area_tells_the_processor() -> Outcome {
    let mut cpu = u32::MAX;
    works!(call!(SYS_getcpu, &mut cpu, 0, 0));
    same!(area().cpu_id.load(Ordering::Relaxed), cpu);
    same!(area().cpu_id_start.load(Ordering::Relaxed), cpu);
    let theirs = std::thread::spawn(|| area().cpu_id.load(Ordering::Relaxed));
    let theirs = works!(theirs.join().map_err(|_| "panic"));
    holds!(theirs < 64, "{theirs}");
    same!(
        in_child(|| i32::from(area().cpu_id.load(Ordering::Relaxed) >= 64)),
        Status::Exited(0)
    );
    Ok(())
}

fn areas_are_registered_once_and_with_care() -> Outcome {
    let own = area();
    fails!(call!(SYS_rseq, own, SIZE, 0, SIGNATURE), EBUSY);
    fails!(call!(SYS_rseq, own, SIZE, 0, SIGNATURE + 1), EPERM);
    fails!(call!(SYS_rseq, own, SIZE * 2, 0, SIGNATURE), EINVAL);
    fails!(call!(SYS_rseq, own, SIZE, 2, SIGNATURE), EINVAL);
    fails!(call!(SYS_rseq, own, SIZE, 1, SIGNATURE + 1), EPERM);
    fails!(call!(SYS_rseq, 4096, SIZE, 1, SIGNATURE), EINVAL);
    works!(call!(SYS_rseq, own, SIZE, 1, SIGNATURE));
    same!(own.cpu_id.load(Ordering::Relaxed), u32::MAX);
    fails!(call!(SYS_rseq, own, SIZE, 1, SIGNATURE), EINVAL);
    let address = std::ptr::from_ref(own).addr();
    fails!(call!(SYS_rseq, address + 8, SIZE, 0, SIGNATURE), EINVAL);
    fails!(call!(SYS_rseq, own, SIZE - 1, 0, SIGNATURE), EINVAL);
    fails!(call!(SYS_rseq, usize::MAX - 63, SIZE, 0, SIGNATURE), EFAULT);
    works!(call!(SYS_rseq, own, SIZE, 0, SIGNATURE));
    holds!(own.cpu_id.load(Ordering::Relaxed) < 64);
    // A place that cannot be written is noticed on the way back.
    works!(call!(SYS_rseq, own, SIZE, 1, SIGNATURE));
    same!(
        in_child(|| i32::from(call!(SYS_rseq, 4096, SIZE, 0, SIGNATURE).is_err())),
        Status::Killed(libc::SIGSEGV)
    );
    Ok(())
}

/// Waits in a critical section until it is aborted.
fn wait_for_the_abort() {
    // SAFETY: the section is left through the abort address only, which the signature precedes; nothing but the area's
    // pointer to the section is written, and the kernel clears it.
    unsafe {
        asm!(
            ".pushsection .data.rseq_section, \"aw\"",
            ".balign 32",
            "77: .long 0, 0",
            ".quad 22f, 33f - 22f, 44f",
            ".popsection",
            "lea {section}, [rip + 77b]",
            "mov [{area} + 8], {section}",
            "22: pause",
            "jmp 22b",
            "33: ud2",
            ".long 0x53053053",
            "44:",
            section = out(reg) _,
            area = in(reg) std::ptr::from_ref(area()),
        );
    }
}

static SIGNALS: AtomicI32 = AtomicI32::new(0);

fn a_signal_aborts_the_critical_section() -> Outcome {
    extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }
    on_signal(libc::SIGALRM, count, 0);
    for round in 1..=3 {
        let soon: [i64; 4] = [0, 0, 0, 20_000];
        works!(call!(SYS_setitimer, libc::ITIMER_REAL, &soon, 0));
        while SIGNALS.load(Ordering::Relaxed) < round {
            wait_for_the_abort();
        }
        let left = area().section.load(Ordering::Relaxed);
        same!((left, area().section_high.load(Ordering::Relaxed)), (0, 0));
    }
    Ok(())
}

fn losing_the_processor_aborts_the_critical_section() -> Outcome {
    // As many rivals as there may be processors: this process has to share its own.
    let rivals: Vec<i32> = (0..std::thread::available_parallelism().map_or(1, usize::from))
        .map(|_| {
            fork(|| {
                loop {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    for _ in 0..3 {
        wait_for_the_abort();
    }
    for rival in rivals {
        works!(call!(SYS_kill, rival, libc::SIGKILL));
        works!(wait_with(rival, 0));
    }
    Ok(())
}

fn a_senseless_critical_section_is_fatal() -> Outcome {
    let with = |section: [u64; 4]| {
        in_child(|| {
            let address = section.as_ptr().expose_provenance() as u64;
            let area = area();
            area.section_high
                .store((address >> 32) as u32, Ordering::Relaxed);
            area.section.store(address as u32, Ordering::Relaxed);
            let _ = call!(SYS_sched_yield);
            let _ = call!(SYS_kill, call!(SYS_getpid).unwrap_or(0), 0);
            // A signal without effect still looks at the section.
            on_signal(libc::SIGUSR1, nothing, 0);
            let _ = call!(SYS_kill, call!(SYS_getpid).unwrap_or(0), libc::SIGUSR1);
            0
        })
    };
    let killed = Status::Killed(libc::SIGSEGV);
    let here = std::ptr::from_ref(&SIGNALS).expose_provenance() as u64;
    same!(with([1, here, 16, here + 64]), killed); // an unknown version
    same!(with([0, here, u64::MAX, here]), killed); // longer than memory
    same!(with([0, here, 16, here + 8]), killed); // aborts into itself
    same!(with([0, here, 16, here + 64]), killed); // no signature there
    same!(with([0, 1 << 63, 16, here]), killed); // in the kernel
    Ok(())
}

extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
