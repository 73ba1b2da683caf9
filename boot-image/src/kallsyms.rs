//! The kernel's own symbol table, put into the image after linking, so that an oops can name functions.
//!
//! The linker script reserves a section `.kallsyms` at the end of the image. Format, numbers little-endian: `KALLSYMS`,
//! the number of symbols, for each its offset from `_stext` and the offset of its name (u32 both, sorted by address),
//! then the names, each with a NUL.

use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

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
    let is_code = |symbol: &object::Symbol<'_, '_>| {
        let section = symbol.section_index();
        let section = section.and_then(|index| elf.section_by_index(index).ok());
        section.is_some_and(|section| section.kind() == SectionKind::Text)
    };
    // Entry points written in assembly have no type; a typed name at the same address is the better one.
    let mut symbols: Vec<(u64, bool, String)> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text || is_code(symbol))
        .filter(|symbol| symbol.address() != 0)
        .filter_map(|symbol| {
            let name = short_name(symbol.name().ok()?);
            Some((symbol.address(), symbol.kind() != SymbolKind::Text, name))
        })
        .collect();
    symbols.sort();
    symbols.dedup_by_key(|(address, ..)| *address);
    let named = |(address, _, name)| (address, name);
    symbols.into_iter().map(named).collect()
}

/// The name as a Linux reader knows it: `kernel::init::main::start_kernel` is `start_kernel`; a method keeps its type,
/// a closure its function; what a type or function is made for (`<T>`) is left out.
fn short_name(mangled: &str) -> String {
    short_path(&format!("{:#}", rustc_demangle::demangle(mangled)))
}

fn short_path(path: &str) -> String {
    // `function::<T>` has its arguments in a part of their own; in front stands `<Type as Trait>`.
    let is_name = |(index, part): &(usize, &str)| *index == 0 || !part.starts_with('<');
    let parts = split_path(path).into_iter().enumerate().filter(is_name);
    let parts: Vec<&str> = parts.map(|(_, part)| part).collect();
    let (last, owner) = match parts[..] {
        [.., owner, last] => (last, Some(owner)),
        [last] => (last, None),
        [] => return String::new(),
    };
    let keeps = |owner: &&str| {
        last.starts_with('{') || owner.starts_with(|c: char| c.is_ascii_uppercase() || c == '<')
    };
    let last = without_arguments(last);
    let short = match owner.filter(keeps) {
        Some(owner) => format!("{}::{last}", without_arguments(owner)),
        None => last,
    };
    short.chars().filter(|c| !c.is_whitespace()).collect()
}

/// `<path::Type<T> as Trait>` and `Type<T>` are `Type`.
fn without_arguments(part: &str) -> String {
    let inner = part
        .strip_prefix('<')
        .and_then(|part| part.strip_suffix('>'));
    match inner {
        Some(inner) => short_path(implementer(inner)),
        None => part.split('<').next().unwrap_or(part).to_owned(),
    }
}

/// What stands before ` as ` outside angle brackets.
fn implementer(text: &str) -> &str {
    let mut depth = 0i32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if !text[..at].ends_with('-') => depth -= 1,
            b' ' if depth == 0 && text[at..].starts_with(" as ") => return &text[..at],
            _ => {}
        }
    }
    text
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
    fn types_lose_their_path_and_what_they_are_made_for() {
        for (path, short) in [
            (
                "<kernel::sched::wait::WaitQueueHead>::wait",
                "WaitQueueHead::wait",
            ),
            (
                "<kernel::wait::Head>::wait_event::<<kernel::tty::Tty>::read::{closure#1}>",
                "Head::wait_event",
            ),
            (
                "<kernel::mutex::Mutex<alloc::Vec<u8>>>::lock_slow",
                "Mutex::lock_slow",
            ),
            (
                "<kernel::pipe::PipeFile as kernel::file::Operations<u8>>::read",
                "PipeFile::read",
            ),
            (
                "<kernel::ENTRIES::{closure#4} as core::FnOnce<(&u8,)>>::call_once",
                "ENTRIES::{closure#4}::call_once",
            ),
            (
                "kernel::fork::copy::<fn(u8) -> u8>::{closure#0}",
                "copy::{closure#0}",
            ),
            ("core::ptr::drop_in_place::<kernel::Task>", "drop_in_place"),
            ("<[u8] as core::cmp::Eq>::eq", "[u8]::eq"),
        ] {
            assert_eq!(short_path(path), short);
        }
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
