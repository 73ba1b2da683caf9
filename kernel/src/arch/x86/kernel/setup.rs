//! Everything the machine has to be asked before memory management (Linux:
//! arch/x86/kernel/setup.c).

use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu::{self, Feature, boot_cpu_has};
use super::e820::{E820Kind, E820Table};
use super::head64::{boot_params, loader_memory, raw_memory_map};
use crate::arch::x86::asm::page::{PAGE_SHIFT, PAGE_SIZE, phys_to_virt};
use crate::arch::x86::mm::init::{ISA_END_ADDRESS, init_mem_mapping, reserve_kernel_image};
use crate::arch::x86::mm::init_64::Cache;
use crate::arch::x86::mm::ioremap::{ioremap, iounmap};
use crate::arch::x86::mm::pat::{pat_init, pat_report};
use crate::mm::memblock::{PhysRange, memblock, memblock_init};
use crate::mm::{Pfn, PhysAddr};
use crate::prelude::*;

/// Page frames that the direct map has room for.
const MAX_ARCH_PFN: u64 = 1 << (46 - PAGE_SHIFT);
/// Memory at the bottom that firmware writes to behind our back (Linux: `X86_RESERVE_LOW`).
const RESERVE_LOW: u64 = 64 << 10;
/// The page that other CPUs start in, below 1 MiB; part of what `RESERVE_LOW` keeps.
pub const TRAMPOLINE: PhysAddr = PhysAddr::new(0x8000);
/// Video memory and ROMs begin here.
const BIOS_BEGIN: u64 = 0xa_0000;

/// Highest page frame of RAM plus one (Linux: `max_pfn`).
static MAX_PFN: AtomicU64 = AtomicU64::new(0);
/// What `mem=` allows, in bytes.
static MEM_LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);
/// The initramfs after `reserve_initrd`.
static INITRD: spin::Once<PhysRange> = spin::Once::new();

/// One past the highest page frame of RAM.
pub fn max_pfn() -> Pfn {
    Pfn(MAX_PFN.load(Ordering::Relaxed))
}

/// Asks the machine and takes over its memory (Linux: `setup_arch`).
///
/// On entry: `head64` is done; no allocation of any kind is possible. `parse_early_param` sees
/// the command line at Linux's place for it: after the firmware's memory map is known, before it
/// is used.
/// On return: memblock holds the RAM and what of it is taken, the kernel runs on its own page
/// tables, the initramfs is in the direct map. The result is the command line.
#[__init]
pub fn setup_arch(parse_early_param: fn(&str)) -> &'static str {
    let command_line = boot_params().command_line.as_str();
    pr_info!("Command line: {command_line}");
    cpu::common::early_cpu_init(); //   features decide how memory is mapped
    e820_memory_setup(); //             says what the firmware said
    report_nx();
    parse_early_param(command_line); // `mem=` changes the map
    e820_limit();
    trim_bios_range(); //               before anything counts pages
    report_last_pfn();
    pat_init();
    pat_report();
    memblock_setup().expect("the memory map is too cut up");
    init_mem_mapping().expect("no memory for page tables");
    release_loader_memory(); //         its page tables are no longer in use
    reserve_initrd();
    command_line
}

/// Cleans the map and prints it (Linux: `e820__memory_setup`).
#[__init]
fn e820_memory_setup() {
    let mut map = raw_memory_map();
    with_scratch(|scratch| map.sanitize(scratch));
    pr_info!("BIOS-provided physical RAM map:");
    print_map("BIOS-e820", &map);
    if map.dropped() != 0 {
        pr_warn!("e820: too many entries, {} left out", map.dropped());
    }
}

fn print_map(who: &str, map: &E820Table) {
    for entry in map.entries() {
        pr_info!("{who}: {entry}");
    }
}

/// A table for e820's intermediate results; the stack has no room for one.
fn with_scratch<R>(work: impl FnOnce(&mut E820Table) -> R) -> R {
    #[unsafe(link_section = ".bss..init")]
    static SCRATCH: SpinLock<E820Table> = SpinLock::new(E820Table::new());
    work(&mut SCRATCH.lock())
}

