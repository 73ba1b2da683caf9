//! Descriptor tables, task state segment and the stacks of the dangerous exceptions
//! (Linux: arch/x86/kernel/cpu/common.c, asm/desc.h, asm/cpu_entry_area.h).
//!
//! Each CPU has a GDT and a TSS of its own in its per-CPU area. A double fault, an NMI, a debug
//! exception and a machine check can strike while the stack pointer or the GS base is not ours,
//! so each gets a known good stack through the IST. The last 16 bytes of such a stack hold the
//! CPU's kernel GS base: entry code finds its per-CPU data there, whatever GS holds.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::VirtAddr as HwAddr;
use x86_64::instructions::tables::{lgdt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::structures::tss::TaskStateSegment;

use crate::arch::x86::asm::msr::{
    EFER_SCE, MSR_CSTAR, MSR_EFER, MSR_IA32_SYSENTER_CS, MSR_KERNEL_GS_BASE, MSR_LSTAR, MSR_STAR,
    MSR_SYSCALL_MASK, rdmsr, rdmsr_safe, wrmsr,
};
use crate::arch::x86::asm::segment::{
    CPUNODE, GDT_ENTRIES, KERNEL_CS, KERNEL_DS, TSS_SELECTOR, USER32_CS,
};
use crate::arch::x86::entry::entry_64;
use crate::mm::percpu::PerCpu;
use crate::prelude::*;

/// IST slots, numbered as the IDT numbers them minus one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Ist {
    /// Double fault.
    Df = 0,
    /// Non-maskable interrupt.
    Nmi = 1,
    /// Debug exception.
    Db = 2,
    /// Machine check.
    Mce = 3,
}

/// Number of IST stacks in use.
pub const N_EXCEPTION_STACKS: usize = 4;
/// Bytes of one IST stack.
pub const EXCEPTION_STKSZ: usize = 8 << 10;
/// Bytes of a CPU's interrupt stack.
pub const IRQ_STACK_SIZE: usize = 16 << 10;
/// Bytes that a task's kernel stack has.
pub const THREAD_SIZE: u64 = 16 << 10;

const CODE64_KERNEL: u64 = 0x00af_9b00_0000_ffff;
const CODE32_KERNEL: u64 = 0x00cf_9b00_0000_ffff;
const DATA_KERNEL: u64 = 0x00cf_9300_0000_ffff;
const CODE32_USER: u64 = 0x00cf_fb00_0000_ffff;
const DATA_USER: u64 = 0x00cf_f300_0000_ffff;
const CODE64_USER: u64 = 0x00af_fb00_0000_ffff;
const CPUNODE_DATA: u64 = 0x0040_f500_0000_0000;
const TSS_AVAILABLE: u64 = 0x0000_8900_0000_0000;

/// One CPU's tables. The alignment keeps the TSS inside a page, which some CPUs insist on.
#[repr(C, align(128))]
struct CpuTables {
    tss: UnsafeCell<TaskStateSegment>,
    gdt: UnsafeCell<[u64; GDT_ENTRIES]>,
}

// SAFETY: each CPU touches only its own copy, with interrupts off.
unsafe impl Sync for CpuTables {}

#[per_cpu]
static CPU_TABLES: PerCpu<CpuTables> = PerCpu::new(CpuTables {
    tss: UnsafeCell::new(TaskStateSegment::new()),
    gdt: UnsafeCell::new([
        0,
        CODE32_KERNEL,
        CODE64_KERNEL,
        DATA_KERNEL,
        CODE32_USER,
        DATA_USER,
        CODE64_USER,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        CPUNODE_DATA,
    ]),
});

/// Top of this CPU's interrupt stack; 0 until `cpu_init`.
#[per_cpu]
pub static HARDIRQ_STACK_TOP: PerCpu<AtomicU64> = PerCpu::new(AtomicU64::new(0));

/// The boot CPU's stacks; the other CPUs get theirs from vmalloc.
#[repr(C, align(4096))]
struct BootStacks {
    exception: UnsafeCell<[[u8; EXCEPTION_STKSZ]; N_EXCEPTION_STACKS]>,
    irq: UnsafeCell<[u8; IRQ_STACK_SIZE]>,
}

