//! Counters of memory in use, and the /proc files that show zones (Linux: mm/vmstat.c).

use core::fmt::Write;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::filemap::nr_file_pages;
use super::mm_types::MmStruct;
use super::mmzone::{MAX_NR_ZONES, NR_PAGE_ORDERS, Zone};
use super::page_alloc::{PAGESET, ZONES, nr_anon_pages};
use super::percpu::PerCpu;
use crate::fs::proc::proc_create_single;
use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// A number of pages (or KiB) in use for something; the code that uses them keeps it up to date.
pub struct VmCounter(AtomicI64);

impl VmCounter {
    const fn new() -> Self {
        Self(AtomicI64::new(0))
    }
    /// One more. Any context.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }
    /// One less. Any context.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }
    /// `delta` more, or less when negative. Any context.
    #[inline]
    pub fn add(&self, delta: i64) {
        self.0.fetch_add(delta, Ordering::Relaxed);
    }
    /// The number; never negative, although a reader may see a free before its allocation.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed).max(0) as u64
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* pub static $name: VmCounter = VmCounter::new();)*
    };
}

counters! {
    /// Page cache pages that storage does not have yet, in pages.
    NR_FILE_DIRTY;
    /// Page cache pages being written, in pages.
    NR_WRITEBACK;
    /// Kernel stacks, in KiB.
    NR_KERNEL_STACK_KB;
    /// Page tables of processes, in pages.
    NR_PAGETABLE;
    /// Slab pages that a shrinker could give back, in pages.
    NR_SLAB_RECLAIMABLE;
    /// Other slab pages, in pages.
    NR_SLAB_UNRECLAIMABLE;
    /// Pages behind the vmalloc area, in pages.
    NR_VMALLOC;
}

/// Pages of tmpfs and shared memory. Every file system here keeps its files in memory that only
/// swap could take, so these are all pages of files.
pub fn nr_shmem() -> u64 {
    nr_file_pages()
}

/// Pages of files that are mapped. A page that several processes map counts for each of them;
/// more than there are is never told. Context: process, without locks.
pub fn nr_file_mapped() -> u64 {
    let mapped = |mm: &MmStruct| mm.rss().file();
    sum_of_processes(mapped).min(nr_file_pages())
}

/// Pages that processes locked. Context: process, without locks.
pub fn nr_mlock() -> u64 {
    sum_of_processes(|mm| mm.try_read().map_or(0, |map| map.stat.locked))
}

fn sum_of_processes(count: impl Fn(&MmStruct) -> u64) -> u64 {
    let processes = crate::kernel::pid::all_processes();
    let one = |task: &Arc<Task>| task.mm().map_or(0, |mm| count(&mm));
    processes.iter().map(one).sum()
}

/// Events that are counted per CPU (Linux: `enum vm_event_item`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmEvent {
    /// A page fault of any kind.
    PgFault,
    /// A page fault that read from storage.
    PgMajFault,
    /// A KiB that was read from a block device.
    PgpgIn,
    /// A KiB that was written to a block device.
    PgpgOut,
}

const NR_VM_EVENTS: usize = 4;

#[per_cpu]
static VM_EVENTS: PerCpu<[AtomicU64; NR_VM_EVENTS]> =
    PerCpu::new([const { AtomicU64::new(0) }; NR_VM_EVENTS]);

