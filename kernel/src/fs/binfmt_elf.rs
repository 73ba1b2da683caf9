//! ELF programs (Linux: fs/binfmt_elf.c).
//!
//! Every number in a file may be anything: sums are checked, and what Linux refuses is refused
//! with Linux's error.
#![forbid(unsafe_code)]

use core::ops::Range;

use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use elf::parse::ParseAt;
use elf::segment::ProgramHeader;
use uapi::elf::*;
use uapi::limits::PATH_MAX;
use uapi::mman::*;

use crate::arch::{PAGE_SHIFT, PAGE_SIZE, TASK_SIZE};
use crate::fs::elf_tables::{ElfImage, create_elf_tables};
use crate::fs::exec::{Binprm, Entry, ExeFile};
use crate::fs::exec_hooks;
use crate::fs::file::File;
use crate::mm::mmap::{MmStruct, MmapRequest};
use crate::mm::util::{
    arch_mmap_rnd, arch_randomize_brk, page_align, randomize_brk, randomize_stack_top,
};
use crate::mm::vma::VmFlags;
use crate::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;
/// Where position-independent programs with an interpreter go, before randomisation.
const ELF_ET_DYN_BASE: u64 = TASK_SIZE / 3 * 2;
/// Most bytes of program headers.
const MAX_PHDRS_SIZE: usize = 65536;
const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;

const fn page_start(addr: u64) -> u64 {
    addr & !(PAGE - 1)
}
const fn page_offset(addr: u64) -> u64 {
    addr & (PAGE - 1)
}

/// Errors: ENOEXEC unless the address is one of user space.
fn user_address(addr: u64, errno: Errno) -> Result<u64> {
    if addr < TASK_SIZE {
        Ok(addr)
    } else {
        Err(errno)
    }
}

/// A program or an interpreter: its file and its headers.
struct ElfFile {
    exe: Arc<ExeFile>,
    header: FileHeader<LittleEndian>,
    segments: Vec<ProgramHeader>,
}

/// Reads exactly `buf.len()` bytes (Linux: `elf_read`). Errors: EIO at the end of the file.
fn elf_read(file: &File, buf: &mut [u8], pos: u64) -> Result {
    let mut done = 0;
    while done < buf.len() {
        let at = pos.checked_add(done as u64).ok_or(Errno::EIO)?;
        match exec_hooks::kernel_read(file, &mut buf[done..], at)? {
            0 => return Err(Errno::EIO),
            count => done += count,
        }
    }
    Ok(())
}

/// The file header, if it is one that this machine runs.
fn parse_header(head: &[u8]) -> Option<FileHeader<LittleEndian>> {
    if !head.starts_with(&ELFMAG) {
        return None;
    }
    // As on Linux, the machine decides; class and byte order are what it implies.
    let ident = (LittleEndian, Class::ELF64, 0, 0);
    let header = FileHeader::parse_tail(ident, head.get(EI_NIDENT..EHDR_SIZE)?).ok()?;
    let kind_fits = header.e_type == ET_EXEC || header.e_type == ET_DYN;
    (kind_fits && header.e_machine == EM_X86_64).then_some(header)
}

