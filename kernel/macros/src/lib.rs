//! Attributes that place a function or a static in one of Linux's special sections
//! (Linux: include/linux/init.h). On the host port they do nothing.
//!
//! Placing an item in a section counts as unsafe code for the `unsafe_code` lint. These macros
//! are the one place that vouches for it, so that modules that forbid unsafe can use them.
#![cfg_attr(bare_metal_build, feature(allow_internal_unsafe))]
#![cfg_attr(
    bare_metal_build,
    expect(internal_features, reason = "the lint vouching above")
)]

use proc_macro::TokenStream;

/// Puts `#[link_section = section]` (bare metal only) in front of `item`.
fn in_section(section: &str, extra: &str, item: TokenStream) -> TokenStream {
    let attr =
        format!("#[cfg_attr(target_os = \"none\", unsafe(link_section = \"{section}\"))] {extra}");
    let mut out: TokenStream = attr.parse().expect("a constant attribute parses");
    out.extend(item);
    out
}

/// A function that only boot calls; its memory is freed by `free_initmem`.
#[proc_macro_attribute]
#[cfg_attr(bare_metal_build, allow_internal_unsafe)]
pub fn __init(_args: TokenStream, item: TokenStream) -> TokenStream {
    in_section(".init.text", "#[inline(never)]", item)
}

/// Data that only boot uses; its memory is freed by `free_initmem`.
#[proc_macro_attribute]
#[cfg_attr(bare_metal_build, allow_internal_unsafe)]
pub fn __initdata(_args: TokenStream, item: TokenStream) -> TokenStream {
    in_section(".init.data", "", item)
}

/// A resident function that may call `__init` code because it runs before that code is freed.
#[proc_macro_attribute]
#[cfg_attr(bare_metal_build, allow_internal_unsafe)]
pub fn __ref(_args: TokenStream, item: TokenStream) -> TokenStream {
    in_section(".ref.text", "#[inline(never)]", item)
}

/// A static of type `PerCpu<T>`: the boot value is copied into every CPU's own area
/// (Linux: include/linux/percpu-defs.h, `DEFINE_PER_CPU`).
#[proc_macro_attribute]
#[cfg_attr(bare_metal_build, allow_internal_unsafe)]
pub fn per_cpu(_args: TokenStream, item: TokenStream) -> TokenStream {
    in_section(".data..percpu", "", item)
}

/// Data written during boot and made read-only by `mark_rodata_ro`.
#[proc_macro_attribute]
#[cfg_attr(bare_metal_build, allow_internal_unsafe)]
pub fn __ro_after_init(_args: TokenStream, item: TokenStream) -> TokenStream {
    in_section(".data..ro_after_init", "", item)
}
