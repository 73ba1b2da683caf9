//! The directories of processes and threads (Linux: fs/proc/base.c).
//!
//! A node knows its process by number and by the structure that the threads of the process share,
//! and holds neither alive: a process that is reaped vanishes from /proc at once, and a new one
//! with the same number is never mistaken for it.
#![forbid(unsafe_code)]

use uapi::stat::*;

use super::generic::{FixedNode, proc_net};
use super::inode::{NodeEmit, ProcNode};
use super::root::DYNAMIC_POS;
use super::{array, fd, namespaces, pid_mm, pid_text};
use crate::fs::d_path::d_path;
use crate::fs::file::FileOperations;
use crate::fs::inode::LinkTarget;
use crate::fs::namei::Path;
use crate::fs::seq_file::{SeqFile, StoreFile};
use crate::kernel::cred::Cred;
use crate::kernel::pid;
use crate::kernel::ptrace::ptrace_may_access;
use crate::kernel::sched::current;
use crate::kernel::sched::task::{Pid, Task};
use crate::kernel::signal::SignalStruct;
use crate::prelude::*;

/// A process or thread that may be gone (Linux: `struct pid`).
#[derive(Clone)]
pub struct PidRef {
    number: Pid,
    signal: Weak<SignalStruct>,
}

impl PidRef {
    /// The reference to a task.
    pub fn of(task: &Task) -> Self {
        Self {
            number: task.pid(),
            signal: Arc::downgrade(&task.signal),
        }
    }
    /// The task. Errors: ESRCH when it was reaped.
    pub fn task(&self) -> Result<Arc<Task>> {
        let task = pid::find_task(self.number).ok_or(Errno::ESRCH)?;
        let same = Weak::as_ptr(&self.signal) == Arc::as_ptr(&task.signal);
        if same { Ok(task) } else { Err(Errno::ESRCH) }
    }
    /// The task, if the caller may look into it. Errors: ESRCH, EACCES.
    pub fn readable_task(&self) -> Result<Arc<Task>> {
        let task = self.task()?;
        ptrace_may_access(&task).map_err(|_| Errno::EACCES)?;
        Ok(task)
    }
}

/// Whether a directory speaks of a process or of one of its threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// /proc/PID.
    Process,
    /// /proc/PID/task/TID.
    Thread,
}

/// Which numbering of inodes below a directory.
#[derive(Clone, Copy)]
pub enum Group {
    /// The directory and its files.
    Files,
    /// Links of `fd`.
    Fd,
    /// Files of `fdinfo`.
    FdInfo,
    /// Links of `ns`.
    Ns,
}

/// What every node of a process has.
#[derive(Clone)]
pub struct NodeBase {
    /// Whose it is.
    pub pid: PidRef,
    /// Of the process or of the thread.
    pub scope: Scope,
    /// Type and permissions.
    pub mode: u32,
    /// Inode number.
    pub ino: u64,
}

impl NodeBase {
    /// The number of an inode: process, scope, group and place in it.
    pub fn ino_of(&self, group: Group, index: u64) -> u64 {
        let number = u64::from(self.pid.number.unsigned_abs());
        number << 32 | (self.scope as u64) << 30 | (group as u64) << 26 | index
    }

    fn child(&self, mode: u32, ino: u64) -> NodeBase {
        NodeBase {
            mode,
            ino,
            ..self.clone()
        }
    }

    /// A node beside or below this one.
    pub fn node<T: PidBody + 'static>(&self, mode: u32, ino: u64, body: T) -> Box<dyn ProcNode> {
        Box::new(PidNode {
            base: self.child(mode, ino),
            body,
        })
    }
}

/// What using a directory takes, beside its mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Mode,
    /// The process is there; else ESRCH (Linux: `proc_pid_permission`).
    Alive,
    /// The caller may look into the process; else EACCES.
    Private,
}

