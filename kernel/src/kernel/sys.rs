//! Odds and ends of system calls (Linux: kernel/sys.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::prctl::*;
use uapi::resource::*;
use uapi::sysinfo::Sysinfo;
use uapi::utsname::UtsName;

use crate::init::version;
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::kernel::sched::task::{TASK_COMM_LEN, Task};
use crate::kernel::signal::sigflags;
use crate::kernel::time::ns_to_timeval;
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, copy_to_user, get_user, put_user, strncpy_from_user};
use crate::prelude::*;

const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

// --- uname, names ---

/// Names that sethostname(2) and setdomainname(2) change.
struct UtsNames {
    nodename: [u8; 65],
    domainname: [u8; 65],
}

static UTS: SpinLock<UtsNames> = SpinLock::new(UtsNames {
    nodename: padded(b"(none)"),
    domainname: padded(b"(none)"),
});

const fn padded(text: &[u8]) -> [u8; 65] {
    let mut out = [0; 65];
    let mut i = 0;
    while i < text.len() && i < 64 {
        out[i] = text[i];
        i += 1;
    }
    out
}

fn text_of(name: &[u8; 65]) -> String {
    let len = name.iter().position(|b| *b == 0).unwrap_or(65);
    String::from_utf8_lossy(&name[..len]).into_owned()
}

/// Host name.
pub fn hostname() -> String {
    text_of(&UTS.lock().nodename)
}
/// NIS domain name.
pub fn domainname() -> String {
    text_of(&UTS.lock().domainname)
}
/// Changes the host name; longer ones are cut to 64 bytes.
pub fn set_hostname(name: &[u8]) {
    UTS.lock().nodename = padded(name);
}
/// Changes the domain name.
pub fn set_domainname(name: &[u8]) {
    UTS.lock().domainname = padded(name);
}

/// uname(2).
pub fn sys_uname(buffer: UserAddr) -> Result {
    let names = UTS.lock();
    let uts = UtsName {
        sysname: padded(b"Linux"),
        nodename: names.nodename,
        release: padded(version::RELEASE.as_bytes()),
        version: padded(version::version().as_bytes()),
        machine: padded(b"x86_64"),
        domainname: names.domainname,
    };
    drop(names);
    put_user(buffer, &uts)
}

fn read_name(name: UserAddr, len: i32) -> Result<[u8; 65]> {
    if !current().cred().has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= 64)
        .ok_or(Errno::EINVAL)?;
    let mut bytes = [0; 65];
    copy_from_user(&mut bytes[..len], name)?;
    Ok(bytes)
}

/// sethostname(2). Errors: EINVAL, EPERM, EFAULT.
pub fn sys_sethostname(name: UserAddr, len: i32) -> Result {
    let name = read_name(name, len)?;
    UTS.lock().nodename = name;
    Ok(())
}

/// setdomainname(2).
pub fn sys_setdomainname(name: UserAddr, len: i32) -> Result {
    let name = read_name(name, len)?;
    UTS.lock().domainname = name;
    Ok(())
}

// --- limits and usage ---

