//! /proc/PID/stat, status, statm (Linux: fs/proc/array.c, fs/proc/task_mmu.c).

use core::fmt::Write;
use core::sync::atomic::Ordering;

use crate::arch::PAGE_SIZE;
use crate::kernel::pid;
use crate::kernel::sched::cputime::task_cputime_adjusted;
use crate::kernel::sched::debug::{task_state_letter, task_state_text};
use crate::kernel::sched::task::Task;
use crate::kernel::signal;
use crate::kernel::time::nsec_to_clock_t;
use crate::prelude::*;

/// Numbers of an address space that several files show, in pages or bytes.
#[derive(Default)]
struct MmNumbers {
    total_pages: u64,
    peak_pages: u64,
    exec_pages: u64,
    data_pages: u64,
    stack_pages: u64,
    locked_pages: u64,
    rss_anon: u64,
    rss_file: u64,
    rss_peak: u64,
    start_code: u64,
    end_code: u64,
    start_stack: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    args: (u64, u64),
    env: (u64, u64),
}

fn mm_numbers(task: &Task) -> Option<MmNumbers> {
    let mm = task.mm()?;
    let rss = mm.rss();
    let map = mm.read();
    Some(MmNumbers {
        total_pages: map.stat.total,
        peak_pages: map.stat.peak,
        exec_pages: map.stat.exec,
        data_pages: map.stat.data,
        stack_pages: map.stat.stack,
        locked_pages: map.stat.locked,
        rss_anon: rss.anon(),
        rss_file: rss.file(),
        rss_peak: rss.peak(),
        start_code: map.parts.start_code,
        end_code: map.parts.end_code,
        start_stack: map.parts.start_stack,
        start_data: map.parts.start_data,
        end_data: map.parts.end_data,
        start_brk: map.parts.start_brk,
        args: (map.parts.arg_start, map.parts.arg_end),
        env: (map.parts.env_start, map.parts.env_end),
    })
}

