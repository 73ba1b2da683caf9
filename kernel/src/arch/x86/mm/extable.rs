//! The exception table (Linux: arch/x86/mm/extable.c, kernel/extable.c).

use crate::arch::x86::asm::extable::{ExType, ExceptionTableEntry};
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::prelude::*;

unsafe extern "C" {
    // The linker makes these for every section whose name is a C identifier.
    static __start___ex_table: ExceptionTableEntry;
    static __stop___ex_table: ExceptionTableEntry;
}

/// All entries. There are few, so a search goes through all of them.
fn table() -> &'static [ExceptionTableEntry] {
    let start = &raw const __start___ex_table;
    let end = &raw const __stop___ex_table;
    let len = (end as usize - start as usize) / size_of::<ExceptionTableEntry>();
    // SAFETY: the linker put the entries between the two symbols.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// The entry of the instruction at `addr` (Linux: `search_exception_tables`).
pub fn search_exception_tables(addr: u64) -> Option<&'static ExceptionTableEntry> {
    table().iter().find(|entry| entry.insn() == addr)
}

/// If the faulting instruction of the kernel was prepared for it, goes on at its fix-up.
/// Any context.
pub fn fixup_exception(regs: &mut PtRegs) -> bool {
    let Some(entry) = search_exception_tables(regs.rip) else {
        return false;
    };
    match entry.kind() {
        ExType::Default => {}
        ExType::Wrmsr => pr_warn!(
            "unchecked MSR access error: WRMSR to 0x{:x} (tried to write 0x{:08x}{:08x})",
            regs.rcx as u32,
            regs.rdx as u32,
            regs.rax as u32
        ),
        ExType::Rdmsr => (regs.rax, regs.rdx) = (0, 0),
    }
    regs.rip = entry.fixup();
    true
}
