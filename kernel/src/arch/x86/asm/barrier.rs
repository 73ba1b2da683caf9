//! Barriers against execution on a guess (Linux: asm/barrier.h, linux/nospec.h).

use core::arch::asm;

/// Nothing after it executes before all before it is known (Linux: `barrier_nospec`). On AMD this
/// holds once `check_bugs` has made LFENCE serialize.
#[inline(always)]
pub fn barrier_nospec() {
    // SAFETY: the instruction changes nothing that can be seen.
    unsafe { asm!("lfence", options(nostack, preserves_flags)) };
}

/// `index` if it is below `size`, else 0, without a branch that the CPU could guess wrong.
#[inline(always)]
pub fn array_index_nospec(index: usize, size: usize) -> usize {
    let mask: usize;
    // SAFETY: two instructions on registers: the borrow of `index - size`, in every bit.
    unsafe {
        asm!("cmp {index}, {size}", "sbb {mask}, {mask}",
            index = in(reg) index, size = in(reg) size, mask = out(reg) mask,
            options(pure, nomem, nostack));
    }
    index & mask
}
