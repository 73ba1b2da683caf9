//! Signals and the signal frame. Linux: asm/signal.h, asm-generic/siginfo.h, asm/sigcontext.h,
//! asm/ucontext.h, linux/signalfd.h.

use crate::Pod;

// Signal numbers.
pub const SIGHUP: i32 = 1;
pub const SIGINT: i32 = 2;
pub const SIGQUIT: i32 = 3;
pub const SIGILL: i32 = 4;
pub const SIGTRAP: i32 = 5;
pub const SIGABRT: i32 = 6;
pub const SIGIOT: i32 = 6;
pub const SIGBUS: i32 = 7;
pub const SIGFPE: i32 = 8;
pub const SIGKILL: i32 = 9;
pub const SIGUSR1: i32 = 10;
pub const SIGSEGV: i32 = 11;
pub const SIGUSR2: i32 = 12;
pub const SIGPIPE: i32 = 13;
pub const SIGALRM: i32 = 14;
pub const SIGTERM: i32 = 15;
pub const SIGSTKFLT: i32 = 16;
pub const SIGCHLD: i32 = 17;
pub const SIGCONT: i32 = 18;
pub const SIGSTOP: i32 = 19;
pub const SIGTSTP: i32 = 20;
pub const SIGTTIN: i32 = 21;
pub const SIGTTOU: i32 = 22;
pub const SIGURG: i32 = 23;
pub const SIGXCPU: i32 = 24;
pub const SIGXFSZ: i32 = 25;
pub const SIGVTALRM: i32 = 26;
pub const SIGPROF: i32 = 27;
pub const SIGWINCH: i32 = 28;
pub const SIGIO: i32 = 29;
pub const SIGPOLL: i32 = SIGIO;
pub const SIGPWR: i32 = 30;
pub const SIGSYS: i32 = 31;
/// First real-time signal; glibc keeps 32 and 33 for itself.
pub const SIGRTMIN: i32 = 32;
pub const SIGRTMAX: i32 = 64;
/// Number of signals, numbered from 1.
pub const _NSIG: i32 = 64;

/// A set of signals: bit `n - 1` stands for signal `n`.
pub type Sigset = u64;
/// `sigsetsize` of the rt_* calls, in bytes.
pub const SIGSET_SIZE: usize = 8;

/// The set with only `signo` in it (1..=64).
#[inline]
pub const fn sigmask(signo: i32) -> Sigset {
    1 << (signo - 1)
}

// Handlers that are not addresses.
pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;

// Flags of `KernelSigaction`.
pub const SA_NOCLDSTOP: u64 = 0x1;
pub const SA_NOCLDWAIT: u64 = 0x2;
pub const SA_SIGINFO: u64 = 0x4;
pub const SA_UNSUPPORTED: u64 = 0x400;
pub const SA_EXPOSE_TAGBITS: u64 = 0x800;
pub const SA_RESTORER: u64 = 0x0400_0000;
pub const SA_ONSTACK: u64 = 0x0800_0000;
pub const SA_RESTART: u64 = 0x1000_0000;
pub const SA_NODEFER: u64 = 0x4000_0000;
pub const SA_RESETHAND: u64 = 0x8000_0000;

// `how` of rt_sigprocmask(2).
pub const SIG_BLOCK: i32 = 0;
pub const SIG_UNBLOCK: i32 = 1;
pub const SIG_SETMASK: i32 = 2;

// `si_code` of any signal: 0 and below come from programs, above from the kernel.
pub const SI_USER: i32 = 0;
pub const SI_KERNEL: i32 = 0x80;
pub const SI_QUEUE: i32 = -1;
pub const SI_TIMER: i32 = -2;
pub const SI_MESGQ: i32 = -3;
pub const SI_ASYNCIO: i32 = -4;
pub const SI_SIGIO: i32 = -5;
pub const SI_TKILL: i32 = -6;
pub const SI_DETHREAD: i32 = -7;
pub const SI_ASYNCNL: i32 = -60;

