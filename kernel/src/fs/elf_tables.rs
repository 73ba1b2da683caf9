//! What a new program finds on its stack (Linux: fs/binfmt_elf.c, `create_elf_tables`).
//!
//! From the stack pointer up: argc, argv, NULL, envp, NULL, the auxiliary vector; then 16 random
//! bytes, the platform's name, and the strings.
#![forbid(unsafe_code)]

use uapi::auxvec::*;

use crate::arch::{self, PAGE_SIZE};
use crate::fs::exec::Binprm;
use crate::mm::util::{get_random_u64, randomize};
use crate::mm::vma::VmFlags;
use crate::prelude::*;

/// User ticks per second (Linux: `USER_HZ`).
const USER_HZ: u64 = 100;
/// Bytes of one program header.
const PHDR_SIZE: u64 = 56;
/// Room below the tables that a new stack has at once, in bytes.
const STACK_EXPAND: u64 = 131_072;
/// Bytes and alignment of `struct rseq` that this kernel knows.
const RSEQ_FEATURE_SIZE: u64 = 28;
const RSEQ_ALIGN: u64 = 32;

/// A program in memory.
pub struct ElfImage {
    /// The program's own entry point.
    pub entry: u64,
    /// First instruction: the interpreter's, if there is one.
    pub start_ip: u64,
    /// Load address of the interpreter.
    pub base: u64,
    /// Address of the program headers.
    pub phdr: u64,
    /// Number of program headers.
    pub phnum: u16,
}

/// Makes the stack below `top`; returns the stack pointer. Errors: ENOMEM, EFAULT.
pub fn create_elf_tables(
    bprm: &mut Binprm,
    image: &ElfImage,
    top: u64,
    stack: VmFlags,
) -> Result<u64> {
    let mm = bprm.mm.clone();
    let strings = bprm.args.place(top);
    let below_strings = align_stack(strings.arg_start());
    let platform = arch::ELF_PLATFORM.as_bytes();
    let platform_at = below_strings - (platform.len() as u64 + 1);
    let random_at = platform_at - 16;
    let auxv = auxiliary_vector(bprm, image, strings.execfn(), platform_at, random_at);
    let words = 1 + bprm.args.argc() + 1 + bprm.args.envc() + 1 + auxv.len();
    let sp = (random_at - words as u64 * 8) & !15;

    let mut table = Vec::new();
    table
        .try_reserve_exact(words * 8)
        .map_err(|_| Errno::ENOMEM)?;
    let mut push = |word: u64| table.extend_from_slice(&word.to_le_bytes());
    push(bprm.args.argc() as u64);
    strings.argv().for_each(&mut push);
    push(0);
    strings.envp().for_each(&mut push);
    push(0);
    auxv.iter().copied().for_each(&mut push);

    let room = bprm.stack_limit & !(PAGE_SIZE as u64 - 1);
    let needed = sp & !(PAGE_SIZE as u64 - 1);
    let bottom = (needed - STACK_EXPAND)
        .max(top.saturating_sub(room))
        .min(needed);
    {
        let mut map = mm.write();
        let parts = &mut map.parts;
        (parts.arg_start, parts.arg_end) = (strings.arg_start(), strings.arg_end());
        (parts.env_start, parts.env_end) = (strings.arg_end(), strings.env_end());
        parts.start_stack = sp;
        parts.saved_auxv = auxv;
    }
    mm.map_stack(bottom..top, stack)?;
    bprm.args.install(&mm, top)?;
    let mut high = [0; 32];
    high[..8].copy_from_slice(&get_random_u64().to_le_bytes());
    high[8..16].copy_from_slice(&get_random_u64().to_le_bytes());
    high[16..16 + platform.len()].copy_from_slice(platform);
    let high = &high[..16 + platform.len() + 1];
    let written = mm.write_remote(sp, &table) == table.len()
        && mm.write_remote(random_at, high) == high.len();
    if written { Ok(sp) } else { Err(Errno::EFAULT) }
}

/// A little below, at random (Linux: `arch_align_stack`).
fn align_stack(sp: u64) -> u64 {
    let shift = if randomize() {
        get_random_u64() % 8192
    } else {
        0
    };
    (sp - shift) & !15
}

fn auxiliary_vector(
    bprm: &Binprm,
    image: &ElfImage,
    execfn: u64,
    platform: u64,
    random: u64,
) -> Vec<u64> {
    let cred = &bprm.cred;
    let entries = [
        (AT_MINSIGSTKSZ, arch::elf_minsigstksz()),
        (AT_HWCAP, arch::elf_hwcap()),
        (AT_PAGESZ, PAGE_SIZE as u64),
        (AT_CLKTCK, USER_HZ),
        (AT_PHDR, image.phdr),
        (AT_PHENT, PHDR_SIZE),
        (AT_PHNUM, u64::from(image.phnum)),
        (AT_BASE, image.base),
        (AT_FLAGS, 0),
        (AT_ENTRY, image.entry),
        (AT_UID, u64::from(cred.uid)),
        (AT_EUID, u64::from(cred.euid)),
        (AT_GID, u64::from(cred.gid)),
        (AT_EGID, u64::from(cred.egid)),
        (AT_SECURE, u64::from(bprm.secureexec)),
        (AT_RANDOM, random),
        (AT_HWCAP2, arch::elf_hwcap2()),
        (AT_EXECFN, execfn),
        (AT_PLATFORM, platform),
        (AT_RSEQ_FEATURE_SIZE, RSEQ_FEATURE_SIZE),
        (AT_RSEQ_ALIGN, RSEQ_ALIGN),
        (AT_NULL, 0),
    ];
    entries
        .iter()
        .flat_map(|&(kind, value)| [kind, value])
        .collect()
}
