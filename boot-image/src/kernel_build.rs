//! Building the kernel for bare metal, with the compiler's library sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::command::capture;
use crate::error::{FileContext, Result};
use crate::kallsyms;
use crate::progress::Step;
use crate::setup::Toolchain;
use crate::workspace::Workspace;

/// The target of the kernel.
pub const TARGET: &str = "x86_64-unknown-none";
/// Folder of the build under `target`.
const TARGET_DIR: &str = "kernel";
/// Cargo's profile for the kernel, and the name of its folder.
const PROFILE: &str = "kernel";

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// With debug information, for gdb.
    pub elf: PathBuf,
    /// Without debug information but with its symbols, by which the kernel names functions in an oops. This is what
    /// boots.
    pub image: PathBuf,
}

impl Kernel {
    /// Builds the kernel with the given cargo features.
    pub fn build(workspace: &Workspace, toolchain: &Toolchain, features: &[&str]) -> Result<Self> {
        let _lock = workspace.lock("kernel")?;
        cargo::run(
            "Building the kernel",
            &mut build_command(workspace, features),
        )?;
        let built = workspace.target(&format!("{TARGET_DIR}/{TARGET}/{PROFILE}/vmlinux"));
        let kernel = Self::named(workspace, features)?;
        // The next build with other features overwrites cargo's file, so keep a copy of each variant.
        if is_older(&kernel.image, &built) || is_older(&kernel.elf, &built) {
            copy_into_place(&built, &kernel.elf)?;
            kallsyms::fill(&kernel.elf)?;
            strip_debug(toolchain, &kernel.elf, &kernel.image)?;
        }
        Ok(kernel)
    }

    /// A kernel from elsewhere, taken as it is.
    pub fn ready_built(file: &Path) -> Self {
        Self {
            elf: file.to_owned(),
            image: file.to_owned(),
        }
    }

    /// The address of a function, by its name without the path: `start_kernel`.
    pub fn address_of(&self, function: &str) -> Result<u64> {
        kallsyms::address_of(&self.elf, function)
    }

    fn named(workspace: &Workspace, features: &[&str]) -> Result<Self> {
        let mut name = String::from("vmlinux");
        for feature in features {
            name.push('-');
            name.push_str(feature);
        }
        let folder = workspace.target_dir("boot")?;
        Ok(Self {
            image: folder.join(format!("{name}.stripped")),
            elf: folder.join(name),
        })
    }
}

/// The one place that knows how the kernel is compiled: `subcommand` is `build` or `clippy`.
pub fn kernel_command(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = cargo::command(workspace, subcommand, TARGET_DIR);
    command.args(["-p", "kernel", "--profile", PROFILE, "--target", TARGET]);
    command.args([
        "-Zbuild-std=core,alloc,compiler_builtins",
        "-Zbuild-std-features=compiler-builtins-mem",
    ]);
    cargo::allow_unstable(&mut command);
    command
}

fn build_command(workspace: &Workspace, features: &[&str]) -> Command {
    let mut command = kernel_command(workspace, "build");
    command.args(["--bin", "vmlinux"]);
    if !features.is_empty() {
        command.arg("--features").arg(features.join(","));
    }
    command
}

/// Whether `made` must be made again because `source` is newer, or was never made.
fn is_older(made: &Path, source: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    match (time(made), time(source)) {
        (Ok(made), Ok(source)) => made < source,
        _ => true,
    }
}

/// Copies by way of a temporary name: a QEMU that runs with the old file keeps it whole.
fn copy_into_place(from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("partial");
    std::fs::copy(from, &partial).doing("copy", from)?;
    std::fs::rename(&partial, to).doing("create", to)
}

fn strip_debug(toolchain: &Toolchain, elf: &Path, image: &Path) -> Result<()> {
    let mut step = Step::new("Stripping the kernel");
    step.note("");
    let partial = image.with_extension("partial");
    let mut objcopy = toolchain.tool("rust-objcopy");
    objcopy.arg("--strip-debug").arg(elf).arg(&partial);
    capture("stripping the kernel", &mut objcopy)?;
    std::fs::rename(&partial, image).doing("create", image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_inner_build_may_use_unstable_flags() {
        let command = build_command(&Workspace::find(), &[]);
        let environment: Vec<_> = command.get_envs().collect();
        assert!(environment.contains(&("RUSTC_BOOTSTRAP".as_ref(), Some("1".as_ref()))));
        assert!(environment.contains(&("RUSTFLAGS".as_ref(), None)));
    }

    #[test]
    fn variants_have_files_of_their_own() {
        let workspace = Workspace::find();
        let plain = Kernel::named(&workspace, &[]).unwrap();
        let testing = Kernel::named(&workspace, &["boot-tests"]).unwrap();
        assert_ne!(plain.elf, testing.elf);
        assert_ne!(plain.image, testing.image);
        assert_ne!(plain.image, plain.elf);
    }

    #[test]
    fn a_file_that_was_never_made_is_out_of_date() {
        assert!(is_older(
            Path::new("/no/such/file"),
            Path::new("/etc/passwd")
        ));
    }
}
