//! The first program: where the kernel looks for it, what it is given, and what is said when there is none.

use tests::{Boot, Guest, Initramfs, Verdict, guest_initramfs};

/// The guest program at `path`, and an `/init` that exists but cannot be executed.
fn with_broken_init(path: &str) -> Initramfs {
    guest_initramfs(path).file("/init", 0o644, "not a program")
}

/// A machine that boots `tree` with these parameters.
fn boot(case: &str, tree: &Initramfs, parameters: &str) -> Guest {
    let name = format!("init_try_list-{case}");
    Boot::new()
        .named(&name)
        .initramfs(tree)
        .cmdline(parameters)
        .spawn()
}

/// Waits for the guest program's report and takes it.
#[track_caller]
fn report(guest: &mut Guest) -> String {
    guest.expect("report: this is pid 1");
    guest.expect("report: done").replace("\r\n", "\n")
}

#[track_caller]
fn expect_panic(guest: &mut Guest, text: &str) -> String {
    let before = guest.expect("Kernel panic - not syncing: ");
    guest.expect(text);
    before
}

#[test]
fn an_init_that_cannot_be_executed_leads_to_the_list() {
    for path in ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"] {
        let case = path.replace('/', "-");
        let mut guest = boot(&case, &with_broken_init(path), "");
        guest.expect("Run /init as init process");
        guest.expect("Failed to execute /init (error -13)");
        guest.expect(&format!("Run {path} as init process"));
        let report = report(&mut guest);
        assert!(
            report.contains(&format!("arguments [\"{path}\"]")),
            "{report}"
        );
        assert_eq!(guest.wait(), Verdict::PoweredOff);
    }
}

#[test]
fn what_exists_on_the_list_but_cannot_run_is_told_and_the_next_is_tried() {
    let tree = with_broken_init("/bin/sh").file("/etc/init", 0o644, "neither");
    let mut guest = boot("second-broken", &tree, "");
    guest.expect("Starting init: /etc/init exists but couldn't execute it (error -13)");
    guest.expect("Run /bin/init as init process");
    guest.expect("Run /bin/sh as init process");
    report(&mut guest);
}

#[test]
fn without_any_program_the_kernel_panics() {
    let tree = Initramfs::new().file("/init", 0o755, "\u{7f}no ELF file");
    let mut guest = boot("none", &tree, "");
    guest.expect("Failed to execute /init (error -8)");
    let tried = expect_panic(
        &mut guest,
        "No working init found.  Try passing init= option to kernel. \
         See Linux Documentation/admin-guide/init.rst for guidance.",
    );
    for path in ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"] {
        assert!(
            tried.contains(&format!("Run {path} as init process")),
            "{tried}"
        );
    }
    assert!(
        !tried.contains("Starting init:"),
        "missing ones are not worth a word: {tried}"
    );
}