// `si_code` of SIGILL.
pub const ILL_ILLOPC: i32 = 1;
pub const ILL_ILLOPN: i32 = 2;
pub const ILL_ILLADR: i32 = 3;
pub const ILL_ILLTRP: i32 = 4;
pub const ILL_PRVOPC: i32 = 5;
pub const ILL_PRVREG: i32 = 6;
pub const ILL_COPROC: i32 = 7;
pub const ILL_BADSTK: i32 = 8;

// `si_code` of SIGFPE.
pub const FPE_INTDIV: i32 = 1;
pub const FPE_INTOVF: i32 = 2;
pub const FPE_FLTDIV: i32 = 3;
pub const FPE_FLTOVF: i32 = 4;
pub const FPE_FLTUND: i32 = 5;
pub const FPE_FLTRES: i32 = 6;
pub const FPE_FLTINV: i32 = 7;
pub const FPE_FLTSUB: i32 = 8;
pub const FPE_FLTUNK: i32 = 14;
pub const FPE_CONDTRAP: i32 = 15;

// `si_code` of SIGSEGV.
pub const SEGV_MAPERR: i32 = 1;
pub const SEGV_ACCERR: i32 = 2;
pub const SEGV_BNDERR: i32 = 3;
pub const SEGV_PKUERR: i32 = 4;

// `si_code` of SIGBUS.
pub const BUS_ADRALN: i32 = 1;
pub const BUS_ADRERR: i32 = 2;
pub const BUS_OBJERR: i32 = 3;
pub const BUS_MCEERR_AR: i32 = 4;
pub const BUS_MCEERR_AO: i32 = 5;

// `si_code` of SIGTRAP.
pub const TRAP_BRKPT: i32 = 1;
pub const TRAP_TRACE: i32 = 2;
pub const TRAP_BRANCH: i32 = 3;
pub const TRAP_HWBKPT: i32 = 4;
pub const TRAP_UNK: i32 = 5;
pub const TRAP_PERF: i32 = 6;

// `si_code` of SIGCHLD.
pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_DUMPED: i32 = 3;
pub const CLD_TRAPPED: i32 = 4;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;

// `si_code` of SIGIO.
pub const POLL_IN: i32 = 1;
pub const POLL_OUT: i32 = 2;
pub const POLL_MSG: i32 = 3;
pub const POLL_ERR: i32 = 4;
pub const POLL_PRI: i32 = 5;
pub const POLL_HUP: i32 = 6;

// `si_code` of SIGSYS.
pub const SYS_SECCOMP: i32 = 1;
pub const SYS_USER_DISPATCH: i32 = 2;

// `sigev_notify` of a timer.
pub const SIGEV_SIGNAL: i32 = 0;
pub const SIGEV_NONE: i32 = 1;
pub const SIGEV_THREAD: i32 = 2;
pub const SIGEV_THREAD_ID: i32 = 4;

// `ss_flags` of `StackT`.
pub const SS_ONSTACK: u32 = 1;
pub const SS_DISABLE: u32 = 2;
pub const SS_AUTODISARM: u32 = 1 << 31;

// Flags of signalfd4(2).
pub const SFD_CLOEXEC: u32 = 0o2000000;
pub const SFD_NONBLOCK: u32 = 0o4000;

/// Smallest alternate stack, in bytes.
pub const MINSIGSTKSZ: u64 = 2048;
/// Usual alternate stack, in bytes.
pub const SIGSTKSZ: u64 = 8192;

// `uc_flags` of `UContext`.
/// The FPU state has an XSAVE part.
pub const UC_FP_XSTATE: u64 = 1;
/// `ss` is filled.
pub const UC_SIGCONTEXT_SS: u64 = 2;
/// Sigreturn takes `ss` as it stands.
pub const UC_STRICT_RESTORE_SS: u64 = 4;

/// First magic number in `FpxSwBytes`: an XSAVE area follows.
pub const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
/// Magic number after the XSAVE area.
pub const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;

