//! An `/init` for `cargo run -- bench`: its very first instruction reads the time stamp counter, which under QEMU's
//! `-icount` counts guest instructions. It prints the number and powers the machine off.
//!
//! No libc and no runtime: what those do before `main` would be counted as the kernel's.

#![no_main]

use std::arch::global_asm;

// In:      a fresh process, descriptor 1 is the console.
// Out:     does not return.
// Uses:    rax, rcx, rdx, rsi, rdi, r10, r11; the buffer below.
#[expect(unsafe_code, reason = "the entry point of a program without a runtime")]
mod entry {
    use super::global_asm;

    global_asm!(
        r#"
        .section .rodata.bench, "a"
    text:
        .ascii "bench: init tsc="
    text_end:
        .section .data.bench, "aw"
    digits:
        .fill 20, 1, '0'
    digits_end:
        .byte '\n'
    line_end:
        .text
        .globl _start
    _start:
        rdtsc
        shl rdx, 32
        or rax, rdx
        lea rsi, [rip + digits_end]
        mov ecx, 10
    2:  xor edx, edx                    // rax = counter / 10, the last digit in front of the others
        div rcx
        add edx, '0'
        dec rsi
        mov [rsi], dl
        test rax, rax
        jnz 2b
        push rsi
        mov eax, 1                      // write(1, text)
        mov edi, 1
        lea rsi, [rip + text]
        lea rdx, [rip + text_end]
        sub rdx, rsi
        syscall
        pop rsi
        mov eax, 1                      // write(1, digits and the line feed)
        mov edi, 1
        lea rdx, [rip + line_end]
        sub rdx, rsi
        syscall
        mov eax, 169                    // reboot(LINUX_REBOOT_CMD_POWER_OFF)
        mov edi, 0xfee1dead
        mov esi, 672274793
        mov edx, 0x4321fedc
        syscall
    3:  pause
        jmp 3b
        "#
    );
}
