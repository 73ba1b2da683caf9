//! Where the linker script put what (Linux: asm-generic/sections.h).

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::mm::VirtAddr;

macro_rules! section_symbols {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal;)*) => {
        mod symbols {
            #![allow(non_upper_case_globals)]
            unsafe extern "C" {
                $(#[link_name = $symbol] pub safe static $name: u8;)*
            }
        }
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name() -> VirtAddr {
                VirtAddr::new(&raw const symbols::$name as u64)
            }
        )*
    };
}

section_symbols! {
    /// First byte of the image.
    text_start = "_stext";
    /// One past the code that stays.
    text_end = "_etext";
    /// Constants.
    rodata_start = "__start_rodata";
    /// One past the constants; page aligned.
    rodata_end = "__end_rodata";
    /// Data that becomes read-only with `mark_rodata_ro`; page aligned.
    ro_after_init_start = "__start_ro_after_init";
    /// Its end; page aligned.
    ro_after_init_end = "__end_ro_after_init";
    /// Data.
    data_start = "_sdata";
    /// One past the initialised data that stays.
    data_end = "_edata";
    /// What `free_initmem` frees; page aligned.
    init_begin = "__init_begin";
    /// Boot's code.
    init_text_start = "_sinittext";
    /// One past boot's code.
    init_text_end = "_einittext";
    /// One past what `free_initmem` frees; page aligned.
    init_end = "__init_end";
    /// Template of the per-CPU data.
    per_cpu_start = "__per_cpu_start";
    /// One past the template.
    per_cpu_end = "__per_cpu_end";
    /// Zeroed data (the part that stays).
    bss_start = "__init_end";
    /// One past the zeroed data.
    bss_stop = "__bss_stop";
    /// The symbol table; page aligned.
    kallsyms_start = "__start_kallsyms";
    /// One past the room for the symbol table.
    kallsyms_stop = "__stop_kallsyms";
    /// One past the image; page aligned.
    image_end = "_end";
    /// Exception table: first entry.
    ex_table_start = "__start___ex_table";
    /// One past the exception table.
    ex_table_stop = "__stop___ex_table";
}

/// The room for the symbol table at the end of the image, filled after linking
/// (`objcopy --update-section .kallsyms=FILE`). All numbers little-endian:
///
/// | bytes | content |
/// |---|---|
/// | 8 | `KALLSYMS` |
/// | 4 | number of symbols *n* |
/// | 8 *n* | offset from `_stext`, offset of the name from the start of the names (both u32), by address |
/// | rest | names, each with a NUL |
///
/// A file without the step has zeroes here, and addresses print as numbers.
#[unsafe(link_section = ".kallsyms")]
#[used]
static KALLSYMS_PLACE: [u8; 16] = [0; 16];

/// Bytes of the symbol table that are in use; `usize::MAX` while nobody has looked.
static KALLSYMS_LEN: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The symbol table as described at `KALLSYMS_PLACE`; empty if it was not filled in. The pages
/// behind it are freed with `mark_rodata_ro`.
pub fn kallsyms_blob() -> &'static [u8] {
    let start = kallsyms_start().as_usize() as *const u8;
    let len = KALLSYMS_LEN.load(Ordering::Relaxed);
    if len != usize::MAX {
        // SAFETY: inside the section, which is mapped up to the last page of this part.
        return unsafe { core::slice::from_raw_parts(start, len) };
    }
    let room = (kallsyms_stop() - kallsyms_start()) as usize;
    // SAFETY: the linker script's bounds of a section that is all mapped until the length is known.
    let blob = unsafe { core::slice::from_raw_parts(start, room) };
    let used = if blob.starts_with(b"KALLSYMS") {
        let unused = blob.iter().rev().take_while(|&&byte| byte == 0).count();
        (room - unused + 1).min(room) // the last name ends in a NUL
    } else {
        0
    };
    KALLSYMS_LEN.store(used, Ordering::Relaxed);
    &blob[..used]
}

/// Sizes of the image's parts, none counted twice, for the `Memory:` line
/// (Linux: `mem_init_print_info`).
pub fn image_sections() -> crate::mm::mm_init::ImageSections {
    crate::mm::mm_init::ImageSections {
        code: text_end() - text_start(),
        rwdata: data_end() - data_start(),
        rodata: rodata_end() - rodata_start(),
        init: init_end() - init_begin(),
        bss: bss_stop() - bss_start(),
    }
}
