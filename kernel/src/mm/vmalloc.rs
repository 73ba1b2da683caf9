//! Virtually contiguous kernel memory with guard pages (Linux: mm/vmalloc.c).
//!
//! Addresses are given out lowest first, each area followed by a page that stays unmapped, so
//! that an overrun faults. The addresses of a freed area are used again only after the TLBs have
//! been flushed, which is done for many areas at once; its pages are free at once. Page tables
//! of the area are never freed: low addresses come first, so they are used again.
//!
//! Lock order: `VMAP` outside the allocators' locks; it is not held while pages are mapped. Any
//! context may free; allocation is for process context, as it may take long.

use alloc::collections::BTreeMap;
use core::fmt::Write;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::gfp::Gfp;
use super::oom_kill;
use super::page::PageRef;
use super::page_alloc::{alloc_page, totalram_pages};
use super::percpu::PerCpu;
use super::vmstat::{NR_KERNEL_STACK_KB, NR_VMALLOC};
use super::{Pfn, PhysAddr, VirtAddr};
use crate::arch::{self, KProt, PAGE_SHIFT, PAGE_SIZE, VMALLOC_END, VMALLOC_START};
use crate::fs::proc::proc_create_single;
use crate::kernel::locking::local_lock_irqsave;
use crate::prelude::*;

/// Page size as an address difference.
const PAGE: u64 = PAGE_SIZE as u64;

/// Pages of freed addresses that wait for the next flush (Linux: `lazy_max_pages`).
const LAZY_MAX_PAGES: u64 = 512;

/// What is behind an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum VmKind {
    /// Pages of its own.
    Vmalloc,
    /// Given pages; a reference to each is held.
    Vmap,
    /// Physical addresses that no page stands for: device memory.
    IoRemap(PhysAddr),
}

/// An area that is in use (Linux: `struct vm_struct`).
#[derive(Clone, Copy, Debug)]
struct VmStruct {
    /// Bytes without the guard page.
    size: u64,
    kind: VmKind,
    caller: &'static str,
}

/// The addresses, each in one of three states.
struct VmapSpace {
    /// In use, by start.
    busy: BTreeMap<u64, VmStruct>,
    /// Free: start to end, never touching.
    free: BTreeMap<u64, u64>,
    /// Unmapped, but a TLB may still know them: start and end.
    lazy: Vec<(u64, u64)>,
    /// Pages in `lazy`.
    lazy_pages: u64,
    /// Whether `free` has been filled.
    ready: bool,
}

static VMAP: IrqSpinLock<VmapSpace> = IrqSpinLock::new(VmapSpace::new());

impl VmapSpace {
    const fn new() -> Self {
        Self {
            busy: BTreeMap::new(),
            free: BTreeMap::new(),
            lazy: Vec::new(),
            lazy_pages: 0,
            ready: false,
        }
    }

    fn init(&mut self, start: u64, end: u64) {
        self.free.insert(start, end);
        self.ready = true;
    }

    /// Takes the lowest free range that has room for `area` and its guard page.
    fn insert(&mut self, area: VmStruct) -> Option<u64> {
        let wanted = area.size.checked_add(PAGE)?;
        let fits = |(&start, &end): (&u64, &u64)| (end - start >= wanted).then_some((start, end));
        let (start, end) = self.free.iter().find_map(fits)?;
        self.free.remove(&start);
        if start + wanted < end {
            self.free.insert(start + wanted, end);
        }
        self.busy.insert(start, area);
        Some(start)
    }

    /// Ends the use of the area at `start`; its addresses wait for a flush.
    fn remove(&mut self, start: u64) {
        if let Some(area) = self.busy.remove(&start) {
            self.lazy.push((start, start + area.size + PAGE));
            self.lazy_pages += (area.size >> PAGE_SHIFT) + 1;
        }
    }

    /// Makes addresses free again, joined with their free neighbours.
    fn release(&mut self, mut start: u64, mut end: u64) {
        if let Some((&before, &before_end)) = self.free.range(..start).next_back()
            && before_end == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(after_end) = self.free.remove(&end) {
            end = after_end;
        }
        self.free.insert(start, end);
    }

