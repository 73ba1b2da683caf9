//! Control registers (Linux: asm/special_insns.h, uapi/asm/processor-flags.h).

use core::arch::asm;

bitflags::bitflags! {
    /// Bits of CR0.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Cr0: u64 {
        /// Protected mode.
        const PE = 1;
        /// WAIT obeys TS.
        const MP = 1 << 1;
        /// No FPU.
        const EM = 1 << 2;
        /// The task was switched: the next FPU instruction traps.
        const TS = 1 << 3;
        /// Always one.
        const ET = 1 << 4;
        /// FPU errors are exception 16.
        const NE = 1 << 5;
        /// The kernel obeys read-only pages.
        const WP = 1 << 16;
        /// User programs may ask for alignment checks.
        const AM = 1 << 18;
        /// Not write-through.
        const NW = 1 << 29;
        /// Caches off.
        const CD = 1 << 30;
        /// Paging.
        const PG = 1 << 31;
    }
    /// Bits of CR4.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Cr4: u64 {
        /// RDTSC is for the kernel only.
        const TSD = 1 << 2;
        /// Debug extensions.
        const DE = 1 << 3;
        /// 4 MiB pages outside PAE.
        const PSE = 1 << 4;
        /// Long page table entries.
        const PAE = 1 << 5;
        /// Machine check exceptions.
        const MCE = 1 << 6;
        /// Global pages.
        const PGE = 1 << 7;
        /// FXSAVE and SSE are supported by the kernel.
        const OSFXSR = 1 << 9;
        /// SSE errors are exception 19.
        const OSXMMEXCPT = 1 << 10;
        /// SGDT, SIDT, SLDT, SMSW, STR are for the kernel only.
        const UMIP = 1 << 11;
        /// Five-level page tables.
        const LA57 = 1 << 12;
        /// RDFSBASE and WRFSBASE in user programs.
        const FSGSBASE = 1 << 16;
        /// Address space numbers.
        const PCIDE = 1 << 17;
        /// XSAVE is supported by the kernel.
        const OSXSAVE = 1 << 18;
        /// The kernel cannot execute user pages.
        const SMEP = 1 << 20;
        /// The kernel cannot touch user pages unless AC is set.
        const SMAP = 1 << 21;
    }
}

macro_rules! control_register {
    ($name:literal, $read:ident, $write:ident) => {
        #[doc = concat!("Reads ", $name, ".")]
        #[inline]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading has no side effect in ring 0.
            unsafe {
                asm!(concat!("mov {}, ", $name), out(reg) value,
                    options(nomem, nostack, preserves_flags));
            }
            value
        }
        #[doc = concat!("Writes ", $name, ".")]
        ///
        /// # Safety
        /// The value must be valid and keep every running code's assumptions true.
        #[inline]
        pub unsafe fn $write(value: u64) {
            // SAFETY: the caller answers for the effect; a compiler barrier (no `nomem`).
            unsafe {
                asm!(concat!("mov ", $name, ", {}"), in(reg) value,
                    options(nostack, preserves_flags));
            }
        }
    };
}
control_register!("cr0", read_cr0, write_cr0);
control_register!("cr2", read_cr2, write_cr2);
control_register!("cr3", read_cr3, write_cr3);
control_register!("cr4", read_cr4, write_cr4);

/// Reads an extended control register (XCR0 is number 0).
///
/// # Safety
/// CR4.OSXSAVE must be on and the register exist.
#[inline]
pub unsafe fn xgetbv(index: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the register exists (caller).
    unsafe {
        asm!("xgetbv", in("ecx") index, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes an extended control register.
///
/// # Safety
/// CR4.OSXSAVE must be on and the value be one that CPUID leaf 0xd allows.
#[inline]
pub unsafe fn xsetbv(index: u32, value: u64) {
    // SAFETY: the value is allowed (caller).
    unsafe {
        asm!("xsetbv", in("ecx") index, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Drops this CPU's translation of one page, global or not.
#[inline]
pub fn invlpg(addr: u64) {
    // SAFETY: an invalidation only costs a walk.
    unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) };
}

/// Writes back and drops this CPU's caches.
#[inline]
pub fn wbinvd() {
    // SAFETY: only costs time.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}
