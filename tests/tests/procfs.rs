//! /proc, read and written from the shell.
//!
//! All of it but the last test, which reads files that no other kernel has, holds on Linux too, with the same initramfs.

use tests::{Boot, Guest};

/// Boots to the prompt. The terminal is so wide that the shell breaks no line.
fn shell() -> Guest {
    let mut guest = Boot::new().cmdline("loglevel=1").spawn();
    guest.expect_prompt();
    guest.command("stty cols 250");
    guest
}

/// Runs commands one by one and compares what each prints.
fn check(guest: &mut Guest, session: &[(&str, &str)]) {
    for (command, output) in session {
        assert_eq!(guest.command(command), *output, "after: {command}");
    }
}

/// Runs commands one by one and looks for parts of what each prints.
fn look(guest: &mut Guest, session: &[(&str, &[&str])]) {
    for (command, parts) in session {
        let output = guest.command(command);
        for part in *parts {
            assert!(
                output.contains(part),
                "{part:?} is not in what {command} printed:\n{output}"
            );
        }
    }
}

/// Makes a script in the guest and runs it: for what does not fit into a line.
fn script(guest: &mut Guest, lines: &[&str]) -> String {
    guest.command("rm -f /tmp/script");
    for line in lines {
        guest.command(&format!("echo '{line}' >> /tmp/script"));
    }
    guest.command("sh /tmp/script")
}

#[test]
fn a_process_shows_what_it_is() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            ("wc -w < /proc/1/stat; wc -w < /proc/1/statm", "52\n7\n"),
            ("cut -d' ' -f1,2,4,5,6 /proc/1/stat", "1 (init) 0 1 1\n"),
            (
                "readlink /proc/1/exe; readlink /proc/$$/cwd",
                "/bin/busybox\n/root\n",
            ),
            ("readlink /proc/$$/root; cat /proc/1/comm", "/\ninit\n"),
            ("tr -d '\\0' < /proc/1/cmdline; echo", "init\n"),
            ("tr '\\0' '\\n' < /proc/1/environ | head -n 1", "HOME=/\n"),
            ("cat /proc/2/cmdline /proc/2/maps /proc/2/environ", ""),
            ("readlink /proc/2/exe; echo $?", "1\n"),
            (
                "cat /proc/2/wchan; echo; cat /proc/self/wchan; echo",
                "kthreadd\n0\n",
            ),
            (
                "wc -w < /proc/2/stat; ls -d /proc/2/task/2",
                "52\n/proc/2/task/2\n",
            ),
            // ttyS0 is 4:64.
            ("cut -d' ' -f7 /proc/$$/stat", "1088\n"),
            ("test $(readlink /proc/self) != $$; echo $?", "0\n"),
            ("cat /proc/$$/task/*/comm; ls /proc/2/fd", "sh\n"),
            (
                "cat /proc/self/uid_map",
                "         0          0 4294967295\n",
            ),
            ("cat /proc/self/cpuset /proc/self/setgroups", "/\nallow\n"),
            ("test $(wc -c < /proc/1/auxv) -gt 100; echo $?", "0\n"),
            // The program is mapped at 4 MiB; addresses below are not.
            (
                "dd if=/proc/1/mem bs=4096 skip=1024 count=1 2>/dev/null | head -c 4 | tail -c 3; echo",
                "ELF\n",
            ),
            (
                "dd if=/proc/1/mem bs=4096 count=1 2>&1 | head -n 1",
                "dd: /proc/1/mem: Input/output error\n",
            ),
        ],
    );
    look(
        &mut guest,
        &[
            (
                "cat /proc/1/maps",
                &["r-xp", "/bin/busybox\n", "[heap]\n", "[stack]\n"],
            ),
            ("cat /proc/1/smaps", &["Rss:  ", "VmFlags: rd"]),
            (
                "cat /proc/1/status",
                &[
                    "Name:\tinit\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t1\n",
                    "VmRSS:\t",
                ],
            ),
            (
                "cat /proc/self/limits",
                &[
                    "Limit                     Soft Limit           Hard Limit           Units     \n",
                    "Max open files            1024                 4096                 files     \n",
                ],
            ),
            (
                "cat /proc/$$/io",
                &["rchar: ", "\nsyscw: ", "\ncancelled_write_bytes: 0\n"],
            ),
            (
                "cat /proc/self/mountinfo",
                &[" / /proc rw,", " - proc proc rw\n"],
            ),
            ("cat /proc/mounts", &["proc /proc proc rw,"]),
            (
                "ls -l /proc/1/ns",
                &["uts -> uts:[4026531838]\n", "pid -> pid:[4026531836]\n"],
            ),
            (
                "ls -ldi /proc/net/ /proc/self/net/",
                &["dr-xr-xr-x", "/proc/self/net/\n"],
            ),
        ],
    );
}

