//! Small texts of a process (Linux: fs/proc/base.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};

use uapi::capability::{CAP_AUDIT_CONTROL, CAP_SYS_RESOURCE};
use uapi::poll::{DEFAULT_POLLMASK, POLLERR, POLLPRI};
use uapi::resource::RLIM_INFINITY;

use super::base::{PidRef, text_file};
use crate::fs::file::{File, FileOperations};
use crate::fs::mount::MntNamespace;
use crate::fs::namei::Path;
use crate::fs::namespace::current_namespace;
use crate::fs::proc_namespace::{show_mountinfo, show_mounts};
use crate::kernel::ptrace::ptrace_may_access;
use crate::kernel::sched::debug::{proc_sched_show_task, task_state_letter};
use crate::kernel::sched::task::{IoAccounting, IoCount, Task};
use crate::kernel::sched::wait::PollTable;
use crate::kernel::sched::{current, get_wchan};
use crate::lib::kstrtox::{kstrtoi32, kstrtou32};
use crate::mm::oom_kill::{OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, oom_badness};
use crate::mm::page_alloc::totalram_pages;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

fn text_of(bytes: &[u8]) -> Result<&str> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    Ok(text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0'))
}

/// /proc/PID/comm.
pub fn comm(task: &Arc<Task>, text: &mut String) -> Result {
    let _ = writeln!(text, "{}", task.comm());
    Ok(())
}