impl ElfFile {
    /// Reads the program headers (Linux: `load_elf_phdrs`). Errors: `bad` for every fault of the
    /// file, ENOMEM.
    fn new(exe: Arc<ExeFile>, head: &[u8], bad: Errno) -> Result<ElfFile> {
        let header = parse_header(head).ok_or(bad)?;
        let size = usize::from(header.e_phnum) * PHDR_SIZE;
        if usize::from(header.e_phentsize) != PHDR_SIZE || size == 0 || size > MAX_PHDRS_SIZE {
            return Err(bad);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(size, 0);
        elf_read(exe.file(), &mut bytes, header.e_phoff).map_err(|_| bad)?;
        let mut segments = Vec::new();
        segments
            .try_reserve_exact(size / PHDR_SIZE)
            .map_err(|_| Errno::ENOMEM)?;
        let mut offset = 0;
        while offset < size {
            let segment = ProgramHeader::parse_at(LittleEndian, Class::ELF64, &mut offset, &bytes);
            segments.push(segment.map_err(|_| bad)?);
        }
        Ok(ElfFile {
            exe,
            header,
            segments,
        })
    }

    fn loads(&self) -> impl DoubleEndedIterator<Item = &ProgramHeader> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == PT_LOAD)
    }

    fn is_dyn(&self) -> bool {
        self.header.e_type == ET_DYN
    }

    /// Bytes from the first segment's first page to the last one's end (Linux:
    /// `total_mapping_size`). Errors: EINVAL without segments or when the numbers make no sense.
    fn total_mapping_size(&self) -> Result<u64> {
        let start = self
            .loads()
            .map(|segment| page_start(segment.p_vaddr))
            .min();
        let ends = self
            .loads()
            .map(|segment| segment.p_vaddr.checked_add(segment.p_memsz));
        let end = ends
            .collect::<Option<Vec<u64>>>()
            .and_then(|ends| ends.into_iter().max());
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Errno::EINVAL);
        };
        end.checked_sub(start)
            .filter(|&size| size != 0)
            .ok_or(Errno::EINVAL)
    }

    /// Greatest alignment that a segment asks for, a power of two (Linux: `maximum_alignment`).
    fn maximum_alignment(&self) -> u64 {
        let wanted = self.loads().map(|segment| segment.p_align);
        wanted
            .filter(|align| align.is_power_of_two())
            .max()
            .unwrap_or(0)
            .max(PAGE)
    }

    /// Path of the interpreter. Errors: ENOEXEC, EIO, ENOMEM.
    fn interpreter(&self) -> Result<Option<Vec<u8>>> {
        let Some(segment) = self
            .segments
            .iter()
            .find(|segment| segment.p_type == PT_INTERP)
        else {
            return Ok(None);
        };
        if segment.p_filesz > PATH_MAX as u64 || segment.p_filesz < 2 {
            return Err(Errno::ENOEXEC);
        }
        let mut path = vec![0; segment.p_filesz as usize];
        elf_read(self.exe.file(), &mut path, segment.p_offset)?;
        if path.pop() != Some(0) {
            return Err(Errno::ENOEXEC);
        }
        let end = path
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(path.len());
        path.truncate(end);
        Ok(Some(path))
    }

    /// PT_GNU_STACK with X; without the header, stacks of 64-bit programs are not executable.
    fn wants_executable_stack(&self) -> bool {
        let stack = self
            .segments
            .iter()
            .rfind(|segment| segment.p_type == PT_GNU_STACK);
        stack.is_some_and(|segment| segment.p_flags & PF_X != 0)
    }
}

/// Loads a program and its interpreter into the new address space and builds the stack.
/// Errors: ENOEXEC if the file is no program, ELIBBAD for a bad interpreter, EINVAL, EIO,
/// ENOMEM, EFAULT.
pub fn load_elf_binary(bprm: &mut Binprm) -> Result<Entry> {
    let program = ElfFile::new(bprm.exe.clone(), &bprm.head, Errno::ENOEXEC)?;
    let interpreter = match program.interpreter()? {
        Some(path) => Some(open_interpreter(&path)?),
        None => None,
    };
    let mm = bprm.mm.clone();
    let stack = if program.wants_executable_stack() {
        VmFlags::EXEC
    } else {
        VmFlags::empty()
    };
    let stack_top = page_start(randomize_stack_top());
    let image = map_program(&mm, &program, interpreter.as_ref())?;
    let sp = create_elf_tables(bprm, &image, stack_top, stack)?;
    mm.set_exe_file(Some(bprm.exe.clone()));
    Ok(Entry {
        ip: image.start_ip,
        sp,
    })
}