/// Changes the kind of a range, and says so as Linux does (Linux: `e820__range_update`).
fn update(map: &mut E820Table, start: u64, end: u64, new: Option<E820Kind>) {
    let last = end - 1;
    match new {
        Some(new) => pr_debug!(
            "e820: update [mem {start:#010x}-{last:#010x}] {} ==> {new}",
            E820Kind::RAM
        ),
        None => pr_debug!(
            "e820: remove [mem {start:#010x}-{last:#010x}] {}",
            E820Kind::RAM
        ),
    }
    with_scratch(|scratch| map.update(start, end, E820Kind::RAM, new, scratch));
}

/// Linux: `x86_report_nx`.
#[__init]
fn report_nx() {
    if boot_cpu_has(Feature::NX) {
        pr_info!("NX (Execute Disable) protection: active");
    } else {
        pr_notice!("Notice: NX (Execute Disable) protection missing in CPU!");
    }
}

/// `mem=SIZE`: RAM above SIZE is not used.
#[__init]
fn parse_memopt(value: &str) -> Result {
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'k' | b'K') => (&value[..value.len() - 1], 10),
        Some(b'm' | b'M') => (&value[..value.len() - 1], 20),
        Some(b'g' | b'G') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let bytes = number
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|&bytes| bytes > 0)
        .ok_or(Errno::EINVAL)?;
    MEM_LIMIT.store(bytes, Ordering::Relaxed);
    Ok(())
}
crate::early_param!("mem", parse_memopt);

/// Cuts off what `mem=` does not allow (Linux: `e820__finish_early_params`).
#[__init]
fn e820_limit() {
    let limit = MEM_LIMIT.load(Ordering::Relaxed);
    if limit != u64::MAX {
        let mut map = raw_memory_map();
        update(&mut map, limit, u64::MAX, None);
        pr_info!("e820: user-defined physical RAM map:");
        print_map("user", &map);
    }
}

/// Page 0 belongs to the BIOS, and there is no RAM where video memory and ROMs are, whatever the
/// map says (Linux: `trim_bios_range`).
#[__init]
fn trim_bios_range() {
    let mut map = raw_memory_map();
    update(&mut map, 0, PAGE_SIZE as u64, Some(E820Kind::RESERVED));
    update(&mut map, BIOS_BEGIN, ISA_END_ADDRESS, None);
}

/// Linux: `e820__end_of_ram_pfn`, `e820__end_of_low_ram_pfn`.
#[__init]
fn report_last_pfn() {
    let below_4g = 1 << (32 - PAGE_SHIFT);
    let map = raw_memory_map();
    let max_pfn = map.end_pfn(MAX_ARCH_PFN);
    MAX_PFN.store(max_pfn, Ordering::Relaxed);
    pr_info!("e820: last_pfn = {max_pfn:#x} max_arch_pfn = {MAX_ARCH_PFN:#x}");
    if max_pfn > below_4g {
        let low = map.end_pfn(below_4g);
        pr_info!("e820: last_pfn = {low:#x} max_arch_pfn = {MAX_ARCH_PFN:#x}");
    }
}

/// Fills memblock: RAM, and what of it is not to be given away (Linux:
/// `e820__memblock_setup`, `early_reserve_memory`). Errors: ENOMEM when a list is full.
#[__init]
fn memblock_setup() -> Result {
    memblock_init();
    let mut memblock = memblock();
    let limit = MAX_ARCH_PFN << PAGE_SHIFT;
    for (start, end) in raw_memory_map().ram_pages() {
        if let Some(range) = PhysRange::new(start, end.min(limit).saturating_sub(start)) {
            memblock.add(range)?;
        }
    }
    // Until our own page tables are in use, the loader's are.
    for entry in loader_memory().entries() {
        if let Some(range) = PhysRange::new(entry.addr, entry.size) {
            memblock.reserve(range)?;
        }
    }
    reserve_what_stays(&mut memblock)
}

/// Reserves what must survive boot: firmware's low memory, the image, the initramfs.
#[__init]
fn reserve_what_stays(memblock: &mut crate::mm::memblock::Memblock) -> Result {
    let mut reserve = |start: u64, end: u64| match PhysRange::new(start, end - start) {
        Some(range) => memblock.reserve(range),
        None => Ok(()),
    };
    reserve(0, RESERVE_LOW)?;
    reserve(ebda_start(), ISA_END_ADDRESS)?;
    if let Some(initrd) = boot_params().initrd {
        reserve(
            initrd.start.align_down(PAGE_SIZE as u64).as_u64(),
            initrd.end.align_up(PAGE_SIZE as u64).as_u64(),
        )?;
    }
    reserve_kernel_image(memblock)
}

