//! What programs are told about the CPU (Linux: asm/elf.h).

use core::arch::asm;
use core::arch::x86_64::__cpuid;

/// AT_PLATFORM.
pub const ELF_PLATFORM: &str = "x86_64";
const X86_CR4_FSGSBASE: u64 = 1 << 16;
const HWCAP2_FSGSBASE: u64 = 1 << 1;
/// Smallest AT_MINSIGSTKSZ: the constant that old programs were built with.
const MINSIGSTKSZ: u64 = 2048;
/// Signal frame without the extended state: registers, siginfo, return address, alignment.
const FRAME_OVERHEAD: u64 = 640;

/// AT_HWCAP: the feature bits of CPUID leaf 1, EDX.
pub fn elf_hwcap() -> u64 {
    u64::from(__cpuid(1).edx)
}

/// AT_HWCAP2: whether user mode may use RDFSBASE and its like.
pub fn elf_hwcap2() -> u64 {
    let cr4: u64;
    // SAFETY: ring 0; reading CR4 changes nothing.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    if cr4 & X86_CR4_FSGSBASE != 0 {
        HWCAP2_FSGSBASE
    } else {
        0
    }
}

/// AT_MINSIGSTKSZ: room that a signal frame needs, in bytes.
pub fn elf_minsigstksz() -> u64 {
    const OSXSAVE: u32 = 1 << 27;
    let area = if __cpuid(1).ecx & OSXSAVE != 0 {
        u64::from(core::arch::x86_64::__cpuid_count(13, 0).ebx)
    } else {
        512
    };
    (area + FRAME_OVERHEAD).max(MINSIGSTKSZ)
}
