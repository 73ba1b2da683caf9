//! Files of a process that show its memory (Linux: fs/proc/base.c, fs/proc/task_mmu.c).
#![forbid(unsafe_code)]

use super::base::PidRef;
use crate::arch::PAGE_SIZE;
use crate::fs::d_path::d_path;
use crate::fs::file::{File, FileOperations};
use crate::fs::namei::Path;
use crate::fs::seq_file::{SeqStream, seq_lseek};
use crate::kernel::sched::current;
use crate::kernel::sched::task::Task;
use crate::mm::mm_types::{MmStruct, ProgramParts};
use crate::mm::task_mmu::{FileName, Namer};
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

type Opened = Result<Arc<dyn FileOperations>>;

/// Where /proc/PID/exe leads. Errors: ENOENT for a kernel thread.
pub fn exe_path(task: &Task) -> Result<Path> {
    let file = task.mm().and_then(|mm| mm.exe_file());
    Ok(file.ok_or(Errno::ENOENT)?.path.clone())
}

/// The address space that a file shows; it may end, and reading then finds nothing
/// (Linux: `proc_mem_open`). Errors: ESRCH, EACCES.
fn mm_of(pid: &PidRef) -> Result<Weak<MmStruct>> {
    let task = pid.readable_task()?;
    Ok(task.mm().as_ref().map(Arc::downgrade).unwrap_or_default())
}

/// A file whose pieces `next` makes of the address space.
fn open_stream(
    mm: Weak<MmStruct>,
    next: impl Fn(&MmStruct, u64, &mut Vec<u8>) -> Option<u64> + Send + Sync + 'static,
) -> Arc<dyn FileOperations> {
    Arc::new(SeqStream::new(move |cursor, out: &mut Vec<u8>| {
        Ok(mm.upgrade().and_then(|mm| next(&mm, cursor, out)))
    }))
}

/// Appends the bytes of an area from `cursor` on, up to a page; the cursor of what follows.
fn copy_area(
    mm: &MmStruct,
    (start, end): (u64, u64),
    cursor: u64,
    out: &mut Vec<u8>,
) -> Option<u64> {
    let from = start.checked_add(cursor).filter(|from| *from < end)?;
    let len = (end - from).min(PAGE_SIZE as u64) as usize;
    let mut bytes = vec![0; len];
    let read = mm.read_remote(from, &mut bytes);
    out.extend_from_slice(bytes.get(..read)?);
    (read == len).then_some(cursor + read as u64)
}

fn parts_of<R>(mm: &MmStruct, get: impl Fn(&ProgramParts) -> R) -> R {
    get(&mm.read().parts)
}

/// /proc/PID/environ.
pub fn environ_open(pid: &PidRef) -> Opened {
    Ok(open_stream(mm_of(pid)?, |mm, cursor, out| {
        let area = parts_of(mm, |parts| (parts.env_start, parts.env_end));
        copy_area(mm, area, cursor, out)
    }))
}

/// /proc/PID/auxv, with the entry that ends it.
pub fn auxv_open(pid: &PidRef) -> Opened {
    Ok(open_stream(mm_of(pid)?, |mm, _, out| {
        let auxv = parts_of(mm, |parts| parts.saved_auxv.clone());
        auxv.iter()
            .for_each(|word| out.extend_from_slice(&word.to_ne_bytes()));
        None
    }))
}

/// /proc/PID/cmdline, which everybody may read.
pub fn cmdline_open(pid: &PidRef) -> Opened {
    let mm = pid
        .task()?
        .mm()
        .as_ref()
        .map(Arc::downgrade)
        .unwrap_or_default();
    Ok(open_stream(mm, copy_cmdline))
}

/// The arguments. A program may have written a title over them: then there is no NUL at their
/// end, and the title goes on until one comes, at most through the environment
/// (Linux: `get_mm_cmdline`).
fn copy_cmdline(mm: &MmStruct, cursor: u64, out: &mut Vec<u8>) -> Option<u64> {
    let (args, env) = parts_of(mm, |parts| {
        (
            (parts.arg_start, parts.arg_end),
            (parts.env_start, parts.env_end),
        )
    });
    if args.0 >= args.1 {
        return None;
    }
    let mut last = [0];
    mm.read_remote(args.1 - 1, &mut last);
    if last == [0] {
        return copy_area(mm, args, cursor, out);
    }
    let end = if env.0 == args.1 {
        env.1.max(args.1)
    } else {
        args.1
    };
    let before = out.len();
    copy_area(
        mm,
        (args.0, end.min(args.0.saturating_add(PAGE_SIZE as u64))),
        cursor,
        out,
    );
    let title = out.get(before..).unwrap_or_default();
    if let Some(len) = title.iter().position(|byte| *byte == 0) {
        out.truncate(before + len);
    }
    None
}

