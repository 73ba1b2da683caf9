//! Entropy from the CPU (Linux: asm/archrandom.h).

use core::arch::asm;

use super::cpu::{Feature, boot_cpu_has};

/// How often to ask: the unit may be drained for a moment (Linux: `RDRAND_RETRY_LOOPS`).
const RDRAND_RETRY_LOOPS: u32 = 10;

/// A number from RDRAND, when the CPU has it. Any context.
pub fn arch_get_random() -> Option<u64> {
    if !boot_cpu_has(Feature::RDRAND) {
        return None;
    }
    (0..RDRAND_RETRY_LOOPS).find_map(|_| rdrand())
}

fn rdrand() -> Option<u64> {
    let (value, good): (u64, u8);
    // SAFETY: the CPU has the instruction (checked by the caller); registers only.
    unsafe {
        asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good,
            options(nomem, nostack));
    }
    // Some CPUs "succeed" with all ones after a sleep.
    (good != 0 && value != u64::MAX).then_some(value)
}
