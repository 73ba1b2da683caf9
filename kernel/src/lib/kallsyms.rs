//! Names of the kernel's functions. Linux: kernel/kallsyms.c, lib/vsprintf.c (`%pS`).
//!
//! Linux links a compressed table into the image. Here the boot loader leaves the kernel's own ELF
//! file in memory, and its `.symtab` is read once.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt::{self, Write};

use elf::ElfBytes;
use elf::abi::{SHF_EXECINSTR, STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;

/// One function or label in an executable section.
#[derive(Clone, Copy, Debug)]
struct Symbol<'a> {
    addr: u64,
    /// Up to the next symbol, in bytes.
    size: u64,
    name: &'a str,
    binding: u8,
}

/// The function symbols of an ELF image, sorted by address, one per address.
#[derive(Debug, Default)]
pub struct Kallsyms<'a> {
    symbols: Vec<Symbol<'a>>,
}

/// A symbol that [`Kallsyms::lookup`] found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its name, for printing.
    pub name: SymbolName<'a>,
    /// Distance of the address from its start, in bytes.
    pub offset: u64,
    /// Distance of the next symbol from its start, in bytes.
    pub size: u64,
}

impl<'a> Kallsyms<'a> {
    /// The empty table: everything prints as a number.
    pub const fn empty() -> Self {
        Self {
            symbols: Vec::new(),
        }
    }

    /// Reads `.symtab` and `.strtab` of the raw ELF file `image`; `None` if it is no 64-bit ELF
    /// file or has no symbols.
    pub fn parse(image: &'a [u8]) -> Option<Self> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(image).ok()?;
        let sections = file.section_headers()?;
        let (table, strings) = file.symbol_table().ok()??;
        let mut symbols: Vec<Symbol<'a>> = table
            .iter()
            .filter(|symbol| matches!(symbol.st_symtype(), STT_FUNC | STT_NOTYPE))
            .filter(|symbol| {
                let section = sections.get(usize::from(symbol.st_shndx));
                section.is_ok_and(|s| s.sh_flags & u64::from(SHF_EXECINSTR) != 0)
            })
            .filter_map(|symbol| {
                let name = strings.get(symbol.st_name as usize).ok()?;
                let label = name.is_empty() || name.starts_with(['.', '$']);
                (!label).then_some(Symbol {
                    addr: symbol.st_value,
                    size: symbol.st_size,
                    name,
                    binding: symbol.st_bind(),
                })
            })
            .collect();
        // Of several names for an address, the one with a size is the function's own.
        let own = |s: &Symbol<'a>| (s.size == 0, s.binding == STB_LOCAL, s.name);
        symbols.sort_unstable_by(|a, b| a.addr.cmp(&b.addr).then_with(|| own(a).cmp(&own(b))));
        symbols.dedup_by_key(|symbol| symbol.addr);
        for i in 1..symbols.len() {
            symbols[i - 1].size = symbols[i].addr - symbols[i - 1].addr;
        }
        symbols.shrink_to_fit();
        (!symbols.is_empty()).then_some(Self { symbols })
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// True if every lookup fails.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The symbol that `addr` lies in. Linux: `kallsyms_lookup`.
    pub fn lookup(&self, addr: u64) -> Option<Found<'a>> {
        let after = self.symbols.partition_point(|symbol| symbol.addr <= addr);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        let offset = addr - symbol.addr;
        // Only the last symbol can end before the address; a label has no size.
        let inside = offset < symbol.size.max(1);
        inside.then_some(Found {
            name: SymbolName(symbol.name),
            offset,
            size: symbol.size,
        })
    }

    /// Address of the function `name`: as printed, with its whole path, or as the linker knows it.
    /// Linux: `kallsyms_lookup_name`.
    pub fn lookup_name(&self, name: &str) -> Option<u64> {
        let symbol = self.symbols.iter().find(|symbol| {
            symbol.name == name
                || equals(format_args!("{}", SymbolName(symbol.name)), name)
                || equals(format_args!("{:#}", SymbolName(symbol.name)), name)
        })?;
        Some(symbol.addr)
    }

    /// `name+0x12/0x40`, or `0x...` for an address outside every function. Linux: `%pS`.
    pub fn symbolize(&self, addr: u64) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| match self.lookup(addr) {
            Some(Found { name, offset, size }) => write!(f, "{name}+{offset:#x}/{size:#x}"),
            None => write!(f, "{addr:#x}"),
        })
    }

    /// [`Kallsyms::symbolize`] for a return address: a call at the very end of a function returns
    /// behind it, so the byte before counts. Linux: `%pB`.
    pub fn symbolize_return(&self, addr: u64) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| match self.lookup(addr.wrapping_sub(1)) {
            Some(Found { name, offset, size }) => write!(f, "{name}+{:#x}/{size:#x}", offset + 1),
            None => write!(f, "{addr:#x}"),
        })
    }

    /// Address, type letter (`T` global, `t` local, `W` weak) and name of every symbol, in rising
    /// order: the lines of /proc/kallsyms.
    pub fn iter(&self) -> impl Iterator<Item = (u64, char, SymbolName<'a>)> + '_ {
        self.symbols.iter().map(|symbol| {
            let letter = match symbol.binding {
                STB_GLOBAL => 'T',
                STB_WEAK => 'W',
                _ => 't',
            };
            (symbol.addr, letter, SymbolName(symbol.name))
        })
    }
}

