//! The fair class with a simulated clock.

use super::lone_task;
use crate::kernel::sched::change::weight_of;
use crate::kernel::sched::entity::Class;
use crate::kernel::sched::fair::{Enqueue, nice_to_weight};
use crate::kernel::sched::rq::Rq;
use crate::kernel::sched::task::{Task, tif};
use crate::kernel::time::TICK_NSEC;
use crate::prelude::*;
use uapi::sched::{SCHED_BATCH, SCHED_IDLE, SCHED_NORMAL};

const MS: u64 = 1_000_000;

/// A CPU without the rest of a machine.
pub(super) struct Sim {
    pub(super) rq: Rq,
    pub(super) now: u64,
}

impl Sim {
    pub(super) fn new() -> Self {
        let mut rq = Rq::new();
        let idle = lone_task();
        idle.se.set_class(Class::Idle);
        rq.idle = Some(idle.clone());
        rq.curr = Some(idle);
        Sim { rq, now: MS }
    }

    pub(super) fn add(&mut self, task: &Arc<Task>, how: Enqueue) {
        self.rq.set_clock(self.now);
        self.rq.activate_task(task.clone(), how);
        self.rq.check_preempt_curr(task);
    }

    pub(super) fn fair(&mut self, nice: i32) -> Arc<Task> {
        let task = lone_task();
        task.se.set_nice_value(nice);
        task.se.weight.set(nice_to_weight(nice));
        self.add(&task, Enqueue::New);
        task
    }

    pub(super) fn curr(&self) -> Arc<Task> {
        self.rq.curr.clone().expect("something always runs")
    }

    pub(super) fn runs(&self, task: &Arc<Task>) -> bool {
        Arc::ptr_eq(&self.curr(), task)
    }

    pub(super) fn need_resched(&self) -> bool {
        self.curr().test_tif(tif::NEED_RESCHED)
    }

    pub(super) fn schedule(&mut self) {
        self.rq.set_clock(self.now);
        self.rq.update_curr();
        let next = self.rq.pick_next_task();
        self.curr().clear_tif(tif::NEED_RESCHED);
        if let Some(next) = next {
            self.rq.set_next_task(&next);
            self.rq.curr = Some(next);
        }
    }

    pub(super) fn schedule_if_asked(&mut self) {
        if self.need_resched() {
            self.schedule();
        }
    }

    /// The running task goes to sleep.
    pub(super) fn sleep(&mut self) {
        self.rq.set_clock(self.now);
        self.rq.update_curr();
        self.rq.deactivate_curr();
        self.schedule();
    }

    /// Time passes, with ticks.
    pub(super) fn run_for(&mut self, ns: u64) {
        let end = self.now + ns;
        while self.now < end {
            let next_tick = (self.now / TICK_NSEC + 1) * TICK_NSEC;
            self.now = next_tick.min(end);
            self.rq.set_clock(self.now);
            if self.now == next_tick {
                self.rq.task_tick();
            } else {
                self.rq.update_curr();
            }
            self.schedule_if_asked();
        }
    }
}

fn runtime(task: &Task) -> u64 {
    task.se.sum_exec_runtime()
}

fn assert_ratio(a: u64, b: u64, expected: f64) {
    let ratio = a as f64 / b as f64;
    assert!(
        (ratio / expected - 1.0).abs() < 0.05,
        "{ratio} instead of {expected}"
    );
}

#[test]
fn equal_tasks_get_equal_shares() {
    let mut sim = Sim::new();
    let tasks: Vec<_> = (0..5).map(|_| sim.fair(0)).collect();
    sim.run_for(10_000 * MS);
    for task in &tasks {
        assert_ratio(runtime(task), 2_000 * MS, 1.0);
    }
}

#[test]
fn shares_follow_the_weights_of_nice_values() {
    for (a, b) in [(0, 5), (-5, 5), (0, 19), (-20, -19), (-20, 19)] {
        let mut sim = Sim::new();
        let (first, second) = (sim.fair(a), sim.fair(b));
        // Long enough for the lighter one to have many turns.
        sim.run_for(400_000 * MS);
        let expected = nice_to_weight(a) as f64 / nice_to_weight(b) as f64;
        let (x, y) = (runtime(&first), runtime(&second));
        let error = (x as f64 / y as f64 / expected - 1.0).abs();
        assert!(
            error < 0.15,
            "nice {a} and {b}: {x} and {y}, expected {expected}"
        );
    }
}

#[test]
fn a_scheduled_idle_task_gets_almost_nothing() {
    let mut sim = Sim::new();
    let normal = sim.fair(0);
    let background = lone_task();
    background.se.set_policy(SCHED_IDLE);
    background.se.weight.set(weight_of(SCHED_IDLE, 0));
    sim.add(&background, Enqueue::New);
    sim.run_for(20_000 * MS);
    assert!(runtime(&background) < runtime(&normal) / 100);
    assert!(runtime(&background) > 0, "but it does not starve");
}

