//! The QEMU command line of a machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::setup::find_ovmf;

/// The parameters of every boot: the screen and the serial port show the log, the serial port has the shell.
pub const DEFAULT_CMDLINE: &str = "console=tty0 console=ttyS0";
/// Tells the kernel to end QEMU after a panic. Only this runner gives it: on a real machine the panic must stay on the
/// screen.
pub const EXIT_PARAMETER: &str = "kindling.qemu_exit";
/// Port 1234, where gdb's documents and `--gdb` expect QEMU.
pub const GDB_PORT: &str = "tcp::1234";
/// The item of QEMU's firmware configuration device in which the kernel looks for its command line.
const CMDLINE_ITEM: &str = "opt/kindling/cmdline";

/// Who loads the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Firmware {
    /// SeaBIOS, from the disk image.
    Bios,
    /// OVMF, from the same disk image.
    Uefi,
    /// QEMU itself (`-kernel`, by the PVH entry): no firmware, no image, fastest.
    Direct,
}

/// What the machine boots.
#[derive(Clone, Debug)]
pub enum Media {
    /// Kernel and initramfs as files.
    Direct {
        /// The stripped kernel.
        kernel: PathBuf,
        /// The archive, if any.
        initramfs: Option<PathBuf>,
    },
    /// A disk image on the SATA controller.
    Disk {
        /// The image. The guest's writes to it are dropped.
        image: PathBuf,
        /// Whether UEFI firmware loads it.
        firmware: Firmware,
    },
}

/// Where the guest's first serial port goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// To the person at the terminal. Ctrl-A X leaves, every other key is the guest's.
    Terminal,
    /// To standard input and output, byte for byte.
    Pipe,
    /// The machine has no serial port.
    Absent,
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct QemuCommand {
    /// What to boot.
    pub media: Media,
    /// The kernel's command line; none leaves the kernel to its other sources.
    pub cmdline: Option<String>,
    /// Number of CPUs.
    pub smp: u32,
    /// Memory, as QEMU writes it: `256M`.
    pub memory: String,
    /// QEMU's display, for example `none` or `gtk`.
    pub display: String,
    /// The first serial port.
    pub serial: Serial,
    /// Where to wait for a debugger, as QEMU writes it: [`GDB_PORT`].
    pub gdb: Option<String>,
    /// Whether one tick of the clock is one instruction, so that runs repeat exactly.
    pub counted: bool,
    /// A socket for QEMU's machine protocol.
    pub qmp: Option<PathBuf>,
    /// A file for QEMU's record of processor resets, by which [`QemuCommand::outcome`] knows a triple fault.
    pub reset_log: Option<PathBuf>,
    /// More arguments, which come last and so win.
    pub extra: Vec<String>,
}

impl QemuCommand {
    /// A machine with one CPU, 256 MiB and no display, on pipes.
    pub fn new(media: Media) -> Self {
        Self {
            media,
            cmdline: Some(format!("{DEFAULT_CMDLINE} {EXIT_PARAMETER}")),
            smp: 1,
            memory: "256M".into(),
            display: "none".into(),
            serial: Serial::Pipe,
            gdb: None,
            counted: false,
            qmp: None,
            reset_log: None,
            extra: Vec::new(),
        }
    }

    /// The program with its arguments.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(self.arguments()?);
        Ok(command)
    }

    /// Corrects an outcome: with its status alone, QEMU calls a triple fault a clean end.
    pub fn outcome(&self, by_status: Outcome) -> Outcome {
        let log = self.reset_log.as_deref().map(std::fs::read_to_string);
        match (by_status, log) {
            (Outcome::PoweredOff, Some(Ok(log))) if log.contains("Triple fault") => {
                Outcome::TripleFault
            }
            _ => by_status,
        }
    }

    fn arguments(&self) -> Result<Vec<OsString>> {
        let mut list = Arguments::default();
        list.add(&[
            "-machine",
            "q35",
            "-cpu",
            "max",
            "-smp",
            &self.smp.to_string(),
            "-m",
            &self.memory,
        ]);
        list.add(&["-display", &self.display, "-nic", "none", "-no-reboot"]);
        list.add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        list.add(self.serial.arguments());
        self.media.add_to(&mut list)?;
        self.add_cmdline(&mut list);
        if self.counted {
            list.add(&[
                "-accel",
                "tcg",
                "-icount",
                "shift=0,sleep=off",
                "-seed",
                "1",
            ]);
            list.add(&["-rtc", "base=2024-01-01,clock=vm"]);
        }
        if let Some(device) = &self.gdb {
            list.add(&["-S", "-gdb", device]);
        }
        if let Some(socket) = &self.qmp {
            list.option("-qmp", "unix:", socket, ",server=on,wait=off");
        }
        if let Some(file) = &self.reset_log {
            list.add(&["-d", "cpu_reset", "-D"]);
            list.0.push(file.into());
        }
        list.0.extend(self.extra.iter().map(OsString::from));
        Ok(list.0)
    }

    fn add_cmdline(&self, list: &mut Arguments) {
        let Some(cmdline) = &self.cmdline else { return };
        match self.media {
            Media::Direct { .. } => list.add(&["-append", cmdline]),
            Media::Disk { .. } => {
                let item = format!("name={CMDLINE_ITEM},string={}", escape_commas(cmdline));
                list.add(&["-fw_cfg", &item]);
            }
        }
    }
}

