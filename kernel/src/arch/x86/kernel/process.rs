//! Tasks as the CPU sees them (Linux: arch/x86/kernel/process.c, process_64.c, entry_64.S).

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::{size_of, transmute};
use core::ops::ControlFlow;

use super::desc::{THREAD_SIZE, load_sp0};
use super::fpu::Fpu;
use crate::arch::x86::asm::msr::{MSR_FS_BASE, MSR_KERNEL_GS_BASE, wrmsr};
use crate::arch::x86::asm::page::TASK_SIZE;
use crate::arch::x86::asm::percpu::{set_current_ptr, set_top_of_stack, top_of_stack};
use crate::arch::x86::asm::ptrace::{PtRegs, eflags};
use crate::arch::x86::asm::segment::{USER_CS, USER_DS};
use crate::arch::x86::entry::entry_64::{
    __switch_to_asm, ret_from_fork_asm, rewind_stack_and_call,
};
use crate::arch::x86::mm::maccess::copy_from_kernel_nofault;
use crate::arch::{local_irq_disable, local_irq_restore, local_irq_save};
use crate::kernel::sched::current;
use crate::kernel::sched::task::Task;
use crate::kernel::{entry, exit, sched};
use crate::mm::{UserAddr, VirtAddr, uaccess};
use crate::prelude::*;

/// Where `__switch_to_asm` leaves the frame pointer, from the stack pointer: it pushes five more registers. The return
/// address follows, as in any frame.
const SWITCH_FRAME_RBP: u64 = 5 * 8;
/// A chain of frames longer than this is a loop.
const MAX_WALK: usize = 64;

/// Registers of a task that is not running, and what the CPU said about its last fault.
pub struct ThreadStruct(UnsafeCell<Thread>);

// SAFETY: written by the task itself, by the scheduler while it switches from or to the task with
// interrupts off, and by the parent before the task runs for the first time; never by two at once.
unsafe impl Sync for ThreadStruct {}
// SAFETY: it owns everything it points at.
unsafe impl Send for ThreadStruct {}

#[derive(Default)]
struct Thread {
    /// Stack pointer inside `__switch_to_asm`.
    sp: u64,
    /// End of the kernel stack; 0 for a boot CPU's idle task until it is known.
    stack_top: u64,
    user: UserState,
    fpu: Fpu,
    fault: FaultInfo,
}

/// User segment registers; meaningful for tasks that have been in user space.
#[derive(Clone, Copy, Default)]
struct UserState {
    fs_base: u64,
    gs_base: u64,
    fs: u16,
    gs: u16,
    ds: u16,
    es: u16,
}

/// What a signal frame tells about the fault that caused the signal.
#[derive(Clone, Copy, Default, Debug)]
pub struct FaultInfo {
    /// Fault address of the last page fault.
    pub cr2: u64,
    /// Vector of the last exception.
    pub trap_nr: u64,
    /// Its error code.
    pub error_code: u64,
}

impl ThreadStruct {
    /// The state of a task that has never run.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Thread {
            sp: 0,
            stack_top: 0,
            user: UserState {
                fs_base: 0,
                gs_base: 0,
                fs: 0,
                gs: 0,
                ds: 0,
                es: 0,
            },
            fpu: Fpu::new(),
            fault: FaultInfo {
                cr2: 0,
                trap_nr: 0,
                error_code: 0,
            },
        }))
    }
    fn get(&self) -> *mut Thread {
        self.0.get()
    }
}

impl Default for ThreadStruct {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `f` with the running task's own state.
fn with_thread<R>(f: impl FnOnce(&mut Thread) -> R) -> R {
    let task = current();
    // SAFETY: the running task's state, touched by itself only; callers do not nest, and a switch
    // in between leaves the fields alone that `f` looks at.
    f(unsafe { &mut *task.thread.get() })
}

/// What a new task starts with.
pub enum ThreadEntry<'a> {
    /// A copy of the caller, returning 0 from the same system call.
    User {
        /// The caller's registers.
        parent_regs: &'a PtRegs,
        /// Another user stack pointer (clone(2)).
        stack: Option<u64>,
        /// Another FS base (CLONE_SETTLS).
        tls: Option<u64>,
    },
    /// A function of the kernel. If it returns, the task goes to user space with the registers
    /// that exec put on top of its stack.
    Kernel {
        /// The function.
        f: fn(usize),
        /// Its argument.
        arg: usize,
    },
}

/// What `__switch_to_asm` pops, and the registers that `ret_from_fork_asm` reads
/// (Linux: `struct inactive_task_frame`).
#[repr(C)]
#[derive(Default)]
struct InactiveTaskFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbx: u64,
    rbp: u64,
    ret: u64,
}

