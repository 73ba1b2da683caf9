//! What `cargo run` and its commands do for the person who types them.

use std::path::PathBuf;
use std::process::Output;

use tests::{Boot, Firmware, Initramfs, Verdict, cargo_run, cargo_run_machine, script_initramfs};

/// A test's files; they go with it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    /// The tree as an archive for `--initramfs`.
    fn archive(&self, tree: &Initramfs) -> String {
        let file = self.path("initramfs.cpio");
        std::fs::write(&file, tree.to_cpio()).expect("the archive is written");
        file.display().to_string()
    }
}

/// Boots the tree directly with `cargo run`.
fn run(tree: &Initramfs, arguments: &[&str]) -> Output {
    let files = Files::new();
    let archive = files.archive(tree);
    let usual = ["run", "--firmware", "direct", "--initramfs", &archive];
    cargo_run_machine(&[&usual, arguments].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn expect_status(output: &Output, status: i32) {
    let (out, err) = (stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
}

#[test]
fn a_power_off_is_success_and_standard_output_is_the_console_alone() {
    let tree = script_initramfs(
        "mount -t proc proc /proc; echo \"line: $(cat /proc/cmdline)\"; poweroff -f\n",
    )
    .dir("/proc", 0o555);
    let output = run(&tree, &["--append", "my.key=seven"]);
    expect_status(&output, 0);
    let console = stdout(&output);
    assert!(
        console.starts_with("[    0.000000] Linux version "),
        "{console}"
    );
    assert!(
        console.contains("\nline: console=tty0 console=ttyS0 kindling.qemu_exit my.key=seven\n"),
        "{console}"
    );
    // Kernel lines have a time; between them is what the script printed, and nothing else.
    let others: Vec<&str> = console
        .lines()
        .filter(|line| !line.starts_with('['))
        .collect();
    assert!(others.len() == 1, "{others:?}");
    assert!(stderr(&output).contains("boot-image: starting QEMU."));
}

#[test]
fn a_panic_is_status_1() {
    let output = run(&Initramfs::new(), &[]);
    expect_status(&output, 1);
    assert!(stdout(&output).contains("Kernel panic - not syncing: VFS: "));
    assert!(stderr(&output).contains("boot-image: the kernel panicked."));
}

#[test]
fn the_deadline_is_status_124() {
    let output = run(&script_initramfs("sleep 1000"), &["--timeout", "5"]);
    expect_status(&output, 124);
    assert!(stdout(&output).contains("Run /init as init process"));
    assert!(stderr(&output).contains("the machine still ran at the deadline."));
}

#[test]
fn an_error_of_the_builder_is_status_2_and_a_sentence() {
    for (arguments, sentence) in [
        (
            &["--initramfs", "/does/not/exist"][..],
            "cannot read /does/not/exist",
        ),
        (
            &["--kernel", "/does/not/exist"],
            "cannot read /does/not/exist",
        ),
        (
            &["--firmware", "direct", "--qemu-arg", "-no-such-option"],
            "QEMU ended with status 1",
        ),
        (&["image", "--initramfs", "/"], "cannot read /"),
    ] {
        let output = cargo_run_machine(arguments);
        expect_status(&output, 2);
        assert_eq!(stdout(&output), "", "{arguments:?}");
        let said = stderr(&output);
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("boot-image: ") && last.contains(sentence),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn the_image_boots_under_bios_and_uefi_with_the_parameters_that_were_put_in() {
    let files = Files::new();
    let image = files.path("stick.img");
    let parameters = "console=tty0 console=ttyS0 my.key=seven";
    let file = image.display().to_string();
    let output = cargo_run(&["image", "--output", &file, "--append", parameters]);
    expect_status(&output, 0);
    assert!(stdout(&output).contains(&format!("sudo dd if={file} of=/dev/sdX")));
    for (case, firmware) in [("bios", Firmware::Bios), ("uefi", Firmware::Uefi)] {
        let mut guest = Boot::new()
            .named(&format!("cli-image-{case}"))
            .disk_image(&image, firmware)
            .spawn();
        guest.expect_prompt();
        let line = guest.command("cat /proc/cmdline");
        assert_eq!(line.trim_end(), parameters, "{case}");
        guest.send("poweroff\n");
        assert_eq!(guest.wait(), Verdict::PoweredOff);
    }
}
