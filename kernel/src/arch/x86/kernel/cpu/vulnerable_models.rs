//! Which models are known to be safe from a bug, and which to be hit by one
//! (Linux 6.8: kernel/cpu/common.c, `cpu_vuln_whitelist` and `cpu_vuln_blacklist`).
#![forbid(unsafe_code)]

use bitflags::bitflags;

use super::common::CpuInfo;

bitflags! {
    /// What a model is safe from (Linux: `NO_*`).
    #[derive(Clone, Copy)]
    pub struct SafeFrom: u16 {
        const SPECULATION = 1 << 0;
        const MELTDOWN = 1 << 1;
        const SSB = 1 << 2;
        const L1TF = 1 << 3;
        const MDS = 1 << 4;
        /// Of the MDS bugs, only the one of the store buffer is there.
        const ALL_MDS_BUT_MSBDS = 1 << 5;
        const SWAPGS = 1 << 6;
        const ITLB_MULTIHIT = 1 << 7;
        const SPECTRE_V2 = 1 << 8;
        const MMIO = 1 << 9;
        const EIBRS_PBRSB = 1 << 10;
    }

    /// What a model is hit by.
    #[derive(Clone, Copy)]
    pub struct HitBy: u8 {
        const SRBDS = 1 << 0;
        const MMIO = 1 << 1;
        const MMIO_SBDS = 1 << 2;
        const RETBLEED = 1 << 3;
        const SMT_RSB = 1 << 4;
        const SRSO = 1 << 5;
        const GDS = 1 << 6;
    }
}

/// A model's entry in the list of the safe ones; nothing for a model that is not on it.
pub fn safe_from(cpu: &CpuInfo) -> SafeFrom {
    match (cpu.vendor_id(), cpu.family) {
        ("GenuineIntel", 6) => intel_safe_from(cpu.model),
        ("AuthenticAMD", family) => amd_safe_from(family),
        ("HygonGenuine", _) => amd_safe_from(0x18),
        ("CentaurHauls" | "  Shanghai  ", 7) => {
            SafeFrom::SPECTRE_V2 | SafeFrom::SWAPGS | SafeFrom::MMIO
        }
        _ => SafeFrom::empty(),
    }
}

fn amd_safe_from(family: u32) -> SafeFrom {
    let all = SafeFrom::MELTDOWN
        | SafeFrom::L1TF
        | SafeFrom::MDS
        | SafeFrom::SWAPGS
        | SafeFrom::ITLB_MULTIHIT
        | SafeFrom::MMIO;
    match family {
        0x0f..=0x12 => all | SafeFrom::SSB,
        _ => all | SafeFrom::EIBRS_PBRSB,
    }
}

fn intel_safe_from(model: u32) -> SafeFrom {
    match model {
        // Tiger Lake, Alder Lake
        0x8c | 0x8d | 0x97 | 0x9a => SafeFrom::MMIO,
        // Atoms that execute in order: Bonnell, Saltwell
        0x1c | 0x26 | 0x27 | 0x35 | 0x36 => SafeFrom::SPECULATION | SafeFrom::ITLB_MULTIHIT,
        // Silvermont, Airmont, Knights Landing, Knights Mill
        0x37 | 0x4a | 0x4c | 0x4d | 0x57 | 0x85 => {
            SafeFrom::SSB
                | SafeFrom::L1TF
                | SafeFrom::ALL_MDS_BUT_MSBDS
                | SafeFrom::SWAPGS
                | SafeFrom::ITLB_MULTIHIT
        }
        // Yonah
        0x0e => SafeFrom::SSB,
        // Airmont for phones, and for networks
        0x5a => {
            SafeFrom::L1TF
                | SafeFrom::ALL_MDS_BUT_MSBDS
                | SafeFrom::SWAPGS
                | SafeFrom::ITLB_MULTIHIT
        }
        0x75 => SafeFrom::L1TF | SafeFrom::SWAPGS | SafeFrom::ITLB_MULTIHIT,
        // Goldmont, Goldmont D, Goldmont Plus
        0x5c | 0x5f | 0x7a => {
            let plus = SafeFrom::EIBRS_PBRSB;
            SafeFrom::MDS
                | SafeFrom::L1TF
                | SafeFrom::SWAPGS
                | SafeFrom::ITLB_MULTIHIT
                | SafeFrom::MMIO
                | if model == 0x7a {
                    plus
                } else {
                    SafeFrom::empty()
                }
        }
        // Tremont, Tremont L, Tremont D
        0x96 | 0x9c => SafeFrom::EIBRS_PBRSB,
        0x86 => SafeFrom::ITLB_MULTIHIT | SafeFrom::EIBRS_PBRSB,
        _ => SafeFrom::empty(),
    }
}

/// A model's entry in the list of those that are hit; nothing for a model that is not on it.
pub fn hit_by(cpu: &CpuInfo) -> HitBy {
    match (cpu.vendor_id(), cpu.family) {
        ("GenuineIntel", 6) => intel_hit_by(cpu.model, cpu.stepping),
        ("AuthenticAMD", 0x15 | 0x16) => HitBy::RETBLEED,
        ("AuthenticAMD", 0x17) | ("HygonGenuine", 0x18) => {
            HitBy::RETBLEED | HitBy::SMT_RSB | HitBy::SRSO
        }
        ("AuthenticAMD", 0x19) => HitBy::SRSO,
        _ => HitBy::empty(),
    }
}

fn intel_hit_by(model: u32, stepping: u32) -> HitBy {
    match model {
        // Ivy Bridge, Haswell (with L and G), Broadwell (with G)
        0x3a | 0x3c | 0x45 | 0x46 | 0x3d | 0x47 => HitBy::SRBDS,
        // Haswell X, Broadwell D and X
        0x3f | 0x56 | 0x4f => HitBy::MMIO,
        // Skylake X
        0x55 => HitBy::MMIO | HitBy::RETBLEED | HitBy::GDS,
        // Skylake (with L), Kaby Lake (with L)
        0x5e | 0x4e | 0x9e | 0x8e => HitBy::MMIO | HitBy::RETBLEED | HitBy::GDS | HitBy::SRBDS,
        // Cannon Lake L
        0x66 => HitBy::RETBLEED,
        // Ice Lake D and X
        0x6c | 0x6a => HitBy::MMIO | HitBy::GDS,
        // The first Comet Lake L
        0xa6 if stepping == 0 => HitBy::MMIO | HitBy::RETBLEED,
        // Ice Lake L, Comet Lake (with L)
        0x7e | 0xa5 | 0xa6 => HitBy::MMIO | HitBy::MMIO_SBDS | HitBy::RETBLEED | HitBy::GDS,
        // Tiger Lake (with L)
        0x8d | 0x8c => HitBy::GDS,
        // Lakefield
        0x8a => HitBy::MMIO | HitBy::MMIO_SBDS | HitBy::RETBLEED,
        // Rocket Lake
        0xa7 => HitBy::MMIO | HitBy::RETBLEED | HitBy::GDS,
        // Tremont (with L), Tremont D
        0x96 | 0x9c => HitBy::MMIO | HitBy::MMIO_SBDS,
        0x86 => HitBy::MMIO,
        _ => HitBy::empty(),
    }
}
