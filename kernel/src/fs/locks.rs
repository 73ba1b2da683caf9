//! Record locks of fcntl(2) and file locks of flock(2) (Linux: fs/locks.c).
#![forbid(unsafe_code)]

use alloc::collections::BTreeSet;
use core::fmt::Write;

use uapi::fcntl::*;

use crate::fs::fdtable::FilesStruct;
use crate::fs::file::{File, fget, fmode};
use crate::fs::inode::Inode;
use crate::fs::truncate::MAX_FILE_SIZE;
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::prelude::*;

/// Who holds a record lock: the table of a process, or one open file description (OFD).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOwner {
    /// A process, by its descriptor table.
    Posix(usize),
    /// An open file description, by its address.
    File(usize),
}

/// Shared or exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// Many may hold it.
    Shared,
    /// One holds it.
    Exclusive,
}

/// A locked range of bytes, the last one included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordLock {
    /// Whose it is.
    pub owner: LockOwner,
    /// Process number for F_GETLK; -1 for OFD locks.
    pub pid: i32,
    /// Shared or exclusive.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// Last byte; `MAX_FILE_SIZE` for "to the end".
    pub end: u64,
}

impl RecordLock {
    fn overlaps(&self, other: &RecordLock) -> bool {
        self.start <= other.end && other.start <= self.end
    }
    fn conflicts(&self, other: &RecordLock) -> bool {
        let exclusive = self.kind == LockKind::Exclusive || other.kind == LockKind::Exclusive;
        self.owner != other.owner && exclusive && self.overlaps(other)
    }
}

#[derive(Default)]
struct Lists {
    records: Vec<RecordLock>,
    /// flock(2): open file description and kind.
    flocks: Vec<(usize, LockKind)>,
}

/// The locks of one inode (Linux: `struct file_lock_context`).
#[derive(Default)]
pub struct FileLockContext {
    lists: SpinLock<Lists>,
    /// Woken whenever a lock goes.
    released: WaitQueueHead,
}

fn file_id(file: &File) -> usize {
    core::ptr::from_ref(file).addr()
}

/// Removes `range` from what its owner holds; pieces around it stay.
fn carve(records: &mut Vec<RecordLock>, range: &RecordLock) {
    let mut rest = Vec::new();
    records.retain(|held| {
        if held.owner != range.owner || !held.overlaps(range) {
            return true;
        }
        if held.start < range.start {
            rest.push(RecordLock {
                end: range.start - 1,
                ..*held
            });
        }
        if held.end > range.end {
            rest.push(RecordLock {
                start: range.end + 1,
                ..*held
            });
        }
        false
    });
    records.append(&mut rest);
}

/// Joins locks of one owner and kind that touch each other.
fn merge(records: &mut Vec<RecordLock>, mut new: RecordLock) {
    records.retain(|held| {
        let same = held.owner == new.owner && held.kind == new.kind;
        let touches =
            held.start <= new.end.saturating_add(1) && new.start <= held.end.saturating_add(1);
        if same && touches {
            new.start = new.start.min(held.start);
            new.end = new.end.max(held.end);
        }
        !(same && touches)
    });
    records.push(new);
}

impl FileLockContext {
    /// The first lock in the way of `wanted` (F_GETLK).
    pub fn test(&self, wanted: &RecordLock) -> Option<RecordLock> {
        let lists = self.lists.lock();
        lists
            .records
            .iter()
            .find(|held| held.conflicts(wanted))
            .copied()
    }
    /// Takes a lock if nothing is in the way. Errors: EAGAIN.
    pub fn try_lock(&self, wanted: RecordLock) -> Result {
        let mut lists = self.lists.lock();
        if lists.records.iter().any(|held| held.conflicts(&wanted)) {
            return Err(Errno::EAGAIN);
        }
        carve(&mut lists.records, &wanted);
        merge(&mut lists.records, wanted);
        drop(lists);
        // A lock that became a shared one may let others in.
        self.wake();
        Ok(())
    }
    /// Waits until the lock can be taken. Errors: ERESTARTSYS.
    pub fn lock(&self, wanted: RecordLock) -> Result {
        if self.try_lock(wanted).is_ok() {
            return Ok(());
        }
        let attempt = || self.try_lock(wanted).is_ok();
        self.released.wait_event_interruptible(attempt)
    }
    /// Gives a range back.
    pub fn unlock(&self, range: &RecordLock) {
        carve(&mut self.lists.lock().records, range);
        self.wake();
    }
    fn try_flock(&self, owner: usize, kind: LockKind) -> Result {
        let mut lists = self.lists.lock();
        let conflict = |held: &(usize, LockKind)| {
            held.0 != owner && (held.1 == LockKind::Exclusive || kind == LockKind::Exclusive)
        };
        if lists.flocks.iter().any(conflict) {
            return Err(Errno::EAGAIN);
        }
        lists.flocks.retain(|held| held.0 != owner);
        lists.flocks.push((owner, kind));
        Ok(())
    }
    fn unflock(&self, owner: usize) {
        self.lists.lock().flocks.retain(|held| held.0 != owner);
        self.wake();
    }
    fn wake(&self) {
        self.released.wake_up_all();
    }
    /// The open file description goes: so do its flock and OFD locks.
    pub fn release_file(&self, file: &File) {
        let id = file_id(file);
        {
            let mut lists = self.lists.lock();
            lists.flocks.retain(|held| held.0 != id);
            lists
                .records
                .retain(|held| held.owner != LockOwner::File(id));
        }
        self.wake();
    }
    /// A process closes any descriptor of the file: its record locks go.
    pub fn release_posix(&self, owner: usize) {
        let owner = LockOwner::Posix(owner);
        self.lists.lock().records.retain(|held| held.owner != owner);
        self.wake();
    }
    /// Every record lock, for /proc/locks.
    pub fn records(&self) -> Vec<RecordLock> {
        self.lists.lock().records.clone()
    }
}

