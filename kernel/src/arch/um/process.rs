//! Registers, signal frames, interrupts and time of the test port. Registers are a plain structure
//! with the same accessors as the real ones. How tasks switch is in `thread.rs`.

use core::cell::RefCell;
use core::ops::ControlFlow;

use uapi::signal::{KernelSigaction, Siginfo, Sigset, StackT};

use crate::kernel::sched::task::Task;
use crate::mm::UserAddr;
use crate::prelude::*;

/// User registers as an interrupt or system call left them.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct PtRegs {
    nr: i64,
    args: [u64; 6],
    result: i64,
    ip: u64,
    sp: u64,
    user: bool,
}

impl PtRegs {
    /// Registers of a program inside system call `nr`.
    pub fn for_test(nr: i64, args: [u64; 6]) -> Self {
        Self {
            nr,
            args,
            user: true,
            ..Default::default()
        }
    }
    /// Whether user code was interrupted.
    pub fn user_mode(&self) -> bool {
        self.user
    }
    /// Instruction pointer.
    pub fn ip(&self) -> u64 {
        self.ip
    }
    /// Changes the instruction pointer.
    pub fn set_ip(&mut self, ip: u64) {
        self.ip = ip;
    }
    /// Stack pointer.
    pub fn sp(&self) -> u64 {
        self.sp
    }
    /// Changes the stack pointer.
    pub fn set_sp(&mut self, sp: u64) {
        self.sp = sp;
    }
    /// Whether the interrupted code ran with interrupts on.
    pub fn interrupts_enabled(&self) -> bool {
        true
    }
    /// The system call, or -1.
    pub fn syscall_nr(&self) -> i64 {
        self.nr
    }
    /// Argument `n` of a system call; 0 for `n` above 5.
    pub fn arg(&self, n: usize) -> u64 {
        self.args.get(n).copied().unwrap_or(0)
    }
    /// What the system call returns.
    pub fn return_value(&self) -> i64 {
        self.result
    }
    /// Sets what the system call returns.
    pub fn set_return(&mut self, value: i64) {
        self.result = value;
    }
    /// The call is made again, as itself or as `nr`.
    pub fn rewind_syscall(&mut self, nr: Option<usize>) {
        self.result = nr.map_or(self.nr, |nr| nr as i64);
        self.ip = self.ip.wrapping_sub(2);
    }
    /// The task is no longer in a system call.
    pub fn forget_syscall(&mut self) {
        self.nr = -1;
    }
}

/// What a new task starts with; see the x86 port.
#[expect(missing_docs, reason = "as in the x86 port")]
pub enum ThreadEntry<'a> {
    User {
        parent_regs: &'a PtRegs,
        stack: Option<u64>,
        tls: Option<u64>,
    },
    Kernel {
        f: fn(usize),
        arg: usize,
    },
}

/// There is no state to forget.
pub fn flush_thread() -> Result {
    Ok(())
}
/// Sets the registers to a new program's first instruction.
pub fn start_thread(regs: &mut PtRegs, ip: u64, sp: u64) {
    *regs = PtRegs {
        nr: -1,
        ip,
        sp,
        user: true,
        ..Default::default()
    };
}
thread_local! {
    static CURRENT_REGS: RefCell<PtRegs> = RefCell::default();
}
/// Runs `f` with this thread's registers.
pub fn with_current_pt_regs<R>(f: impl FnOnce(&mut PtRegs) -> R) -> R {
    CURRENT_REGS.with_borrow_mut(f)
}
/// Nobody else has registers.
pub fn task_pt_regs(_task: &Task) -> PtRegs {
    PtRegs::default()
}
/// There are no kernel stacks.
pub fn walk_task_stack(_task: &Task, _visit: impl FnMut(u64) -> ControlFlow<()>) {}
/// Waits for an interrupt.
pub fn default_idle() {
    super::safe_halt();
}

/// Everything about a signal that its frame tells.
#[derive(Clone, Copy)]
pub struct SignalFrame {
    /// The signal.
    pub info: Siginfo,
    /// The handler.
    pub action: KernelSigaction,
    /// The mask that sigreturn puts back.
    pub saved_mask: Sigset,
    /// The alternate stack as the task set it.
    pub altstack: StackT,
}

