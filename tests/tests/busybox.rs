//! A session at the shell: what a person does with busybox, typed at the serial console.
//!
//! All of it holds on Linux too, with the same initramfs. A command and its prompt stay within 80 columns, for the
//! shell would break a longer line.

use tests::{Boot, Guest, Verdict};

/// Boots to the prompt, without later messages of the kernel between the shell's.
fn shell() -> Guest {
    let mut guest = Boot::new().cmdline("loglevel=1").spawn();
    guest.expect_prompt();
    guest
}

/// Runs commands one by one and compares what each prints.
fn check(guest: &mut Guest, session: &[(&str, &str)]) {
    for (command, output) in session {
        assert_eq!(guest.command(command), *output, "after: {command}");
    }
}

/// Starts a program in the foreground and waits until its process runs: the shell itself would swallow Ctrl-Z.
fn start(guest: &mut Guest, program: &str) {
    // The echo of the command has the quotes in it, the output has not.
    guest.send(&format!("sh -c \"echo run''ning; exec {program}\"\n"));
    guest.expect("running\r\n");
}

#[test]
fn editing_keys_change_the_line_that_is_run() {
    let mut guest = shell();
    for (keys, output) in [
        ("echo abX\x7fc", "abc"),
        ("echo ac\x1b[Db", "abc"),
        ("Xecho abc\x01\x1b[3~", "abc"),
        ("ho abc\x01ec\x05d", "abcd"),
        ("garbage\x15echo abc", "abc"),
        ("echo abc garbage\x17", "abc"),
        (
            "echo abcgarbage\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b",
            "abc",
        ),
    ] {
        // Some keys write the prompt again, so look for the output first.
        guest.send(&format!("{keys}\n"));
        guest.expect(&format!("\r\n{output}\r\n"));
        guest.expect_prompt();
    }
}

#[test]
fn history_and_completion_write_the_line() {
    let mut guest = shell();
    check(
        &mut guest,
        &[("echo first", "first\n"), ("echo second", "second\n")],
    );
    // The prompt is written again with each line of the history.
    guest.send("\x1b[A\x1b[A\n");
    guest.expect("\r\nfirst\r\n");
    guest.expect_prompt();
    guest.send("cat /etc/hostn\t\n");
    guest.expect("\r\nkindling\r\n");
    guest.expect_prompt();
}

#[test]
fn control_c_ends_the_foreground_command_and_not_the_shell() {
    let mut guest = shell();
    start(&mut guest, "sleep 1000");
    guest.send("\x03");
    guest.expect_prompt();
    check(&mut guest, &[("echo $?", "130\n")]);
    guest.send("echo run''ning; while :; do :; done\n");
    guest.expect("running\r\n");
    guest.send("\x03");
    guest.expect_prompt();
    // One write that takes minutes, into a line that always has room.
    guest.send("dd if=/dev/zero bs=64M count=1\n");
    guest.expect("\0\0\0\0");
    guest.send("\x03");
    guest.expect_prompt();
    guest.send("echo half a li\x03");
    guest.expect_prompt();
    check(&mut guest, &[("echo alive", "alive\n")]);
}

#[test]
fn control_d_ends_the_input_of_a_program() {
    let mut guest = shell();
    start(&mut guest, "cat > /tmp/typed");
    guest.send("one\ntwX\x7fo\nthree\x15drei\n\x04");
    guest.expect_prompt();
    check(&mut guest, &[("cat /tmp/typed", "one\ntwo\ndrei\n")]);
}

#[test]
fn jobs_are_stopped_continued_and_killed() {
    let mut guest = shell();
    start(&mut guest, "sleep 1000");
    guest.send("\x1a");
    let stopped = guest.expect_prompt();
    assert!(stopped.contains("Stopped"), "{stopped}");
    assert!(guest.command("jobs").contains("Stopped"));
    assert!(guest.command("bg").contains("sleep 1000"));
    assert!(guest.command("jobs").contains("Running"));
    // The shell names the job before it gives it the terminal: a ^C in between would be the shell's.
    guest.command("p=$(pidof sleep)");
    guest
        .command("((until set -- $(cat /proc/$p/stat); [ $5 = $8 ]; do :; done; echo in front) &)");
    guest.send("fg\n");
    guest.expect("in front\r\n");
    guest.send("\x03");
    guest.expect_prompt();
    check(&mut guest, &[("jobs", "")]);
    guest.command("sleep 1000 &");
    let killed = guest.command("kill %1; wait %1; echo $?");
    assert!(killed.contains("143\n"), "{killed}");
}

#[test]
fn a_stopped_job_reads_the_terminal_when_it_is_back_in_the_foreground() {
    let mut guest = shell();
    start(&mut guest, "cat");
    guest.send("\x1a");
    guest.expect_prompt();
    let background = guest.command("bg; sleep 1; jobs");
    assert!(
        background.contains("Stopped"),
        "cat must not read in the background: {background}"
    );
    guest.send("fg\n");
    guest.expect("exec cat");
    guest.send("echoed\n");
    guest.expect("echoed\r\nechoed\r\n");
    guest.send("\x04");
    guest.expect_prompt();
}

