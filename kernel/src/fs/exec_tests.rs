//! Programs, scripts and mapped files, loaded into address spaces that nobody runs.

use core::cell::RefCell;
use std::collections::HashMap;

use uapi::auxvec::*;
use uapi::elf::*;
use uapi::mman::*;

use crate::arch::{PAGE_SIZE, TASK_SIZE};
use crate::fs::exec::{Binprm, Entry, exec_credentials};
use crate::fs::exec_args::{ArgArea, Strings};
use crate::fs::file::File;
use crate::kernel::cred::Cred;
use crate::kernel::sched::tests::run_as_lone_task;
use crate::mm::UserAddr;
use crate::mm::memory::{FaultAccess, FaultError, handle_mm_fault};
use crate::mm::mmap::{MmStruct, MmapRequest};
use crate::mm::shmem::shmem_file_setup;
use crate::mm::tests::{PAGE, new_mm};
use crate::prelude::*;

/// A regular file with these contents, open for reading and writing.
fn new_file(bytes: &[u8]) -> Arc<File> {
    run_as_lone_task();
    let file = shmem_file_setup(b"test", 0, 0o777).unwrap();
    let mapping = file.inode.mapping.as_ref().unwrap();
    for (index, chunk) in bytes.chunks(PAGE_SIZE).enumerate() {
        mapping
            .read_mapping_page(index as u64)
            .unwrap()
            .write(0, chunk);
    }
    file.inode.set_size(bytes.len() as u64);
    file
}

thread_local! {
    static PROGRAMS: RefCell<HashMap<Vec<u8>, Arc<File>>> = RefCell::default();
}

/// Replaces opening a path in these tests: there is no file system.
pub(super) fn stand_in(path: &[u8]) -> Option<Result<Arc<File>>> {
    PROGRAMS.with_borrow(|programs| {
        let known = !programs.is_empty();
        known.then(|| programs.get(path).cloned().ok_or(Errno::ENOENT))
    })
}

fn install(path: &str, bytes: &[u8]) -> Arc<File> {
    let file = new_file(bytes);
    PROGRAMS.with_borrow_mut(|programs| programs.insert(path.into(), file.clone()));
    file
}

/// One PT_LOAD.
#[derive(Clone, Copy)]
struct Load {
    flags: u32,
    offset: u64,
    vaddr: u64,
    filesz: u64,
    memsz: u64,
}

/// Builds an ELF file: headers, then `size` bytes that count up.
struct Builder {
    kind: u16,
    entry: u64,
    loads: Vec<Load>,
    interp: Option<&'static str>,
    size: usize,
}

impl Builder {
    fn exec() -> Self {
        let text = Load {
            flags: PF_R | PF_X,
            offset: 0,
            vaddr: 0x40_0000,
            filesz: 0x1800,
            memsz: 0x1800,
        };
        let data = Load {
            flags: PF_R | PF_W,
            offset: 0x1800,
            vaddr: 0x40_2800,
            filesz: 0x900,
            memsz: 0x3000,
        };
        Builder {
            kind: ET_EXEC,
            entry: 0x40_1000,
            loads: vec![text, data],
            interp: None,
            size: 0x4000,
        }
    }

    fn pie(interp: Option<&'static str>) -> Self {
        let mut builder = Self::exec();
        builder.kind = ET_DYN;
        builder.entry -= 0x40_0000;
        builder
            .loads
            .iter_mut()
            .for_each(|load| load.vaddr -= 0x40_0000);
        builder.interp = interp;
        builder
    }

