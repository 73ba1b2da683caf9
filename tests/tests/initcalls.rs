//! Initcalls: their order, what `initcall_debug` and `initcall_blacklist` do, and the tripwires around each.

use tests::{Boot, Guest, Verdict, guest_initramfs};

fn boot(case: &str, parameters: &str) -> Boot {
    Boot::new()
        .named(&format!("initcalls-{case}"))
        .initramfs(&guest_initramfs("/init"))
        .cmdline(parameters)
}

/// Everything up to the power-off.
#[track_caller]
fn whole_log(guest: &mut Guest) -> String {
    assert_eq!(guest.wait(), Verdict::PoweredOff);
    guest.transcript().replace("\r\n", "\n")
}

/// The text after the timestamp of each line that has one.
fn messages(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| Some(line.split_once("] ")?.1))
        .collect()
}

/// The name of a call in `calling  PATH::NAME+0x0/0xSIZE @ PID` or `initcall PATH::NAME+0x0/0xSIZE returned ...`.
fn name_in(message: &str) -> Option<&str> {
    let rest = message
        .strip_prefix("calling  ")
        .or_else(|| message.strip_prefix("initcall "))?;
    let symbol = rest.split_once("+0x0/0x")?.0;
    symbol.rsplit("::").next()
}

#[test]
fn every_call_is_announced_and_its_result_told() {
    let mut guest = boot("debug", "initcall_debug ignore_loglevel").spawn();
    let log = whole_log(&mut guest);
    let messages = messages(&log);
    let mut calls = 0;
    let mut running: Option<&str> = None;
    for message in &messages {
        let Some(name) = name_in(message) else {
            continue;
        };
        if message.starts_with("calling  ") {
            assert!(
                message.ends_with(" @ 1") || message.ends_with(" @ 0"),
                "{message}"
            );
            assert_eq!(running, None, "before {message}");
            running = Some(name);
            calls += 1;
        } else if message.contains(" returned ") && message.ends_with(" usecs") {
            assert_eq!(running.take(), Some(name), "{message}");
            assert!(message.contains(" returned 0 after "), "{message}");
        }
    }
    assert_eq!(running, None);
    assert!(calls >= 20, "{calls} calls in:\n{log}");
}

#[test]
fn early_calls_come_before_the_driver_core_and_the_others_after() {
    let mut guest = boot("order", "initcall_debug ignore_loglevel").spawn();
    let log = whole_log(&mut guest);
    let position = |text: &str| {
        log.find(text)
            .unwrap_or_else(|| panic!("no {text:?} in:\n{log}"))
    };
    let driver_core = position("devtmpfs: initialized");
    assert!(position("spawn_ksoftirqd+0x0/") < driver_core);
    assert!(position("populate_rootfs+0x0/") > driver_core);
    assert!(position("serial8250_init+0x0/") > position("populate_rootfs+0x0/"));
}

#[test]
fn blacklisted_calls_are_not_made_and_wrong_names_do_no_harm() {
    let mut guest = Boot::new()
        .named("initcalls-blacklist")
        .cmdline("initcall_debug ignore_loglevel initcall_blacklist=proc_meminfo_init,no_such_call")
        .spawn();
    let log = guest.expect_prompt();
    assert!(
        log.contains("blacklisting initcall proc_meminfo_init"),
        "{log}"
    );
    assert!(log.contains("blacklisting initcall no_such_call"), "{log}");
    assert!(
        log.contains("initcall proc_meminfo_init blacklisted"),
        "{log}"
    );
    assert!(!log.contains("proc_meminfo_init+0x0/"), "{log}");
    assert_eq!(
        guest.command("ls /proc/meminfo 2>/dev/null; echo $?"),
        "1\n"
    );
    assert_eq!(guest.command("ls /proc/uptime"), "/proc/uptime\n");
}

/// The order of the linker's sections.
const LEVELS: [&str; 17] = [
    "early", "0", "1", "1s", "2", "2s", "3", "3s", "4", "4s", "5", "5s", "rootfs", "6", "6s", "7",
    "7s",
];

#[test]
fn probes_at_every_level_run_in_the_order_of_the_levels() {
    let mut guest = boot("levels", "").boot_tests().spawn();
    let log = whole_log(&mut guest);
    let seen: Vec<&str> = messages(&log)
        .into_iter()
        .filter_map(|message| message.strip_prefix("initcall probe: level "))
        .collect();
    assert_eq!(seen, LEVELS, "{log}");
}

#[test]
fn a_call_that_leaves_the_processor_changed_is_told_and_repaired() {
    let mut guest = boot("tripwires", "initcall_debug ignore_loglevel")
        .boot_tests()
        .spawn();
    let log = whole_log(&mut guest);
    for (name, complaint) in [
        ("probe_preemption_imbalance", "preemption imbalance "),
        ("probe_disabled_interrupts", "disabled interrupts "),
        (
            "probe_both_imbalances",
            "preemption imbalance disabled interrupts ",
        ),
    ] {
        let warning = messages(&log)
            .into_iter()
            .find(|message| name_in(message) == Some(name) && message.contains(" returned with "));
        let warning = warning.unwrap_or_else(|| panic!("nothing of {name} in:\n{log}"));
        assert!(
            warning.ends_with(&format!(" returned with {complaint}")),
            "{warning:?}"
        );
    }
    assert_eq!(log.matches("[ cut here ]").count(), 3, "{log}");
    assert_eq!(
        log.matches("WARNING: CPU: 0 PID: 1 at ").count(),
        3,
        "{log}"
    );
    assert!(
        log.lines()
            .any(|line| line.contains("WARNING: CPU: 0 PID: 1 at ")
                && line.contains(" do_one_initcall+0x")
                || line.contains(" check_tripwires+0x")),
        "{log}"
    );
    // The next call finds everything as it should be: only three complaints, and init runs.
    let failure = messages(&log).into_iter().find(|message| {
        name_in(message) == Some("probe_failure") && message.contains(" returned -22 after ")
    });
    assert!(failure.is_some(), "{log}");
}
