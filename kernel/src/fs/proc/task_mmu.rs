//! /proc/PID/maps and smaps (Linux: fs/proc/task_mmu.c).

use core::fmt::Write;

use crate::arch::PAGE_SIZE;
use crate::kernel::sched::task::Task;
use crate::mm::mm_types::Mmap;
use crate::mm::vma::{Backing, Vma, VmFlags};
use crate::prelude::*;

/// One line of maps: addresses, rights, offset, device, inode, name.
fn map_line(text: &mut String, map: &Mmap, vma: &Vma) {
    let bit = |flag: VmFlags, letter: char| if vma.flags.contains(flag) { letter } else { '-' };
    let shared = if vma.flags.contains(VmFlags::MAYSHARE) { 's' } else { 'p' };
    let (dev, ino, name) = identity(map, vma);
    let start = text.len();
    let offset = if vma.file.is_some() { vma.pgoff * PAGE_SIZE as u64 } else { 0 };
    let _ = write!(
        text,
        "{:08x}-{:08x} {}{}{}{shared} {offset:08x} {:02x}:{:02x} {ino} ",
        vma.start, vma.end,
        bit(VmFlags::READ, 'r'), bit(VmFlags::WRITE, 'w'), bit(VmFlags::EXEC, 'x'),
        dev.0, dev.1,
    );
    if !name.is_empty() {
        while text.len() - start < 73 {
            text.push(' ');
        }
        text.push_str(&name);
    } else {
        text.truncate(text.trim_end_matches(' ').len());
        text.push(' ');
    }
    text.push('\n');
}

/// Device, inode number and name of what is mapped.
fn identity(map: &Mmap, vma: &Vma) -> ((u32, u32), u64, String) {
    if let Some(file) = &vma.file {
        let dev = file.inode.sb_dev();
        return ((dev.major(), dev.minor()), file.inode.ino(), file.path_name());
    }
    let name = match &vma.backing {
        Backing::Special(special) => special.name,
        _ if vma.start <= map.parts.brk && vma.end >= map.parts.start_brk && map.parts.start_brk != 0 => "[heap]",
        _ if vma.start <= map.parts.start_stack && vma.end >= map.parts.start_stack => "[stack]",
        Backing::Cache(_) => "/dev/zero (deleted)",
        Backing::Anonymous => "",
    };
    ((0, 0), 0, String::from(name))
}

/// /proc/PID/maps.
pub fn pid_maps(task: &Task) -> String {
    let mut text = String::new();
    if let Some(mm) = task.mm() {
        let map = mm.read();
        map.vmas.iter().for_each(|vma| map_line(&mut text, &map, vma));
    }
    text
}

/// /proc/PID/smaps: sizes of each area (what is resident is not counted per area).
pub fn pid_smaps(task: &Task) -> String {
    let mut text = String::new();
    if let Some(mm) = task.mm() {
        let map = mm.read();
        for vma in map.vmas.iter() {
            map_line(&mut text, &map, vma);
            let size = (vma.end - vma.start) / 1024;
            let _ = write!(text, "Size:           {size:8} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n");
        }
    }
    text
}
