//! The fair class: earliest eligible virtual deadline first (Linux: kernel/sched/fair.c).
//!
//! Each entity has a virtual run time `v_i` that advances by run time divided by weight. The
//! weighted average `V` of all of them is the fair share that everybody should have had by now.
//! An entity that had no more than that (`v_i <= V`) is eligible, and of the eligible ones the
//! earliest virtual deadline (`v_i` at its last request plus slice divided by weight) runs.
//!
//! Two trees hold the queued entities: the eligible ones by deadline, the others by virtual run
//! time. `V` moves, so an entity changes trees when a choice finds that it has to; every move is
//! paid for by the enqueue or the choice that made it possible. The running entity is not queued.
//! Everything here is under the run-queue lock and allocates nothing.

use core::sync::atomic::Ordering;

use intrusive_collections::{KeyAdapter, RBTree, RBTreeAtomicLink, intrusive_adapter};

use super::entity::SchedState;
use crate::kernel::sched::task::Task;
use crate::kernel::time::TICK_NSEC;
use crate::prelude::*;

/// Weight of nice 0: the unit of all weights.
pub const NICE_0_LOAD: u64 = 1024;
/// Weight of a SCHED_IDLE task (Linux: `WEIGHT_IDLEPRIO`).
pub const WEIGHT_IDLEPRIO: u64 = 3;
/// What an entity asks for at a time, ns (Linux: `sysctl_sched_base_slice`).
pub const BASE_SLICE_NS: u64 = 3_000_000;

/// Who has just got the CPU keeps it for so long, ns, whoever wakes: a task that wakes another
/// one often goes to sleep itself at once, and a switch in between would be one too many.
const WAKEUP_GRANULARITY_NS: u64 = 200_000;

/// Weights of nice -20..=19: one step is about 10 % of the CPU, a factor of 1.25
/// (Linux: `sched_prio_to_weight`).
const PRIO_TO_WEIGHT: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// The weight of a nice value; values outside -20..=19 count as the nearest end.
pub fn nice_to_weight(nice: i32) -> u64 {
    u64::from(PRIO_TO_WEIGHT[(nice.clamp(-20, 19) + 20) as usize])
}

/// A virtual time. Compared by distance, so that it may wrap around.
#[derive(Clone, Copy, PartialEq, Eq)]
struct VTime(u64);

impl Ord for VTime {
    #[inline]
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.0.wrapping_sub(other.0) as i64).cmp(&0)
    }
}
impl PartialOrd for VTime {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

intrusive_adapter!(ByDeadline = Arc<Task>: Task { se.run_node => RBTreeAtomicLink });
intrusive_adapter!(ByVruntime = Arc<Task>: Task { se.run_node => RBTreeAtomicLink });

impl<'a> KeyAdapter<'a> for ByDeadline {
    type Key = VTime;
    #[inline]
    fn get_key(&self, task: &'a Task) -> VTime {
        VTime(task.se.deadline.get())
    }
}
impl<'a> KeyAdapter<'a> for ByVruntime {
    type Key = VTime;
    #[inline]
    fn get_key(&self, task: &'a Task) -> VTime {
        VTime(task.se.vruntime.get())
    }
}

/// How an entity comes onto the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Enqueue {
    /// For the first time.
    New,
    /// After a sleep.
    Wakeup,
    /// It never left (policy, affinity or CPU changes).
    Restore,
}

/// Fair entities of one CPU (Linux: `struct cfs_rq`).
pub(super) struct CfsRq {
    /// The one that waits, if there is only one: the trees are empty then. It keeps two tasks
    /// that wake each other out of the trees.
    only: Option<Arc<Task>>,
    eligible: RBTree<ByDeadline>,
    waiting: RBTree<ByVruntime>,
    /// Entities that wait.
    nr_queued: u32,
    /// Sum of their weights.
    tree_load: u64,
    /// Sum of `weight * (vruntime - zero)` over them.
    tree_key: i64,
    /// Reference point of `tree_key`, kept near `V` so that the products stay small.
    zero: u64,
}

/// `delta` ns of run time in virtual time of `weight`.
#[inline]
fn calc_delta_fair(delta: u64, weight: u64) -> u64 {
    if weight == NICE_0_LOAD {
        delta
    } else {
        delta.saturating_mul(NICE_0_LOAD) / weight
    }
}

/// How far service may run ahead or behind: twice the slice, or a tick (Linux: `entity_lag`).
fn lag_limit(se: &SchedState) -> i64 {
    calc_delta_fair((2 * se.slice.get()).max(TICK_NSEC), se.weight.get()) as i64
}

