//! /proc/PID/stat, status, statm, children (Linux: fs/proc/array.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};

use uapi::resource::{RLIMIT_RSS, RLIMIT_SIGPENDING};

use super::base::Scope;
use crate::arch::PAGE_SIZE;
use crate::kernel::ptrace::ptrace_may_access;
use crate::kernel::sched::cputime::task_cputime_adjusted;
use crate::kernel::sched::debug::{task_state_letter, task_state_text};
use crate::kernel::sched::task::Task;
use crate::kernel::signal;
use crate::kernel::time::nsec_to_clock_t;
use crate::mm::mm_types::MmStruct;
use crate::prelude::*;

fn load(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

/// Times (ns) and faults of a process or thread, then of the children that were waited for.
#[derive(Default)]
struct Used {
    utime: u64,
    stime: u64,
    min_flt: u64,
    maj_flt: u64,
}

impl Used {
    fn add_thread(&mut self, task: &Task) {
        let (utime, stime) = task_cputime_adjusted(task);
        self.utime += utime;
        self.stime += stime;
        self.min_flt += load(&task.min_flt);
        self.maj_flt += load(&task.maj_flt);
    }
    fn add_group(&mut self, times: &signal::GroupTimes) {
        self.utime += load(&times.utime);
        self.stime += load(&times.stime);
        self.min_flt += load(&times.min_flt);
        self.maj_flt += load(&times.maj_flt);
    }
}

fn used_by(task: &Task, scope: Scope) -> Used {
    let mut used = Used::default();
    match scope {
        Scope::Thread => used.add_thread(task),
        Scope::Process => {
            task.signal
                .thread_list()
                .iter()
                .for_each(|thread| used.add_thread(thread));
            used.add_group(&task.signal.times);
        }
    }
    used
}

fn parent_pid(task: &Task) -> i32 {
    task.real_parent().map_or(0, |parent| parent.tgid())
}

/// Number of the controlling terminal and its foreground group.
fn terminal(task: &Task) -> (i32, i32) {
    let tty = task.signal.tty.lock().clone();
    match tty {
        Some(tty) => (tty.dev.encode() as i32, tty.foreground_pgrp()),
        None => (0, -1),
    }
}

/// Columns 26 to 30 and 45 to 51 of stat: where the parts of the program are.
#[derive(Default)]
struct Places {
    start_code: u64,
    end_code: u64,
    start_stack: u64,
    data_and_later: [u64; 7],
}

impl Places {
    /// Others see only that there is a program.
    fn of(mm: &MmStruct, permitted: bool) -> Self {
        if !permitted {
            return Self {
                start_code: 1,
                end_code: 1,
                ..Self::default()
            };
        }
        let map = mm.read();
        let p = &map.parts;
        Self {
            start_code: p.start_code,
            end_code: p.end_code,
            start_stack: p.start_stack,
            data_and_later: [
                p.start_data,
                p.end_data,
                p.start_brk,
                p.arg_start,
                p.arg_end,
                p.env_start,
                p.env_end,
            ],
        }
    }
}

/// The 52 fields of /proc/PID/stat (Linux: `do_task_stat`).
pub fn pid_stat(task: &Arc<Task>, scope: Scope, text: &mut String) -> Result {
    let permitted = ptrace_may_access(task).is_ok();
    let mm = task.mm();
    let sizes = mm.as_ref().map(|mm| mm.sizes()).unwrap_or_default();
    let places = mm
        .as_ref()
        .map(|mm| Places::of(mm, permitted))
        .unwrap_or_default();
    drop(mm);
    let used = used_by(task, scope);
    let signal = &task.signal;
    let mut children = Used::default();
    children.add_group(&signal.child_times);
    let (tty_nr, tpgid) = terminal(task);
    let (ignored, caught) = signal::action_sets(task);
    let low31 = |set: u64| set & 0x7fff_ffff;
    let sleeps = permitted && task_state_letter(task) != 'R';
    let exit_code = if permitted {
        task.exit_code.load(Ordering::Relaxed)
    } else {
        0
    };
    let _ = write!(
        text,
        "{} ({}) {} {} {} {} {tty_nr} {tpgid} {}",
        task.pid(),
        task.comm(),
        task_state_letter(task),
        parent_pid(task),
        signal.pgrp(),
        signal.session(),
        task.flags.load(Ordering::Relaxed),
    );
    for value in [
        used.min_flt,
        children.min_flt,
        used.maj_flt,
        children.maj_flt,
        nsec_to_clock_t(used.utime),
        nsec_to_clock_t(used.stime),
        nsec_to_clock_t(children.utime),
        nsec_to_clock_t(children.stime),
    ] {
        let _ = write!(text, " {value}");
    }
    let _ = write!(text, " {} {}", task.se.prio() - 100, task.se.nice());
    for value in [
        signal.thread_list().len() as u64,
        0, // itrealvalue
        nsec_to_clock_t(load(&task.start_time)),
        sizes.size * PAGE_SIZE as u64,
        sizes.rss_anon + sizes.rss_file,
        signal.rlimit(RLIMIT_RSS),
        places.start_code,
        places.end_code,
        places.start_stack,
        0, // kstkesp
        0, // kstkeip
        low31(task.pending.lock().set),
        low31(load(&task.blocked)),
        low31(ignored),
        low31(caught),
        u64::from(sleeps), // wchan
        0,                 // nswap
        0,                 // cnswap
    ] {
        let _ = write!(text, " {value}");
    }
    let _ = write!(text, " {}", task.exit_signal.load(Ordering::Relaxed));
    for value in [
        task.se.cpu() as u64,
        task.se.rt_priority().into(),
        task.se.policy().into(),
        0, // delayacct_blkio_ticks
        0, // guest_time
        0, // cguest_time
    ] {
        let _ = write!(text, " {value}");
    }
    for value in places.data_and_later {
        let _ = write!(text, " {value}");
    }
    let _ = writeln!(text, " {exit_code}");
    Ok(())
}

/// /proc/PID/statm: sizes in pages.
pub fn pid_statm(task: &Arc<Task>, text: &mut String) -> Result {
    match task.mm() {
        Some(mm) => drop(mm.show_statm(text)),
        None => text.push_str("0 0 0 0 0 0 0\n"),
    }
    Ok(())
}

/// /proc/PID/task/TID/children: the processes that this thread started.
pub fn children(task: &Arc<Task>, text: &mut String) -> Result {
    let children = task.family.lock().children.clone();
    for child in children {
        let _ = write!(text, "{} ", child.pid());
    }
    Ok(())
}

/// /proc/PID/status.
pub fn pid_status(task: &Arc<Task>, text: &mut String) -> Result {
    let _ = writeln!(text, "Name:\t{}", escape_name(&task.comm()));
    if let Some(fs) = task.fs() {
        let _ = writeln!(text, "Umask:\t{:04o}", fs.umask());
    }
    status_numbers(text, task);
    if let Some(mm) = task.mm() {
        let _ = mm.show_status(text);
        text.push_str("CoreDumping:\t0\nTHP_enabled:\t0\n");
    }
    status_signals(text, task);
    status_rights(text, task);
    Ok(())
}

/// What would break the line (Linux: `proc_task_name` with `escape`).
fn escape_name(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n")
}

fn status_numbers(text: &mut String, task: &Task) {
    let cred = task.cred();
    let _ = write!(
        text,
        "State:\t{}\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n",
        task_state_text(task),
        task.tgid(),
        task.pid(),
        parent_pid(task),
    );
    let _ = write!(
        text,
        "Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{}\nGroups:\t",
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
    text.push_str(&group_list(&cred.groups));
    let _ = write!(
        text,
        "\nNStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\nKthread:\t{}\n",
        task.tgid(),
        task.pid(),
        task.signal.pgrp(),
        task.signal.session(),
        u8::from(task.is_kthread()),
    );
}

/// The groups with a space between and one at the end, even when there is none.
fn group_list(groups: &[u32]) -> String {
    let numbers: Vec<String> = groups.iter().map(|group| format!("{group}")).collect();
    numbers.join(" ") + " "
}

fn status_signals(text: &mut String, task: &Task) {
    let signal = &task.signal;
    let (ignored, caught) = signal::action_sets(task);
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\n\
         SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n",
        signal.thread_list().len(),
        signal::queued_signals(task),
        signal.rlimit(RLIMIT_SIGPENDING),
        task.pending.lock().set,
        signal.shared_pending.lock().set,
        load(&task.blocked),
    );
}

fn status_rights(text: &mut String, task: &Task) {
    let cred = task.cred();
    for (name, set) in [
        ("CapInh", cred.cap_inheritable),
        ("CapPrm", cred.cap_permitted),
        ("CapEff", cred.cap_effective),
        ("CapBnd", cred.cap_bset),
        ("CapAmb", 0),
    ] {
        let _ = writeln!(text, "{name}:\t{set:016x}");
    }
    let online = crate::kernel::cpu::CPU_ONLINE.bits();
    let width = 64 - online.leading_zeros().min(63);
    let mask = crate::lib::bitmap::Bitmap::<1>::from_words([task.se.cpus_mask() & online]);
    let _ = write!(
        text,
        "NoNewPrivs:\t{}\nSeccomp:\t0\nSeccomp_filters:\t0\n\
         Cpus_allowed:\t{}\nCpus_allowed_list:\t{}\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        task.no_new_privs.load(Ordering::Relaxed),
        mask.mask(width as usize),
        mask.list(),
        load(&task.nvcsw),
        load(&task.nivcsw),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(escape_name("a\nb\\c"), "a\\nb\\\\c");
    }

    #[test]
    fn the_list_of_groups_ends_with_a_space() {
        assert_eq!(group_list(&[]), " ");
        assert_eq!(group_list(&[0, 10]), "0 10 ");
    }
}
