//! Oops reports: registers, code bytes, call trace (Linux: arch/x86/kernel/dumpstack.c,
//! process_64.c `__show_regs`).

use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::desc::{self, StackType, THREAD_SIZE};
use super::kallsyms::{Backtrace, Symbol};
use super::process::make_task_dead_on_fresh_stack;
use crate::arch::x86::asm::cr::{read_cr0, read_cr2, read_cr3, read_cr4};
use crate::arch::x86::asm::msr::{MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, rdmsr};
use crate::arch::x86::asm::percpu::top_of_stack;
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::arch::x86::mm::maccess::copy_from_kernel_nofault;
use crate::arch::{local_irq_disable, smp_processor_id};
use crate::kernel::panic::{self, Taint, panic};
use crate::kernel::printk::{LOGLEVEL_DEFAULT, printk};
use crate::kernel::{bug, preempt};
use crate::mm::UserAddr;
use crate::prelude::*;

/// Bytes shown before the instruction pointer.
const CODE_PROLOGUE: usize = 42;
/// Bytes shown in all.
const CODE_BYTES: usize = 64;
/// A chain longer than this is a loop.
const MAX_FRAMES: usize = 64;

/// How many oopses there were, for the `[#n]` of the header.
static DIE_COUNTER: AtomicU32 = AtomicU32::new(0);
/// CPU that is printing an oops, or -1; a fault while it prints does not wait for itself.
static DIE_OWNER: AtomicI32 = AtomicI32::new(-1);

/// One oops at a time (Linux: `oops_begin`): interrupts off, the console free for us.
fn oops_begin() {
    local_irq_disable(); // for good: `oops_end` does not return to the interrupted code
    let cpu = smp_processor_id() as i32;
    if DIE_OWNER.load(Ordering::Acquire) == cpu {
        return; // an oops while printing an oops
    }
    while DIE_OWNER
        .compare_exchange(-1, cpu, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        core::hint::spin_loop();
    }
}

/// The end of a report: kills the task, or the machine if there is no task to blame
/// (Linux: `oops_end`). `sig` 0 returns instead: the caller panics with words of its own.
fn oops_end(regs: &PtRegs, sig: i32) {
    panic::add_taint(Taint::Die);
    DIE_OWNER.store(-1, Ordering::Release);
    bug::print_oops_end_marker();
    // The facts again, in case the report scrolled away.
    show_registers(regs, Registers::All);
    if sig == 0 {
        return;
    }
    if preempt::in_interrupt() {
        panic(format_args!("Fatal exception in interrupt"));
    }
    if panic::PANIC_ON_OOPS.load(Ordering::Relaxed) {
        panic(format_args!("Fatal exception"));
    }
    if crate::arch::current_ptr().is_null() {
        panic(format_args!("Fatal exception"));
    }
    make_task_dead_on_fresh_stack(sig);
}

/// The header and the body of a report (Linux: `__die`).
fn show_oops(what: fmt::Arguments<'_>, regs: &PtRegs, error_code: u64) {
    let count = DIE_COUNTER.fetch_add(1, Ordering::Relaxed) + 1;
    printk_default(format_args!(
        "{what}: {:04x} [#{count}] SMP",
        error_code & 0xffff
    ));
    show_regs(regs);
}

/// KERN_DEFAULT: the level that Linux uses for the body of an oops.
pub(crate) fn printk_default(args: fmt::Arguments<'_>) {
    printk(LOGLEVEL_DEFAULT, args);
}

/// Reports a fault of the kernel and ends the task with `sig`, or panics (Linux: `die`).
/// Returns only if `sig` is 0. Any context.
pub fn die(what: impl fmt::Display, regs: &PtRegs, error_code: u64, sig: i32) {
    die_with(format_args!("{what}"), regs, error_code, sig, || {});
}

/// `die` with lines of the caller's between the registers and the end marker.
pub fn die_with(
    what: fmt::Arguments<'_>,
    regs: &PtRegs,
    error_code: u64,
    sig: i32,
    more: impl FnOnce(),
) {
    oops_begin();
    show_oops(what, regs, error_code);
    more();
    oops_end(regs, sig);
}

/// Prints everything about interrupted code (Linux: `show_regs`).
pub fn show_regs(regs: &PtRegs) {
    bug::dump_stack_print_info();
    show_registers(regs, Registers::All);
    if !regs.user_mode() {
        show_trace(Some(regs));
    }
}

/// How much of the registers is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registers {
    /// General registers, inside a call trace.
    Short,
    /// With segments and control registers.
    All,
}

