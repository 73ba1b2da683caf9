//! Machines that differ: memory, processors, missing devices, the screen and the keyboard, the clock, the ways to end.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::{Boot, Firmware, Guest, Verdict};

fn machine(case: &str) -> Boot {
    Boot::new().named(&format!("machines-{case}"))
}

/// The shell answers and switches the machine off.
fn use_and_switch_off(mut guest: Guest) {
    guest.expect_prompt();
    assert_eq!(guest.command("echo $((6 * 7))"), "42\n");
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

/// The least memory with which the default image reaches the shell.
const LEAST_MEMORY: &str = "14M";

#[test]
fn the_shell_runs_in_little_and_in_much_memory() {
    for (memory, kilobytes) in [
        // The README and `cargo run -- bench` call this the least.
        (LEAST_MEMORY, 14 << 10),
        ("24M", 24 << 10),
        ("64M", 64 << 10),
        ("512M", 512 << 10),
        ("6G", 6 << 20),
    ] {
        let mut guest = machine(memory).memory(memory).spawn();
        guest.expect_prompt();
        let total = guest.command("awk '/MemTotal/ { print $2 }' /proc/meminfo");
        let total: u64 = total.trim().parse().expect("a number of kilobytes");
        assert!(total < kilobytes, "{total} of {memory}");
        assert!(total > kilobytes / 20 * 14, "{total} of {memory}");
        guest.send("poweroff\n");
        assert_eq!(guest.wait(), Verdict::PoweredOff);
    }
}

#[test]
fn all_of_a_large_memory_can_be_used() {
    let mut guest = machine("filled").memory("600M").spawn();
    guest.expect_prompt();
    // A file in memory, much of it, read back. By itself such a file system takes half of the memory only.
    let filled = guest.command("mount -o remount,size=90% /tmp; echo $?");
    assert_eq!(filled, "0\n");
    let filled = guest.command("dd if=/dev/zero of=/tmp/big bs=1M count=400 2>/dev/null; echo $?");
    assert_eq!(filled, "0\n");
    let read = guest.command("tr -d '\\0' < /tmp/big | wc -c; wc -c < /tmp/big");
    assert_eq!(read, "0\n419430400\n");
    assert_eq!(guest.command("rm /tmp/big; echo $?"), "0\n");
    let free = guest.command("awk '/MemFree/ { print $2 }' /proc/meminfo");
    let free: u64 = free.trim().parse().expect("a number of kilobytes");
    assert!(free > 400 << 10, "{free} kB are free again");
}

#[test]
fn old_and_new_processors_are_served() {
    for processor in ["qemu64", "Nehalem", "max"] {
        let boot = machine(processor).qemu_arg("-cpu").qemu_arg(processor);
        use_and_switch_off(boot.spawn());
    }
}

/// Bugs that Linux 6.8 does not know yet.
const LATER_BUGS: [&str; 3] = ["bhi", "its", "rfds"];

#[test]
fn a_processors_bugs_are_listed_and_what_is_done_about_them_is_told() {
    let amd = "sysret_ss_attrs null_seg";
    let intel =
        "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit";
    for (processor, bugs, line) in [
        (
            "qemu64",
            format!("fxsave_leak {amd} swapgs_fence amd_e400 spectre_v1 spectre_v2"),
            "Spectre V2 : ",
        ),
        (
            "EPYC",
            format!(
                "fxsave_leak {amd} spectre_v1 spectre_v2 spec_store_bypass retbleed smt_rsb srso div0"
            ),
            "Speculative Return Stack Overflow: ",
        ),
        (
            "Nehalem",
            format!("{intel} mmio_unknown"),
            "MMIO Stale Data: Unknown: No mitigations",
        ),
        (
            "Skylake-Client",
            format!("{intel} srbds mmio_stale_data retbleed gds"),
            "SRBDS: Unknown: Dependent on hypervisor status",
        ),
    ] {
        let case = format!("bugs-{processor}");
        let mut guest = machine(&case).qemu_arg("-cpu").qemu_arg(processor).spawn();
        guest.expect_prompt();
        let listed = guest.command("grep -m1 ^bugs /proc/cpuinfo");
        let listed: Vec<&str> = listed
            .split_whitespace()
            .skip(2)
            .filter(|bug| !LATER_BUGS.contains(bug))
            .collect();
        assert_eq!(listed.join(" "), bugs, "{processor}");
        let log = guest.command("dmesg");
        let barriers = "Spectre V1 : Mitigation: usercopy/swapgs barriers";
        assert!(log.contains(barriers) && log.contains(line), "{log}");
    }
}

#[test]
fn a_processor_that_lacks_too_much_is_refused() {
    let boot = machine("no-nx").qemu_arg("-cpu").qemu_arg("qemu64,-nx");
    let mut guest = boot.spawn();
    // Before the command line is looked at, a panic does not end QEMU.
    guest.expect("Kernel panic - not syncing: the CPU has no NX");
    guest.expect("---[ end Kernel panic - not syncing: ");
}

#[test]
fn devices_may_be_missing() {
    for (case, arguments) in [
        ("no-keyboard", &["-machine", "i8042=off"][..]),
        ("no-display", &["-vga", "none"]),
        ("no-hpet", &["-machine", "hpet=off"]),
        ("no-defaults", &["-nodefaults"]),
    ] {
        let mut boot = machine(case);
        for argument in arguments {
            boot = boot.qemu_arg(argument);
        }
        use_and_switch_off(boot.spawn());
    }
}

#[test]
fn more_processors_do_no_harm() {
    use_and_switch_off(machine("smp").smp(2).spawn());
}

/// Types characters at the machine's own keyboard.
fn type_at_keyboard(guest: &mut Guest, text: &str) {
    for character in text.chars() {
        let (shift, key) = match character {
            ' ' => (false, "spc".to_owned()),
            '\n' => (false, "ret".to_owned()),
            '/' => (false, "slash".to_owned()),
            '-' => (false, "minus".to_owned()),
            '.' => (false, "dot".to_owned()),
            '>' => (true, "dot".to_owned()),
            '$' => (true, "4".to_owned()),
            '(' => (true, "9".to_owned()),
            ')' => (true, "0".to_owned()),
            '*' => (true, "8".to_owned()),
            other => (
                other.is_ascii_uppercase(),
                other.to_ascii_lowercase().to_string(),
            ),
        };
        match shift {
            true => guest.press(&["shift", &key]),
            false => guest.press(&[&key]),
        }
    }
}

/// Waits for the shell on the screen, by a program that says so on the serial line.
fn shell_on_the_screen(case: &str) -> Guest {
    // Only firmware sets up a screen.
    let mut guest = machine(case)
        .firmware(Firmware::Bios)
        .whole_cmdline(Some("console=ttyS0 console=tty0 kindling.qemu_exit"))
        .spawn();
    guest.expect("Run /init as init process");
    guest
}

#[test]
fn the_keyboard_types_at_the_shell_on_the_screen() {
    let mut guest = shell_on_the_screen("keyboard");
    // What is typed too early waits in the terminal, so there is nothing to wait for.
    type_at_keyboard(&mut guest, "echo Typed-$((6 * 7)).ok > /dev/ttyS0\n");
    guest.expect("Typed-42.ok");
    type_at_keyboard(&mut guest, "sleep 1000\n");
    guest.press(&["ctrl", "c"]);
    type_at_keyboard(&mut guest, "echo after > /dev/ttyS0\n");
    guest.expect("after");
    type_at_keyboard(&mut guest, "poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

#[test]
fn ctrl_alt_del_restarts_the_machine() {
    let mut guest = shell_on_the_screen("ctrl-alt-del");
    type_at_keyboard(&mut guest, "echo ready > /dev/ttyS0\n");
    guest.expect("ready");
    guest.press(&["ctrl", "alt", "delete"]);
    assert_eq!(guest.wait(), Verdict::Restarted);
}

/// Brightness of the gray in which the kernel writes; the boot loader writes in white.
const GRAY: u8 = 0xaa;

/// Pixels that are not black, in the picture that QEMU's monitor writes; none as long as the firmware or the boot
/// loader has the screen.
fn lit_pixels(guest: &mut Guest, case: &str) -> usize {
    let file = guest.log().with_file_name(format!("machines-{case}.ppm"));
    guest.monitor(&format!("screendump {}", file.display()));
    let (width, pixels) = picture(&file);
    if width <= 800 || pixels.iter().any(|part| *part > GRAY) {
        return 0;
    }
    pixels
        .chunks(3)
        .filter(|pixel| pixel.iter().any(|part| *part > 40))
        .count()
}

/// Width and pixels of a binary portable pixmap: they follow three lines, of which the second has the size.
fn picture(file: &Path) -> (u32, Vec<u8>) {
    let bytes = std::fs::read(file).expect("QEMU has written the picture");
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let size = parts.nth(1).expect("the picture has a size");
    let size = std::str::from_utf8(size).expect("the size is text");
    let width = size.split(' ').next().and_then(|width| width.parse().ok());
    let pixels = parts.nth(1).expect("the picture has pixels");
    (width.expect("the width is a number"), pixels.to_vec())
}

/// A machine whose only terminal is its screen with the keyboard, once the screen has the shell's prompt.
fn without_a_serial_port(case: &str, firmware: Firmware) -> Guest {
    // Without the kernel's messages the first text is of a program, so that the keyboard is there too.
    let mut guest = machine(case)
        .firmware(firmware)
        .whole_cmdline(Some("console=tty0 loglevel=1 kindling.qemu_exit"))
        .no_serial()
        .spawn();
    // The greetings have 5929 pixels, the prompt 250. A key pressed while the boot loader has the screen is lost.
    guest.expect_on_screen(|guest| lit_pixels(guest, case) > 6_050);
    guest
}

#[test]
fn without_a_serial_port_screen_and_keyboard_are_the_terminal() {
    for (case, firmware) in [
        ("no-serial-bios", Firmware::Bios),
        ("no-serial-uefi", Firmware::Uefi),
    ] {
        let mut guest = without_a_serial_port(case, firmware);
        type_at_keyboard(&mut guest, "dmesg\n");
        guest.expect_on_screen(|guest| lit_pixels(guest, case) > 40_000);
        type_at_keyboard(&mut guest, "clear\n");
        guest.expect_on_screen(|guest| lit_pixels(guest, case) < 4_000);
        type_at_keyboard(&mut guest, "poweroff\n");
        assert_eq!(guest.wait(), Verdict::PoweredOff);
    }
}

#[test]
fn the_clock_shows_the_hosts_time() {
    let mut guest = machine("clock").spawn();
    guest.expect_prompt();
    let seconds = guest.command("date +%s");
    let host = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the year is past 1970")
        .as_secs();
    let guests: u64 = seconds.trim().parse().expect("seconds");
    assert!(host.abs_diff(guests) <= 5, "{guests} is not {host}");
    let uptime = guest.command("cat /proc/uptime");
    let up: f64 = uptime
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("seconds");
    assert!(up > 0.1 && up < 600.0, "{uptime}");
}

#[test]
fn a_chosen_date_is_read_from_the_clocks_chip() {
    let mut guest = machine("date")
        .qemu_arg("-rtc")
        .qemu_arg("base=2031-12-31T23:59:30")
        .spawn();
    guest.expect_prompt();
    let date = guest.command("date -u '+%F %H:%M'");
    assert!(
        date.starts_with("2031-12-31 23:59") || date.starts_with("2032-01-01 00:0"),
        "{date}"
    );
}

#[test]
fn the_clocks_chip_is_read_and_set_by_hwclock() {
    let mut guest = machine("hwclock")
        .qemu_arg("-rtc")
        .qemu_arg("base=2031-12-31T23:59:30")
        .spawn();
    guest.expect_prompt();
    let read = |guest: &mut tests::Guest| guest.command("busybox hwclock -r -u");
    let date = read(&mut guest);
    let near = [("Wed Dec 31 23:59:", "2031"), ("Thu Jan  1 00:0", "2032")];
    assert!(
        near.iter()
            .any(|(day, year)| date.starts_with(day) && date.contains(year)),
        "{date}"
    );
    let set = guest.command("date -u -s '2024-02-29 11:22:00' > /dev/null; busybox hwclock -w -u");
    assert_eq!(set, "");
    let date = read(&mut guest);
    assert!(
        date.starts_with("Thu Feb 29 11:2") && date.contains("2024"),
        "{date}"
    );
    let refused = guest.command("exec 9< /dev/rtc0; cat /dev/rtc0; exec 9<&-");
    assert!(refused.contains("busy"), "{refused}");
    let state = guest.command("busybox adjtimex");
    assert!(
        state.contains("tick:         10000") && state.contains("return value: 5"),
        "{state}"
    );
}

#[test]
fn halting_stops_the_machine_without_switching_it_off() {
    let mut guest = machine("halt").spawn();
    guest.expect_prompt();
    guest.send("halt\n");
    guest.expect("reboot: System halted");
    assert!(guest.monitor("info status").contains("running"));
}

#[test]
fn the_ends_of_the_machine_are_announced() {
    for (command, lines, verdict) in [
        (
            "poweroff -f",
            &[
                "ACPI: PM: Preparing to enter system sleep state S5",
                "reboot: Power down",
            ][..],
            Verdict::PoweredOff,
        ),
        (
            "reboot -f",
            &["reboot: Restarting system"],
            Verdict::Restarted,
        ),
    ] {
        let mut guest = machine(&command.replace(' ', "")).spawn();
        guest.expect_prompt();
        guest.send(&format!("{command}\n"));
        for line in lines {
            guest.expect(line);
        }
        assert_eq!(guest.wait(), verdict);
    }
}
