//! Memory before the buddy allocator exists (Linux: mm/memblock.c).
//!
//! Two sorted lists of ranges: what is RAM, and what of it is taken. Free is the one without the
//! other. The lists are in init memory: nothing may ask them after `free_initmem`.

use core::ops::{Deref, DerefMut};

use crate::mm::{Pfn, PhysAddr};
use crate::prelude::*;

/// A non-empty range of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhysRange {
    /// First byte.
    pub start: PhysAddr,
    /// One past the last byte.
    pub end: PhysAddr,
}

impl PhysRange {
    /// `size` bytes at `start`; `None` when that is nothing or wraps around.
    pub fn new(start: u64, size: u64) -> Option<Self> {
        let end = start.checked_add(size)?;
        (size > 0).then_some(Self {
            start: PhysAddr::new(start),
            end: PhysAddr::new(end),
        })
    }
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }
    /// The whole pages inside, first and one past the last.
    pub fn pfns(&self) -> (Pfn, Pfn) {
        (self.start.align_up(4096).pfn(), self.end.pfn())
    }
}

/// Most ranges a list holds. The list of a machine with a badly cut up memory map has about two
/// hundred.
const MAX_REGIONS: usize = 1024;

/// Sorted ranges that neither overlap nor touch (Linux: `struct memblock_type`).
struct Regions {
    ranges: [PhysRange; MAX_REGIONS],
    len: usize,
}

impl Regions {
    const fn new() -> Self {
        const NONE: PhysRange = PhysRange {
            start: PhysAddr::new(0),
            end: PhysAddr::new(0),
        };
        Self {
            ranges: [NONE; MAX_REGIONS],
            len: 0,
        }
    }
    fn as_slice(&self) -> &[PhysRange] {
        &self.ranges[..self.len]
    }
    /// Adds a range, joined with those it overlaps or touches. ENOMEM when the list is full.
    fn add(&mut self, range: PhysRange) -> Result {
        let first = self.as_slice().partition_point(|r| r.end < range.start);
        let after = self.as_slice().partition_point(|r| r.start <= range.end);
        let mut joined = range;
        if first < after {
            joined.start = joined.start.min(self.ranges[first].start);
            joined.end = joined.end.max(self.ranges[after - 1].end);
        }
        self.splice(first, after, &[joined])
    }
    /// Takes a range out, which may cut one in two. ENOMEM when the list is full.
    fn remove(&mut self, range: PhysRange) -> Result {
        let first = self.as_slice().partition_point(|r| r.end <= range.start);
        let after = self.as_slice().partition_point(|r| r.start < range.end);
        if first >= after {
            return Ok(());
        }
        let left = PhysRange {
            start: self.ranges[first].start,
            end: range.start,
        };
        let right = PhysRange {
            start: range.end,
            end: self.ranges[after - 1].end,
        };
        match (left.start < left.end, right.start < right.end) {
            (true, true) => self.splice(first, after, &[left, right]),
            (true, false) => self.splice(first, after, &[left]),
            (false, true) => self.splice(first, after, &[right]),
            (false, false) => self.splice(first, after, &[]),
        }
    }
    /// Replaces the ranges `first..after`.
    fn splice(&mut self, first: usize, after: usize, new: &[PhysRange]) -> Result {
        let len = self.len - (after - first) + new.len();
        if len > MAX_REGIONS {
            return Err(Errno::ENOMEM);
        }
        self.ranges.copy_within(after..self.len, first + new.len());
        self.ranges[first..first + new.len()].copy_from_slice(new);
        self.len = len;
        Ok(())
    }
    fn total(&self) -> u64 {
        self.as_slice().iter().map(PhysRange::size).sum()
    }
}

/// The two lists (Linux: `struct memblock`).
pub struct Memblock {
    memory: Regions,
    reserved: Regions,
}

