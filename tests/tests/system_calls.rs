//! What programs see of the kernel: the checks of the guest program (`tests/guest`), a machine for a few groups.

use tests::{Boot, Verdict, guest_initramfs};

/// What the kernel does not have yet, and what a program sees of it: these checks fail, and the list has to go when
/// they do not any more.
const ABSENT: &[(&str, &str)] = &[
    (
        "a timer of used time rings",
        "ITIMER_VIRTUAL and ITIMER_PROF never ring",
    ),
    ("timers of the process count", "timer_create is ENOSYS"),
    ("timers as descriptors count", "timerfd_create is ENOSYS"),
];

/// Runs groups of checks one after the other in a machine; every check has to hold, but for the absent parts.
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
        .filter(|line| !ABSENT.iter().any(|(name, _)| line.contains(name)))
        .collect();
    for (name, reason) in ABSENT {
        let works = output
            .lines()
            .any(|line| line.starts_with("ok ") && line.ends_with(name));
        assert!(
            !works,
            "{name:?} works now, but is said to be absent: {reason}"
        );
    }
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
    clocks_and_timers_behave => "clocks",
    threads_behave => "threads",
    restartable_sequences_start_again => "rseq",
    damaged_programs_do_no_harm => "elf",
    the_terminal_behaves => "terminal",
    programs_are_started => "exec",
}