#[test]
fn a_process_can_be_written_to() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            (
                "echo -n renamed > /proc/$$/comm; cat /proc/$$/comm",
                "renamed\n",
            ),
            (
                "echo -n sh > /proc/$$/comm; cat /proc/1/oom_score_adj",
                "0\n",
            ),
            (
                "echo 500 > /proc/$$/oom_score_adj; cat /proc/self/oom_score_adj",
                "500\n",
            ),
            (
                "echo 2000 > /proc/$$/oom_score_adj",
                "sh: write error: Invalid argument\n",
            ),
            ("cat /proc/self/loginuid; echo", "4294967295\n"),
            (
                "echo 7 > /proc/self/loginuid; cat /proc/self/loginuid; echo",
                "7\n",
            ),
            (
                "echo 0x3f > /proc/$$/coredump_filter; cat /proc/$$/coredump_filter",
                "0000003f\n",
            ),
            (
                "echo x > /proc/1/comm",
                "sh: write error: Invalid argument\n",
            ),
        ],
    );
}

#[test]
fn a_process_that_was_waited_for_is_gone() {
    let mut guest = shell();
    let output = script(
        &mut guest,
        &[
            "sleep 1000 &",
            "cd /proc/$!",
            "until grep -q sleep comm; do :; done; cat comm",
            // The shell may or may not say how it ended.
            "{ kill $!; wait $!; } 2>/dev/null; ls",
            "cat stat; ls -d /proc/$!",
        ],
    );
    let gone = "ls: .: No such process\ncat: can't open 'stat': No such process\nls: /proc/";
    assert!(output.starts_with(&format!("sleep\n{gone}")), "{output}");
    check(
        &mut guest,
        &[
            ("sh -c 'for i in $(seq 60); do sleep 1000 & done'", ""),
            (
                "ls /proc | grep -c '^[0-9]' > /tmp/n; test $(cat /tmp/n) -ge 63; echo $?",
                "0\n",
            ),
            (
                "ls /proc | sort | uniq -d; ps | grep -c '[s]leep 1000'",
                "60\n",
            ),
            ("killall sleep; sleep 1; pidof sleep", ""),
        ],
    );
}

#[test]
fn descriptors_are_links_to_what_is_open() {
    let mut guest = shell();
    look(
        &mut guest,
        &[
            ("ls -l /proc/self/fd", &["lrwx------", " 0 -> /dev/ttyS0\n"]),
            ("echo | readlink /proc/self/fd/0", &["pipe:["]),
            (
                "cat /proc/$$/fdinfo/0",
                &["pos:\t0\nflags:\t0100002\nmnt_id:\t", "\nino:\t"],
            ),
        ],
    );
    check(
        &mut guest,
        &[
            (
                "exec 5>/tmp/d; rm /tmp/d; readlink /proc/$$/fd/5",
                "/tmp/d (deleted)\n",
            ),
            ("echo text >&5; cat /proc/$$/fd/5", "text\n"),
            (
                "ls -l /proc/$$/fd/5 | cut -c1-10; exec 5>&-",
                "l-wx------\n",
            ),
            ("cat /proc/$$/fd/5 2>/dev/null; echo $?", "1\n"),
            ("echo through | cat /proc/self/fd/0", "through\n"),
            (
                "echo out > /proc/self/fd/1; echo err > /proc/self/fd/2",
                "out\nerr\n",
            ),
            ("wc -c < /proc/self/fd/0 < /etc/hostname", "9\n"),
        ],
    );
}