/// What the running entity adds to the sums; `None` when it is not fair or going to sleep.
pub(super) type Curr<'a> = Option<&'a SchedState>;

impl CfsRq {
    pub(super) const fn new() -> Self {
        Self {
            only: None,
            eligible: RBTree::new(ByDeadline::NEW),
            waiting: RBTree::new(ByVruntime::NEW),
            nr_queued: 0,
            tree_load: 0,
            tree_key: 0,
            zero: 0,
        }
    }

    /// Number of entities that wait, the running one not included.
    #[inline]
    pub(super) fn nr_queued(&self) -> u32 {
        self.nr_queued
    }

    #[inline]
    fn key(&self, se: &SchedState) -> i64 {
        se.vruntime.get().wrapping_sub(self.zero) as i64
    }

    /// Sum of weighted keys and of weights, the running entity included.
    #[inline(always)]
    fn sums(&self, curr: Curr<'_>) -> (i64, u64) {
        match curr {
            Some(se) => {
                let weight = se.weight.get();
                let weighted = self.key(se).wrapping_mul(weight as i64);
                (
                    self.tree_key.wrapping_add(weighted),
                    self.tree_load + weight,
                )
            }
            None => (self.tree_key, self.tree_load),
        }
    }

    /// `V`, rounded down (Linux: `avg_vruntime`).
    #[inline]
    fn avg_vruntime(&self, curr: Curr<'_>) -> u64 {
        if self.tree_load == 0 {
            return curr.map_or(self.zero, |se| se.vruntime.get()); // the average of one, or none
        }
        let (key, load) = self.sums(curr);
        let load = (load as i64).max(1);
        let floor = if key < 0 {
            key.wrapping_sub(load - 1)
        } else {
            key
        };
        self.zero.wrapping_add((floor / load) as u64)
    }

    /// Moves the reference point to `v`.
    #[inline]
    fn rebase(&mut self, v: u64) {
        let delta = v.wrapping_sub(self.zero) as i64;
        self.tree_key = self
            .tree_key
            .wrapping_sub(delta.wrapping_mul(self.tree_load as i64));
        self.zero = v;
    }

    /// Whether `v_i <= V`, without a division (Linux: `entity_eligible`).
    #[inline]
    fn entity_eligible(&self, curr: Curr<'_>, se: &SchedState) -> bool {
        let (key, load) = self.sums(curr);
        key >= self.key(se).wrapping_mul(load as i64)
    }

    /// Queues an entity that is not queued.
    #[inline(always)]
    pub(super) fn insert(&mut self, curr: Curr<'_>, task: Arc<Task>) {
        let se = &task.se;
        let weight = se.weight.get();
        self.tree_key = self
            .tree_key
            .wrapping_add(self.key(se).wrapping_mul(weight as i64));
        self.tree_load += weight;
        self.nr_queued += 1;
        if self.nr_queued == 1 {
            self.only = Some(task);
        } else {
            self.insert_among_others(curr, task);
        }
    }

    #[inline(never)]
    fn insert_among_others(&mut self, curr: Curr<'_>, task: Arc<Task>) {
        if let Some(only) = self.only.take() {
            let eligible = self.entity_eligible(curr, &only.se);
            self.link(only, eligible);
        }
        let eligible = self.entity_eligible(curr, &task.se);
        self.link(task, eligible);
    }

    fn link(&mut self, task: Arc<Task>, eligible: bool) {
        task.se.in_eligible_tree.store(eligible, Ordering::Relaxed);
        if eligible {
            self.eligible.insert(task);
        } else {
            self.waiting.insert(task);
        }
    }

    /// A queued entity that suits, those behind the average last: they run next anyway. Looks at
    /// a limited number.
    pub(super) fn find(&self, suits: impl Fn(&Task) -> bool) -> Option<&Task> {
        const LOOKS: usize = 32;
        let only = self.only.as_deref();
        let queued = self.waiting.iter().chain(self.eligible.iter());
        only.into_iter()
            .chain(queued)
            .take(LOOKS)
            .find(|task| suits(task))
    }

    /// Takes a queued entity out.
    pub(super) fn remove(&mut self, task: &Task) -> Arc<Task> {
        let removed = if !task.se.run_node.is_linked() {
            self.only.take()
        } else if task.se.in_eligible_tree.load(Ordering::Relaxed) {
            // SAFETY: the flag says which tree the entity is in, and the run-queue lock is held.
            unsafe { self.eligible.cursor_mut_from_ptr(task) }.remove()
        } else {
            // SAFETY: as above.
            unsafe { self.waiting.cursor_mut_from_ptr(task) }.remove()
        };
        self.account_removal(&task.se);
        removed.expect("a queued entity is in its place")
    }