/// Prepares a new task's stack and registers (Linux: `copy_thread`). The child has not run and
/// nobody else knows it yet. Errors: ENOMEM.
pub fn copy_thread(child: &Task, stack_top: VirtAddr, entry: ThreadEntry<'_>) -> Result {
    let mut frame = InactiveTaskFrame {
        ret: ret_from_fork_asm as *const () as u64,
        ..Default::default()
    };
    let mut regs = PtRegs::default();
    let mut thread = Thread {
        stack_top: stack_top.as_u64(),
        ..Default::default()
    };
    match entry {
        ThreadEntry::Kernel { f, arg } => {
            frame.rbx = f as *const () as u64;
            frame.r12 = arg as u64;
        }
        ThreadEntry::User {
            parent_regs,
            stack,
            tls,
        } => {
            regs = *parent_regs;
            regs.rax = 0;
            regs.rsp = stack.unwrap_or(regs.rsp);
            (thread.user, thread.fpu) = copy_user_state()?;
            thread.user.fs_base = tls.unwrap_or(thread.user.fs_base);
        }
    }
    let regs_at = stack_top.as_u64() - size_of::<PtRegs>() as u64;
    thread.sp = regs_at - size_of::<InactiveTaskFrame>() as u64;
    // SAFETY: the stack belongs to the child, which does not run yet.
    unsafe { (regs_at as *mut PtRegs).write(regs) };
    // SAFETY: right below the registers on the same stack.
    unsafe { (thread.sp as *mut InactiveTaskFrame).write(frame) };
    // SAFETY: nobody but us knows the child.
    unsafe { *child.thread.get() = thread };
    Ok(())
}

/// The caller's segment registers and a copy of its FPU state.
fn copy_user_state() -> Result<(UserState, Fpu)> {
    let flags = local_irq_save();
    let state = with_thread(|thread| {
        thread.user.save_selectors();
        Ok((thread.user, thread.fpu.dup()?))
    });
    local_irq_restore(flags);
    state
}

impl UserState {
    /// The selectors as user space left them. A selector that is not null brings the base from
    /// its descriptor, and all of ours have base 0 (Linux: `save_base_legacy`).
    fn save_selectors(&mut self) {
        let (ds, es, fs, gs): (u16, u16, u16, u16);
        // SAFETY: reads selectors.
        unsafe {
            asm!("mov {0:x}, ds", "mov {1:x}, es", "mov {2:x}, fs", "mov {3:x}, gs",
                out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs,
                options(nomem, nostack, preserves_flags));
        }
        (self.ds, self.es, self.fs, self.gs) = (ds, es, fs, gs);
        if fs != 0 {
            self.fs_base = 0;
        }
        if gs != 0 {
            self.gs_base = 0;
        }
    }

    /// Loads selectors and bases; `loaded` says which selectors are in the CPU now.
    /// Interrupts are off.
    fn load(&self, loaded: &UserState) {
        if (self.ds | self.es | self.fs | self.gs | loaded.ds | loaded.es | loaded.fs | loaded.gs)
            != 0
        {
            self.load_selectors();
        }
        // SAFETY: user bases; they are below TASK_SIZE.
        unsafe { wrmsr(MSR_FS_BASE, self.fs_base) };
        // SAFETY: as above; the kernel's own GS base is in the other register.
        unsafe { wrmsr(MSR_KERNEL_GS_BASE, self.gs_base) };
    }

    #[cold]
    fn load_selectors(&self) {
        // SAFETY: the values were in the registers before, and the GDT does not change. GS is
        // loaded between two swaps so that only the user's base is destroyed; no interrupt can
        // come in between.
        unsafe {
            asm!("mov ds, {0:e}", "mov es, {1:e}", "mov fs, {2:e}",
                "swapgs", "mov gs, {3:e}", "mfence", "swapgs",
                in(reg) u32::from(self.ds), in(reg) u32::from(self.es),
                in(reg) u32::from(self.fs), in(reg) u32::from(self.gs),
                options(nostack, preserves_flags));
        }
    }
}

/// Switches the CPU from `prev` to `next`; returns when `prev` runs again
/// (Linux: `switch_to`, `__switch_to`).
///
/// # Safety
/// Interrupts are off, `prev` is the running task, `next` is not running anywhere, was set up by
/// `copy_thread` or an earlier switch, and stays alive while it runs.
pub unsafe fn switch_to(prev: &Task, next: &Task) {
    let (from, to) = (prev.thread.get(), next.thread.get());
    // SAFETY: `prev` is this CPU's running task and interrupts are off.
    let from_ref = unsafe { &mut *from };
    // SAFETY: `next` runs nowhere, and its state was published by whoever saved it (run queue
    // lock).
    let to_ref = unsafe { &mut *to };
    switch_user_state(from_ref, to_ref);
    load_sp0(to_ref.stack_top);
    set_top_of_stack(to_ref.stack_top);
    let next_sp = to_ref.sp;
    // SAFETY: the caller keeps `next` alive; from here on this is its context.
    unsafe { set_current_ptr(next) };
    // SAFETY: `next_sp` is what `__switch_to_asm` or `copy_thread` left.
    unsafe { __switch_to_asm(&raw mut (*from).sp, next_sp) };
}