#[test]
fn rdinit_names_the_program_in_the_archive() {
    let mut guest = boot("rdinit", &guest_initramfs("/other"), "rdinit=/other word");
    guest.expect("Run /other as init process");
    let report = report(&mut guest);
    assert!(
        report.contains(r#"arguments ["/other", "word"]"#),
        "{report}"
    );
}

#[test]
fn init_names_the_program_after_the_archives_own() {
    let tree = with_broken_init("/other");
    let mut guest = boot("init", &tree, "dropped init=/other kept");
    guest.expect("Failed to execute /init (error -13)");
    guest.expect("Run /other as init process");
    let report = report(&mut guest);
    assert!(
        report.contains(r#"arguments ["/other", "kept"]"#),
        "{report}"
    );
    drop(guest);
    let tree = with_broken_init("/sbin/init");
    let mut guest = boot("init-missing", &tree, "init=/nonexistent");
    expect_panic(&mut guest, "Requested init /nonexistent failed (error -2).");
}

#[test]
fn without_an_init_in_the_archive_a_root_device_is_wanted() {
    for (case, parameters) in [("no-init", ""), ("bad-rdinit", "rdinit=/missing")] {
        let tree = guest_initramfs("/sbin/init");
        let mut guest = boot(case, &tree, parameters);
        expect_panic(
            &mut guest,
            "VFS: Unable to mount root fs on unknown-block(0,0)",
        );
    }
    let mut guest = Boot::new()
        .named("init_try_list-no-initramfs")
        .no_initramfs()
        .spawn();
    expect_panic(
        &mut guest,
        "VFS: Unable to mount root fs on unknown-block(0,0)",
    );
}

/// The panic for the want of a root: what was said before it.
#[track_caller]
fn log_without_root(case: &str, parameters: &str, device: &str) -> String {
    let mut guest = boot(case, &guest_initramfs("/sbin/init"), parameters);
    let panic = format!("VFS: Unable to mount root fs on {device}");
    expect_panic(&mut guest, &panic)
}

#[test]
fn a_root_that_cannot_be_opened_is_named() {
    for (case, parameters, name, device) in [
        ("root-none-given", "", "", "unknown-block(0,0)"),
        ("root-numbers", "root=8:1", "8:1", "unknown-block(8,1)"),
        (
            "root-hexadecimal",
            "root=0801",
            "0801",
            "unknown-block(8,1)",
        ),
        (
            "root-ram",
            "root=/dev/ram rw",
            "/dev/ram",
            "unknown-block(1,0)",
        ),
        (
            "root-name",
            "root=/dev/vda1 ro rootfstype=ext4",
            "/dev/vda1",
            "unknown-block(0,0)",
        ),
        (
            "root-id",
            "root=PARTUUID=12-01",
            "PARTUUID=12-01",
            "unknown-block(0,0)",
        ),
    ] {
        let log = log_without_root(case, parameters, device);
        // Linux 6.1 left the folder out, and had no text for no name.
        let short = match name {
            "" => "(null)",
            name => name.trim_start_matches("/dev/"),
        };
        assert!(
            [name, short].iter().any(|name| log.contains(&format!(
                "VFS: Cannot open root device \"{name}\" or {device}: error -"
            ))),
            "{case}: {log}"
        );
        assert!(
            log.contains(
                "Please append a correct \"root=\" boot option; here are the available partitions:"
            ),
            "{case}: {log}"
        );
    }
}

#[test]
fn the_root_device_is_waited_for() {
    let log = log_without_root(
        "rootwait",
        "root=/dev/vda1 rootwait=2 rootdelay=1",
        "unknown-block(0,0)",
    );
    let delay = time_of(&log, "Waiting 1 sec before mounting root device...");
    let wait = time_of(&log, "Waiting for root device /dev/vda1...");
    let end = time_of(&log, "VFS: Cannot open root device");
    assert!((1.0..1.9).contains(&(wait - delay)), "{log}");
    assert!((2.0..2.9).contains(&(end - wait)), "{log}");
    let log = log_without_root("rootwait-none", "root=none rootwait", "unknown-block(0,0)");
    assert!(
        log.contains("Disabling rootwait; root= is invalid."),
        "{log}"
    );
}

/// The seconds in front of a message.
#[track_caller]
fn time_of(log: &str, message: &str) -> f64 {
    let line = log.lines().find(|line| line.contains(message));
    let time = line.and_then(|line| line.split(['[', ']']).nth(1)?.trim().parse().ok());
    time.unwrap_or_else(|| panic!("no time of {message:?} in {log}"))
}

#[test]
fn a_file_system_without_a_device_can_be_the_root() {
    for (case, parameters, mounted) in [
        (
            "tmpfs",
            "root=none rootfstype=tmpfs rw",
            "tmpfs filesystem) on",
        ),
        (
            "tmpfs-ro",
            "root=tmpfs rootfstype=ext4,tmpfs",
            "tmpfs filesystem) readonly on",
        ),
        (
            "ramfs",
            "root=none rootfstype=ramfs rw rootflags=mode=700",
            "ramfs filesystem) on",
        ),
    ] {
        // The archive's program is out of reach when the empty root covers it.
        let case = format!("root-{case}");
        let parameters = format!("devtmpfs.mount=1 {parameters}");
        let mut guest = boot(&case, &guest_initramfs("/sbin/init"), &parameters);
        guest.expect(&format!("VFS: Mounted root ({mounted} device 0:"));
        guest.expect("devtmpfs: error mounting -2");
        expect_panic(&mut guest, "No working init found.");
    }
}

#[test]
fn the_end_of_init_is_a_panic_with_its_status() {
    for (then, code) in [("exit", "0x00000100"), ("segv", "0x0000000b")] {
        let mut guest = boot(then, &guest_initramfs("/init"), &format!("then={then}"));
        let text = format!("Attempted to kill init! exitcode={code}");
        expect_panic(&mut guest, &text);
    }
}

#[test]
fn words_become_arguments_and_assignments_become_variables() {
    let mut guest = boot(
        "arguments",
        &guest_initramfs("/init"),
        "foo=bar word quiet TERM=vt100 \"text=with blanks\" -- after -dash=x quiet",
    );
    let report = report(&mut guest);
    assert!(
        report.contains(r#"arguments ["/init", "word", "after", "-dash=x", "quiet"]"#),
        "{report}"
    );
    for variable in ["HOME=/", "TERM=vt100", "foo=bar", "text=with blanks"] {
        assert!(
            report.contains(&format!("variable {variable}\n")),
            "{variable}: {report}"
        );
    }
    assert!(
        report.contains("word quiet TERM=vt100 \"text=with blanks\" -- after -dash=x quiet\n"),
        "{report}"
    );
    for fd in 0..3 {
        assert!(
            report.contains(&format!("descriptor {fd} is /dev/console\n")),
            "{report}"
        );
    }
}

#[test]
fn parameters_that_the_kernel_does_not_know_are_listed() {
    let mut guest = boot(
        "unknown",
        &guest_initramfs("/init"),
        "word foo=bar some.module=1 -- after",
    );
    guest.expect(
        "Unknown kernel command line parameters \"word foo=bar\", will be passed to user space.",
    );
    report(&mut guest);
}

#[test]
fn too_many_arguments_are_a_panic() {
    let tree = guest_initramfs("/init");
    let numbered = |form: &dyn Fn(u32) -> String| (1..=40).map(form).collect::<Vec<_>>().join(" ");
    let mut guest = boot("many-words", &tree, &numbered(&|i| format!("w{i}")));
    expect_panic(&mut guest, "Too many boot init vars at `w33'");
    drop(guest);
    let mut guest = boot("many-variables", &tree, &numbered(&|i| format!("v{i}=1")));
    expect_panic(&mut guest, "Too many boot env vars at `v32=1'");
}

#[test]
fn sysctl_parameters_are_set_before_the_first_program() {
    let mut guest = boot(
        "sysctl",
        &guest_initramfs("/init"),
        "sysctl.kernel.hostname=named sysctl.no.such.thing=1",
    );
    guest.expect("Failed to set sysctl parameter 'no.such.thing=1': parameter not found");
    let report = report(&mut guest);
    assert!(
        report.contains("/proc/sys/kernel/hostname: named\n"),
        "{report}"
    );
}

#[test]
fn a_panic_restarts_the_machine_after_the_time_that_was_asked_for() {
    let mut guest = Boot::new()
        .whole_cmdline(Some("console=ttyS0 panic=1 then=exit"))
        .initramfs(&guest_initramfs("/init"))
        .spawn();
    expect_panic(&mut guest, "Attempted to kill init!");
    guest.expect("Rebooting in 1 seconds..");
    assert_eq!(guest.wait(), Verdict::Restarted);
}
