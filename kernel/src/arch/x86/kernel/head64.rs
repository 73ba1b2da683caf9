//! From the loaders' entries to `start_kernel` (Linux: arch/x86/kernel/head64.c, head_64.S).

use core::arch::{asm, global_asm};
use core::mem::size_of;

use super::e820::{E820Kind, E820Table};
use super::early_printk;
use crate::arch::x86::asm::msr::{MSR_GS_BASE, wrmsr};
use crate::arch::x86::asm::page::START_KERNEL_MAP;
use crate::arch::x86::boot::BootParams;
use crate::arch::x86::kernel::idt_early;
use crate::kernel::locking::{PreemptOff, SpinLockGuard};
use crate::mm::VirtAddr;
use crate::prelude::*;

/// Size of a kernel stack.
const THREAD_SIZE: usize = 16 << 10;

/// Pid 0's stack and the page below it, which `mm::init` leaves unmapped.
#[repr(C, align(4096))]
pub struct InitStack {
    guard: [u8; 4096],
    stack: [u8; THREAD_SIZE],
}

/// Boot runs on it, then the idle task of the boot CPU (Linux: `init_stack`).
#[unsafe(link_section = ".bss..init_stack")]
pub static mut INIT_STACK: InitStack = InitStack {
    guard: [0; 4096],
    stack: [0; THREAD_SIZE],
};

/// The initial stack without its guard page: lowest address and end.
pub fn init_stack() -> (u64, u64) {
    let base = &raw const INIT_STACK as u64;
    (base + 4096, base + size_of::<InitStack>() as u64)
}

/// Lowest address of the stack that the boot task runs on.
pub fn init_stack_end() -> Option<VirtAddr> {
    Some(VirtAddr::new(init_stack().0))
}

// The first GDT, with the selectors that stay: code 0x10, data 0x18. `cpu_init` replaces it.
global_asm!(
    ".section .data",
    ".p2align 3",
    "early_gdt: .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    ".global early_gdt_low",
    "early_gdt_low: .word 31",
    ".long early_gdt - {base}", // for 32-bit code before paging
    ".global early_gdt_ptr",
    "early_gdt_ptr: .word 31",
    ".quad early_gdt",
    ".text",
    base = const START_KERNEL_MAP as i64,
);

static BOOT_PARAMS: spin::Once<BootParams> = spin::Once::new();

/// What the loader told (Linux: `boot_params`).
pub fn boot_params() -> &'static BootParams {
    BOOT_PARAMS
        .get()
        .expect("both entries fill the boot parameters")
}

#[unsafe(link_section = ".bss..init")]
static RAW_MEMORY_MAP: SpinLock<E820Table> = SpinLock::new(E820Table::new());
#[unsafe(link_section = ".bss..init")]
static LOADER_MEMORY: SpinLock<E820Table> = SpinLock::new(E820Table::new());

/// The memory map as the loader gave it. Only until `free_initmem`.
pub fn raw_memory_map() -> SpinLockGuard<'static, E820Table, PreemptOff> {
    RAW_MEMORY_MAP.lock()
}

/// RAM that the loader's page tables, boot information and files are in. Nothing is allocated
/// there before our own page tables are in use. Only until `free_initmem`.
pub fn loader_memory() -> SpinLockGuard<'static, E820Table, PreemptOff> {
    LOADER_MEMORY.lock()
}

/// Adds to [`loader_memory`].
pub fn note_loader_memory(start: u64, size: u64) {
    LOADER_MEMORY.lock().add(start, size, E820Kind::RAM);
}

/// Own GDT, per-CPU base and IDT: before this, any fault is a silent reset and any lock (which
/// counts in per-CPU data) writes to a random address. The first thing both entries call.
pub fn early_cpu_setup() {
    crate::arch::local_irq_disable();
    load_early_gdt();
    // SAFETY: base 0 makes per-CPU accesses hit the template, which serves as CPU 0's copy
    // until `setup_per_cpu_areas`.
    unsafe { wrmsr(MSR_GS_BASE, 0) };
    idt_early::load();
}

fn load_early_gdt() {
    // SAFETY: the table is static and its code segment is as the one in use: 64 bits, flat.
    unsafe {
        asm!(
            "lgdt [early_gdt_ptr]",
            "push 0x10",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            "xor {tmp:e}, {tmp:e}",
            "mov ds, {tmp:e}",
            "mov es, {tmp:e}",
            "mov fs, {tmp:e}",
            "mov gs, {tmp:e}",
            "mov {tmp:e}, 0x18",
            "mov ss, {tmp:e}",
            tmp = out(reg) _,
        );
    }
}

/// Keeps the parameters and goes on with [`x86_64_start_kernel`] on the initial stack: the
/// loader's stack is memory that will be allocated.
pub fn leave_for_start_kernel(mut params: BootParams) -> ! {
    crate::arch::x86::boot::choose_command_line(&mut params);
    BOOT_PARAMS.call_once(|| params);
    // SAFETY: nothing of the present stack is used again; the new one is static and unused
    // (the PVH entry runs on it, but never returns to its frames).
    unsafe {
        asm!(
            "lea rsp, [{stack} + {size}]",
            "xor ebp, ebp", // the end of every back trace
            "call {start}",
            "ud2",
            stack = sym INIT_STACK,
            size = const size_of::<InitStack>(),
            start = sym x86_64_start_kernel,
            options(noreturn),
        );
    }
}

/// A word that must be zero, as proof that .bss was cleared.
static BSS_CANARY: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// The common first steps of both entries (Linux: `x86_64_start_kernel`).
///
/// On entry: long mode, the loader's page tables, initial stack, early IDT, interrupts off.
extern "C" fn x86_64_start_kernel() -> ! {
    early_printk::setup_early_serial(); // everything after this line can be seen to fail
    assert_eq!(
        BSS_CANARY.swap(1, core::sync::atomic::Ordering::Relaxed),
        0,
        ".bss was not cleared"
    );
    if let Some(complaint) = boot_params().complaint {
        pr_warn!("boot: {complaint}");
    }
    crate::init::main::start_kernel()
}