fn show_registers(regs: &PtRegs, mode: Registers) {
    show_ip(regs);
    let orig = OrigRax(regs.orig_rax);
    printk_default(format_args!(
        "RSP: {:04x}:{:016x} EFLAGS: {:08x}{orig}",
        regs.ss as u16, regs.rsp, regs.rflags
    ));
    let rows = [
        ["RAX", "RBX", "RCX"],
        ["RDX", "RSI", "RDI"],
        ["RBP", "R08", "R09"],
        ["R10", "R11", "R12"],
        ["R13", "R14", "R15"],
    ];
    let values = [
        [regs.rax, regs.rbx, regs.rcx],
        [regs.rdx, regs.rsi, regs.rdi],
        [regs.rbp, regs.r8, regs.r9],
        [regs.r10, regs.r11, regs.r12],
        [regs.r13, regs.r14, regs.r15],
    ];
    for (name, value) in rows.iter().zip(values) {
        printk_default(format_args!(
            "{}: {:016x} {}: {:016x} {}: {:016x}",
            name[0], value[0], name[1], value[1], name[2], value[2]
        ));
    }
    if mode == Registers::All {
        show_system_registers(regs);
    }
}

struct OrigRax(u64);
impl fmt::Display for OrigRax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX {
            return Ok(());
        }
        write!(f, " ORIG_RAX: {:016x}", self.0)
    }
}

fn show_system_registers(regs: &PtRegs) {
    let (ds, es, fs, gs): (u16, u16, u16, u16);
    // SAFETY: reads selectors.
    unsafe {
        asm!("mov {0:x}, ds", "mov {1:x}, es", "mov {2:x}, fs", "mov {3:x}, gs",
            out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs,
            options(nomem, nostack, preserves_flags));
    }
    // SAFETY: every 64-bit CPU has these registers.
    let base = |register| unsafe { rdmsr(register) };
    printk_default(format_args!(
        "FS:  {:016x}({fs:04x}) GS:{:016x}({gs:04x}) knlGS:{:016x}",
        base(MSR_FS_BASE),
        base(MSR_GS_BASE),
        base(MSR_KERNEL_GS_BASE)
    ));
    printk_default(format_args!(
        "CS:  {:04x} DS: {ds:04x} ES: {es:04x} CR0: {:016x}",
        regs.cs as u16,
        read_cr0()
    ));
    printk_default(format_args!(
        "CR2: {:016x} CR3: {:016x} CR4: {:016x}",
        read_cr2(),
        read_cr3(),
        read_cr4()
    ));
}

/// RIP with its symbol, and the code around it (Linux: `show_ip`, `show_opcodes`).
fn show_ip(regs: &PtRegs) {
    if regs.user_mode() {
        printk_default(format_args!("RIP: {:04x}:0x{:x}", regs.cs as u16, regs.rip));
    } else {
        let symbol = Symbol(regs.rip);
        printk_default(format_args!("RIP: {:04x}:{symbol}", regs.cs as u16));
    }
    show_opcodes(regs, LOGLEVEL_DEFAULT);
}

/// The bytes around the instruction, which stands in angle brackets (Linux: `show_opcodes`).
pub fn show_opcodes(regs: &PtRegs, level: u8) {
    let start = regs.rip.wrapping_sub(CODE_PROLOGUE as u64);
    let mut code = [0; CODE_BYTES];
    if read_code(&mut code, start, regs) {
        printk(level, format_args!("Code: {}", Code(&code)));
    } else {
        printk(
            level,
            format_args!("Code: Unable to access opcode bytes at 0x{start:x}."),
        );
    }
}

fn read_code(code: &mut [u8], start: u64, regs: &PtRegs) -> bool {
    if regs.user_mode() {
        return crate::mm::uaccess::copy_from_user(code, UserAddr::new(start)).is_ok();
    }
    copy_from_kernel_nofault(code, start)
}