    /// Takes the addresses that wait for a flush; `release` each when it is done.
    fn take_lazy(&mut self) -> Vec<(u64, u64)> {
        self.lazy_pages = 0;
        core::mem::take(&mut self.lazy)
    }
}

/// Flushes the TLBs of all addresses that wait for it and frees them (Linux:
/// `__purge_vmap_area_lazy`). Does nothing with interrupts off: other CPUs could not be told.
fn purge_vmap_areas() {
    if arch::irqs_disabled() {
        return;
    }
    let ranges = vmap_space().take_lazy();
    let first = ranges.iter().map(|range| range.0).min();
    let last = ranges.iter().map(|range| range.1).max();
    let (Some(first), Some(last)) = (first, last) else {
        return;
    };
    arch::flush_tlb_kernel_range(VirtAddr::new(first), VirtAddr::new(last));
    let mut space = vmap_space();
    for (start, end) in ranges {
        space.release(start, end);
    }
}

/// The addresses, with all of them free when nobody has asked before.
fn vmap_space() -> crate::kernel::locking::SpinLockGuard<'static, VmapSpace, IrqsOff> {
    let mut space = VMAP.lock();
    if !space.ready {
        space.init(VMALLOC_START, VMALLOC_END);
    }
    space
}

/// Opens the vmalloc area (Linux: `vmalloc_init`). The slab allocator works.
pub(super) fn vmalloc_init() {
    drop(vmap_space());
}

/// Memory from the vmalloc area; unmapped and freed on drop.
#[derive(Debug)]
pub struct VmArea {
    addr: VirtAddr,
    size: usize,
}

impl VmArea {
    /// First byte.
    pub fn addr(&self) -> VirtAddr {
        self.addr
    }
    /// Usable size in bytes, without guard pages.
    pub fn size(&self) -> usize {
        self.size
    }
    /// Addresses for `size` bytes, rounded up to pages, with nothing behind them yet.
    fn reserve(size: usize, kind: VmKind, caller: &'static str) -> Option<Self> {
        let size = size.checked_next_multiple_of(PAGE_SIZE)?;
        if size == 0 {
            return None;
        }
        let area = VmStruct {
            size: size as u64,
            kind,
            caller,
        };
        if vmap_space().lazy_pages > LAZY_MAX_PAGES {
            purge_vmap_areas();
        }
        let inserted = vmap_space().insert(area);
        let start = inserted.or_else(|| {
            purge_vmap_areas();
            vmap_space().insert(area)
        })?;
        Some(Self {
            addr: VirtAddr::new(start),
            size,
        })
    }
    fn page_addresses(&self) -> impl Iterator<Item = VirtAddr> + use<> {
        let start = self.addr;
        (0..(self.size / PAGE_SIZE) as u64).map(move |index| start + index * PAGE)
    }
}

impl Drop for VmArea {
    fn drop(&mut self) {
        let start = self.addr.as_u64();
        let kind = vmap_space().busy.get(&start).map(|area| area.kind);
        let kind = kind.expect("an area that exists is on the list");
        for addr in self.page_addresses() {
            let Some(pfn) = arch::unmap_kernel_page(addr) else {
                continue; // the allocation failed before it came here
            };
            if !matches!(kind, VmKind::IoRemap(_)) {
                NR_VMALLOC.dec();
                // SAFETY: the mapping held one reference, given away when it was made.
                drop(unsafe { PageRef::from_pfn(pfn) });
            }
        }
        // Last: from here on somebody else may get the addresses.
        vmap_space().remove(start);
    }
}

/// Maps a page and lets the mapping hold the reference.
fn map_page(addr: VirtAddr, page: PageRef, prot: KProt) -> Result {
    let pfn = page.into_pfn();
    if let Err(errno) = arch::map_kernel_page(addr, pfn, prot) {
        // SAFETY: the reference given away above did not find a place.
        drop(unsafe { PageRef::from_pfn(pfn) });
        return Err(errno);
    }
    NR_VMALLOC.inc();
    Ok(())
}