#[test]
fn pipes_redirections_and_here_documents_carry_data() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            (
                "echo c a b | tr ' ' '\\n' | sort | tr -d '\\n'; echo",
                "abc\n",
            ),
            ("seq 1 10000 | tail -n 1", "10000\n"),
            ("yes | head -n 3 | wc -l", "3\n"),
            ("cd /tmp; echo one > f; echo two >> f; wc -l < f; cd", "2\n"),
            ("ls /nowhere 2>/tmp/e; echo $?; wc -l < /tmp/e", "1\n1\n"),
            ("ls /nowhere 2>&1 | grep -c 'No such file'", "1\n"),
            ("{ echo a; echo b >&2; } 2>/dev/null", "a\n"),
            (
                "exec 5>/tmp/five; echo five >&5; exec 5>&-; cat /tmp/five",
                "five\n",
            ),
        ],
    );
    guest.send("cat <<END | tac\n");
    guest.expect("> ");
    guest.send("first $((1 + 1))\nsecond $(echo sub)\nEND\n");
    let output = guest.expect_prompt();
    assert!(output.ends_with("second sub\r\nfirst 2\r\n"), "{output:?}");
}

#[test]
fn the_shells_language_works() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            ("cd /etc; echo host* | tr -d '\\n'; cd", "hostname hosts"),
            ("for i in 1 2 3; do echo -n $i; done; echo", "123\n"),
            ("f() { return 7; }; f; echo $?", "7\n"),
            ("(exit 3); echo $?", "3\n"),
            ("x=$(echo a; echo b); echo $x", "a b\n"),
            ("case abc in a*) echo yes;; esac", "yes\n"),
            ("trap 'echo caught' USR1; kill -USR1 $$", "caught\n"),
            (
                "sh -c 'kill -SEGV $$'; echo $?",
                "Segmentation fault\n139\n",
            ),
            ("nonsense 2>&1", "-sh: nonsense: not found\n"),
            ("sh -c 'sleep 1 & wait; echo $?'", "0\n"),
        ],
    );
}

#[test]
fn processes_are_listed_and_killed() {
    let mut guest = shell();
    let ps = guest.command("ps");
    for name in ["init", "-sh", "ps"] {
        assert!(ps.contains(name), "{name} is not in:\n{ps}");
    }
    let top = guest.command("top -b -n1");
    for part in ["Mem:", "CPU:", "Load average:", "init"] {
        assert!(top.contains(part), "{part} is not in:\n{top}");
    }
    check(
        &mut guest,
        &[
            ("kill -0 1; echo $?", "0\n"),
            (
                "sh -c 'sleep 1000 & kill -9 $!; wait $!; echo $?'",
                "Killed\n137\n",
            ),
            ("timeout 1 sleep 1000; echo $?", "Terminated\n143\n"),
            (
                "kill 99999 2>&1",
                "sh: can't kill pid 99999: No such process\n",
            ),
        ],
    );
    guest.command("sleep 77 & sleep 1; kill -STOP $!");
    let stopped = guest.command("ps -o stat,args | grep '[s]leep 77'");
    assert!(stopped.trim_start().starts_with('T'), "{stopped}");
    guest.command("kill -CONT $!; kill $!");
}

#[test]
fn the_systems_state_can_be_read() {
    let mut guest = shell();
    for (command, parts) in [
        (
            "mount",
            &["proc on /proc", "tmpfs on /tmp", "on /dev type devtmpfs"][..],
        ),
        ("df", &["Filesystem", "/tmp"]),
        ("free", &["Mem:", "total"]),
        ("dmesg | head -n 20", &["Linux version"]),
        ("uname -a", &["Linux kindling", "x86_64"]),
        ("cat /proc/cpuinfo", &["processor", "model name"]),
        ("cat /proc/meminfo", &["MemTotal:", "MemFree:"]),
        ("uptime", &["load average:"]),
        ("id", &["uid=0(root)", "gid=0(root)"]),
        ("ls -l /dev/null", &["crw-rw-rw-", "1,   3"]),
        ("tty", &["/dev/tty"]),
        ("stty", &["speed"]),
        ("lsmod; echo $?", &["Module", "\n0\n"]),
    ] {
        let output = guest.command(command);
        for part in parts {
            assert!(
                output.contains(part),
                "{part:?} is not in what {command} printed:\n{output}"
            );
        }
    }
    check(
        &mut guest,
        &[
            ("hostname; pwd; whoami", "kindling\n/root\nroot\n"),
            ("ping -c1 -q 127.0.0.1 >/dev/null; echo $?", "0\n"),
            ("find / -xdev > /tmp/all; echo $?", "0\n"),
            ("test $(wc -l < /tmp/all) -gt 250; echo $?", "0\n"),
        ],
    );
}

#[test]
fn file_systems_are_mounted_and_unmounted() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            ("mount -t tmpfs -o size=1m none /mnt; echo $?", "0\n"),
            ("df /mnt | tail -n 1 | awk '{ print $2 }'", "1024\n"),
            ("cd /mnt; umount /mnt 2>/dev/null; echo $?; cd", "1\n"),
            (
                "dd if=/dev/zero of=/mnt/f bs=64k 2>/dev/null; echo $?",
                "1\n",
            ),
            ("wc -c < /mnt/f", "1048576\n"),
            ("umount /mnt; echo $?; ls /mnt", "0\n"),
        ],
    );
}

