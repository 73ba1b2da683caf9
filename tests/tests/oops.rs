//! Faults of the kernel itself: what the report says, and what lives on.

use tests::{Boot, Guest, Verdict};

/// Boots and provokes a fault in a kernel thread.
fn provoke(what: &str) -> Guest {
    Boot::new()
        .named(&format!("oops-{what}"))
        .cmdline(&format!("provoke={what}"))
        .boot_tests()
        .spawn()
}

/// The report has these parts in this order, the thread is gone, and the shell works.
fn check(what: &str, function: &str, parts: &[&str]) {
    let mut guest = provoke(what);
    guest.expect_prompt();
    let log = guest.command("dmesg").replace("\r\n", "\n");
    let mut rest = &log[..];
    let rip = format!("RIP: 0010:{function}+0x");
    let trace = [
        "CPU: 0 PID: ",
        " Comm: provoke ",
        &rip,
        "Code: ",
        "RAX: ",
        "Call Trace:",
        " <TASK>",
        " ret_from_fork",
        " </TASK>",
        "---[ end trace ",
    ];
    for part in parts.iter().chain(&trace) {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?} where it belongs:\n{log}"));
        rest = &rest[at..];
    }
    assert!(!log.contains("provoke: "), "the thread went on:\n{log}");
    assert_eq!(guest.command("ps | grep -c '[p]rovoke'"), "0\n");
    // Tainted: D, the kernel has died recently; W, the test image warns of its wrong initcalls.
    assert_eq!(guest.command("cat /proc/sys/kernel/tainted"), "640\n");
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

#[test]
fn a_null_pointer_is_told_and_costs_one_thread() {
    check(
        "null",
        "provoke_null",
        &[
            "BUG: kernel NULL pointer dereference, address: 0000000000000010",
            "#PF: supervisor write access in kernel mode",
            "#PF: error_code(0x0002) - not-present page",
            "PGD ",
            "Oops: 0002 [#1]",
        ],
    );
}

#[test]
fn a_write_to_code_is_a_violation_of_its_permissions() {
    check(
        "text",
        "provoke_text",
        &[
            "BUG: unable to handle page fault for address: ffffffff8",
            "#PF: supervisor write access in kernel mode",
            "#PF: error_code(0x0003) - permissions violation",
            "Oops: 0003 [#1]",
        ],
    );
}

#[test]
fn an_address_that_cannot_be_is_named() {
    check(
        "wild",
        "provoke_wild",
        &[
            "general protection fault, probably for non-canonical address 0x123456789abcdef0: 0000 [#1]",
        ],
    );
}

#[test]
fn an_invalid_opcode_is_an_oops() {
    check("opcode", "provoke_opcode", &["invalid opcode: 0000 [#1]"]);
}

#[test]
fn data_is_not_executed() {
    let mut guest = provoke("execution");
    guest.expect_prompt();
    let log = guest.command("dmesg");
    for part in [
        "kernel tried to execute NX-protected page - exploit attempt? (uid: 0)",
        "#PF: supervisor instruction fetch in kernel mode",
        "#PF: error_code(0x0011) - permissions violation",
        "Oops: 0011 [#1]",
    ] {
        assert!(log.contains(part), "no {part:?} in:\n{log}");
    }
}

#[test]
fn a_stack_that_is_used_up_ends_the_kernel() {
    let mut guest = provoke("stack");
    guest.expect("BUG: TASK stack guard page was hit at ");
    guest.expect("stack guard page: 0000 [#1]");
    guest.expect("RIP: 0010:provoke_stack+0x");
    guest.expect("Kernel panic - not syncing: ");
    assert_eq!(guest.wait(), Verdict::Panicked);
}

#[test]
fn a_sleep_where_none_is_allowed_is_told_and_survived() {
    let mut guest = provoke("atomic");
    guest.expect("BUG: scheduling while atomic: provoke/");
    guest.expect("Call Trace:");
    guest.expect("provoke: atomic is over");
    guest.expect_prompt();
}

#[test]
fn a_warning_names_its_place_and_goes_on() {
    let mut guest = provoke("warning");
    guest.expect("------------[ cut here ]------------");
    guest.expect("WARNING: CPU: 0 PID: ");
    guest.expect("/provoke.rs:");
    guest.expect(" provoke_warning+0x");
    guest.expect("---[ end trace ");
    guest.expect("provoke: warning is over");
}

#[test]
fn an_interrupt_that_cannot_be_masked_is_told_and_survived() {
    let mut guest = Boot::new().named("oops-nmi").spawn();
    guest.expect_prompt();
    guest.monitor("nmi");
    let log = guest.command("dmesg | tail -n 2");
    assert!(
        log.contains("Uhhuh. NMI received for unknown reason "),
        "{log}"
    );
    assert!(
        log.contains("Dazed and confused, but trying to continue"),
        "{log}"
    );
    let count = guest.command("awk '/NMI:/ { print $2 }' /proc/interrupts");
    assert_eq!(count, "1\n");
}
