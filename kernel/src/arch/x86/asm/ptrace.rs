//! Registers of interrupted code (Linux: asm/ptrace.h).

use super::segment::USER_CS;

/// What entry code saves on the kernel stack, lowest address first.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers")]
pub struct PtRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// System call number, or error code, or -1.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Bits of the flags register that this kernel names.
pub mod eflags {
    /// Bit 1, always set.
    pub const FIXED: u64 = 1 << 1;
    /// Trap flag: single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupt flag.
    pub const IF: u64 = 1 << 9;
    /// Direction flag.
    pub const DF: u64 = 1 << 10;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume flag.
    pub const RF: u64 = 1 << 16;
    /// Alignment check; in the kernel: user pages may be touched although SMAP is on.
    pub const AC: u64 = 1 << 18;
}

impl PtRegs {
    /// Whether user code was interrupted.
    #[inline]
    pub fn user_mode(&self) -> bool {
        self.cs & 3 == 3
    }
    /// Whether 64-bit user code was interrupted (Linux: `user_64bit_mode`).
    #[inline]
    pub fn user_64bit_mode(&self) -> bool {
        self.cs == u64::from(USER_CS)
    }
    /// Instruction pointer.
    #[inline]
    pub fn ip(&self) -> u64 {
        self.rip
    }
    /// Changes the instruction pointer.
    #[inline]
    pub fn set_ip(&mut self, ip: u64) {
        self.rip = ip;
    }
    /// Stack pointer.
    #[inline]
    pub fn sp(&self) -> u64 {
        self.rsp
    }
    /// Changes the stack pointer.
    #[inline]
    pub fn set_sp(&mut self, sp: u64) {
        self.rsp = sp;
    }
    /// Whether the interrupted code ran with interrupts on.
    #[inline]
    pub fn interrupts_enabled(&self) -> bool {
        self.rflags & eflags::IF != 0
    }
    /// The system call that brought the task here, or -1 if something else did
    /// (Linux: `syscall_get_nr`).
    #[inline]
    pub fn syscall_nr(&self) -> i64 {
        i64::from(self.orig_rax as u32 as i32)
    }
    /// Argument `n` of a system call; 0 for `n` above 5.
    #[inline(always)]
    pub fn arg(&self, n: usize) -> u64 {
        match n {
            0 => self.rdi,
            1 => self.rsi,
            2 => self.rdx,
            3 => self.r10,
            4 => self.r8,
            5 => self.r9,
            _ => 0,
        }
    }
    /// What the system call returns, as far as it is known.
    #[inline]
    pub fn return_value(&self) -> i64 {
        self.rax as i64
    }
    /// Sets what the system call returns: a value, or a negative error number.
    #[inline]
    pub fn set_return(&mut self, value: i64) {
        self.rax = value as u64;
    }
    /// Makes the task execute its system call instruction again, as the same call or as `nr`
    /// (Linux: the ERESTART cases of `arch_do_signal_or_restart`).
    pub fn rewind_syscall(&mut self, nr: Option<usize>) {
        self.rax = nr.map_or(self.orig_rax, |nr| nr as u64);
        self.rip = self.rip.wrapping_sub(SYSCALL_INSN_SIZE);
    }
    /// The task is no longer in a system call: nothing restarts it.
    pub fn forget_syscall(&mut self) {
        self.orig_rax = u64::MAX;
    }
}

/// Length of `syscall` and of `int 0x80`.
const SYSCALL_INSN_SIZE: u64 = 2;
