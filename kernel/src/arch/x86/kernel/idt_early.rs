//! The first IDT: any exception or interrupt prints what happened and stops the machine, instead
//! of resetting it (Linux: arch/x86/kernel/head_64.S, `early_idt_handler_array`; 2.4: `ignore_int`).
//! Instructions that are expected to fault go on at their fix-up, as later.
//!
//! `trap_init` replaces it.

use core::arch::{asm, global_asm};
use core::fmt::Write;

use super::early_printk::{EarlyConsole, early_console_write};
use super::sections;
use crate::arch::x86::asm::cr::{read_cr2, read_cr3};
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::prelude::*;

/// Size of one stub below: pushes of 2 and 5 bytes, a jump of 5, padding.
const STUB_SIZE: u64 = 16;

// early_idt_stubs: one stub per vector. In: the CPU's exception frame.
// Out: early_fixup_exception(rdi = registers, rsi = vector), then back with what it left in them.
global_asm!(
    ".section .init.text, \"ax\", @progbits",
    ".p2align 4",
    ".global early_idt_stubs",
    "early_idt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".p2align 4",
    // 8, 10-14, 17, 21, 29 and 30 have an error code; for the others push a zero.
    ".if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30",
    ".else",
    "push 0",
    ".endif",
    ".byte 0x68", // push imm32: always five bytes
    ".long vector",
    "jmp early_idt_common",
    ".set vector, vector + 1",
    ".endr",
    ".p2align 4",
    "early_idt_common:",
    "cld",
    "push rsi",
    "mov rsi, [rsp + 8]", // the vector; its place is that of rdi
    "mov [rsp + 8], rdi",
    "push rdx",
    "push rcx",
    "push rax",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "mov rbp, rsp",
    "and rsp, -16",
    "call {fixup}",
    "mov rsp, rbp",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rax",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "add rsp, 8", // error code
    "iretq",
    ".text",
    fixup = sym early_fixup_exception,
);

unsafe extern "C" {
    #[link_name = "early_idt_stubs"]
    safe static EARLY_IDT_STUBS: u8;
}

/// A 64-bit interrupt gate.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    attributes: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

impl Gate {
    const EMPTY: Gate = Gate {
        offset_low: 0,
        selector: 0,
        ist: 0,
        attributes: 0,
        offset_middle: 0,
        offset_high: 0,
        reserved: 0,
    };
    fn to(handler: u64) -> Gate {
        Gate {
            offset_low: handler as u16,
            selector: 0x10,
            attributes: 0x8e, // present, interrupt gate, ring 0
            offset_middle: (handler >> 16) as u16,
            offset_high: (handler >> 32) as u32,
            ..Gate::EMPTY
        }
    }
}

#[repr(align(16))]
struct Table([Gate; 256]);

#[unsafe(link_section = ".bss..init")]
static mut EARLY_IDT: Table = Table([Gate::EMPTY; 256]);

/// Fills the table and loads it. Boot CPU only, interrupts off.
pub fn load() {
    let stubs = &raw const EARLY_IDT_STUBS as u64;
    let table = &raw mut EARLY_IDT;
    for vector in 0..256 {
        // SAFETY: one CPU runs and the table is not in use yet.
        unsafe { (*table).0[vector] = Gate::to(stubs + vector as u64 * STUB_SIZE) };
    }
    let pointer = Pointer {
        limit: (core::mem::size_of::<Table>() - 1) as u16,
        base: table as u64,
    };
    // SAFETY: the table is static and every gate leads to a stub.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(nostack, preserves_flags)) };
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Where an instruction that may fault goes on (Linux: `fixup_exception`); the entries are
/// described in asm/extable.rs: two addresses relative to their own place, and a kind.
#[__init]
fn early_fixup_address(ip: u64) -> Option<u64> {
    const ENTRY_SIZE: usize = 12;
    let (start, stop) = (sections::ex_table_start(), sections::ex_table_stop());
    (start.as_usize()..stop.as_usize())
        .step_by(ENTRY_SIZE)
        .find_map(|entry| {
            let address = |field: usize| {
                // SAFETY: a field of an entry between the linker's bounds.
                let offset = unsafe { (field as *const i32).read() };
                (field as u64).wrapping_add_signed(i64::from(offset))
            };
            (address(entry) == ip).then(|| address(entry + 4))
        })
}

/// Goes on at the fix-up, or says what happened and stops (Linux: `early_fixup_exception`).
/// Takes no lock and no memory.
#[__init]
extern "C" fn early_fixup_exception(regs: &mut PtRegs, vector: u64) {
    match early_fixup_address(regs.rip) {
        Some(fixup) => regs.rip = fixup,
        None => early_panic(regs, vector),
    }
}

#[__init]
fn early_panic(regs: &PtRegs, vector: u64) -> ! {
    let _ = writeln!(
        EarlyConsole,
        "\nPANIC: early exception {vector:#04x} IP {:02x}:{:016x} error {:#x} cr2 {:#x} cr3 {:#x}",
        regs.cs,
        regs.rip,
        regs.orig_rax,
        read_cr2(),
        read_cr3(),
    );
    let _ = writeln!(
        EarlyConsole,
        "RSP: {:04x}:{:016x} EFLAGS: {:08x}",
        regs.ss, regs.rsp, regs.rflags
    );
    early_console_write(b"System halted.\n");
    crate::arch::machine_halt()
}