/// Names a thread of the caller's own process; a newline at the end becomes part of the name.
/// Errors: EINVAL for another process.
pub fn set_comm(task: &Arc<Task>, bytes: &[u8]) -> Result {
    if !Arc::ptr_eq(&task.signal, &current().signal) {
        return Err(Errno::EINVAL);
    }
    let end = bytes.iter().position(|byte| *byte == 0);
    task.set_comm(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
    Ok(())
}

/// /proc/PID/personality.
pub fn personality(task: &Arc<Task>, text: &mut String) -> Result {
    let _ = writeln!(text, "{:08x}", task.personality.load(Ordering::Relaxed));
    Ok(())
}

/// Names and units of the limits by number (Linux: `lnames`).
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limit_column(text: &mut String, value: u64) {
    let _ = match value {
        RLIM_INFINITY => write!(text, "{:<20} ", "unlimited"),
        value => write!(text, "{value:<20} "),
    };
}

/// /proc/PID/limits.
pub fn limits(task: &Arc<Task>, text: &mut String) -> Result {
    let rlimits = *task.signal.rlimits.lock();
    let _ = writeln!(
        text,
        "{:<25} {:<20} {:<20} {:<10}",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    for ((name, unit), limit) in LIMITS.iter().zip(rlimits) {
        let _ = write!(text, "{name:<25} ");
        limit_column(text, limit.rlim_cur);
        limit_column(text, limit.rlim_max);
        if !unit.is_empty() {
            let _ = write!(text, "{unit:<10}");
        }
        text.push('\n');
    }
    Ok(())
}

/// /proc/PID/sched.
pub fn sched(task: &Arc<Task>, text: &mut String) -> Result {
    proc_sched_show_task(task, text);
    Ok(())
}

/// /proc/PID/schedstat.
pub fn schedstat(task: &Arc<Task>, text: &mut String) -> Result {
    let (run, delay, count) = task.se.schedstat();
    let _ = writeln!(text, "{run} {delay} {count}");
    Ok(())
}

/// /proc/PID/wchan: the function in which a task sleeps; 0 when it does not, or the caller may not know.
pub fn wchan(task: &Arc<Task>, text: &mut String) -> Result {
    let sleeps = matches!(task_state_letter(task), 'S' | 'D' | 'T' | 'I');
    let function = (sleeps && ptrace_may_access(task).is_ok()).then(|| get_wchan(task));
    text.push_str(function.flatten().as_deref().unwrap_or("0"));
    Ok(())
}

/// /proc/PID/cgroup: one line for each hierarchy that was mounted.
pub fn cgroup(_task: &Arc<Task>, _text: &mut String) -> Result {
    Ok(())
}

/// /proc/PID/cpuset: the one that has every CPU.
pub fn cpuset(_task: &Arc<Task>, text: &mut String) -> Result {
    text.push_str("/\n");
    Ok(())
}

/// /proc/PID/io. There are no block devices, so nothing was read from or written to one.
pub fn io(task: &Arc<Task>, text: &mut String) -> Result {
    let total = IoAccounting::default();
    total.add(&task.signal.ioac);
    task.signal
        .thread_list()
        .iter()
        .for_each(|thread| total.add(&thread.ioac));
    let get = |count: &IoCount| {
        (
            count.bytes.load(Ordering::Relaxed),
            count.calls.load(Ordering::Relaxed),
        )
    };
    let ((rchar, syscr), (wchar, syscw)) = (get(&total.read), get(&total.write));
    let _ = write!(
        text,
        "rchar: {rchar}\nwchar: {wchar}\nsyscr: {syscr}\nsyscw: {syscw}\n\
         read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"
    );
    Ok(())
}

/// /proc/PID/oom_score: 0 to 2000, in thousandths of memory.
pub fn oom_score(task: &Arc<Task>, text: &mut String) -> Result {
    let total = totalram_pages();
    let points = match oom_badness(task, total) {
        Some(badness) => (1000 + badness.saturating_mul(1000) / total.max(1) as i64) * 2 / 3,
        None => 0,
    };
    let _ = writeln!(text, "{points}");
    Ok(())
}

/// /proc/PID/oom_score_adj.
pub fn oom_score_adj(task: &Arc<Task>, text: &mut String) -> Result {
    let _ = writeln!(
        text,
        "{}",
        task.signal.oom_score_adj.load(Ordering::Relaxed)
    );
    Ok(())
}

/// Errors: EINVAL, EACCES below what a privileged process allowed.
pub fn set_oom_score_adj(task: &Arc<Task>, bytes: &[u8]) -> Result {
    let adj = kstrtoi32(text_of(bytes)?, 0)?;
    if !(OOM_SCORE_ADJ_MIN..=OOM_SCORE_ADJ_MAX).contains(&adj) {
        return Err(Errno::EINVAL);
    }
    let privileged = current().cred().has_cap(CAP_SYS_RESOURCE);
    let signal = &task.signal;
    if adj < signal.oom_score_adj_min.load(Ordering::Relaxed) && !privileged {
        return Err(Errno::EACCES);
    }
    signal.oom_score_adj.store(adj, Ordering::Relaxed);
    if privileged {
        signal.oom_score_adj_min.store(adj, Ordering::Relaxed);
    }
    Ok(())
}

/// /proc/PID/loginuid.
pub fn loginuid(task: &Arc<Task>, text: &mut String) -> Result {
    let _ = write!(text, "{}", task.signal.loginuid.load(Ordering::Relaxed));
    Ok(())
}

/// Begins a login session of the caller's own (Linux: kernel/audit.c, `audit_set_loginuid`).
/// Errors: EPERM for another process, or when it is set and CAP_AUDIT_CONTROL is missing; EINVAL.
pub fn set_loginuid(task: &Arc<Task>, bytes: &[u8]) -> Result {
    static SESSION: AtomicU32 = AtomicU32::new(1);
    if !Arc::ptr_eq(&task.signal, &current().signal) {
        return Err(Errno::EPERM);
    }
    let uid = match text_of(bytes)? {
        "-1" => u32::MAX,
        number => kstrtou32(number, 10)?,
    };
    let signal = &task.signal;
    let is_set = signal.loginuid.load(Ordering::Relaxed) != u32::MAX;
    if (is_set || uid == u32::MAX) && !current().cred().has_cap(CAP_AUDIT_CONTROL) {
        return Err(Errno::EPERM);
    }
    let session = match uid {
        u32::MAX => u32::MAX,
        _ => SESSION.fetch_add(1, Ordering::Relaxed),
    };
    signal.loginuid.store(uid, Ordering::Relaxed);
    signal.sessionid.store(session, Ordering::Relaxed);
    Ok(())
}

/// /proc/PID/sessionid.
pub fn sessionid(task: &Arc<Task>, text: &mut String) -> Result {
    let _ = write!(text, "{}", task.signal.sessionid.load(Ordering::Relaxed));
    Ok(())
}

/// Bits that a filter may have (Linux: `MMF_DUMP_FILTER_MASK`).
const COREDUMP_FILTER_MASK: u32 = 0x1ff;

/// /proc/PID/coredump_filter; empty for what has no memory.
pub fn coredump_filter(task: &Arc<Task>, text: &mut String) -> Result {
    if task.mm().is_some() {
        let filter = task.signal.coredump_filter.load(Ordering::Relaxed);
        let _ = writeln!(text, "{filter:08x}");
    }
    Ok(())
}

/// Errors: EINVAL, ESRCH for a kernel thread.
pub fn set_coredump_filter(task: &Arc<Task>, bytes: &[u8]) -> Result {
    let filter = kstrtou32(text_of(bytes)?, 0)?;
    task.mm().ok_or(Errno::ESRCH)?;
    task.signal
        .coredump_filter
        .store(filter & COREDUMP_FILTER_MASK, Ordering::Relaxed);
    Ok(())
}

/// /proc/PID/uid_map and gid_map: the initial user namespace maps every number to itself.
pub fn id_map(_task: &Arc<Task>, text: &mut String) -> Result {
    let _ = writeln!(text, "{:10} {:10} {:10}", 0, 0, u32::MAX);
    Ok(())
}

/// The map of the initial user namespace is set, once and for all. Errors: EPERM.
pub fn refuse_map(_task: &Arc<Task>, _bytes: &[u8]) -> Result {
    Err(Errno::EPERM)
}

/// /proc/PID/setgroups.
pub fn setgroups(_task: &Arc<Task>, text: &mut String) -> Result {
    text.push_str("allow\n");
    Ok(())
}

type ShowMounts = fn(&MntNamespace, &Path, &mut String);

/// /proc/PID/mounts.
pub fn mounts_open(pid: &PidRef) -> Result<Arc<dyn FileOperations>> {
    mounts_open_common(pid, show_mounts)
}

/// /proc/PID/mountinfo.
pub fn mountinfo_open(pid: &PidRef) -> Result<Arc<dyn FileOperations>> {
    mounts_open_common(pid, show_mountinfo)
}

/// Linux: fs/proc_namespace.c, `mounts_open_common`. Errors: EINVAL for a dying task.
fn mounts_open_common(pid: &PidRef, show: ShowMounts) -> Result<Arc<dyn FileOperations>> {
    let root = pid.task()?.fs().ok_or(Errno::EINVAL)?.root();
    let ns = current_namespace()?;
    let shown = ns.clone();
    let text = text_file(pid.clone(), move |_, text| {
        show(&shown, &root, text);
        Ok(())
    });
    let seen = AtomicU32::new(ns.event() as u32);
    Ok(Arc::new(MountsFile { text, ns, seen }))
}

/// A list of mounts; poll(2) tells of changes.
struct MountsFile<R> {
    text: R,
    ns: Arc<MntNamespace>,
    /// Changes that poll has told of, modulo 2^32.
    seen: AtomicU32,
}

impl<R: FileOperations> FileOperations for MountsFile<R> {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        self.text.read_iter(file, to, pos)
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        self.text.llseek(file, offset, whence)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            self.ns.poll.poll_wait(table);
        }
        let event = self.ns.event() as u32;
        let changed = self.seen.swap(event, Ordering::AcqRel) != event;
        DEFAULT_POLLMASK | if changed { POLLERR | POLLPRI } else { 0 }
    }
    fn can_poll(&self) -> bool {
        true
    }
}