/// Allocates pages and maps them one after the other.
fn vmalloc_gfp(size: usize, gfp: Gfp, caller: &'static str) -> Option<VmArea> {
    if (size >> PAGE_SHIFT) as u64 > totalram_pages() && totalram_pages() != 0 {
        return None;
    }
    let area = VmArea::reserve(size, VmKind::Vmalloc, caller)?;
    for addr in area.page_addresses() {
        map_page(addr, alloc_page(gfp)?, KProt::KERNEL).ok()?;
    }
    Some(area)
}

/// Allocates `size` bytes (rounded up to pages), zeroed, read-write, not executable, with an
/// unmapped page before and after. `caller` shows in /proc/vmallocinfo. May sleep.
pub fn vmalloc(size: usize, caller: &'static str) -> Option<VmArea> {
    vmalloc_gfp(size, Gfp::KERNEL | Gfp::ZERO, caller)
}

/// Maps given single pages one after the other; the mapping holds a reference to each
/// (Linux: `vmap`). May sleep.
pub fn vmap(pages: &[PageRef], prot: KProt, caller: &'static str) -> Option<VmArea> {
    let single = |page: &PageRef| page.order() == 0;
    assert!(pages.iter().all(single), "vmap of blocks");
    let area = VmArea::reserve(pages.len().checked_mul(PAGE_SIZE)?, VmKind::Vmap, caller)?;
    for (addr, page) in area.page_addresses().zip(pages) {
        map_page(addr, page.clone(), prot).ok()?;
    }
    Some(area)
}

/// Maps physical memory that is not RAM: `size` bytes from `phys`, both multiples of the page
/// size. `prot` says how it is cached (Linux: `ioremap_page_range`). May sleep.
pub fn vmap_phys(phys: PhysAddr, size: usize, prot: KProt, caller: &'static str) -> Option<VmArea> {
    let area = VmArea::reserve(size, VmKind::IoRemap(phys), caller)?;
    for (index, addr) in (0..).zip(area.page_addresses()) {
        let pfn = Pfn(phys.pfn().0 + index);
        arch::map_kernel_page(addr, pfn, prot).ok()?;
    }
    Some(area)
}

/// Whether an address belongs to the vmalloc area (Linux: `is_vmalloc_addr`).
pub fn is_vmalloc_addr(addr: VirtAddr) -> bool {
    (VMALLOC_START..VMALLOC_END).contains(&addr.as_u64())
}

/// The frame behind a vmalloc address (Linux: `vmalloc_to_pfn`).
pub fn vmalloc_to_pfn(addr: VirtAddr) -> Option<Pfn> {
    Some(arch::slow_virt_to_phys(addr)?.pfn())
}

// --- the heap's large blocks ---

/// Memory for the heap, not zeroed.
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "the host has its own heap")
)]
pub(super) fn vmalloc_heap(size: usize) -> Option<NonNull<u8>> {
    let small_part = (size >> PAGE_SHIFT) as u64 <= totalram_pages() / 8;
    let gfp = if small_part && oom_kill::can_wait(Gfp::KERNEL, 0) {
        Gfp::KERNEL
    } else {
        Gfp::ATOMIC
    };
    let area = vmalloc_gfp(size, gfp | Gfp::NOWARN, "heap")?;
    let area = ManuallyDrop::new(area);
    NonNull::new(area.addr.as_usize() as *mut u8)
}

/// Frees what `vmalloc_heap` gave out. Panics when it did not (kernel bug).
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "the host has its own heap")
)]
pub(super) fn vfree_heap(block: NonNull<u8>) {
    let addr = block.as_ptr() as usize as u64;
    let size = VMAP.lock().busy.get(&addr).map(|area| area.size);
    let size = size.unwrap_or_else(|| panic!("BUG: Trying to vfree() bad address ({block:p})"));
    drop(VmArea {
        addr: VirtAddr::new(addr),
        size: size as usize,
    });
}

// --- kernel stacks (Linux: kernel/fork.c, `alloc_thread_stack_node`) ---

/// Size of a kernel stack in bytes.
pub const THREAD_SIZE: usize = 16 << 10;

/// Stacks that a CPU keeps for the next fork (Linux: NR_CACHED_STACKS).
const NR_CACHED_STACKS: usize = 2;