/// Errors: ELIBBAD, EIO, and those of opening a program.
fn open_interpreter(path: &[u8]) -> Result<ElfFile> {
    let exe = ExeFile::new(exec_hooks::open_exec(path)?)?;
    let mut head = [0; EHDR_SIZE];
    elf_read(exe.file(), &mut head, 0)?;
    ElfFile::new(exe, &head, Errno::ELIBBAD)
}

/// Where the parts of the program are, without its load bias.
#[derive(Default)]
struct Extent {
    code: Range<u64>,
    data: Range<u64>,
    brk: u64,
    /// Address of the program headers, 0 if no segment holds them.
    phdr: u64,
}

impl Extent {
    fn new() -> Extent {
        let code = Range {
            start: u64::MAX,
            end: 0,
        };
        Extent {
            code,
            ..Extent::default()
        }
    }

    /// Takes a segment in, after Linux's checks. Errors: EINVAL.
    fn add(&mut self, segment: &ProgramHeader, phoff: u64, bias: u64) -> Result {
        let start = segment.p_vaddr;
        check_segment(segment, bias).map_err(|_| Errno::EINVAL)?;
        let file_end = start + segment.p_filesz;
        if segment.p_offset <= phoff && phoff - segment.p_offset < segment.p_filesz {
            self.phdr = (phoff - segment.p_offset).wrapping_add(start);
        }
        if segment.p_flags & PF_X != 0 {
            self.code.start = self.code.start.min(start);
            self.code.end = self.code.end.max(file_end);
        }
        self.data.start = self.data.start.max(start);
        self.data.end = self.data.end.max(file_end);
        self.brk = self.brk.max(start + segment.p_memsz);
        Ok(())
    }
}

/// Whether a segment with its load bias is a sane part of user space. The bias may be "negative":
/// a library linked high moves down.
fn check_segment(segment: &ProgramHeader, bias: u64) -> Result<u64, ()> {
    let start = bias.wrapping_add(segment.p_vaddr);
    let size = segment.p_memsz;
    let sane = start < TASK_SIZE
        && segment.p_filesz <= size
        && size <= TASK_SIZE
        && TASK_SIZE - size >= start
        && segment.p_vaddr.checked_add(size).is_some();
    if sane { Ok(start) } else { Err(()) }
}

/// Maps the program and its interpreter (the middle of Linux's `load_elf_binary`).
fn map_program(
    mm: &MmStruct,
    program: &ElfFile,
    interpreter: Option<&ElfFile>,
) -> Result<ElfImage> {
    let mut extent = Extent::new();
    let mut bias = 0;
    for (index, segment) in program.loads().enumerate() {
        let vaddr = segment.p_vaddr;
        let (mut flags, mut total) = (MAP_FIXED, 0);
        if index == 0 {
            (bias, total) = first_bias(mm, program, interpreter.is_some())?;
            flags = if bias == 0 && program.is_dyn() {
                0
            } else {
                MAP_FIXED_NOREPLACE
            };
            if program.is_dyn() {
                bias = page_start(bias.wrapping_sub(vaddr));
            }
        }
        let at = bias.wrapping_add(vaddr);
        let mapped = elf_load(mm, program, segment, at, flags, total)?;
        if index == 0 && program.is_dyn() {
            bias = bias.wrapping_add(mapped.wrapping_sub(page_start(at)));
        }
        extent.add(segment, program.header.e_phoff, bias)?;
    }
    if extent.brk == 0 {
        return Err(Errno::EINVAL); // no segment at all
    }
    let entry = bias.wrapping_add(program.header.e_entry);
    let (start_ip, base) = match interpreter {
        Some(interpreter) => load_interpreter(mm, interpreter)?,
        None => (entry, 0),
    };
    user_address(start_ip, Errno::EINVAL)?;
    set_program_parts(mm, program, &extent, bias, interpreter.is_some());
    Ok(ElfImage {
        entry,
        start_ip,
        base,
        phdr: if extent.phdr == 0 {
            0
        } else {
            extent.phdr.wrapping_add(bias)
        },
        phnum: program.header.e_phnum,
    })
}

