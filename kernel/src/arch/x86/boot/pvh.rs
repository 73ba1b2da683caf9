//! The PVH entry: what QEMU's `-kernel` and other machine monitors use
//! (Linux: arch/x86/platform/pvh/).

use core::arch::global_asm;
use core::mem::size_of;

use super::params::{BootParams, Loader};
use crate::arch::x86::asm::page::{START_KERNEL_MAP, phys_to_virt};
use crate::arch::x86::kernel::e820::{E820Kind, E820Table};
use crate::arch::x86::kernel::head64;
use crate::mm::PhysAddr;
use crate::mm::memblock::PhysRange;

/// One page table of the first steps.
#[repr(C, align(4096))]
struct Table([u64; 512]);

// The first tables: 4 GiB at 0 and in the direct map, the first GiB at the kernel image's place.
#[unsafe(link_section = ".bss..init")]
static mut EARLY_PML4: Table = Table([0; 512]);
#[unsafe(link_section = ".bss..init")]
static mut EARLY_PDPT: Table = Table([0; 512]);
#[unsafe(link_section = ".bss..init")]
static mut EARLY_PDPT_KERNEL: Table = Table([0; 512]);
#[unsafe(link_section = ".bss..init")]
static mut EARLY_PD: [Table; 4] = [const { Table([0; 512]) }; 4];

// pvh_start_xen: 32-bit protected mode, paging off, flat segments, interrupts off.
// In:  ebx = physical address of the start information.
// Out: to pvh_start_kernel(start info, TSC at entry) in long mode on the initial stack.
// Every address is physical until the jump to 2:, so symbols have the kernel's base taken off.
global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .p2align 2
    .long 2f - 1f, 4f - 3f, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
1:  .asciz "Xen"
2:  .p2align 2
3:  .quad pvh_start_xen - {base}
4:  .p2align 2

    .section .head.text, "ax", @progbits
    .code32
    .global pvh_start_xen
    .type pvh_start_xen, @function
pvh_start_xen:
    cli
    cld
    movl %ebx, %esi
    rdtsc
    movl %eax, %ebp                     /* edx:ebp = TSC, kept over the clearing of .bss */
    movl $(__bss_start - {base}), %edi
    movl $(__bss_stop - {base}), %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl
    movl $({stack} + {stack_size} - {base}), %esp
    pushl %edx
    pushl %ebp

    movl $0x80000000, %eax              /* long mode? */
    cpuid
    cmpl $0x80000001, %eax
    jb 8f
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc 8f
    movl %edx, %ebp                     /* bit 20 = NX */

    movl $({pd} - {base}), %edi         /* 2048 entries of 2 MiB: present, writable, large */
    movl $0x83, %eax
    movl $2048, %ecx
5:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 5b
    movl $({pd} - {base} + 0x0003), {pdpt} - {base}
    movl $({pd} - {base} + 0x1003), {pdpt} - {base} + 8
    movl $({pd} - {base} + 0x2003), {pdpt} - {base} + 16
    movl $({pd} - {base} + 0x3003), {pdpt} - {base} + 24
    movl $({pd} - {base} + 0x0003), {pdpt_kernel} - {base} + 8 * 510
    movl $({pdpt} - {base} + 3), {pml4} - {base}
    movl $({pdpt} - {base} + 3), {pml4} - {base} + 8 * {direct_slot}
    movl $({pdpt_kernel} - {base} + 3), {pml4} - {base} + 8 * 511

    movl $0x20, %eax                    /* CR4.PAE */
    movl %eax, %cr4
    movl $({pml4} - {base}), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              /* EFER.LME, and NXE where the CPU has it */
    rdmsr
    orl $0x100, %eax
    btl $20, %ebp
    jnc 6f
    orl $0x800, %eax
6:  wrmsr
    movl $0x80010033, %eax              /* PG WP NE ET MP PE */
    movl %eax, %cr0

    lgdtl early_gdt_low - {base}
    popl %eax                           /* TSC, low and high half */
    popl %edx
    pushl $0x10
    pushl $(7f - {base})
    lretl

    .code64
7:  movl %eax, %eax
    shlq $32, %rdx
    orq %rax, %rdx
    movl %esi, %edi                     /* first argument: the start information */
    movq %rdx, %rsi                     /* second: the TSC */
    movq $9f, %rax
    jmp *%rax

    .code32
8:  movl $(10f - {base}), %esi          /* no long mode: say so on the first serial port */
    movw $0x3f8, %dx
