//! Exceptions (Linux: arch/x86/kernel/traps.c).
//!
//! A fault of user code becomes a signal with Linux's si_code. A fault of kernel code is looked
//! up in the exception table; without an entry there it is an oops.

use core::arch::asm;
use core::fmt;

use uapi::signal::{
    BUS_ADRALN, FPE_INTDIV, ILL_ILLOPN, SI_KERNEL, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP,
    TRAP_BRKPT, TRAP_HWBKPT, TRAP_TRACE,
};

use super::cpu::{Feature, boot_cpu_has};
use super::desc::{self, CpuStacks};
use super::dumpstack::{die, handle_stack_overflow, stack_guard_hit};
use super::head64::init_stack;
use super::{fpu, gp_address, idt, process};
use crate::arch::x86::asm::cr::read_cr2;
use crate::arch::x86::asm::percpu::top_of_stack;
use crate::arch::x86::asm::ptrace::{PtRegs, eflags};
use crate::arch::x86::entry::common::irqentry_exit;
use crate::arch::x86::lib::usercopy;
use crate::arch::x86::mm::extable::fixup_exception;
use crate::arch::{local_irq_disable, local_irq_enable};
use crate::kernel::panic::panic;
use crate::kernel::{sched, signal};
use crate::mm::UserAddr;
use crate::prelude::*;

/// Exception numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[expect(missing_docs, reason = "the manuals' mnemonics")]
pub enum Trap {
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    OldMf = 9,
    TS = 10,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    MC = 18,
    XF = 19,
}

/// Puts the tables into the CPU's own per-CPU area and readies the CPU for user space
/// (Linux: `trap_init`, `cpu_init`). After `setup_per_cpu_areas`, interrupts off.
#[__init]
pub fn trap_init() {
    desc::cpu_init_exception_handling(&CpuStacks::boot());
    idt::idt_setup_traps();
    desc::cpu_init();
    fpu::fpu_init_system();
    super::mce::mcheck_cpu_init();
    process::init_idle_stack(init_stack().1);
    if boot_cpu_has(Feature::SMAP) {
        usercopy::smap_enabled();
    }
}

/// Interrupts on for the rest of the handler, if the interrupted code had them on.
pub(crate) fn cond_local_irq_enable(regs: &PtRegs) {
    if regs.interrupts_enabled() {
        local_irq_enable();
    }
}

/// The end of every exception handler.
#[inline]
pub(crate) fn exit(regs: &mut PtRegs) {
    local_irq_disable();
    irqentry_exit(regs);
}

/// Tells about a signal that will kill the task, at most ten times in five seconds
/// (Linux: `show_signal`).
fn show_signal(sig: i32, kind: &str, what: fmt::Arguments<'_>, regs: &PtRegs, error_code: u64) {
    let task = sched::current();
    if signal::unhandled_signal(&task, sig) && crate::kernel::ratelimit::printk_ratelimit() {
        pr_info!(
            "traps: {}[{}] {}{} ip:{:x} sp:{:x} error:{:x}{}",
            task.comm(),
            task.pid(),
            kind,
            what,
            regs.rip,
            regs.rsp,
            error_code,
            crate::arch::x86::mm::fault::VmaAddr(" in ", regs.rip),
        );
    }
}

/// One of the simple exceptions: fix-up or oops for the kernel, a signal for user code
/// (Linux: `do_trap`). `addr` 0 with code SI_KERNEL is Linux's `force_sig`.
fn do_trap(
    trap: Trap,
    what: &str,
    regs: &mut PtRegs,
    error_code: u64,
    (sig, code, addr): (i32, i32, u64),
) {
    if !regs.user_mode() {
        if !fixup_exception(regs) {
            die(format_args!("{what}"), regs, error_code, SIGSEGV);
        }
        return;
    }
    process::note_trap(trap as u64, error_code);
    show_signal(sig, "trap ", format_args!("{what}"), regs, error_code);
    signal::force_sig_fault(sig, code, UserAddr::new(addr));
}

/// `do_trap` with interrupts on where they were on, and the way out (Linux: `do_error_trap`).
fn do_error_trap(
    trap: Trap,
    what: &str,
    regs: &mut PtRegs,
    error_code: u64,
    signal: (i32, i32, u64),
) {
    cond_local_irq_enable(regs);
    do_trap(trap, what, regs, error_code, signal);
    exit(regs);
}

