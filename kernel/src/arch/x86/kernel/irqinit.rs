//! Vectors and controllers (Linux: arch/x86/kernel/irqinit.c, x86_init.c).

use super::acpi::acpi;
use super::{apic, i8259, idt, io_apic, irq};
use crate::arch::x86::asm::irq_vectors::ISA_IRQ_VECTOR_BASE;
use crate::kernel::irq::{Flow, NR_IRQS_LEGACY, irq_to_desc};
use crate::prelude::*;

/// Fills the vectors and masks the old controllers; no interrupt can arrive yet
/// (Linux: `init_IRQ`). After `early_irq_init`.
#[__init]
pub fn init_irq() {
    i8259::init_8259a();
    idt::idt_setup_apic_and_irq_gates();
    connect_pic();
}

/// The PIC serves the ISA interrupts until the I/O APIC takes them over.
fn connect_pic() {
    if !i8259::present() {
        return;
    }
    for isa in (0..NR_IRQS_LEGACY as u32).filter(|&isa| isa != i8259::PIC_CASCADE_IR) {
        irq::assign_vector(ISA_IRQ_VECTOR_BASE + isa as u8, isa);
        if let Some(desc) = irq_to_desc(isa) {
            desc.set_chip(&i8259::XT_PIC, isa, isa, Flow::Level);
        }
    }
}

/// Moves from the PIC to the APICs, if there are any (Linux: `apic_intr_mode_init`).
/// Interrupts are off.
#[__init]
pub fn apic_intr_mode_init() {
    if !apic::init_apic_mappings() {
        pr_info!("APIC: Keep in PIC mode(8259)");
        return;
    }
    apic::setup_local_apic();
    if acpi().io_apics.is_empty() || !io_apic::setup_io_apic() {
        pr_info!("APIC: Switch to virtual wire mode setup");
        apic::enable_virtual_wire();
        return;
    }
    i8259::mask_all();
    pr_info!("APIC: Switch to symmetric I/O mode setup");
    io_apic::report_timer();
}