    fn build(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..self.size).map(|n| (n / 7) as u8).collect();
        let phnum = self.loads.len() + 1 + usize::from(self.interp.is_some());
        let header = Elf64Ehdr {
            e_ident: [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            e_type: self.kind,
            e_machine: EM_X86_64,
            e_version: 1,
            e_entry: self.entry,
            e_phoff: 64,
            e_ehsize: 64,
            e_phentsize: 56,
            e_phnum: phnum as u16,
            ..Elf64Ehdr::default()
        };
        put(&mut bytes, 0, &header);
        let mut at = 64;
        if let Some(path) = self.interp {
            let size = path.len() as u64 + 1;
            bytes[0x300..0x300 + path.len()].copy_from_slice(path.as_bytes());
            bytes[0x300 + path.len()] = 0;
            let phdr = Elf64Phdr {
                p_type: PT_INTERP,
                p_offset: 0x300,
                p_filesz: size,
                p_memsz: size,
                ..Elf64Phdr::default()
            };
            put(&mut bytes, at, &phdr);
            at += 56;
        }
        for load in &self.loads {
            let phdr = Elf64Phdr {
                p_type: PT_LOAD,
                p_flags: load.flags,
                p_offset: load.offset,
                p_vaddr: load.vaddr,
                p_filesz: load.filesz,
                p_memsz: load.memsz,
                p_align: PAGE,
                ..Elf64Phdr::default()
            };
            put(&mut bytes, at, &phdr);
            at += 56;
        }
        put(
            &mut bytes,
            at,
            &Elf64Phdr {
                p_type: PT_GNU_STACK,
                p_flags: PF_R | PF_W,
                ..Elf64Phdr::default()
            },
        );
        bytes
    }
}

fn put<T: uapi::Pod>(bytes: &mut [u8], at: usize, value: &T) {
    value.write_to(&mut bytes[at..at + T::SIZE]);
}

const ARGV: &[&[u8]] = &[b"prog", b"one", b""];
const ENVP: &[&[u8]] = &[b"HOME=/", b"TERM=linux"];

/// Loads `file` as `/bin/prog` with two arguments and two environment strings.
fn load(file: Arc<File>) -> Result<(Binprm, Entry)> {
    let mut bprm = Binprm::new(file, b"/bin/prog".to_vec(), &Cred::root())?;
    bprm.args
        .fill(Strings::Kernel(ARGV), Strings::Kernel(ENVP), b"/bin/prog")?;
    let entry = bprm.load()?;
    Ok((bprm, entry))
}

fn load_bytes(bytes: &[u8]) -> Result<(Binprm, Entry)> {
    load(new_file(bytes))
}

fn word(mm: &MmStruct, at: u64) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(mm.read_remote(at, &mut bytes), 8, "at {at:#x}");
    u64::from_le_bytes(bytes)
}

fn text(mm: &MmStruct, at: u64) -> Vec<u8> {
    let mut text = Vec::new();
    let mut byte = [1];
    while mm.read_remote(at + text.len() as u64, &mut byte) == 1 && byte[0] != 0 {
        text.push(byte[0]);
    }
    text
}

/// What a program reads from its first stack.
struct Stack {
    argv: Vec<Vec<u8>>,
    envp: Vec<Vec<u8>>,
    auxv: HashMap<u64, u64>,
}

fn read_stack(mm: &MmStruct, sp: u64) -> Stack {
    assert_eq!(sp % 16, 0);
    let argc = word(mm, sp);
    let mut at = sp + 8;
    let mut strings = || {
        let mut list = Vec::new();
        loop {
            let pointer = word(mm, at);
            at += 8;
            if pointer == 0 {
                return list;
            }
            list.push(text(mm, pointer));
        }
    };
    let (argv, envp) = (strings(), strings());
    assert_eq!(argv.len() as u64, argc);
    let mut auxv = HashMap::new();
    while word(mm, at) != AT_NULL {
        auxv.insert(word(mm, at), word(mm, at + 8));
        at += 16;
    }
    Stack { argv, envp, auxv }
}

#[test]
fn a_static_program_is_mapped_where_it_says() {
    let bytes = Builder::exec().build();
    let (bprm, entry) = load_bytes(&bytes).unwrap();
    let mm = &bprm.mm;
    assert_eq!(entry.ip, 0x40_1000);
    let mut head = [0; 16];
    assert_eq!(mm.read_remote(0x40_0000, &mut head), 16);
    assert_eq!(head[..], bytes[..16]);
    assert_eq!(
        text(mm, 0x40_2800 + 0x8ff)[0],
        bytes[0x1800 + 0x8ff],
        "last byte from the file"
    );
    let zeroes = 0x40_2800 + 0x900..0x40_2800 + 0x3000;
    assert!(
        zeroes.step_by(8).all(|at| word(mm, at) == 0),
        "the tail and the bss are zero"
    );
    assert_eq!(mm.write_remote(0x40_1000, b"x"), 0, "text is read-only");
    assert_eq!(mm.write_remote(0x40_2000, b"x"), 1);
    let parts = mm.read().parts.clone();
    assert_eq!((parts.start_code, parts.end_code), (0x40_0000, 0x40_1800));
    assert_eq!((parts.start_data, parts.end_data), (0x40_2800, 0x40_3100));
    assert!(parts.start_brk >= 0x40_6000 && parts.start_brk < 0x40_6000 + 0x201_0000);
    assert_eq!(parts.start_stack, entry.sp);
}

