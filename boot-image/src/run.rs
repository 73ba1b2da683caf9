//! `cargo run`: build, boot, hand the terminal to the guest.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::RunOptions;
use crate::command::start_error;
use crate::compress::Compression;
use crate::disk_image::DiskTool;
use crate::error::{Error, Result, check_readable};
use crate::kernel_build::Kernel;
use crate::machine::{dying_with_parent, wait_for};
use crate::outcome::Outcome;
use crate::progress::say;
use crate::qemu::{
    DEFAULT_CMDLINE, EXIT_PARAMETER, Firmware, GDB_PORT, Media, QemuCommand, Serial,
};
use crate::setup::{self, Need};
use crate::terminal::TerminalGuard;
use crate::workspace::Workspace;
use crate::{image, rootfs, userspace_build};

/// Exit status of the deadline, as of the program `timeout`.
const STATUS_DEADLINE: u8 = 124;
const STATUS_PANIC: u8 = 1;

/// Builds what is needed, boots it, and returns the exit status of the whole command.
pub fn run(workspace: &Workspace, options: &RunOptions) -> Result<u8> {
    for file in options.kernel.iter().chain(&options.initramfs) {
        check_readable(file)?;
    }
    check_memory(options)?;
    setup::packages(&needs(options))?;
    let toolchain = setup::toolchain(workspace)?;
    let kernel = match &options.kernel {
        Some(file) => Kernel::ready_built(file),
        None => Kernel::build(workspace, &toolchain, &[])?,
    };
    let media = media(workspace, &toolchain, &kernel, options)?;
    let qemu = QemuCommand {
        cmdline: Some(cmdline(options)),
        smp: options.smp,
        memory: options.memory.to_string(),
        display: options.display.clone(),
        serial: Serial::Terminal,
        gdb: options.gdb.then(|| GDB_PORT.into()),
        extra: options.qemu_args.clone(),
        reset_log: Some(workspace.target_dir("boot")?.join("resets.log")),
        ..QemuCommand::new(media)
    };
    announce(options, &kernel);
    boot(&qemu, options.timeout.map(Duration::from_secs)).and_then(exit_status)
}

/// With too little memory the boot loader ends in a panic that does not say so. How much other files need is not known.
fn check_memory(options: &RunOptions) -> Result<()> {
    let Some(sentence) = options.memory.too_little_for(options.firmware) else {
        return Ok(());
    };
    if options.kernel.is_some() || options.initramfs.is_some() {
        say(&format!("warning: {sentence}"));
        return Ok(());
    }
    Err(Error::Other(sentence))
}

fn needs(options: &RunOptions) -> Vec<Need> {
    let mut needs = vec![Need::Qemu, Need::CLibrary];
    if options.initramfs.is_none() {
        needs.push(Need::Busybox);
    }
    if options.firmware == Firmware::Uefi {
        needs.push(Need::Ovmf);
    }
    if matches!(options.display.split(',').next(), Some("gtk" | "sdl")) {
        needs.push(Need::QemuWindow);
    }
    needs
}

fn media(
    workspace: &Workspace,
    toolchain: &setup::Toolchain,
    kernel: &Kernel,
    options: &RunOptions,
) -> Result<Media> {
    let initramfs = |compression| match &options.initramfs {
        Some(file) => Ok(file.clone()),
        None => default_initramfs(workspace, toolchain, compression),
    };
    if options.firmware == Firmware::Direct {
        return Ok(Media::Direct {
            kernel: kernel.image.clone(),
            initramfs: Some(initramfs(Compression::None)?),
        });
    }
    let initramfs = initramfs(Compression::Gzip)?;
    let image = workspace.target_dir("boot")?.join("run.img");
    DiskTool::build(workspace)?.write(&kernel.image, &initramfs, &image)?;
    Ok(Media::Disk {
        image,
        firmware: options.firmware,
    })
}

/// Builds our own initramfs and returns its file.
pub fn default_initramfs(
    workspace: &Workspace,
    toolchain: &setup::Toolchain,
    compression: Compression,
) -> Result<PathBuf> {
    let programs = userspace_build::Programs::build(workspace, toolchain)?;
    let archive = rootfs::default_initramfs(workspace, &programs)?.to_cpio();
    let name = if compression == Compression::None {
        "initramfs.cpio"
    } else {
        "initramfs.cpio.gz"
    };
    let file = workspace.target_dir("boot")?.join(name);
    image::write_into_place(&file, &compression.apply(archive)?)?;
    Ok(file)
}

