//! Interrupts that nobody handles (Linux: kernel/irq/spurious.c).
#![forbid(unsafe_code)]

use super::chip;
use super::irqdesc::{DescState, IrqDesc};
use super::manage::IrqReturn;
use crate::arch;

/// Interrupts of a line, counted in rounds of 100,000.
#[derive(Default)]
pub struct Spurious {
    count: u32,
    unhandled: u32,
}

const ROUND: u32 = 100_000;
const TOO_MANY: u32 = 99_900;

/// Notes what the handlers said. If nearly all of 100,000 interrupts were nobody's, the line is
/// stuck and would keep the CPU busy for ever: it is switched off (Linux: `note_interrupt`).
pub(super) fn note_interrupt(desc: &IrqDesc, state: &mut DescState, result: IrqReturn) {
    let spurious = &mut state.spurious;
    if result == IrqReturn::None {
        spurious.unhandled += 1;
    }
    spurious.count += 1;
    if spurious.count < ROUND {
        return;
    }
    let stuck = spurious.unhandled > TOO_MANY;
    *spurious = Spurious::default();
    if stuck {
        report_bad_irq(desc, state);
        state.depth = state.depth.saturating_add(1);
        chip::shutdown(state);
    }
}

fn report_bad_irq(desc: &IrqDesc, state: &DescState) {
    pr_err!(
        "irq {}: nobody cared (try booting with the \"irqpoll\" option)",
        desc.irq()
    );
    arch::dump_stack();
    pr_err!("handlers:");
    for action in state.actions.iter() {
        pr_err!("{}", action.name);
    }
    pr_emerg!("Disabling IRQ #{}", desc.irq());
}
