//! What boots: built once per process and shared by its tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use boot_image::setup::{self, Need, Toolchain};
use boot_image::{DiskTool, FileContext, Initramfs, Kernel, Programs, Result, Workspace, rootfs};

/// The source tree.
pub static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::find);

/// Turns an error of the builder into a failed test.
pub fn or_fail<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// Names a ready-built kernel that takes the place of ours, so that a test can be tried on Linux itself: what fails
/// there is wrong in the test. For direct boots only.
const OTHER_KERNEL: &str = "KINDLING_TEST_KERNEL";

/// The kernel with the given features.
pub fn kernel(features: &[&'static str]) -> Kernel {
    if let Some(file) = std::env::var_os(OTHER_KERNEL) {
        return Kernel::ready_built(Path::new(&file));
    }
    static KERNELS: Mutex<Option<HashMap<Vec<&'static str>, Kernel>>> = Mutex::new(None);
    let mut kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    kernels
        .get_or_insert_default()
        .entry(features.to_vec())
        .or_insert_with(|| or_fail(Kernel::build(&WORKSPACE, toolchain(), features)))
        .clone()
}

/// Linux gives up if the timer of a busy emulator seems not to tick, unless it is told not to look.
pub fn adapted_cmdline(cmdline: String) -> String {
    match std::env::var_os(OTHER_KERNEL) {
        Some(_) => format!("no_timer_check {cmdline}"),
        None => cmdline,
    }
}

/// The tree of the default initramfs.
pub fn default_tree() -> Initramfs {
    static TREE: OnceLock<Initramfs> = OnceLock::new();
    let build = || {
        or_fail(programs().and_then(|programs| rootfs::default_initramfs(&WORKSPACE, &programs)))
    };
    TREE.get_or_init(build).clone()
}

/// The program of the tests that runs inside the machine.
pub fn guest_program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let file = or_fail(Programs::build_package(&WORKSPACE, toolchain(), "guest")).path("guest");
        or_fail(std::fs::read(&file).doing("read", &file))
    })
}

/// Writes a disk image.
pub fn write_disk_image(kernel: &Kernel, initramfs: &Path, output: &Path) {
    static TOOL: OnceLock<DiskTool> = OnceLock::new();
    let build = || {
        toolchain();
        or_fail(DiskTool::build(&WORKSPACE))
    };
    or_fail(
        TOOL.get_or_init(build)
            .write(&kernel.image, initramfs, output),
    );
}

/// A folder for the logs.
pub fn log_folder() -> PathBuf {
    or_fail(WORKSPACE.target_dir("tests"))
}

/// Writes a file of a test.
pub fn write(file: &Path, bytes: &[u8]) {
    or_fail(std::fs::write(file, bytes).doing("write", file));
}

fn programs() -> Result<Programs> {
    Programs::build(&WORKSPACE, toolchain())
}

fn toolchain() -> &'static Toolchain {
    static TOOLCHAIN: OnceLock<Toolchain> = OnceLock::new();
    TOOLCHAIN.get_or_init(|| {
        or_fail(setup::packages(&Need::ALL));
        or_fail(setup::toolchain(&WORKSPACE))
    })
}