/// What is particular to a node of a process.
#[expect(unused_variables, reason = "default methods refuse")]
pub trait PidBody: Send + Sync {
    /// Type and permissions, where they change.
    fn mode(&self, base: &NodeBase) -> u32 {
        base.mode
    }
    /// Whether it exists, apart from its process.
    fn exists(&self, task: &Arc<Task>) -> bool {
        true
    }
    /// Number of names.
    fn nlink(&self, base: &NodeBase) -> u32 {
        1 + u32::from(s_isdir(base.mode))
    }
    /// Size that stat(2) shows.
    fn size(&self) -> u64 {
        0
    }
    /// The child of a directory.
    fn lookup(&self, base: &NodeBase, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        Ok(None)
    }
    /// Offers the children.
    fn read_dir(&self, base: &NodeBase, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        Ok(())
    }
    /// Opens a file.
    fn open(&self, base: &NodeBase, flags: u32) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::EINVAL)
    }
    /// Where a link leads; the caller may look into the task.
    fn link(&self, task: &Arc<Task>) -> Result<Path> {
        Err(Errno::EINVAL)
    }
    /// Who may use a directory beyond what its mode says.
    fn access(&self) -> Access {
        Access::Mode
    }
}

struct PidNode<T> {
    base: NodeBase,
    body: T,
}

impl<T: PidBody> PidNode<T> {
    fn place(&self) -> Result<Path> {
        self.body.link(&self.base.pid.readable_task()?)
    }
}

impl<T: PidBody> ProcNode for PidNode<T> {
    fn mode(&self) -> u32 {
        self.body.mode(&self.base)
    }
    fn ino(&self) -> u64 {
        self.base.ino
    }
    /// Linux: `task_dump_owner`.
    fn owner(&self) -> (u32, u32) {
        match self.base.pid.task() {
            Ok(task) if !task.is_kthread() => {
                let cred = task.cred();
                (cred.euid, cred.egid)
            }
            _ => (0, 0),
        }
    }
    fn nlink(&self) -> u32 {
        self.body.nlink(&self.base)
    }
    fn size(&self) -> u64 {
        self.body.size()
    }
    fn is_alive(&self) -> bool {
        let task = self.base.pid.task();
        task.is_ok_and(|task| self.body.exists(&task))
    }
    fn may_vanish(&self) -> bool {
        true
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        self.base.pid.task().map_err(|_| Errno::ENOENT)?;
        self.body.lookup(&self.base, name)
    }
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        self.base.pid.task().map_err(|_| Errno::ENOENT)?;
        self.body.read_dir(&self.base, from, emit)
    }
    fn open(&self, flags: u32) -> Result<Arc<dyn FileOperations>> {
        self.body.open(&self.base, flags)
    }
    fn get_link(&self) -> Result<LinkTarget> {
        self.place().map(LinkTarget::Jump)
    }
    /// Linux: `do_proc_readlink`.
    fn readlink(&self) -> Result<Option<Vec<u8>>> {
        let path = self.place()?;
        let root = current().fs().map(|fs| fs.root());
        Ok(Some(d_path(&path, root.as_ref())))
    }
    fn permission(&self, _mask: u32, _cred: &Cred) -> Result {
        match self.body.access() {
            Access::Mode => Ok(()),
            Access::Alive => self.base.pid.task().map(drop),
            Access::Private => self.base.pid.readable_task().map(drop),
        }
    }
    fn has_permission(&self) -> bool {
        self.body.access() != Access::Mode
    }
}

/// Makes a file's text.
pub type TaskShow = fn(&Arc<Task>, &mut String) -> Result;
/// Takes what one write(2) brings.
pub type TaskStore = fn(&Arc<Task>, &[u8]) -> Result;

/// What an entry of a process's directory is.
enum Kind {
    /// A text.
    One(TaskShow),
    /// A text that can be written.
    Rw(TaskShow, TaskStore),
    /// A file with operations of its own.
    Open(fn(&PidRef) -> Result<Arc<dyn FileOperations>>),
    /// A link to a place.
    Link(fn(&Task) -> Result<Path>),
    /// A directory.
    Dir(fn(&NodeBase) -> Box<dyn ProcNode>),
}

/// An entry of /proc/PID (Linux: `struct pid_entry`).
struct PidEntry {
    name: &'static str,
    mode: u32,
    kind: Kind,
}

