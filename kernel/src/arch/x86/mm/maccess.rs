//! Reads of kernel memory that may not be there (Linux: mm/maccess.c).

use core::arch::asm;

use crate::arch::x86::asm::page::TASK_SIZE;
use crate::ex_table;

/// Reads one byte; `None` if the address is not mapped.
fn read_byte(addr: u64) -> Option<u8> {
    let value: u32;
    // SAFETY: a fault is caught by the exception table; nothing is written.
    unsafe {
        asm!(
            "2: movzx {value:e}, byte ptr [{addr}]",
            "3:",
            ex_table!("2b", "3b"),
            addr = in(reg) addr,
            value = inout(reg) 0x100u32 => value,
            options(nostack, preserves_flags, readonly),
        );
    }
    u8::try_from(value).ok()
}

/// Copies kernel memory at `src`; false if any of it is not mapped or is not kernel memory
/// (Linux: `copy_from_kernel_nofault`). Any context.
pub fn copy_from_kernel_nofault(dst: &mut [u8], src: u64) -> bool {
    if src < TASK_SIZE || (src >> 47) != 0x1_ffff {
        return false;
    }
    dst.iter_mut()
        .zip(src..)
        .all(|(slot, addr)| read_byte(addr).map(|byte| *slot = byte).is_some())
}
