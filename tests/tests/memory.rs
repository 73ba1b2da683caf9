//! Memory that runs out, and the numbers that tell where it is.

use tests::{Boot, Guest, Verdict};

fn shell(case: &str, memory: &str) -> Guest {
    let boot = Boot::new().named(&format!("memory-{case}"));
    let mut guest = boot.memory(memory).cmdline("loglevel=1").spawn();
    guest.expect_prompt();
    guest
}

fn number(guest: &mut Guest, command: &str) -> u64 {
    let text = guest.command(command);
    let number = text.trim().parse();
    number.unwrap_or_else(|_| panic!("{command} printed {text:?}"))
}

/// A value of /proc/meminfo in KiB.
fn meminfo(guest: &mut Guest, name: &str) -> u64 {
    number(
        guest,
        &format!("awk '/^{name}:/ {{ print $2 }}' /proc/meminfo"),
    )
}

#[test]
fn the_one_who_takes_all_memory_is_killed_and_nobody_else() {
    for memory in ["64M", "256M"] {
        let mut guest = shell("hog", memory);
        guest.command("sleep 1000 & other=$!; me=$$");
        let before = meminfo(&mut guest, "MemFree");
        for round in 1..=3 {
            let status = guest.command("tail /dev/zero > /tmp/out; echo $?");
            assert!(status.ends_with("137\n"), "round {round}: {status}");
            assert_eq!(
                guest.command("kill -0 $other; echo $? $(($$ == me))"),
                "0 1\n"
            );
            let killed = number(&mut guest, "awk '/^oom_kill / { print $2 }' /proc/vmstat");
            assert_eq!(killed, round);
        }
        let log = guest.command("dmesg | grep -e 'Killed process' -e invoked -e reaped");
        assert!(log.contains("tail invoked oom-killer: gfp_mask="), "{log}");
        assert!(log.contains("Out of memory: Killed process "), "{log}");
        assert!(
            log.contains("oom_reaper: reaped process ") || log.contains("(tail)"),
            "{log}"
        );
        let after = meminfo(&mut guest, "MemFree");
        assert!(
            after + (2 << 10) > before,
            "{after} kB of {before} kB are free again"
        );
        guest.send("poweroff\n");
        assert_eq!(guest.wait(), Verdict::PoweredOff);
    }
}

#[test]
fn who_asked_not_to_be_killed_is_spared() {
    let mut guest = shell("spared", "128M");
    // The larger one is spared, the one that offered itself goes.
    guest.command("(echo -1000 > /proc/self/oom_score_adj; exec tail -f /dev/null) & kept=$!");
    guest.command("(echo 1000 > /proc/self/oom_score_adj; exec sleep 1000) & first=$!");
    guest.command("until [ -n \"$(cat /proc/$first/oom_score_adj)\" ]; do :; done");
    assert_eq!(guest.command("cat /proc/$kept/oom_score"), "0\n");
    let status = guest.command("tail /dev/zero > /tmp/out; echo $?");
    assert!(status.contains("\n137\n"), "{status}");
    assert_eq!(guest.command("kill -0 $kept; echo $?"), "0\n");
    assert!(
        guest
            .command("kill -0 $first 2>/dev/null; echo $?")
            .ends_with("1\n")
    );
}

#[test]
fn many_processes_that_take_memory_end_and_the_shell_lives() {
    let mut guest = shell("crowd", "64M");
    guest.command("for i in 1 2 3 4 5 6 7 8; do tail /dev/zero > /dev/null & done");
    guest.command("wait");
    assert_eq!(guest.command("echo alive"), "alive\n");
    let killed = number(&mut guest, "awk '/^oom_kill / { print $2 }' /proc/vmstat");
    assert!(killed >= 8, "{killed} were killed");
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

#[test]
fn meminfo_tells_where_memory_went() {
    let mut guest = shell("numbers", "128M");
    let cached = meminfo(&mut guest, "Cached");
    assert!(cached > 500, "the root tree is in memory: {cached} kB");
    guest.command("dd if=/dev/zero of=/tmp/file bs=1M count=8 2>/dev/null");
    for name in ["Cached", "Shmem"] {
        let now = meminfo(&mut guest, name);
        let grown = now - cached.min(now);
        assert!(
            (8192..8192 + 64).contains(&grown),
            "{name} grew by {grown} kB"
        );
    }
    guest.command("rm /tmp/file");
    let again = meminfo(&mut guest, "Shmem");
    assert!(again < cached + 64, "{again} kB after, {cached} kB before");
    for name in [
        "AnonPages",
        "Mapped",
        "PageTables",
        "Committed_AS",
        "KernelStack",
        "Slab",
    ] {
        let now = meminfo(&mut guest, name);
        assert!(now > 0 && now < 16 << 10, "{name}: {now} kB");
    }
    // What one process takes is there while it lives, and not longer.
    let anon = meminfo(&mut guest, "AnonPages");
    guest.command("tail -c 16777216 /dev/zero > /dev/null & hog=$!");
    guest.command(
        "until [ $(awk '/^AnonPages:/ { print $2 }' /proc/meminfo) -gt 16000 ]; do :; done",
    );
    guest.command("kill $hog; wait");
    let left = meminfo(&mut guest, "AnonPages");
    assert!(left < anon + 256, "{left} kB after, {anon} kB before");
}