/// A linker symbol that prints as a person would write it.
///
/// `{}` leaves out crates and modules: `kernel::init::main::start_kernel` is `start_kernel`,
/// `kernel::fs::file::File::read` is `File::read`, a closure keeps the function it is in. `{:#}`
/// prints the whole path. Hashes are always left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SymbolName<'a>(pub &'a str);

impl<'a> SymbolName<'a> {
    /// The name as the linker knows it.
    pub fn raw(&self) -> &'a str {
        self.0
    }
}

impl fmt::Display for SymbolName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rustc_demangle::try_demangle(self.0) {
            Err(_) => f.write_str(self.0),
            Ok(path) if f.alternate() => write!(f, "{path:#}"),
            Ok(path) => {
                let mut short = ShortPath {
                    out: f,
                    segment: Segment::new(),
                    colons: 0,
                };
                write!(short, "{path:#}")?;
                short.finish()
            }
        }
    }
}

impl fmt::Debug for SymbolName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A path segment that may turn out to be a module; longer ones are printed at once.
type Segment = super::seq_buf::StackString<64>;

/// Passes a path on without the modules in it.
struct ShortPath<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    /// The identifier being read.
    segment: Segment,
    /// Colons read since it ended.
    colons: usize,
}

impl ShortPath<'_, '_> {
    fn take(&mut self, c: char) -> fmt::Result {
        if c == ':' {
            self.colons += 1;
            return Ok(());
        }
        if self.colons > 0 {
            self.end_segment(c)?;
        }
        if c.is_alphanumeric() || c == '_' {
            if self.segment.as_str().len() > 56 {
                self.flush()?;
            }
            return self.segment.write_char(c);
        }
        self.flush()?;
        self.out.write_char(c)
    }

    /// Decides what becomes of the segment before the colons, now that `next` is known.
    fn end_segment(&mut self, next: char) -> fmt::Result {
        let segment = self.segment.as_str();
        let is_path = core::mem::take(&mut self.colons) == 2;
        let is_type = segment.is_empty() || segment.starts_with(char::is_uppercase);
        if is_path && !is_type && !matches!(next, '{' | '<') {
            self.segment.clear();
            return Ok(());
        }
        self.flush()?;
        self.out.write_str(if is_path { "::" } else { ":" })
    }

    fn flush(&mut self) -> fmt::Result {
        self.out.write_str(self.segment.as_str())?;
        self.segment.clear();
        Ok(())
    }

    fn finish(mut self) -> fmt::Result {
        self.flush()
    }
}

impl fmt::Write for ShortPath<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.take(c))
    }
}

