//! The two old interrupt controllers (Linux: arch/x86/kernel/i8259.c).
//!
//! They are always moved away from the exception vectors and masked; they deliver interrupts only
//! on a machine without I/O APIC. A masked one can still send its spurious interrupts 7 and 15.

use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use pic8259::ChainedPics;

use super::irq::IRQ_ERR_COUNT;
use crate::arch::x86::asm::io::{inb, outb};
use crate::arch::x86::asm::irq_vectors::ISA_IRQ_VECTOR_BASE;
use crate::kernel::irq::IrqChip;
use crate::prelude::*;

/// Interrupt of the first controller that the second one is connected to.
pub const PIC_CASCADE_IR: u32 = 2;
const MASTER_COMMAND: u16 = 0x20;
const SLAVE_COMMAND: u16 = 0xa0;
const MASTER_DATA: u16 = 0x21;
/// The next read of the command port gives the interrupts in service.
const OCW3_READ_ISR: u8 = 0x0b;
/// Specific end of interrupt; the line in the low bits.
const OCW2_SPECIFIC_EOI: u8 = 0x60;

static PICS: IrqSpinLock<ChainedPics> =
    // SAFETY: the vectors lie behind the exceptions and do not overlap.
    IrqSpinLock::new(unsafe { ChainedPics::new(ISA_IRQ_VECTOR_BASE, ISA_IRQ_VECTOR_BASE + 8) });
/// Masked lines, bit n for interrupt n.
static MASK: AtomicU16 = AtomicU16::new(0xffff);
static PRESENT: AtomicBool = AtomicBool::new(false);

/// Whether there is a controller at all (Linux: `nr_legacy_irqs`).
pub fn present() -> bool {
    PRESENT.load(Ordering::Relaxed)
}

/// Looks for the controllers, moves their vectors and masks every line
/// (Linux: `probe_8259A`, `init_8259A`). Interrupts are off.
pub fn init_8259a() {
    let mut pics = PICS.lock();
    // SAFETY: masks every line, which is the state wanted anyway.
    unsafe { pics.write_masks(0xff, 0xff) };
    // All lines but the cascade: a pattern that an absent port does not give back.
    // SAFETY: unmasks only the line of the other controller, all of whose lines are masked.
    unsafe { outb(MASTER_DATA, !(1 << PIC_CASCADE_IR)) };
    // SAFETY: reading the mask has no effect.
    let found = unsafe { inb(MASTER_DATA) } == !(1 << PIC_CASCADE_IR);
    if !found {
        pr_info!("Using NULL legacy PIC");
        return;
    }
    // SAFETY: the vectors are ours and interrupts are off.
    unsafe { pics.initialize() };
    // SAFETY: as above; the cascade goes on with the first line of the second controller.
    unsafe { pics.write_masks(0xff, 0xff) };
    PRESENT.store(true, Ordering::Relaxed);
}

/// Masks every line (Linux: `legacy_pic->mask_all`).
pub fn mask_all() {
    MASK.store(0xffff, Ordering::Relaxed);
    write_mask();
}

fn write_mask() {
    let mask = MASK.load(Ordering::Relaxed);
    if present() {
        // SAFETY: only holds interrupts back or lets requested ones through.
        unsafe { PICS.lock().write_masks(mask as u8, (mask >> 8) as u8) };
    }
}

/// Whether the controller is really serving `irq`; if not, the interrupt was spurious.
fn in_service(irq: u32) -> bool {
    let (port, bit) = if irq < 8 {
        (MASTER_COMMAND, irq)
    } else {
        (SLAVE_COMMAND, irq - 8)
    };
    // SAFETY: selects which register the next read shows.
    unsafe { outb(port, OCW3_READ_ISR) };
    // SAFETY: reading has no effect.
    unsafe { inb(port) & 1 << bit != 0 }
}

fn send_eoi(irq: u32) {
    let eoi = |port, line: u32| {
        // SAFETY: the interrupt on this line has been taken.
        unsafe { outb(port, OCW2_SPECIFIC_EOI | line as u8) };
    };
    if irq >= 8 {
        eoi(SLAVE_COMMAND, irq - 8);
        eoi(MASTER_COMMAND, PIC_CASCADE_IR);
    } else {
        eoi(MASTER_COMMAND, irq);
    }
}

/// A vector of ours came, but nobody asked for that interrupt: acknowledges it if it is real.
/// False: the controller does not know of it, so an APIC must have sent it.
pub fn handle_stray(irq: u8) -> bool {
    if !present() {
        return false;
    }
    let irq = u32::from(irq);
    if in_service(irq) {
        send_eoi(irq);
        return true;
    }
    if irq == 7 || irq == 15 {
        if irq == 15 {
            send_eoi(PIC_CASCADE_IR); // the first controller believes that it was real
        }
        IRQ_ERR_COUNT.fetch_add(1, Ordering::Relaxed);
        pr_debug!("spurious 8259A interrupt: IRQ{irq}.");
        return true;
    }
    false
}

/// The controllers as the generic layer sees them.
pub struct XtPic;
/// The one instance.
pub static XT_PIC: XtPic = XtPic;

impl IrqChip for XtPic {
    fn name(&self) -> &'static str {
        "XT-PIC"
    }
    fn mask(&self, irq: u32) {
        MASK.fetch_or(1 << irq, Ordering::Relaxed);
        write_mask();
    }
    fn unmask(&self, irq: u32) {
        MASK.fetch_and(!(1 << irq), Ordering::Relaxed);
        if irq >= 8 {
            MASK.fetch_and(!(1 << PIC_CASCADE_IR), Ordering::Relaxed);
        }
        write_mask();
    }
    fn mask_ack(&self, irq: u32) {
        self.mask(irq);
        if in_service(irq) {
            send_eoi(irq);
        } else {
            handle_stray(irq as u8);
        }
    }
}
