//! Memory in numbers for people: /proc/meminfo and the report when memory runs out
//! (Linux: mm/show_mem.c, fs/proc/meminfo.c).

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::filemap::nr_file_pages;
use super::gfp::Gfp;
use super::mm_init::{present_pages, totalreserve_pages};
use super::page_alloc::{ZONES, nr_anon_pages, nr_free_pages, totalram_pages};
use super::util::{vm_commit_limit, vm_committed_pages};
use super::vmstat::*;
use crate::arch::{PAGE_SHIFT, PAGE_SIZE, VMALLOC_END, VMALLOC_START};
use crate::fs::proc::proc_create_single;
use crate::prelude::*;

/// Kilobytes of a number of pages.
pub(super) const fn kb(pages: u64) -> u64 {
    pages << (PAGE_SHIFT - 10)
}

/// An estimate of the pages that new programs can get without swapping
/// (Linux: `si_mem_available`): free memory above the reserve, and the page cache and the
/// reclaimable slab as far as they are worth giving up.
pub fn si_mem_available() -> u64 {
    let low = |zone: &super::mmzone::Zone| zone.wmark_low.load(Ordering::Relaxed);
    let wmark_low: u64 = ZONES.iter().map(low).sum();
    let spare = |pages: u64| pages - (pages / 2).min(wmark_low);
    let free = nr_free_pages().saturating_sub(totalreserve_pages());
    let pagecache = nr_file_pages().saturating_sub(nr_shmem());
    free + spare(pagecache) + spare(NR_SLAB_RECLAIMABLE.get())
}

/// Size of the vmalloc area in KiB.
const VMALLOC_TOTAL_KB: u64 = (VMALLOC_END - VMALLOC_START) >> 10;

