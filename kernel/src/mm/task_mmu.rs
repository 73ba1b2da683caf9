//! Address spaces as /proc/PID shows them (Linux: fs/proc/task_mmu.c).
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use crate::arch::{PAGE_SHIFT, PAGE_SIZE};
use crate::fs::file::File;
use crate::mm::mm_types::{MmStruct, Mmap};
use crate::mm::page::PageRef;
use crate::mm::vma::{Backing, VmFlags, Vma};
use crate::prelude::*;

const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;
/// Column of the name in /proc/PID/maps.
const NAME_COLUMN: usize = 73;

/// What /proc tells about a mapped file.
pub struct FileName {
    /// Major and minor number of its file system.
    pub dev: (u32, u32),
    /// Inode number.
    pub ino: u64,
    /// Path as the reader sees it.
    pub path: Vec<u8>,
}

/// How the file system names a file for the reader.
pub type Namer<'a> = &'a dyn Fn(&File) -> FileName;

/// Sizes for /proc/PID/status and the like, in pages unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of /proc/PID/status")]
pub struct MmSizes {
    pub peak: u64,
    pub size: u64,
    pub locked: u64,
    pub hwm: u64,
    pub rss_anon: u64,
    pub rss_file: u64,
    pub data: u64,
    pub stack: u64,
    pub text: u64,
    pub lib: u64,
    pub pte_bytes: u64,
}

impl MmStruct {
    /// The sizes of this address space now.
    pub fn sizes(&self) -> MmSizes {
        let map = self.read();
        let page = PAGE_SIZE as u64;
        let text_start = map.parts.start_code & !(page - 1);
        let text = (map.parts.end_code.next_multiple_of(page) - text_start) >> PAGE_SHIFT;
        let text = text.min(map.stat.exec);
        MmSizes {
            peak: map.stat.peak,
            size: map.stat.total,
            locked: map.stat.locked,
            hwm: self.rss().peak(),
            rss_anon: self.rss().anon(),
            rss_file: self.rss().file(),
            data: map.stat.data,
            stack: map.stat.stack,
            text,
            lib: map.stat.exec - text,
            pte_bytes: self.page_table().size_bytes() as u64,
        }
    }

    /// The lines `VmPeak:` to `VmSwap:` of /proc/PID/status (Linux: `task_mem`).
    pub fn show_status(&self, out: &mut String) -> fmt::Result {
        let sizes = self.sizes();
        let rss = sizes.rss_anon + sizes.rss_file;
        let rows = [
            ("VmPeak", sizes.peak),
            ("VmSize", sizes.size),
            ("VmLck", sizes.locked),
            ("VmPin", 0),
            ("VmHWM", sizes.hwm),
            ("VmRSS", rss),
            ("RssAnon", sizes.rss_anon),
            ("RssFile", sizes.rss_file),
            ("RssShmem", 0),
            ("VmData", sizes.data),
            ("VmStk", sizes.stack),
            ("VmExe", sizes.text),
            ("VmLib", sizes.lib),
        ];
        for (name, pages) in rows {
            writeln!(out, "{name}:\t{:8} kB", pages * PAGE_KIB)?;
        }
        writeln!(out, "VmPTE:\t{:8} kB", sizes.pte_bytes / 1024)?;
        writeln!(out, "VmSwap:\t{:8} kB", 0)
    }

    /// /proc/PID/statm (Linux: `proc_pid_statm`).
    pub fn show_statm(&self, out: &mut String) -> fmt::Result {
        let s = self.sizes();
        let rss = s.rss_anon + s.rss_file;
        writeln!(
            out,
            "{} {} {} {} 0 {} 0",
            s.size,
            rss,
            s.rss_file,
            s.text,
            s.data + s.stack
        )
    }

    /// Lines of /proc/PID/maps for the areas from address `from` on, about `limit` bytes of them
    /// (Linux: `show_map_vma`). Returns where to go on, `None` at the end.
    pub fn show_maps(
        &self,
        from: u64,
        limit: usize,
        out: &mut String,
        namer: Namer<'_>,
    ) -> Option<u64> {
        self.show_areas(from, limit, out, &|out, map, vma| {
            show_map_line(out, map, vma, namer)
        })
    }

    /// The same for /proc/PID/smaps (Linux: `show_smap`).
    pub fn show_smaps(
        &self,
        from: u64,
        limit: usize,
        out: &mut String,
        namer: Namer<'_>,
    ) -> Option<u64> {
        self.show_areas(from, limit, out, &|out, map, vma| {
            show_map_line(out, map, vma, namer)?;
            self.area_usage(vma).show(out, vma)
        })
    }

    fn show_areas(
        &self,
        from: u64,
        limit: usize,
        out: &mut String,
        show: &dyn Fn(&mut String, &Mmap, &Vma) -> fmt::Result,
    ) -> Option<u64> {
        let before = out.len();
        let map = self.read();
        for vma in map.vmas.overlapping(from..u64::MAX) {
            if out.len() - before >= limit {
                return Some(vma.start.max(from));
            }
            let _ = show(out, &map, vma);
        }
        None
    }

