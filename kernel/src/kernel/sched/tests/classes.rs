//! Classes against each other, with a simulated clock.

use super::fair::Sim;
use super::lone_task;
use crate::kernel::sched::entity::Class;
use crate::kernel::sched::fair::Enqueue;
use crate::kernel::sched::task::Task;
use crate::kernel::time::TICK_NSEC;
use crate::prelude::*;
use uapi::sched::{SCHED_FIFO, SCHED_RR};

const MS: u64 = 1_000_000;

fn rt(sim: &mut Sim, policy: u32, priority: u32) -> Arc<Task> {
    let task = lone_task();
    task.se.set_class(Class::Rt);
    task.se.set_policy(policy);
    task.se.set_rt_priority(priority);
    sim.add(&task, Enqueue::New);
    task
}

#[test]
fn with_nothing_to_do_the_idle_task_runs() {
    let mut sim = Sim::new();
    let task = sim.fair(0);
    sim.schedule_if_asked();
    assert!(sim.runs(&task));
    sim.sleep();
    assert_eq!(sim.curr().se.class(), Class::Idle);
    sim.add(&task, Enqueue::Wakeup);
    assert!(sim.need_resched(), "anything preempts the idle task");
}

#[test]
fn real_time_beats_fair_at_once_and_until_it_sleeps() {
    let mut sim = Sim::new();
    let fair = sim.fair(-20);
    sim.schedule_if_asked();
    let urgent = rt(&mut sim, SCHED_FIFO, 1);
    assert!(sim.need_resched());
    sim.schedule_if_asked();
    assert!(sim.runs(&urgent));
    sim.run_for(500 * MS);
    assert!(sim.runs(&urgent));
    sim.sleep();
    assert!(sim.runs(&fair));
}

#[test]
fn the_higher_priority_preempts_and_the_preempted_one_comes_next() {
    let mut sim = Sim::new();
    let low = rt(&mut sim, SCHED_FIFO, 10);
    let equal = rt(&mut sim, SCHED_FIFO, 10);
    sim.schedule();
    assert!(sim.runs(&low), "first in, first out");
    let high = rt(&mut sim, SCHED_FIFO, 11);
    sim.schedule_if_asked();
    assert!(sim.runs(&high));
    sim.sleep();
    assert!(
        sim.runs(&low),
        "a preempted task stays in front of its equals"
    );
    sim.sleep();
    assert!(sim.runs(&equal));
}

#[test]
fn fifo_never_gives_way_to_an_equal_and_round_robin_does_after_its_slice() {
    let mut sim = Sim::new();
    let (a, b) = (rt(&mut sim, SCHED_FIFO, 5), rt(&mut sim, SCHED_RR, 5));
    sim.schedule();
    sim.run_for(400 * MS);
    assert!(sim.runs(&a));
    sim.sleep();
    assert!(sim.runs(&b));
    let c = rt(&mut sim, SCHED_RR, 5);
    sim.run_for(100 * MS + TICK_NSEC);
    assert!(sim.runs(&c));
    sim.run_for(100 * MS + TICK_NSEC);
    assert!(sim.runs(&b));
}

#[test]
fn a_runaway_real_time_task_leaves_a_twentieth_to_the_others() {
    let mut sim = Sim::new();
    let fair = sim.fair(0);
    let hog = rt(&mut sim, SCHED_FIFO, 99);
    sim.schedule();
    sim.run_for(20_000 * MS);
    let share = fair.se.sum_exec_runtime() * 100 / 20_000 / MS;
    assert!((3..=7).contains(&share), "{share} %");
    assert!(hog.se.sum_exec_runtime() > 18_000 * MS);
}

#[test]
fn the_stopper_beats_everybody() {
    let mut sim = Sim::new();
    let hog = rt(&mut sim, SCHED_FIFO, 99);
    sim.schedule();
    let stopper = lone_task();
    stopper.se.set_class(Class::Stop);
    sim.add(&stopper, Enqueue::Wakeup);
    sim.schedule_if_asked();
    assert!(sim.runs(&stopper));
    sim.sleep();
    assert!(sim.runs(&hog));
}

#[test]
fn priorities_from_1_to_99_run_in_order() {
    let mut sim = Sim::new();
    for priority in [3, 99, 1, 64, 63, 65, 98] {
        rt(&mut sim, SCHED_FIFO, priority);
    }
    sim.schedule();
    let mut seen = Vec::new();
    while sim.curr().se.class() == Class::Rt {
        seen.push(sim.curr().se.rt_priority());
        sim.sleep();
    }
    assert_eq!(seen, [99, 98, 65, 64, 63, 3, 1]);
}
