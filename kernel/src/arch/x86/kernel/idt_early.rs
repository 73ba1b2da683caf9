//! The first IDT: any exception or interrupt prints what happened and stops the machine, instead
//! of resetting it (Linux: arch/x86/kernel/head_64.S, `early_idt_handler_array`; 2.4: `ignore_int`).
//!
//! `trap_init` replaces it.

use core::arch::{asm, global_asm};
use core::fmt::Write;

use super::early_printk::{EarlyConsole, early_console_write};
use crate::arch::x86::asm::cr::{read_cr2, read_cr3};
use crate::prelude::*;

/// Size of one stub below: pushes of 2 and 5 bytes, a jump of 5, padding.
const STUB_SIZE: u64 = 16;

// early_idt_stubs: one stub per vector. In: the CPU's exception frame.
// Out: to early_trap(rdi = frame) with vector and error code on top of it; never comes back.
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
    "mov rdi, rsp",
    "and rsp, -16",
    "call {trap}",
    "ud2",
    ".text",
    trap = sym early_trap,
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

/// What the stubs leave on the stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Says what happened and stops (Linux: `early_fixup_exception`). Takes no lock and no memory.
#[__init]
extern "C" fn early_trap(frame: &Frame) -> ! {
    let _ = writeln!(
        EarlyConsole,
        "\nPANIC: early exception {:#04x} IP {:02x}:{:016x} error {:#x} cr2 {:#x} cr3 {:#x}",
        frame.vector,
        frame.cs,
        frame.rip,
        frame.error_code,
        read_cr2(),
        read_cr3(),
    );
    let _ = writeln!(
        EarlyConsole,
        "RSP: {:04x}:{:016x} EFLAGS: {:08x}",
        frame.ss, frame.rsp, frame.rflags
    );
    early_console_write(b"System halted.\n");
    loop {
        // SAFETY: interrupts are off: the machine stops here, apart from NMIs.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
