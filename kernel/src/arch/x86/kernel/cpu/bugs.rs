//! Checks of the boot CPU once interrupts and timers work (Linux: arch/x86/kernel/cpu/bugs.c,
//! common.c `arch_cpu_finalize_init`; 2.4: `check_bugs`).

use core::arch::asm;
use core::arch::x86_64::__cpuid;

use super::bug_bits::{AmdExt2, ArchCap, Bug, BugSet, Claims, bug_bits};
use super::{CpuInfo, Feature, boot_cpu, boot_cpu_has};
use crate::arch::x86::asm::irqflags::{local_irq_restore, local_irq_save};
use crate::arch::x86::asm::msr::{
    DE_CFG_LFENCE_SERIALIZE, MSR_AMD64_DE_CFG, MSR_FS_BASE, MSR_IA32_ARCH_CAPABILITIES, rdmsr,
    rdmsr_safe, wrmsr, wrmsr_safe,
};
use crate::prelude::*;

/// What the boot CPU suffers from.
static BUGS: spin::Once<BugSet> = spin::Once::new();

/// The bugs of the boot CPU; none before [`check_bugs`] (Linux: `boot_cpu_has_bug`).
pub fn boot_cpu_bugs() -> BugSet {
    BUGS.get().copied().unwrap_or_default()
}

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
    let cpu = boot_cpu();
    if matches!(cpu.vendor_id(), "AuthenticAMD" | "HygonGenuine") {
        make_lfence_serialize();
    }
    let bugs = *BUGS.call_once(|| bug_bits(cpu, &claims(cpu)));
    print_mitigations(cpu, bugs);
}

/// Lets LFENCE stop execution on a guess (Linux: amd.c, `init_amd`). A CPU without the register
/// does it anyway.
fn make_lfence_serialize() {
    if let Some(config) = rdmsr_safe(MSR_AMD64_DE_CFG) {
        // SAFETY: the bit only makes LFENCE stronger; a hypervisor may refuse the change.
        let _ = unsafe { wrmsr_safe(MSR_AMD64_DE_CFG, config | DE_CFG_LFENCE_SERIALIZE) };
    }
}

/// Asks the CPU what it says of its own bugs.
fn claims(cpu: &CpuInfo) -> Claims {
    let arch_cap = if cpu.has(Feature::ARCH_CAPABILITIES) {
        rdmsr_safe(MSR_IA32_ARCH_CAPABILITIES).unwrap_or(0)
    } else {
        0
    };
    let amd = if __cpuid(0x8000_0000).eax >= 0x8000_0021 {
        __cpuid(0x8000_0021).eax
    } else {
        0
    };
    Claims {
        arch_cap: ArchCap::from_bits_truncate(arch_cap),
        amd: AmdExt2::from_bits_truncate(amd),
        null_selector_clears_base: null_selector_clears_base(),
    }
}

/// Whether loading a null selector clears the base (Linux: common.c, `detect_null_seg_behavior`).
fn null_selector_clears_base() -> bool {
    let flags = local_irq_save();
    // SAFETY: the register exists in long mode, and the kernel itself does not use FS.
    let old = unsafe { rdmsr(MSR_FS_BASE) };
    // SAFETY: as above; interrupts are off, so that nobody saves the value.
    unsafe { wrmsr(MSR_FS_BASE, 1) };
    // SAFETY: a null selector can always be loaded.
    unsafe { asm!("mov fs, {0:e}", in(reg) 0, options(nomem, nostack, preserves_flags)) };
    // SAFETY: as above.
    let now = unsafe { rdmsr(MSR_FS_BASE) };
    // SAFETY: what was there.
    unsafe { wrmsr(MSR_FS_BASE, old) };
    local_irq_restore(flags);
    now == 0
}

/// One line for each bug that Linux has a line for (Linux: `cpu_select_mitigations`, `pti_init`).
/// The barriers against Spectre V1 are in the entry code, in the user copies and where a program
/// chooses an index; against the others there is nothing.
fn print_mitigations(cpu: &CpuInfo, bugs: BugSet) {
    const VULNERABLE: &str = "Vulnerable";
    // A hypervisor's CPU does not show whether its microcode has the cure.
    let by_microcode = if cpu.has(Feature::HYPERVISOR) {
        "Unknown: Dependent on hypervisor status"
    } else {
        VULNERABLE
    };
    let barriers = "Mitigation: usercopy/swapgs barriers and __user pointer sanitization";
    let lines = [
        (Bug::SPECTRE_V1, "Spectre V1 ", barriers),
        (Bug::SPECTRE_V2, "Spectre V2 ", VULNERABLE),
        (Bug::RETBLEED, "RETBleed", VULNERABLE),
        (
            Bug::SPEC_STORE_BYPASS,
            "Speculative Store Bypass",
            VULNERABLE,
        ),
        (Bug::L1TF, "L1TF", VULNERABLE),
        (Bug::MDS, "MDS", VULNERABLE),
        (Bug::TAA, "TAA", VULNERABLE),
        (Bug::MMIO_STALE_DATA, "MMIO Stale Data", VULNERABLE),
        (
            Bug::MMIO_UNKNOWN,
            "MMIO Stale Data",
            "Unknown: No mitigations",
        ),
        (Bug::SRBDS, "SRBDS", by_microcode),
        (Bug::SRSO, "Speculative Return Stack Overflow", VULNERABLE),
        (Bug::GDS, "GDS", by_microcode),
        (
            Bug::CPU_MELTDOWN,
            "Kernel/User page tables isolation",
            "disabled",
        ),
    ];
    for (_, name, state) in lines.iter().filter(|(bug, ..)| bugs.has(*bug)) {
        pr_info!("{name}: {state}");
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
