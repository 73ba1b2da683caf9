//! The shortest way through everything: boot, shell, power-off, by each of the three ways to load the kernel.

use tests::{Boot, Firmware, Verdict};

fn reaches_the_shell_and_powers_off(firmware: Firmware) {
    let mut guest = Boot::new().firmware(firmware).spawn();
    let log = guest.expect_prompt();
    assert!(log.contains("Linux version "), "no banner:\n{log}");
    assert_eq!(guest.command("echo $((6 * 7))"), "42\n");
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

#[test]
fn a_direct_boot_reaches_the_shell_and_powers_off() {
    reaches_the_shell_and_powers_off(Firmware::Direct);
}

#[test]
fn a_bios_boot_reaches_the_shell_and_powers_off() {
    reaches_the_shell_and_powers_off(Firmware::Bios);
}

#[test]
fn a_uefi_boot_reaches_the_shell_and_powers_off() {
    reaches_the_shell_and_powers_off(Firmware::Uefi);
}
