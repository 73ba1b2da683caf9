//! Entry and exit code (Linux: arch/x86/entry/entry_64.S).
//!
//! Every way in leaves a `PtRegs` on the stack and calls a Rust function with a pointer to it in
//! rdi. A frame ends on a 16-byte boundary and has 21 words, hence the 8 bytes of padding before
//! each call. `rbp` then holds the frame's address plus one: the unwinder knows by the odd value
//! that a `PtRegs` follows and not a stack frame.
//!
//! GS discipline: user space runs with its own GS base and the kernel's in MSR_KERNEL_GS_BASE.
//! An entry from CPL 3 swaps. CR4.FSGSBASE stays off, so user code cannot fake a kernel base.
//! Entries on an IST stack may hit between a swap and the stack switch; they take the kernel's
//! base from the top of their stack and put back whatever was there.
//!
//! Where a branch decides whether to swap, an LFENCE follows on both sides, so that nothing is
//! read through the wrong base on a guess (Linux: `FENCE_SWAPGS_USER_ENTRY`,
//! `FENCE_SWAPGS_KERNEL_ENTRY`).

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use super::common;
use crate::arch::x86::asm::percpu::{PCPU_HOT, PcpuHot};
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::arch::x86::asm::segment::{USER_CS, USER_DS};
use crate::arch::x86::kernel::{nmi, process, traps};
use crate::arch::x86::lib::usercopy;
use crate::arch::x86::mm::fault;

/// Distance between the stubs of two vectors, in bytes.
pub const IRQ_ENTRY_SIZE: usize = 16;

unsafe extern "C" {
    pub fn entry_SYSCALL_64();
    pub fn entry_SYSCALL_compat();
    pub fn asm_exc_divide_error();
    pub fn asm_exc_debug();
    pub fn asm_exc_nmi();
    pub fn asm_exc_int3();
    pub fn asm_exc_overflow();
    pub fn asm_exc_bounds();
    pub fn asm_exc_invalid_op();
    pub fn asm_exc_device_not_available();
    pub fn asm_exc_double_fault();
    pub fn asm_exc_coproc_segment_overrun();
    pub fn asm_exc_invalid_tss();
    pub fn asm_exc_segment_not_present();
    pub fn asm_exc_stack_segment();
    pub fn asm_exc_general_protection();
    pub fn asm_exc_page_fault();
    pub fn asm_exc_spurious_interrupt_bug();
    pub fn asm_exc_coprocessor_error();
    pub fn asm_exc_alignment_check();
    pub fn asm_exc_machine_check();
    pub fn asm_exc_simd_coprocessor_error();
    pub fn asm_exc_reserved();
    pub fn asm_int80_emulation();
    /// Stub of vector 0x20; the others follow at `IRQ_ENTRY_SIZE` bytes each.
    pub fn irq_entries_start();
    pub fn ret_from_fork_asm();
    /// `rdi` = where to store this task's stack pointer, `rsi` = the next task's stack pointer.
    pub fn __switch_to_asm(prev_sp: *mut u64, next_sp: u64);
    /// Calls `func(arg0, arg1)` with the stack pointer at `stack`.
    pub fn call_on_stack(arg0: u64, arg1: u64, func: extern "C" fn(u64, u64), stack: u64);
    /// Puts the stack pointer to `stack` and calls `func(arg)`, which does not return.
    pub fn rewind_stack_and_call(arg: u64, func: extern "C" fn(u64) -> !, stack: u64) -> !;
}