#[test]
fn vi_edits_and_saves_a_file() {
    let mut guest = shell();
    guest.command("printf 'one\\ntwo\\nthree\\n' > /tmp/text");
    guest.send("vi /tmp/text\n");
    guest.expect("1/3");
    guest.send("jddp:s/two/2/\rGo");
    guest.expect("I /tmp/text");
    guest.send("and four\x1b");
    guest.expect("- /tmp/text");
    guest.send(":wq\n");
    guest.expect_prompt();
    check(
        &mut guest,
        &[("cat /tmp/text", "one\nthree\n2\nand four\n")],
    );
}

#[test]
fn archives_survive_a_round_trip() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            (
                "mkdir /tmp/out; tar cf /tmp/etc.tar -C / etc; echo $?",
                "0\n",
            ),
            (
                "tar xf /tmp/etc.tar -C /tmp/out; diff -r /etc /tmp/out/etc",
                "",
            ),
            ("tar tf /tmp/etc.tar | grep -c inittab", "1\n"),
            ("tar czf - -C / bin | tar xzf - -C /tmp/out; echo $?", "0\n"),
            ("cmp /bin/busybox /tmp/out/bin/busybox; echo $?", "0\n"),
            (
                "gzip -k /tmp/etc.tar; zcat /tmp/etc.tar.gz | cmp - /tmp/etc.tar",
                "",
            ),
            ("bzip2 < /etc/profile | bunzip2 | cmp - /etc/profile", ""),
            (
                "sha1sum </etc/profile >/tmp/a; sha1sum </etc/profile | cmp - /tmp/a",
                "",
            ),
        ],
    );
}

#[test]
fn files_are_made_changed_and_removed() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            ("mkdir -p /tmp/a/b/c; touch /tmp/a/f; ls /tmp/a", "b  f\n"),
            ("ln -s f /tmp/a/s; readlink /tmp/a/s", "f\n"),
            ("ln /tmp/a/f /tmp/a/h; stat -c %h /tmp/a/f", "2\n"),
            ("echo text > /tmp/a/s; cat /tmp/a/h", "text\n"),
            (
                "chmod 640 /tmp/a/f; chown 1:2 /tmp/a/f; stat -c '%a %u %g' /tmp/a/h",
                "640 1 2\n",
            ),
            (
                "mv /tmp/a/f /tmp/a/b/g; cat /tmp/a/s 2>/dev/null; echo $?",
                "1\n",
            ),
            (
                "cp -r /tmp/a /tmp/copy; find /tmp/copy | sort | tail -n 2",
                "/tmp/copy/h\n/tmp/copy/s\n",
            ),
            ("rmdir /tmp/a/b 2>/dev/null; echo $?", "1\n"),
            ("rm -r /tmp/a /tmp/copy; ls /tmp", ""),
            (
                "dd if=/dev/zero of=/tmp/z bs=1k count=100 2>/dev/null; du -k /tmp/z",
                "100\t/tmp/z\n",
            ),
            ("truncate -s 10 /tmp/z; wc -c < /tmp/z", "10\n"),
            (
                "touch -d '2001-02-03 04:05:06' /tmp/z; date -r /tmp/z +%F",
                "2001-02-03\n",
            ),
            (
                "mkfifo /tmp/p; (echo through > /tmp/p &); cat /tmp/p",
                "through\n",
            ),
            // The writer may come, write and go while the reader opens.
            (
                "for i in 1 2 3 4 5; do (echo $i > /tmp/p &); cat /tmp/p; done",
                "1\n2\n3\n4\n5\n",
            ),
        ],
    );
}

#[test]
fn root_logs_in_without_a_password_and_the_others_not_at_all() {
    let mut guest = shell();
    check(&mut guest, &[("stat -c %a /etc/shadow", "600\n")]);
    // The one that logs in has an environment of its own.
    guest.command("x=5");
    guest.send("login\n");
    guest.expect("kindling login: ");
    guest.send("root\n");
    guest.expect_prompt();
    check(
        &mut guest,
        &[
            (
                "echo \"<$x> $USER $HOME $SHELL\"",
                "<> root /root /bin/sh\n",
            ),
            ("exit", ""),
            ("echo \"<$x>\"", "<5>\n"),
        ],
    );
    guest.send("login daemon\n");
    guest.expect("Password: ");
    guest.send("guess\n");
    guest.expect_prompt();
    check(&mut guest, &[("echo $?", "1\n")]);
}

#[test]
fn the_shell_comes_back_after_exit() {
    let mut guest = shell();
    guest.command("x=5");
    guest.send("exit\n");
    guest.expect_prompt();
    check(&mut guest, &[("echo \"<$x>\" $(pwd)", "<> /root\n")]);
}

#[test]
fn reboot_restarts_the_machine() {
    let mut guest = shell();
    guest.send("reboot\n");
    assert_eq!(guest.wait(), Verdict::Restarted);
}