#[test]
fn the_stack_carries_arguments_environment_and_auxiliary_vector() {
    let (bprm, entry) = load_bytes(&Builder::exec().build()).unwrap();
    let stack = read_stack(&bprm.mm, entry.sp);
    assert_eq!(stack.argv, [&b"prog"[..], b"one", b""]);
    assert_eq!(stack.envp, [&b"HOME=/"[..], b"TERM=linux"]);
    let aux = &stack.auxv;
    assert_eq!(
        (aux[&AT_PHDR], aux[&AT_PHNUM], aux[&AT_PHENT]),
        (0x40_0040, 3, 56)
    );
    assert_eq!(
        (aux[&AT_ENTRY], aux[&AT_BASE], aux[&AT_PAGESZ]),
        (0x40_1000, 0, 4096)
    );
    assert_eq!(
        (aux[&AT_UID], aux[&AT_SECURE], aux[&AT_CLKTCK]),
        (0, 0, 100)
    );
    assert_eq!(text(&bprm.mm, aux[&AT_EXECFN]), b"/bin/prog");
    assert_eq!(text(&bprm.mm, aux[&AT_PLATFORM]), b"x86_64");
    assert_ne!(
        (
            word(&bprm.mm, aux[&AT_RANDOM]),
            word(&bprm.mm, aux[&AT_RANDOM] + 8)
        ),
        (0, 0)
    );
    assert!(!aux.contains_key(&AT_SYSINFO_EHDR), "there is no vDSO");
    let parts = bprm.mm.read().parts.clone();
    let mut line = [0; 10];
    assert_eq!(parts.arg_end - parts.arg_start, 10);
    bprm.mm.read_remote(parts.arg_start, &mut line);
    assert_eq!(&line, b"prog\0one\0\0");
    assert_eq!(
        (parts.env_start, parts.env_end - parts.env_start),
        (parts.arg_end, 7 + 11)
    );
    assert_eq!(parts.saved_auxv.len() % 2, 0);
}

#[test]
fn a_static_pie_gets_a_place_and_a_heap_of_its_own() {
    let (bprm, entry) = load_bytes(&Builder::pie(None).build()).unwrap();
    let aux = read_stack(&bprm.mm, entry.sp).auxv;
    let base = entry.ip - 0x1000;
    assert_eq!(
        (base % PAGE, aux[&AT_ENTRY], aux[&AT_PHDR], aux[&AT_BASE]),
        (0, entry.ip, base + 64, 0)
    );
    assert!(bprm.mm.read().parts.brk < base);
    assert_eq!(bprm.mm.brk(0), bprm.mm.read().parts.brk);
    let grown = bprm.mm.brk(0) + 0x10_0000;
    assert_eq!(bprm.mm.brk(grown), grown);
}

#[test]
fn a_dynamic_program_starts_in_its_interpreter() {
    install("/lib/ld.so", &Builder::pie(None).build());
    let (bprm, entry) = load_bytes(&Builder::pie(Some("/lib/ld.so")).build()).unwrap();
    let aux = read_stack(&bprm.mm, entry.sp).auxv;
    assert_eq!(entry.ip, aux[&AT_BASE] + 0x1000);
    assert_eq!(aux[&AT_PHDR], aux[&AT_ENTRY] - 0x1000 + 64);
    assert!(
        aux[&AT_ENTRY] < aux[&AT_BASE],
        "the interpreter is among the mappings"
    );
    assert!(aux[&AT_ENTRY] > TASK_SIZE / 3 * 2);
}

#[test]
fn interpreters_that_are_not_there_or_no_programs_are_errors() {
    let dynamic = |path| Builder::pie(Some(path)).build();
    assert_eq!(load_bytes(&dynamic("/lib/none")).err(), Some(Errno::ENOENT));
    install("/lib/text", &[b'x'; 4096]);
    assert_eq!(
        load_bytes(&dynamic("/lib/text")).err(),
        Some(Errno::ELIBBAD)
    );
    install("/lib/short", b"\x7fELF");
    assert_eq!(load_bytes(&dynamic("/lib/short")).err(), Some(Errno::EIO));
}

