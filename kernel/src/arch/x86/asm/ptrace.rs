//! Registers of interrupted code (Linux: asm/ptrace.h).

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

impl PtRegs {
    /// Whether user code was interrupted.
    pub fn user_mode(&self) -> bool {
        self.cs & 3 == 3
    }
    /// Instruction pointer.
    pub fn ip(&self) -> u64 {
        self.rip
    }
    /// Stack pointer.
    pub fn sp(&self) -> u64 {
        self.rsp
    }
}
