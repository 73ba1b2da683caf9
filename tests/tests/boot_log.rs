//! The kernel's own account of a boot: which lines it has, in which order, and whether they agree with each other.

use std::sync::LazyLock;

use tests::Boot;

/// The lines of a boot with one CPU, in Linux's order, as far as they apply: each by a part that does not vary.
const GOLDEN: &[&str] = &[
    "] Linux version 6.8",
    "] Command line: console=tty0 console=ttyS0",
    "] BIOS-provided physical RAM map:",
    "] BIOS-e820: [mem 0x0000000000000000-0x",
    "] NX (Execute Disable) protection: active",
    "] tsc: Fast TSC calibration using PIT",
    "] tsc: Detected ",
    "] e820: last_pfn = 0x",
    "] RAMDISK: [mem 0x",
    "] Zone ranges:",
    "]   DMA      [mem 0x0000000000001000-0x0000000000ffffff]",
    "]   DMA32    [mem 0x0000000001000000-0x",
    "]   Normal   empty",
    "] Movable zone start for each node",
    "] Early memory node ranges",
    "]   node   0: [mem 0x0000000000001000-0x000000000009efff]",
    "] Initmem setup node 0 [mem 0x0000000000001000-0x",
    "] smpboot: Allowing 1 CPUs, 0 hotplug CPUs",
    "] setup_percpu: NR_CPUS:",
    "] percpu: Embedded ",
    "] Kernel command line: console=tty0 console=ttyS0",
    "] Dentry cache hash table entries: ",
    "] Inode-cache hash table entries: ",
    "] Built 1 zonelists, mobility grouping ",
    "] Memory: ",
    "] SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=1, Nodes=1",
    "] rcu: Preemptible hierarchical RCU implementation.",
    "] rcu: \tRCU restricting CPUs from NR_CPUS=64 to nr_cpu_ids=1.",
    "] NR_IRQS: ",
    "] Console: colour dummy device 80x25",
    "] printk: legacy console [ttyS0] enabled",
    "] clocksource: hpet: mask: 0xffffffff max_cycles: 0xffffffff, max_idle_ns: 19112604467 ns",
    "] clocksource: acpi_pm: mask: 0xffffff max_cycles: 0xffffff, max_idle_ns: 2085701024 ns",
    "] clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x",
    "] Calibrating delay loop",
    "] pid_max: default: 32768 minimum: 301",
    "] Mount-cache hash table entries: ",
    "] Mountpoint-cache hash table entries: ",
    "] POSIX conformance testing by UNIFIX",
    "] smpboot: CPU0: ",
    "] devtmpfs: initialized",
    "] clocksource: jiffies: mask: 0xffffffff max_cycles: 0xffffffff, max_idle_ns: 7645041785100000 ns",
    "] clocksource: Switched to clocksource tsc",
    "] Freeing unused kernel image (initmem) memory: ",
    "] Write protecting the kernel read-only data: ",
    "] x86/mm: Checked W+X mappings: passed, no W+X pages found.",
    "] rodata_test: all tests were successful",
    "] Run /init as init process",
];

/// These have a place before the initmem line only.
const UNPACKING: &[&str] = &["npack", "] Freeing initrd memory: "];

/// What there is to know about the one machine that these tests share.
struct Booted {
    log: String,
    processes: Vec<Process>,
    dmesg: String,
}

#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
    name: String,
}

static BOOTED: LazyLock<Booted> = LazyLock::new(|| {
    let mut guest = Boot::new().named("boot_log").spawn();
    let log = guest.expect_prompt();
    let stats = guest.command("cat /proc/[0-9]*/stat 2>/dev/null");
    let dmesg = guest.command("dmesg");
    Booted {
        log,
        processes: stats.lines().filter_map(process).collect(),
        dmesg,
    }
});

/// Reads a line of `/proc/PID/stat`.
fn process(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    Some(Process {
        pid: pid.parse().ok()?,
        parent: rest.split(' ').nth(1)?.parse().ok()?,
        name: name.to_owned(),
    })
}

