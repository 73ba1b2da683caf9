//! What programs see of the kernel: the checks of the guest program (`tests/guest`), a machine for a few groups.

use tests::{Boot, Verdict, guest_initramfs};

/// Runs groups of checks one after the other in a machine; every check has to hold.
fn check(group: &str) {
    let mut guest = Boot::new()
        .named(&format!("checks-{group}"))
        .initramfs(&guest_initramfs("/init"))
        .cmdline(&format!("loglevel=5 -- run:{group}"))
        .spawn();
    let output = guest.expect("checks done: ").replace("\r\n", "\n");
    let failed: Vec<&str> = output
        .lines()
        .filter(|line| line.starts_with("not ok "))
        .collect();
    assert!(
        failed.is_empty(),
        "{:#?}\nin {}",
        failed,
        guest.log().display()
    );
    assert!(output.contains("ok 1 "), "nothing was checked:\n{output}");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}

macro_rules! groups {
    ($($name:ident => $group:literal,)*) => { $(
        #[test]
        fn $name() {
            check($group);
        }
    )* };
}

groups! {
    numbers_are_known_or_refused => "numbers",
    bad_pointers_are_refused => "pointers",
    descriptors_behave => "descriptors",
    files_and_folders_behave => "files",
    attributes_of_files_behave => "attributes",
    signals_behave => "signals",
    processes_behave => "process",
    memory_behaves => "memory",
    pipes_and_poll_behave => "pipes",
    clocks_behave => "clocks",
    timers_behave => "timers",
    threads_behave => "threads",
    restartable_sequences_start_again => "rseq",
    damaged_programs_do_no_harm => "elf",
    the_terminal_behaves => "terminal",
    programs_are_started => "exec",
}