/// Addresses of free stacks, still mapped; 0 for none.
#[per_cpu]
static CACHED_STACKS: PerCpu<[AtomicU64; NR_CACHED_STACKS]> =
    PerCpu::new([const { AtomicU64::new(0) }; NR_CACHED_STACKS]);

/// Swaps a value into this CPU's first slot that holds `old`.
fn swap_cached_stack(wanted: impl Fn(u64) -> bool, new: u64) -> Option<u64> {
    let _local = local_lock_irqsave();
    let slots = CACHED_STACKS.raw_this();
    let slot = slots
        .iter()
        .find(|slot| wanted(slot.load(Ordering::Relaxed)))?;
    Some(slot.swap(new, Ordering::Relaxed))
}

/// A stack of `THREAD_SIZE` bytes with unmapped pages around it; its contents are anything.
/// Process context.
pub fn alloc_kernel_stack() -> Option<VmArea> {
    let area = match swap_cached_stack(|addr| addr != 0, 0) {
        Some(addr) => VmArea {
            addr: VirtAddr::new(addr),
            size: THREAD_SIZE,
        },
        None => vmalloc_gfp(THREAD_SIZE, Gfp::KERNEL, "alloc_kernel_stack")?,
    };
    NR_KERNEL_STACK_KB.add((THREAD_SIZE >> 10) as i64);
    Some(area)
}

/// Gives a stack back that nobody runs on. Any context.
pub fn free_kernel_stack(stack: VmArea) {
    assert!(stack.size == THREAD_SIZE, "not a kernel stack");
    NR_KERNEL_STACK_KB.add(-((THREAD_SIZE >> 10) as i64));
    if swap_cached_stack(|addr| addr == 0, stack.addr.as_u64()).is_some() {
        core::mem::forget(stack);
    }
}

// --- /proc/vmallocinfo ---

/// /proc/vmallocinfo (Linux: `vmalloc_info_show`).
pub fn vmallocinfo_show(out: &mut String) -> Result {
    // Copied first: text needs memory, and the lock keeps interrupts off.
    let areas: Vec<(u64, VmStruct)> = vmap_space().busy.iter().map(|(&s, &a)| (s, a)).collect();
    for (start, area) in areas {
        let whole = area.size + PAGE;
        let end = start + whole;
        write!(out, "{start:#018x}-{end:#018x} {whole:>7} {}", area.caller)?;
        let pages = area.size >> PAGE_SHIFT;
        match area.kind {
            VmKind::Vmalloc => writeln!(out, " pages={pages} vmalloc")?,
            VmKind::Vmap => writeln!(out, " pages={pages} vmap")?,
            VmKind::IoRemap(phys) => writeln!(out, " phys={phys:#018x} ioremap")?,
        }
    }
    Ok(())
}