/// Compares what `printed` prints with `expected`, without memory.
fn equals(printed: fmt::Arguments<'_>, expected: &str) -> bool {
    struct Rest<'a>(&'a str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(expected);
    fmt::write(&mut rest, printed).is_ok() && rest.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use uapi::Pod;
    use uapi::elf::{Elf64Ehdr, Elf64Shdr, Elf64Sym};

    fn short(mangled: &str) -> String {
        SymbolName(mangled).to_string()
    }

    /// An ELF file with a text section, a data section and the given symbols.
    fn image(symbols: &[(&str, u64, u64, u8, u16)]) -> Vec<u8> {
        let mut strings = alloc::vec![0];
        let mut table = alloc::vec![0u8; Elf64Sym::SIZE];
        for &(name, st_value, st_size, st_info, st_shndx) in symbols {
            let st_name = strings.len() as u32;
            strings.extend(name.bytes().chain([0]));
            let symbol = Elf64Sym {
                st_name,
                st_info,
                st_other: 0,
                st_shndx,
                st_value,
                st_size,
            };
            push(&mut table, &symbol);
        }
        let base = Elf64Ehdr::SIZE as u64;
        let shoff = base + (table.len() + strings.len()) as u64;
        let mut file = Vec::new();
        let mut e_ident = [0; 16];
        e_ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        push(
            &mut file,
            &Elf64Ehdr {
                e_ident,
                e_type: 2,
                e_machine: 62,
                e_version: 1,
                e_shoff: shoff,
                e_ehsize: 64,
                e_shentsize: 64,
                e_shnum: 5,
                ..Elf64Ehdr::default()
            },
        );
        file.extend(&table);
        file.extend(&strings);
        let section = |sh_type, sh_flags, sh_offset, sh_size, sh_link, sh_entsize| Elf64Shdr {
            sh_type,
            sh_flags,
            sh_offset,
            sh_size,
            sh_link,
            sh_entsize,
            ..Elf64Shdr::default()
        };
        let strings_at = base + table.len() as u64;
        push(&mut file, &section(0, 0, 0, 0, 0, 0));
        push(&mut file, &section(1, 6, 0, 0, 0, 0));
        push(&mut file, &section(1, 3, 0, 0, 0, 0));
        push(&mut file, &section(2, 0, base, table.len() as u64, 4, 24));
        push(
            &mut file,
            &section(3, 0, strings_at, strings.len() as u64, 0, 0),
        );
        file
    }

    fn push<T: Pod>(out: &mut Vec<u8>, value: &T) {
        let start = out.len();
        out.resize(start + T::SIZE, 0);
        value.write_to(&mut out[start..]);
    }

    const FUNC: u8 = 0x12;
    const LABEL: u8 = 0x10;

    fn sample() -> Vec<u8> {
        image(&[
            (
                "_RNvNtNtCs1234_6kernel4init4main12start_kernel",
                0x1000,
                0x40,
                FUNC,
                1,
            ),
            ("memcpy", 0x1080, 0x10, 0x02, 1),
            ("_stext", 0x1000, 0, LABEL, 1),
            ("_etext", 0x1100, 0, LABEL, 1),
            (".Lloop", 0x1010, 0, LABEL, 1),
            ("jiffies", 0x1020, 8, 0x11, 2),
            ("in_data", 0x1030, 8, FUNC, 2),
        ])
    }

    #[test]
    fn an_address_has_a_name_an_offset_and_a_size() {
        let image = sample();
        let table = Kallsyms::parse(&image).unwrap();
        assert_eq!(table.len(), 3);
        assert_eq!(table.symbolize(0x1000).to_string(), "start_kernel+0x0/0x80");
        assert_eq!(
            table.symbolize(0x1035).to_string(),
            "start_kernel+0x35/0x80"
        );
        assert_eq!(table.symbolize(0x1085).to_string(), "memcpy+0x5/0x80");
        assert_eq!(table.symbolize(0xfff).to_string(), "0xfff");
        assert_eq!(table.symbolize(0x1101).to_string(), "0x1101");
        assert_eq!(
            table.symbolize_return(0x1080).to_string(),
            "start_kernel+0x80/0x80"
        );
    }

    #[test]
    fn a_function_is_found_by_each_of_its_names() {
        let image = sample();
        let table = Kallsyms::parse(&image).unwrap();
        for name in ["start_kernel", "kernel::init::main::start_kernel"] {
            assert_eq!(table.lookup_name(name), Some(0x1000), "{name}");
        }
        assert_eq!(table.lookup_name("memcpy"), Some(0x1080));
        assert_eq!(
            (table.lookup_name("start"), table.lookup_name("jiffies")),
            (None, None)
        );
        let letters: String = table.iter().map(|(_, letter, _)| letter).collect();
        assert_eq!(letters, "TtT");
    }

    #[test]
    fn modules_are_left_out_and_types_and_closures_kept() {
        assert_eq!(
            short("_ZN6kernel4init4main12start_kernel17h0123456789abcdefE"),
            "start_kernel"
        );
        assert_eq!(
            short("_ZN6kernel2fs4file4File4read17h0123456789abcdefE"),
            "File::read"
        );
        assert_eq!(
            short(
                "_ZN6kernel4init4main9rest_init28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE"
            ),
            "rest_init::{{closure}}"
        );
        assert_eq!(
            short(
                "_ZN58_$LT$alloc..string..String$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE"
            ),
            "<String as Debug>::fmt"
        );
        assert_eq!(
            short("_RNCNvNtC6kernel4init9rest_init0"),
            "rest_init::{closure#0}"
        );
        assert_eq!(short("_RINvNtC6kernel3mem4swaphE"), "swap::<u8>");
        assert_eq!(short("entry_SYSCALL_64"), "entry_SYSCALL_64");
        let path = SymbolName("_ZN6kernel4init4main12start_kernel17h0123456789abcdefE");
        assert_eq!(
            alloc::format!("{path:#}"),
            "kernel::init::main::start_kernel"
        );
    }

    #[test]
    fn a_very_long_segment_is_printed_whole() {
        let long = "a".repeat(300);
        let mangled = alloc::format!("_ZN300{long}17h0123456789abcdefE");
        assert_eq!(short(&mangled), long);
    }

    #[test]
    fn what_is_no_elf_file_has_no_table() {
        assert!(Kallsyms::parse(b"").is_none());
        assert!(Kallsyms::parse(&[0x7f; 4096]).is_none());
        assert!(Kallsyms::parse(&image(&[])).is_none());
        let image = sample();
        for len in 0..image.len() {
            let _ = Kallsyms::parse(&image[..len]);
        }
        assert!(Kallsyms::empty().is_empty() && Kallsyms::empty().lookup(5).is_none());
    }

    #[test]
    fn it_reads_the_running_test_program() {
        extern crate std;
        let image = std::fs::read("/proc/self/exe").unwrap();
        let table = Kallsyms::parse(&image).unwrap();
        let addr = table.lookup_name("kernel::lib::kallsyms::equals").unwrap();
        assert!(
            table
                .symbolize(addr + 1)
                .to_string()
                .starts_with("equals+0x1/0x")
        );
    }
}
