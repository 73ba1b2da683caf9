//! A write to kernel memory that is expected to fault (Linux: mm/maccess.c,
//! `copy_to_kernel_nofault`).

use core::arch::asm;

use crate::mm::VirtAddr;

/// Tries to write one byte; whether the memory took it. Any context after `trap_init`.
///
/// # Safety
/// Nothing may rely on the byte, should the write succeed.
pub unsafe fn probe_kernel_write(addr: VirtAddr, byte: u8) -> bool {
    let failed: u32;
    // SAFETY: a fault is caught by the exception table and skips the last instruction; the
    // caller answers for the byte.
    unsafe {
        asm!(
            "2: mov byte ptr [{addr}], {byte}",
            "xor {failed:e}, {failed:e}",
            "3:",
            ".pushsection __ex_table, \"a\", @progbits",
            ".balign 4",
            ".long 2b - .",
            ".long 3b - .",
            ".long 1",
            ".popsection",
            addr = in(reg) addr.as_u64(),
            byte = in(reg_byte) byte,
            failed = inout(reg) 1u32 => failed,
            options(nostack),
        );
    }
    failed == 0
}
