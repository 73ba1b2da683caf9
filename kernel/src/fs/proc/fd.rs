//! Open files of a process: /proc/PID/fd and /proc/PID/fdinfo (Linux: fs/proc/fd.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::Ordering;

use uapi::fcntl::O_CLOEXEC;
use uapi::stat::*;

use super::base::{Access, Group, NodeBase, PidBody, name_to_int, text_file};
use super::inode::{NodeEmit, ProcNode};
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations};
use crate::fs::namei::Path;
use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// What the entries of the directory are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    Links,
    Texts,
}

/// Either of the two directories.
pub struct FdDir(Entries);

/// Errors: ENOENT when the task or the descriptor is gone.
fn file_of(task: &Task, fd: u32) -> Result<Arc<File>> {
    let files = task.files().ok_or(Errno::ENOENT)?;
    files.get(fd as i32).map_err(|_| Errno::ENOENT)
}

/// A link can be used in the ways in which the file is open.
fn link_mode(file: &File) -> u32 {
    let mut mode = S_IFLNK;
    if file.is_readable() {
        mode |= S_IRUSR | S_IXUSR;
    }
    if file.is_writable() {
        mode |= S_IWUSR | S_IXUSR;
    }
    mode
}

impl FdDir {
    /// `fd`.
    pub fn links() -> Self {
        Self(Entries::Links)
    }
    /// `fdinfo`.
    pub fn texts() -> Self {
        Self(Entries::Texts)
    }

    fn entry(&self, base: &NodeBase, fd: u32, file: &File) -> (u32, u64) {
        match self.0 {
            Entries::Links => (link_mode(file), base.ino_of(Group::Fd, fd.into())),
            Entries::Texts => (S_IFREG | 0o444, base.ino_of(Group::FdInfo, fd.into())),
        }
    }
}

impl PidBody for FdDir {
    fn access(&self) -> Access {
        match self.0 {
            Entries::Links => Access::Mode,
            Entries::Texts => Access::Private,
        }
    }
    fn lookup(&self, base: &NodeBase, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        let task = base.pid.task()?;
        let Some((fd, file)) =
            name_to_int(name).and_then(|fd| Some((fd, file_of(&task, fd).ok()?)))
        else {
            return Ok(None);
        };
        let (mode, ino) = self.entry(base, fd, &file);
        Ok(Some(match self.0 {
            Entries::Links => base.node(mode, ino, FdLink(fd)),
            Entries::Texts => base.node(mode, ino, FdInfo(fd)),
        }))
    }
    fn read_dir(&self, base: &NodeBase, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        let Some(files) = base.pid.task()?.files() else {
            return Ok(());
        };
        let mut fd = u32::try_from(from.saturating_sub(2)).unwrap_or(u32::MAX);
        while let Some((number, file)) = files.next_open(fd) {
            let (mode, ino) = self.entry(base, number, &file);
            drop(file);
            let name = format!("{number}");
            if !emit(name.as_bytes(), ino, mode, u64::from(number) + 3) {
                break;
            }
            fd = number + 1;
        }
        Ok(())
    }
}

/// /proc/PID/fd/N.
struct FdLink(u32);

impl PidBody for FdLink {
    fn mode(&self, base: &NodeBase) -> u32 {
        let file = base.pid.task().and_then(|task| file_of(&task, self.0));
        file.map_or(base.mode, |file| link_mode(&file))
    }
    fn exists(&self, task: &Arc<Task>) -> bool {
        file_of(task, self.0).is_ok()
    }
    fn size(&self) -> u64 {
        64
    }
    fn link(&self, task: &Arc<Task>) -> Result<Path> {
        Ok(file_of(task, self.0)?.path.clone())
    }
}

/// /proc/PID/fdinfo/N.
struct FdInfo(u32);

impl PidBody for FdInfo {
    fn exists(&self, task: &Arc<Task>) -> bool {
        file_of(task, self.0).is_ok()
    }
    fn open(&self, base: &NodeBase, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        base.pid.readable_task()?;
        let fd = self.0;
        let show = move |task: &Arc<Task>, text: &mut String| show_fdinfo(task, fd, text);
        Ok(Arc::new(text_file(base.pid.clone(), show)))
    }
}

/// Linux: `seq_show`.
fn show_fdinfo(task: &Arc<Task>, fd: u32, text: &mut String) -> Result {
    let files = task.files().ok_or(Errno::ENOENT)?;
    let file = file_of(task, fd)?;
    let cloexec = match files.on_exec(fd) {
        Ok(OnExec::Close) => O_CLOEXEC,
        _ => 0,
    };
    let _ = write!(
        text,
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{}\n",
        file.pos.load(Ordering::Relaxed),
        file.flags() | cloexec,
        file.path.mnt.id,
        file.inode.ino,
    );
    file.ops.show_fdinfo(text);
    Ok(())
}