/// How a mapped file is named for whoever reads.
fn file_name(file: &File) -> FileName {
    let root = current().fs().map(|fs| fs.root());
    let dev = file.inode.sb.dev;
    FileName {
        dev: (dev.major(), dev.minor()),
        ino: file.inode.ino,
        path: d_path(&file.path, root.as_ref()),
    }
}

type Show = fn(&MmStruct, u64, usize, &mut String, Namer<'_>) -> Option<u64>;

fn open_maps(pid: &PidRef, show: Show) -> Opened {
    Ok(open_stream(mm_of(pid)?, move |mm, cursor, out| {
        let mut text = String::new();
        let next = show(mm, cursor, PAGE_SIZE, &mut text, &file_name);
        out.extend_from_slice(text.as_bytes());
        next
    }))
}

/// /proc/PID/maps.
pub fn maps_open(pid: &PidRef) -> Opened {
    open_maps(pid, MmStruct::show_maps)
}

/// /proc/PID/smaps.
pub fn smaps_open(pid: &PidRef) -> Opened {
    open_maps(pid, MmStruct::show_smaps)
}

/// /proc/PID/mem.
pub fn mem_open(pid: &PidRef) -> Opened {
    Ok(Arc::new(MemFile { mm: mm_of(pid)? }))
}

/// The memory of a process, at its own addresses (Linux: `mem_rw`).
struct MemFile {
    mm: Weak<MmStruct>,
}

impl FileOperations for MemFile {
    fn read_iter(&self, _file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        let Some(mm) = self.mm.upgrade() else {
            return Ok(0);
        };
        let mut page = vec![0; to.count().min(PAGE_SIZE)];
        let mut total = 0;
        while to.count() != 0 {
            let len = to.count().min(PAGE_SIZE);
            let read = mm.read_remote(*pos, page.get_mut(..len).unwrap_or_default());
            if read == 0 {
                return if total == 0 {
                    Err(Errno::EIO)
                } else {
                    Ok(total)
                };
            }
            let copied = to.copy_to_iter(page.get(..read).unwrap_or_default())?;
            *pos = pos.saturating_add(copied as u64);
            total += copied;
            if copied < len {
                break;
            }
        }
        Ok(total)
    }
    fn write_iter(&self, _file: &File, from: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        let Some(mm) = self.mm.upgrade() else {
            return Ok(0);
        };
        let mut page = vec![0; from.count().min(PAGE_SIZE)];
        let mut total = 0;
        while from.count() != 0 {
            let len = from.count().min(PAGE_SIZE);
            let taken = from.copy_from_iter(page.get_mut(..len).unwrap_or_default())?;
            let written = mm.write_remote(*pos, page.get(..taken).unwrap_or_default());
            *pos = pos.saturating_add(written as u64);
            total += written;
            if written < len {
                break;
            }
        }
        if total == 0 {
            Err(Errno::EIO)
        } else {
            Ok(total)
        }
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        seq_lseek(file, offset, whence)
    }
    fn seekable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::tests::{PAGE, new_mm};
    use crate::mm::vma::VmFlags;

    const STACK: u64 = 0x7fff_0000_0000;

    fn with_args(args: &[u8], arg_len: u64) -> Arc<MmStruct> {
        let mm = new_mm();
        mm.map_stack(STACK..STACK + 4 * PAGE, VmFlags::empty())
            .unwrap();
        assert_eq!(mm.write_remote(STACK, args), args.len());
        {
            let mut map = mm.write();
            let parts = &mut map.parts;
            (parts.arg_start, parts.arg_end) = (STACK, STACK + arg_len);
            (parts.env_start, parts.env_end) = (STACK + arg_len, STACK + args.len() as u64);
        }
        mm
    }

    fn cmdline(mm: &MmStruct) -> Vec<u8> {
        let mut out = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = copy_cmdline(mm, at, &mut out);
        }
        out
    }

    #[test]
    fn the_command_line_is_the_arguments() {
        assert_eq!(cmdline(&with_args(b"ls\0-l\0HOME=/\0", 6)), b"ls\0-l\0");
        let long = [b"x".repeat(9000), vec![0]].concat();
        assert_eq!(cmdline(&with_args(&long, 9001)), long);
    }

    #[test]
    fn a_title_may_run_into_the_environment() {
        assert_eq!(
            cmdline(&with_args(b"nginx: master\0E=1\0", 6)),
            b"nginx: master"
        );
    }
}