/// Counts an event on this CPU (Linux: `count_vm_event`). Any context. An interrupt between the
/// read and the write may cost a count; these are statistics.
#[inline]
pub fn count_vm_event(event: VmEvent) {
    let counter = &VM_EVENTS.raw_this()[event as usize];
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn vm_event(event: VmEvent) -> u64 {
    let count = |cpu| VM_EVENTS.on(cpu)[event as usize].load(Ordering::Relaxed);
    possible_cpus().map(count).sum()
}

/// The CPUs whose counters make a sum.
pub(super) fn possible_cpus() -> core::ops::Range<usize> {
    0..super::percpu::nr_cpu_ids()
}

/// Pages allocated and freed in a zone since boot.
fn zone_events(index: usize) -> (u64, u64) {
    let events = possible_cpus().map(|cpu| PAGESET.on(cpu).zone(index).events());
    events.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn managed_zones() -> impl Iterator<Item = (usize, &'static Zone)> {
    ZONES
        .iter()
        .enumerate()
        .filter(|(_, zone)| zone.is_managed())
}

/// /proc/buddyinfo: free blocks of each order (Linux: `frag_show`).
pub fn buddyinfo_show(out: &mut String) -> Result {
    for (_, zone) in managed_zones() {
        let counts = zone.areas.lock().counts();
        write!(out, "Node 0, zone {:>8} ", zone.name)?;
        for count in counts {
            write!(out, "{count:>6} ")?;
        }
        out.push('\n');
    }
    Ok(())
}

/// Kinds of blocks in /proc/pagetypeinfo. Blocks are not grouped by mobility ("mobility grouping
/// off"), so all are of the first kind.
const MIGRATE_TYPES: [&str; 4] = ["Unmovable", "Movable", "Reclaimable", "HighAtomic"];

/// log2 of the pages of a block that Linux would give one kind (2 MiB).
const PAGEBLOCK_ORDER: u32 = 9;

/// /proc/pagetypeinfo (Linux: `pagetypeinfo_show`).
pub fn pagetypeinfo_show(out: &mut String) -> Result {
    writeln!(out, "Page block order: {PAGEBLOCK_ORDER}")?;
    writeln!(out, "Pages per block:  {}\n", 1 << PAGEBLOCK_ORDER)?;
    write!(out, "{:<43} ", "Free pages count per migrate type at order")?;
    for order in 0..NR_PAGE_ORDERS {
        write!(out, "{order:>6} ")?;
    }
    out.push('\n');
    for (_, zone) in managed_zones() {
        let counts = zone.areas.lock().counts();
        for (kind, name) in MIGRATE_TYPES.iter().enumerate() {
            write!(out, "Node    0, zone {:>8}, type {name:>12} ", zone.name)?;
            for count in counts {
                write!(out, "{:>6} ", if kind == 0 { count } else { 0 })?;
            }
            out.push('\n');
        }
    }
    write!(out, "\n{:<23}", "Number of blocks type")?;
    for name in MIGRATE_TYPES {
        write!(out, "{name:>12} ")?;
    }
    out.push('\n');
    for (_, zone) in managed_zones() {
        let blocks = load(&zone.spanned).div_ceil(1 << PAGEBLOCK_ORDER);
        write!(out, "Node 0, zone {:>8} ", zone.name)?;
        for kind in 0..MIGRATE_TYPES.len() {
            write!(out, "{:>12} ", if kind == 0 { blocks } else { 0 })?;
        }
        out.push('\n');
    }
    Ok(())
}

/// The counters that /proc/vmstat and the node part of /proc/zoneinfo list, in Linux's order.
fn node_counters() -> [(&'static str, u64); 16] {
    let shmem = nr_shmem();
    let file = nr_file_pages().saturating_sub(shmem);
    [
        ("nr_inactive_anon", shmem),
        ("nr_active_anon", nr_anon_pages()),
        ("nr_inactive_file", file),
        ("nr_active_file", 0),
        ("nr_unevictable", nr_mlock()),
        ("nr_slab_reclaimable", NR_SLAB_RECLAIMABLE.get()),
        ("nr_slab_unreclaimable", NR_SLAB_UNRECLAIMABLE.get()),
        ("nr_isolated_anon", 0),
        ("nr_isolated_file", 0),
        ("nr_anon_pages", nr_anon_pages()),
        ("nr_mapped", nr_file_mapped()),
        ("nr_file_pages", nr_file_pages()),
        ("nr_dirty", NR_FILE_DIRTY.get()),
        ("nr_writeback", NR_WRITEBACK.get()),
        ("nr_shmem", shmem),
        ("nr_kernel_stack", NR_KERNEL_STACK_KB.get()),
    ]
}

/// /proc/vmstat (Linux: `vmstat_show`).
pub fn vmstat_show(out: &mut String) -> Result {
    writeln!(out, "nr_free_pages {}", super::page_alloc::nr_free_pages())?;
    writeln!(out, "nr_mlock {}", nr_mlock())?;
    for (name, value) in node_counters() {
        writeln!(out, "{name} {value}")?;
    }
    writeln!(out, "nr_page_table_pages {}", NR_PAGETABLE.get())?;
    for event in [VmEvent::PgpgIn, VmEvent::PgpgOut] {
        let name = format!("{event:?}").to_lowercase();
        writeln!(out, "{name} {}", vm_event(event))?;
    }
    writeln!(out, "pswpin 0\npswpout 0")?;
    for (index, zone) in ZONES.iter().enumerate() {
        let name = zone.name.to_lowercase();
        writeln!(out, "pgalloc_{name} {}", zone_events(index).0)?;
    }
    let freed: u64 = (0..MAX_NR_ZONES).map(|index| zone_events(index).1).sum();
    writeln!(out, "pgfree {freed}")?;
    writeln!(out, "pgfault {}", vm_event(VmEvent::PgFault))?;
    writeln!(out, "pgmajfault {}", vm_event(VmEvent::PgMajFault))?;
    writeln!(out, "oom_kill {}", super::oom_kill::oom_kills())?;
    Ok(())
}

/// /proc/zoneinfo (Linux: `zoneinfo_show_print`).
pub fn zoneinfo_show(out: &mut String) -> Result {
    let mut first = true;
    for (index, zone) in ZONES.iter().enumerate() {
        write!(out, "Node 0, zone {:>8}", zone.name)?;
        if first && zone.is_managed() {
            first = false;
            out.push_str("\n  per-node stats");
            for (name, value) in node_counters() {
                write!(out, "\n      {name:<12} {value}")?;
            }
        }
        show_zone(out, zone, index)?;
    }
    Ok(())
}

fn show_zone(out: &mut String, zone: &Zone, index: usize) -> Result {
    let fields = [
        ("  pages free     ", load(&zone.nr_free)),
        ("        boost    ", 0),
        ("        min      ", load(&zone.wmark_min)),
        ("        low      ", load(&zone.wmark_low)),
        ("        high     ", load(&zone.wmark_high)),
        ("        spanned  ", load(&zone.spanned)),
        ("        present  ", load(&zone.present)),
        ("        managed  ", load(&zone.managed)),
        ("        cma      ", 0),
    ];
    for (name, value) in fields {
        write!(out, "\n{name}{value}")?;
    }
    let reserve: Vec<String> = zone
        .lowmem_reserve
        .iter()
        .map(|r| format!("{}", load(r)))
        .collect();
    writeln!(out, "\n        protection: ({})", reserve.join(", "))?;
    if !zone.is_managed() {
        return Ok(());
    }
    writeln!(out, "      nr_free_pages {}", load(&zone.nr_free))?;
    out.push_str("  pagesets\n");
    for cpu in possible_cpus() {
        let lists = PAGESET.on(cpu).zone(index);
        let batch = lists.batch.load(Ordering::Relaxed);
        let high = lists.high.load(Ordering::Relaxed);
        let count = lists.count();
        writeln!(out, "    cpu: {cpu}")?;
        writeln!(out, "              count: {count}")?;
        writeln!(out, "              high:  {high}")?;
        writeln!(out, "              batch: {batch}")?;
    }
    writeln!(out, "  node_unreclaimable:  0")?;
    writeln!(out, "  start_pfn:           {}", load(&zone.start_pfn))?;
    Ok(())
}

/// Creates the files (Linux: `init_mm_internals`).
#[__init]
pub fn init_mm_internals() -> Result {
    proc_create_single("buddyinfo", 0o444, buddyinfo_show)?;
    proc_create_single("pagetypeinfo", 0o400, pagetypeinfo_show)?;
    proc_create_single("vmstat", 0o444, vmstat_show)?;
    proc_create_single("zoneinfo", 0o444, zoneinfo_show)
}

crate::fs_initcall!(init_mm_internals);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::gfp::Gfp;
    use crate::mm::page_alloc::alloc_page;

    fn text(show: fn(&mut String) -> Result) -> String {
        let _page = alloc_page(Gfp::KERNEL);
        let mut out = String::new();
        show(&mut out).expect("text");
        out
    }

    #[test]
    fn buddyinfo_has_a_line_per_zone_with_eleven_counts() {
        let text = text(buddyinfo_show);
        let line = text
            .lines()
            .find(|line| line.contains("DMA32"))
            .expect("a line");
        assert!(line.starts_with("Node 0, zone    DMA32 "));
        assert_eq!(line.split_whitespace().count(), 4 + NR_PAGE_ORDERS);
        assert!(
            !text.contains("Normal"),
            "zones without memory are left out"
        );
    }

    #[test]
    fn vmstat_lines_are_a_name_and_a_number() {
        let text = text(vmstat_show);
        for line in text.lines() {
            let (name, value) = line.split_once(' ').expect("two words");
            assert!(!name.is_empty() && value.parse::<u64>().is_ok(), "{line}");
        }
        for name in [
            "nr_free_pages ",
            "pgfault ",
            "pgmajfault ",
            "pgpgin ",
            "pswpin ",
            "pgfree ",
        ] {
            assert!(text.contains(&format!("\n{name}")) || text.starts_with(name));
        }
    }

    #[test]
    fn zoneinfo_shows_watermarks_and_lists_of_each_cpu() {
        let text = text(zoneinfo_show);
        assert!(text.starts_with("Node 0, zone      DMA\n  per-node stats\n"));
        assert!(text.contains("\n  pages free     "));
        assert!(text.contains("\n    cpu: 0\n              count: "));
    }

    #[test]
    fn a_counter_never_reads_negative() {
        let counter = VmCounter::new();
        counter.dec();
        assert_eq!(counter.get(), 0);
        counter.add(3);
        assert_eq!(counter.get(), 2);
    }
}