/// Bytes of the magic number after the XSAVE area.
pub const FP_XSTATE_MAGIC2_SIZE: usize = 4;
/// Bytes that the ABI lets a function use below its stack pointer; a frame stays clear of them.
pub const REDZONE_SIZE: u64 = 128;

pod_struct! {
    /// Argument of rt_sigaction(2).
    pub struct KernelSigaction {
        /// `SIG_DFL`, `SIG_IGN` or an address.
        pub handler: u64,
        /// `SA_*`.
        pub flags: u64,
        /// Where the handler returns to, with `SA_RESTORER`.
        pub restorer: u64,
        /// Blocked while the handler runs.
        pub mask: Sigset,
    }

    /// An alternate stack, of sigaltstack(2) (`stack_t`).
    pub struct StackT {
        pub ss_sp: u64,
        /// `SS_*`.
        pub ss_flags: i32,
        pub ss_size: u64,
    }

    /// What a signal tells about itself (`siginfo_t`). Build it with the functions named after
    /// the union's members; `fields` is the union, byte 16 of the structure onwards.
    pub struct Siginfo {
        pub si_signo: i32,
        pub si_errno: i32,
        pub si_code: i32,
        pub pad: i32,
        pub fields: [u64; 14],
    }

    /// What a POSIX timer does when it fires (`struct sigevent`).
    pub struct Sigevent {
        pub sigev_value: u64,
        pub sigev_signo: i32,
        pub sigev_notify: i32,
        /// The thread of `SIGEV_THREAD_ID`.
        pub sigev_tid: i32,
        pub pad: [i32; 11],
    }

    /// Registers saved in a signal frame (`struct sigcontext_64`).
    pub struct Sigcontext {
        pub r8: u64,
        pub r9: u64,
        pub r10: u64,
        pub r11: u64,
        pub r12: u64,
        pub r13: u64,
        pub r14: u64,
        pub r15: u64,
        pub di: u64,
        pub si: u64,
        pub bp: u64,
        pub bx: u64,
        pub dx: u64,
        pub ax: u64,
        pub cx: u64,
        pub sp: u64,
        pub ip: u64,
        pub flags: u64,
        pub cs: u16,
        pub gs: u16,
        pub fs: u16,
        pub ss: u16,
        pub err: u64,
        pub trapno: u64,
        pub oldmask: u64,
        pub cr2: u64,
        /// Address of the FPU state on the user stack, 0 for none.
        pub fpstate: u64,
        pub reserved1: [u64; 8],
    }

    /// Third argument of a handler (`struct ucontext`).
    pub struct UContext {
        /// `UC_*`.
        pub uc_flags: u64,
        pub uc_link: u64,
        pub uc_stack: StackT,
        pub uc_mcontext: Sigcontext,
        pub uc_sigmask: Sigset,
    }

    /// What lies at the stack pointer when a handler starts (`struct rt_sigframe`).
    pub struct RtSigframe {
        /// Return address of the handler: the restorer.
        pub pretcode: u64,
        pub uc: UContext,
        pub info: Siginfo,
    }

    /// The software part of an FXSAVE area (`struct _fpx_sw_bytes`).
    pub struct FpxSwBytes {
        /// [`FP_XSTATE_MAGIC1`], or 0 if there is no XSAVE part.
        pub magic1: u32,
        /// Bytes of the whole FPU frame with the trailing magic number.
        pub extended_size: u32,
        /// State components in the XSAVE part.
        pub xfeatures: u64,
        /// Bytes of the XSAVE area, FXSAVE part included.
        pub xstate_size: u32,
        pub padding: [u32; 7],
    }

    /// The FXSAVE area of a signal frame (`struct _fpstate_64`).
    pub struct Fpstate {
        pub cwd: u16,
        pub swd: u16,
        pub twd: u16,
        pub fop: u16,
        pub rip: u64,
        pub rdp: u64,
        pub mxcsr: u32,
        pub mxcsr_mask: u32,
        pub st_space: [u32; 32],
        pub xmm_space: [u32; 64],
        pub reserved2: [u32; 12],
        pub sw_reserved: FpxSwBytes,
    }

    /// Header of the XSAVE part (`struct _header`).
    pub struct XstateHeader {
        pub xfeatures: u64,
        pub reserved1: [u64; 2],
        pub reserved2: [u64; 5],
    }

    /// What a signalfd delivers for one signal.
    pub struct SignalfdSiginfo {
        pub ssi_signo: u32,
        pub ssi_errno: i32,
        pub ssi_code: i32,
        pub ssi_pid: u32,
        pub ssi_uid: u32,
        pub ssi_fd: i32,
        pub ssi_tid: u32,
        pub ssi_band: u32,
        pub ssi_overrun: u32,
        pub ssi_trapno: u32,
        pub ssi_status: i32,
        pub ssi_int: i32,
        pub ssi_ptr: u64,
        pub ssi_utime: u64,
        pub ssi_stime: u64,
        pub ssi_addr: u64,
        pub ssi_addr_lsb: u16,
        pub pad2: u16,
        pub ssi_syscall: i32,
        pub ssi_call_addr: u64,
        pub ssi_arch: u32,
        pub pad: [u8; 28],
    }
}

