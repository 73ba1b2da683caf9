//! The page attribute table (Linux: arch/x86/mm/pat/memtype.c).

use crate::arch::x86::asm::cr::wbinvd;
use crate::arch::x86::asm::msr::{MSR_IA32_CR_PAT, wrmsr};
use crate::arch::x86::kernel::cpu::{Feature, boot_cpu_has};
use crate::arch::x86::mm::init_64::flush_tlb_all_local;
use crate::prelude::*;

/// Entries 0 to 7: WB WC UC- UC WB WP UC- WT. Entry 1, which PWT alone chooses, is the one that
/// differs from the state after reset: the loaders' tables do not use it.
const PAT: u64 = 0x0407_0506_0007_0106;

/// Makes write-combining available. Once on every CPU, interrupts off.
pub fn pat_init() {
    if !boot_cpu_has(Feature::PAT) {
        return;
    }
    wbinvd(); // no line may stay cached under a type that its mapping no longer has
    // SAFETY: the CPU has the register, and each type is valid.
    unsafe { wrmsr(MSR_IA32_CR_PAT, PAT) };
    flush_tlb_all_local();
}

/// Tells what [`pat_init`] set.
#[__init]
pub fn pat_report() {
    if boot_cpu_has(Feature::PAT) {
        pr_info!("x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT  ");
    } else {
        pr_info!("x86/PAT: PAT not supported by the CPU.");
    }
}
