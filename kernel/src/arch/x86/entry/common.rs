//! The Rust half of the entry code (Linux: arch/x86/entry/common.c, kernel/irq.c).

use super::syscall_64::{IA32_SYS_CALL_TABLE, SYS_CALL_TABLE, SyscallEntry};
use crate::arch::x86::asm::barrier::array_index_nospec;
use crate::arch::x86::asm::irqflags::{local_irq_disable, local_irq_enable};
use crate::arch::x86::asm::page::TASK_SIZE;
use crate::arch::x86::asm::ptrace::{PtRegs, eflags};
use crate::arch::x86::asm::segment::{USER_CS, USER_DS};
use crate::arch::x86::kernel::irq;
use crate::kernel::entry;
use crate::kernel::sched::cputime;
use crate::prelude::*;

const ENOSYS: i64 = -(Errno::ENOSYS.code() as i64);

/// Runs a system call; says whether SYSRET may return to user space (Linux: `do_syscall_64`).
/// On entry and on return: interrupts off.
pub extern "C" fn do_syscall_64(regs: &mut PtRegs) -> bool {
    local_irq_enable();
    let nr = regs.orig_rax as u32 as usize;
    // A number beyond the table must not select anything on a guess either.
    let entry = SYS_CALL_TABLE.get(nr).is_some();
    let nr = array_index_nospec(nr, SYS_CALL_TABLE.len());
    let entry = entry.then(|| &SYS_CALL_TABLE[nr]);
    let result = call(entry, regs);
    regs.rax = result as u64;
    local_irq_disable();
    entry::exit_to_user_mode_prepare(regs);
    sysret_ok(regs)
}

/// `int 0x80`: the 32-bit numbers and argument registers (Linux: `int80_emulation`).
pub extern "C" fn int80_emulation(regs: &mut PtRegs, _error_code: u64) {
    let nr = regs.rax as u32;
    regs.orig_rax = u64::from(nr);
    local_irq_enable();
    let result = match IA32_SYS_CALL_TABLE.iter().find(|row| row.0 == nr) {
        Some(row) => call(Some(&row.1), &mut ia32_arguments(regs)),
        None => ENOSYS,
    };
    regs.rax = result as u64;
    local_irq_disable();
    entry::exit_to_user_mode_prepare(regs);
}

#[inline(always)]
fn call(entry: Option<&SyscallEntry>, regs: &mut PtRegs) -> i64 {
    match entry {
        Some(entry) => entry(regs),
        None => ENOSYS,
    }
}

/// The same registers with the 32-bit arguments where a 64-bit handler looks for them.
fn ia32_arguments(regs: &PtRegs) -> PtRegs {
    let low = |value: u64| u64::from(value as u32);
    PtRegs {
        rdi: low(regs.rbx),
        rsi: low(regs.rcx),
        rdx: low(regs.rdx),
        r10: low(regs.rsi),
        r8: low(regs.rdi),
        r9: low(regs.rbp),
        ..*regs
    }
}

/// SYSRET restores only what SYSCALL saved, and on Intel it faults in ring 0 with the user's
/// stack if the address is not canonical. RF and TF it cannot restore as user space wants them.
#[inline]
fn sysret_ok(regs: &PtRegs) -> bool {
    regs.rcx == regs.rip
        && regs.r11 == regs.rflags
        && regs.cs == u64::from(USER_CS)
        && regs.ss == u64::from(USER_DS)
        && regs.rip < TASK_SIZE
        && regs.rflags & (eflags::RF | eflags::TF) == 0
}

/// All vectors from 0x20 on (Linux: `common_interrupt` and the `sysvec_*` functions).
/// On entry and on return: interrupts off.
pub extern "C" fn common_interrupt(regs: &mut PtRegs, vector: u64) {
    cputime::note_irq_entry(regs.user_mode());
    irq::run_irq_on_irqstack_cond(regs, vector as u8);
    irqentry_exit(regs);
}

/// What every exception and interrupt does before it returns (Linux: `irqentry_exit`):
/// user work on the way to user space, preemption on the way to the kernel.
#[inline]
pub fn irqentry_exit(regs: &mut PtRegs) {
    if regs.user_mode() {
        entry::exit_to_user_mode_prepare(regs);
    } else if regs.interrupts_enabled() {
        entry::irqentry_exit_cond_resched();
    }
}
