//! From a CPU's first instruction to 64-bit code (Linux: arch/x86/realmode/rm/trampoline_64.S,
//! `secondary_startup_64` of arch/x86/kernel/head_64.S).
//!
//! The code is data of the kernel: a copy of it runs in the page that the start-up message names.
//! So all its addresses are relative to its start, or filled in by [`Trampoline::write_to`].

use core::arch::global_asm;
use core::mem::offset_of;

use crate::arch::x86::asm::msr::MSR_GS_BASE;
use crate::arch::x86::kernel::smpboot::{SECONDARY, SecondaryData, start_secondary};
use crate::mm::PhysAddr;

/// Most bytes that the code may have: a page.
const MAX_SIZE: usize = 4096;

/// What the boot CPU fills in (Linux: `struct trampoline_header`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TrampolineHeader {
    /// Where 64-bit code goes on.
    pub start: u64,
    /// Long mode, and NX if the tables use it.
    pub efer: u64,
    /// Top page table, below 4 GiB.
    pub pgd: u32,
    /// Control bits that paging needs.
    pub cr4: u32,
}

// trampoline_start: real mode, interrupts off, CS = the page, IP = 0. Uses no stack.
// ebx = physical address of the page from the first instructions on.
global_asm!(
    r#"
    .section .rodata
    .p2align 4
    .global trampoline_start
trampoline_start:
    .code16
    cli
    cld
    xorl %ebx, %ebx
    movw %cs, %bx
    movw %bx, %ds
    shll $4, %ebx
    lgdtl trampoline_gdt_ptr - trampoline_start
    movl $0x11, %eax                    /* CR0.PE and ET: caches on */
    movl %eax, %cr0
    ljmpl *(trampoline_to_32 - trampoline_start)

    .code32
1:  movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %ss
    movl %eax, %es
    movl trampoline_header + {cr4} - trampoline_start(%ebx), %eax
    movl %eax, %cr4
    movl trampoline_header + {pgd} - trampoline_start(%ebx), %eax
    movl %eax, %cr3
    movl trampoline_header + {efer} - trampoline_start(%ebx), %eax
    movl trampoline_header + {efer} + 4 - trampoline_start(%ebx), %edx
    movl $0xc0000080, %ecx
    wrmsr
    movl $0x80010033, %eax              /* PG WP NE ET MP PE */
    movl %eax, %cr0
    ljmpl *trampoline_to_64 - trampoline_start(%ebx)

    .code64
2:  movq trampoline_header + {start} - trampoline_start(%rbx), %rax
    jmp *%rax

    .p2align 3
trampoline_gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff
    .global trampoline_gdt_ptr
trampoline_gdt_ptr:
    .word 31
    .global trampoline_gdt_base
trampoline_gdt_base:
    .long trampoline_gdt - trampoline_start
    .word 0
    .global trampoline_to_32
trampoline_to_32:
    .long 1b - trampoline_start
    .word 0x08, 0
    .global trampoline_to_64
trampoline_to_64:
    .long 2b - trampoline_start
    .word 0x10, 0
    .p2align 3
    .global trampoline_header
trampoline_header:
    .skip {header_size}
    .global trampoline_end
trampoline_end:

    .text
    /* secondary_startup_64: 64-bit code on the trampoline's tables, which hold the kernel's half;
       SECONDARY says what is this CPU's. Does not return. */
    .global secondary_startup_64
secondary_startup_64:
    movq {secondary} + {s_pgd}(%rip), %rax
    movq %rax, %cr3
    lgdt early_gdt_ptr(%rip)
    movq {secondary} + {s_stack}(%rip), %rsp
    pushq $0x10
    leaq 3f(%rip), %rax
    pushq %rax
    lretq
3:  movl $0x18, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl ${gs_base}, %ecx
    movl {secondary} + {s_percpu}(%rip), %eax
    movl {secondary} + {s_percpu} + 4(%rip), %edx
    wrmsr
    xorl %ebp, %ebp                     /* the end of every back trace */
    call {start_secondary}
    ud2
    "#,
    cr4 = const offset_of!(TrampolineHeader, cr4),
    pgd = const offset_of!(TrampolineHeader, pgd),
    efer = const offset_of!(TrampolineHeader, efer),
    start = const offset_of!(TrampolineHeader, start),
    header_size = const size_of::<TrampolineHeader>(),
    secondary = sym SECONDARY,
    s_pgd = const offset_of!(SecondaryData, pgd),
    s_stack = const offset_of!(SecondaryData, stack_top),
    s_percpu = const offset_of!(SecondaryData, percpu_offset),
    gs_base = const MSR_GS_BASE,
    start_secondary = sym start_secondary,
    options(att_syntax)
);

unsafe extern "C" {
    /// Where a CPU goes on in 64-bit mode.
    pub fn secondary_startup_64();
    safe static trampoline_start: u8;
    safe static trampoline_gdt_base: u8;
    safe static trampoline_to_32: u8;
    safe static trampoline_to_64: u8;
    safe static trampoline_header: u8;
    safe static trampoline_end: u8;
}

fn offset_of_symbol(symbol: &'static u8) -> usize {
    &raw const *symbol as usize - &raw const trampoline_start as usize
}

/// The code as the image has it.
fn trampoline_code() -> &'static [u8] {
    let len = offset_of_symbol(&trampoline_end);
    // SAFETY: both symbols bound the code above, constant bytes of the image.
    unsafe { core::slice::from_raw_parts(&raw const trampoline_start, len) }
}

/// A copy of the code for one place.
pub struct Trampoline {
    base: PhysAddr,
    header: TrampolineHeader,
}

impl Trampoline {
    /// For the page at `base`, below 1 MiB.
    pub fn new(base: PhysAddr, header: TrampolineHeader) -> Self {
        Self { base, header }
    }

    /// Copies the code to `target`, where the page at `base` is mapped, and fills in what depends
    /// on the place.
    ///
    /// # Safety
    /// `target` is a whole writable page that nobody else uses.
    pub unsafe fn write_to(&self, target: *mut u8) {
        let code = trampoline_code();
        assert!(code.len() <= MAX_SIZE);
        // SAFETY: the caller's page; the code is no longer than that.
        let copy = unsafe { core::slice::from_raw_parts_mut(target, code.len()) };
        copy.copy_from_slice(code);
        for symbol in [&trampoline_gdt_base, &trampoline_to_32, &trampoline_to_64] {
            let at = offset_of_symbol(symbol);
            let mut word = [0; 4];
            word.copy_from_slice(&copy[at..at + 4]);
            let moved = u32::from_le_bytes(word) + self.base.as_u64() as u32;
            copy[at..at + 4].copy_from_slice(&moved.to_le_bytes());
        }
        let header = offset_of_symbol(&trampoline_header);
        let place = copy[header..].as_mut_ptr().cast::<TrampolineHeader>();
        // SAFETY: the code reserves room for the header there; it need not be aligned.
        unsafe { place.write_unaligned(self.header) };
    }
}
