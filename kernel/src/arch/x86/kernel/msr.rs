//! Model specific registers (Linux: asm/msr.h, asm/msr-index.h).

use core::arch::asm;

use crate::ex_table;

/// Local APIC base and mode.
pub const APIC_BASE: u32 = 0x1b;
/// Deadline of the local APIC timer, in TSC ticks.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// First x2APIC register.
pub const X2APIC_FIRST: u32 = 0x800;
/// Extended features.
pub const EFER: u32 = 0xc000_0080;
/// Selectors of SYSCALL and SYSRET.
pub const STAR: u32 = 0xc000_0081;
/// 64-bit SYSCALL target.
pub const LSTAR: u32 = 0xc000_0082;
/// Compatibility mode SYSCALL target.
pub const CSTAR: u32 = 0xc000_0083;
/// Flags that SYSCALL clears.
pub const SFMASK: u32 = 0xc000_0084;
/// FS base.
pub const FS_BASE: u32 = 0xc000_0100;
/// GS base.
pub const GS_BASE: u32 = 0xc000_0101;
/// GS base after the next SWAPGS.
pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// SYSENTER selector; 0 switches it off.
pub const SYSENTER_CS: u32 = 0x174;
/// Machine check capabilities.
pub const MCG_CAP: u32 = 0x179;
/// Machine check status.
pub const MCG_STATUS: u32 = 0x17a;
/// First bank's control register; four registers a bank.
pub const MC0_CTL: u32 = 0x400;

/// Reads a register that the CPU has.
#[inline]
pub fn read(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: ring 0; reading has no effect on memory.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a register that the CPU has.
///
/// # Safety
/// The value must be right for the machine; some registers move memory or entry points.
#[inline]
pub unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Reads a register that the CPU may not have (Linux: `rdmsrl_safe`).
pub fn read_safe(register: u32) -> Option<u64> {
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
            in("ecx") register, out("eax") low, out("edx") high,
            options(nomem, nostack),
        );
    }
    (failed == 0).then_some(u64::from(high) << 32 | u64::from(low))
}