// SAFETY: only the CPU's own exception entry uses the memory, as stacks.
unsafe impl Sync for BootStacks {}

static BOOT_STACKS: BootStacks = BootStacks {
    exception: UnsafeCell::new([[0; EXCEPTION_STKSZ]; N_EXCEPTION_STACKS]),
    irq: UnsafeCell::new([0; IRQ_STACK_SIZE]),
};

/// Where the stacks of a CPU are.
pub struct CpuStacks {
    /// First byte of the four IST stacks, one after the other.
    pub exception: u64,
    /// First byte of the interrupt stack.
    pub irq: u64,
}

impl CpuStacks {
    /// The boot CPU's stacks, in the kernel image.
    pub fn boot() -> Self {
        Self {
            exception: BOOT_STACKS.exception.get() as u64,
            irq: BOOT_STACKS.irq.get() as u64,
        }
    }
}

/// Gives this CPU its GDT, TSS and IST stacks (Linux: `cpu_init_exception_handling`).
///
/// Called twice on the boot CPU: as the first thing of all with the per-CPU template, and by
/// `trap_init` when the CPU's own area exists, because the tables live in that area.
///
/// On entry: interrupts off, GS base final. On return: selectors are Linux's, GS base unchanged.
pub fn cpu_init_exception_handling(stacks: &CpuStacks) {
    let tables = CPU_TABLES.raw_this();
    // SAFETY: this CPU's own copy, interrupts are off and nothing else holds a reference.
    let (tss, gdt) = unsafe { (&mut *tables.tss.get(), &mut *tables.gdt.get()) };
    let gs_base = crate::arch::this_cpu_offset() as u64;
    for slot in 0..N_EXCEPTION_STACKS {
        let end = stacks.exception + ((slot + 1) * EXCEPTION_STKSZ) as u64;
        let top = end - 16;
        // SAFETY: the last words of a stack of this CPU, which nobody uses for anything else.
        unsafe { (top as *mut u64).write(gs_base) };
        tss.interrupt_stack_table[slot] = HwAddr::new_truncate(top);
    }
    // No I/O bitmap: user space has no ports.
    tss.iomap_base = size_of::<TaskStateSegment>() as u16;
    set_tss_descriptor(gdt, tables.tss.get() as u64);
    gdt[usize::from(CPUNODE >> 3)] = CPUNODE_DATA | crate::arch::smp_processor_id() as u64 & 0xfff;
    HARDIRQ_STACK_TOP
        .raw_this()
        .store(stacks.irq + IRQ_STACK_SIZE as u64, Ordering::Relaxed);
    load_tables(gdt);
}

fn set_tss_descriptor(gdt: &mut [u64; GDT_ENTRIES], base: u64) {
    let index = usize::from(TSS_SELECTOR >> 3);
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    gdt[index] = TSS_AVAILABLE | limit | (base & 0xff_ffff) << 16 | (base >> 24 & 0xff) << 56;
    gdt[index + 1] = base >> 32;
}

fn load_tables(gdt: &[u64; GDT_ENTRIES]) {
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(gdt) - 1) as u16,
        base: HwAddr::from_ptr(gdt.as_ptr()),
    };
    // SAFETY: the table lives for ever and holds the selectors loaded next.
    unsafe { lgdt(&pointer) };
    reload_segments();
    // SAFETY: the descriptor was written just now and is marked available.
    unsafe { load_tss(SegmentSelector(TSS_SELECTOR)) };
}

/// Loads CS with a far return, SS with kernel data, the others with null. FS and GS are loaded
/// only if they are not null already: loading GS would destroy the GS base on some CPUs.
fn reload_segments() {
    // SAFETY: the GDT just loaded has these entries; code and stack stay where they are.
    unsafe {
        asm!(
            "push {cs}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            "mov ss, {ds:e}",
            "xor {tmp:e}, {tmp:e}",
            "mov ds, {tmp:e}",
            "mov es, {tmp:e}",
            cs = const KERNEL_CS as u64,
            ds = in(reg) u32::from(KERNEL_DS),
            tmp = out(reg) _,
        );
    }
}

