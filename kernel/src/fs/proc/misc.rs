//! Files below /proc that speak of the whole system (Linux: fs/proc/{version,cmdline,uptime,stat,
//! loadavg,softirqs,devices,consoles,bootconfig,cpuinfo}.c).

use core::fmt::Write;

use super::proc_create_single;
use crate::arch;
use crate::init::{params, version};
use crate::kernel::sched::cputime::{CpuUsage, NR_STATS, cpustat};
use crate::kernel::sched::loadavg::FIXED_1;
use crate::kernel::time::{NSEC_PER_SEC, ktime_get_boottime, nsec_to_clock_t, timekeeping};
use crate::kernel::{cpu, pid, printk, sched, softirq};
use crate::prelude::*;

fn version_show(text: &mut String) -> Result {
    let _ = writeln!(text, "{}", version::linux_banner());
    Ok(())
}

fn cmdline_show(text: &mut String) -> Result {
    let _ = writeln!(text, "{}", params::saved_command_line());
    Ok(())
}

fn bootconfig_show(text: &mut String) -> Result {
    text.push_str(params::bootconfig_text());
    Ok(())
}

fn online_cpus() -> impl Iterator<Item = usize> {
    cpu::CPU_ONLINE.iter()
}

fn hundredths(ns: u64) -> (u64, u64) {
    (ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 10_000_000)
}

fn uptime_show(text: &mut String) -> Result {
    let up = hundredths(ktime_get_boottime());
    let idle = hundredths(online_cpus().map(sched::idle::idle_time).sum());
    let _ = writeln!(text, "{}.{:02} {}.{:02}", up.0, up.1, idle.0, idle.1);
    Ok(())
}

/// A CPU's columns with the time that it is idle right now.
fn columns(cpu: usize) -> [u64; NR_STATS] {
    let mut stat = cpustat(cpu);
    stat[CpuUsage::Idle as usize] = sched::idle::idle_time(cpu);
    stat
}

/// The averages with two decimals, rounded; then tasks that run, all tasks, the newest number.
fn loadavg_show(text: &mut String) -> Result {
    for average in sched::loadavg_fixed() {
        let rounded = average + FIXED_1 / 200;
        let hundredths = (rounded % FIXED_1) * 100 / FIXED_1;
        let _ = write!(text, "{}.{hundredths:02} ", rounded / FIXED_1);
    }
    let running = sched::core::nr_running();
    let _ = writeln!(text, "{running}/{} {}", pid::nr_threads(), pid::last_pid());
    Ok(())
}

fn stat_line(text: &mut String, name: &str, columns: [u64; NR_STATS]) {
    text.push_str(name);
    for value in columns.map(nsec_to_clock_t) {
        let _ = write!(text, " {value}");
    }
    text.push('\n');
}

fn stat_show(text: &mut String) -> Result {
    let mut total = [0; NR_STATS];
    for stat in online_cpus().map(columns) {
        total
            .iter_mut()
            .zip(stat)
            .for_each(|(sum, value)| *sum += value);
    }
    stat_line(text, "cpu ", total);
    for cpu in online_cpus() {
        stat_line(text, &format!("cpu{cpu}"), columns(cpu));
    }
    let (total_irqs, per_irq) = crate::kernel::irq::proc::intr_counts();
    let _ = write!(text, "intr {total_irqs}");
    for count in per_irq {
        let _ = write!(text, " {count}");
    }
    let blocked = sched::core::nr_uninterruptible();
    let _ = write!(
        text,
        "\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked {blocked}\nsoftirq",
        sched::core::nr_context_switches(),
        timekeeping::boot_time_seconds(),
        crate::kernel::fork::total_forks(),
        sched::core::nr_running(),
    );
    let counts: Vec<u64> = (0..softirq::NR_SOFTIRQS)
        .map(|nr| {
            online_cpus()
                .map(|cpu| softirq::softirq_count(cpu, nr))
                .sum()
        })
        .collect();
    let _ = write!(text, " {}", counts.iter().sum::<u64>());
    for count in counts {
        let _ = write!(text, " {count}");
    }
    text.push('\n');
    Ok(())
}