#[test]
fn bad_headers_are_refused_with_linuxs_errors() {
    let good = Builder::exec().build();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        load_bytes(&bytes).err()
    };
    assert_eq!(with(&|_| ()), None);
    assert_eq!(with(&|bytes| bytes.clear()), Some(Errno::ENOEXEC));
    assert_eq!(with(&|bytes| bytes.truncate(63)), Some(Errno::ENOEXEC));
    assert_eq!(with(&|bytes| bytes.truncate(100)), Some(Errno::ENOEXEC));
    assert_eq!(
        with(&|bytes| bytes[16] = 1),
        Some(Errno::ENOEXEC),
        "relocatable"
    );
    assert_eq!(with(&|bytes| bytes[18] = 3), Some(Errno::ENOEXEC), "i386");
    assert_eq!(
        with(&|bytes| bytes[54] = 55),
        Some(Errno::ENOEXEC),
        "e_phentsize"
    );
    assert_eq!(
        with(&|bytes| bytes[56] = 0),
        Some(Errno::ENOEXEC),
        "no program headers"
    );
    assert_eq!(
        with(&|bytes| bytes[57] = 0xff),
        Some(Errno::ENOEXEC),
        "too many"
    );
    assert_eq!(
        with(&|bytes| bytes[64 + 8] = 1),
        Some(Errno::EINVAL),
        "offset and address disagree"
    );
    let memsz = 64 + 56 + 40;
    assert_eq!(
        with(&|bytes| put(bytes, memsz, &0u64)),
        Some(Errno::EINVAL),
        "p_filesz > p_memsz"
    );
    assert!(with(&|bytes| put(bytes, memsz, &u64::MAX)).is_some());
    assert!(with(&|bytes| put(bytes, memsz, &TASK_SIZE)).is_some());
    let none = Builder {
        loads: vec![],
        ..Builder::exec()
    };
    assert_eq!(load_bytes(&none.build()).err(), Some(Errno::EINVAL));
    assert_eq!(
        with(&|bytes| put(bytes, 24, &u64::MAX)),
        Some(Errno::EINVAL),
        "entry point"
    );
}

#[test]
fn no_flipped_bit_in_the_headers_makes_trouble() {
    install("/lib/ld.so", &Builder::pie(None).build());
    for builder in [
        Builder::exec(),
        Builder::pie(None),
        Builder::pie(Some("/lib/ld.so")),
    ] {
        let good = builder.build();
        for bit in 0..(64 + 4 * 56) * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok((bprm, entry)) = load_bytes(&bytes) {
                assert!(entry.ip < TASK_SIZE && entry.sp < TASK_SIZE);
                let _ = handle_mm_fault(&bprm.mm, UserAddr::new(entry.ip), FaultAccess::EXEC);
            }
        }
    }
}

#[test]
fn random_bytes_in_the_headers_make_no_trouble() {
    let mut seed = 1u64;
    let mut random = || {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        seed >> 33
    };
    install("/lib/ld.so", &Builder::pie(None).build());
    let good = [
        Builder::exec().build(),
        Builder::pie(Some("/lib/ld.so")).build(),
    ];
    for round in 0..2000 {
        let mut bytes = good[round % 2].clone();
        for _ in 0..1 + random() % 4 {
            let at = (random() % (64 + 4 * 56 - 8)) as usize;
            let value = match random() % 5 {
                0 => u64::MAX << (random() % 64),
                1 => 1 << (random() % 64),
                2 => TASK_SIZE.wrapping_sub(random() % 3 * PAGE),
                3 => random(),
                _ => random() << 31 | random(),
            };
            put(&mut bytes, at, &value);
        }
        bytes.truncate(bytes.len() - (random() % 4 * 0x1000 / 3) as usize);
        let _ = load_bytes(&bytes);
    }
}