#[test]
fn the_program_of_a_process_runs_again_even_when_deleted() {
    let mut guest = shell();
    let output = script(
        &mut guest,
        &[
            "cp /bin/busybox /tmp/busybox",
            "/tmp/busybox sleep 1000 &",
            "sleep 1",
            "rm /tmp/busybox",
            "readlink /proc/$!/exe",
            "ln -s /proc/$!/exe /tmp/echo",
            "/tmp/echo alive",
            "cmp /proc/$!/exe /bin/busybox && echo same",
            "kill $!",
        ],
    );
    assert_eq!(output, "/tmp/busybox (deleted)\nalive\nsame\n");
}

#[test]
fn others_do_not_see_into_a_process() {
    let mut guest = shell();
    guest.command("echo 'u::1000:1000::/tmp:/bin/sh' >> /etc/passwd");
    guest.command("chmod 1777 /tmp; export SECRET=1");
    for (command, output) in [
        (
            "cat /proc/1/environ",
            "cat: can't open '/proc/1/environ': Permission denied\n",
        ),
        (
            "cat /proc/1/maps",
            "cat: can't open '/proc/1/maps': Permission denied\n",
        ),
        (
            "ls /proc/1/fd",
            "ls: can't open '/proc/1/fd': Permission denied\n",
        ),
        ("readlink /proc/1/exe || echo no", "no\n"),
        ("cut -d\" \" -f26-28 /proc/1/stat", "1 1 0\n"),
        ("cat /proc/1/wchan; echo", "0\n"),
        (
            "cat /proc/1/comm; stat -c %u /proc/self/stat",
            "init\n1000\n",
        ),
        ("cat /proc/self/maps | grep -c stack", "1\n"),
        (
            "cat /proc/kallsyms | head -n 1 | cut -c1-17",
            "0000000000000000 \n",
        ),
        (
            "echo 1 > /proc/sys/kernel/panic",
            "sh: can't create /proc/sys/kernel/panic: Permission denied\n",
        ),
    ] {
        let typed = format!("echo '{command}' > /tmp/c; chmod 755 /tmp/c");
        guest.command(&typed);
        assert_eq!(
            guest.command("su u -c 'sh < /tmp/c' 2>&1"),
            output,
            "after: {command}"
        );
    }
}

#[test]
fn values_of_the_kernel_are_read_and_written() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            ("cat /proc/sys/kernel/ostype", "Linux\n"),
            (
                "uname -r > /tmp/r; cmp /tmp/r /proc/sys/kernel/osrelease",
                "",
            ),
            (
                "echo other > /proc/sys/kernel/hostname; hostname",
                "other\n",
            ),
            (
                "hostname kindling; cat /proc/sys/kernel/hostname",
                "kindling\n",
            ),
            ("sysctl -n kernel.pid_max", "32768\n"),
            ("sysctl -w kernel.pid_max=40000", "kernel.pid_max = 40000\n"),
            ("cat /proc/sys/kernel/pid_max", "40000\n"),
            (
                "echo 1 > /proc/sys/kernel/pid_max",
                "sh: write error: Invalid argument\n",
            ),
            (
                "echo x > /proc/sys/kernel/ostype",
                "-sh: can't create /proc/sys/kernel/ostype: Permission denied\n",
            ),
            ("cat /proc/sys/fs/file-nr | wc -w", "3\n"),
            (
                "cat /proc/sys/vm/overcommit_memory /proc/sys/fs/nr_open",
                "0\n1048576\n",
            ),
            (
                "cd /proc/sys/kernel/random; cmp boot_id boot_id; cmp -s uuid uuid || echo new; cd",
                "new\n",
            ),
            ("tr -d 'a-f0-9' < /proc/sys/kernel/random/uuid", "----\n"),
            ("cat /proc/sys/kernel/random/poolsize", "256\n"),
            ("ls -ld /proc/sys/kernel | cut -c1-10", "dr-xr-xr-x\n"),
            ("mkdir /proc/sys/x 2>/dev/null || echo no", "no\n"),
        ],
    );
    // Both names of the value are one: what follows cmp differs on each read.
    let ids = guest.command("cd /proc/sys/kernel/random; cat boot_id boot_id; cd");
    let lines: Vec<&str> = ids.lines().collect();
    assert!(
        lines.len() == 2 && lines[0] == lines[1] && lines[0].len() == 36,
        "{ids}"
    );
}