/// Where the first segment of a program should go, and how much room to take with it.
fn first_bias(mm: &MmStruct, program: &ElfFile, has_interpreter: bool) -> Result<(u64, u64)> {
    if !program.is_dyn() {
        return Ok((0, 0));
    }
    let total = program.total_mapping_size()?;
    let alignment = program.maximum_alignment();
    if has_interpreter {
        return Ok((
            (ELF_ET_DYN_BASE + arch_mmap_rnd()) & !(alignment - 1),
            total,
        ));
    }
    if alignment <= PAGE {
        return Ok((0, total)); // anywhere among the mappings
    }
    // A loader or a static program that wants more than page alignment: look for room that can
    // be cut to it.
    let room = total
        .checked_add(alignment)
        .and_then(page_align)
        .ok_or(Errno::ENOMEM)?;
    let found = mm.read().get_unmapped_area(0, room, 0)?;
    Ok((found.next_multiple_of(alignment), total))
}

/// Maps the interpreter: its first instruction and where it was loaded (Linux:
/// `load_elf_interp`). Errors: EINVAL, ENOMEM.
fn load_interpreter(mm: &MmStruct, interpreter: &ElfFile) -> Result<(u64, u64)> {
    let mut bias = 0;
    for (index, segment) in interpreter.loads().enumerate() {
        let (mut flags, mut total) = (MAP_FIXED, 0);
        if index == 0 {
            total = interpreter.total_mapping_size()?;
            if interpreter.is_dyn() {
                flags = 0;
                bias = 0u64.wrapping_sub(segment.p_vaddr);
            }
        }
        let at = bias.wrapping_add(segment.p_vaddr);
        let mapped = elf_load(mm, interpreter, segment, at, flags, total)?;
        if index == 0 && interpreter.is_dyn() {
            bias = mapped.wrapping_sub(page_start(segment.p_vaddr));
        }
        check_segment(segment, bias).map_err(|_| Errno::ENOMEM)?;
    }
    if interpreter.loads().next().is_none() {
        return Err(Errno::EINVAL);
    }
    let entry = user_address(bias.wrapping_add(interpreter.header.e_entry), Errno::EINVAL)?;
    Ok((entry, bias))
}

/// Maps one segment: file pages, a zeroed tail, anonymous memory for the rest. Returns where the
/// segment's first page is (Linux: `elf_load`). Errors: those of mmap(2), EFAULT.
fn elf_load(
    mm: &MmStruct,
    source: &ElfFile,
    segment: &ProgramHeader,
    addr: u64,
    flags: u32,
    total: u64,
) -> Result<u64> {
    if segment.p_filesz == 0 && segment.p_memsz == 0 {
        return Ok(page_start(addr));
    }
    let writable = segment.p_flags & PF_W != 0;
    let (mapped, file_end) = if segment.p_filesz == 0 {
        let room = page_align(total).ok_or(Errno::ENOMEM)?.max(PAGE);
        let place = find_place(mm, page_start(addr), room, flags)?;
        (place, place)
    } else {
        let mapped = elf_map(mm, source, segment, addr, flags, total)?;
        let offset = page_offset(segment.p_vaddr);
        let file_end = mapped
            .checked_add(offset)
            .and_then(|at| at.checked_add(segment.p_filesz));
        (mapped, file_end.ok_or(Errno::EINVAL)?)
    };
    if segment.p_memsz <= segment.p_filesz {
        return Ok(mapped);
    }
    let offset = page_offset(segment.p_vaddr);
    let end = mapped
        .checked_add(offset)
        .and_then(|at| at.checked_add(segment.p_memsz));
    let end = end.and_then(page_align).ok_or(Errno::ENOMEM)?;
    let tail = page_align(file_end).ok_or(Errno::ENOMEM)?;
    if segment.p_filesz != 0 && !zero(mm, file_end..tail) && writable {
        return Err(Errno::EFAULT);
    }
    let exec = if segment.p_flags & PF_X != 0 {
        VmFlags::EXEC
    } else {
        VmFlags::empty()
    };
    mm.vm_brk_flags(tail, end.saturating_sub(tail), exec)?;
    Ok(mapped)
}

