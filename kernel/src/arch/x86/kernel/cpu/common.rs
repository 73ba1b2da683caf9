//! Identification and the control bits (Linux: arch/x86/kernel/cpu/common.c).

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::capflags::{Feature, NCAPINTS};
use crate::arch::x86::asm::cr::{Cr0, Cr4, read_cr4, write_cr0, write_cr4};
use crate::arch::x86::asm::msr::{EFER_NX, MSR_EFER, rdmsr, wrmsr};
use crate::prelude::*;

/// One CPU as CPUID tells it (Linux: `struct cpuinfo_x86`).
#[derive(Clone, Debug)]
pub struct CpuInfo {
    /// Vendor, as `GenuineIntel`.
    pub vendor: [u8; 12],
    /// Family, extended part included.
    pub family: u32,
    /// Model, extended part included.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Marketing name, NUL padded.
    pub model_id: [u8; 48],
    /// Highest basic CPUID leaf.
    pub cpuid_level: u32,
    /// Feature words.
    pub capability: [u32; NCAPINTS],
    /// APIC number at reset.
    pub initial_apicid: u32,
    /// Bytes that CLFLUSH flushes.
    pub clflush_size: u32,
    /// Size of the last cache, in KiB.
    pub cache_size: u32,
    /// Width of a physical address.
    pub phys_bits: u32,
    /// Width of a linear address.
    pub virt_bits: u32,
}

static BOOT_CPU: spin::Once<CpuInfo> = spin::Once::new();
/// Features of the boot CPU that the kernel uses and shows.
static CAPABILITY: [AtomicU32; NCAPINTS] = [const { AtomicU32::new(0) }; NCAPINTS];
static CPU_KHZ: AtomicU32 = AtomicU32::new(0);
static LOOPS_PER_JIFFY: AtomicU64 = AtomicU64::new(0);

/// The boot CPU (Linux: `boot_cpu_data`).
pub fn boot_cpu() -> &'static CpuInfo {
    BOOT_CPU.get().expect("setup_arch identifies the CPU first")
}

/// Whether the boot CPU has a feature and the kernel lets it be used (Linux: `boot_cpu_has`).
/// Nothing is there before `setup_arch`.
#[inline]
pub fn boot_cpu_has(feature: Feature) -> bool {
    CAPABILITY[feature.word()].load(Ordering::Relaxed) & feature.mask() != 0
}

/// Tells the CPU's rate for /proc/cpuinfo.
pub fn set_cpu_khz(khz: u32) {
    CPU_KHZ.store(khz, Ordering::Relaxed);
}
/// The CPU's rate in kHz, 0 while unknown.
pub fn cpu_khz() -> u32 {
    CPU_KHZ.load(Ordering::Relaxed)
}
/// Tells the result of `calibrate_delay` for /proc/cpuinfo.
pub fn set_loops_per_jiffy(loops: u64) {
    LOOPS_PER_JIFFY.store(loops, Ordering::Relaxed);
}
/// See [`set_loops_per_jiffy`].
pub fn loops_per_jiffy() -> u64 {
    LOOPS_PER_JIFFY.load(Ordering::Relaxed)
}

/// Identifies the boot CPU and sets its control bits (Linux: `early_cpu_init`,
/// `identify_boot_cpu`). Panics when the CPU lacks what the kernel cannot do without.
#[__init]
pub fn early_cpu_init() {
    let cpu = identify();
    for (shared, &word) in CAPABILITY.iter().zip(&cpu.capability) {
        shared.store(word, Ordering::Relaxed);
    }
    BOOT_CPU.call_once(|| cpu);
    let needed = [
        (Feature::LM, "long mode"),
        (Feature::XMM2, "SSE2"),
        (Feature::FXSR, "FXSAVE"),
        (Feature::SYSCALL, "SYSCALL"),
        (Feature::NX, "NX"),
    ];
    for (feature, name) in needed {
        assert!(boot_cpu_has(feature), "the CPU has no {name}");
    }
    cpu_init_features();
}

fn cpuid(leaf: u32) -> core::arch::x86_64::CpuidResult {
    __cpuid(leaf)
}

