//! Model-specific registers (Linux: asm/msr.h, asm/msr-index.h).

use core::arch::asm;

use crate::ex_table;

/// Base and mode of the local APIC.
pub const MSR_IA32_APICBASE: u32 = 0x1b;
/// SYSENTER selector; 0 switches the instruction off.
pub const MSR_IA32_SYSENTER_CS: u32 = 0x174;
/// Machine check capabilities: number of banks.
pub const MSR_IA32_MCG_CAP: u32 = 0x179;
/// Machine check status.
pub const MSR_IA32_MCG_STATUS: u32 = 0x17a;
/// Machine check control: all sources on or off.
pub const MSR_IA32_MCG_CTL: u32 = 0x17b;
/// First machine check bank: control, status, address, miscellany.
pub const MSR_IA32_MC0_CTL: u32 = 0x400;
/// Deadline of the local APIC timer, in TSC ticks.
pub const MSR_IA32_TSC_DEADLINE: u32 = 0x6e0;
/// First x2APIC register.
pub const MSR_X2APIC_FIRST: u32 = 0x800;
/// Page attribute table.
pub const MSR_IA32_CR_PAT: u32 = 0x277;
/// Extended features: SYSCALL, long mode, NX.
pub const MSR_EFER: u32 = 0xc000_0080;
/// Selectors of SYSCALL and SYSRET.
pub const MSR_STAR: u32 = 0xc000_0081;
/// Entry of SYSCALL in 64-bit code.
pub const MSR_LSTAR: u32 = 0xc000_0082;
/// Entry of SYSCALL in compatibility mode.
pub const MSR_CSTAR: u32 = 0xc000_0083;
/// Flags that SYSCALL clears.
pub const MSR_SYSCALL_MASK: u32 = 0xc000_0084;
/// Base of FS.
pub const MSR_FS_BASE: u32 = 0xc000_0100;
/// Base of GS.
pub const MSR_GS_BASE: u32 = 0xc000_0101;
/// What SWAPGS exchanges with the base of GS.
pub const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// What the CPU says of its bugs.
pub const MSR_IA32_ARCH_CAPABILITIES: u32 = 0x10a;
/// How instructions are decoded (AMD).
pub const MSR_AMD64_DE_CFG: u32 = 0xc001_1029;

/// LFENCE waits until all before it is done.
pub const DE_CFG_LFENCE_SERIALIZE: u64 = 1 << 1;
/// SYSCALL enabled.
pub const EFER_SCE: u64 = 1;
/// Long mode enabled.
pub const EFER_LME: u64 = 1 << 8;
/// No-execute bit in page tables.
pub const EFER_NX: u64 = 1 << 11;

/// Reads a register.
///
/// # Safety
/// The CPU must have it: another number is a general protection fault.
#[inline]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the register exists (caller).
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a register.
///
/// # Safety
/// The register must exist, the value be valid, and its effect be what all code expects.
#[inline]
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller answers for the effect.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Reads a register that the CPU may not have (Linux: `rdmsrl_safe`).
pub fn rdmsr_safe(msr: u32) -> Option<u64> {
    let (low, high, failed): (u32, u32, u32);
    // SAFETY: a fault is caught by the exception table.
    unsafe {
        asm!(
            "2: rdmsr",
            "jmp 4f",
            "3: mov {failed:e}, 1",
            "4:",
            ex_table!("2b", "3b", "3"),
            failed = inout(reg) 0u32 => failed,
            in("ecx") msr, out("eax") low, out("edx") high,
            options(nomem, nostack),
        );
    }
    (failed == 0).then_some(u64::from(high) << 32 | u64::from(low))
}

/// Writes a register that the CPU may not have; false when it refuses (Linux: `wrmsrl_safe`).
///
/// # Safety
/// The effect must be what all code expects.
pub unsafe fn wrmsr_safe(msr: u32, value: u64) -> bool {
    let failed: u32;
    // SAFETY: the caller answers for the effect; a fault is caught by the exception table.
    unsafe {
        asm!(
            "2: wrmsr",
            "jmp 4f",
            "3: mov {failed:e}, 1",
            "4:",
            ex_table!("2b", "3b"),
            failed = inout(reg) 0u32 => failed,
            in("ecx") msr, inout("eax") value as u32 => _, inout("edx") (value >> 32) as u32 => _,
            options(nostack),
        );
    }
    failed == 0
}
