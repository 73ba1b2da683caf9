//! Names of the kernel's own functions (Linux: kernel/kallsyms.c).
#![forbid(unsafe_code)]

use crate::prelude::*;

/// `name+0x12/0x40`, as `%pS` prints it; the plain number when nobody knows it.
pub fn symbol_of(addr: u64) -> String {
    match crate::arch::kallsyms_lookup(addr) {
        Some((name, offset, size)) => format!("{name}+{offset:#x}/{size:#x}"),
        None => format!("{addr:#x}"),
    }
}

/// The name in what `symbol_of` made.
pub fn bare_name(symbol: &str) -> &str {
    symbol.split('+').next().unwrap_or(symbol)
}