const fn one(name: &'static str, mode: u32, show: TaskShow) -> PidEntry {
    PidEntry {
        name,
        mode: S_IFREG | mode,
        kind: Kind::One(show),
    }
}
const fn rw(name: &'static str, show: TaskShow, store: TaskStore) -> PidEntry {
    PidEntry {
        name,
        mode: S_IFREG | 0o644,
        kind: Kind::Rw(show, store),
    }
}
const fn file(
    name: &'static str,
    mode: u32,
    open: fn(&PidRef) -> Result<Arc<dyn FileOperations>>,
) -> PidEntry {
    PidEntry {
        name,
        mode: S_IFREG | mode,
        kind: Kind::Open(open),
    }
}
const fn link(name: &'static str, get: fn(&Task) -> Result<Path>) -> PidEntry {
    PidEntry {
        name,
        mode: S_IFLNK | 0o777,
        kind: Kind::Link(get),
    }
}
const fn dir(name: &'static str, mode: u32, make: fn(&NodeBase) -> Box<dyn ProcNode>) -> PidEntry {
    PidEntry {
        name,
        mode: S_IFDIR | mode,
        kind: Kind::Dir(make),
    }
}

/// What only a process has.
static TGID_ENTRIES: &[PidEntry] = &[
    dir("task", 0o555, |base| {
        base.node(base.mode, base.ino, TaskDir)
    }),
    one("stat", 0o444, |task, text| {
        array::pid_stat(task, Scope::Process, text)
    }),
];

/// What only a thread has.
static TID_ENTRIES: &[PidEntry] = &[
    one("stat", 0o444, |task, text| {
        array::pid_stat(task, Scope::Thread, text)
    }),
    one("children", 0o444, array::children),
];

/// What both have.
static ENTRIES: &[PidEntry] = &[
    dir("fd", 0o500, |base| {
        base.node(base.mode, base.ino, fd::FdDir::links())
    }),
    dir("fdinfo", 0o555, |base| {
        base.node(base.mode, base.ino, fd::FdDir::texts())
    }),
    dir("ns", 0o511, |base| {
        base.node(base.mode, base.ino, namespaces::NsDir)
    }),
    dir("net", 0o555, |_| Box::new(FixedNode(proc_net().clone()))),
    file("environ", 0o400, pid_mm::environ_open),
    file("auxv", 0o400, pid_mm::auxv_open),
    one("status", 0o444, array::pid_status),
    one("personality", 0o400, pid_text::personality),
    one("limits", 0o444, pid_text::limits),
    one("sched", 0o444, pid_text::sched),
    rw("comm", pid_text::comm, pid_text::set_comm),
    file("cmdline", 0o444, pid_mm::cmdline_open),
    one("statm", 0o444, array::pid_statm),
    file("maps", 0o444, pid_mm::maps_open),
    file("mem", 0o600, pid_mm::mem_open),
    link("cwd", |task| Ok(task.fs().ok_or(Errno::ENOENT)?.pwd())),
    link("root", |task| Ok(task.fs().ok_or(Errno::ENOENT)?.root())),
    link("exe", pid_mm::exe_path),
    file("mounts", 0o444, pid_text::mounts_open),
    file("mountinfo", 0o444, pid_text::mountinfo_open),
    file("smaps", 0o444, pid_mm::smaps_open),
    one("wchan", 0o444, pid_text::wchan),
    one("schedstat", 0o444, pid_text::schedstat),
    one("cpuset", 0o444, pid_text::cpuset),
    one("cgroup", 0o444, pid_text::cgroup),
    file("io", 0o400, io_open),
    one("oom_score", 0o444, pid_text::oom_score),
    rw(
        "oom_score_adj",
        pid_text::oom_score_adj,
        pid_text::set_oom_score_adj,
    ),
    rw("loginuid", pid_text::loginuid, pid_text::set_loginuid),
    one("sessionid", 0o444, pid_text::sessionid),
    rw(
        "coredump_filter",
        pid_text::coredump_filter,
        pid_text::set_coredump_filter,
    ),
    rw("uid_map", pid_text::id_map, pid_text::refuse_map),
    rw("gid_map", pid_text::id_map, pid_text::refuse_map),
    rw("setgroups", pid_text::setgroups, pid_text::refuse_map),
];

/// /proc/PID/io, of the process and what it waited for.
fn io_open(pid: &PidRef) -> Result<Arc<dyn FileOperations>> {
    pid.readable_task()?;
    Ok(Arc::new(text_file(pid.clone(), pid_text::io)))
}

