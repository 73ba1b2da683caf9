//! Interrupt controllers and the order of their operations (Linux: kernel/irq/chip.c,
//! handle.c).
#![forbid(unsafe_code)]

use super::irqdesc::{DescState, IrqDesc};
use super::manage::IrqReturn;
use super::spurious;
use crate::kernel::locking::{IrqsOff, SpinLockGuard};
use crate::prelude::*;

/// What makes the interrupt line active (Linux: `IRQ_TYPE_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A rising edge.
    EdgeRising,
    /// A falling edge.
    EdgeFalling,
    /// While it is high.
    LevelHigh,
    /// While it is low.
    LevelLow,
}

impl Trigger {
    /// Whether the line stays active until the device is served.
    pub fn is_level(self) -> bool {
        matches!(self, Trigger::LevelHigh | Trigger::LevelLow)
    }
    /// Whether low is active.
    pub fn is_active_low(self) -> bool {
        matches!(self, Trigger::EdgeFalling | Trigger::LevelLow)
    }
}

/// A controller (Linux: `struct irq_chip`). All functions are called with the descriptor's lock
/// held and interrupts off; `hwirq` is what `IrqDesc::set_chip` was given for the line.
pub trait IrqChip: Send + Sync {
    /// Name for /proc/interrupts.
    fn name(&self) -> &'static str;
    /// Holds the interrupt back.
    fn mask(&self, hwirq: u32);
    /// Lets it through.
    fn unmask(&self, hwirq: u32);
    /// Edge: the controller may latch the next one.
    fn ack(&self, hwirq: u32) {
        let _ = hwirq;
    }
    /// Fast flow: the handlers have run.
    fn eoi(&self, hwirq: u32) {
        let _ = hwirq;
    }
    /// Level flow: both at once.
    fn mask_ack(&self, hwirq: u32) {
        self.mask(hwirq);
        self.ack(hwirq);
    }
    /// Changes the trigger. Errors: EINVAL where the controller cannot.
    fn set_type(&self, hwirq: u32, trigger: Trigger) -> Result {
        let _ = (hwirq, trigger);
        Err(Errno::EINVAL)
    }
    /// Sends it to `cpu`. Errors: EINVAL where the controller cannot.
    fn set_affinity(&self, hwirq: u32, cpu: usize) -> Result {
        let _ = (hwirq, cpu);
        Err(Errno::EINVAL)
    }
}

/// How an interrupt is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// No controller yet.
    Bad,
    /// Latched by the controller: acknowledge, then handle; one that comes meanwhile is not lost.
    Edge,
    /// Active until served: mask, handle, unmask.
    Level,
    /// The controller keeps order itself: handle, then end of interrupt.
    FastEoi,
}

impl Flow {
    /// What /proc/interrupts shows behind the controller's number.
    pub fn name(self) -> &'static str {
        match self {
            Flow::Bad => "",
            Flow::Edge => "edge",
            Flow::Level => "level",
            Flow::FastEoi => "fasteoi",
        }
    }
}

type Locked<'a> = SpinLockGuard<'a, DescState, IrqsOff>;

/// Runs the flow of one interrupt. Hard interrupt context.
#[inline]
pub(super) fn handle(desc: &IrqDesc) {
    let state = desc.state.lock();
    let Some(chip) = state.chip else {
        return;
    };
    match state.flow {
        Flow::Bad => {}
        Flow::Edge => handle_edge(desc, chip, state),
        Flow::Level => handle_level(desc, chip, state),
        Flow::FastEoi => handle_fasteoi(desc, chip, state),
    }
}

/// Whether the handlers may run now; if not, the interrupt is remembered.
fn may_run(state: &mut DescState) -> bool {
    let runnable = state.depth == 0 && !state.actions.is_empty() && !state.in_progress;
    if !runnable {
        state.pending = true;
    }
    runnable
}

fn mask(chip: &dyn IrqChip, state: &mut DescState) {
    if !state.masked {
        chip.mask(state.chip_data);
        state.masked = true;
    }
}

fn unmask(chip: &dyn IrqChip, state: &mut DescState) {
    if state.masked && state.depth == 0 {
        chip.unmask(state.chip_data);
        state.masked = false;
    }
}

/// Linux: `handle_edge_irq`.
fn handle_edge<'a>(desc: &'a IrqDesc, chip: &dyn IrqChip, mut state: Locked<'a>) {
    if !may_run(&mut state) {
        chip.mask_ack(state.chip_data);
        state.masked = true;
        return;
    }
    desc.count_one();
    chip.ack(state.chip_data);
    loop {
        if state.pending {
            unmask(chip, &mut state);
        }
        state = handle_event(desc, state);
        if !state.pending || state.depth != 0 || state.actions.is_empty() {
            return;
        }
    }
}

/// Linux: `handle_level_irq`.
fn handle_level<'a>(desc: &'a IrqDesc, chip: &dyn IrqChip, mut state: Locked<'a>) {
    chip.mask_ack(state.chip_data);
    state.masked = true;
    if !may_run(&mut state) {
        return;
    }
    desc.count_one();
    state = handle_event(desc, state);
    unmask(chip, &mut state);
}

/// Linux: `handle_fasteoi_irq`.
fn handle_fasteoi<'a>(desc: &'a IrqDesc, chip: &dyn IrqChip, mut state: Locked<'a>) {
    if !may_run(&mut state) {
        mask(chip, &mut state);
        chip.eoi(state.chip_data);
        return;
    }
    desc.count_one();
    state = handle_event(desc, state);
    chip.eoi(state.chip_data);
}

/// Runs the handlers without the lock (Linux: `handle_irq_event`).
fn handle_event<'a>(desc: &'a IrqDesc, mut state: Locked<'a>) -> Locked<'a> {
    state.pending = false;
    state.in_progress = true;
    let actions = state.actions.clone();
    drop(state);
    let mut result = IrqReturn::None;
    for action in actions.iter() {
        if (action.handler)() == IrqReturn::Handled {
            result = IrqReturn::Handled;
        }
    }
    let mut state = desc.state.lock();
    state.in_progress = false;
    spurious::note_interrupt(desc, &mut state, result);
    state
}

/// Lets a requested interrupt through (Linux: `irq_startup`).
pub(super) fn startup(state: &mut DescState) {
    state.depth = 0;
    if let Some(chip) = state.chip {
        state.masked = true;
        unmask(chip, state);
    }
}

/// Holds an interrupt back (Linux: `irq_disable`).
pub(super) fn shutdown(state: &mut DescState) {
    if let Some(chip) = state.chip {
        mask(chip, state);
    }
}

/// After the last `enable_irq` (Linux: `irq_enable`).
pub(super) fn enable(state: &mut DescState) {
    if let Some(chip) = state.chip {
        unmask(chip, state);
    }
}
