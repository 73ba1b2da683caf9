//! The shortest way through everything: boot, shell, power-off.

use tests::{Boot, Verdict};

#[test]
fn a_direct_boot_reaches_the_shell_and_powers_off() {
    let mut guest = Boot::new().spawn();
    let log = guest.expect_prompt();
    assert!(log.contains("Linux version "), "no banner:\n{log}");
    assert_eq!(guest.command("echo $((6 * 7))"), "42\n");
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}
