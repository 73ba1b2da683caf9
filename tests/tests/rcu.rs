//! RCU and the threads of the workqueues under load.

use tests::Boot;

#[test]
fn thousands_of_processes_leave_no_memory_behind() {
    // Every process that ends goes through RCU, and is freed after a grace period.
    let mut guest = Boot::new().spawn();
    guest.expect_prompt();
    let mut storm = || {
        guest.command("n=0; while [ $n -lt 700 ]; do (:); n=$((n+1)); done; sleep 1");
        let free = guest.command("grep MemFree /proc/meminfo | tr -dc 0-9");
        let digits: String = free.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("{free:?}"))
    };
    let free = [storm(), storm(), storm()];
    // A task that is not freed costs more than 20 KiB with its stack, 2 KiB without.
    assert!(
        free[2] + 512 > free[1],
        "KiB free after each storm: {free:?}"
    );
    let threads = guest.command("ps | grep -e kworker -e rcu_ | grep -v grep");
    assert!(threads.contains("[rcu_preempt]"), "{threads}");
    assert!(threads.lines().count() < 16, "{threads}");
    let softirqs = guest.command("cat /proc/softirqs");
    let rcu = softirqs
        .lines()
        .find(|line| line.trim_start().starts_with("RCU:"));
    let runs = rcu.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    assert!(runs.is_some_and(|runs| runs > 10), "{softirqs}");
}