/// Zeroes bytes of one page; false if the program could not write there either.
fn zero(mm: &MmStruct, range: Range<u64>) -> bool {
    static ZEROES: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
    let len = (range.end - range.start) as usize;
    mm.write_remote(range.start, &ZEROES[..len]) == len
}

/// Maps the pages of the file. With `total`, the place has room for the whole program, so that
/// the other segments fit behind it (Linux: `elf_map`).
fn elf_map(
    mm: &MmStruct,
    source: &ElfFile,
    segment: &ProgramHeader,
    addr: u64,
    flags: u32,
    total: u64,
) -> Result<u64> {
    let offset = page_offset(segment.p_vaddr);
    let len = segment
        .p_filesz
        .checked_add(offset)
        .and_then(page_align)
        .ok_or(Errno::EINVAL)?;
    let file_pos = segment.p_offset.checked_sub(offset).ok_or(Errno::EINVAL)?;
    if page_offset(file_pos) != 0 || file_pos.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    let whole = page_align(total).ok_or(Errno::ENOMEM)?.max(len);
    mm.do_mmap(MmapRequest {
        addr: find_place(mm, page_start(addr), whole, flags)?,
        len,
        prot: make_prot(segment.p_flags),
        flags: MAP_FIXED | MAP_PRIVATE,
        file: Some(source.exe.file().clone()),
        pgoff: file_pos >> PAGE_SHIFT,
    })
}

/// Where `len` bytes go by the MAP_* flags. Nobody else maps anything meanwhile: the address space
/// is not in use yet. Errors: ENOMEM, EEXIST.
fn find_place(mm: &MmStruct, addr: u64, len: u64, flags: u32) -> Result<u64> {
    let map = mm.read();
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) == 0 {
        return map.get_unmapped_area(addr, len, 0);
    }
    if len > TASK_SIZE || addr > TASK_SIZE - len {
        return Err(Errno::ENOMEM);
    }
    if flags & MAP_FIXED_NOREPLACE != 0 && !map.vmas.is_free(addr..addr + len) {
        return Err(Errno::EEXIST);
    }
    Ok(addr)
}

fn make_prot(flags: u32) -> u32 {
    let mut prot = PROT_NONE;
    for (flag, bit) in [(PF_R, PROT_READ), (PF_W, PROT_WRITE), (PF_X, PROT_EXEC)] {
        if flags & flag != 0 {
            prot |= bit;
        }
    }
    prot
}

/// Tells /proc where things are, and brk(2) where the heap begins.
fn set_program_parts(
    mm: &MmStruct,
    program: &ElfFile,
    extent: &Extent,
    bias: u64,
    has_interpreter: bool,
) {
    let at = |addr: u64| addr.wrapping_add(bias);
    let end = page_align(at(extent.brk)).unwrap_or(TASK_SIZE);
    // A static PIE sits among the mappings: its heap gets a place with room of its own.
    let own_place = randomize_brk() && program.is_dyn() && !has_interpreter;
    let brk = arch_randomize_brk(if own_place { ELF_ET_DYN_BASE } else { end });
    let mut map = mm.write();
    let parts = &mut map.parts;
    if extent.code.start < extent.code.end {
        (parts.start_code, parts.end_code) = (at(extent.code.start), at(extent.code.end));
    }
    // Signed programs of ours never wrap, but a hostile one may: keep start <= end.
    parts.start_data = at(extent.data.start);
    parts.end_data = at(extent.data.end).max(parts.start_data);
    (parts.start_brk, parts.brk) = (brk, brk);
}
