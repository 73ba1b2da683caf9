//! From a number to its task without a lock (Linux: lib/idr.c under RCU).
//!
//! Three levels of pointers that readers follow in a read-side section. Writers hold the tasklist
//! lock; what they take out stays in memory until its readers have ended.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use super::PID_MAX_LIMIT;
use crate::kernel::rcu::{Rcu, rcu_read_lock};
use crate::kernel::sched::task::{Pid, Task};
use crate::prelude::*;

/// Numbers in a leaf.
const LEAF: usize = 64;
/// Leaves of a branch.
const BRANCH: usize = 512;
/// Branches that cover every number.
const BRANCHES: usize = PID_MAX_LIMIT as usize / (LEAF * BRANCH);

struct Leaf {
    /// Tasks in it; changed under the tasklist lock.
    used: AtomicUsize,
    tasks: [Rcu<Task>; LEAF],
}

struct Branch([Rcu<Leaf>; BRANCH]);

/// The index.
pub(super) struct PidIndex([Rcu<Branch>; BRANCHES]);

/// Where a number is on each level; `None`: no task ever has it.
fn path(pid: Pid) -> Option<(usize, usize, usize)> {
    let index = usize::try_from(pid).ok()?;
    let leaf = index / LEAF;
    let branch = leaf / BRANCH;
    (branch < BRANCHES).then_some((branch, leaf % BRANCH, index % LEAF))
}

impl PidIndex {
    /// Without tasks.
    pub(super) const fn new() -> Self {
        Self([const { Rcu::empty() }; BRANCHES])
    }

    /// The task with a number. Any context.
    #[inline]
    pub(super) fn find(&self, pid: Pid) -> Option<Arc<Task>> {
        let (branch, leaf, slot) = path(pid)?;
        let section = rcu_read_lock();
        let branch = self.0[branch].read(&section)?;
        let leaf = branch.0[leaf].read(&section)?;
        leaf.tasks[slot].get(&section)
    }

    /// Enters a task, or takes one out. Under the tasklist lock. What was there is retired.
    pub(super) fn set(&self, pid: Pid, task: Option<Arc<Task>>) {
        let Some((branch, leaf, slot)) = path(pid) else {
            return;
        };
        let section = rcu_read_lock();
        let branch = grown(&self.0[branch], || Branch([const { Rcu::empty() }; BRANCH]));
        let place = &branch.0[leaf];
        let is_new = task.is_some();
        if !is_new && place.read(&section).is_none() {
            return;
        }
        let leaf = grown(place, || Leaf {
            used: AtomicUsize::new(0),
            tasks: [const { Rcu::empty() }; LEAF],
        });
        let was_used = leaf.tasks[slot].replace(task).is_some();
        let used = leaf.used.load(Ordering::Relaxed) + usize::from(is_new) - usize::from(was_used);
        leaf.used.store(used, Ordering::Relaxed);
        if used == 0 {
            drop(place.replace(None));
        }
    }

    /// A new machine of the test port has no tasks.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        for branch in &self.0 {
            drop(branch.replace(None));
        }
    }
}

/// What a pointer points to, made if there is nothing. One writer at a time.
fn grown<T: Send + Sync>(place: &Rcu<T>, make: impl FnOnce() -> T) -> Arc<T> {
    let section = rcu_read_lock();
    match place.get(&section) {
        Some(value) => value,
        None => {
            let value = Arc::new(make());
            drop(place.replace(Some(value.clone())));
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sched::tests::lone_task;

    #[test]
    fn numbers_are_found_on_every_level_and_not_after_they_were_taken_out() {
        let index = PidIndex::new();
        let numbers = [1, 63, 64, 32_767, 32_768, PID_MAX_LIMIT - 1];
        let tasks: Vec<_> = numbers.iter().map(|_| lone_task()).collect();
        for (pid, task) in numbers.iter().zip(&tasks) {
            assert!(index.find(*pid).is_none());
            index.set(*pid, Some(task.clone()));
        }
        for (pid, task) in numbers.iter().zip(&tasks) {
            assert!(
                index
                    .find(*pid)
                    .is_some_and(|found| Arc::ptr_eq(&found, task))
            );
        }
        for pid in [0, 2, -1, PID_MAX_LIMIT, i32::MAX] {
            assert!(index.find(pid).is_none(), "{pid}");
        }
        for pid in numbers {
            index.set(pid, None);
            assert!(index.find(pid).is_none());
        }
    }

    #[test]
    fn readers_find_the_old_or_the_new_task_while_a_writer_swaps_them() {
        let index = PidIndex::new();
        let tasks = [lone_task(), lone_task()];
        index.set(7, Some(tasks[0].clone()));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let found = index.find(7).expect("there is always one");
                        assert!(tasks.iter().any(|task| Arc::ptr_eq(task, &found)));
                    }
                });
            }
            for round in 0..2000 {
                index.set(7, Some(tasks[round % 2].clone()));
            }
        });
    }
}
