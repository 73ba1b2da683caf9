//! The kernel's own symbol table, put into the image after linking, so that an oops can name functions.
//!
//! The linker script reserves a section `.kallsyms` at the end of the image. Format, numbers little-endian: `KALLSYMS`,
//! the number of symbols, for each its offset from `_stext` and the offset of its name (u32 both, sorted by address),
//! then the names, each with a NUL.

use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::error::{Error, FileContext, Result};

const MAGIC: &[u8; 8] = b"KALLSYMS";
const SECTION: &str = ".kallsyms";

/// Fills the section of a linked kernel. A kernel without the section is left as it is.
pub fn fill(kernel: &Path) -> Result<()> {
    let mut bytes = std::fs::read(kernel).doing("read", kernel)?;
    let Some((range, table)) = place_and_table(&bytes)? else {
        return Ok(());
    };
    if table.len() > range.len() {
        return Err(Error::Other(format!(
            "the kernel's symbol table needs {} bytes, the linker script reserves {}",
            table.len(),
            range.len()
        )));
    }
    let place = &mut bytes[range];
    place.fill(0);
    place[..table.len()].copy_from_slice(&table);
    std::fs::write(kernel, bytes).doing("write", kernel)
}

/// The address of a function, by the name that the table has for it.
pub fn address_of(kernel: &Path, function: &str) -> Result<u64> {
    let bytes = std::fs::read(kernel).doing("read", kernel)?;
    let elf = parse(&bytes)?;
    let found = functions(&elf)
        .into_iter()
        .find(|(_, name)| name == function);
    found
        .map(|(address, _)| address)
        .ok_or_else(|| Error::Other(format!("the kernel has no function {function}")))
}

fn parse(file: &[u8]) -> Result<object::File<'_>> {
    object::File::parse(file)
        .map_err(|e| Error::Other(format!("the kernel is not an ELF file: {e}")))
}

/// Where the section lies in the file, and what belongs there.
fn place_and_table(file: &[u8]) -> Result<Option<(std::ops::Range<usize>, Vec<u8>)>> {
    let elf = parse(file)?;
    let Some((start, size)) = elf.section_by_name(SECTION).and_then(|s| s.file_range()) else {
        return Ok(None);
    };
    let symbols = functions(&elf);
    let base = elf
        .symbols()
        .find(|s| s.name() == Ok("_stext"))
        .map(|s| s.address());
    let base = base.ok_or_else(|| Error::Other(String::from("the kernel has no symbol _stext")))?;
    let range = start as usize..(start + size) as usize;
    Ok(Some((range, table(base, &symbols))))
}

/// Functions by address; of several names at one address the first one counts.
fn functions(elf: &object::File<'_>) -> Vec<(u64, String)> {
    let mut symbols: Vec<(u64, String)> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.address() != 0)
        .filter_map(|symbol| Some((symbol.address(), short_name(symbol.name().ok()?))))
        .collect();
    symbols.sort();
    symbols.dedup_by_key(|(address, _)| *address);
    symbols
}

/// The name as a Linux reader knows it: `kernel::init::main::start_kernel` is `start_kernel`; a method keeps its type,
/// a closure its function.
fn short_name(mangled: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    let parts = split_path(&name);
    let last = parts.last().copied().unwrap_or(&name);
    let keep_two = last.starts_with('{')
        || parts.len() > 1
            && parts[parts.len() - 2].starts_with(|c: char| c.is_ascii_uppercase() || c == '<');
    let short = if keep_two && parts.len() > 1 {
        format!("{}::{last}", parts[parts.len() - 2])
    } else {
        last.to_owned()
    };
    short.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Splits at `::` outside angle brackets.
fn split_path(name: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0i32, 0, Vec::new());
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'<' => depth += 1,
            b'>' if at == 0 || bytes[at - 1] != b'-' => depth -= 1,
            b':' if depth == 0 && bytes.get(at + 1) == Some(&b':') => {
                parts.push(&name[start..at]);
                at += 1;
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&name[start..]);
    parts
}

fn table(base: u64, symbols: &[(u64, String)]) -> Vec<u8> {
    let symbols: Vec<(u32, &String)> = symbols
        .iter()
        .filter_map(|(address, name)| Some((u32::try_from(address.checked_sub(base)?).ok()?, name)))
        .collect();
    let mut out = MAGIC.to_vec();
    out.extend((symbols.len() as u32).to_le_bytes());
    let mut names = Vec::new();
    for (offset, name) in symbols {
        out.extend(offset.to_le_bytes());
        out.extend((names.len() as u32).to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    out.extend(names);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_known_by_its_last_name() {
        assert_eq!(
            short_name("_ZN6kernel4init4main12start_kernel17h0123456789abcdefE"),
            "start_kernel"
        );
        assert_eq!(short_name("start_kernel"), "start_kernel");
    }

    #[test]
    fn paths_are_split_outside_of_angle_brackets() {
        assert_eq!(split_path("<a::B as c::D>::run"), ["<a::B as c::D>", "run"]);
        assert_eq!(split_path("a::b::{closure#0}"), ["a", "b", "{closure#0}"]);
    }

    #[test]
    fn the_table_counts_from_the_first_byte_of_text() {
        let table = table(
            0x1000,
            &[(0x1000, "first".into()), (0x1234, "second".into())],
        );
        assert_eq!(&table[..12], b"KALLSYMS\x02\0\0\0");
        assert_eq!(
            &table[12..28],
            [0, 0, 0, 0, 0, 0, 0, 0, 0x34, 2, 0, 0, 6, 0, 0, 0]
        );
        assert_eq!(&table[28..], b"first\0second\0");
    }
}