/// The number before `suffix` in the first line that has `label`.
fn number(label: &str, suffix: &str) -> u64 {
    let line = BOOTED.log.lines().find(|line| line.contains(label));
    let line = line.unwrap_or_else(|| panic!("no line with {label:?}"));
    let before = line
        .split(suffix)
        .next()
        .unwrap_or_default()
        .rsplit(|c: char| !c.is_ascii_digit())
        .next();
    before
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no number before {suffix:?} in {line:?}"))
}

#[test]
fn the_golden_lines_appear_in_order() {
    let mut rest = BOOTED.log.as_str();
    let mut wrong = Vec::new();
    for line in GOLDEN {
        match rest.find(line) {
            Some(position) => rest = &rest[position + line.len()..],
            None if BOOTED.log.contains(line) => wrong.push(format!("{line:?} is too early")),
            None => wrong.push(format!("{line:?} is missing")),
        }
    }
    let mut before = BOOTED.log.split("] Freeing unused kernel").next().unwrap();
    for line in UNPACKING {
        match before.find(line) {
            Some(position) => before = &before[position..],
            None => wrong.push(format!(
                "{line:?} does not come before init memory is freed"
            )),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_memory_line_adds_up() {
    let available = number("] Memory: ", "K/");
    let total = number("] Memory: ", "K available");
    let reserved = number("] Memory: ", "K reserved");
    assert_eq!(available + reserved, total);
    let ranges: u64 = BOOTED
        .log
        .lines()
        .filter_map(|line| line.split_once("]   node   0: [mem 0x")?.1.split_once(']'))
        .map(|(range, _)| {
            let (start, end) = range.split_once("-0x").expect("a range has two ends");
            let parse = |text| u64::from_str_radix(text, 16).expect("addresses are hexadecimal");
            (parse(end) + 1 - parse(start)) / 1024
        })
        .sum();
    assert_eq!(total, ranges, "the memory of the node's ranges");
}

#[test]
fn timestamps_never_go_back() {
    let times: Vec<f64> = BOOTED
        .log
        .lines()
        .filter_map(|line| {
            line.strip_prefix('[')?
                .split_once(']')?
                .0
                .trim()
                .parse()
                .ok()
        })
        .collect();
    assert!(times.len() > 30, "{} lines", times.len());
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.last().is_some_and(|last| *last > 0.01), "{times:?}");
}

#[test]
fn nothing_complains_in_a_good_boot() {
    for word in [
        "WARNING", "BUG", "cut here", "FAILED", "error", "Oops", "panic",
    ] {
        let complaint = BOOTED.log.lines().find(|line| line.contains(word));
        assert_eq!(complaint, None);
    }
}

#[test]
fn the_first_processes_have_their_numbers_and_parents() {
    let by_pid = |pid: u32| {
        let found = BOOTED.processes.iter().find(|process| process.pid == pid);
        found.unwrap_or_else(|| panic!("no process {pid} in {:#?}", BOOTED.processes))
    };
    let (init, kthreadd) = (by_pid(1), by_pid(2));
    assert_eq!((init.name.as_str(), init.parent), ("init", 0));
    assert_eq!((kthreadd.name.as_str(), kthreadd.parent), ("kthreadd", 0));
    let threads: Vec<_> = BOOTED
        .processes
        .iter()
        .filter(|process| process.parent == 2)
        .collect();
    for name in [
        "kworker/0:0",
        "kworker/0:0H",
        "kworker/u2:0",
        "rcu_preempt",
        "ksoftirqd/0",
        "kdevtmpfs",
    ] {
        assert!(
            threads.iter().any(|thread| thread.name == name),
            "no {name} in {threads:#?}"
        );
    }
    let is_listed_zero = BOOTED.processes.iter().any(|process| process.pid == 0);
    assert!(!is_listed_zero, "the idle task is in no list");
}

#[test]
fn the_log_can_be_read_again() {
    let of_console: Vec<&str> = BOOTED
        .log
        .lines()
        .filter(|line| line.starts_with('[') && line.contains("] "))
        .collect();
    let again: Vec<&str> = BOOTED.dmesg.lines().collect();
    assert!(again.len() >= of_console.len(), "{again:#?}");
    for line in of_console {
        assert!(again.contains(&line), "{line:?} is not in {again:#?}");
    }
}