/// Kernel threads have no user state: they leave what is in the CPU, and if the same task comes
/// back on the same CPU nothing needs to be loaded.
#[inline]
fn switch_user_state(from: &mut Thread, to: &mut Thread) {
    if from.fpu.is_allocated() {
        from.user.save_selectors();
        from.fpu.save();
    }
    if to.fpu.is_allocated() && !to.fpu.is_loaded_here() {
        let mut loaded = UserState::default();
        loaded.save_selectors();
        to.user.load(&loaded);
        to.fpu.load();
    }
}

/// First Rust code of a new task, on its own stack (Linux: `ret_from_fork`).
/// On entry: interrupts off, the scheduler's lock held. On return: ready for user space.
pub extern "C" fn ret_from_fork(regs: &mut PtRegs, f: usize, arg: usize) {
    sched::schedule_tail();
    if f != 0 {
        // SAFETY: `copy_thread` put a `fn(usize)` there.
        let function: fn(usize) = unsafe { transmute(f) };
        function(arg);
        // It was a user_mode_thread: exec has filled the registers.
        regs.rax = 0;
    }
    local_irq_disable();
    entry::exit_to_user_mode_prepare(regs);
}

/// Runs `f` with the registers of the running task's system call (Linux: `current_pt_regs`).
pub fn with_current_pt_regs<R>(f: impl FnOnce(&mut PtRegs) -> R) -> R {
    let at = (top_of_stack() - size_of::<PtRegs>() as u64) as *mut PtRegs;
    // SAFETY: every task's stack starts with these registers. Only the task itself changes them,
    // in its own context, and `f` gets the only reference while the entry code waits for us.
    f(unsafe { &mut *at })
}

/// A copy of the user registers of a task that is not running or is the caller
/// (Linux: `task_pt_regs`); zeroes for a boot idle task.
pub fn task_pt_regs(task: &Task) -> PtRegs {
    // SAFETY: `stack_top` does not change after `copy_thread`.
    let top = unsafe { (*task.thread.get()).stack_top };
    if top == 0 {
        return PtRegs::default();
    }
    let at = (top - size_of::<PtRegs>() as u64) as *const PtRegs;
    // SAFETY: the stack lives as long as the task. The values may be those of any moment.
    unsafe { at.read_volatile() }
}

/// Shows `visit` the return addresses on the stack of a task that is not running, innermost first, until it breaks off
/// (Linux: arch/x86/kernel/process.c, `__get_wchan`). If the task wakes up meanwhile the addresses may be wrong ones;
/// nothing is read outside its stack.
pub fn walk_task_stack(task: &Task, mut visit: impl FnMut(u64) -> ControlFlow<()>) {
    let thread = task.thread.get();
    // SAFETY: one aligned word; any value of it is harmless, for it is checked before it is followed.
    let sp = unsafe { (&raw const (*thread).sp).read_volatile() };
    // SAFETY: `stack_top` does not change after `copy_thread`.
    let top = unsafe { (*thread).stack_top };
    let stack = top.saturating_sub(THREAD_SIZE)..top.saturating_sub(15);
    let mut frame = sp.wrapping_add(SWITCH_FRAME_RBP);
    for _ in 0..MAX_WALK {
        let inside = stack.contains(&frame);
        let Some([next, address]) = inside.then(|| read_words(frame)).flatten() else {
            return;
        };
        if visit(address).is_break() || next <= frame {
            return;
        }
        frame = next;
    }
}

/// Two words of kernel memory, if they are mapped.
fn read_words(at: u64) -> Option<[u64; 2]> {
    let mut bytes = [0; 16];
    if !copy_from_kernel_nofault(&mut bytes, at) {
        return None;
    }
    let (words, _) = bytes.as_chunks::<8>();
    Some([u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])])
}

/// Sets the running task's registers to a new program's first instruction
/// (Linux: `start_thread`).
pub fn start_thread(regs: &mut PtRegs, ip: u64, sp: u64) {
    *regs = PtRegs {
        rip: ip,
        rsp: sp,
        cs: u64::from(USER_CS),
        ss: u64::from(USER_DS),
        rflags: eflags::IF | eflags::FIXED,
        orig_rax: u64::MAX,
        ..Default::default()
    };
}

