//! Several processors: they start, they share the work, and they stop.

use tests::{Boot, Firmware, Guest, Verdict, guest_initramfs, script_initramfs};

/// The machine at its shell, and what it printed until then.
fn shell(case: &str, cpus: u32, parameters: &str) -> (Guest, String) {
    let boot = Boot::new().named(&format!("smp-{case}"));
    let mut guest = boot.smp(cpus).cmdline(parameters).spawn();
    let log = guest.expect_prompt().replace("\r\n", "\n");
    (guest, log)
}

fn switch_off(mut guest: Guest) {
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

/// The lines that a kernel with this many processors prints, in their order.
fn assert_announced(log: &str, cpus: usize) {
    let list: String = (1..cpus).map(|cpu| format!(" #{cpu}")).collect();
    let plural = if cpus == 1 { "" } else { "s" };
    let mut lines = vec![
        format!("smpboot: Allowing {cpus} CPUs, 0 hotplug CPUs"),
        "smpboot: CPU0: ".to_owned(),
        "smp: Bringing up secondary CPUs ...".to_owned(),
        "smpboot: x86: Booting SMP configuration:".to_owned(),
        format!(".... node  #0, CPUs:     {list}"),
        format!("smp: Brought up 1 node, {cpus} CPU{plural}"),
        format!("smpboot: Total of {cpus} processors activated ("),
    ];
    if cpus == 1 {
        lines.drain(3..5);
    }
    let mut rest = log;
    for line in lines {
        let found = rest.find(&line);
        let at = found.unwrap_or_else(|| panic!("{line:?} is not in its place:\n{log}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn one_two_four_and_eight_processors_boot_to_the_shell() {
    for cpus in [1, 2, 4, 8] {
        let (mut guest, log) = shell(&format!("boot-{cpus}"), cpus, "");
        assert_announced(&log, cpus as usize);
        assert_eq!(guest.command("nproc"), format!("{cpus}\n"));
        let info = guest.command("grep -c ^processor /proc/cpuinfo");
        assert_eq!(info, format!("{cpus}\n"));
        switch_off(guest);
    }
}

#[test]
fn each_processor_has_its_kernel_threads() {
    let (mut guest, _) = shell("threads", 4, "");
    let names = guest.command("ps -o pid,comm | grep '/[0-9]'");
    for kind in ["ksoftirqd", "migration", "cpuhp"] {
        for cpu in 0..4 {
            assert!(names.contains(&format!("{kind}/{cpu}\n")), "{names}");
        }
    }
    let parent = guest.command("cut -d' ' -f4 /proc/$(pidof migration/2)/stat");
    assert_eq!(parent, "2\n");
    // They belong to their processor.
    let bound = guest.command("grep Cpus_allowed_list /proc/$(pidof ksoftirqd/3)/status");
    assert_eq!(bound, "Cpus_allowed_list:\t3\n");
    switch_off(guest);
}

#[test]
fn parameters_limit_the_processors() {
    for (case, parameters, cpus) in [
        ("nr_cpus", "nr_cpus=3", 3),
        ("maxcpus", "maxcpus=2", 2),
        ("nosmp", "nosmp", 1),
        ("maxcpus-0", "maxcpus=0", 1),
        ("nolapic", "nolapic", 1),
    ] {
        let (mut guest, log) = shell(case, 4, parameters);
        assert!(
            log.contains(&format!("Brought up 1 node, {cpus} CPU")),
            "{log}"
        );
        let disabled = log.contains("smpboot: SMP disabled");
        assert_eq!(disabled, cpus == 1, "{log}");
        assert_eq!(guest.command("nproc"), format!("{cpus}\n"));
        switch_off(guest);
    }
}

/// Sockets with a number of cores that is no power of two leave gaps between the APICs' numbers; places that are empty
/// are disabled entries of the table.
#[test]
fn gaps_in_the_numbers_and_disabled_entries_do_no_harm() {
    let boot = Boot::new().named("smp-gaps");
    let mut guest = boot
        .qemu_arg("-smp")
        .qemu_arg("5,sockets=3,cores=3,maxcpus=9")
        .spawn();
    let log = guest.expect_prompt();
    assert!(log.contains("Brought up 1 node, 5 CPUs"), "{log}");
    let numbers = guest.command("awk '/^apicid/ { print $3 }' /proc/cpuinfo | tr '\\n' ' '");
    assert_eq!(numbers, "0 1 2 4 5 ");
    switch_off(guest);
}

#[test]
fn firmware_hands_over_machines_with_several_processors() {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let boot = Boot::new().named(&format!("smp-{firmware:?}"));
        let mut guest = boot.firmware(firmware).smp(4).spawn();
        guest.expect_prompt();
        assert_eq!(guest.command("nproc"), "4\n");
        switch_off(guest);
    }
}

#[test]
fn any_processor_ends_the_machine() {
    for (command, verdict) in [
        ("poweroff", Verdict::PoweredOff),
        ("reboot", Verdict::Restarted),
    ] {
        let (mut guest, _) = shell(command, 4, "");
        // The others are busy meanwhile.
        guest.command("for i in 1 2 3 4 5; do while :; do :; done & done 2>/dev/null");
        guest.send(&format!(
            "taskset -c 2 {command} -f || taskset 4 {command} -f\n"
        ));
        assert_eq!(guest.wait(), verdict, "{command}");
    }
}

#[test]
fn a_panic_stops_all_processors() {
    let busy = "for i in 1 2 3 4 5; do (while :; do :; done) & done; exit 1";
    let mut guest = Boot::new()
        .named("smp-panic")
        .initramfs(&script_initramfs(busy))
        .smp(4)
        .spawn();
    assert_eq!(guest.wait(), Verdict::Panicked);
    let log = guest.transcript();
    let reports = log.matches("---[ end Kernel panic - not syncing: Attempted to kill init!");
    assert_eq!(reports.count(), 1, "{log}");
}

#[test]
fn idle_processors_may_poll() {
    let (mut guest, log) = shell("poll", 2, "idle=poll");
    assert!(log.contains("process: using polling idle threads"), "{log}");
    // A processor that polls is woken without an interrupt.
    let before = reschedules(&mut guest);
    guest.command("i=0; while [ $i -lt 50 ]; do /bin/true | /bin/cat; i=$((i + 1)); done");
    let after = reschedules(&mut guest);
    assert!(after - before < 50, "{before} and {after} interrupts");
    switch_off(guest);
}

fn reschedules(guest: &mut Guest) -> u64 {
    let count = guest.command("awk '/RES:/ { print $2 + $3 }' /proc/interrupts");
    count.trim().parse().expect("a number of interrupts")
}

/// Runs a group of the guest program's checks on this many processors.
fn check(group: &str, cpus: u32) {
    let mut guest = Boot::new()
        .named(&format!("smp-{group}-{cpus}"))
        .initramfs(&guest_initramfs("/init"))
        .smp(cpus)
        .cmdline(&format!("loglevel=5 -- run:{group}"))
        .spawn();
    let output = guest.expect("checks done: ").replace("\r\n", "\n");
    assert!(output.contains("ok 1 "), "nothing was checked:\n{output}");
    assert!(!output.contains("not ok "), "{output}");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

#[test]
fn threads_run_where_they_may_and_see_each_others_changes() {
    for cpus in [1, 2, 4] {
        check("smp", cpus);
    }
}

#[test]
fn system_calls_behave_on_four_processors() {
    for group in ["process", "threads", "memory", "pipes", "signals", "exec"] {
        check(group, 4);
    }
}

#[test]
fn a_storm_on_four_processors_ends_and_adds_up() {
    check("storm", 4);
}

#[test]
fn a_storm_on_two_processors_ends_and_adds_up() {
    check("storm", 2);
}