impl Memblock {
    /// Nothing known.
    pub const fn new() -> Self {
        Self {
            memory: Regions::new(),
            reserved: Regions::new(),
        }
    }
    /// Adds RAM (Linux: `memblock_add`). Errors: ENOMEM.
    pub fn add(&mut self, range: PhysRange) -> Result {
        self.memory.add(range)
    }
    /// Takes RAM away again (Linux: `memblock_remove`). Errors: ENOMEM.
    pub fn remove(&mut self, range: PhysRange) -> Result {
        self.memory.remove(range)
    }
    /// Marks a range as taken, RAM or not (Linux: `memblock_reserve`). Errors: ENOMEM.
    pub fn reserve(&mut self, range: PhysRange) -> Result {
        self.reserved.add(range)
    }
    /// Undoes `reserve` or `alloc` (Linux: `memblock_phys_free`). Errors: ENOMEM.
    pub fn free(&mut self, range: PhysRange) -> Result {
        self.reserved.remove(range)
    }
    /// RAM, in order.
    pub fn memory(&self) -> &[PhysRange] {
        self.memory.as_slice()
    }
    /// Taken ranges, in order; they need not be RAM.
    pub fn reserved(&self) -> &[PhysRange] {
        self.reserved.as_slice()
    }
    /// Bytes of RAM (Linux: `memblock_phys_mem_size`).
    pub fn phys_mem_size(&self) -> u64 {
        self.memory.total()
    }
    /// Bytes taken (Linux: `memblock_reserved_size`).
    pub fn reserved_size(&self) -> u64 {
        self.reserved.total()
    }
    /// First byte of RAM.
    pub fn start_of_dram(&self) -> Option<PhysAddr> {
        self.memory().first().map(|range| range.start)
    }
    /// One past the last byte of RAM.
    pub fn end_of_dram(&self) -> Option<PhysAddr> {
        self.memory().last().map(|range| range.end)
    }
    /// Whether all of the range is RAM (Linux: `memblock_is_region_memory`).
    pub fn is_memory(&self, range: PhysRange) -> bool {
        self.memory()
            .iter()
            .any(|ram| ram.start <= range.start && range.end <= ram.end)
    }

    /// RAM that is not taken, in order (Linux: `for_each_free_mem_range`).
    pub fn free_ranges(&self) -> impl Iterator<Item = PhysRange> {
        FreeRanges {
            memory: self.memory(),
            reserved: self.reserved(),
            at: PhysAddr::new(0),
        }
    }

    /// Takes `size` bytes below `max`, as high as possible, so that the low zones stay free
    /// (Linux: `memblock_phys_alloc_range`). `align` is a power of two. The memory is not zeroed.
    pub fn phys_alloc(&mut self, size: u64, align: u64, max: PhysAddr) -> Option<PhysAddr> {
        let fits = |range: PhysRange| {
            let end = range.end.min(max).as_u64();
            let start = end.checked_sub(size)? & !(align - 1);
            (start >= range.start.as_u64()).then_some(start)
        };
        let start = self.free_ranges().filter_map(fits).last()?;
        self.reserve(PhysRange::new(start, size)?).ok()?;
        Some(PhysAddr::new(start))
    }
}

impl Default for Memblock {
    fn default() -> Self {
        Self::new()
    }
}

struct FreeRanges<'a> {
    memory: &'a [PhysRange],
    reserved: &'a [PhysRange],
    at: PhysAddr,
}

impl Iterator for FreeRanges<'_> {
    type Item = PhysRange;
    fn next(&mut self) -> Option<PhysRange> {
        while let [ram, later_ram @ ..] = self.memory {
            let start = self.at.max(ram.start);
            if start >= ram.end {
                self.memory = later_ram;
                continue;
            }
            match self.reserved {
                [taken, later @ ..] if taken.end <= start => self.reserved = later,
                [taken, ..] if taken.start <= start => self.at = taken.end,
                [taken, ..] if taken.start < ram.end => {
                    self.at = taken.end;
                    return Some(PhysRange {
                        start,
                        end: taken.start,
                    });
                }
                _ => {
                    self.at = ram.end;
                    return Some(PhysRange {
                        start,
                        end: ram.end,
                    });
                }
            }
        }
        None
    }
}

/// The machine's lists; `None` before `setup_arch` and after [`memblock_retire`].
static MEMBLOCK: SpinLock<Option<&'static mut Memblock>> = SpinLock::new(None);

/// Where the lists are: in init memory.
#[cfg_attr(target_os = "none", unsafe(link_section = ".bss..init"))]
static mut STORAGE: Memblock = Memblock::new();

/// Opens the lists; once, on the boot CPU.
#[__init]
pub fn memblock_init() {
    let mut memblock = MEMBLOCK.lock();
    assert!(memblock.is_none(), "memblock is opened once");
    let storage = &raw mut STORAGE;
    // SAFETY: the only reference ever made to STORAGE, as the assertion shows.
    *memblock = Some(unsafe { &mut *storage });
}

/// Access to the machine's memory lists during boot.
pub struct MemblockGuard(
    crate::kernel::locking::SpinLockGuard<
        'static,
        Option<&'static mut Memblock>,
        crate::kernel::locking::PreemptOff,
    >,
);

