//! The description of a boot.

use std::path::{Path, PathBuf};

use boot_image::qemu::{DEFAULT_CMDLINE, EXIT_PARAMETER};
use boot_image::{Compression, Firmware, Initramfs, Machine, Media, QemuCommand, Qmp, Serial};
use tempfile::TempDir;

use crate::artifacts::{self, or_fail};
use crate::gdb::GDB_SOCKET;
use crate::guest::Guest;
use crate::slot::Slot;

/// A machine to be booted: by default directly, with one CPU, 256 MiB and the initramfs that `cargo run` boots.
#[derive(Debug)]
#[must_use]
pub struct Boot {
    name: String,
    cmdline: Option<String>,
    initramfs: Archive,
    features: Vec<&'static str>,
    firmware: Firmware,
    disk: Option<PathBuf>,
    smp: u32,
    memory: String,
    serial: Serial,
    debugged: bool,
    qemu_args: Vec<String>,
}

/// The initramfs of a boot.
#[derive(Debug)]
enum Archive {
    Default,
    Bytes(Vec<u8>),
    None,
}

impl Default for Boot {
    fn default() -> Self {
        Self::new()
    }
}

impl Boot {
    /// The usual machine. Its log is named after the running test.
    pub fn new() -> Self {
        let thread = std::thread::current();
        Self {
            name: thread.name().unwrap_or("unnamed").replace("::", "-"),
            cmdline: Some(format!("{DEFAULT_CMDLINE} {EXIT_PARAMETER}")),
            initramfs: Archive::Default,
            features: Vec::new(),
            firmware: Firmware::Direct,
            disk: None,
            smp: 1,
            memory: "256M".into(),
            serial: Serial::Pipe,
            debugged: false,
            qemu_args: Vec::new(),
        }
    }

    /// Another name for the log: a test that boots several machines names each.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// More kernel parameters, after the usual ones.
    pub fn cmdline(mut self, parameters: &str) -> Self {
        let usual = self.cmdline.unwrap_or_default();
        self.cmdline = Some(format!("{usual} {parameters}"));
        self
    }

    /// Exactly this command line, or none at all. Without [`EXIT_PARAMETER`] a panic is seen only at the deadline.
    pub fn whole_cmdline(mut self, cmdline: Option<&str>) -> Self {
        self.cmdline = cmdline.map(str::to_owned);
        self
    }

    /// This tree as initramfs.
    pub fn initramfs(self, tree: &Initramfs) -> Self {
        self.initramfs_bytes(tree.to_cpio())
    }

    /// This tree as a compressed initramfs.
    pub fn compressed_initramfs(self, tree: &Initramfs, compression: Compression) -> Self {
        self.initramfs_bytes(or_fail(compression.apply(tree.to_cpio())))
    }

    /// These bytes as initramfs, whatever they are.
    pub fn initramfs_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.initramfs = Archive::Bytes(bytes);
        self
    }

    /// No initramfs.
    pub fn no_initramfs(mut self) -> Self {
        self.initramfs = Archive::None;
        self
    }

    /// A kernel with the features of tests: probe initcalls and self-tests.
    pub fn boot_tests(mut self) -> Self {
        self.features = vec!["boot-tests"];
        self
    }

    /// Who loads the kernel.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// This disk image, as it is: its kernel, its initramfs, and no command line but its own.
    pub fn disk_image(mut self, image: &Path, firmware: Firmware) -> Self {
        self.disk = Some(image.into());
        self.firmware(firmware).whole_cmdline(None)
    }

    /// Number of CPUs.
    pub fn smp(mut self, cpus: u32) -> Self {
        self.smp = cpus;
        self
    }

    /// Memory, as QEMU writes it.
    pub fn memory(mut self, memory: &str) -> Self {
        self.memory = memory.into();
        self
    }

    /// No serial port: there is nothing to [`Guest::expect`], but there are the screen and the verdict.
    pub fn no_serial(mut self) -> Self {
        self.serial = Serial::Absent;
        self
    }

    /// The machine waits at its first instruction for [`Guest::debugger`].
    pub fn debugged(mut self) -> Self {
        self.debugged = true;
        self
    }

    /// One more argument for QEMU.
    pub fn qemu_arg(mut self, argument: &str) -> Self {
        self.qemu_args.push(argument.into());
        self
    }

    /// Builds what is missing, waits for a free place, and starts the machine.
    pub fn spawn(self) -> Guest {
        let files =
            tempfile::tempdir().unwrap_or_else(|error| panic!("cannot create a folder: {error}"));
        let media = self.media(&files);
        let qmp = files.path().join("qmp");
        let gdb = self.debugged.then(|| files.path().join(GDB_SOCKET));
        let qemu = QemuCommand {
            cmdline: self.cmdline.map(artifacts::adapted_cmdline),
            smp: self.smp,
            memory: self.memory,
            serial: self.serial,
            qmp: Some(qmp.clone()),
            gdb: gdb.map(|path| format!("unix:{},server=on,wait=off", path.display())),
            reset_log: Some(files.path().join("resets")),
            extra: self.qemu_args,
            ..QemuCommand::new(media)
        };
        let slot = Slot::wait_in(&artifacts::log_folder());
        let log = artifacts::log_folder().join(format!("{}.log", self.name));
        let mut machine = or_fail(Machine::start(&qemu, Some(&log)));
        let qmp = Qmp::connect(&qmp, || machine.is_running()).unwrap_or_else(|error| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("{error}; QEMU said: {said}")
        });
        Guest::new(machine, qmp, log, (files, slot))
    }

    fn media(&self, files: &TempDir) -> Media {
        if let Some(image) = &self.disk {
            return Media::Disk {
                image: image.clone(),
                firmware: self.firmware,
            };
        }
        let kernel = artifacts::kernel(&self.features);
        let initramfs = self.write_initramfs(files.path());
        if self.firmware == Firmware::Direct {
            return Media::Direct {
                kernel: kernel.image.clone(),
                initramfs,
            };
        }
        let image = files.path().join("disk.img");
        let initramfs = initramfs.expect("a disk image has an initramfs");
        artifacts::write_disk_image(&kernel, &initramfs, &image);
        Media::Disk {
            image,
            firmware: self.firmware,
        }
    }

    /// Writes the archive; on a disk the default one is compressed, as in the images that people boot.
    fn write_initramfs(&self, folder: &Path) -> Option<PathBuf> {
        let compression = match self.firmware {
            Firmware::Direct => Compression::None,
            Firmware::Bios | Firmware::Uefi => Compression::Gzip,
        };
        let file = folder.join("initramfs");
        match &self.initramfs {
            Archive::Default => {
                let archive = artifacts::default_tree().to_cpio();
                artifacts::write(&file, &or_fail(compression.apply(archive)));
            }
            Archive::Bytes(bytes) => artifacts::write(&file, bytes),
            Archive::None => return None,
        }
        Some(file)
    }
}