fn softirqs_show(text: &mut String) -> Result {
    text.push_str("                    ");
    online_cpus().for_each(|cpu| {
        let _ = write!(text, "CPU{cpu:<8}");
    });
    text.push('\n');
    for (nr, name) in softirq::SOFTIRQ_NAMES.iter().enumerate() {
        let _ = write!(text, "{name:>12}:");
        online_cpus().for_each(|cpu| {
            let _ = write!(text, " {:10}", softirq::softirq_count(cpu, nr));
        });
        text.push('\n');
    }
    Ok(())
}

fn consoles_show(text: &mut String) -> Result {
    let names = printk::console_names();
    let last = names.len().saturating_sub(1);
    for (index, name) in names.iter().enumerate().rev() {
        let preferred = if index == last { 'C' } else { ' ' };
        let minor = match name.as_str() {
            "tty0" => 1,
            name => 64 + name.trim_start_matches("ttyS").parse::<u32>().unwrap_or(0),
        };
        let _ = writeln!(text, "{name:<21}-W- (E{preferred}  p a)    4:{minor}");
    }
    Ok(())
}

fn tty_drivers_show(text: &mut String) -> Result {
    text.push_str(&crate::drivers::tty::tty_drivers_text());
    Ok(())
}

fn ioports_show(text: &mut String) -> Result {
    text.push_str(&arch::ioports_text());
    Ok(())
}

fn swaps_show(text: &mut String) -> Result {
    text.push_str("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    Ok(())
}

fn execdomains_show(text: &mut String) -> Result {
    text.push_str("0-0\tLinux           \t[kernel]\n");
    Ok(())
}

/// Block devices, of which there are none: Linux prints no heading then either.
fn no_disks_show(_text: &mut String) -> Result {
    Ok(())
}

/// Loaded modules (Linux: kernel/module/procfs.c): none, as nothing can load one.
fn no_modules_show(_text: &mut String) -> Result {
    Ok(())
}

fn timer_list_show(text: &mut String) -> Result {
    let (sources, current) = timekeeping::clocksource_names();
    let _ = writeln!(
        text,
        "Timer List Version: v0.10\nnow at {} nsecs\nclocksources: {sources:?} (current {current})",
        ktime_get_boottime()
    );
    for cpu in online_cpus() {
        let device = crate::kernel::time::tick::clockevent_name(cpu).unwrap_or("none");
        let _ = writeln!(text, "cpu: {cpu}\n Clock Event Device: {device}");
        crate::kernel::time::hrtimer::describe(cpu, text);
    }
    Ok(())
}

/// Registers the files of this module (each could be an initcall of its own; Linux has one for
/// every file).
#[__init]
fn proc_misc_init() -> Result {
    let files: [(&'static str, u32, super::generic::Show); 18] = [
        ("version", 0o444, version_show),
        ("cmdline", 0o444, cmdline_show),
        ("bootconfig", 0o444, bootconfig_show),
        ("uptime", 0o444, uptime_show),
        ("loadavg", 0o444, loadavg_show),
        ("stat", 0o444, stat_show),
        ("softirqs", 0o444, softirqs_show),
        ("consoles", 0o444, consoles_show),
        ("tty/drivers", 0o444, tty_drivers_show),
        ("ioports", 0o444, ioports_show),
        ("swaps", 0o444, swaps_show),
        ("timer_list", 0o400, timer_list_show),
        (
            "filesystems",
            0o444,
            crate::fs::filesystems::filesystems_proc_show,
        ),
        ("devices", 0o444, crate::fs::char_dev::devices_proc_show),
        ("execdomains", 0o444, execdomains_show),
        ("modules", 0o444, no_modules_show),
        ("partitions", 0o444, no_disks_show),
        ("diskstats", 0o444, no_disks_show),
    ];
    for (name, mode, show) in files {
        if name != "bootconfig" || !params::bootconfig_text().is_empty() {
            proc_create_single(name, mode, show)?;
        }
    }
    Ok(())
}
fs_initcall!(proc_misc_init);