impl Deref for MemblockGuard {
    type Target = Memblock;
    fn deref(&self) -> &Memblock {
        self.0.as_ref().expect("checked by `memblock`")
    }
}
impl DerefMut for MemblockGuard {
    fn deref_mut(&mut self) -> &mut Memblock {
        self.0.as_mut().expect("checked by `memblock`")
    }
}

/// The machine's lists; panics before `setup_arch` and after [`memblock_retire`]: a kernel bug.
pub fn memblock() -> MemblockGuard {
    let guard = MEMBLOCK.lock();
    assert!(guard.is_some(), "memblock is only there during boot");
    MemblockGuard(guard)
}

/// Whether early allocations come from here; otherwise from the buddy allocator.
pub fn memblock_is_active() -> bool {
    MEMBLOCK.lock().is_some()
}

/// Closes the lists and hands them over, so that the buddy allocator can take what is free
/// (Linux: `memblock_free_all`). From here on page tables come from the buddy allocator, which
/// therefore has to take the ranges before anything is mapped.
pub fn memblock_retire() -> &'static Memblock {
    let memblock = MEMBLOCK.lock().take();
    memblock.expect("memblock is retired once")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(start, end - start).expect("a range with something in it")
    }
    fn with(memory: &[(u64, u64)], reserved: &[(u64, u64)]) -> Box<Memblock> {
        let mut memblock = Box::new(Memblock::new());
        for &(start, end) in memory {
            memblock.add(range(start, end)).unwrap();
        }
        for &(start, end) in reserved {
            memblock.reserve(range(start, end)).unwrap();
        }
        memblock
    }
    fn free(memblock: &Memblock) -> Vec<(u64, u64)> {
        let ranges = memblock.free_ranges();
        ranges.map(|r| (r.start.as_u64(), r.end.as_u64())).collect()
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        let memblock = with(&[(10, 20), (30, 40), (20, 30), (5, 12)], &[]);
        assert_eq!(memblock.memory(), [range(5, 40)]);
        assert_eq!(memblock.phys_mem_size(), 35);
    }

    #[test]
    fn freeing_the_middle_of_a_reservation_cuts_it_in_two() {
        let mut memblock = with(&[(0, 100)], &[(20, 80)]);
        memblock.free(range(40, 60)).unwrap();
        assert_eq!(memblock.reserved(), [range(20, 40), range(60, 80)]);
        memblock.free(range(0, 100)).unwrap();
        assert!(memblock.reserved().is_empty());
    }

    #[test]
    fn free_memory_is_ram_without_what_is_taken() {
        let memblock = with(
            &[(0, 100), (200, 300), (400, 500)],
            &[(0, 10), (50, 60), (90, 250), (280, 600)],
        );
        assert_eq!(free(&memblock), [(10, 50), (60, 90), (250, 280)]);
    }

    #[test]
    fn allocations_are_aligned_below_the_limit_and_come_from_the_top() {
        let mut memblock = with(&[(0x1000, 0x9000), (0x10_0000, 0x20_0800)], &[]);
        let top = PhysAddr::new(u64::MAX);
        assert_eq!(
            memblock.phys_alloc(0x1000, 0x1000, top),
            Some(PhysAddr::new(0x1f_f000))
        );
        let low = memblock.phys_alloc(0x1000, 0x1000, PhysAddr::new(0x10_0000));
        assert_eq!(low, Some(PhysAddr::new(0x8000)));
        assert_eq!(memblock.phys_alloc(0x20_0000, 0x1000, top), None);
    }

    #[test]
    fn memory_runs_out_page_by_page_without_handing_one_out_twice() {
        let mut memblock = with(
            &[(0x1000, 0x9000), (0x20_000, 0x24_000)],
            &[(0x3000, 0x4000)],
        );
        let mut pages: Vec<_> =
            core::iter::from_fn(|| memblock.phys_alloc(0x1000, 0x1000, PhysAddr::new(1 << 40)))
                .collect();
        assert_eq!(pages.len(), 11);
        pages.dedup();
        assert_eq!(pages.len(), 11);
        assert!(free(&memblock).is_empty());
    }

    #[test]
    fn a_full_list_says_so() {
        let mut memblock = Box::new(Memblock::new());
        for index in 0..MAX_REGIONS as u64 {
            memblock.add(range(index * 2, index * 2 + 1)).unwrap();
        }
        assert_eq!(memblock.add(range(9000, 9001)), Err(Errno::ENOMEM));
        assert_eq!(memblock.add(range(0, 9000)), Ok(()));
        assert_eq!(memblock.memory(), [range(0, 9000)]);
    }
}