#[test]
fn scripts_run_their_interpreter_with_the_script_as_an_argument() {
    install("/bin/sh", &Builder::exec().build());
    let (bprm, entry) = load_bytes(b"#!/bin/sh -e x\necho\n").unwrap();
    let stack = read_stack(&bprm.mm, entry.sp);
    assert_eq!(
        stack.argv,
        [&b"/bin/sh"[..], b"-e x", b"/bin/prog", b"one", b""]
    );
    assert_eq!(stack.envp.len(), 2);
    assert_eq!(text(&bprm.mm, stack.auxv[&AT_EXECFN]), b"/bin/prog");
    install("/bin/loop", b"#!/bin/loop\n");
    assert_eq!(load_bytes(b"#!/bin/loop\n").err(), Some(Errno::ELOOP));
    assert_eq!(load_bytes(b"#!/bin/none\n").err(), Some(Errno::ENOENT));
    install("/bin/s2", b"#!/bin/s3 c\n");
    install("/bin/s3", b"#!/bin/s4 d\n");
    install("/bin/s4", b"#!/bin/s5 e\n");
    install("/bin/s5", b"#!/bin/sh f\n");
    let (bprm, entry) = load_bytes(b"#!/bin/s2 b\n").unwrap();
    let argv = read_stack(&bprm.mm, entry.sp).argv;
    let expected: [&[u8]; 12] = [
        b"/bin/sh",
        b"f",
        b"/bin/s5",
        b"e",
        b"/bin/s4",
        b"d",
        b"/bin/s3",
        b"c",
        b"/bin/s2",
        b"b",
        b"/bin/prog",
        b"one",
    ];
    assert_eq!(argv[..12], expected);
    install("/bin/s1", b"#!/bin/s2 b\n");
    assert_eq!(
        load_bytes(b"#!/bin/s1 a\n").err(),
        Some(Errno::ELOOP),
        "a sixth level"
    );
}

#[test]
fn too_many_arguments_are_refused() {
    let long = vec![b'x'; 100_000];
    let few: Vec<&[u8]> = vec![&long; 10];
    let many: Vec<&[u8]> = vec![&long; 30];
    let mut area = ArgArea::new(8 << 20);
    area.fill(Strings::Kernel(&few), Strings::Kernel(&[]), b"f")
        .unwrap();
    let mut area = ArgArea::new(8 << 20);
    assert_eq!(
        area.fill(Strings::Kernel(&many), Strings::Kernel(&[]), b"f"),
        Err(Errno::E2BIG)
    );
    let tiny: Vec<&[u8]> = vec![b""; 20_000];
    let mut area = ArgArea::new(0);
    assert_eq!(
        area.fill(Strings::Kernel(&tiny), Strings::Kernel(&[]), b"f"),
        Err(Errno::E2BIG),
        "pointers count"
    );
}

#[test]
fn an_empty_argument_list_becomes_one_empty_argument() {
    let mut bprm = Binprm::new(
        new_file(&Builder::exec().build()),
        b"p".to_vec(),
        &Cred::root(),
    )
    .unwrap();
    bprm.args
        .fill(Strings::Kernel(&[]), Strings::Kernel(&[]), b"p")
        .unwrap();
    let entry = bprm.load().unwrap();
    assert_eq!(read_stack(&bprm.mm, entry.sp).argv, [b""]);
}

#[test]
fn set_user_id_programs_are_secure_and_lose_or_gain_capabilities() {
    let mut user = Cred {
        uid: 1000,
        euid: 1000,
        gid: 1000,
        egid: 1000,
        ..Cred::root()
    };
    assert!(!exec_credentials(&mut user));
    assert_eq!(
        (user.suid, user.cap_effective, user.cap_permitted),
        (1000, 0, 0)
    );
    user.euid = 0;
    assert!(exec_credentials(&mut user));
    assert_eq!((user.fsuid, user.cap_effective), (0, user.cap_bset));
}

fn map_file(mm: &MmStruct, file: &Arc<File>, pages: u64, prot: u32, flags: u32) -> Result<u64> {
    let file = Some(file.clone());
    mm.do_mmap(MmapRequest {
        addr: 0,
        len: pages * PAGE,
        prot,
        flags,
        file,
        pgoff: 0,
    })
}

fn byte(mm: &MmStruct, at: u64) -> Option<u8> {
    let mut byte = [0];
    (mm.read_remote(at, &mut byte) == 1).then_some(byte[0])
}

