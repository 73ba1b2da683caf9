//! Grace periods (Linux: kernel/rcu/tree.c, kernel/rcu/tree_plugin.h).
//!
//! The bookkeeping alone: which CPUs and which preempted readers the current grace period still
//! waits for. CPUs and readers are arguments, so that unit tests can play many CPUs.
//!
//! A grace period begins by asking every CPU for a quiescent state: a moment outside of any
//! reader. A reader that is preempted is charged to the leaf node of the CPU it leaves, and the
//! CPU is quiescent. A node is done when its CPUs and its preempted readers are; the last one
//! tells the node above. No CPU is asked twice for the same grace period.
//!
//! Each node keeps two counts of preempted readers. One blocks the current grace period; readers
//! that are preempted after their CPU's quiescent state go into the other one. The next grace
//! period swaps them: at that moment the first count is zero.
//!
//! Lock order: a node's lock is held alone, with interrupts off; nothing is woken under it.
#![forbid(unsafe_code)]

use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
};

use super::segcblist::SegCbList;
use super::seq;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// CPUs of one leaf node (Linux: `RCU_FANOUT_LEAF`).
pub(super) const FANOUT_LEAF: usize = 16;
const LEAVES: usize = NR_CPUS.div_ceil(FANOUT_LEAF);
/// The root and, on machines with more CPUs than fit into it, the leaves.
const NODES: usize = 1 + LEAVES;
const ROOT: usize = 0;

/// What a task keeps about its own reading. Only the task and the interrupts on top of it write
/// here.
#[derive(Default)]
pub struct RcuReader {
    /// Depth of `rcu_read_lock`.
    nesting: AtomicU32,
    /// 0, or 1 + twice the leaf node + the count that this reader is in.
    blocked: AtomicU32,
}

impl RcuReader {
    /// Not reading.
    pub const fn new() -> Self {
        Self {
            nesting: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
        }
    }
    /// Begins a read-side section. Never blocks, writes nothing that is shared.
    #[inline(always)]
    pub(super) fn lock(&self) {
        let depth = self.nesting.load(Ordering::Relaxed);
        self.nesting.store(depth + 1, Ordering::Relaxed);
        // The CPU sees its own accesses in order; other CPUs look at this only through it.
        compiler_fence(Ordering::SeqCst);
    }
    /// Ends a section. True: it was the outermost one and was preempted.
    #[inline(always)]
    pub(super) fn unlock(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        let depth = self.nesting.load(Ordering::Relaxed) - 1;
        self.nesting.store(depth, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        depth == 0 && self.is_blocked()
    }
    /// Whether the owner is in a section.
    #[inline(always)]
    pub fn is_reading(&self) -> bool {
        self.nesting.load(Ordering::Relaxed) != 0
    }
    /// Whether the owner was preempted in a section that a grace period may wait for.
    #[inline(always)]
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) != 0
    }
}

/// A node of the tree (Linux: `struct rcu_node`).
#[derive(Clone, Copy)]
struct Node {
    /// The grace period this node knows of.
    gp_seq: u64,
    /// Who the current grace period waits for: CPUs of a leaf, leaves of the root.
    qsmask: u64,
    /// Online CPUs of a leaf; taken over when a grace period begins.
    online: u64,
    /// Preempted readers, see the module's text.
    preempted: [u32; 2],
    /// Which of the two the current grace period waits for.
    blocking: usize,
}

impl Node {
    const fn new() -> Self {
        Self {
            gp_seq: 0,
            qsmask: 0,
            online: 0,
            preempted: [0; 2],
            blocking: 0,
        }
    }
    fn is_done(&self) -> bool {
        self.qsmask == 0 && self.preempted[self.blocking] == 0
    }
}

/// What a CPU keeps (Linux: `struct rcu_data`).
#[repr(align(64))]
pub(super) struct RcuData {
    /// The current grace period waits for a quiescent state of this CPU.
    need_qs: AtomicBool,
    /// Odd while the CPU may read; even in the idle loop (Linux: `dynticks`).
    watching: AtomicU64,
    /// `watching` when the current grace period began.
    snap: AtomicU64,
    /// An interrupt took the CPU out of the idle loop's quiescence.
    irq_from_idle: AtomicBool,
    /// Ticks that found the CPU wanted, for the stall report.
    pub(super) ticks_this_gp: AtomicU32,
    pub(super) callbacks: IrqSpinLock<SegCbList>,
    /// Length of `callbacks`, to be looked at without the lock.
    pub(super) nr_callbacks: AtomicUsize,
}

