//! What the scheduler shows of itself (Linux: kernel/sched/debug.c, kernel/sched/stats.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::Ordering;

use super::core::{nr_running, sched_clock};
use super::entity::Class;
use super::rq::{cpu_active_mask, with_rq};
use super::task::{Task, state::*};
use crate::fs::proc::proc_create_single;
use crate::kernel::pid;
use crate::kernel::time::jiffies;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// The letter that /proc and ps show (Linux: `task_state_to_char`).
pub fn task_state_letter(task: &Task) -> char {
    use super::task::{EXIT_DEAD, EXIT_ZOMBIE};
    match task.exit_state.load(Ordering::Relaxed) {
        EXIT_ZOMBIE => return 'Z',
        EXIT_DEAD => return 'X',
        _ => {}
    }
    state_letter(task.state.load(Ordering::Relaxed))
}

fn state_letter(state: u32) -> char {
    match state {
        TASK_RUNNING | TASK_WAKING | TASK_NEW => 'R',
        TASK_DEAD => 'X',
        s if s & TASK_INTERRUPTIBLE != 0 => 'S',
        s if s & TASK_NOLOAD != 0 => 'I',
        s if s & TASK_UNINTERRUPTIBLE != 0 => 'D',
        s if s & TASK_STOPPED != 0 => 'T',
        s if s & TASK_TRACED != 0 => 't',
        s if s & TASK_PARKED != 0 => 'P',
        _ => 'R',
    }
}

/// The words after the letter in /proc/PID/status.
pub fn task_state_text(task: &Task) -> &'static str {
    match task_state_letter(task) {
        'R' => "R (running)",
        'S' => "S (sleeping)",
        'D' => "D (disk sleep)",
        'T' => "T (stopped)",
        't' => "t (tracing stop)",
        'X' => "X (dead)",
        'Z' => "Z (zombie)",
        'P' => "P (parked)",
        _ => "I (idle)",
    }
}

fn active_cpus() -> impl Iterator<Item = usize> {
    (0..NR_CPUS).filter(|cpu| cpu_active_mask() & (1 << cpu) != 0)
}

/// Text of /proc/schedstat.
fn schedstat_show(text: &mut String) -> Result {
    let _ = writeln!(text, "version 15\ntimestamp {}", jiffies());
    for cpu in active_cpus() {
        let switches = with_rq(cpu, |rq| rq.nr_switches);
        let _ = writeln!(text, "cpu{cpu} 0 0 {switches} 0 0 0 0 0 0");
    }
    Ok(())
}

/// Text of /proc/sched_debug.
fn sched_debug_show(text: &mut String) -> Result {
    let _ = writeln!(text, "Sched Debug Version: v0.11, Kindling");
    let _ = writeln!(text, "sched_clk: {} ns", sched_clock());
    let _ = writeln!(text, "nr_running: {}", nr_running());
    for cpu in active_cpus() {
        let (running, fair, switches, curr, throttled) = with_rq(cpu, |rq| {
            let curr = rq.curr.as_ref().map_or(0, |task| task.pid());
            (
                rq.nr_running,
                rq.nr_fair,
                rq.nr_switches,
                curr,
                rq.rt.throttled(),
            )
        });
        let _ = writeln!(text, "cpu#{cpu}");
        let _ = writeln!(text, "  .nr_running: {running}");
        let _ = writeln!(text, "  .nr_fair: {fair}");
        let _ = writeln!(text, "  .nr_switches: {switches}");
        let _ = writeln!(text, "  .curr->pid: {curr}");
        let _ = writeln!(text, "  .rt_throttled: {}", u32::from(throttled));
    }
    let _ = writeln!(text, "runnable tasks:");
    let _ = writeln!(
        text,
        " S            task   PID  class  vruntime-ns  switches  prio  exec-ns"
    );
    for task in pid::all_tasks() {
        show_task(text, &task);
    }
    Ok(())
}

fn show_task(text: &mut String, task: &Task) {
    let se = &task.se;
    let class = match se.class() {
        Class::Stop => "stop",
        Class::Rt => "rt",
        Class::Fair => "fair",
        Class::Idle => "idle",
    };
    let switches = task.nvcsw.load(Ordering::Relaxed) + task.nivcsw.load(Ordering::Relaxed);
    let _ = writeln!(
        text,
        " {} {:>15} {:>5} {class:>6} {:>12} {switches:>9} {:>5} {:>8}",
        task_state_letter(task),
        task.comm(),
        task.pid(),
        se.vruntime.get(),
        se.prio(),
        se.sum_exec_runtime()
    );
}

/// /proc/PID/sched: what this scheduler keeps of what Linux shows (Linux: `proc_sched_show_task`).
pub fn proc_sched_show_task(task: &Task, text: &mut String) {
    let (voluntary, involuntary) = (
        task.nvcsw.load(Ordering::Relaxed),
        task.nivcsw.load(Ordering::Relaxed),
    );
    let threads = task.signal.thread_list().len();
    let _ = writeln!(
        text,
        "{} ({}, #threads: {threads})",
        task.comm(),
        task.pid()
    );
    let _ = writeln!(text, "{:-<67}", "");
    for (name, ns) in [
        ("se.vruntime", task.se.vruntime.get()),
        ("se.sum_exec_runtime", task.se.sum_exec_runtime()),
    ] {
        let _ = writeln!(
            text,
            "{name:<45}:{:14}.{:06}",
            ns / 1_000_000,
            ns % 1_000_000
        );
    }
    for (name, value) in [
        ("nr_switches", voluntary + involuntary),
        ("nr_voluntary_switches", voluntary),
        ("nr_involuntary_switches", involuntary),
        ("policy", task.se.policy().into()),
        ("prio", task.se.prio().max(0) as u64),
    ] {
        let _ = writeln!(text, "{name:<45}:{value:21}");
    }
}

#[__init]
fn proc_sched_init() -> Result {
    proc_create_single("schedstat", 0o444, schedstat_show)?;
    proc_create_single("sched_debug", 0o444, sched_debug_show)
}
crate::subsys_initcall!(proc_sched_init);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_show_as_the_letters_of_ps() {
        assert_eq!(state_letter(TASK_RUNNING), 'R');
        assert_eq!(state_letter(TASK_INTERRUPTIBLE), 'S');
        assert_eq!(state_letter(TASK_KILLABLE), 'D');
        assert_eq!(state_letter(TASK_IDLE), 'I');
        assert_eq!(state_letter(TASK_STOPPED), 'T');
    }
}