#[test]
fn nobody_waits_longer_than_everybody_elses_slices() {
    let mut sim = Sim::new();
    let tasks: Vec<_> = (0..10).map(|_| sim.fair(0)).collect();
    sim.run_for(1_000 * MS);
    let mut last: Vec<u64> = tasks.iter().map(|t| runtime(t)).collect();
    for _ in 0..50 {
        // A tick for each of the others, and one to begin with.
        sim.run_for(10 * TICK_NSEC + 2 * TICK_NSEC);
        for (task, last) in tasks.iter().zip(&mut last) {
            assert!(
                runtime(task) > *last,
                "a task did not run for a whole round"
            );
            *last = runtime(task);
        }
    }
}

#[test]
fn a_task_that_sleeps_preempts_a_busy_one_when_it_wakes() {
    let mut sim = Sim::new();
    let (busy, editor) = (sim.fair(0), sim.fair(0));
    sim.run_for(100 * MS);
    if !sim.runs(&editor) {
        sim.run_for(4 * TICK_NSEC);
        while !sim.runs(&editor) {
            sim.run_for(MS);
        }
    }
    sim.sleep();
    assert!(sim.runs(&busy));
    let mut late = 0;
    for _ in 0..100 {
        sim.run_for(30 * MS);
        sim.add(&editor, Enqueue::Wakeup);
        sim.schedule_if_asked();
        late += u32::from(!sim.runs(&editor));
        if sim.runs(&editor) {
            sim.run_for(MS / 10);
            sim.sleep();
        } else {
            while !sim.runs(&editor) {
                sim.run_for(MS);
            }
            sim.sleep();
        }
    }
    assert!(late <= 5, "the sleeper had to wait {late} times out of 100");
}

#[test]
fn a_batch_task_does_not_preempt() {
    let mut sim = Sim::new();
    let busy = sim.fair(0);
    sim.schedule();
    sim.run_for(20 * MS);
    let batch = lone_task();
    batch.se.set_policy(SCHED_BATCH);
    sim.add(&batch, Enqueue::Wakeup);
    assert!(sim.runs(&busy) && !sim.need_resched());
}

#[test]
fn sleeping_saves_no_claim_beyond_the_limit() {
    let mut sim = Sim::new();
    let (busy, lazy) = (sim.fair(0), sim.fair(0));
    sim.run_for(50 * MS);
    while !sim.runs(&lazy) {
        sim.run_for(MS);
    }
    sim.sleep();
    sim.run_for(60_000 * MS);
    sim.add(&lazy, Enqueue::Wakeup);
    sim.schedule_if_asked();
    let before = runtime(&busy);
    sim.run_for(200 * MS);
    assert!(
        runtime(&busy) - before > 80 * MS,
        "a minute of sleep is not paid back"
    );
}

#[test]
fn yielding_lets_the_other_one_run() {
    let mut sim = Sim::new();
    let (a, b) = (sim.fair(0), sim.fair(0));
    sim.schedule();
    let mut turns = [0, 0];
    for _ in 0..1000 {
        sim.now += 10_000;
        sim.rq.set_clock(sim.now);
        sim.rq.update_curr();
        sim.rq.cfs.yield_task(&sim.curr().se);
        sim.schedule();
        turns[usize::from(sim.runs(&b))] += 1;
        assert!(sim.runs(&a) || sim.runs(&b));
    }
    assert!(turns.iter().all(|&n| n > 400), "{turns:?}");
}

#[test]
fn the_sums_are_zero_again_when_everybody_has_left() {
    let mut sim = Sim::new();
    let tasks: Vec<_> = (-10..10).map(|nice| sim.fair(nice)).collect();
    sim.run_for(500 * MS);
    for _ in 0..tasks.len() {
        sim.sleep();
    }
    assert!(sim.curr().se.class() == Class::Idle);
    assert_eq!((sim.rq.nr_running, sim.rq.nr_fair), (0, 0));
    assert_eq!(sim.rq.cfs.sums_for_test(), (0, 0, 0));
}

#[test]
fn a_random_mixture_of_events_keeps_the_books() {
    let mut state = 12345u64;
    let mut random = move |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % n
    };
    let mut sim = Sim::new();
    let tasks: Vec<_> = (0..30).map(|i| sim.fair(i % 40 - 20)).collect();
    let mut asleep: Vec<Arc<Task>> = Vec::new();
    for _ in 0..20_000 {
        match random(4) {
            0 if sim.rq.nr_running > 0 => {
                sim.schedule();
                let curr = sim.curr();
                if curr.se.class() != Class::Idle {
                    sim.sleep();
                    asleep.push(curr);
                }
            }
            1 if !asleep.is_empty() => {
                let task = asleep.swap_remove(random(asleep.len() as u64) as usize);
                sim.add(&task, Enqueue::Wakeup);
                sim.schedule_if_asked();
            }
            _ => sim.run_for(random(6 * MS)),
        }
        assert_eq!(sim.rq.nr_running as usize + asleep.len(), tasks.len());
    }
    assert!(
        tasks
            .iter()
            .all(|t| t.se.policy() == SCHED_NORMAL && runtime(t) > 0)
    );
}