/// Closes one descriptor's use of a file (Linux: `filp_close`). May sleep.
pub fn filp_close(file: Arc<File>, files: &FilesStruct) {
    if file.mode & fmode::PATH == 0 {
        file.ops.flush(&file);
        if let Some(locks) = file.inode.locks_if_any() {
            locks.release_posix(files.owner_id());
        }
    }
}

/// What fcntl(2) asks for, with its range made absolute. Errors: EINVAL, EOVERFLOW.
fn to_record(file: &File, flock: &Flock, owner: LockOwner, pid: i32) -> Result<RecordLock> {
    let base = match u32::try_from(flock.l_whence).map_err(|_| Errno::EINVAL)? {
        SEEK_SET => 0,
        SEEK_CUR => file.pos.load(core::sync::atomic::Ordering::Relaxed),
        SEEK_END => file.inode.size(),
        _ => return Err(Errno::EINVAL),
    };
    let base = i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?;
    let start = base.checked_add(flock.l_start).ok_or(Errno::EOVERFLOW)?;
    let (first, last) = match flock.l_len {
        0 => (start, MAX_FILE_SIZE as i64),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (
            start.checked_add(len).ok_or(Errno::EINVAL)?,
            start.checked_sub(1).ok_or(Errno::EINVAL)?,
        ),
    };
    if first < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(RecordLock {
        owner,
        pid,
        kind: if flock.l_type == F_RDLCK {
            LockKind::Shared
        } else {
            LockKind::Exclusive
        },
        start: first as u64,
        end: last.max(first) as u64,
    })
}

fn owner_of(
    file: &File,
    files: &FilesStruct,
    ofd: bool,
    flock: &Flock,
) -> Result<(LockOwner, i32)> {
    if !ofd {
        return Ok((LockOwner::Posix(files.owner_id()), current().tgid()));
    }
    if flock.l_pid != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((LockOwner::File(file_id(file)), -1))
}

/// F_GETLK and F_OFD_GETLK: says in `flock` what is in the way.
pub fn fcntl_getlk(file: &File, files: &FilesStruct, cmd: u32, flock: &mut Flock) -> Result {
    if !matches!(flock.l_type, F_RDLCK | F_WRLCK) {
        return Err(Errno::EINVAL);
    }
    let (owner, pid) = owner_of(file, files, cmd == F_OFD_GETLK, flock)?;
    let wanted = to_record(file, flock, owner, pid)?;
    let held = file
        .inode
        .locks_if_any()
        .and_then(|locks| locks.test(&wanted));
    let Some(held) = held else {
        flock.l_type = F_UNLCK;
        return Ok(());
    };
    flock.l_type = match held.kind {
        LockKind::Shared => F_RDLCK,
        LockKind::Exclusive => F_WRLCK,
    };
    flock.l_whence = SEEK_SET as i16;
    flock.l_start = held.start as i64;
    flock.l_len = if held.end == MAX_FILE_SIZE {
        0
    } else {
        (held.end - held.start + 1) as i64
    };
    flock.l_pid = held.pid;
    Ok(())
}

/// F_SETLK, F_SETLKW and their OFD forms. Errors: EBADF, EAGAIN, EINVAL, ERESTARTSYS.
pub fn fcntl_setlk(file: &File, files: &FilesStruct, cmd: u32, flock: &Flock) -> Result {
    let ofd = matches!(cmd, F_OFD_SETLK | F_OFD_SETLKW);
    let (owner, pid) = owner_of(file, files, ofd, flock)?;
    let wanted = to_record(file, flock, owner, pid)?;
    let locks = file.inode.locks();
    match flock.l_type {
        F_UNLCK => {
            locks.unlock(&wanted);
            return Ok(());
        }
        F_RDLCK if !file.is_readable() => return Err(Errno::EBADF),
        F_WRLCK if !file.is_writable() => return Err(Errno::EBADF),
        F_RDLCK | F_WRLCK => {}
        _ => return Err(Errno::EINVAL),
    }
    if matches!(cmd, F_SETLKW | F_OFD_SETLKW) {
        locks.lock(wanted)
    } else {
        locks.try_lock(wanted)
    }
}

