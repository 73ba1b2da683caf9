//! Everything the machine has to be asked before memory management (Linux:
//! arch/x86/kernel/setup.c).

use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu::{self, Feature, boot_cpu_has};
use super::e820::{E820Kind, E820Table};
use super::head64::{boot_params, init_stack, loader_memory, raw_memory_map};
use super::sections;
use crate::arch::x86::asm::page::{PAGE_SHIFT, PAGE_SIZE, phys_to_virt};
use crate::arch::x86::mm::init::{ISA_END_ADDRESS, init_mem_mapping, reserve_kernel_image};
use crate::arch::x86::mm::init_64::{Cache, slow_virt_to_phys};
use crate::arch::x86::mm::ioremap::{ioremap, iounmap};
use crate::arch::x86::mm::pat::{pat_init, pat_report};
use crate::kernel::cpu::set_cpu_possible;
use crate::kernel::resource::IOMEM_RESOURCE;
use crate::lib::cmdline::{memparse, parse_args};
use crate::mm::memblock::{PhysRange, memblock, memblock_init};
use crate::mm::mm_init::{free_area_init, free_reserved_area};
use crate::mm::percpu::NR_CPUS;
use crate::mm::{Pfn, PhysAddr, VirtAddr};
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

/// The initramfs after `reserve_initrd`, until it is freed.
static INITRD: SpinLock<Option<Initrd>> = SpinLock::new(None);

#[derive(Clone, Copy)]
struct Initrd {
    range: PhysRange,
    /// Bytes that are the archive; a boot configuration at the end is not.
    len: usize,
}

/// One past the highest page frame of RAM.
pub fn max_pfn() -> Pfn {
    Pfn(MAX_PFN.load(Ordering::Relaxed))
}

/// Asks the machine and takes over its memory (Linux: `setup_arch`).
///
/// On entry: `head64` is done; there is no memory to allocate but the early heap.
/// On return: memblock holds the RAM and what of it is taken, the kernel runs on its own page
/// tables, the initramfs is in the direct map, the zones and the `struct page` array are laid out.
#[__init]
pub fn setup_arch() {
    pr_info!("Command line: {}", boot_command_line());
    cpu::common::early_cpu_init(); //   features decide how memory is mapped
    e820_memory_setup(); //             says what the firmware said
    report_nx();
    super::tsc::tsc_early_init(); //     log lines get times from here on
    e820_limit(); //                    `mem=` changes the map before anything counts pages
    trim_bios_range();
    report_last_pfn();
    pat_init();
    pat_report();
    memblock_setup().expect("the memory map is too cut up");
    init_mem_mapping().expect("no memory for page tables");
    release_loader_memory(); //         its page tables are no longer in use
    reserve_initrd();
    super::acpi::acpi_boot_init(boot_params()); // interrupt controllers, CPUs
    free_area_init().expect("no memory for the page array"); // the last big piece of memblock
    prefill_possible_map(); //          before per-CPU areas are made for that many
}

/// Every CPU that the tables list may come up (Linux: `prefill_possible_map`).
#[__init]
fn prefill_possible_map() {
    let cpus = super::acpi::nr_cpus().min(NR_CPUS);
    for cpu in 0..cpus {
        set_cpu_possible(cpu);
    }
    pr_info!("smpboot: Allowing {cpus} CPUs, 0 hotplug CPUs");
}

/// The command line as the loader gave it, or the default (Linux: `boot_command_line`).
pub fn boot_command_line() -> &'static str {
    boot_params().command_line.as_str()
}

/// Whether the line is the built-in one because nobody gave any.
pub fn command_line_is_default() -> bool {
    boot_params().command_line.is_default()
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

/// `mem=SIZE`: RAM above SIZE is not used. The last one on the line counts. Looked up by hand:
/// the memory map is needed before the other early parameters can be run.
#[__init]
fn mem_limit() -> Option<u64> {
    parse_args(boot_command_line())
        .filter(|arg| arg.name == "mem")
        .filter_map(|arg| arg.value.map(|value| memparse(value).0))
        .filter(|&bytes| bytes > 0)
        .last()
}

#[__init]
fn accept_mem(_value: &str) -> Result {
    Ok(())
}
crate::early_param!("mem", accept_mem);

/// Cuts off what `mem=` does not allow (Linux: `e820__finish_early_params`).
#[__init]
fn e820_limit() {
    if let Some(limit) = mem_limit() {
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
            let len = range.size() as usize;
            *INITRD.lock() = Some(Initrd { range, len });
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

/// Enters the memory map and the image into /proc/iomem (Linux: `e820__reserve_resources`).
#[__init]
fn e820_reserve_resources() -> Result {
    for entry in raw_memory_map().entries() {
        let name = entry.kind.resource_name();
        IOMEM_RESOURCE.insert(entry.addr, entry.end() - 1, name)?;
    }
    let bss_start = VirtAddr::new(init_stack().0); // its first page is the unmapped guard
    let parts = [
        (sections::text_start(), sections::text_end(), "Kernel code"),
        (
            sections::rodata_start(),
            sections::rodata_end(),
            "Kernel rodata",
        ),
        (sections::data_start(), sections::data_end(), "Kernel data"),
        (bss_start, sections::bss_stop(), "Kernel bss"),
    ];
    for (start, end, name) in parts {
        // The boot loader may have scattered a part over memory: then it has no one range.
        let (Some(first), Some(last)) = (slow_virt_to_phys(start), slow_virt_to_phys(end - 1))
        else {
            continue;
        };
        if last.as_u64().checked_sub(first.as_u64()) == Some(end - start - 1) {
            IOMEM_RESOURCE.insert(first.as_u64(), last.as_u64(), name)?;
        }
    }
    Ok(())
}
crate::core_initcall!(e820_reserve_resources);

/// The initramfs, empty if there is none or it was freed. Nobody may keep the slice over
/// [`free_initrd_mem`].
pub fn initrd_bytes() -> &'static [u8] {
    let Some(initrd) = *INITRD.lock() else {
        return &[];
    };
    let start = phys_to_virt(initrd.range.start).as_usize() as *const u8;
    // SAFETY: reserved RAM in the direct map that nobody writes to before it is freed.
    unsafe { core::slice::from_raw_parts(start, initrd.len) }
}

/// Cuts the initramfs: what comes after the first `len` bytes is not part of the archive.
pub fn set_initrd_len(len: usize) {
    if let Some(initrd) = INITRD.lock().as_mut() {
        initrd.len = initrd.len.min(len);
    }
}

/// Gives the initramfs's memory to the page allocator (Linux: `free_initrd_mem`). Process
/// context, after it was unpacked.
pub fn free_initrd_mem() {
    let Some(initrd) = INITRD.lock().take() else {
        return;
    };
    // Whole pages, rounded outwards: the rest of the first and the last one is reserved with it.
    let page = PAGE_SIZE as u64;
    let start = phys_to_virt(initrd.range.start.align_down(page));
    let end = phys_to_virt(initrd.range.end.align_up(page));
    // SAFETY: reserved for the initramfs alone, which nobody can get at any more.
    unsafe { free_reserved_area(start, end, None, Some("initrd")) };
}