#[test]
fn private_file_mappings_keep_their_changes_to_themselves() {
    let file = new_file(&[7; 3 * PAGE_SIZE + 5]);
    let mm = new_mm();
    let private = map_file(&mm, &file, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE).unwrap();
    let shared = map_file(&mm, &file, 4, PROT_READ | PROT_WRITE, MAP_SHARED).unwrap();
    assert_eq!(byte(&mm, private), Some(7));
    assert_eq!(mm.rss().file(), 4, "one fault maps the neighbours too");
    assert_eq!(mm.write_remote(private, b"p"), 1);
    assert_eq!(mm.write_remote(private + PAGE, b"p"), 1);
    assert_eq!(
        (byte(&mm, shared), byte(&mm, shared + PAGE)),
        (Some(7), Some(7))
    );
    assert_eq!(mm.write_remote(shared, b"s"), 1);
    assert_eq!(mm.write_remote(shared + 2 * PAGE, b"s"), 1);
    assert_eq!(
        (byte(&mm, private), byte(&mm, private + 2 * PAGE)),
        (Some(b'p'), Some(b's'))
    );
    assert_eq!(
        (mm.rss().anon(), byte(&mm, private + 3 * PAGE + 5)),
        (2, Some(0))
    );
    let child = mm.dup().unwrap();
    assert_eq!(child.write_remote(private, b"c"), 1);
    assert_eq!(child.write_remote(shared + PAGE, b"c"), 1);
    assert_eq!(
        (byte(&mm, private), byte(&mm, shared + PAGE)),
        (Some(b'p'), Some(b'c'))
    );
}

#[test]
fn pages_beyond_the_end_of_a_file_are_bus_errors() {
    let file = new_file(&[7; PAGE_SIZE + 1]);
    let mm = new_mm();
    let at = map_file(&mm, &file, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE).unwrap();
    let fault = |page| handle_mm_fault(&mm, UserAddr::new(at + page * PAGE), FaultAccess::empty());
    assert_eq!((fault(1), fault(2)), (Ok(()), Err(FaultError::BUS)));
    assert_eq!(byte(&mm, at + PAGE + 1), Some(0));
}

#[test]
fn executable_file_pages_may_be_fetched_and_others_may_not() {
    let file = new_file(&[0x90; PAGE_SIZE]);
    let mm = new_mm();
    let text = map_file(&mm, &file, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE).unwrap();
    let data = map_file(&mm, &file, 1, PROT_READ, MAP_PRIVATE).unwrap();
    let fetch = |at| handle_mm_fault(&mm, UserAddr::new(at), FaultAccess::EXEC);
    assert_eq!(
        (fetch(text), fetch(data)),
        (Ok(()), Err(FaultError::ACCERR))
    );
    assert!(
        mm.page_table()
            .lookup(UserAddr::new(text))
            .unwrap()
            .is_executable()
    );
    byte(&mm, data);
    assert!(
        !mm.page_table()
            .lookup(UserAddr::new(data))
            .unwrap()
            .is_executable()
    );
    assert_eq!(map_file(&mm, &file, 1, PROT_READ, 0), Err(Errno::EINVAL));
    assert_eq!(
        map_file(&mm, &file, 1, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN),
        Err(Errno::EINVAL)
    );
}

#[test]
fn truncated_pages_leave_every_mapping() {
    let file = new_file(&[7; 3 * PAGE_SIZE]);
    let mm = new_mm();
    let shared = map_file(&mm, &file, 3, PROT_READ, MAP_SHARED).unwrap();
    let private = map_file(&mm, &file, 3, PROT_READ | PROT_WRITE, MAP_PRIVATE).unwrap();
    assert_eq!(
        (byte(&mm, shared), mm.write_remote(private + 2 * PAGE, b"p")),
        (Some(7), 1)
    );
    let child = mm.dup().unwrap();
    assert_eq!(byte(&child, shared + PAGE), Some(7));
    file.inode.set_size(PAGE);
    file.inode.mapping.as_ref().unwrap().truncate(PAGE);
    for mm in [&mm, &child] {
        assert_eq!((byte(mm, shared), byte(mm, shared + PAGE)), (Some(7), None));
        assert_eq!(byte(mm, private + 2 * PAGE), None, "private copies go too");
    }
}

#[test]
fn a_running_program_cannot_be_opened_for_writing() {
    let file = new_file(&Builder::exec().build());
    file.inode.get_write_access().unwrap();
    assert_eq!(load(file.clone()).err(), Some(Errno::ETXTBSY));
    file.inode.put_write_access();
    let (bprm, _) = load(file.clone()).unwrap();
    let mm = bprm.mm.clone();
    drop(bprm);
    assert_eq!(file.inode.get_write_access(), Err(Errno::ETXTBSY));
    drop(mm);
    assert_eq!(file.inode.get_write_access(), Ok(()));
}