    #[inline]
    fn account_removal(&mut self, se: &SchedState) {
        let weight = se.weight.get();
        self.tree_key = self
            .tree_key
            .wrapping_sub(self.key(se).wrapping_mul(weight as i64));
        self.tree_load -= weight;
        self.nr_queued -= 1;
    }

    /// Charges the time since `exec_start` to the running entity (Linux: `update_curr`).
    /// Returns true when its slice is used up and somebody else waits.
    #[inline(always)]
    pub(super) fn update_curr(&self, se: &SchedState, now: u64) -> bool {
        let delta = now.saturating_sub(se.exec_start.get());
        if delta == 0 {
            return false;
        }
        se.exec_start.set(now);
        se.sum_exec_runtime.set(se.sum_exec_runtime.get() + delta);
        let weight = se.weight.get();
        let vruntime = se
            .vruntime
            .get()
            .wrapping_add(calc_delta_fair(delta, weight));
        se.vruntime.set(vruntime);
        if VTime(vruntime) < VTime(se.deadline.get()) {
            return false;
        }
        let vslice = calc_delta_fair(se.slice.get(), weight);
        se.deadline.set(vruntime.wrapping_add(vslice));
        self.nr_queued > 0
    }

    /// Gives an entity its place: as far from `V` as it was when it left (Linux: `place_entity`).
    #[inline(always)]
    pub(super) fn place(&mut self, curr: Curr<'_>, se: &SchedState, how: Enqueue) {
        let v = self.avg_vruntime(curr);
        self.rebase(v);
        let weight = se.weight.get();
        let mut lag = se.vlag.get() as i64;
        let load = self.sums(curr).1;
        if load > 0 && lag != 0 {
            // Joining moves V by the joiner's own lag: make up for that beforehand.
            let (lag_wide, load) = (i128::from(lag), i128::from(load));
            lag = (lag_wide * (load + i128::from(weight)) / load) as i64;
        }
        let vruntime = v.wrapping_sub(lag as u64);
        se.vruntime.set(vruntime);
        let mut vslice = calc_delta_fair(se.slice.get(), weight);
        if how == Enqueue::New {
            vslice /= 2; // a new task joins in the middle of everybody's slices
        }
        se.deadline.set(vruntime.wrapping_add(vslice));
    }

    /// Remembers how much service an entity that leaves is owed (Linux: `update_entity_lag`).
    /// Call while the entity still counts in the sums, as `curr` or in a tree.
    #[inline(always)]
    pub(super) fn save_lag(&mut self, curr: Curr<'_>, se: &SchedState) {
        if self.tree_load == 0 {
            // Alone, it is the average itself.
            self.zero = se.vruntime.get();
            se.vlag.set(0);
            return;
        }
        let v = self.avg_vruntime(curr);
        self.rebase(v);
        let lag = v.wrapping_sub(se.vruntime.get()) as i64;
        let limit = lag_limit(se);
        se.vlag.set(lag.clamp(-limit, limit) as u64);
    }

    /// Forgives the service a sleeper had too much, for as long as it slept: by then everybody
    /// else had caught up with it.
    pub(super) fn decay_lag(se: &SchedState, slept_ns: u64) {
        let lag = se.vlag.get() as i64;
        if lag < 0 {
            let forgiven = slept_ns.min(i64::MAX as u64) as i64;
            se.vlag.set(lag.saturating_add(forgiven).min(0) as u64);
        }
    }

    /// A new weight keeps the distance from `V` in units of service (Linux: `reweight_eevdf`).
    /// The entity is in no tree.
    pub(super) fn reweight(&mut self, curr: Curr<'_>, se: &SchedState, weight: u64) {
        let v = self.avg_vruntime(curr);
        let old = i128::from(se.weight.get());
        let new = i128::from(weight);
        let scale = |distance: u64| (i128::from(distance as i64) * old / new) as i64 as u64;
        let lag = scale(v.wrapping_sub(se.vruntime.get()));
        let left = scale(se.deadline.get().wrapping_sub(se.vruntime.get()));
        let vruntime = v.wrapping_sub(lag);
        se.vruntime.set(vruntime);
        se.deadline.set(vruntime.wrapping_add(left));
        se.weight.set(weight);
    }