impl RcuData {
    const fn new() -> Self {
        Self {
            need_qs: AtomicBool::new(false),
            watching: AtomicU64::new(1),
            snap: AtomicU64::new(0),
            irq_from_idle: AtomicBool::new(false),
            ticks_this_gp: AtomicU32::new(0),
            callbacks: IrqSpinLock::new(SegCbList::new()),
            nr_callbacks: AtomicUsize::new(0),
        }
    }
}

/// Everything about grace periods (Linux: `struct rcu_state`).
pub struct RcuState {
    /// Two low bits: 0 between grace periods, 1 in one. The rest counts them.
    gp_seq: AtomicU64,
    /// The furthest value of `gp_seq` that somebody waits for.
    gp_seq_needed: AtomicU64,
    /// There is one node only: it is the root and a leaf.
    is_flat: AtomicBool,
    nodes: [IrqSpinLock<Node>; NODES],
    data: [RcuData; NR_CPUS],
    /// Readers that are no tasks, see `rcu_read_lock`.
    foreign: AtomicUsize,
}

impl RcuState {
    /// No CPU is online.
    pub const fn new() -> Self {
        Self {
            gp_seq: AtomicU64::new(0),
            gp_seq_needed: AtomicU64::new(0),
            is_flat: AtomicBool::new(false),
            nodes: [const { IrqSpinLock::new(Node::new()) }; NODES],
            data: [const { RcuData::new() }; NR_CPUS],
            foreign: AtomicUsize::new(0),
        }
    }

    /// Chooses the shape of the tree; before the first CPU is online (Linux:
    /// `rcu_init_geometry`).
    pub(super) fn set_geometry(&self, nr_cpus: usize) {
        self.is_flat
            .store(nr_cpus <= FANOUT_LEAF, Ordering::Relaxed);
    }

    pub(super) fn data(&self, cpu: usize) -> &RcuData {
        &self.data[cpu]
    }

    pub(super) fn foreign_readers(&self) -> &AtomicUsize {
        &self.foreign
    }

    fn leaves(&self) -> core::ops::Range<usize> {
        if self.is_flat.load(Ordering::Relaxed) {
            ROOT..1
        } else {
            1..NODES
        }
    }

    /// The leaf of a CPU and the CPU's bit in it.
    fn leaf(&self, cpu: usize) -> (usize, u64) {
        let leaf = self.leaves().start + cpu / FANOUT_LEAF;
        (leaf, 1 << (cpu % FANOUT_LEAF))
    }

    /// The bit of a leaf in the root; `None` when it is the root.
    fn bit_in_root(node: usize) -> Option<u64> {
        (node != ROOT).then(|| 1 << (node - 1))
    }

    /// CPUs that belong to the bits of a leaf.
    fn cpus_of(&self, leaf: usize, mask: u64) -> impl Iterator<Item = usize> + use<> {
        let first = (leaf - self.leaves().start) * FANOUT_LEAF;
        (0..FANOUT_LEAF)
            .filter(move |bit| mask >> bit & 1 != 0)
            .map(move |bit| first + bit)
    }

    // --- numbers of grace periods ---

    /// The number now.
    pub fn gp_seq(&self) -> u64 {
        self.gp_seq.load(Ordering::Acquire)
    }
    /// The number that is reached when a full grace period has passed from now on (Linux:
    /// `get_state_synchronize_rcu`).
    pub fn snap(&self) -> u64 {
        // What the caller has done is seen by everybody before the number is read.
        fence(Ordering::SeqCst);
        seq::snap(self.gp_seq.load(Ordering::Acquire))
    }
    /// Whether a number was reached (Linux: `poll_state_synchronize_rcu`).
    pub fn is_done(&self, snap: u64) -> bool {
        let done = seq::is_done(self.gp_seq.load(Ordering::Acquire), snap);
        fence(Ordering::SeqCst);
        done
    }
    /// Asks for the grace periods up to a number (Linux: `rcu_start_this_gp`). True when that is
    /// news.
    pub(super) fn request(&self, snap: u64) -> bool {
        self.gp_seq_needed.fetch_max(snap, Ordering::SeqCst) < snap
    }
    /// Whether somebody waits for a grace period that has not been.
    pub(super) fn is_requested(&self) -> bool {
        self.gp_seq_needed.load(Ordering::SeqCst) > self.gp_seq()
    }
    /// Whether a grace period is under way.
    pub(super) fn in_progress(&self) -> bool {
        seq::is_in_progress(self.gp_seq())
    }

    // --- CPUs ---

    /// `cpu` may have readers from now on; the next grace period waits for it (Linux:
    /// `rcutree_report_cpu_starting`).
    pub fn cpu_online(&self, cpu: usize) {
        let (leaf, bit) = self.leaf(cpu);
        self.nodes[leaf].lock().online |= bit;
    }