/// Forgets the old program's FPU state, TLS and selectors (Linux: `flush_thread`,
/// `start_thread_common`). Errors: ENOMEM on a kernel thread's first exec.
pub fn flush_thread() -> Result {
    let flags = local_irq_save();
    let result = with_thread(|thread| {
        thread.fpu.allocate()?;
        let mut loaded = UserState::default();
        loaded.save_selectors();
        thread.user = UserState::default();
        thread.user.load(&loaded);
        thread.fpu.reset();
        Ok(())
    });
    local_irq_restore(flags);
    result
}

/// Remembers which exception hit the running task, for its signal frame.
pub fn note_trap(trap_nr: u64, error_code: u64) {
    if crate::arch::current_ptr().is_null() {
        return;
    }
    with_thread(|thread| (thread.fault.trap_nr, thread.fault.error_code) = (trap_nr, error_code));
}

/// The same for a page fault.
pub fn note_page_fault(address: u64, error_code: u64) {
    if crate::arch::current_ptr().is_null() {
        return;
    }
    with_thread(|thread| {
        thread.fault = FaultInfo {
            cr2: address,
            trap_nr: 14,
            error_code,
        };
    });
}

/// What the running task's last exception was.
pub fn fault_info() -> FaultInfo {
    with_thread(|thread| thread.fault)
}

/// Runs `f` with the running task's FPU state, interrupts off.
pub(super) fn with_fpu<R>(f: impl FnOnce(&mut Fpu) -> R) -> R {
    let flags = local_irq_save();
    let result = with_thread(|thread| f(&mut thread.fpu));
    local_irq_restore(flags);
    result
}

/// Tells the boot CPU's idle task where its stack ends, so that traces and guard hits know.
pub fn init_idle_stack(top: u64) {
    set_top_of_stack(top);
    load_sp0(top);
    if !crate::arch::current_ptr().is_null() {
        with_thread(|thread| thread.stack_top = top);
    }
}

/// Kills the running task after an oops, on an empty stack: the old one may be full or broken
/// (Linux: `rewind_stack_and_make_dead`).
pub fn make_task_dead_on_fresh_stack(sig: i32) -> ! {
    extern "C" fn dead(sig: u64) -> ! {
        exit::make_task_dead(sig as i32)
    }
    let stack = top_of_stack() - size_of::<PtRegs>() as u64 - 8;
    // SAFETY: the stack is the task's own; nothing above this call is needed again.
    unsafe { rewind_stack_and_call(sig as u64, dead, stack) }
}

/// Executes an invalid instruction: the oops of a `BUG()` that has been announced already.
pub fn die_bug() -> ! {
    // SAFETY: the exception handler ends the task.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Sleeps until an interrupt (Linux: `default_idle`). On entry interrupts are off, on return on.
pub fn default_idle() {
    crate::arch::safe_halt();
}

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_SET_FS: i32 = 0x1002;
const ARCH_GET_FS: i32 = 0x1003;
const ARCH_GET_GS: i32 = 0x1004;
const ARCH_GET_CPUID: i32 = 0x1011;
const ARCH_SET_CPUID: i32 = 0x1012;

/// arch_prctl(2): FS and GS base. Errors: EPERM above user space, EFAULT, EINVAL, ENODEV.
pub fn sys_arch_prctl(option: i32, addr: u64) -> Result<i32> {
    match option {
        ARCH_SET_FS | ARCH_SET_GS if addr >= TASK_SIZE => return Err(Errno::EPERM),
        ARCH_SET_FS => set_base(|user| (&mut user.fs, &mut user.fs_base), addr),
        ARCH_SET_GS => set_base(|user| (&mut user.gs, &mut user.gs_base), addr),
        ARCH_GET_FS => uaccess::put_user(UserAddr::new(addr), &user_state().fs_base)?,
        ARCH_GET_GS => uaccess::put_user(UserAddr::new(addr), &user_state().gs_base)?,
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID => return Err(Errno::ENODEV),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// A base goes with a null selector, as Linux does it.
fn set_base(field: impl FnOnce(&mut UserState) -> (&mut u16, &mut u64), addr: u64) {
    let flags = local_irq_save();
    with_thread(|thread| {
        thread.user.save_selectors();
        let loaded = thread.user;
        let (selector, base) = field(&mut thread.user);
        (*selector, *base) = (0, addr);
        thread.user.load(&loaded);
    });
    local_irq_restore(flags);
}

fn user_state() -> UserState {
    let flags = local_irq_save();
    let state = with_thread(|thread| {
        thread.user.save_selectors();
        thread.user
    });
    local_irq_restore(flags);
    state
}
