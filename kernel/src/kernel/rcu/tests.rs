//! RCU with many CPUs, played by host threads, and on the machine of the test port.

use std::sync::Mutex as HostMutex;
use std::thread;

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::kernel::sched::tests::{as_pid_1, settle};
use crate::prelude::*;

/// A machine with CPUs and nothing else.
fn state(cpus: usize) -> RcuState {
    let state = RcuState::new();
    state.set_geometry(cpus);
    (0..cpus).for_each(|cpu| state.cpu_online(cpu));
    state
}

#[test]
fn a_grace_period_waits_for_every_cpu_of_both_levels_once() {
    for cpus in [1, 5, 16, 17, 40, 64] {
        let rcu = state(cpus);
        for _ in 0..3 {
            rcu.start_gp();
            for cpu in 0..cpus {
                assert!(!rcu.gp_is_over(), "{cpus} CPUs, before CPU {cpu}");
                assert!(rcu.needs_qs(cpu));
                assert_eq!(
                    rcu.report_qs(cpu),
                    cpu == cpus - 1,
                    "{cpus} CPUs, CPU {cpu}"
                );
                assert!(!rcu.report_qs(cpu), "reported twice");
            }
            assert!(rcu.gp_is_over());
            rcu.end_gp();
        }
    }
}

#[test]
fn a_reader_that_was_preempted_before_keeps_the_grace_period_and_a_later_one_the_next() {
    let rcu = state(20);
    let (early, late) = (RcuReader::new(), RcuReader::new());
    early.lock();
    let _ = rcu.context_switch(17, &early);
    rcu.start_gp();
    for cpu in 0..20 {
        assert!(!rcu.report_qs(cpu));
    }
    // CPU 17 is done with this grace period: what begins there now does not count for it.
    late.lock();
    let _ = rcu.context_switch(17, &late);
    assert!(!rcu.gp_is_over());
    assert!(early.unlock(), "it was preempted");
    assert!(rcu.remove_preempted(&early), "the last one");
    assert!(rcu.gp_is_over());
    rcu.end_gp();
    rcu.start_gp();
    for cpu in 0..20 {
        assert!(!rcu.report_qs(cpu), "the late reader still reads");
    }
    assert!(late.unlock() && rcu.remove_preempted(&late));
    assert!(rcu.gp_is_over());
    rcu.end_gp();
}

#[test]
fn a_reader_that_is_preempted_before_its_cpu_reports_keeps_the_grace_period() {
    let rcu = state(2);
    let reader = RcuReader::new();
    rcu.start_gp();
    reader.lock();
    reader.lock();
    assert!(!rcu.context_switch(0, &reader), "CPU 1 is missing");
    assert!(!rcu.report_qs(1));
    assert!(!reader.unlock(), "an inner section");
    assert!(!rcu.gp_is_over());
    assert!(reader.unlock() && rcu.remove_preempted(&reader));
    assert!(rcu.gp_is_over());
}

#[test]
fn idle_cpus_are_not_asked_unless_an_interrupt_reads_there() {
    let rcu = state(3);
    rcu.idle_enter(1);
    rcu.idle_enter(2);
    rcu.irq_enter(2);
    rcu.start_gp();
    let _ = rcu.report_qs(0);
    let mut nudged = Vec::new();
    assert!(!rcu.force_quiescent_states(|cpu| nudged.push(cpu)));
    assert_eq!(nudged, [2]);
    rcu.irq_exit(2);
    assert!(rcu.force_quiescent_states(|_| panic!("all are idle")));
    assert!(rcu.gp_is_over());
}

/// What readers look at: `LIVE`, or `DEAD` once its grace period is over.
struct Version(AtomicU64);
const LIVE: u64 = 0x600d_600d_600d_600d;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// One CPU of the torture test: reads, is preempted at random, idles, and counts versions that
/// died while it read.
fn torture_cpu(
    rcu: &RcuState,
    cpu: usize,
    versions: &[Version],
    current: &AtomicUsize,
    stop: &AtomicBool,
) -> u64 {
    let mut random = cpu as u64 + 1;
    let mut next = |range: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % range
    };
    let mut errors = 0;
    while !stop.load(Ordering::Relaxed) {
        let reader = RcuReader::new();
        reader.lock();
        let seen = &versions[current.load(Ordering::Acquire)];
        for _ in 0..next(50) {
            errors += u64::from(seen.0.load(Ordering::Relaxed) != LIVE);
            match next(20) {
                0 => _ = rcu.context_switch(cpu, &reader),
                1 => thread::yield_now(),
                _ => {}
            }
        }
        if reader.unlock() {
            let _ = rcu.remove_preempted(&reader);
        }
        match next(4) {
            0 => _ = rcu.context_switch(cpu, &reader),
            1 => {
                rcu.idle_enter(cpu);
                thread::yield_now();
                rcu.idle_exit(cpu);
            }
            _ => {}
        }
    }
    // Leaves for good: idle.
    rcu.idle_enter(cpu);
    errors
}