    /// The idle loop is about to stop the CPU. Interrupts off.
    pub fn idle_enter(&self, cpu: usize) {
        self.data[cpu].watching.fetch_add(1, Ordering::SeqCst);
    }
    /// The idle loop goes on.
    pub fn idle_exit(&self, cpu: usize) {
        self.data[cpu].watching.fetch_add(1, Ordering::SeqCst);
    }
    /// An interrupt begins: its handler may read, even if the CPU was idle.
    #[inline]
    pub fn irq_enter(&self, cpu: usize) {
        let data = &self.data[cpu];
        if data.watching.load(Ordering::Relaxed) & 1 == 0 {
            data.watching.fetch_add(1, Ordering::SeqCst);
            data.irq_from_idle.store(true, Ordering::Relaxed);
        }
    }
    /// The outermost interrupt ends.
    #[inline]
    pub fn irq_exit(&self, cpu: usize) {
        let data = &self.data[cpu];
        if data.irq_from_idle.load(Ordering::Relaxed) {
            data.irq_from_idle.store(false, Ordering::Relaxed);
            data.watching.fetch_add(1, Ordering::SeqCst);
        }
    }
    /// Whether the interrupt that is being handled interrupted the idle loop.
    pub(super) fn is_rrupt_from_idle(&self, cpu: usize) -> bool {
        self.data[cpu].irq_from_idle.load(Ordering::Relaxed)
    }

    // --- quiescent states ---

    /// Whether the current grace period waits for `cpu`; may be out of date by a moment.
    #[inline(always)]
    pub fn needs_qs(&self, cpu: usize) -> bool {
        self.data[cpu].need_qs.load(Ordering::Relaxed)
    }

    /// `cpu` is outside of any reader right now; `true` when that was the last thing the grace
    /// period waited for (Linux: `rcu_report_qs_rdp`). Interrupts off.
    #[must_use]
    pub fn report_qs(&self, cpu: usize) -> bool {
        let (leaf, bit) = self.leaf(cpu);
        self.data[cpu].need_qs.store(false, Ordering::Relaxed);
        self.clear_bits(leaf, bit)
    }

    /// Clears bits of a node and, as long as that finishes a node, of the one above (Linux:
    /// `rcu_report_qs_rnp`). Who finds its bit cleared already has nothing to tell.
    fn clear_bits(&self, node: usize, bit: u64) -> bool {
        let mut state = self.nodes[node].lock();
        if state.qsmask & bit == 0 {
            return false;
        }
        state.qsmask &= !bit;
        if !state.is_done() {
            return false;
        }
        let gp_seq = state.gp_seq;
        drop(state);
        self.node_done(node, gp_seq)
    }

    /// Nothing below `node` keeps grace period `gp_seq` any more. Called once for each node and
    /// grace period, so the bit above is still set, and that grace period cannot have ended.
    fn node_done(&self, node: usize, gp_seq: u64) -> bool {
        let Some(bit) = Self::bit_in_root(node) else {
            return true;
        };
        debug_assert_eq!(self.nodes[ROOT].lock().gp_seq, gp_seq);
        self.clear_bits(ROOT, bit)
    }

    /// The task that owns `reader` is about to leave `cpu` (Linux: `rcu_note_context_switch`).
    /// True when the grace period is over. Interrupts off.
    #[must_use]
    pub fn context_switch(&self, cpu: usize, reader: &RcuReader) -> bool {
        let mut over = false;
        match (reader.is_reading(), reader.is_blocked()) {
            (true, false) => self.add_preempted(cpu, reader),
            (false, true) => over = self.remove_preempted(reader),
            _ => {}
        }
        if self.needs_qs(cpu) {
            over |= self.report_qs(cpu);
        }
        over
    }

    /// A reader is preempted. Whether the current grace period has to wait for it depends on
    /// whether it waits for the CPU.
    fn add_preempted(&self, cpu: usize, reader: &RcuReader) {
        let (leaf, bit) = self.leaf(cpu);
        let mut node = self.nodes[leaf].lock();
        let set = if node.qsmask & bit != 0 {
            node.blocking
        } else {
            1 - node.blocking
        };
        node.preempted[set] += 1;
        drop(node);
        let place = 1 + 2 * leaf as u32 + set as u32;
        reader.blocked.store(place, Ordering::Relaxed);
    }