impl Serial {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Terminal => &[
                "-chardev",
                "stdio,id=console,mux=on,signal=off",
                "-serial",
                "chardev:console",
                "-mon",
                "chardev=console,mode=readline",
            ],
            Self::Pipe => &[
                "-chardev",
                "stdio,id=console,signal=off",
                "-serial",
                "chardev:console",
                "-monitor",
                "none",
            ],
            Self::Absent => &["-serial", "none", "-monitor", "none"],
        }
    }
}

impl Media {
    fn add_to(&self, list: &mut Arguments) -> Result<()> {
        match self {
            Self::Direct { kernel, initramfs } => {
                list.option("-kernel", "", kernel, "");
                if let Some(initramfs) = initramfs {
                    list.option("-initrd", "", initramfs, "");
                }
            }
            Self::Disk { image, firmware } => {
                if *firmware == Firmware::Uefi {
                    add_uefi(list)?;
                }
                list.option(
                    "-drive",
                    "id=disk,if=none,format=raw,snapshot=on,file=",
                    image,
                    "",
                );
                list.add(&["-device", "ide-hd,drive=disk,bus=ide.0,bootindex=0"]);
            }
        }
        Ok(())
    }
}

/// The firmware's code is only read; its variables are written to a copy that vanishes.
fn add_uefi(list: &mut Arguments) -> Result<()> {
    let (code, variables) = find_ovmf()
        .ok_or_else(|| Error::Other("the UEFI firmware (OVMF) is not installed".into()))?;
    list.option(
        "-drive",
        "if=pflash,format=raw,unit=0,readonly=on,file=",
        &code,
        "",
    );
    list.option(
        "-drive",
        "if=pflash,format=raw,unit=1,snapshot=on,file=",
        &variables,
        "",
    );
    Ok(())
}

/// A growing list of arguments.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    /// An option whose value holds a path.
    fn option(&mut self, name: &str, before: &str, path: &Path, after: &str) {
        let mut value = OsString::from(before);
        let escape = !before.is_empty();
        match path.to_str() {
            Some(path) if escape => value.push(escape_commas(path)),
            _ => value.push(path),
        }
        value.push(after);
        self.0.push(name.into());
        self.0.push(value);
    }
}

/// In a list of QEMU options a comma within a value is written twice.
fn escape_commas(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(command: &QemuCommand) -> String {
        let words: Vec<_> = command
            .arguments()
            .unwrap()
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    fn direct() -> QemuCommand {
        QemuCommand::new(Media::Direct {
            kernel: "k".into(),
            initramfs: Some("a,b".into()),
        })
    }

    fn disk() -> QemuCommand {
        QemuCommand::new(Media::Disk {
            image: "a,b.img".into(),
            firmware: Firmware::Bios,
        })
    }

    #[test]
    fn a_direct_boot_appends_the_command_line() {
        let line = line(&direct());
        assert!(line.contains(
            "-kernel k -initrd a,b -append console=tty0 console=ttyS0 kindling.qemu_exit"
        ));
    }

    #[test]
    fn a_disk_boot_passes_the_command_line_by_the_configuration_device() {
        let mut command = disk();
        command.cmdline = Some("a=1,2".into());
        let line = line(&command);
        assert!(
            line.contains("-fw_cfg name=opt/kindling/cmdline,string=a=1,,2"),
            "{line}"
        );
        assert!(line.contains("file=a,,b.img"), "{line}");
    }

    #[test]
    fn the_exit_device_is_always_there_and_extra_arguments_come_last() {
        let mut command = direct();
        command.serial = Serial::Absent;
        command.extra = vec!["-cpu".into(), "qemu64".into()];
        let line = line(&command);
        assert!(line.contains("isa-debug-exit,iobase=0xf4"));
        assert!(line.contains("-serial none"));
        assert!(line.ends_with("-cpu qemu64"));
    }

    #[test]
    fn a_triple_fault_is_no_clean_end() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = direct();
        command.reset_log = Some(log.path().to_owned());
        assert_eq!(command.outcome(Outcome::PoweredOff), Outcome::PoweredOff);
        std::fs::write(log.path(), "CPU Reset (CPU 0)\nTriple fault\n").unwrap();
        assert_eq!(command.outcome(Outcome::PoweredOff), Outcome::TripleFault);
        assert_eq!(command.outcome(Outcome::Panicked), Outcome::Panicked);
    }
}