/// Vector 0.
pub extern "C" fn exc_divide_error(regs: &mut PtRegs, _error_code: u64) {
    let signal = (SIGFPE, FPE_INTDIV, regs.rip);
    do_error_trap(Trap::DE, "divide error", regs, 0, signal);
}
/// Vector 4: INTO in 32-bit code, or `int 4`.
pub extern "C" fn exc_overflow(regs: &mut PtRegs, _error_code: u64) {
    do_error_trap(Trap::OF, "overflow", regs, 0, (SIGSEGV, SI_KERNEL, 0));
}
/// Vector 5.
pub extern "C" fn exc_bounds(regs: &mut PtRegs, _error_code: u64) {
    do_error_trap(Trap::BR, "bounds", regs, 0, (SIGSEGV, SI_KERNEL, 0));
}
/// Vector 9: only a 386 with a 387 raises it.
pub extern "C" fn exc_coproc_segment_overrun(regs: &mut PtRegs, _error_code: u64) {
    let signal = (SIGFPE, SI_KERNEL, 0);
    do_error_trap(Trap::OldMf, "coprocessor segment overrun", regs, 0, signal);
}
/// Vector 10.
pub extern "C" fn exc_invalid_tss(regs: &mut PtRegs, error_code: u64) {
    let signal = (SIGSEGV, SI_KERNEL, 0);
    do_error_trap(Trap::TS, "invalid TSS", regs, error_code, signal);
}
/// Vector 11.
pub extern "C" fn exc_segment_not_present(regs: &mut PtRegs, error_code: u64) {
    let signal = (SIGBUS, SI_KERNEL, 0);
    do_error_trap(Trap::NP, "segment not present", regs, error_code, signal);
}
/// Vector 12: also a non-canonical address used through the stack pointer.
pub extern "C" fn exc_stack_segment(regs: &mut PtRegs, error_code: u64) {
    let signal = (SIGBUS, SI_KERNEL, 0);
    do_error_trap(Trap::SS, "stack segment", regs, error_code, signal);
}

/// Vector 3. The kernel has no breakpoints of its own: there it is an oops.
pub extern "C" fn exc_int3(regs: &mut PtRegs, _error_code: u64) {
    do_error_trap(Trap::BP, "int3", regs, 0, (SIGTRAP, SI_KERNEL, 0));
}

/// Vector 6. In the kernel it is how `BUG()` ends.
pub extern "C" fn exc_invalid_op(regs: &mut PtRegs, _error_code: u64) {
    let signal = (SIGILL, ILL_ILLOPN, regs.rip);
    do_error_trap(Trap::UD, "invalid opcode", regs, 0, signal);
}

/// Vector 7. The FPU is always on, so nobody should see this.
pub extern "C" fn exc_device_not_available(regs: &mut PtRegs, _error_code: u64) {
    if fpu::clear_stray_ts() {
        pr_warn!("traps: CR0.TS was set");
        return exit(regs);
    }
    die(format_args!("unexpected #NM exception"), regs, 0, SIGSEGV);
    exit(regs);
}

/// Vector 8. Nothing can be trusted any more; a hit on a stack's guard page shows here, because
/// the page fault had no stack to push its frame on.
pub extern "C" fn exc_double_fault(regs: &mut PtRegs, error_code: u64) -> ! {
    let address = read_cr2();
    process::note_trap(Trap::DF as u64, error_code);
    if let Some(hit) = stack_guard_hit(address, regs) {
        handle_stack_overflow(regs, address, hit);
    }
    pr_emerg!("PANIC: double fault, error_code: 0x{error_code:x}");
    die(format_args!("double fault"), regs, error_code, 0);
    panic(format_args!("Machine halted."));
}

/// Vector 13.
pub extern "C" fn exc_general_protection(regs: &mut PtRegs, error_code: u64) {
    cond_local_irq_enable(regs);
    if regs.user_mode() {
        process::note_trap(Trap::GP as u64, error_code);
        let what = format_args!("general protection fault");
        show_signal(SIGSEGV, "", what, regs, error_code);
        signal::force_sig_fault(SIGSEGV, SI_KERNEL, UserAddr::new(0));
    } else if !fixup_exception(regs) {
        process::note_trap(Trap::GP as u64, error_code);
        die(
            gp_address::describe(regs, error_code),
            regs,
            error_code,
            SIGSEGV,
        );
    }
    exit(regs);
}

/// Vector 15: an old bug of the P6's local APIC. Nothing to do.
pub extern "C" fn exc_spurious_interrupt_bug(regs: &mut PtRegs, _error_code: u64) {
    exit(regs);
}

/// Vectors 20 to 31, which this kernel switches no feature on for.
pub extern "C" fn exc_reserved(regs: &mut PtRegs, _error_code: u64) {
    if regs.user_mode() {
        signal::force_sig_fault(SIGSEGV, SI_KERNEL, UserAddr::new(0));
    } else {
        pr_crit!("traps: unexpected exception at {:#x}", regs.rip);
    }
    exit(regs);
}