thread_local! {
    static FRAMES: RefCell<Vec<(PtRegs, Sigset, StackT)>> = RefCell::default();
}

/// Remembers the registers and sets them to the handler.
pub fn setup_rt_frame(regs: &mut PtRegs, request: &SignalFrame) -> Result {
    FRAMES.with_borrow_mut(|frames| frames.push((*regs, request.saved_mask, request.altstack)));
    regs.ip = request.action.handler;
    Ok(())
}
/// Puts the registers back. Errors: EFAULT without a frame.
pub fn restore_rt_frame(regs: &mut PtRegs) -> Result<(Sigset, StackT)> {
    let frame = FRAMES.with_borrow_mut(Vec::pop);
    let (saved, mask, stack) = frame.ok_or(Errno::EFAULT)?;
    *regs = saved;
    regs.nr = -1;
    Ok((mask, stack))
}
/// A frame takes no room.
pub fn max_frame_size() -> usize {
    0
}

/// Zeroes user memory; returns the number of bytes NOT zeroed.
pub fn raw_clear_user(dst: UserAddr, len: usize) -> usize {
    let zeroes = vec![0u8; len];
    // SAFETY: the source is as long as the copy.
    unsafe { super::raw_copy_to_user(dst, zeroes.as_ptr(), len) }
}
/// Compares and exchanges a user word.
pub fn raw_cmpxchg_user_u32(addr: UserAddr, old: u32, new: u32) -> Option<u32> {
    let mut bytes = [0; 4];
    // SAFETY: the buffer has four bytes.
    if unsafe { super::raw_copy_from_user(bytes.as_mut_ptr(), addr, 4) } != 0 {
        return None;
    }
    let found = u32::from_le_bytes(bytes);
    if found == old {
        // SAFETY: the source has four bytes.
        let left = unsafe { super::raw_copy_to_user(addr, new.to_le_bytes().as_ptr(), 4) };
        return (left == 0).then_some(found);
    }
    Some(found)
}

pub use crate::kernel::irq::early_irq_init;
/// No vectors.
pub fn init_irq() {}
/// No exceptions.
pub fn trap_init() {}
/// There is one CPU.
pub fn smp_send_reschedule(_cpu: usize) {}
/// No interrupts without a descriptor.
pub fn arch_irq_stat() -> u64 {
    0
}
/// No rows of its own.
pub fn arch_show_interrupts(_out: &mut String, _width: usize, _cpus: &[usize]) {}
/// The host shows its own.
pub fn dump_stack() {}
/// The host knows its own.
pub fn return_address() -> u64 {
    0
}
/// A bug ends the test.
pub fn die_bug() -> ! {
    panic!("kernel BUG")
}
/// No names.
pub fn kallsyms_symbol(_index: usize) -> Option<(u64, &'static str)> {
    None
}
/// No names.
pub fn kallsyms_lookup(_addr: u64) -> Option<(&'static str, u64, u64)> {
    None
}

/// Waits.
pub fn delay_loops(loops: u64) {
    ndelay(loops);
}
/// Waits for at least `ns` nanoseconds.
pub fn ndelay(ns: u64) {
    std::thread::sleep(std::time::Duration::from_nanos(ns));
}
/// Waits for at least `us` microseconds.
pub fn udelay(us: u64) {
    ndelay(us * 1000);
}
/// Waits for at least `ms` milliseconds.
pub fn mdelay(ms: u64) {
    udelay(ms * 1000);
}
/// The cycle counter counts nanoseconds.
pub fn lpj_fine() -> Option<u64> {
    Some(1_000_000_000 / crate::kernel::time::HZ)
}
/// Nobody asks.
pub fn set_loops_per_jiffy(_loops: u64) {}
/// Seconds since 1970.
pub fn read_persistent_clock() -> Option<u64> {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}
/// The host's clock is not ours to set.
pub fn write_persistent_clock(_seconds: u64) -> crate::prelude::Result {
    Err(crate::prelude::Errno::EACCES)
}
/// Nothing to set up.
pub fn time_init() {}
/// Nothing to set up.
pub fn late_time_init() {}