    /// Counts the resident pages of an area.
    fn area_usage(&self, vma: &Vma) -> AreaUsage {
        let mut usage = AreaUsage::default();
        let mut left = vma.range();
        loop {
            let lock = self.page_table().lock();
            let Some((_, slots)) = lock.next_slots(&mut left) else {
                return usage;
            };
            for slot in slots {
                let Some(users) = slot.with_page(PageRef::count) else {
                    continue;
                };
                let pte = slot.pte();
                // The page cache holds a reference of its own.
                let users = if pte.is_anon() {
                    users
                } else {
                    users.saturating_sub(1)
                }
                .max(1);
                usage.add(users, pte.is_anon() || pte.is_dirty(), pte.is_young());
                usage.anon += u64::from(pte.is_anon());
            }
        }
    }
}

/// Resident pages of an area by kind (Linux: `struct mem_size_stats`).
#[derive(Default)]
struct AreaUsage {
    rss: u64,
    /// Proportional share, in 1/4096 pages.
    pss: u64,
    /// The part of it that is written to.
    pss_dirty: u64,
    shared_clean: u64,
    shared_dirty: u64,
    private_clean: u64,
    private_dirty: u64,
    referenced: u64,
    anon: u64,
}

impl AreaUsage {
    fn add(&mut self, users: u32, dirty: bool, young: bool) {
        self.rss += 1;
        self.pss += 4096 / u64::from(users);
        if dirty {
            self.pss_dirty += 4096 / u64::from(users);
        }
        self.referenced += u64::from(young);
        *match (users > 1, dirty) {
            (true, true) => &mut self.shared_dirty,
            (true, false) => &mut self.shared_clean,
            (false, true) => &mut self.private_dirty,
            (false, false) => &mut self.private_clean,
        } += 1;
    }

    fn show(&self, out: &mut String, vma: &Vma) -> fmt::Result {
        let locked = if vma.flags.contains(VmFlags::LOCKED) {
            self.pss * PAGE_KIB / 4096
        } else {
            0
        };
        let pages = |pages: u64| pages * PAGE_KIB;
        let rows = [
            ("Size:", pages(vma.pages())),
            ("KernelPageSize:", PAGE_KIB),
            ("MMUPageSize:", PAGE_KIB),
            ("Rss:", pages(self.rss)),
            ("Pss:", self.pss * PAGE_KIB / 4096),
            ("Pss_Dirty:", self.pss_dirty * PAGE_KIB / 4096),
            ("Shared_Clean:", pages(self.shared_clean)),
            ("Shared_Dirty:", pages(self.shared_dirty)),
            ("Private_Clean:", pages(self.private_clean)),
            ("Private_Dirty:", pages(self.private_dirty)),
            ("Referenced:", pages(self.referenced)),
            ("Anonymous:", pages(self.anon)),
            ("LazyFree:", 0),
            ("AnonHugePages:", 0),
            ("ShmemPmdMapped:", 0),
            ("FilePmdMapped:", 0),
            ("Shared_Hugetlb:", 0),
            ("Private_Hugetlb:", 0),
            ("Swap:", 0),
            ("SwapPss:", 0),
            ("Locked:", locked),
        ];
        for (name, kib) in rows {
            writeln!(out, "{name:<16}{kib:8} kB")?;
        }
        writeln!(out, "THPeligible:    {:8}", 0)?;
        out.write_str("VmFlags:")?;
        for (flag, letters) in SMAPS_FLAGS {
            if vma.flags.contains(*flag) {
                write!(out, " {letters}")?;
            }
        }
        out.write_str(" \n")
    }
}

/// Two letters for each flag, in Linux's order.
const SMAPS_FLAGS: &[(VmFlags, &str)] = &[
    (VmFlags::READ, "rd"),
    (VmFlags::WRITE, "wr"),
    (VmFlags::EXEC, "ex"),
    (VmFlags::SHARED, "sh"),
    (VmFlags::MAYREAD, "mr"),
    (VmFlags::MAYWRITE, "mw"),
    (VmFlags::MAYEXEC, "me"),
    (VmFlags::MAYSHARE, "ms"),
    (VmFlags::GROWSDOWN, "gd"),
    (VmFlags::LOCKED, "lo"),
    (VmFlags::SEQ_READ, "sr"),
    (VmFlags::RAND_READ, "rr"),
    (VmFlags::DONTCOPY, "dc"),
    (VmFlags::DONTEXPAND, "de"),
    (VmFlags::LOCKONFAULT, "lf"),
    (VmFlags::ACCOUNT, "ac"),
    (VmFlags::NORESERVE, "nr"),
    (VmFlags::WIPEONFORK, "wf"),
    (VmFlags::DONTDUMP, "dd"),
    (VmFlags::HUGEPAGE, "hg"),
    (VmFlags::NOHUGEPAGE, "nh"),
    (VmFlags::MERGEABLE, "mg"),
];

