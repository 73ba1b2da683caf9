//! Names of kernel addresses, from the table that is put into the image after linking
//! (Linux: kernel/kallsyms.c; the format stands in `sections.rs`).

use core::fmt;

use super::sections::{kallsyms_blob, text_start};

const MAGIC: &[u8; 8] = b"KALLSYMS";

/// A symbol's name, shown without the hash of Rust's mangling.
#[derive(Clone, Copy, Debug)]
pub struct SymbolName(&'static str);

impl fmt::Display for SymbolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", rustc_demangle::demangle(self.0))
    }
}

struct Table {
    entries: &'static [[u8; 8]],
    names: &'static [u8],
}

impl Table {
    fn open(blob: &'static [u8]) -> Option<Self> {
        let rest = blob.strip_prefix(MAGIC)?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let bytes = usize::try_from(u32::from_le_bytes(*count))
            .ok()?
            .checked_mul(8)?;
        let (entries, names) = rest.split_at_checked(bytes)?;
        Some(Self {
            entries: entries.as_chunks().0,
            names,
        })
    }
    fn offset(&self, index: usize) -> Option<u32> {
        let entry = self.entries.get(index)?;
        Some(u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]))
    }
    fn name(&self, index: usize) -> Option<&'static str> {
        let entry = self.entries.get(index)?;
        let start = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let bytes = self.names.get(usize::try_from(start).ok()?..)?;
        let len = bytes.iter().position(|&byte| byte == 0)?;
        core::str::from_utf8(&bytes[..len]).ok()
    }
    /// Index of the last symbol that does not start behind `offset`.
    fn search(&self, offset: u32) -> Option<usize> {
        let starts_before = |entry: &[u8; 8]| {
            u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) <= offset
        };
        self.entries.partition_point(starts_before).checked_sub(1)
    }
}

/// Name of the symbol that holds `addr`, distance from its start, and its size up to the next
/// one (Linux: `kallsyms_lookup`). Takes no lock and no memory: any context.
pub fn kallsyms_lookup(addr: u64) -> Option<(SymbolName, u64, u64)> {
    let table = Table::open(kallsyms_blob())?;
    let offset = u32::try_from(addr.checked_sub(text_start().as_u64())?).ok()?;
    let index = table.search(offset)?;
    let start = table.offset(index)?;
    let size = table.offset(index + 1)?.saturating_sub(start);
    if offset - start > size {
        return None;
    }
    let name = SymbolName(table.name(index)?);
    Some((name, u64::from(offset - start), u64::from(size)))
}

/// Address and name of the symbol number `index`, in the order of the addresses.
pub fn kallsyms_symbol(index: usize) -> Option<(u64, SymbolName)> {
    let table = Table::open(kallsyms_blob())?;
    let addr = text_start()
        .as_u64()
        .checked_add(table.offset(index)?.into())?;
    Some((addr, SymbolName(table.name(index)?)))
}

/// Prints as Linux's `%pS`: `name+0xoffset/0xsize`, or the number if nobody knows it.
#[derive(Clone, Copy)]
pub struct Symbol(pub u64);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kallsyms_lookup(self.0) {
            Some((name, offset, size)) => write!(f, "{name}+0x{offset:x}/0x{size:x}"),
            None => write!(f, "0x{:x}", self.0),
        }
    }
}

/// Prints a return address as Linux's `%pB`: the symbol is that of the call before it, which may
/// be the last instruction of a function that does not return.
#[derive(Clone, Copy)]
pub struct Backtrace(pub u64);

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kallsyms_lookup(self.0.wrapping_sub(1)) {
            Some((name, offset, size)) => write!(f, "{name}+0x{:x}/0x{size:x}", offset + 1),
            None => write!(f, "0x{:x}", self.0),
        }
    }
}