/// The lines of /proc/meminfo in Linux's order, in KiB. Lines of features that are not here (huge
/// pages, zswap) are absent, as they are on a Linux without them.
fn meminfo_lines() -> [(&'static str, u64); 37] {
    let shmem = nr_shmem();
    let cached = nr_file_pages();
    let file = cached.saturating_sub(shmem);
    let anon = nr_anon_pages();
    let committed = vm_committed_pages().max(0).cast_unsigned();
    let mlocked = nr_mlock();
    let reclaimable = NR_SLAB_RECLAIMABLE.get();
    let unreclaimable = NR_SLAB_UNRECLAIMABLE.get();
    [
        ("MemTotal:", kb(totalram_pages())),
        ("MemFree:", kb(nr_free_pages())),
        ("MemAvailable:", kb(si_mem_available())),
        ("Buffers:", 0),
        ("Cached:", kb(cached)),
        ("SwapCached:", 0),
        ("Active:", kb(anon)),
        ("Inactive:", kb(file + shmem)),
        ("Active(anon):", kb(anon)),
        ("Inactive(anon):", kb(shmem)),
        ("Active(file):", 0),
        ("Inactive(file):", kb(file)),
        ("Unevictable:", kb(mlocked)),
        ("Mlocked:", kb(mlocked)),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
        ("Dirty:", kb(NR_FILE_DIRTY.get())),
        ("Writeback:", kb(NR_WRITEBACK.get())),
        ("AnonPages:", kb(anon)),
        ("Mapped:", kb(nr_file_mapped())),
        ("Shmem:", kb(shmem)),
        ("KReclaimable:", kb(reclaimable)),
        ("Slab:", kb(reclaimable + unreclaimable)),
        ("SReclaimable:", kb(reclaimable)),
        ("SUnreclaim:", kb(unreclaimable)),
        ("KernelStack:", NR_KERNEL_STACK_KB.get()),
        ("PageTables:", kb(NR_PAGETABLE.get())),
        ("SecPageTables:", 0),
        ("NFS_Unstable:", 0),
        ("Bounce:", 0),
        ("WritebackTmp:", 0),
        ("CommitLimit:", kb(vm_commit_limit())),
        ("Committed_AS:", kb(committed)),
        ("VmallocTotal:", VMALLOC_TOTAL_KB),
        ("VmallocUsed:", kb(NR_VMALLOC.get())),
        ("VmallocChunk:", 0),
        ("Percpu:", kb(PERCPU_PAGES.load(Ordering::Relaxed))),
    ]
}

/// Pages that the per-CPU areas take; set by `setup_per_cpu_areas`.
pub static PERCPU_PAGES: AtomicU64 = AtomicU64::new(0);

/// /proc/meminfo (Linux: `meminfo_proc_show`).
pub fn meminfo_proc_show(out: &mut String) -> Result {
    for (name, value) in meminfo_lines() {
        writeln!(out, "{name:<15} {value:>8} kB")?;
    }
    Ok(())
}

#[__init]
fn proc_meminfo_init() -> Result {
    proc_create_single("meminfo", 0o444, meminfo_proc_show)
}
crate::fs_initcall!(proc_meminfo_init);

/// Failures that are told of; a flood would only hide the first.
const MAX_WARNINGS: u32 = 10;

/// Tells of an allocation that failed (Linux: `warn_alloc`).
#[cold]
pub(super) fn warn_alloc(gfp: Gfp, order: u32) {
    static WARNINGS: AtomicU32 = AtomicU32::new(0);
    if WARNINGS.fetch_add(1, Ordering::Relaxed) >= MAX_WARNINGS {
        return;
    }
    pr_warn!(
        "page allocation failure: order:{order}, mode:{:#x}({gfp})",
        gfp.bits()
    );
    show_mem();
}

/// Prints where memory went (Linux: `show_mem`). Does not allocate.
pub fn show_mem() {
    pr_info!("Mem-Info:");
    pr_info!(
        "active_anon:{} inactive_file:{} slab_reclaimable:{} slab_unreclaimable:{}",
        nr_anon_pages(),
        nr_file_pages() - nr_shmem().min(nr_file_pages()),
        NR_SLAB_RECLAIMABLE.get(),
        NR_SLAB_UNRECLAIMABLE.get()
    );
    pr_info!(
        "shmem:{} pagetables:{} kernel_stack:{}kB free:{}",
        nr_shmem(),
        NR_PAGETABLE.get(),
        NR_KERNEL_STACK_KB.get(),
        nr_free_pages()
    );
    for zone in ZONES.iter().filter(|zone| zone.is_managed()) {
        show_free_areas(zone);
    }
    pr_info!("{} pages RAM", present_pages());
    let reserved = present_pages().saturating_sub(totalram_pages());
    pr_info!("{reserved} pages reserved");
}

fn show_free_areas(zone: &super::mmzone::Zone) {
    let counts = zone.areas.lock().counts();
    let mut text = LineBuffer::default();
    let _ = write!(text, "Node 0 {}:", zone.name);
    for (order, count) in counts.iter().enumerate() {
        let _ = write!(text, " {count}*{}kB", (PAGE_SIZE >> 10) << order);
    }
    let total = kb(zone.nr_free.load(Ordering::Relaxed));
    pr_info!("{} = {total}kB", text.as_str());
}

/// A line that is put together without memory allocation; what does not fit is cut.
#[derive(Default)]
struct LineBuffer {
    text: [[u8; 16]; 12],
    len: usize,
}

impl LineBuffer {
    fn as_str(&self) -> &str {
        let text = self.text.as_flattened();
        core::str::from_utf8(text.get(..self.len).unwrap_or(text)).unwrap_or("")
    }
}

impl Write for LineBuffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for &byte in text.as_bytes() {
            let slot = self.text.as_flattened_mut().get_mut(self.len);
            *slot.ok_or(core::fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::page_alloc::alloc_page;

    fn value(text: &str, name: &str) -> u64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse().expect("a number")
    }

    #[test]
    fn meminfo_has_the_lines_that_free_reads() {
        let _page = alloc_page(Gfp::KERNEL);
        let mut text = String::new();
        meminfo_proc_show(&mut text).expect("text");
        assert!(text.starts_with("MemTotal: "));
        assert!(value(&text, "MemTotal:") >= value(&text, "MemFree:"));
        assert!(value(&text, "MemAvailable:") <= value(&text, "MemTotal:"));
        for name in [
            "Buffers:",
            "Cached:",
            "SwapTotal:",
            "SwapFree:",
            "Shmem:",
            "SReclaimable:",
        ] {
            value(&text, name);
        }
        assert!(text.lines().all(|line| line.ends_with(" kB")));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let mut line = LineBuffer::default();
        while write!(line, "0123456").is_ok() {}
        assert_eq!(line.as_str().len(), 192);
    }
}
