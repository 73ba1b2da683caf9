//! Listing directories (Linux: fs/readdir.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::dirent::*;

use crate::fs::file::{DirContext, File, fget};
use crate::mm::UserAddr;
use crate::mm::uaccess::copy_to_user;
use crate::prelude::*;

/// Lists a directory from the file's position on (Linux: `iterate_dir`). Errors: ENOTDIR, ENOENT
/// for a removed directory.
pub fn iterate_dir(file: &File, ctx: &mut dyn DirContext) -> Result {
    if !file.inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let _turn = file.pos_lock.lock();
    let _locked = file.inode.lock.lock();
    if file.inode.is_dead() {
        return Err(Errno::ENOENT);
    }
    file.ops.iterate(file, ctx)?;
    crate::fs::atime::file_accessed(file);
    Ok(())
}

/// Offers an entry and moves the file's position behind it; false when there is no room.
pub fn dir_emit(
    file: &File,
    ctx: &mut dyn DirContext,
    name: &[u8],
    ino: u64,
    d_type: u8,
    next: u64,
) -> bool {
    if !ctx.emit(name, ino, d_type, next) {
        return false;
    }
    file.pos.store(next, Ordering::Relaxed);
    true
}

/// Offers `.` and `..` when the position stands before them; false when there is no room
/// (Linux: `dir_emit_dots`).
pub fn dir_emit_dots(file: &File, ctx: &mut dyn DirContext) -> bool {
    let dentry = &file.path.dentry;
    if file.pos.load(Ordering::Relaxed) == 0
        && !dir_emit(file, ctx, b".", dentry.inode.ino, DT_DIR, 1)
    {
        return false;
    }
    if file.pos.load(Ordering::Relaxed) == 1 {
        let parent = dentry.parent().unwrap_or_else(|| dentry.clone());
        return dir_emit(file, ctx, b"..", parent.inode.ino, DT_DIR, 2);
    }
    true
}

/// The layout of a record.
#[derive(Clone, Copy)]
enum Layout {
    Dirent64,
    Dirent,
}

/// Collects records in kernel memory, at most as many bytes as the caller has room for.
struct Collector {
    bytes: Vec<u8>,
    room: usize,
    layout: Layout,
    /// An entry did not fit into the empty buffer, or there was no memory.
    error: Option<Errno>,
}

/// Bytes collected before they are handed over: a call may return fewer than it could.
const COLLECT_MAX: usize = 4096;

impl DirContext for Collector {
    fn emit(&mut self, name: &[u8], ino: u64, d_type: u8, pos: u64) -> bool {
        let (reclen, name_at) = match self.layout {
            Layout::Dirent64 => (dirent64_reclen(name.len()), DIRENT64_NAME),
            Layout::Dirent => (dirent_reclen(name.len()), DIRENT_NAME),
        };
        let start = self.bytes.len();
        if self.room - start < reclen {
            if start == 0 {
                self.error = Some(Errno::EINVAL);
            }
            return false;
        }
        // There is room, so nothing is allocated; the name's NUL and the padding are zeros.
        self.bytes.resize(start + reclen, 0);
        let record = &mut self.bytes[start..];
        record[name_at..name_at + name.len()].copy_from_slice(name);
        let head = &mut record[..DIRENT_NAME];
        head[..8].copy_from_slice(&ino.to_le_bytes());
        head[8..16].copy_from_slice(&pos.to_le_bytes());
        head[16..].copy_from_slice(&(reclen as u16).to_le_bytes());
        let type_at = match self.layout {
            Layout::Dirent64 => DIRENT64_TYPE,
            Layout::Dirent => reclen - 1,
        };
        record[type_at] = d_type;
        true
    }
}

fn getdents(fd: i32, dirent: UserAddr, count: u32, layout: Layout) -> Result<usize> {
    let file = fget(fd)?;
    let room = (count as usize).min(COLLECT_MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
    let mut collector = Collector {
        bytes,
        room,
        layout,
        error: None,
    };
    let before = file.pos.load(Ordering::Relaxed);
    iterate_dir(&file, &mut collector)?;
    if let Some(error) = collector.error {
        return Err(error);
    }
    if let Err(error) = copy_to_user(dirent, &collector.bytes) {
        file.pos.store(before, Ordering::Relaxed);
        return Err(error);
    }
    Ok(collector.bytes.len())
}

/// getdents64(2). Errors: EINVAL when not even one entry fits.
pub fn sys_getdents64(fd: i32, dirent: UserAddr, count: u32) -> Result<usize> {
    getdents(fd, dirent, count, Layout::Dirent64)
}

/// getdents(2).
pub fn sys_getdents(fd: i32, dirent: UserAddr, count: u32) -> Result<usize> {
    getdents(fd, dirent, count, Layout::Dirent)
}
