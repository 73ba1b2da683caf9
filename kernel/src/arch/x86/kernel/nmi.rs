//! Non-maskable interrupts (Linux: arch/x86/kernel/nmi.c).
//!
//! The handler must not fault: an IRET inside it would let the next NMI in on the same stack.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::x86::asm::io::{inb, outb};
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::arch::{preempt_count_add, preempt_count_sub, smp_processor_id};
use crate::kernel::preempt::{HARDIRQ_OFFSET, NMI_OFFSET};
use crate::mm::percpu::PerCpu;
use crate::prelude::*;

/// System control port B: reasons and masks.
const NMI_REASON_PORT: u16 = 0x61;
const NMI_REASON_SERR: u8 = 0x80;
const NMI_REASON_IOCHK: u8 = 0x40;
const NMI_REASON_CLEAR_SERR: u8 = 0x04;
const NMI_REASON_CLEAR_IOCHK: u8 = 0x08;

/// NMIs that this CPU had.
#[per_cpu]
pub static NMI_COUNT: PerCpu<AtomicU32> = PerCpu::new(AtomicU32::new(0));

/// Vector 2, on the IST stack or, from user space, on the task's. Interrupts are off and no exit
/// work is done: NMIs stay blocked until the IRET.
pub extern "C" fn exc_nmi(_regs: &mut PtRegs, _error_code: u64) {
    super::smp::nmi_stop();
    preempt_count_add(NMI_OFFSET + HARDIRQ_OFFSET);
    NMI_COUNT.raw_this().fetch_add(1, Ordering::Relaxed);
    default_do_nmi();
    preempt_count_sub(NMI_OFFSET + HARDIRQ_OFFSET);
}

/// Nobody has asked for NMIs, so each is a message (Linux: `default_do_nmi`).
fn default_do_nmi() {
    // SAFETY: reading the port has no effect.
    let reason = unsafe { inb(NMI_REASON_PORT) };
    if reason & NMI_REASON_SERR != 0 {
        pr_emerg!(
            "NMI: PCI system error (SERR) for reason {reason:02x} on CPU {}.",
            smp_processor_id()
        );
        rearm(reason, NMI_REASON_CLEAR_SERR);
    } else if reason & NMI_REASON_IOCHK != 0 {
        pr_emerg!(
            "NMI: IOCK error (debug interrupt?) for reason {reason:02x} on CPU {}.",
            smp_processor_id()
        );
        rearm(reason, NMI_REASON_CLEAR_IOCHK);
    } else {
        unknown_nmi_error(reason);
    }
}

/// Clears the error by masking its source for a moment.
fn rearm(reason: u8, mask: u8) {
    // SAFETY: the port only controls NMI sources and the speaker, whose bits are kept.
    unsafe { outb(NMI_REASON_PORT, reason & 0x0f | mask) };
    // SAFETY: as above.
    unsafe { outb(NMI_REASON_PORT, reason & 0x0f & !mask) };
}

fn unknown_nmi_error(reason: u8) {
    pr_emerg!(
        "Uhhuh. NMI received for unknown reason {reason:02x} on CPU {}.",
        smp_processor_id()
    );
    pr_emerg!("Dazed and confused, but trying to continue");
}