fn check_resource(resource: u32) -> Result<usize> {
    if resource < RLIM_NLIMITS {
        Ok(resource as usize)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Reads and changes a limit of `task` (Linux: `do_prlimit`).
fn do_prlimit(task: &Task, resource: u32, new: Option<Rlimit>) -> Result<Rlimit> {
    let index = check_resource(resource)?;
    let mut limits = task.signal.rlimits.lock();
    let before = limits[index];
    if let Some(new) = new {
        if new.rlim_cur > new.rlim_max {
            return Err(Errno::EINVAL);
        }
        if resource == RLIMIT_NOFILE && new.rlim_max > 1 << 20 {
            return Err(Errno::EPERM);
        }
        if new.rlim_max > before.rlim_max && !current().cred().has_cap(CAP_SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        limits[index] = new;
    }
    Ok(before)
}

/// prlimit64(2). Errors: EINVAL, EPERM, ESRCH, EFAULT.
pub fn sys_prlimit64(pid: i32, resource: u32, new: UserAddr, old: UserAddr) -> Result {
    let new: Option<Rlimit> = if new.is_null() {
        None
    } else {
        Some(get_user(new)?)
    };
    let task = match pid {
        0 => current().to_arc(),
        pid => pid::find_task(pid).ok_or(Errno::ESRCH)?,
    };
    if task.pid() != current().pid() {
        let (me, other) = (current().cred(), task.cred());
        let same = [other.uid, other.euid, other.suid]
            .iter()
            .all(|id| *id == me.uid);
        if !same && !me.has_cap(CAP_SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
    }
    let before = do_prlimit(&task, resource, new)?;
    if old.is_null() {
        Ok(())
    } else {
        put_user(old, &before)
    }
}

/// getrlimit(2).
pub fn sys_getrlimit(resource: u32, limit: UserAddr) -> Result {
    put_user(limit, &do_prlimit(&current(), resource, None)?)
}

/// setrlimit(2).
pub fn sys_setrlimit(resource: u32, limit: UserAddr) -> Result {
    let new = get_user(limit)?;
    do_prlimit(&current(), resource, Some(new)).map(|_| ())
}

/// Adds what is kept of threads or children that are gone.
pub fn add_times(times: &crate::kernel::signal::GroupTimes, usage: &mut Usage) {
    let get = |value: &core::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    usage.utime += get(&times.utime);
    usage.stime += get(&times.stime);
    usage.min_flt += get(&times.min_flt);
    usage.maj_flt += get(&times.maj_flt);
    usage.nvcsw += get(&times.nvcsw);
    usage.nivcsw += get(&times.nivcsw);
    usage.maxrss_kib = usage.maxrss_kib.max(get(&times.maxrss));
}

/// Sums before they become a `struct rusage`; times in ns.
#[derive(Default, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are rusage's")]
pub struct Usage {
    pub utime: u64,
    pub stime: u64,
    pub min_flt: u64,
    pub maj_flt: u64,
    pub nvcsw: u64,
    pub nivcsw: u64,
    pub maxrss_kib: u64,
}

impl Usage {
    /// One thread's.
    pub fn add_thread(&mut self, task: &Task) {
        self.utime += task.utime.load(Ordering::Relaxed);
        self.stime += task.stime.load(Ordering::Relaxed);
        self.min_flt += task.min_flt.load(Ordering::Relaxed);
        self.maj_flt += task.maj_flt.load(Ordering::Relaxed);
        self.nvcsw += task.nvcsw.load(Ordering::Relaxed);
        self.nivcsw += task.nivcsw.load(Ordering::Relaxed);
    }

    /// As user space gets it.
    pub fn to_rusage(self) -> Rusage {
        Rusage {
            ru_utime: ns_to_timeval(self.utime),
            ru_stime: ns_to_timeval(self.stime),
            ru_maxrss: self.maxrss_kib as i64,
            ru_minflt: self.min_flt as i64,
            ru_majflt: self.maj_flt as i64,
            ru_nvcsw: self.nvcsw as i64,
            ru_nivcsw: self.nivcsw as i64,
            ..Rusage::default()
        }
    }
}

/// Everything a process used so far, its dead threads included.
pub fn process_usage(task: &Task) -> Usage {
    let mut usage = Usage::default();
    add_times(&task.signal.times, &mut usage);
    for thread in task.signal.thread_list() {
        usage.add_thread(&thread);
    }
    usage
}

/// getrusage(2). Errors: EINVAL, EFAULT.
pub fn sys_getrusage(who: i32, buffer: UserAddr) -> Result {
    let task = current();
    let mut usage = Usage::default();
    match who {
        RUSAGE_SELF => usage = process_usage(&task),
        RUSAGE_THREAD => usage.add_thread(&task),
        RUSAGE_CHILDREN => add_times(&task.signal.child_times, &mut usage),
        _ => return Err(Errno::EINVAL),
    }
    put_user(buffer, &usage.to_rusage())
}

/// sysinfo(2).
pub fn sys_sysinfo(buffer: UserAddr) -> Result {
    let page = crate::arch::PAGE_SIZE as u64;
    let loads = crate::kernel::sched::loadavg_fixed();
    let info = Sysinfo {
        uptime: (crate::kernel::time::ktime_get_boottime() / 1_000_000_000) as i64,
        loads: loads.map(|load| load << (16 - 11)),
        totalram: crate::mm::page_alloc::totalram_pages() * page,
        freeram: crate::mm::page_alloc::nr_free_pages() * page,
        procs: pid::nr_threads() as u16,
        mem_unit: 1,
        ..Sysinfo::default()
    };
    put_user(buffer, &info)
}

// --- identity: see cred.rs; the rest ---

/// umask(2).
pub fn sys_umask(mask: u32) -> Result<u32> {
    let fs = current().fs().ok_or(Errno::ESRCH)?;
    Ok(fs.umask.swap(mask & 0o777, Ordering::Relaxed))
}

/// getcpu(2).
pub fn sys_getcpu(cpu: UserAddr, node: UserAddr) -> Result {
    if !cpu.is_null() {
        put_user(cpu, &(crate::arch::smp_processor_id() as u32))?;
    }
    if !node.is_null() {
        put_user(node, &0u32)?;
    }
    Ok(())
}

/// prctl(2): the options that programs here use; EINVAL for the rest, as Linux says for options
/// that it does not know.
pub fn sys_prctl(option: i32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) -> Result<i64> {
    let task = current();
    match option {
        PR_SET_NAME => {
            let name = strncpy_from_user(UserAddr::new(arg2), TASK_COMM_LEN).or_else(|e| {
                if e == Errno::ENAMETOOLONG {
                    long_name(arg2)
                } else {
                    Err(e)
                }
            })?;
            task.set_comm(&name);
            Ok(0)
        }
        PR_GET_NAME => {
            let comm = *task.comm.lock();
            copy_to_user(UserAddr::new(arg2), &comm).map(|()| 0)
        }
        PR_SET_PDEATHSIG if arg2 <= 64 => {
            task.pdeath_signal.store(arg2 as u32, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_PDEATHSIG => {
            let signal = task.pdeath_signal.load(Ordering::Relaxed);
            put_user(UserAddr::new(arg2), &signal).map(|()| 0)
        }
        PR_SET_CHILD_SUBREAPER => {
            let flags = &task.signal.flags;
            match arg2 {
                0 => flags.fetch_and(!sigflags::CHILD_SUBREAPER, Ordering::Relaxed),
                _ => flags.fetch_or(sigflags::CHILD_SUBREAPER, Ordering::Relaxed),
            };
            Ok(0)
        }
        PR_GET_CHILD_SUBREAPER => {
            let is_one = i32::from(task.signal.has_flag(sigflags::CHILD_SUBREAPER));
            put_user(UserAddr::new(arg2), &is_one).map(|()| 0)
        }
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_DUMPABLE if arg2 <= 1 => Ok(0),
        PR_GET_KEEPCAPS => Ok(0),
        PR_SET_KEEPCAPS if arg2 <= 1 => Ok(0),
        PR_CAPBSET_READ if arg2 <= 40 => Ok((task.cred().cap_bset >> arg2 & 1) as i64),
        PR_CAPBSET_READ => Err(Errno::EINVAL),
        PR_GET_SECUREBITS => Ok(0),
        PR_SET_NO_NEW_PRIVS if (arg2, arg3, arg4, arg5) == (1, 0, 0, 0) => {
            task.no_new_privs.store(1, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS if (arg2, arg3, arg4, arg5) == (0, 0, 0, 0) => {
            Ok(i64::from(task.no_new_privs.load(Ordering::Relaxed)))
        }
        PR_GET_TID_ADDRESS => {
            let address = task.clear_child_tid.load(Ordering::Relaxed);
            put_user(UserAddr::new(arg2), &address).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// A name without NUL in its first 16 bytes is cut to 15.
fn long_name(addr: u64) -> Result<Vec<u8>> {
    let mut name = [0; TASK_COMM_LEN];
    copy_from_user(&mut name, UserAddr::new(addr))?;
    Ok(name.to_vec())
}
