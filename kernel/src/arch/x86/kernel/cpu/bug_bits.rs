//! Which bugs a CPU has, from its vendor, family and model and from what it says of itself
//! (Linux 6.8: kernel/cpu/common.c, `cpu_set_bug_bits`; kernel/cpu/amd.c).
#![forbid(unsafe_code)]

use bitflags::bitflags;

use super::common::CpuInfo;
use super::{Feature, vulnerable_models as models};

/// How many words of 32 bugs there are (Linux: `NBUGINTS`).
pub const NBUGINTS: usize = 2;

/// One bug: its number, and its name in /proc/cpuinfo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bug(u8);

macro_rules! bugs {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// Numbers and names as in Linux's asm/cpufeatures.h.
        impl Bug {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Bug = Bug($number);)*
        }
        /// Every bug that is looked for, in the order of /proc/cpuinfo.
        const BUGS: &[(Bug, &str)] = &[$((Bug::$name, $text),)*];
    };
}

bugs! {
    AMD_TLB_MMATCH = 3, "tlb_mmatch";
    FXSAVE_LEAK = 6, "fxsave_leak";
    SYSRET_SS_ATTRS = 8, "sysret_ss_attrs";
    NULL_SEG = 10, "null_seg";
    SWAPGS_FENCE = 11, "swapgs_fence";
    AMD_E400 = 13, "amd_e400";
    CPU_MELTDOWN = 14, "cpu_meltdown";
    SPECTRE_V1 = 15, "spectre_v1";
    SPECTRE_V2 = 16, "spectre_v2";
    SPEC_STORE_BYPASS = 17, "spec_store_bypass";
    L1TF = 18, "l1tf";
    MDS = 19, "mds";
    MSBDS_ONLY = 20, "msbds_only";
    SWAPGS = 21, "swapgs";
    TAA = 22, "taa";
    ITLB_MULTIHIT = 23, "itlb_multihit";
    SRBDS = 24, "srbds";
    MMIO_STALE_DATA = 25, "mmio_stale_data";
    MMIO_UNKNOWN = 26, "mmio_unknown";
    RETBLEED = 27, "retbleed";
    EIBRS_PBRSB = 28, "eibrs_pbrsb";
    SMT_RSB = 29, "smt_rsb";
    GDS = 30, "gds";
    SRSO = 32, "srso";
    DIV0 = 33, "div0";
}

/// A set of bugs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BugSet([u32; NBUGINTS]);

impl BugSet {
    /// Whether `bug` is among them.
    pub fn has(&self, bug: Bug) -> bool {
        self.0[usize::from(bug.0 / 32)] & 1 << (bug.0 % 32) != 0
    }
    /// Their names in the order of /proc/cpuinfo.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        BUGS.iter()
            .filter(|(bug, _)| self.has(*bug))
            .map(|(_, name)| *name)
    }
    fn set(&mut self, bug: Bug, present: bool) {
        if present {
            self.0[usize::from(bug.0 / 32)] |= 1 << (bug.0 % 32);
        }
    }
}

bitflags! {
    /// What a CPU vouches for in MSR_IA32_ARCH_CAPABILITIES.
    #[derive(Clone, Copy)]
    pub struct ArchCap: u64 {
        const RDCL_NO = 1 << 0;
        const IBRS_ALL = 1 << 1;
        const RSBA = 1 << 2;
        const SSB_NO = 1 << 4;
        const MDS_NO = 1 << 5;
        const PSCHANGE_MC_NO = 1 << 6;
        const TSX_CTRL_MSR = 1 << 7;
        const TAA_NO = 1 << 8;
        const SBDR_SSDP_NO = 1 << 13;
        const FBSDP_NO = 1 << 14;
        const PSDP_NO = 1 << 15;
        const PBRSB_NO = 1 << 24;
        const GDS_NO = 1 << 26;
    }

    /// CPUID leaf 0x80000021, EAX.
    #[derive(Clone, Copy)]
    pub struct AmdExt2: u32 {
        const NULL_SEL_CLR_BASE = 1 << 6;
        const AUTOIBRS = 1 << 8;
        const SRSO_NO = 1 << 29;
    }
}

/// What a CPU says of its bugs, beyond its feature words.
#[derive(Clone, Copy)]
pub struct Claims {
    /// Empty when the CPU has no such register.
    pub arch_cap: ArchCap,
    /// Empty when the CPU has no such leaf.
    pub amd: AmdExt2,
    /// Loading a null selector clears the segment's base: found by trying.
    pub null_selector_clears_base: bool,
}

/// The bugs of a CPU (Linux: `cpu_set_bug_bits`, `init_amd`).
pub fn bug_bits(cpu: &CpuInfo, claims: &Claims) -> BugSet {
    let mut bugs = BugSet::default();
    if matches!(cpu.vendor_id(), "AuthenticAMD" | "HygonGenuine") {
        set_amd_bugs(&mut bugs, cpu, claims);
    }
    set_speculation_bugs(&mut bugs, cpu, claims);
    bugs
}

