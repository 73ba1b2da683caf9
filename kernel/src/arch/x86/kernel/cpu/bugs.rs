//! Checks of the boot CPU once interrupts and timers work (Linux: arch/x86/kernel/cpu/bugs.c,
//! common.c `arch_cpu_finalize_init`; 2.4: `check_bugs`).

use core::arch::asm;

use super::{Feature, boot_cpu_has};
use crate::prelude::*;

/// Looks for what is wrong with the CPU and says which protections it gives. Boot CPU, with the
/// FPU switched on. The control bits themselves were set in `setup_arch`.
#[__init]
pub fn check_bugs() {
    if boot_cpu_has(Feature::UMIP) {
        pr_info!("x86/cpu: User Mode Instruction Prevention (UMIP) activated");
    }
    if !fpu_divides() {
        pr_warn!("Hmm, FPU with FDIV bug.");
    }
}

/// The division that early Pentiums got wrong (Linux: fpu/bugs.c, `fpu__init_check_bugs`):
/// `x - x / y * y` is zero.
fn fpu_divides() -> bool {
    let (x, y) = (4_195_835.0f64, 3_145_727.0f64);
    let mut rest = 1i32;
    // SAFETY: loads two numbers, stores four bytes, and leaves the x87 stack empty as it was;
    // nobody's registers are loaded yet.
    unsafe {
        asm!(
            "fninit",
            "fld qword ptr [{x}]",
            "fdiv qword ptr [{y}]",
            "fmul qword ptr [{y}]",
            "fld qword ptr [{x}]",
            "fsubp st(1), st(0)",
            "fistp dword ptr [{rest}]",
            "fwait",
            "fninit",
            x = in(reg) &x,
            y = in(reg) &y,
            rest = in(reg) &mut rest,
            options(nostack),
        );
    }
    rest == 0
}