global_asm!(
    // Saves the general registers below orig_rax, in the order of PtRegs.
    ".macro PUSH_REGS",
    "push rdi", "push rsi", "push rdx", "push rcx", "push rax",
    "push r8", "push r9", "push r10", "push r11",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    ".endm",
    // The reverse; rsp then points at orig_rax.
    ".macro POP_REGS",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
    "pop r11", "pop r10", "pop r9", "pop r8",
    "pop rax", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
    ".endm",
    // First instructions of an entry: the ABI's direction flag, user pages closed. User code can
    // set AC, and a user copy that is interrupted has it set.
    ".macro ENTRY_FLAGS",
    "cld",
    "cmp byte ptr [rip + {SMAP}], 0",
    "je 9f",
    "clac",
    "9:",
    ".endm",
    // An exception that arrives on the task's stack or, from the kernel, on the current one.
    // The function gets (regs, error code); orig_rax becomes -1: no system call to restart.
    ".macro idtentry name:req, func:req, has_error:req",
    ".balign 16",
    ".globl \\name",
    "\\name:",
    "ENTRY_FLAGS",
    ".if \\has_error == 0",
    "push -1",
    ".endif",
    "PUSH_REGS",
    "lea rbp, [rsp + 1]",
    "test byte ptr [rsp + {CS}], 3",
    "jz 2f",
    "swapgs",
    "lfence",
    "3:",
    "mov rdi, rsp",
    "mov rsi, [rsp + {ORIG_RAX}]",
    "mov qword ptr [rsp + {ORIG_RAX}], -1",
    "sub rsp, 8",
    "call \\func",
    "add rsp, 8",
    "jmp error_return",
    "2:",
    "lfence",
    ".if \\has_error",
    // The IRET to user space failed: GS is the user's already although CS is ours.
    "lea rcx, [rip + native_irq_return_iret]",
    "cmp [rsp + {RIP}], rcx",
    "jne 3b",
    "swapgs",
    "mov rdi, rsp",
    "sub rsp, 8",
    "call {fixup_bad_iret}",
    "mov rsp, rax",
    "lea rbp, [rsp + 1]",
    "jmp 3b",
    ".else",
    "jmp 3b",
    ".endif",
    ".endm",
    // An exception on an IST stack. From user space it moves to the task's stack and calls
    // `user`, so that signals can be delivered; from the kernel it stays and calls `kernel`.
    ".macro idtentry_ist name:req, kernel:req, user:req",
    ".balign 16",
    ".globl \\name",
    "\\name:",
    "ENTRY_FLAGS",
    "push -1",
    "PUSH_REGS",
    "lea rbp, [rsp + 1]",
    "test byte ptr [rsp + {CS}], 3",
    "jnz 2f",
    "PARANOID_CALL \\kernel",
    "2:",
    "swapgs",
    "lfence",
    "mov rdi, rsp",
    "sub rsp, 8",
    "call {sync_regs}",
    "mov rsp, rax",
    "lea rbp, [rsp + 1]",
    "mov rdi, rsp",
    "mov rsi, -1",
    "sub rsp, 8",
    "call \\user",
    "add rsp, 8",
    "jmp error_return",
    ".endm",
    // Calls with the GS base from the top of the IST stack, then returns from the exception.
    ".macro PARANOID_CALL func:req",
    "mov ecx, {MSR_GS_BASE}",
    "rdmsr",
    "shl rdx, 32",
    "or rax, rdx",
    "mov rbx, rax",
    "mov rax, [rsp + {PTREGS_SIZE}]",
    "mov rdx, rax",
    "shr rdx, 32",
    "wrmsr",
    "mov rdi, rsp",
    "mov rsi, [rsp + {ORIG_RAX}]",
    "mov qword ptr [rsp + {ORIG_RAX}], -1",
    "sub rsp, 8",
    "call \\func",
    "add rsp, 8",
    "mov ecx, {MSR_GS_BASE}",
    "mov rax, rbx",
    "mov rdx, rbx",
    "shr rdx, 32",
    "wrmsr",
    "POP_REGS",
    "add rsp, 8",
    "iretq",
    ".endm",

    ".pushsection .entry.text, \"ax\", @progbits",

    // --- SYSCALL ---------------------------------------------------------------------------
    // On entry: rax = number, rdi rsi rdx r10 r8 r9 = arguments, rcx = return address,
    // r11 = flags; interrupts off (SFMASK), the user's stack and GS.
    // On return to user space rax = result, rcx and r11 as SYSRET leaves them, all others kept.
    ".balign 16",
    ".globl entry_SYSCALL_64",
    "entry_SYSCALL_64:",
    "swapgs",
    "mov gs:[{HOT} + {SCRATCH}], rsp",
    "mov rsp, gs:[{HOT} + {TOP_OF_STACK}]",
    "push {USER_DS}",
    "push qword ptr gs:[{HOT} + {SCRATCH}]",
    "push r11",
    "push {USER_CS}",
    "push rcx",
    "push rax",
    "PUSH_REGS",
    "lea rbp, [rsp + 1]",
    "mov rdi, rsp",
    "sub rsp, 8",
    "call {do_syscall_64}",
    "add rsp, 8",
    "test al, al",
    "jz swapgs_restore_regs_and_return_to_usermode",
    // SYSRET takes the address from rcx and the flags from r11, which hold the saved values.
    "POP_REGS",
    "mov rsp, [rsp + 32]",
    "swapgs",
    "sysretq",

    // SYSCALL in 32-bit code (AMD): not served.
    ".balign 16",
    ".globl entry_SYSCALL_compat",
    "entry_SYSCALL_compat:",
    "mov eax, -38",
    "sysret",

    // --- returns ---------------------------------------------------------------------------
    // On entry: rsp = PtRegs, interrupts off, all exit work done.
    ".balign 16",
    "error_return:",
    "test byte ptr [rsp + {CS}], 3",
    "jz restore_regs_and_return_to_kernel",
    ".globl swapgs_restore_regs_and_return_to_usermode",
    "swapgs_restore_regs_and_return_to_usermode:",
    "POP_REGS",
    "add rsp, 8",
    "swapgs",
    ".globl native_irq_return_iret",
    "native_irq_return_iret:",
    "iretq",
    "restore_regs_and_return_to_kernel:",
    "POP_REGS",
    "add rsp, 8",
    "iretq",

    // --- exceptions ------------------------------------------------------------------------
    "idtentry asm_exc_divide_error, {divide_error}, 0",
    "idtentry asm_exc_int3, {int3}, 0",
    "idtentry asm_exc_overflow, {overflow}, 0",
    "idtentry asm_exc_bounds, {bounds}, 0",
    "idtentry asm_exc_invalid_op, {invalid_op}, 0",
    "idtentry asm_exc_device_not_available, {device_not_available}, 0",
    "idtentry asm_exc_coproc_segment_overrun, {coproc_segment_overrun}, 0",
    "idtentry asm_exc_invalid_tss, {invalid_tss}, 1",
    "idtentry asm_exc_segment_not_present, {segment_not_present}, 1",
    "idtentry asm_exc_stack_segment, {stack_segment}, 1",
    "idtentry asm_exc_general_protection, {general_protection}, 1",
    "idtentry asm_exc_page_fault, {page_fault}, 1",
    "idtentry asm_exc_spurious_interrupt_bug, {spurious_interrupt_bug}, 0",
    "idtentry asm_exc_coprocessor_error, {coprocessor_error}, 0",
    "idtentry asm_exc_alignment_check, {alignment_check}, 1",
    "idtentry asm_exc_simd_coprocessor_error, {simd_coprocessor_error}, 0",
    "idtentry asm_exc_reserved, {reserved}, 0",
    "idtentry asm_int80_emulation, {int80}, 0",
    "idtentry_ist asm_exc_debug, {debug_kernel}, {debug_user}",
    "idtentry_ist asm_exc_nmi, {nmi}, {nmi}",
    "idtentry_ist asm_exc_machine_check, {machine_check}, {machine_check_user}",

    // A double fault never continues, so it stays on its stack wherever it came from.
    ".balign 16",
    ".globl asm_exc_double_fault",
    "asm_exc_double_fault:",
    "ENTRY_FLAGS",
    "PUSH_REGS",
    "lea rbp, [rsp + 1]",
    "PARANOID_CALL {double_fault}",

    // --- interrupts ------------------------------------------------------------------------
    ".balign 16",
    ".globl irq_entries_start",
    "irq_entries_start:",
    ".set vector, 0x20",
    ".rept 256 - 0x20",
    ".balign {IRQ_ENTRY_SIZE}",
    "push vector",
    "jmp asm_common_interrupt",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "asm_common_interrupt:",
    "ENTRY_FLAGS",
    "PUSH_REGS",
    "lea rbp, [rsp + 1]",
    "test byte ptr [rsp + {CS}], 3",
    "jz 2f",
    "swapgs",
    "2:",
    "lfence",
    "mov rdi, rsp",
    "mov rsi, [rsp + {ORIG_RAX}]",
    "mov qword ptr [rsp + {ORIG_RAX}], -1",
    "sub rsp, 8",
    "call {common_interrupt}",
    "add rsp, 8",
    "jmp error_return",

    // --- tasks -----------------------------------------------------------------------------
    // On entry: rdi = address for our rsp, rsi = the next task's rsp; interrupts off.
    // Returns on the next task's stack. Clobbers what a call may clobber.
    ".balign 16",
    ".globl __switch_to_asm",
    "__switch_to_asm:",
    "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
    "mov [rdi], rsp",
    "mov rsp, rsi",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
    "ret",
    // First code of a new task: rbx = kernel function or 0, r12 = its argument, rsp = PtRegs.
    ".balign 16",
    ".globl ret_from_fork_asm",
    "ret_from_fork_asm:",
    "lea rbp, [rsp + 1]",
    "mov rdi, rsp",
    "mov rsi, rbx",
    "mov rdx, r12",
    "sub rsp, 8",
    "call {ret_from_fork}",
    "add rsp, 8",
    "jmp swapgs_restore_regs_and_return_to_usermode",
    // rdi, rsi = arguments, rdx = function, rcx = stack; keeps the frame chain across stacks.
    ".balign 16",
    ".globl call_on_stack",
    "call_on_stack:",
    "push rbp",
    "mov rbp, rsp",
    "mov rsp, rcx",
    "call rdx",
    "mov rsp, rbp",
    "pop rbp",
    "ret",
    // rdi = argument, rsi = function, rdx = stack. Does not return.
    ".balign 16",
    ".globl rewind_stack_and_call",
    "rewind_stack_and_call:",
    "xor ebp, ebp",
    "mov rsp, rdx",
    "call rsi",
    "ud2",
    ".popsection",

    CS = const offset_of!(PtRegs, cs),
    RIP = const offset_of!(PtRegs, rip),
    ORIG_RAX = const offset_of!(PtRegs, orig_rax),
    PTREGS_SIZE = const size_of::<PtRegs>(),
    MSR_GS_BASE = const 0xc000_0101u32,
    HOT = sym PCPU_HOT,
    SCRATCH = const offset_of!(PcpuHot, scratch),
    TOP_OF_STACK = const offset_of!(PcpuHot, top_of_stack),
    USER_DS = const USER_DS,
    USER_CS = const USER_CS,
    IRQ_ENTRY_SIZE = const IRQ_ENTRY_SIZE,
    SMAP = sym usercopy::SMAP,
    do_syscall_64 = sym common::do_syscall_64,
    int80 = sym common::int80_emulation,
    common_interrupt = sym common::common_interrupt,
    sync_regs = sym traps::sync_regs,
    fixup_bad_iret = sym traps::fixup_bad_iret,
    divide_error = sym traps::exc_divide_error,
    int3 = sym traps::exc_int3,
    overflow = sym traps::exc_overflow,
    bounds = sym traps::exc_bounds,
    invalid_op = sym traps::exc_invalid_op,
    device_not_available = sym traps::exc_device_not_available,
    coproc_segment_overrun = sym traps::exc_coproc_segment_overrun,
    invalid_tss = sym traps::exc_invalid_tss,
    segment_not_present = sym traps::exc_segment_not_present,
    stack_segment = sym traps::exc_stack_segment,
    general_protection = sym traps::exc_general_protection,
    page_fault = sym fault::exc_page_fault,
    spurious_interrupt_bug = sym traps::exc_spurious_interrupt_bug,
    coprocessor_error = sym traps::exc_coprocessor_error,
    alignment_check = sym traps::exc_alignment_check,
    simd_coprocessor_error = sym traps::exc_simd_coprocessor_error,
    reserved = sym traps::exc_reserved,
    debug_kernel = sym traps::exc_debug_kernel,
    debug_user = sym traps::exc_debug_user,
    nmi = sym nmi::exc_nmi,
    machine_check = sym traps::exc_machine_check,
    machine_check_user = sym traps::exc_machine_check_user,
    double_fault = sym traps::exc_double_fault,
    ret_from_fork = sym process::ret_from_fork,
);

const _: () = assert!(size_of::<PtRegs>() == 21 * 8);