/// Two `int` members that share one 8-byte word, the first at the lower address.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl Siginfo {
    fn new(si_signo: i32, si_code: i32, words: &[u64]) -> Self {
        let mut info = Self {
            si_signo,
            si_code,
            ..Self::default()
        };
        info.fields[..words.len()].copy_from_slice(words);
        info
    }

    /// A signal that the kernel sends on its own account (`SI_KERNEL`), with no details.
    pub fn kernel(signo: i32) -> Self {
        Self::new(signo, SI_KERNEL, &[])
    }

    /// Sent by kill(2) (`SI_USER`) or tgkill(2) (`SI_TKILL`).
    pub fn kill(signo: i32, code: i32, pid: i32, uid: u32) -> Self {
        Self::new(signo, code, &[pair(pid as u32, uid)])
    }

    /// Sent by rt_sigqueueinfo(2) with the sender's `value`.
    pub fn queue(signo: i32, code: i32, pid: i32, uid: u32, value: u64) -> Self {
        Self::new(signo, code, &[pair(pid as u32, uid), value])
    }

    /// A POSIX timer fired (`SI_TIMER`); `overrun` counts the periods missed.
    pub fn timer(signo: i32, timer_id: i32, overrun: i32, value: u64) -> Self {
        Self::new(
            signo,
            SI_TIMER,
            &[pair(timer_id as u32, overrun as u32), value],
        )
    }

    /// A child changed its state: `CLD_*`, the exit code or the signal, times in [`USER_HZ`]
    /// ticks.
    ///
    /// [`USER_HZ`]: crate::time::USER_HZ
    pub fn child(code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> Self {
        let words = [
            pair(pid as u32, uid),
            pair(status as u32, 0),
            utime as u64,
            stime as u64,
        ];
        Self::new(SIGCHLD, code, &words)
    }

    /// A fault at `addr`: SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGTRAP.
    pub fn fault(signo: i32, code: i32, addr: u64) -> Self {
        Self::new(signo, code, &[addr])
    }

    /// A descriptor became ready: the `POLL_*` code, the poll mask and the descriptor.
    pub fn poll(signo: i32, code: i32, band: i64, fd: i32) -> Self {
        Self::new(signo, code, &[band as u64, pair(fd as u32, 0)])
    }

    /// A filter stopped a system call (SIGSYS).
    pub fn sys(code: i32, call_addr: u64, syscall: i32, arch: u32) -> Self {
        Self::new(SIGSYS, code, &[call_addr, pair(syscall as u32, arch)])
    }

    /// `si_pid`: the sender or the child.
    pub fn pid(&self) -> i32 {
        self.fields[0] as i32
    }

    /// `si_uid`: the user of the sender or of the child.
    pub fn uid(&self) -> u32 {
        (self.fields[0] >> 32) as u32
    }

    /// `si_value` of a queued signal or of a timer.
    pub fn value(&self) -> u64 {
        self.fields[1]
    }

    /// `si_status` of a child.
    pub fn status(&self) -> i32 {
        self.fields[1] as i32
    }

    /// `si_addr` of a fault.
    pub fn addr(&self) -> u64 {
        self.fields[0]
    }

    /// `si_timerid` of a timer.
    pub fn timer_id(&self) -> i32 {
        self.fields[0] as i32
    }

    /// Changes `si_overrun` of a timer.
    pub fn set_overrun(&mut self, overrun: i32) {
        self.fields[0] = pair(self.timer_id() as u32, overrun as u32);
    }

    /// `si_overrun` of a timer.
    pub fn overrun(&self) -> i32 {
        (self.fields[0] >> 32) as i32
    }
}

