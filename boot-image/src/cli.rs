//! The command line of `boot-image`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::memory::MemorySize;
use crate::qemu::Firmware;

/// Builds Kindling and boots it in QEMU.
///
/// Without a command it runs: `cargo run` and `cargo run -- run` are the same. Whatever the machine lacks is fetched or
/// built first, or named with the command to type.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "boot-image",
    bin_name = "cargo run --",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Action>,
    /// The options of `run`, which need not be named.
    #[command(flatten)]
    pub run: RunOptions,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Build everything and boot it (the default)
    Run(Box<RunOptions>),
    /// Write a disk image that boots under BIOS and UEFI
    Image(ImageOptions),
    /// Fetch and build what the other commands need, and nothing else
    Setup,
    /// Count the instructions of a boot, and find the least memory that reaches the shell
    Bench,
    /// Run clippy on both ports of the kernel and on everything else
    Lint,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// Who loads the kernel; `direct` is QEMU itself, by the PVH entry
    #[arg(long, value_enum, default_value = "bios")]
    pub firmware: Firmware,
    /// Number of CPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub smp: u32,
    /// Memory of the machine, as QEMU writes it: 64M, 2G
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub memory: MemorySize,
    /// Boot this cpio archive, plain or compressed, instead of ours
    #[arg(long, value_name = "FILE")]
    pub initramfs: Option<PathBuf>,
    /// Boot this kernel, ready built, instead of ours
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// More kernel parameters
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// QEMU's display: none, gtk, ...
    #[arg(long, value_name = "DISPLAY", default_value = "none")]
    pub display: String,
    /// Switch the machine off after so many seconds, with exit status 124
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// One more argument for QEMU (repeatable)
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_args: Vec<String>,
    /// Wait for a debugger on port 1234
    #[arg(long)]
    pub gdb: bool,
}

/// Options of `image`.
#[derive(Args, Clone, Debug)]
pub struct ImageOptions {
    /// The file to write [default: target/kindling.img]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Put this cpio archive into the image instead of ours
    #[arg(long, value_name = "FILE")]
    pub initramfs: Option<PathBuf>,
    /// Kernel parameters to store in the image, instead of the built-in ones
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub append: Option<String>,
}

impl Cli {
    /// The action, with `run` for none.
    pub fn action(self) -> Action {
        self.command
            .unwrap_or_else(|| Action::Run(Box::new(self.run)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run_options(arguments: &[&str]) -> RunOptions {
        let all = [&["boot-image"], arguments].concat();
        match Cli::try_parse_from(all).unwrap().action() {
            Action::Run(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_with_and_without_its_name() {
        for arguments in [
            &["--smp", "4", "--firmware", "uefi"][..],
            &["run", "--smp", "4", "--firmware", "uefi"],
        ] {
            let options = run_options(arguments);
            assert_eq!((options.smp, options.firmware), (4, Firmware::Uefi));
        }
        assert_eq!(run_options(&[]).firmware, Firmware::Bios);
    }

    #[test]
    fn arguments_for_qemu_may_begin_with_a_dash_and_repeat() {
        let options = run_options(&["run", "--qemu-arg", "-d", "--qemu-arg", "int"]);
        assert_eq!(options.qemu_args, ["-d", "int"]);
    }

    #[test]
    fn a_malformed_memory_size_is_refused_before_anything_is_built() {
        for size in ["", "lots", "64Q", "-64M", "0"] {
            let result = Cli::try_parse_from(["boot-image", &format!("--memory={size}")]);
            assert!(result.is_err(), "{size:?}");
        }
    }

    #[test]
    fn no_cpu_at_all_is_refused() {
        assert!(Cli::try_parse_from(["boot-image", "--smp", "0"]).is_err());
    }
}
