//! CPU features by Linux's numbers and names (Linux: asm/cpufeatures.h, kernel/cpu/capflags.c).
#![forbid(unsafe_code)]

/// How many words of 32 features there are.
pub const NCAPINTS: usize = 19;

/// One feature: word * 32 + bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature(u16);

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = ($word:literal, $bit:literal);)*) => {
        impl Feature {
            $($(#[$doc])* pub const $name: Feature = Feature($word * 32 + $bit);)*
        }
    };
}

features! {
    /// Time stamp counter.
    TSC = (0, 4);
    /// Model-specific registers.
    MSR = (0, 5);
    /// Machine check exception.
    MCE = (0, 7);
    /// Local APIC on the chip.
    APIC = (0, 9);
    /// Memory type range registers.
    MTRR = (0, 12);
    /// Global pages.
    PGE = (0, 13);
    /// Machine check architecture.
    MCA = (0, 14);
    /// Page attribute table.
    PAT = (0, 16);
    /// CLFLUSH.
    CLFLUSH = (0, 19);
    /// FXSAVE and FXRSTOR.
    FXSR = (0, 24);
    /// SSE.
    XMM = (0, 25);
    /// SSE2.
    XMM2 = (0, 26);
    /// SYSCALL and SYSRET.
    SYSCALL = (1, 11);
    /// No-execute.
    NX = (1, 20);
    /// 1 GiB pages.
    GBPAGES = (1, 26);
    /// RDTSCP.
    RDTSCP = (1, 27);
    /// 64-bit mode.
    LM = (1, 29);
    /// The time stamp counter's rate never changes.
    CONSTANT_TSC = (3, 8);
    /// REP string instructions are fast.
    REP_GOOD = (3, 16);
    /// Long NOPs.
    NOPL = (3, 20);
    /// The time stamp counter runs in every sleep state.
    NONSTOP_TSC = (3, 24);
    /// CPUID itself.
    CPUID = (3, 25);
    /// MONITOR and MWAIT.
    MWAIT = (4, 3);
    /// CMPXCHG16B.
    CX16 = (4, 13);
    /// Address space numbers.
    PCID = (4, 17);
    /// x2APIC.
    X2APIC = (4, 21);
    /// The local APIC timer can run until a value of the TSC.
    TSC_DEADLINE_TIMER = (4, 24);
    /// XSAVE.
    XSAVE = (4, 26);
    /// AVX.
    AVX = (4, 28);
    /// RDRAND.
    RDRAND = (4, 30);
    /// A hypervisor runs this machine.
    HYPERVISOR = (4, 31);
    /// RDFSBASE and its kin.
    FSGSBASE = (9, 0);
    /// The kernel cannot execute user pages.
    SMEP = (9, 7);
    /// Restricted transactional memory.
    RTM = (9, 11);
    /// Fast REP MOVSB and STOSB.
    ERMS = (9, 9);
    /// INVPCID.
    INVPCID = (9, 10);
    /// RDSEED.
    RDSEED = (9, 18);
    /// The kernel cannot touch user pages by accident.
    SMAP = (9, 20);
    /// XSAVEOPT.
    XSAVEOPT = (10, 0);
    /// XSAVEC.
    XSAVEC = (10, 1);
    /// XSAVES.
    XSAVES = (10, 3);
    /// FXRSTOR does not leak the pointers of the last x87 error.
    XSAVEERPTR = (13, 2);
    /// Loads do not pass stores on a guess (AMD).
    AMD_SSB_NO = (13, 26);
    /// Branches are not confused by their type.
    BTC_NO = (13, 29);
    /// No SGDT and the like in user programs.
    UMIP = (16, 2);
    /// Protection keys.
    PKU = (16, 3);
    /// Protection keys are switched on.
    OSPKE = (16, 4);
    /// Five-level page tables.
    LA57 = (16, 16);
    /// RDPID.
    RDPID = (16, 22);
    /// Fast short REP MOVSB.
    FSRM = (18, 4);
    /// MSR_IA32_ARCH_CAPABILITIES.
    ARCH_CAPABILITIES = (18, 29);
}

impl Feature {
    /// Index of the word.
    pub fn word(self) -> usize {
        usize::from(self.0 / 32)
    }
    /// Mask inside the word.
    pub fn mask(self) -> u32 {
        1 << (self.0 % 32)
    }
}

/// Names of the bits of one word, lowest first; `-` for those that /proc/cpuinfo leaves out.
const NAMES: [(usize, &str); 12] = [
    (
        0,
        "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - \
         dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe",
    ),
    (
        1,
        "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp \
         - lm 3dnowext 3dnow",
    ),
    (
        3,
        "- - - - - - - - constant_tsc - - - - - - - rep_good - - - nopl - - - nonstop_tsc cpuid",
    ),
    (
        4,
        "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - \
         pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c \
         rdrand hypervisor",
    ),
    (
        6,
        "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs \
         xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - \
         bpext ptsc perfctr_llc mwaitx",
    ),
    (
        9,
        "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a \
         avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf \
         avx512er avx512cd sha_ni avx512bw avx512vl",
    ),
    (10, "xsaveopt xsavec xgetbv1 xsaves"),
    (12, "- - - - avx_vnni avx512_bf16"),
    (13, "clzero irperf xsaveerptr - rdpru - - - - wbnoinvd"),
    (14, "dtherm ida arat - pln - pts"),
    (
        16,
        "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni \
         avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - \
         movdiri movdir64b enqcmd",
    ),
    (
        18,
        "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - \
         serialize - - - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 - - \
         flush_l1d arch_capabilities",
    ),
];

/// Names of the features in `capability`, in Linux's order.
pub fn names(capability: &[u32; NCAPINTS]) -> impl Iterator<Item = &'static str> {
    NAMES.iter().flat_map(move |&(word, names)| {
        let set = capability[word];
        names
            .split_ascii_whitespace()
            .enumerate()
            .filter(move |&(bit, name)| set >> bit & 1 != 0 && name != "-")
            .map(|(_, name)| name)
    })
}