/// System calls and debug registers of this CPU (Linux: `cpu_init`, `syscall_init`). After
/// `cpu_init_exception_handling`, interrupts off.
pub fn cpu_init() {
    let selectors = u64::from(KERNEL_CS) << 32 | u64::from(USER32_CS) << 48;
    // SAFETY: SYSCALL and SYSRET get the GDT's selectors.
    unsafe { wrmsr(MSR_STAR, selectors) };
    // SAFETY: the entry for 64-bit code.
    unsafe { wrmsr(MSR_LSTAR, entry_64::entry_SYSCALL_64 as *const () as u64) };
    // SAFETY: the entry for 32-bit code, which answers ENOSYS.
    unsafe {
        wrmsr(
            MSR_CSTAR,
            entry_64::entry_SYSCALL_compat as *const () as u64,
        )
    };
    // SAFETY: entry code starts with interrupts, single step and the direction flag off.
    unsafe { wrmsr(MSR_SYSCALL_MASK, SYSCALL_FLAGS_CLEARED) };
    // SAFETY: SYSCALL is ready now.
    unsafe { wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE) };
    // SAFETY: user space starts with GS base 0.
    unsafe { wrmsr(MSR_KERNEL_GS_BASE, 0) };
    if rdmsr_safe(MSR_IA32_SYSENTER_CS).is_some() {
        // SAFETY: the CPU has the register; 0 makes SYSENTER a general protection fault.
        unsafe { wrmsr(MSR_IA32_SYSENTER_CS, 0) };
    }
    clear_debug_registers();
}

/// No breakpoints (Linux: `clear_all_debug_regs`).
fn clear_debug_registers() {
    // SAFETY: switches every breakpoint off.
    unsafe {
        asm!("mov dr7, {0}", "mov dr6, {1}", in(reg) 0x400u64, in(reg) 0xffff_0ff0u64,
            options(nostack, preserves_flags));
    }
}

/// All status flags, TF, IF, DF, IOPL, NT, RF, AC, ID: Linux's list.
const SYSCALL_FLAGS_CLEARED: u64 = 0x0025_7fd5;

/// Sets the stack that an interrupt from user space starts on (Linux: `load_sp0`).
/// Context: interrupts off.
#[inline]
pub fn load_sp0(top: u64) {
    const OFFSET: usize = offset_of!(CpuTables, tss) + 4;
    // SAFETY: one store to this CPU's own TSS; entry 0 of the privilege stack table is RSP0.
    unsafe {
        asm!("mov gs:[{1} + {2}], {0}", in(reg) top, sym CPU_TABLES, const OFFSET,
            options(nostack, preserves_flags));
    }
}

/// Which stack of this CPU or task an address belongs to, for traces and guard hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackType {
    /// The running task's kernel stack.
    Task,
    /// The CPU's interrupt stack.
    Irq,
    /// An IST stack.
    Exception(Ist),
}

impl StackType {
    /// Linux's name of it (Linux: `stack_type_name`).
    pub fn name(self) -> &'static str {
        match self {
            StackType::Task => "TASK",
            StackType::Irq => "IRQ",
            StackType::Exception(Ist::Df) => "#DF",
            StackType::Exception(Ist::Nmi) => "NMI",
            StackType::Exception(Ist::Db) => "#DB",
            StackType::Exception(Ist::Mce) => "#MC",
        }
    }
}

/// The stack of this CPU that holds `addr`, with its first byte and its end.
pub fn in_exception_stack(addr: u64) -> Option<(StackType, u64, u64)> {
    let tables = CPU_TABLES.raw_this();
    // SAFETY: the IST values do not change after `cpu_init_exception_handling`.
    let tops = unsafe { (*tables.tss.get()).interrupt_stack_table };
    for (slot, kind) in [Ist::Df, Ist::Nmi, Ist::Db, Ist::Mce]
        .into_iter()
        .enumerate()
    {
        let end = { tops }[slot].as_u64() + 16;
        let begin = end.wrapping_sub(EXCEPTION_STKSZ as u64);
        if (begin..end).contains(&addr) {
            return Some((StackType::Exception(kind), begin, end));
        }
    }
    let end = HARDIRQ_STACK_TOP.raw_this().load(Ordering::Relaxed);
    let begin = end.wrapping_sub(IRQ_STACK_SIZE as u64);
    (begin..end)
        .contains(&addr)
        .then_some((StackType::Irq, begin, end))
}