    /// Brings entities that became eligible into the deadline tree and sends those that no
    /// longer are back; afterwards the first of the deadline tree is eligible, if there is one.
    fn settle(&mut self, curr: Curr<'_>) {
        while let Some(task) = self.waiting.front().get() {
            if !self.entity_eligible(curr, &task.se) {
                break;
            }
            if let Some(task) = self.waiting.front_mut().remove() {
                self.link(task, true);
            }
        }
        while let Some(task) = self.eligible.front().get() {
            if self.entity_eligible(curr, &task.se) {
                break;
            }
            if let Some(task) = self.eligible.front_mut().remove() {
                self.link(task, false);
            }
        }
    }

    /// Chooses and takes out the next entity; `None` when the running one goes on, or when there
    /// is none at all (Linux: `pick_eevdf`).
    #[inline(always)]
    pub(super) fn pick(&mut self, curr: Curr<'_>) -> Option<Arc<Task>> {
        if curr.is_none() && self.only.is_some() {
            return self.take_only();
        }
        if self.nr_queued == 0 {
            return None;
        }
        self.pick_among_others(curr)
    }

    #[inline(always)]
    fn take_only(&mut self) -> Option<Arc<Task>> {
        self.nr_queued = 0;
        self.tree_load = 0;
        self.tree_key = 0;
        self.only.take()
    }

    #[inline(never)]
    fn pick_among_others(&mut self, curr: Curr<'_>) -> Option<Arc<Task>> {
        let curr_may_go_on = curr.filter(|se| self.entity_eligible(curr, se));
        if let Some(se) = curr_may_go_on
            && se.parity.get() == se.deadline.get()
        {
            return None;
        }
        self.settle(curr);
        let best = match (&self.only, self.eligible.front().get()) {
            (Some(only), _) if self.entity_eligible(curr, &only.se) => only,
            (None, Some(best)) => best,
            // Rounding alone can leave nobody eligible: the running one, or who had least.
            _ if curr_may_go_on.is_some() => return None,
            (Some(only), _) => only,
            (None, None) => self.waiting.front().get()?,
        };
        if let Some(se) = curr_may_go_on
            && VTime(se.deadline.get()) <= VTime(best.se.deadline.get())
        {
            return None;
        }
        let best: *const Task = best;
        // SAFETY: it is queued, and nothing was changed since it was found.
        Some(self.remove(unsafe { &*best }))
    }

    /// Marks a chosen entity as running: its present slice is its own.
    #[inline]
    pub(super) fn set_next(&self, se: &SchedState) {
        se.parity.set(se.deadline.get());
    }

    /// Whether `woken`, just queued, should run instead of `curr` at once
    /// (Linux: `check_preempt_wakeup_fair`).
    #[inline(always)]
    pub(super) fn wakeup_preempts(&self, curr: &SchedState, woken: &SchedState) -> bool {
        let idle_policy = uapi::sched::SCHED_IDLE;
        let curr_idle = curr.policy() == idle_policy;
        let woken_idle = woken.policy() == idle_policy;
        if curr_idle != woken_idle {
            return curr_idle;
        }
        let ran = curr
            .sum_exec_runtime
            .get()
            .wrapping_sub(curr.prev_sum_exec_runtime.get());
        if woken.policy() == uapi::sched::SCHED_BATCH || ran < WAKEUP_GRANULARITY_NS {
            return false;
        }
        let (key, load) = self.sums(Some(curr));
        let eligible = |se| key >= self.key(se).wrapping_mul(load as i64);
        if !eligible(woken) {
            return false;
        }
        !eligible(curr)
            || curr.parity.get() != curr.deadline.get()
                && VTime(woken.deadline.get()) < VTime(curr.deadline.get())
    }

    /// sched_yield(2): gives up the rest of the slice (Linux: `yield_task_fair`).
    pub(super) fn yield_task(&self, se: &SchedState) {
        let vslice = calc_delta_fair(se.slice.get(), se.weight.get());
        se.deadline.set(se.deadline.get().wrapping_add(vslice));
    }

    /// The tick: keeps the reference point near `V`, so that the sums never overflow.
    pub(super) fn tick(&mut self, curr: Curr<'_>) {
        let v = self.avg_vruntime(curr);
        self.rebase(v);
    }

    /// Number, load and weighted keys of the queued entities.
    #[cfg(test)]
    pub(super) fn sums_for_test(&self) -> (u32, u64, i64) {
        (self.nr_queued, self.tree_load, self.tree_key)
    }
}