/// Bytes of the FXSAVE area before `sw_reserved`.
pub const FPSTATE_SW_OFFSET: usize = core::mem::offset_of!(Fpstate, sw_reserved);

const _: () = assert!(Fpstate::SIZE == 512 && XstateHeader::SIZE == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!(
            (KernelSigaction::SIZE, StackT::SIZE, Siginfo::SIZE),
            (32, 24, 128)
        );
        assert_eq!(
            (Sigevent::SIZE, Sigcontext::SIZE, UContext::SIZE),
            (64, 256, 304)
        );
        assert_eq!(
            (RtSigframe::SIZE, FpxSwBytes::SIZE, SignalfdSiginfo::SIZE),
            (440, 48, 128)
        );
        assert_eq!(offset_of!(StackT, ss_size), 16);
        assert_eq!(offset_of!(Sigcontext, cs), 144);
        assert_eq!(offset_of!(Sigcontext, fpstate), 184);
        assert_eq!(offset_of!(UContext, uc_mcontext), 40);
        assert_eq!(offset_of!(UContext, uc_sigmask), 296);
        assert_eq!(offset_of!(Fpstate, xmm_space), 160);
        assert_eq!(FPSTATE_SW_OFFSET, 464);
        assert_eq!(offset_of!(SignalfdSiginfo, ssi_addr), 72);
    }

    #[test]
    fn a_childs_details_stand_where_programs_read_them() {
        let info = Siginfo::child(CLD_EXITED, 42, 1000, 3, 7, 9);
        let mut bytes = [0; 128];
        info.write_to(&mut bytes);
        assert_eq!(i32::read_from(&bytes), SIGCHLD);
        assert_eq!(i32::read_from(&bytes[8..]), CLD_EXITED);
        assert_eq!(i32::read_from(&bytes[16..]), 42);
        assert_eq!(u32::read_from(&bytes[20..]), 1000);
        assert_eq!(i32::read_from(&bytes[24..]), 3);
        assert_eq!(i64::read_from(&bytes[32..]), 7);
        assert_eq!(i64::read_from(&bytes[40..]), 9);
        assert_eq!((info.pid(), info.uid(), info.status()), (42, 1000, 3));
    }

    #[test]
    fn a_queued_value_and_a_fault_address_are_found_again() {
        let queued = Siginfo::queue(SIGRTMIN, SI_QUEUE, -1, 5, u64::MAX);
        assert_eq!(
            (queued.pid(), queued.uid(), queued.value()),
            (-1, 5, u64::MAX)
        );
        let fault = Siginfo::fault(SIGSEGV, SEGV_MAPERR, 0xdead);
        assert_eq!(fault.addr(), 0xdead);
        let timer = Siginfo::timer(SIGALRM, 3, 2, 8);
        assert_eq!(
            (timer.timer_id(), timer.overrun(), timer.value()),
            (3, 2, 8)
        );
    }

    #[test]
    fn the_first_signal_is_bit_zero() {
        assert_eq!((sigmask(SIGHUP), sigmask(SIGRTMAX)), (1, 1 << 63));
    }
}