    /// A reader that was preempted has ended its section (Linux: `rcu_read_unlock_special`).
    /// True when the grace period is over. Interrupts off.
    #[must_use]
    pub fn remove_preempted(&self, reader: &RcuReader) -> bool {
        let place = reader.blocked.swap(0, Ordering::Relaxed);
        let Some(place) = place.checked_sub(1) else {
            return false;
        };
        let (leaf, set) = (place as usize / 2, place as usize % 2);
        let mut node = self.nodes[leaf].lock();
        node.preempted[set] -= 1;
        // Only then somebody may wait for it: between grace periods this count is zero.
        let is_last = set == node.blocking && node.is_done();
        let gp_seq = node.gp_seq;
        drop(node);
        is_last && self.node_done(leaf, gp_seq)
    }

    // --- the grace period, in the hands of whoever runs it ---

    /// Begins a grace period (Linux: `rcu_gp_init`).
    pub(super) fn start_gp(&self) {
        let gp_seq = seq::start(self.gp_seq.load(Ordering::Relaxed));
        // Full barrier: what writers did before is seen by whoever reads from here on.
        self.gp_seq.swap(gp_seq, Ordering::SeqCst);
        // The root first: a leaf may be done, and say so above, as soon as it has begun.
        if !self.is_flat.load(Ordering::Relaxed) {
            self.start_root(gp_seq);
        }
        for leaf in self.leaves() {
            self.start_leaf(leaf, gp_seq);
        }
    }

    fn start_root(&self, gp_seq: u64) {
        let waits_for = |leaf: &usize| {
            let node = self.nodes[*leaf].lock();
            node.online != 0 || node.preempted[1 - node.blocking] != 0
        };
        let leaves = self.leaves().filter(waits_for);
        let mask = leaves.filter_map(Self::bit_in_root).fold(0, |a, b| a | b);
        let mut root = self.nodes[ROOT].lock();
        root.gp_seq = gp_seq;
        root.qsmask = mask;
    }

    fn start_leaf(&self, leaf: usize, gp_seq: u64) {
        let mut node = self.nodes[leaf].lock();
        node.gp_seq = gp_seq;
        node.qsmask = node.online;
        node.blocking = 1 - node.blocking;
        for cpu in self.cpus_of(leaf, node.qsmask) {
            let data = &self.data[cpu];
            data.snap
                .store(data.watching.load(Ordering::SeqCst), Ordering::Relaxed);
            data.ticks_this_gp.store(0, Ordering::Relaxed);
            data.need_qs.store(true, Ordering::Relaxed);
        }
        let is_done = node.is_done();
        drop(node);
        if is_done {
            // No CPU of this leaf is online. `gp_is_over` sees what became of it.
            let _ = self.node_done(leaf, gp_seq);
        }
    }

    /// Whether nothing keeps the current grace period.
    pub(super) fn gp_is_over(&self) -> bool {
        self.nodes[ROOT].lock().is_done()
    }

    /// Reports quiescent states for CPUs that are idle, or were since the grace period began, and
    /// calls `nudge` for those that are not (Linux: `rcu_gp_fqs`). True when that ended it.
    pub(super) fn force_quiescent_states(&self, mut nudge: impl FnMut(usize)) -> bool {
        let mut over = false;
        for leaf in self.leaves() {
            let waiting = self.nodes[leaf].lock().qsmask;
            for cpu in self.cpus_of(leaf, waiting) {
                if self.was_idle(cpu) {
                    // `need_qs` may stay: the CPU will find that it has nothing to tell.
                    over |= self.clear_bits(leaf, self.leaf(cpu).1);
                } else {
                    nudge(cpu);
                }
            }
        }
        over
    }

    fn was_idle(&self, cpu: usize) -> bool {
        let data = &self.data[cpu];
        let now = data.watching.load(Ordering::SeqCst);
        now & 1 == 0 || now != data.snap.load(Ordering::Relaxed)
    }

    /// Ends a grace period that nothing keeps (Linux: `rcu_gp_cleanup`).
    pub(super) fn end_gp(&self) {
        let gp_seq = seq::end(self.gp_seq.load(Ordering::Relaxed));
        for node in &self.nodes {
            node.lock().gp_seq = gp_seq;
        }
        self.gp_seq.swap(gp_seq, Ordering::SeqCst);
    }

    /// CPUs that the current grace period waits for, for the stall report.
    pub(super) fn holdouts(&self) -> Vec<usize> {
        let cpus = |leaf: usize| {
            let mask = self.nodes[leaf].lock().qsmask;
            self.cpus_of(leaf, mask)
        };
        self.leaves().flat_map(cpus).collect()
    }

    /// Forgets everything but the callbacks: a new machine of the test port begins.
    #[cfg(test)]
    pub(super) fn reset_for_test(&self) {
        if self.in_progress() {
            self.end_gp();
        }
        for node in &self.nodes {
            *node.lock() = Node::new();
        }
    }
}

impl Default for RcuState {
    fn default() -> Self {
        Self::new()
    }
}