struct Code<'a>(&'a [u8]);
impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            if i == CODE_PROLOGUE {
                write!(f, "{space}<{byte:02x}>")?;
            } else {
                write!(f, "{space}{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Where a frame pointer leads.
enum Frame {
    /// A called function: where it returns to and the caller's frame pointer.
    Call { ret: u64, next: u64 },
    /// Interrupted code.
    Regs(&'static PtRegs),
}

/// Reads one link of the chain; `None` at its end or where it is broken.
fn read_frame(fp: u64) -> Option<Frame> {
    if fp & 1 != 0 {
        let regs = fp - 1;
        on_known_stack(regs, size_of::<PtRegs>())?;
        // SAFETY: entry code put a frame there; it is on a stack of ours, which stays mapped.
        let regs = unsafe { &*(regs as *const PtRegs) };
        // A kernel thread's frame is empty: it has never been in user space.
        return (regs.cs != 0).then_some(Frame::Regs(regs));
    }
    if fp == 0 || fp & 7 != 0 {
        return None;
    }
    on_known_stack(fp, 16)?;
    // SAFETY: two words inside a stack of ours.
    let [next, ret] = unsafe { *(fp as *const [u64; 2]) };
    (ret != 0).then_some(Frame::Call { ret, next })
}

/// The stack that holds `len` bytes at `addr`. Early boot runs on a stack that nobody
/// registered: addresses inside the kernel image are taken then.
fn on_known_stack(addr: u64, len: usize) -> Option<StackType> {
    let end = addr.checked_add(len as u64)?;
    if let Some((kind, begin, limit)) = stack_of(addr) {
        return (addr >= begin && end <= limit).then_some(kind);
    }
    let mut probe = 0u8;
    let readable = copy_from_kernel_nofault(core::slice::from_mut(&mut probe), addr)
        && copy_from_kernel_nofault(core::slice::from_mut(&mut probe), end - 1);
    readable.then_some(StackType::Task)
}

fn stack_of(addr: u64) -> Option<(StackType, u64, u64)> {
    let top = top_of_stack();
    let bottom = top.wrapping_sub(THREAD_SIZE);
    if top != 0 && (bottom..top).contains(&addr) {
        return Some((StackType::Task, bottom, top));
    }
    desc::in_exception_stack(addr)
}

/// Prints the call trace of this CPU, from `regs` if given, else from the caller
/// (Linux: `show_trace_log_lvl`).
pub fn show_trace(regs: Option<&PtRegs>) {
    printk_default(format_args!("Call Trace:"));
    let mut fp = match regs {
        Some(regs) => regs.rbp,
        None => frame_pointer(),
    };
    let stack = stack_of(regs.map_or(fp, |regs| regs.rsp)).map(|(kind, ..)| kind);
    let mut section = Section::open(stack.unwrap_or(StackType::Task));
    for _ in 0..MAX_FRAMES {
        match read_frame(fp) {
            Some(Frame::Call { ret, next }) => {
                // The return address may be past the end of a function that does not return.
                printk_default(format_args!(" {}", Backtrace(ret)));
                if next & 1 == 0 && next != 0 && next <= fp && stack_of(next).is_none() {
                    break;
                }
                fp = next;
            }
            Some(Frame::Regs(regs)) => {
                section.switch(stack_of(regs.rsp).map(|(kind, ..)| kind));
                show_registers(regs, Registers::Short);
                if regs.user_mode() {
                    break;
                }
                printk_default(format_args!(" {}", Symbol(regs.rip)));
                fp = regs.rbp;
            }
            None => break,
        }
    }
    section.close();
}

/// The ` <TASK>` ... ` </TASK>` lines around the entries of one stack.
struct Section(StackType);

impl Section {
    fn open(stack: StackType) -> Self {
        printk_default(format_args!(" <{}>", stack.name()));
        Self(stack)
    }
    fn switch(&mut self, stack: Option<StackType>) {
        let stack = stack.unwrap_or(StackType::Task);
        if stack != self.0 {
            printk_default(format_args!(" </{}>", self.0.name()));
            *self = Self::open(stack);
        }
    }
    fn close(self) {
        printk_default(format_args!(" </{}>", self.0.name()));
    }
}

#[inline(always)]
fn frame_pointer() -> u64 {
    let fp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// Where the function in which this is written returns to, or 0.
#[inline(always)]
pub fn return_address() -> u64 {
    match read_frame(frame_pointer()) {
        Some(Frame::Call { ret, .. }) => ret,
        _ => 0,
    }
}

/// Prints where the kernel is (Linux: lib/dump_stack.c, `dump_stack`). Any context.
#[inline(never)]
pub fn dump_stack() {
    bug::dump_stack_print_info();
    show_trace(None);
}

/// A guard page that was touched, and the stack above it.
pub struct GuardHit {
    stack: StackType,
    begin: u64,
    end: u64,
}

/// Whether `address` lies in the unmapped page below the stack in use
/// (Linux: `get_stack_guard_info`).
pub fn stack_guard_hit(address: u64, regs: &PtRegs) -> Option<GuardHit> {
    if regs.user_mode() {
        return None;
    }
    let end = top_of_stack();
    let begin = end.wrapping_sub(THREAD_SIZE);
    let guard = begin.wrapping_sub(crate::arch::PAGE_SIZE as u64);
    (end != 0 && (guard..begin).contains(&address)).then_some(GuardHit {
        stack: StackType::Task,
        begin,
        end,
    })
}

/// The stack is full: there is no way back (Linux: `handle_stack_overflow`).
pub fn handle_stack_overflow(regs: &PtRegs, address: u64, hit: GuardHit) -> ! {
    let name = hit.stack.name();
    pr_emerg!(
        "BUG: {name} stack guard page was hit at {address:016x} (stack is {:016x}..{:016x})",
        hit.begin,
        hit.end
    );
    die("stack guard page", regs, 0, 0);
    panic(format_args!("{name} stack guard hit"));
}