fn entries(scope: Scope) -> impl Iterator<Item = (u64, &'static PidEntry)> {
    let own = match scope {
        Scope::Process => TGID_ENTRIES,
        Scope::Thread => TID_ENTRIES,
    };
    (1..).zip(own.iter().chain(ENTRIES))
}

/// /proc/PID or /proc/PID/task/TID.
struct PidDir;

impl PidDir {
    fn node(task: &Task, scope: Scope) -> Box<dyn ProcNode> {
        let mut base = NodeBase {
            pid: PidRef::of(task),
            scope,
            mode: S_IFDIR | 0o555,
            ino: 0,
        };
        base.ino = base.ino_of(Group::Files, 0);
        Box::new(PidNode { base, body: PidDir })
    }
}

impl PidBody for PidDir {
    fn access(&self) -> Access {
        Access::Alive
    }
    fn nlink(&self, base: &NodeBase) -> u32 {
        2 + entries(base.scope)
            .filter(|(_, entry)| s_isdir(entry.mode))
            .count() as u32
    }
    fn lookup(&self, base: &NodeBase, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        let found = entries(base.scope).find(|(_, entry)| entry.name.as_bytes() == name);
        let Some((index, entry)) = found else {
            return Ok(None);
        };
        let ino = base.ino_of(Group::Files, index);
        Ok(Some(match entry.kind {
            Kind::Dir(make) => make(&base.child(entry.mode, ino)),
            _ => base.node(entry.mode, ino, EntryBody(entry)),
        }))
    }
    fn read_dir(&self, base: &NodeBase, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        for (index, entry) in entries(base.scope) {
            let ino = base.ino_of(Group::Files, index);
            let position = index + 1;
            if position >= from && !emit(entry.name.as_bytes(), ino, entry.mode, position + 1) {
                break;
            }
        }
        Ok(())
    }
}

