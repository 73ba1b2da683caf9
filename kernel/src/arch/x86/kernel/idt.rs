//! The interrupt descriptor table (Linux: arch/x86/kernel/idt.c).
//!
//! One table for all CPUs. User code may call only the gates 3, 4 and 0x80 (K122).

use core::cell::UnsafeCell;

use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::structures::idt::Entry;
use x86_64::{PrivilegeLevel, VirtAddr as HwAddr};

use super::desc::Ist;
use crate::arch::x86::asm::irq_vectors::{FIRST_EXTERNAL_VECTOR, IA32_SYSCALL_VECTOR};
use crate::arch::x86::asm::segment::KERNEL_CS;
use crate::arch::x86::entry::entry_64;
use crate::prelude::*;

/// Marker for `Entry`: the stubs are assembly, no Rust function type describes them.
#[derive(Clone, Copy)]
struct Stub;

#[repr(C, align(4096))]
struct IdtTable(UnsafeCell<[Entry<Stub>; 256]>);

// SAFETY: written during boot by one CPU with interrupts off, read by the CPUs afterwards.
unsafe impl Sync for IdtTable {}

#[__ro_after_init]
static IDT_TABLE: IdtTable = IdtTable(UnsafeCell::new([const { Entry::missing() }; 256]));

/// One gate: vector, address of the stub, IST stack, who may use it with `int`.
struct Gate {
    vector: u8,
    stub: unsafe extern "C" fn(),
    ist: Option<Ist>,
    dpl: PrivilegeLevel,
}

const fn intg(vector: u8, stub: unsafe extern "C" fn()) -> Gate {
    Gate {
        vector,
        stub,
        ist: None,
        dpl: PrivilegeLevel::Ring0,
    }
}
const fn sysg(vector: u8, stub: unsafe extern "C" fn()) -> Gate {
    Gate {
        dpl: PrivilegeLevel::Ring3,
        ..intg(vector, stub)
    }
}
const fn istg(vector: u8, stub: unsafe extern "C" fn(), ist: Ist) -> Gate {
    Gate {
        ist: Some(ist),
        ..intg(vector, stub)
    }
}

/// The exceptions (Linux: `def_idts`, `ist_idts`).
static TRAP_GATES: [Gate; 21] = [
    intg(0, entry_64::asm_exc_divide_error),
    istg(1, entry_64::asm_exc_debug, Ist::Db),
    istg(2, entry_64::asm_exc_nmi, Ist::Nmi),
    sysg(3, entry_64::asm_exc_int3),
    sysg(4, entry_64::asm_exc_overflow),
    intg(5, entry_64::asm_exc_bounds),
    intg(6, entry_64::asm_exc_invalid_op),
    intg(7, entry_64::asm_exc_device_not_available),
    istg(8, entry_64::asm_exc_double_fault, Ist::Df),
    intg(9, entry_64::asm_exc_coproc_segment_overrun),
    intg(10, entry_64::asm_exc_invalid_tss),
    intg(11, entry_64::asm_exc_segment_not_present),
    intg(12, entry_64::asm_exc_stack_segment),
    intg(13, entry_64::asm_exc_general_protection),
    intg(14, entry_64::asm_exc_page_fault),
    intg(15, entry_64::asm_exc_spurious_interrupt_bug),
    intg(16, entry_64::asm_exc_coprocessor_error),
    intg(17, entry_64::asm_exc_alignment_check),
    istg(18, entry_64::asm_exc_machine_check, Ist::Mce),
    intg(19, entry_64::asm_exc_simd_coprocessor_error),
    sysg(IA32_SYSCALL_VECTOR, entry_64::asm_int80_emulation),
];

fn set_gate(table: &mut [Entry<Stub>; 256], gate: &Gate) {
    let addr = HwAddr::new_truncate(gate.stub as *const () as u64);
    let entry = &mut table[usize::from(gate.vector)];
    // SAFETY: the stub is an interrupt entry for this vector.
    let options = unsafe { entry.set_handler_addr(addr) };
    options
        .set_present(true)
        .disable_interrupts(true)
        .set_privilege_level(gate.dpl);
    // SAFETY: the GDT has this selector.
    unsafe { options.set_code_selector(SegmentSelector(KERNEL_CS)) };
    if let Some(ist) = gate.ist {
        // SAFETY: `cpu_init_exception_handling` fills this slot on every CPU.
        unsafe { options.set_stack_index(ist as u16) };
    }
}

/// Fills in the exceptions and loads the table on this CPU (Linux: `idt_setup_traps`).
/// Must run before anything can fault; it needs no memory and no other subsystem.
pub fn idt_setup_traps() {
    // SAFETY: boot CPU only, interrupts off: nobody else looks at the table.
    let table = unsafe { &mut *IDT_TABLE.0.get() };
    for gate in &TRAP_GATES {
        set_gate(table, gate);
    }
    for vector in 20..FIRST_EXTERNAL_VECTOR {
        set_gate(table, &intg(vector, entry_64::asm_exc_reserved));
    }
    load_idt();
}

/// Fills in vectors 0x20-0xff (Linux: `idt_setup_apic_and_irq_gates`). Boot CPU, interrupts off.
#[__init]
pub fn idt_setup_apic_and_irq_gates() {
    // SAFETY: as in `idt_setup_traps`.
    let table = unsafe { &mut *IDT_TABLE.0.get() };
    let first = entry_64::irq_entries_start as *const () as usize;
    for vector in FIRST_EXTERNAL_VECTOR..=255 {
        if vector == IA32_SYSCALL_VECTOR {
            continue;
        }
        let offset = usize::from(vector - FIRST_EXTERNAL_VECTOR) * entry_64::IRQ_ENTRY_SIZE;
        let addr = HwAddr::new_truncate((first + offset) as u64);
        // SAFETY: the stubs lie at this distance from each other, one for each vector.
        let options = unsafe { table[usize::from(vector)].set_handler_addr(addr) };
        options.set_present(true).disable_interrupts(true);
        // SAFETY: the GDT has this selector.
        unsafe { options.set_code_selector(SegmentSelector(KERNEL_CS)) };
    }
}

/// Loads the table on this CPU (Linux: `load_current_idt`).
pub fn load_idt() {
    let pointer = DescriptorTablePointer {
        limit: (size_of::<IdtTable>() - 1) as u16,
        base: HwAddr::from_ptr(IDT_TABLE.0.get().cast_const()),
    };
    // SAFETY: the table lives for ever and its gates lead to the stubs.
    unsafe { lidt(&pointer) };
}

/// Loads an empty table, so that the next exception resets the CPU (Linux: `idt_invalidate`).
pub fn idt_invalidate() {
    let pointer = DescriptorTablePointer {
        limit: 0,
        base: HwAddr::zero(),
    };
    // SAFETY: the caller is about to reset the machine.
    unsafe { lidt(&pointer) };
}
