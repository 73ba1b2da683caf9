//! Model-specific registers (Linux: asm/msr.h, asm/msr-index.h).

use core::arch::asm;

/// Base and mode of the local APIC.
pub const MSR_IA32_APICBASE: u32 = 0x1b;
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