fn show_map_line(out: &mut String, map: &Mmap, vma: &Vma, namer: Namer<'_>) -> fmt::Result {
    let name = vma.file.as_deref().map(namer);
    let (dev, ino) = name
        .as_ref()
        .map_or(((0, 0), 0), |name| (name.dev, name.ino));
    let offset = if vma.file.is_some() {
        vma.pgoff << PAGE_SHIFT
    } else {
        0
    };
    let letter = |flag, letter| {
        if vma.flags.contains(flag) {
            letter
        } else {
            '-'
        }
    };
    let begin = out.len();
    write!(
        out,
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {ino} ",
        vma.start,
        vma.end,
        letter(VmFlags::READ, 'r'),
        letter(VmFlags::WRITE, 'w'),
        letter(VmFlags::EXEC, 'x'),
        if vma.flags.contains(VmFlags::MAYSHARE) {
            's'
        } else {
            'p'
        },
        dev.0,
        dev.1,
    )?;
    let label = match name {
        Some(name) => escape(&name.path),
        None => area_label(map, vma).into(),
    };
    if !label.is_empty() {
        let column = out.len() - begin;
        write!(out, "{:1$}{label}", "", NAME_COLUMN.saturating_sub(column))?;
    }
    out.write_char('\n')
}

/// Name of an area without a file.
fn area_label(map: &Mmap, vma: &Vma) -> &'static str {
    match &vma.backing {
        Backing::Special(special) => special.name,
        Backing::Cache(_) => "/dev/zero (deleted)",
        Backing::Anonymous if vma.start <= map.parts.brk && vma.end > map.parts.start_brk => {
            "[heap]"
        }
        Backing::Anonymous if (vma.start..=vma.end).contains(&map.parts.start_stack) => "[stack]",
        Backing::Anonymous => "",
    }
}

/// A path on one line: newlines and backslashes in octal (Linux: `seq_path`).
fn escape(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.replace('\\', "\\134").replace('\n', "\\012")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::tests::{PAGE, new_mm};
    use crate::mm::vma::VmFlags;

    fn no_file(_: &File) -> FileName {
        FileName {
            dev: (0, 0),
            ino: 0,
            path: Vec::new(),
        }
    }

    #[test]
    fn maps_lines_look_like_linuxs() {
        let mm = new_mm();
        let (heap, stack) = (0x55_5555_5000, 0x7fff_ff00_0000);
        {
            let mut map = mm.write();
            (map.parts.start_brk, map.parts.brk) = (heap, heap);
            map.parts.start_stack = stack - 16;
        }
        mm.brk(heap + 0x2_1000);
        mm.map_stack(stack - 4 * PAGE..stack, VmFlags::EXEC)
            .unwrap();
        assert_eq!(mm.write_remote(heap, b"x"), 1);
        let mut text = String::new();
        assert_eq!(mm.show_maps(0, usize::MAX, &mut text, &no_file), None);
        let gap = |len| " ".repeat(NAME_COLUMN - len);
        let heap_line = "5555555000-5555576000 rw-p 00000000 00:00 0 ";
        let stack_line = "7ffffeffc000-7fffff000000 rwxp 00000000 00:00 0 ";
        let expected = [
            format!("{heap_line}{}[heap]\n", gap(heap_line.len())),
            format!("{stack_line}{}[stack]\n", gap(stack_line.len())),
        ];
        assert_eq!(text, expected.concat());
        let mut text = String::new();
        let next = mm
            .show_maps(0, 1, &mut text, &no_file)
            .expect("there is more");
        assert_eq!(text, expected[0]);
        assert_eq!(mm.show_maps(next, 1, &mut text, &no_file), None);
        assert_eq!(text, expected.concat());
        let mut text = String::new();
        assert_eq!(mm.show_smaps(0, usize::MAX, &mut text, &no_file), None);
        assert!(text.contains("Size:                132 kB\n"));
        assert!(text.contains("Private_Dirty:         4 kB\n"));
        assert!(text.contains("VmFlags: rd wr ex mr mw me gd ac \n"));
    }

    #[test]
    fn status_and_statm_add_up() {
        let mm = new_mm();
        mm.map_stack(0x7fff_0000_0000..0x7fff_0000_4000, VmFlags::empty())
            .unwrap();
        assert_eq!(mm.write_remote(0x7fff_0000_0000, b"x"), 1);
        let mut text = String::new();
        mm.show_statm(&mut text).unwrap();
        assert_eq!(text, "4 1 0 0 0 4 0\n");
        let mut text = String::new();
        mm.show_status(&mut text).unwrap();
        assert!(text.contains("VmStk:\t      16 kB\n") && text.contains("VmRSS:\t       4 kB\n"));
    }
}