#[test]
fn tools_find_what_they_look_for() {
    let mut guest = shell();
    look(
        &mut guest,
        &[
            (
                "ps -o pid,ppid,pgid,sid,tty,stat,vsz,args",
                &["PID", "4,64", " init\n", "[kthreadd]"],
            ),
            (
                "top -b -n1",
                &["Mem: ", "Load average: 0.", " init\n", "[kthreadd]\n"],
            ),
            ("free", &["Mem:  "]),
            ("uptime", &["load average: 0."]),
            ("cat /proc/loadavg", &["0.0", "/"]),
            ("mount", &["proc on /proc type proc (rw,"]),
            ("df", &["/tmp\n"]),
            ("pidof init", &["1\n"]),
            (
                "killall nothing",
                &["killall: nothing: no process killed\n"],
            ),
            (
                "grep -m 1 ' start_kernel$' /proc/kallsyms",
                &["ffffffff", " T start_kernel\n"],
            ),
            ("head -c 80 /proc/kmsg", &["Linux version"]),
            ("cat /proc/swaps", &["Filename\t\t\t\tType\t\tSize"]),
            ("cat /proc/consoles", &["ttyS0"]),
        ],
    );
    let names = guest.command("ls /proc | tr '\\n' ' '");
    for name in [
        "buddyinfo",
        "cmdline",
        "consoles",
        "cpuinfo",
        "devices",
        "diskstats",
        "filesystems",
        "interrupts",
        "iomem",
        "ioports",
        "kallsyms",
        "kmsg",
        "loadavg",
        "locks",
        "meminfo",
        "mounts",
        "net",
        "partitions",
        "schedstat",
        "self",
        "slabinfo",
        "softirqs",
        "stat",
        "swaps",
        "sys",
        "thread-self",
        "timer_list",
        "tty",
        "uptime",
        "version",
        "vmallocinfo",
        "vmstat",
        "zoneinfo",
    ] {
        let wanted = |found: &str| found == name;
        assert!(
            names.split_whitespace().any(wanted),
            "no /proc/{name}:\n{names}"
        );
    }
}

#[test]
fn every_file_can_be_read_to_its_end() {
    let mut guest = shell();
    let output = script(
        &mut guest,
        &[
            "find /proc -type f ! -name kmsg ! -path \"*/mem\" > /tmp/files",
            "while read -r file; do",
            "  test -r $file || continue",
            "  dd if=$file of=/dev/null bs=4096 count=512 2>/tmp/error || echo $file",
            "done < /tmp/files",
            "echo end",
        ],
    );
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines, ["end"], "files that cannot be read");
    let count = guest.command("wc -l < /tmp/files");
    assert!(
        count.trim().parse::<u32>().is_ok_and(|count| count > 300),
        "{count}"
    );
    // A byte at a time gives the same text.
    check(
        &mut guest,
        &[
            (
                "dd if=/proc/1/maps of=/tmp/m bs=1 2>/dev/null; cmp /tmp/m /proc/1/maps",
                "",
            ),
            (
                "dd if=/proc/1/limits bs=7 2>/dev/null | cmp - /proc/1/limits; echo $?",
                "0\n",
            ),
            (
                "dd if=/proc/version bs=1 skip=6 count=7 2>/dev/null",
                "version",
            ),
        ],
    );
}