fn identify() -> CpuInfo {
    let basic = cpuid(0);
    let version = cpuid(1);
    let extended_level = cpuid(0x8000_0000).eax;
    let mut cpu = CpuInfo {
        vendor: [0; 12],
        family: version.eax >> 8 & 15,
        model: version.eax >> 4 & 15,
        stepping: version.eax & 15,
        model_id: model_id(extended_level),
        cpuid_level: basic.eax,
        capability: capability(basic.eax, extended_level),
        initial_apicid: version.ebx >> 24,
        clflush_size: (version.ebx >> 8 & 0xff) * 8,
        cache_size: cache_size(basic.eax, extended_level),
        phys_bits: 36,
        virt_bits: 48,
    };
    for (bytes, word) in cpu
        .vendor
        .chunks_exact_mut(4)
        .zip([basic.ebx, basic.edx, basic.ecx])
    {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    if cpu.family >= 6 {
        cpu.model += (version.eax >> 16 & 15) << 4;
    }
    if cpu.family == 15 {
        cpu.family += version.eax >> 20 & 0xff;
    }
    if extended_level >= 0x8000_0008 {
        let sizes = cpuid(0x8000_0008).eax;
        cpu.phys_bits = sizes & 0xff;
        cpu.virt_bits = sizes >> 8 & 0xff;
    }
    cpu
}

fn model_id(extended_level: u32) -> [u8; 48] {
    let mut text = [0; 48];
    if extended_level >= 0x8000_0004 {
        for (leaf, part) in (0x8000_0002..).zip(text.chunks_exact_mut(16)) {
            let regs = cpuid(leaf);
            for (bytes, word) in part
                .chunks_exact_mut(4)
                .zip([regs.eax, regs.ebx, regs.ecx, regs.edx])
            {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    text
}

/// Feature words from CPUID, with what the kernel does not switch on taken out.
fn capability(level: u32, extended_level: u32) -> [u32; NCAPINTS] {
    let mut words = [0; NCAPINTS];
    let version = cpuid(1);
    words[0] = version.edx;
    words[4] = version.ecx;
    if level >= 6 {
        words[14] = cpuid(6).eax;
    }
    if level >= 7 {
        let leaf = __cpuid_count(7, 0);
        (words[9], words[16], words[18]) = (leaf.ebx, leaf.ecx, leaf.edx);
        if leaf.eax >= 1 {
            words[12] = __cpuid_count(7, 1).eax;
        }
    }
    if level >= 0xd {
        words[10] = __cpuid_count(0xd, 1).eax;
    }
    if extended_level >= 0x8000_0001 {
        let leaf = cpuid(0x8000_0001);
        (words[1], words[6]) = (leaf.edx, leaf.ecx);
    }
    if extended_level >= 0x8000_0008 {
        words[13] = cpuid(0x8000_0008).ebx;
    }
    let invariant_tsc = extended_level >= 0x8000_0007 && cpuid(0x8000_0007).edx & 1 << 8 != 0;
    let mut set = |feature: Feature, on: bool| {
        words[feature.word()] &= !feature.mask();
        if on {
            words[feature.word()] |= feature.mask();
        }
    };
    set(Feature::CONSTANT_TSC, invariant_tsc);
    set(Feature::NONSTOP_TSC, invariant_tsc);
    set(Feature::REP_GOOD, true);
    set(Feature::NOPL, true);
    set(Feature::CPUID, true);
    for unused in [
        Feature::FSGSBASE,
        Feature::PKU,
        Feature::OSPKE,
        Feature::LA57,
        Feature::PCID,
    ] {
        set(unused, false);
    }
    words
}

/// Size of the last cache level in KiB, by Intel's leaf or AMD's.
fn cache_size(level: u32, extended_level: u32) -> u32 {
    if level >= 4 {
        let last = (0..8)
            .map(|index| __cpuid_count(4, index))
            .take_while(|leaf| leaf.eax & 31 != 0)
            .last();
        if let Some(leaf) = last {
            let field = |shift: u32, mask: u32| u64::from(leaf.ebx >> shift & mask) + 1;
            let bytes = field(22, 0x3ff) * field(12, 0x3ff) * field(0, 0xfff);
            return (bytes * (u64::from(leaf.ecx) + 1) / 1024) as u32;
        }
    }
    if extended_level >= 0x8000_0006 {
        return cpuid(0x8000_0006).ecx >> 16;
    }
    0
}

/// Sets the control bits of this CPU. The other CPUs call it as they start (Linux: `cpu_init`,
/// `identify_secondary_cpu`). The FPU's bits and machine checks have their own files.
pub fn cpu_init_features() {
    if boot_cpu_has(Feature::NX) {
        // SAFETY: the CPU has the bit; tables that use it are only loaded afterwards.
        unsafe { wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX) };
    }
    let cr0 = Cr0::PE | Cr0::MP | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::AM | Cr0::PG;
    // SAFETY: paging and protection stay on; WP makes the kernel obey read-only pages; caches on.
    unsafe { write_cr0(cr0.bits()) };
    let wanted = [
        (Feature::PGE, Cr4::PGE),
        (Feature::SMEP, Cr4::SMEP),
        (Feature::SMAP, Cr4::SMAP),
        (Feature::UMIP, Cr4::UMIP),
    ];
    let off = Cr4::TSD | Cr4::FSGSBASE | Cr4::PCIDE | Cr4::DE;
    let mut cr4 = Cr4::from_bits_retain(read_cr4()).difference(off);
    for (feature, bit) in wanted {
        if boot_cpu_has(feature) {
            cr4 |= bit;
        }
    }
    // SAFETY: each bit belongs to a feature that the CPU has, and the kernel has no user mappings
    // of its own that SMEP or SMAP could catch.
    unsafe { write_cr4(cr4.bits()) };
    if boot_cpu_has(Feature::SMAP) {
        // SAFETY: the CPU has the instruction; user access is allowed only inside user copies.
        unsafe { asm!("clac", options(nomem, nostack)) };
    }
}

impl CpuInfo {
    /// Whether CPUID has announced a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.capability[feature.word()] & feature.mask() != 0
    }
    /// Vendor as text.
    pub fn vendor_id(&self) -> &str {
        core::str::from_utf8(&self.vendor).unwrap_or("unknown")
    }
    /// Marketing name as text.
    pub fn model_name(&self) -> &str {
        let len = self.model_id.iter().position(|&b| b == 0).unwrap_or(48);
        core::str::from_utf8(&self.model_id[..len])
            .map(str::trim)
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or("unknown")
    }
}

/// Says which CPU this is (Linux: `print_cpu_info`; smpboot puts `CPU0: ` in front).
pub fn print_cpu_info(prefix: &str) {
    let cpu = boot_cpu();
    pr_info!(
        "{prefix}{} (family: {:#x}, model: {:#x}, stepping: {:#x})",
        cpu.model_name(),
        cpu.family,
        cpu.model,
        cpu.stepping
    );
}
