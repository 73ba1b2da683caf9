//! The kernel's own symbols (Linux: kernel/kallsyms.c).
//!
//! The names come from the image's `.symtab` and `.strtab`, which whoever finds the raw ELF file
//! in memory hands to [`kallsyms_init`]. Until then addresses print as numbers.
#![forbid(unsafe_code)]

use core::fmt;

use elf::endian::LittleEndian;
use elf::parse::ParsingTable;
use elf::string_table::StringTable;
use elf::symbol::Symbol as ElfSymbol;

use crate::prelude::*;

type SymbolTable = ParsingTable<'static, LittleEndian, ElfSymbol>;

/// Set once during boot; a panic may read it at any time, so no lock guards it.
static TABLE: spin::Once<(SymbolTable, StringTable<'static>)> = spin::Once::new();

/// Takes the symbols of the kernel's ELF file. Errors: EINVAL if it has none.
pub fn kallsyms_init(image: &'static [u8]) -> Result {
    let file = elf::ElfBytes::<LittleEndian>::minimal_parse(image).map_err(|_| Errno::EINVAL)?;
    let table = file.symbol_table().map_err(|_| Errno::EINVAL)?;
    TABLE.call_once(|| table.unwrap_or_else(empty));
    Ok(())
}

fn empty() -> (SymbolTable, StringTable<'static>) {
    let table = ParsingTable::new(LittleEndian, elf::file::Class::ELF64, &[]);
    (table, StringTable::new(&[]))
}

/// Number of symbols known.
pub fn nr_symbols() -> usize {
    TABLE.get().map_or(0, |(symbols, _)| symbols.len())
}

/// The function that holds an address.
#[derive(Clone, Copy, Debug)]
pub struct Location {
    /// Mangled name.
    pub name: &'static str,
    /// Distance from the function's start, in bytes.
    pub offset: u64,
    /// Size of the function, in bytes.
    pub size: u64,
}

/// Looks an address up (Linux: `kallsyms_lookup`). Any context; takes time in the number of
/// symbols.
pub fn lookup(addr: u64) -> Option<Location> {
    const STT_FUNC: u8 = 2;
    let (symbols, names) = TABLE.get()?;
    let holds = |symbol: &ElfSymbol| {
        symbol.st_symtype() == STT_FUNC
            && symbol.st_value <= addr
            && addr - symbol.st_value < symbol.st_size.max(1)
    };
    let found = symbols.iter().find(holds)?;
    Some(Location {
        name: names.get(usize::try_from(found.st_name).ok()?).ok()?,
        offset: addr - found.st_value,
        size: found.st_size,
    })
}

/// Prints as Linux's `%pS`: `name+0xoffset/0xsize`, or the number if nobody knows it.
#[derive(Clone, Copy)]
pub struct Symbol(pub u64);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lookup(self.0) {
            Some(at) => show(f, at, 0),
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
        match lookup(self.0.wrapping_sub(1)) {
            Some(at) => show(f, at, 1),
            None => write!(f, "0x{:x}", self.0),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, at: Location, add: u64) -> fmt::Result {
    let name = rustc_demangle::demangle(at.name);
    write!(f, "{name:#}+0x{:x}/0x{:x}", at.offset + add, at.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_address_prints_as_a_number() {
        assert_eq!(format!("{}", Symbol(0xffff_ffff_8100_0000)), "0xffffffff81000000");
        assert_eq!(format!("{}", Backtrace(0x10)), "0x10");
    }

    #[test]
    fn a_file_that_is_no_elf_is_refused() {
        assert_eq!(kallsyms_init(b"#!/bin/sh\n").unwrap_err(), Errno::EINVAL);
    }
}
