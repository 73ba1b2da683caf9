//! Each trap from user space: the signal in a handler, the end without one, and the line in the log.

use tests::{Boot, Verdict, guest_initramfs};

#[test]
fn every_trap_is_the_signal_that_linux_makes_of_it() {
    let mut guest = Boot::new()
        .initramfs(&guest_initramfs("/init"))
        .cmdline("loglevel=5 -- run:traps")
        .spawn();
    let output = guest.expect("checks done: ").replace("\r\n", "\n");
    let failed: Vec<&str> = output
        .lines()
        .filter(|line| line.starts_with("not ok "))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(output.contains("ok 25 "), "{output}");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

#[test]
fn a_fatal_trap_leaves_a_line_in_the_log() {
    let mut guest = Boot::new()
        .initramfs(&guest_initramfs("/init"))
        .cmdline("-- run:logged-traps")
        .spawn();
    let output = guest.expect("checks done: ").replace("\r\n", "\n");
    for (start, inside) in [
        ("traps: ", " trap divide error ip:"),
        ("traps: ", " trap invalid opcode ip:"),
        ("traps: ", " general protection fault ip:"),
        ("", ": segfault at dead005 ip "),
        ("", ": segfault at dead000 ip "),
    ] {
        let line = output
            .lines()
            .find(|line| line.contains(inside))
            .unwrap_or_else(|| panic!("no {inside:?} in:\n{output}"));
        assert!(line.contains(&format!("] {start}init[")), "{line}");
        assert!(line.contains(" in init["), "{line}");
    }
    // Segfaults also show the code, with the instruction in brackets.
    let code: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("] Code: ") && line.contains(" <"))
        .collect();
    assert_eq!(
        code.len(),
        output.matches(": segfault at ").count(),
        "{output}"
    );
}