/// A file or link of the table.
struct EntryBody(&'static PidEntry);

impl PidBody for EntryBody {
    fn open(&self, base: &NodeBase, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        let pid = base.pid.clone();
        match self.0.kind {
            Kind::One(show) => Ok(Arc::new(text_file(pid, show))),
            Kind::Rw(show, store) => {
                let text = text_file(pid.clone(), show);
                let store = move |bytes: &[u8]| store(&pid.task()?, bytes);
                Ok(Arc::new(StoreFile { text, store }))
            }
            Kind::Open(open) => open(&pid),
            Kind::Link(_) | Kind::Dir(_) => Err(Errno::EINVAL),
        }
    }
    fn link(&self, task: &Arc<Task>) -> Result<Path> {
        match self.0.kind {
            Kind::Link(get) => get(task),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// A file whose text `show` makes of a task (Linux: `proc_single_show`).
pub fn text_file(
    pid: PidRef,
    show: impl Fn(&Arc<Task>, &mut String) -> Result + Send + Sync,
) -> SeqFile<impl Fn(&mut Vec<u8>) -> Result + Send + Sync> {
    SeqFile::new(move |out: &mut Vec<u8>| {
        let mut text = String::new();
        show(&pid.task()?, &mut text)?;
        *out = text.into_bytes();
        Ok(())
    })
}

/// A number as a name in /proc: digits without leading zeros (Linux: `name_to_int`).
pub fn name_to_int(name: &[u8]) -> Option<u32> {
    let zero_led = name.len() > 1 && name.first() == Some(&b'0');
    if zero_led || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

/// /proc/PID/task.
struct TaskDir;

fn thread_of(base: &NodeBase, name: &[u8]) -> Option<Arc<Task>> {
    let number = i32::try_from(name_to_int(name)?).ok()?;
    let (process, thread) = (base.pid.task().ok()?, pid::find_task(number)?);
    Arc::ptr_eq(&process.signal, &thread.signal).then_some(thread)
}

impl PidBody for TaskDir {
    fn nlink(&self, base: &NodeBase) -> u32 {
        let threads = base
            .pid
            .task()
            .map_or(0, |task| task.signal.thread_list().len());
        2 + threads as u32
    }
    fn lookup(&self, base: &NodeBase, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        Ok(thread_of(base, name).map(|task| PidDir::node(&task, Scope::Thread)))
    }
    fn read_dir(&self, base: &NodeBase, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        let threads = base.pid.task()?.signal.thread_list();
        let mut numbers: Vec<Pid> = threads.iter().map(|thread| thread.pid()).collect();
        numbers.sort_unstable();
        for number in numbers {
            let position = 2 + u64::from(number.unsigned_abs());
            let ino = PidDir::ino(number, Scope::Thread);
            let name = format!("{number}");
            if position >= from && !emit(name.as_bytes(), ino, S_IFDIR | 0o555, position + 1) {
                break;
            }
        }
        Ok(())
    }
}

impl PidDir {
    /// Number of the directory of a process or thread.
    fn ino(number: Pid, scope: Scope) -> u64 {
        u64::from(number.unsigned_abs()) << 32 | (scope as u64) << 30
    }
}

/// `self`, `thread-self` and the processes, as children of /proc.
struct Processes;

/// Number of /proc/self; the next one is that of /proc/thread-self.
const SELF_INO: u64 = 1 << 31;
const SELF_LINKS: [&str; 2] = ["self", "thread-self"];
/// Where in the listing process 0 would be.
const FIRST_PROCESS_POS: u64 = DYNAMIC_POS + SELF_LINKS.len() as u64;

impl ProcNode for Processes {
    fn mode(&self) -> u32 {
        S_IFDIR | 0o555
    }
    fn ino(&self) -> u64 {
        super::generic::PROC_ROOT_INO
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        if let Some(index) = SELF_LINKS.iter().position(|link| link.as_bytes() == name) {
            return Ok(Some(Box::new(SelfLink(index as u64))));
        }
        let number = name_to_int(name).and_then(|number| i32::try_from(number).ok());
        let task = number.and_then(pid::find_task);
        Ok(task.map(|task| PidDir::node(&task, Scope::Process)))
    }
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        for (index, name) in (0..).zip(SELF_LINKS) {
            let position = DYNAMIC_POS + index;
            let mode = S_IFLNK | 0o777;
            if position >= from && !emit(name.as_bytes(), SELF_INO + index, mode, position + 1) {
                return Ok(());
            }
        }
        let first = i32::try_from(from.saturating_sub(FIRST_PROCESS_POS)).unwrap_or(Pid::MAX);
        let mut next = pid::next_process(first);
        while let Some(task) = next {
            let number = task.pid();
            let position = FIRST_PROCESS_POS + u64::from(number.unsigned_abs());
            let ino = PidDir::ino(number, Scope::Process);
            let name = format!("{number}");
            if !emit(name.as_bytes(), ino, S_IFDIR | 0o555, position + 1) {
                break;
            }
            next = pid::next_process(number.saturating_add(1));
        }
        Ok(())
    }
}

/// /proc/self and /proc/thread-self (Linux: fs/proc/self.c, fs/proc/thread_self.c).
struct SelfLink(u64);

impl ProcNode for SelfLink {
    fn mode(&self) -> u32 {
        S_IFLNK | 0o777
    }
    fn ino(&self) -> u64 {
        SELF_INO + self.0
    }
    fn get_link(&self) -> Result<LinkTarget> {
        let (tgid, tid) = (current().tgid(), current().pid());
        let text = match self.0 {
            0 => format!("{tgid}"),
            _ => format!("{tgid}/task/{tid}"),
        };
        Ok(LinkTarget::Text(Arc::from(text.into_bytes())))
    }
}

#[__init]
fn proc_pid_init() -> Result {
    super::proc_register_dynamic(Arc::new(Processes));
    Ok(())
}
fs_initcall!(proc_pid_init);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_without_leading_zeros() {
        assert_eq!(name_to_int(b"0"), Some(0));
        assert_eq!(name_to_int(b"4194304"), Some(4_194_304));
        for name in [&b""[..], b"01", b"1x", b"-1", b"+1", b"99999999999"] {
            assert_eq!(name_to_int(name), None);
        }
    }

    #[test]
    fn no_two_entries_have_one_name() {
        for scope in [Scope::Process, Scope::Thread] {
            let mut names: Vec<&str> = entries(scope).map(|(_, entry)| entry.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