#[__init]
fn proc_vmalloc_init() -> Result {
    proc_create_single("vmallocinfo", 0o400, vmallocinfo_show)
}
crate::device_initcall!(proc_vmalloc_init);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::page_alloc::alloc_pages;

    fn area(pages: u64) -> VmStruct {
        VmStruct {
            size: pages * PAGE,
            kind: VmKind::Vmalloc,
            caller: "test",
        }
    }

    fn space() -> VmapSpace {
        let mut space = VmapSpace::new();
        space.init(0x10_0000, 0x20_0000);
        space
    }

    fn flush(space: &mut VmapSpace) {
        for (start, end) in space.take_lazy() {
            space.release(start, end);
        }
    }

    #[test]
    fn areas_come_lowest_first_with_a_guard_page_between() {
        let mut space = space();
        assert_eq!(space.insert(area(4)), Some(0x10_0000));
        assert_eq!(space.insert(area(1)), Some(0x10_5000));
        assert_eq!(space.insert(area(1)), Some(0x10_7000));
    }

    #[test]
    fn freed_addresses_are_used_again_after_a_flush_only() {
        let mut space = space();
        let first = space.insert(area(4)).expect("room");
        space.insert(area(4)).expect("room");
        space.remove(first);
        assert_eq!(space.insert(area(4)), Some(0x10_a000));
        flush(&mut space);
        assert_eq!(space.insert(area(4)), Some(first));
        assert_eq!(space.lazy_pages, 0);
    }

    #[test]
    fn free_neighbours_join_in_any_order() {
        for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 0, 2]] {
            let mut space = space();
            let starts: Vec<u64> = (0..3)
                .map(|_| space.insert(area(3)).expect("room"))
                .collect();
            for index in order {
                space.remove(starts[index]);
                flush(&mut space);
            }
            let free: Vec<(u64, u64)> = space.free.into_iter().collect();
            assert_eq!(free, [(0x10_0000, 0x20_0000)]);
        }
    }

    #[test]
    fn too_much_is_refused() {
        let mut space = space();
        assert_eq!(space.insert(area(256)), None);
        assert!(space.insert(area(255)).is_some());
        assert_eq!(space.insert(area(1)), None);
        let huge = VmStruct {
            size: u64::MAX - 4095,
            ..area(1)
        };
        assert_eq!(space.insert(huge), None);
        assert!(vmalloc(usize::MAX, "test").is_none());
        assert!(vmalloc(1 << 46, "test").is_none());
        assert!(vmalloc(0, "test").is_none());
    }

    #[test]
    fn an_area_is_mapped_page_by_page_and_not_around() {
        let area = vmalloc(3 * PAGE_SIZE - 1, "test").expect("memory");
        assert_eq!(area.size(), 3 * PAGE_SIZE);
        let frames: Vec<_> = area.page_addresses().map(vmalloc_to_pfn).collect();
        assert!(frames.iter().all(Option::is_some));
        assert_eq!(vmalloc_to_pfn(area.addr() + area.size() as u64), None);
        assert_eq!(vmalloc_to_pfn(area.addr() - 1), None);
        assert!(is_vmalloc_addr(area.addr()));
        let addr = area.addr();
        drop(area);
        assert_eq!(vmalloc_to_pfn(addr), None);
    }

    #[test]
    fn vmalloc_memory_is_zero() {
        let dirty = alloc_pages(Gfp::KERNEL, 0).expect("memory");
        dirty.fill(0, PAGE_SIZE, 0xff);
        drop(dirty);
        let area = vmalloc(PAGE_SIZE, "test").expect("memory");
        let pfn = vmalloc_to_pfn(area.addr()).expect("mapped");
        // SAFETY: the area keeps the page.
        let page = unsafe { PageRef::get(pfn) };
        let mut bytes = [1; 4096];
        page.read(0, &mut bytes);
        assert!(bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_mapping_of_given_pages_holds_a_reference_to_each() {
        let pages: Vec<PageRef> = (0..3)
            .map(|_| alloc_page(Gfp::KERNEL).expect("memory"))
            .collect();
        let area = vmap(&pages, KProt::KERNEL_RO, "test").expect("room");
        assert!(pages.iter().all(|page| page.count() == 2));
        let frames: Vec<_> = area.page_addresses().filter_map(vmalloc_to_pfn).collect();
        assert_eq!(frames, pages.iter().map(PageRef::pfn).collect::<Vec<_>>());
        drop(area);
        assert!(pages.iter().all(PageRef::is_unique));
    }

    #[test]
    fn device_memory_is_mapped_without_pages() {
        let phys = PhysAddr::new(0xfee0_0000);
        let area = vmap_phys(phys, 2 * PAGE_SIZE, KProt::KERNEL, "test_mmio").expect("room");
        assert_eq!(vmalloc_to_pfn(area.addr() + PAGE), Some(Pfn(0xfee01)));
        let mut text = String::new();
        vmallocinfo_show(&mut text).expect("text");
        let line = text
            .lines()
            .find(|line| line.contains("test_mmio"))
            .expect("a line");
        assert!(
            line.ends_with("   12288 test_mmio phys=0x00000000fee00000 ioremap"),
            "{line}"
        );
    }

    #[test]
    fn a_freed_stack_serves_the_next_fork() {
        let local = local_lock_irqsave();
        let stack = alloc_kernel_stack().expect("memory");
        let addr = stack.addr();
        free_kernel_stack(stack);
        let again = alloc_kernel_stack().expect("memory");
        assert_eq!(again.addr(), addr);
        assert_eq!(again.size(), THREAD_SIZE);
        drop(local);
        free_kernel_stack(again);
    }
}