/// Where the BIOS keeps its extended data, just below 640 KiB (Linux: arch/x86/kernel/ebda.c,
/// `reserve_bios_regions`).
#[__init]
fn ebda_start() -> u64 {
    const EBDA_SEGMENT: PhysAddr = PhysAddr::new(0x40e);
    const INSANE_CUTOFF: u64 = 0x2_0000;
    const DEFAULT: u64 = 0x9_f000;
    let pointer = phys_to_virt(EBDA_SEGMENT).as_usize() as *const u16;
    // SAFETY: both loaders map the first page. On a machine without BIOS anything may be there:
    // the value is checked.
    let segment = unsafe { pointer.read_volatile() };
    let start = u64::from(segment) << 4;
    if (INSANE_CUTOFF..BIOS_BEGIN).contains(&start) {
        start & !(PAGE_SIZE as u64 - 1)
    } else {
        DEFAULT
    }
}

/// Gives back what the loader needed: page tables, boot information, its stack, the parts of the
/// kernel's file that are not the image.
#[__init]
fn release_loader_memory() {
    let mut memblock = memblock();
    for entry in loader_memory().entries() {
        if let Some(range) = PhysRange::new(entry.addr, entry.size) {
            // A full list only means that the rest stays taken.
            let _ = memblock.free(range);
        }
    }
    reserve_what_stays(&mut memblock).expect("there was room for the same before");
}

/// Takes over the initramfs (Linux: `reserve_initrd`). One that is not in RAM as we see it (the
/// firmware's map may lie, `mem=` may cut) is copied.
#[__init]
fn reserve_initrd() {
    let Some(initrd) = boot_params().initrd else {
        return;
    };
    print_ramdisk("RAMDISK:", initrd);
    let kept = if memblock().is_memory(initrd) {
        Some(initrd)
    } else {
        relocate_initrd(initrd)
    };
    match kept {
        Some(range) => {
            INITRD.call_once(|| range);
        }
        None => pr_err!("initrd disabled: no memory to move it to"),
    }
}

fn print_ramdisk(what: &str, range: PhysRange) {
    let last = range.end - 1;
    pr_info!("{what} [mem {:#010x}-{last:#010x}]", range.start);
}

/// Linux: `relocate_initrd`.
#[__init]
fn relocate_initrd(from: PhysRange) -> Option<PhysRange> {
    let size = from.size();
    let start = memblock().phys_alloc(size, PAGE_SIZE as u64, PhysAddr::new(u64::MAX))?;
    let to = PhysRange::new(start.as_u64(), size)?;
    print_ramdisk("Allocated new RAMDISK:", to);
    let source = ioremap(from.start, size as usize, Cache::WriteBack).ok()?;
    let target = phys_to_virt(start).as_usize() as *mut u8;
    // SAFETY: the target was allocated just now, the source mapped just now; both have the size,
    // and the source is outside RAM.
    unsafe { target.copy_from_nonoverlapping(source.as_usize() as *const u8, size as usize) };
    iounmap(source);
    let (from_last, to_last) = (from.end - 1, to.end - 1);
    pr_info!(
        "Move RAMDISK from [mem {:#010x}-{from_last:#010x}] to [mem {:#010x}-{to_last:#010x}]",
        from.start,
        to.start
    );
    Some(to)
}

/// The initramfs as the loader left it, if there is one. The memory is reserved until
/// [`initrd_range`]'s pages are freed; the caller of that must not use the slice afterwards.
pub fn initrd() -> Option<&'static [u8]> {
    let range = INITRD.get()?;
    let start = phys_to_virt(range.start).as_usize() as *const u8;
    // SAFETY: reserved RAM in the direct map that nobody writes to.
    Some(unsafe { core::slice::from_raw_parts(start, range.size() as usize) })
}

/// The memory of the initramfs, to be freed after unpacking (whole pages, rounded outwards: the
/// rest of its first and last page is reserved with it).
pub fn initrd_range() -> Option<PhysRange> {
    INITRD.get().map(|range| PhysRange {
        start: range.start.align_down(PAGE_SIZE as u64),
        end: range.end.align_up(PAGE_SIZE as u64),
    })
}