/// The default parameters, the user's, and the one that ends QEMU after a panic. The console that comes last has the
/// shell: with a window that is the screen.
fn cmdline(options: &RunOptions) -> String {
    let consoles = if options.display == "none" {
        DEFAULT_CMDLINE
    } else {
        "console=ttyS0 console=tty0"
    };
    let mut cmdline = format!("{consoles} {EXIT_PARAMETER}");
    if let Some(append) = &options.append {
        cmdline = format!("{cmdline} {append}");
    }
    cmdline
}

fn announce(options: &RunOptions, kernel: &Kernel) {
    if options.gdb {
        say(&format!(
            "QEMU waits for a debugger: gdb {} -ex 'target remote :1234'",
            kernel.elf.display()
        ));
    }
    say(
        "starting QEMU. Ctrl-C goes to the guest; to leave, type poweroff, or press Ctrl-A and then X.",
    );
}

fn boot(qemu: &QemuCommand, timeout: Option<Duration>) -> Result<Outcome> {
    let _guard = TerminalGuard::new();
    // QEMU gives the terminal back when it is asked to end, so it is asked.
    let mut command = dying_with_parent(&qemu.command()?, "TERM");
    let mut child = command
        .spawn()
        .map_err(|source| start_error(&command, source))?;
    Ok(qemu.outcome(wait_for(&mut child, timeout)?))
}

fn exit_status(outcome: Outcome) -> Result<u8> {
    match outcome {
        Outcome::PoweredOff | Outcome::Passed => Ok(0),
        Outcome::Panicked => {
            say("the kernel panicked.");
            Ok(STATUS_PANIC)
        }
        Outcome::TripleFault => {
            say(
                "the processor stopped with a triple fault; target/boot/resets.log has its registers.",
            );
            Ok(STATUS_PANIC)
        }
        Outcome::DeadlineReached => {
            say("the machine still ran at the deadline.");
            Ok(STATUS_DEADLINE)
        }
        Outcome::Failed(Some(status)) => {
            Err(Error::Other(format!("QEMU ended with status {status}")))
        }
        Outcome::Failed(None) => Err(Error::Other("QEMU was ended by a signal".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn options(arguments: &[&str]) -> RunOptions {
        Cli::parse_from([&["boot-image"], arguments].concat()).run
    }

    #[test]
    fn the_users_parameters_come_last_so_that_they_win() {
        let options = options(&["--append", "console=ttyS1 quiet"]);
        assert_eq!(
            cmdline(&options),
            "console=tty0 console=ttyS0 kindling.qemu_exit console=ttyS1 quiet"
        );
    }

    #[test]
    fn too_little_memory_is_refused_unless_the_files_are_the_users() {
        let small = ["--firmware", "uefi", "--memory", "32M"];
        let error = check_memory(&options(&small)).unwrap_err().to_string();
        assert!(error.contains("needs at least"), "{error}");
        let own = [&small[..], &["--initramfs", "x"]].concat();
        assert!(check_memory(&options(&own)).is_ok());
        assert!(check_memory(&options(&[])).is_ok());
    }

    #[test]
    fn only_what_a_boot_uses_is_needed() {
        assert_eq!(
            needs(&options(&["--initramfs", "x"])),
            [Need::Qemu, Need::CLibrary]
        );
        assert!(needs(&options(&["--firmware", "uefi"])).contains(&Need::Ovmf));
        assert!(
            needs(&options(&["--display", "gtk,grab-on-hover=on"])).contains(&Need::QemuWindow)
        );
        for other in ["none", "vnc=:1", "curses", "gkt"] {
            assert!(!needs(&options(&["--display", other])).contains(&Need::QemuWindow));
        }
    }

    #[test]
    fn the_exit_status_is_the_documented_one() {
        assert_eq!(exit_status(Outcome::PoweredOff).unwrap(), 0);
        assert_eq!(exit_status(Outcome::Panicked).unwrap(), 1);
        assert_eq!(exit_status(Outcome::DeadlineReached).unwrap(), 124);
        assert!(exit_status(Outcome::Failed(Some(1))).is_err());
    }
}
