//! Names of the kernel's own functions (Linux: kernel/kallsyms.c).
#![forbid(unsafe_code)]

use alloc::string::ToString;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};

use uapi::capability::CAP_SYSLOG;

use crate::arch::kallsyms_symbol;
use crate::fs::file::FileOperations;
use crate::fs::proc::{ProcFile, proc_create};
use crate::fs::seq_file::SeqStream;
use crate::kernel::sched::current;
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::prelude::*;

/// Who sees addresses of the kernel: 0 and 1, CAP_SYSLOG; 2, nobody
/// (/proc/sys/kernel/kptr_restrict).
static KPTR_RESTRICT: AtomicU32 = AtomicU32::new(0);

/// Whether the running task may see addresses of the kernel (Linux: `kallsyms_show_value`).
fn kallsyms_show_value() -> bool {
    KPTR_RESTRICT.load(Ordering::Relaxed) < 2 && current().cred().has_cap(CAP_SYSLOG)
}

/// /proc/kallsyms.
struct Kallsyms;

impl ProcFile for Kallsyms {
    fn open(&self, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        let show_value = kallsyms_show_value();
        Ok(Arc::new(SeqStream::new(
            move |cursor, out: &mut Vec<u8>| {
                let Some((addr, name)) = kallsyms_symbol(cursor as usize) else {
                    return Ok(None);
                };
                let line = symbol_line(
                    if show_value { addr } else { 0 },
                    &ToString::to_string(&name),
                );
                out.extend_from_slice(line.as_bytes());
                Ok(Some(cursor + 1))
            },
        )))
    }
}

/// A name that is a path is a Rust function's, known inside the kernel only (`t`); others can be
/// called by any code (`T`).
fn symbol_line(addr: u64, name: &str) -> String {
    let kind = if name.contains("::") { 't' } else { 'T' };
    // Names of generic functions have spaces, which would end the field.
    let name = name.replace(' ', "");
    let mut line = String::new();
    let _ = writeln!(line, "{addr:016x} {kind} {name}");
    line
}

static KALLSYMS_TABLE: &[CtlTable] = &[CtlTable {
    path: "kernel/kptr_restrict",
    get: || format!("{}", KPTR_RESTRICT.load(Ordering::Relaxed)),
    set: Some(|text| {
        KPTR_RESTRICT.store(parse_number(text, 0, 2)?, Ordering::Relaxed);
        Ok(())
    }),
}];

#[__init]
fn kallsyms_init() -> Result {
    register_sysctl(KALLSYMS_TABLE);
    proc_create("kallsyms", 0o444, Arc::new(Kallsyms))
}
device_initcall!(kallsyms_init);

/// `name+0x12/0x40`, as `%pS` prints it; the plain number when nobody knows it.
pub fn symbol_of(addr: u64) -> String {
    format!("{}", SymbolAt(addr))
}

/// Shows an address as `symbol_of` does, without memory. Any context.
pub struct SymbolAt(pub u64);

impl fmt::Display for SymbolAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::arch::kallsyms_lookup(self.0) {
            Some((name, offset, size)) => write!(f, "{name}+{offset:#x}/{size:#x}"),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// The name in what `symbol_of` made.
pub fn bare_name(symbol: &str) -> &str {
    symbol.split('+').next().unwrap_or(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_three_fields() {
        let name = "<kernel::fs::File as core::ops::Drop>::drop";
        let line = symbol_line(0xffff_ffff_8100_0000, name);
        assert_eq!(
            line,
            "ffffffff81000000 t <kernel::fs::Fileascore::ops::Drop>::drop\n"
        );
        assert_eq!(symbol_line(0, "memcpy"), "0000000000000000 T memcpy\n");
    }
}