fn load(value: &core::sync::atomic::AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

/// Times of a process in ns: user, system, then those of its reaped children.
fn group_times(task: &Task, whole: bool) -> [u64; 4] {
    let (mut utime, mut stime) = task_cputime_adjusted(task);
    let signal = &task.signal;
    if whole {
        for thread in signal
            .thread_list()
            .iter()
            .filter(|t| t.pid() != task.pid())
        {
            let (u, s) = task_cputime_adjusted(thread);
            utime += u;
            stime += s;
        }
        utime += load(&signal.times.utime);
        stime += load(&signal.times.stime);
    }
    [
        utime,
        stime,
        load(&signal.child_times.utime),
        load(&signal.child_times.stime),
    ]
}

fn parent_pid(task: &Task) -> i32 {
    task.real_parent().map_or(0, |parent| parent.tgid())
}

/// Number of the controlling terminal and its foreground group.
fn terminal(task: &Task) -> (i64, i32) {
    match task.signal.tty.lock().as_ref() {
        Some(tty) => {
            let dev = uapi::major::mkdev(tty.dev.major(), tty.dev.minor());
            (i64::from(dev as i32), tty.foreground_pgrp())
        }
        None => (0, -1),
    }
}

/// The 52 fields of /proc/PID/stat (`whole`: of the process, else of the thread).
pub fn pid_stat(task: &Arc<Task>, whole: bool) -> String {
    let mm = mm_numbers(task);
    let has_mm = mm.is_some();
    let mm = mm.unwrap_or_default();
    let [utime, stime, cutime, cstime] = group_times(task, whole).map(nsec_to_clock_t);
    let (tty_nr, tpgid) = terminal(task);
    let signal = &task.signal;
    let (ignored, caught) = signal::action_sets(task);
    let nice = task.se.nice();
    let low31 = |set: u64| set & 0x7fff_ffff;
    let mut text = format!(
        "{} ({}) {}",
        task.pid(),
        task.comm(),
        task_state_letter(task)
    );
    let mut field = |value: i64| {
        let _ = write!(text, " {value}");
    };
    field(parent_pid(task).into());
    field(signal.pgrp().into());
    field(signal.session().into());
    field(tty_nr);
    field(tpgid.into());
    field(task.flags.load(Ordering::Relaxed).into());
    field(load(&task.min_flt) as i64);
    field(load(&signal.child_times.min_flt) as i64);
    field(load(&task.maj_flt) as i64);
    field(load(&signal.child_times.maj_flt) as i64);
    [utime, stime, cutime, cstime]
        .into_iter()
        .for_each(|t| field(t as i64));
    field(i64::from(task.se.prio()) - 100);
    field(nice.into());
    field(signal.nr_threads.load(Ordering::Relaxed).into());
    field(0); // itrealvalue
    field(nsec_to_clock_t(load(&task.start_time)) as i64);
    field((mm.total_pages * PAGE_SIZE as u64) as i64);
    field((mm.rss_anon + mm.rss_file) as i64);
    text.push_str(" 18446744073709551615"); // rsslim
    let mut field = |value: u64| {
        let _ = write!(text, " {value}");
    };
    let one = u64::from(has_mm);
    field(mm.start_code.max(one));
    field(mm.end_code.max(one));
    field(mm.start_stack);
    field(0); // kstkesp
    field(0); // kstkeip
    field(low31(task.pending.lock().set));
    field(low31(load(&task.blocked)));
    field(low31(ignored));
    field(low31(caught));
    field(0); // wchan
    field(0); // nswap
    field(0); // cnswap
    field(17); // exit_signal: SIGCHLD
    field(task.se.cpu() as u64);
    field(task.se.rt_priority().into());
    field(task.se.policy().into());
    field(0); // delayacct_blkio_ticks
    field(0); // guest_time
    field(0); // cguest_time
    for value in [
        mm.start_data,
        mm.end_data,
        mm.start_brk,
        mm.args.0,
        mm.args.1,
        mm.env.0,
        mm.env.1,
    ] {
        field(value);
    }
    field(task.exit_code.load(Ordering::Relaxed).into());
    text.push('\n');
    text
}

/// /proc/PID/statm: sizes in pages.
pub fn pid_statm(task: &Task) -> String {
    let mm = mm_numbers(task).unwrap_or_default();
    let resident = mm.rss_anon + mm.rss_file;
    let data = mm.data_pages + mm.stack_pages;
    format!(
        "{} {resident} {} {} 0 {data} 0\n",
        mm.total_pages, mm.rss_file, mm.exec_pages
    )
}

/// /proc/PID/status.
pub fn pid_status(task: &Arc<Task>) -> String {
    let mut text = String::new();
    let cred = task.cred();
    let umask = task.fs().map_or(0, |fs| fs.umask.load(Ordering::Relaxed));
    let ppid = parent_pid(task);
    let _ = write!(
        text,
        "Name:\t{}\nUmask:\t{umask:04o}\nState:\t{}\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{ppid}\nTracerPid:\t0\n\
         Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{}\nGroups:\t",
        escape_name(&task.comm()),
        task_state_text(task),
        task.tgid(),
        task.pid(),
        cred.uid,
        cred.euid,
        cred.suid,
        cred.fsuid,
        cred.gid,
        cred.egid,
        cred.sgid,
        cred.fsgid,
        task.files().map_or(0, |files| files.size()),
    );
    for group in cred.groups.iter() {
        let _ = write!(text, "{group} ");
    }
    let _ = write!(
        text,
        "\nNStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\nKthread:\t{}\n",
        task.tgid(),
        task.pid(),
        task.signal.pgrp(),
        task.signal.session(),
        u8::from(task.is_kthread()),
    );
    if let Some(mm) = mm_numbers(task) {
        status_memory(&mut text, &mm);
    }
    status_signals(&mut text, task);
    status_rights(&mut text, task);
    text
}

fn escape_name(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n")
}

fn status_memory(text: &mut String, mm: &MmNumbers) {
    let kib = |pages: u64| pages * (PAGE_SIZE as u64 / 1024);
    let rows = [
        ("VmPeak", kib(mm.peak_pages.max(mm.total_pages))),
        ("VmSize", kib(mm.total_pages)),
        ("VmLck", kib(mm.locked_pages)),
        ("VmPin", 0),
        ("VmHWM", kib(mm.rss_peak)),
        ("VmRSS", kib(mm.rss_anon + mm.rss_file)),
        ("RssAnon", kib(mm.rss_anon)),
        ("RssFile", kib(mm.rss_file)),
        ("RssShmem", 0),
        ("VmData", kib(mm.data_pages)),
        ("VmStk", kib(mm.stack_pages)),
        (
            "VmExe",
            mm.end_code.saturating_sub(mm.start_code).div_ceil(1024),
        ),
        (
            "VmLib",
            kib(mm.exec_pages)
                .saturating_sub(mm.end_code.saturating_sub(mm.start_code).div_ceil(1024)),
        ),
        ("VmPTE", 0),
        ("VmSwap", 0),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "{name}:\t{value:8} kB");
    }
}

fn status_signals(text: &mut String, task: &Task) {
    let signal = &task.signal;
    let (ignored, caught) = signal::action_sets(task);
    let limit = signal.rlimit(uapi::resource::RLIMIT_SIGPENDING);
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t{}/{limit}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n",
        signal.nr_threads.load(Ordering::Relaxed),
        signal::queued_signals(task),
        task.pending.lock().set,
        signal.shared_pending.lock().set,
        load(&task.blocked),
    );
}

fn status_rights(text: &mut String, task: &Task) {
    let cred = task.cred();
    let cpus = task.se.cpus_mask();
    let online = crate::kernel::cpu::CPU_ONLINE.bits();
    let width = 64 - online.leading_zeros().min(63);
    let mask = crate::lib::bitmap::Bitmap::<1>::from_words([cpus & online]);
    let _ = write!(
        text,
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t0\nSeccomp_filters:\t0\n\
         Cpus_allowed:\t{}\nCpus_allowed_list:\t{}\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        cred.cap_inheritable,
        cred.cap_permitted,
        cred.cap_effective,
        cred.cap_bset,
        0,
        task.no_new_privs.load(Ordering::Relaxed),
        mask.mask(width as usize),
        mask.list(),
        load(&task.nvcsw),
        load(&task.nivcsw),
    );
}

/// /proc/loadavg.
pub fn loadavg(text: &mut String) -> Result {
    let loads = crate::kernel::sched::loadavg_fixed();
    for load in loads {
        // 11 fractional bits, two decimals, rounded.
        let hundredths = (load * 100 + 1024) >> 11;
        let _ = write!(text, "{}.{:02} ", hundredths / 100, hundredths % 100);
    }
    let running = crate::kernel::sched::core::nr_running();
    let _ = writeln!(text, "{running}/{} {}", pid::nr_threads(), pid::last_pid());
    Ok(())
}