#[test]
fn torture_no_reader_ever_sees_a_version_after_its_grace_period() {
    const CPUS: usize = 18; // two levels
    const ROUNDS: usize = 400;
    let rcu = state(CPUS);
    let versions: Vec<Version> = (0..=ROUNDS)
        .map(|_| Version(AtomicU64::new(LIVE)))
        .collect();
    let (current, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    // CPUs beyond the host's few are idle from the start.
    (4..CPUS - 1).for_each(|cpu| rcu.idle_enter(cpu));
    let errors: u64 = thread::scope(|scope| {
        let readers: Vec<_> = [0, 1, 2, 3, CPUS - 1]
            .into_iter()
            .map(|cpu| {
                let (rcu, versions, current, stop) = (&rcu, &versions, &current, &stop);
                scope.spawn(move || torture_cpu(rcu, cpu, versions, current, stop))
            })
            .collect();
        for (round, version) in versions.iter().enumerate().take(ROUNDS) {
            current.store(round + 1, Ordering::Release);
            rcu.start_gp();
            while !rcu.gp_is_over() {
                let _ = rcu.force_quiescent_states(|_| {});
                thread::yield_now();
            }
            rcu.end_gp();
            version.0.store(DEAD, Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader"))
            .sum()
    });
    assert_eq!(errors, 0, "readers saw freed versions");
}

#[test]
fn a_replaced_value_lives_until_its_readers_have_ended() {
    as_pid_1(|| {
        rcu_scheduler_starting_for_test();
        let cell: Rcu<u64> = Rcu::new(Some(Arc::new(1)));
        let section = rcu_read_lock();
        let seen = cell.read(&section).expect("a value");
        let weak = {
            let old = cell.replace(Some(Arc::new(2))).expect("the old value");
            Arc::downgrade(&old.to_arc())
        };
        (0..20).for_each(|_| settle());
        assert_eq!(*seen, 1);
        assert!(weak.upgrade().is_some(), "a reader has it");
        assert_eq!(cell.get(&section).as_deref(), Some(&2));
        drop(section);
        rcu_barrier();
        assert!(weak.upgrade().is_none(), "nobody has it any more");
    });
}

/// Starts the machine's RCU as the boot does, but for the checks that need a fresh machine.
fn rcu_scheduler_starting_for_test() {
    rcutree_online_cpu(0);
    crate::kernel::softirq::open_softirq(crate::kernel::softirq::Softirq::Rcu, gp::rcu_core);
    update::scheduler_started_for_test();
    rcu_spawn_gp_kthread().expect("rcu_preempt");
}

#[test]
fn a_barrier_waits_for_a_thousand_callbacks() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    as_pid_1(|| {
        rcu_scheduler_starting_for_test();
        for _ in 0..1000 {
            call_rcu(|| _ = COUNT.fetch_add(1, Ordering::Relaxed));
        }
        rcu_barrier();
        assert_eq!(COUNT.load(Ordering::Relaxed), 1000);
        let before = gp_seq();
        rcu_barrier();
        assert_eq!(
            gp_seq(),
            before,
            "without callbacks there is nothing to wait for"
        );
    });
}

#[test]
fn synchronize_waits_for_a_reader_that_sleeps_on_the_cpu_and_for_no_later_one() {
    as_pid_1(|| {
        rcu_scheduler_starting_for_test();
        let log = Arc::new(HostMutex::new(Vec::new()));
        let of_reader = log.clone();
        let reader = crate::kernel::kthread::kthread_run("reader", move || {
            let section = rcu_read_lock();
            // A reader of the kernel may only be preempted; this is how a test does that.
            (0..10).for_each(|_| settle());
            of_reader.lock().unwrap().push("reader ends");
            drop(section);
            0
        });
        reader.expect("a thread");
        settle();
        synchronize_rcu();
        log.lock().unwrap().push("grace period over");
        assert_eq!(*log.lock().unwrap(), ["reader ends", "grace period over"]);
        rcu_end_inkernel_boot();
        let before = gp_seq();
        synchronize_rcu();
        synchronize_rcu_expedited();
        assert!(gp_seq() >= before + 8, "two more grace periods");
    });
}