/// flock(2). Errors: EINVAL, EWOULDBLOCK, ERESTARTSYS.
pub fn sys_flock(fd: i32, cmd: u32) -> Result {
    let file = fget(fd)?;
    let owner = file_id(&file);
    let kind = match cmd & !LOCK_NB {
        LOCK_SH => LockKind::Shared,
        LOCK_EX => LockKind::Exclusive,
        LOCK_UN => {
            if let Some(locks) = file.inode.locks_if_any() {
                locks.unflock(owner);
            }
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    let locks = file.inode.locks();
    if locks.try_flock(owner, kind).is_ok() {
        return Ok(());
    }
    if cmd & LOCK_NB != 0 {
        return Err(Errno::EWOULDBLOCK);
    }
    // Changing the kind gives the old lock up first, as on Linux: two upgraders cannot block
    // each other.
    locks.unflock(owner);
    locks
        .released
        .wait_event_interruptible(|| locks.try_flock(owner, kind).is_ok())
}

impl FileLockContext {
    /// The file lock that an open file holds, if any.
    fn flock_of(&self, file: &File) -> Option<LockKind> {
        let id = file_id(file);
        let lists = self.lists.lock();
        lists
            .flocks
            .iter()
            .find(|held| held.0 == id)
            .map(|held| held.1)
    }
}

/// Adds the line of a lock; `range` is `None` for flock(2) (Linux: `lock_get_status`).
fn lock_line(
    text: &mut String,
    what: &str,
    kind: LockKind,
    pid: i32,
    inode: &Inode,
    range: Option<(u64, u64)>,
) {
    let number = text.lines().count() + 1;
    let kind = match kind {
        LockKind::Shared => "READ ",
        LockKind::Exclusive => "WRITE",
    };
    let dev = inode.sb.dev;
    let (major, minor, ino) = (dev.major(), dev.minor(), inode.ino);
    let _ = write!(
        text,
        "{number}: {what} ADVISORY  {kind} {pid} {major:02x}:{minor:02x}:{ino} "
    );
    let _ = match range {
        Some((start, end)) if end < MAX_FILE_SIZE => writeln!(text, "{start} {end}"),
        Some((start, _)) => writeln!(text, "{start} EOF"),
        None => text.write_str("0 EOF\n"),
    };
}

/// /proc/locks. Every lock belongs to a file that somebody has open, so the open files of all
/// processes lead to all locks.
fn locks_show(text: &mut String) -> Result {
    let mut inodes: BTreeSet<*const Inode> = BTreeSet::new();
    let mut files: BTreeSet<*const File> = BTreeSet::new();
    for task in pid::all_processes() {
        let Some(table) = task.files() else { continue };
        let mut fd = 0;
        while let Some((number, file)) = table.next_open(fd) {
            fd = number + 1;
            let Some(locks) = file.inode.locks_if_any() else {
                continue;
            };
            if inodes.insert(Arc::as_ptr(&file.inode)) {
                for held in locks.records() {
                    let what = match held.owner {
                        LockOwner::Posix(_) => "POSIX ",
                        LockOwner::File(_) => "OFDLCK",
                    };
                    let range = Some((held.start, held.end));
                    lock_line(text, what, held.kind, held.pid, &file.inode, range);
                }
            }
            if files.insert(Arc::as_ptr(&file))
                && let Some(kind) = locks.flock_of(&file)
            {
                lock_line(text, "FLOCK ", kind, task.pid(), &file.inode, None);
            }
        }
    }
    Ok(())
}

#[__init]
fn proc_locks_init() -> Result {
    crate::fs::proc::proc_create_single("locks", 0o444, locks_show)
}
fs_initcall!(proc_locks_init);

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: usize, kind: LockKind, start: u64, end: u64) -> RecordLock {
        RecordLock {
            owner: LockOwner::Posix(owner),
            pid: owner as i32,
            kind,
            start,
            end,
        }
    }

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let mut records = vec![lock(1, LockKind::Exclusive, 0, 99)];
        carve(&mut records, &lock(1, LockKind::Shared, 40, 59));
        records.sort_by_key(|r| r.start);
        let ranges: Vec<_> = records.iter().map(|r| (r.start, r.end)).collect();
        assert_eq!(ranges, [(0, 39), (60, 99)]);
    }

    #[test]
    fn neighbouring_locks_of_one_owner_become_one() {
        let mut records = vec![lock(1, LockKind::Shared, 0, 9)];
        merge(&mut records, lock(1, LockKind::Shared, 10, 19));
        merge(&mut records, lock(2, LockKind::Shared, 20, 29));
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].start, records[0].end), (0, 19));
    }

    #[test]
    fn shared_locks_do_not_conflict_and_exclusive_ones_do() {
        let context = FileLockContext::default();
        let shared = lock(1, LockKind::Shared, 0, 9);
        assert_eq!(context.try_lock(shared), Ok(()));
        assert!(context.test(&lock(2, LockKind::Shared, 0, 9)).is_none());
        assert_eq!(
            context.test(&lock(2, LockKind::Exclusive, 9, 9)),
            Some(shared)
        );
        assert!(
            context
                .test(&lock(2, LockKind::Exclusive, 10, 19))
                .is_none()
        );
        assert!(context.test(&lock(1, LockKind::Exclusive, 0, 9)).is_none());
    }
}
