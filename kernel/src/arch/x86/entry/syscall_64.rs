//! The system call table (Linux: arch/x86/entry/syscall_64.c, syscalls/syscall_64.tbl).
//!
//! Rows, not code: `number => name(path)` for a handler that takes arguments,
//! `number => name(regs path)` for one that also wants the registers. The handler's signature
//! says how many argument registers it reads. Numbers without a row answer ENOSYS.

use crate::arch::x86::asm::ptrace::PtRegs;
use crate::kernel::syscall::{SyscallHandler, sys_ni_syscall};

/// What the table holds.
pub type SyscallEntry = fn(&mut PtRegs) -> i64;

/// One more than the greatest number of Linux 6.8.
pub const NR_SYSCALLS: usize = 462;

/// The adapter between registers and one handler.
macro_rules! entry_for {
    (regs $handler:path) => {{
        fn entry(regs: &mut PtRegs) -> i64 {
            crate::kernel::syscall::RegsSyscallHandler::call($handler, regs)
        }
        entry as SyscallEntry
    }};
    ($handler:path) => {{
        fn entry(regs: &mut PtRegs) -> i64 {
            SyscallHandler::call($handler, regs)
        }
        entry as SyscallEntry
    }};
}

macro_rules! syscall_table {
    ($($nr:literal => $name:ident($($handler:tt)+),)*) => {{
        let mut table: [SyscallEntry; NR_SYSCALLS] = [sys_ni_syscall; NR_SYSCALLS];
        $(table[$nr] = entry_for!($($handler)+);)*
        table
    }};
}

macro_rules! ia32_table {
    ($($nr:literal => $name:ident($($handler:tt)+),)*) => {
        &[$(($nr, entry_for!($($handler)+)),)*]
    };
}

/// The 64-bit numbers.
pub static SYS_CALL_TABLE: [SyscallEntry; NR_SYSCALLS] = syscall_table! {
    158 => arch_prctl(crate::arch::x86::kernel::process::sys_arch_prctl),
};

/// The 32-bit numbers of `int 0x80` that are served, few enough for a search.
pub static IA32_SYS_CALL_TABLE: &[(u32, SyscallEntry)] = ia32_table! {};