11: lodsb
    testb %al, %al
    jz 12f
    outb %al, %dx
    jmp 11b
12: hlt
    jmp 12b
10: .asciz "This kernel requires an x86-64 CPU, but only detected an i686 CPU.\r\n"

    .code64
9:  lgdt early_gdt_ptr
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $0x18, %eax
    movl %eax, %ss
    leaq {stack} + {stack_size}(%rip), %rsp
    xorl %ebp, %ebp
    call {start}
    ud2
    .size pvh_start_xen, . - pvh_start_xen
    "#,
    base = const START_KERNEL_MAP as i64, // signed: the assembler reads no 64-bit unsigned numbers
    stack = sym head64::INIT_STACK,
    stack_size = const size_of::<head64::InitStack>(),
    pml4 = sym EARLY_PML4,
    pdpt = sym EARLY_PDPT,
    pdpt_kernel = sym EARLY_PDPT_KERNEL,
    pd = sym EARLY_PD,
    direct_slot = const (crate::arch::x86::asm::page::PAGE_OFFSET >> 39) & 511,
    start = sym pvh_start_kernel,
    options(att_syntax)
);

/// `struct hvm_start_info` of the PVH boot protocol.
#[repr(C)]
#[derive(Clone, Copy)]
struct HvmStartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    nr_modules: u32,
    modlist_paddr: u64,
    cmdline_paddr: u64,
    rsdp_paddr: u64,
    // From version 1 on:
    memmap_paddr: u64,
    memmap_entries: u32,
    _reserved: u32,
}

/// One module; the first is the initramfs.
#[repr(C)]
#[derive(Clone, Copy)]
struct HvmModlistEntry {
    paddr: u64,
    size: u64,
    cmdline_paddr: u64,
    _reserved: u64,
}

/// One piece of the memory map, with the types of E820.
#[repr(C)]
#[derive(Clone, Copy)]
struct HvmMemmapEntry {
    addr: u64,
    size: u64,
    kind: u32,
    _reserved: u32,
}

const XEN_HVM_START_MAGIC_VALUE: u32 = 0x336e_c578;

/// Reads a structure that the loader left at a physical address; `None` outside the 4 GiB that
/// the first page tables map.
fn read_phys<T: Copy>(addr: u64) -> Option<T> {
    if addr == 0 || addr >= (1 << 32) - size_of::<T>() as u64 {
        return None;
    }
    let source = phys_to_virt(PhysAddr::new(addr)).as_usize() as *const T;
    // SAFETY: mapped (checked above); the structures are plain numbers, so any bytes are valid.
    Some(unsafe { source.read_unaligned() })
}

/// Translates the start information and goes the common way.
///
/// On entry: long mode on the first page tables, initial stack, interrupts off, no IDT.
extern "C" fn pvh_start_kernel(start_info: u64, entry_tsc: u64) -> ! {
    head64::early_cpu_setup();
    let mut params = BootParams::new(Loader::Pvh, entry_tsc);
    let mut map = head64::raw_memory_map();
    match read_phys::<HvmStartInfo>(start_info) {
        Some(info) if info.magic == XEN_HVM_START_MAGIC_VALUE => {
            translate(&info, &mut params, &mut map);
        }
        _ => params.complaint = Some("PVH start information has a wrong magic number"),
    }
    drop(map);
    head64::leave_for_start_kernel(params)
}

fn translate(info: &HvmStartInfo, params: &mut BootParams, map: &mut E820Table) {
    params.rsdp = (info.rsdp_paddr != 0).then_some(PhysAddr::new(info.rsdp_paddr));
    copy_command_line(info.cmdline_paddr, params);
    if info.nr_modules > 0
        && let Some(module) = read_phys::<HvmModlistEntry>(info.modlist_paddr)
    {
        params.initrd = PhysRange::new(module.paddr, module.size);
    }
    let entries = if info.version >= 1 {
        info.memmap_entries
    } else {
        0
    };
    for index in 0..u64::from(entries) {
        let at = info.memmap_paddr + index * size_of::<HvmMemmapEntry>() as u64;
        if let Some(entry) = read_phys::<HvmMemmapEntry>(at) {
            map.add(entry.addr, entry.size, E820Kind::from_raw(entry.kind));
        }
    }
}

fn copy_command_line(addr: u64, params: &mut BootParams) {
    for index in 0.. {
        match read_phys::<u8>(addr.wrapping_add(index)) {
            Some(byte) if byte != 0 && params.command_line.push(byte) => {}
            _ => break,
        }
    }
}