/// Errata that have nothing to do with speculation.
fn set_amd_bugs(bugs: &mut BugSet, cpu: &CpuInfo, claims: &Claims) {
    let (family, model, stepping) = (cpu.family, cpu.model, cpu.stepping);
    let (k8, k10, zen) = (family == 0xf, family == 0x10, family == 0x17);
    bugs.set(Bug::SYSRET_SS_ATTRS, true);
    bugs.set(Bug::FXSAVE_LEAK, !cpu.has(Feature::XSAVEERPTR));
    // A hypervisor that does not promise it may move the machine to a CPU that does not do it.
    let tried = family >= 0x17 && !cpu.has(Feature::HYPERVISOR);
    let clears = claims.amd.contains(AmdExt2::NULL_SEL_CLR_BASE)
        || tried && claims.null_selector_clears_base;
    bugs.set(Bug::NULL_SEG, !clears);
    bugs.set(Bug::SWAPGS_FENCE, k8);
    bugs.set(Bug::AMD_TLB_MMATCH, k10);
    bugs.set(
        Bug::AMD_E400,
        k8 && (model, stepping) >= (0x41, 2) || k10 && (model, stepping) >= (2, 1),
    );
    let zen1 = zen && matches!(model, 0x00..=0x2f | 0x50..=0x5f);
    bugs.set(Bug::DIV0, zen1);
}

fn set_speculation_bugs(bugs: &mut BugSet, cpu: &CpuInfo, claims: &Claims) {
    let (safe, hit) = (models::safe_from(cpu), models::hit_by(cpu));
    let caps = claims.arch_cap;
    bugs.set(
        Bug::ITLB_MULTIHIT,
        !safe.contains(models::SafeFrom::ITLB_MULTIHIT) && !caps.contains(ArchCap::PSCHANGE_MC_NO),
    );
    if safe.contains(models::SafeFrom::SPECULATION) {
        return;
    }
    bugs.set(Bug::SPECTRE_V1, true);
    bugs.set(
        Bug::SPECTRE_V2,
        !safe.contains(models::SafeFrom::SPECTRE_V2),
    );
    bugs.set(
        Bug::SPEC_STORE_BYPASS,
        !safe.contains(models::SafeFrom::SSB)
            && !caps.contains(ArchCap::SSB_NO)
            && !cpu.has(Feature::AMD_SSB_NO),
    );
    let enhanced_ibrs = caps.contains(ArchCap::IBRS_ALL) || claims.amd.contains(AmdExt2::AUTOIBRS);
    bugs.set(
        Bug::EIBRS_PBRSB,
        enhanced_ibrs
            && !safe.contains(models::SafeFrom::EIBRS_PBRSB)
            && !caps.contains(ArchCap::PBRSB_NO),
    );
    bugs.set(Bug::SWAPGS, !safe.contains(models::SafeFrom::SWAPGS));
    set_buffer_bugs(bugs, cpu, caps);
    bugs.set(
        Bug::RETBLEED,
        !cpu.has(Feature::BTC_NO)
            && (hit.contains(models::HitBy::RETBLEED) || caps.contains(ArchCap::RSBA)),
    );
    bugs.set(Bug::SMT_RSB, hit.contains(models::HitBy::SMT_RSB));
    bugs.set(
        Bug::SRSO,
        hit.contains(models::HitBy::SRSO) && !claims.amd.contains(AmdExt2::SRSO_NO),
    );
    let meltdown = !safe.contains(models::SafeFrom::MELTDOWN) && !caps.contains(ArchCap::RDCL_NO);
    bugs.set(Bug::CPU_MELTDOWN, meltdown);
    bugs.set(
        Bug::L1TF,
        meltdown && !safe.contains(models::SafeFrom::L1TF),
    );
}

/// Bugs that let buffers inside the CPU be read.
fn set_buffer_bugs(bugs: &mut BugSet, cpu: &CpuInfo, caps: ArchCap) {
    let (safe, hit) = (models::safe_from(cpu), models::hit_by(cpu));
    let mds = !safe.contains(models::SafeFrom::MDS) && !caps.contains(ArchCap::MDS_NO);
    bugs.set(Bug::MDS, mds);
    bugs.set(
        Bug::MSBDS_ONLY,
        mds && safe.contains(models::SafeFrom::ALL_MDS_BUT_MSBDS),
    );
    let has_tsx = cpu.has(Feature::RTM) || caps.contains(ArchCap::TSX_CTRL_MSR);
    bugs.set(Bug::TAA, has_tsx && !caps.contains(ArchCap::TAA_NO));
    let has_rng = cpu.has(Feature::RDRAND) || cpu.has(Feature::RDSEED);
    let rng_bugs = models::HitBy::SRBDS | models::HitBy::MMIO_SBDS;
    bugs.set(Bug::SRBDS, has_rng && hit.intersects(rng_bugs));
    let immune = ArchCap::FBSDP_NO | ArchCap::PSDP_NO | ArchCap::SBDR_SSDP_NO;
    if !caps.contains(immune) {
        let known = hit.contains(models::HitBy::MMIO);
        bugs.set(Bug::MMIO_STALE_DATA, known);
        bugs.set(
            Bug::MMIO_UNKNOWN,
            !known && !safe.contains(models::SafeFrom::MMIO),
        );
    }
    bugs.set(
        Bug::GDS,
        hit.contains(models::HitBy::GDS)
            && !caps.contains(ArchCap::GDS_NO)
            && cpu.has(Feature::AVX),
    );
}