/// Vectors 16 and 19 (Linux: `math_error`).
fn math_error(regs: &mut PtRegs, trap: Trap, what: &str) {
    cond_local_irq_enable(regs);
    if !regs.user_mode() {
        if !fixup_exception(regs) {
            process::note_trap(trap as u64, 0);
            die(format_args!("{what}"), regs, 0, SIGSEGV);
        }
    } else if let Some(code) = fpu::exception_code(trap) {
        process::note_trap(trap as u64, 0);
        signal::force_sig_fault(SIGFPE, code, UserAddr::new(regs.rip));
    }
    exit(regs);
}
/// Vector 16.
pub extern "C" fn exc_coprocessor_error(regs: &mut PtRegs, _error_code: u64) {
    math_error(regs, Trap::MF, "fpu exception");
}
/// Vector 19.
pub extern "C" fn exc_simd_coprocessor_error(regs: &mut PtRegs, _error_code: u64) {
    math_error(regs, Trap::XF, "simd exception");
}

/// Vector 17.
pub extern "C" fn exc_alignment_check(regs: &mut PtRegs, error_code: u64) {
    let signal = (SIGBUS, BUS_ADRALN, 0);
    if regs.user_mode() {
        do_error_trap(Trap::AC, "alignment check", regs, error_code, signal);
    } else {
        die(
            format_args!("Split lock detected"),
            regs,
            error_code,
            SIGSEGV,
        );
        exit(regs);
    }
}

/// Reads and clears the debug status (Linux: `debug_read_clear_dr6`).
fn read_clear_dr6() -> u64 {
    let status: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags)) };
    let cleared = 0xffff_0ff0u64;
    // SAFETY: ring 0; the value is the register's reset value.
    unsafe { asm!("mov dr6, {}", in(reg) cleared, options(nostack, preserves_flags)) };
    status ^ cleared
}

const DR_STEP: u64 = 1 << 14;
const DR_TRAP_BITS: u64 = 0xf;

/// Vector 1 from user space, on the task's stack.
pub extern "C" fn exc_debug_user(regs: &mut PtRegs, _error_code: u64) {
    let status = read_clear_dr6();
    cond_local_irq_enable(regs);
    process::note_trap(Trap::DB as u64, 0);
    let code = if status & DR_STEP != 0 {
        TRAP_TRACE
    } else if status & DR_TRAP_BITS != 0 {
        TRAP_HWBKPT
    } else {
        TRAP_BRKPT
    };
    signal::force_sig_fault(SIGTRAP, code, UserAddr::new(regs.rip));
    exit(regs);
}

/// Vector 1 from the kernel, on the IST stack. The kernel sets no breakpoints and never steps.
pub extern "C" fn exc_debug_kernel(regs: &mut PtRegs, _error_code: u64) {
    let status = read_clear_dr6();
    clear_dr7();
    if status & DR_STEP != 0 {
        regs.rflags &= !eflags::TF;
        pr_warn_ratelimited(format_args!(
            "debug exception in the kernel: single step at {:#x}",
            regs.rip
        ));
    }
}

/// No hardware breakpoint is enabled any more.
fn clear_dr7() {
    // SAFETY: ring 0; switching breakpoints off affects nobody, the kernel sets none.
    unsafe { asm!("mov dr7, {}", in(reg) 0x400u64, options(nostack, preserves_flags)) };
}

fn pr_warn_ratelimited(args: fmt::Arguments<'_>) {
    if crate::kernel::ratelimit::printk_ratelimit() {
        pr_warn!("{args}");
    }
}

/// Vector 18 from the kernel, on the IST stack.
pub extern "C" fn exc_machine_check(regs: &mut PtRegs, _error_code: u64) {
    super::mce::do_machine_check(regs);
}
/// Vector 18 from user space, on the task's stack.
pub extern "C" fn exc_machine_check_user(regs: &mut PtRegs, _error_code: u64) {
    super::mce::do_machine_check(regs);
    exit(regs);
}

/// Moves the frame of an exception that came from user space on an IST stack to the task's
/// stack; returns where it is now (Linux: `sync_regs`).
pub extern "C" fn sync_regs(from: &PtRegs) -> *mut PtRegs {
    let to = (top_of_stack() - size_of::<PtRegs>() as u64) as *mut PtRegs;
    // SAFETY: the task was in user space, so its kernel stack is empty; the frame fits.
    unsafe { to.write(*from) };
    to
}

/// The IRET to user space faulted: `bad` holds the user's general registers and its stack
/// pointer points at the frame that IRET refused. Makes it look as if user code had faulted at
/// the place it wanted to go to (Linux: `fixup_bad_iret`).
pub extern "C" fn fixup_bad_iret(bad: &PtRegs) -> *mut PtRegs {
    // SAFETY: at `native_irq_return_iret` the stack pointer is at the five words of the frame.
    let [rip, cs, rflags, rsp, ss] = unsafe { *(bad.rsp as *const [u64; 5]) };
    let fixed = PtRegs {
        rip,
        cs: cs | 3,
        rflags,
        rsp,
        ss,
        ..*bad
    };
    sync_regs(&fixed)
}
