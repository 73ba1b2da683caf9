//! `bench`: how many guest instructions a boot takes, and how little memory it needs.
//!
//! Under QEMU's `-icount shift=0` one tick of the time stamp counter is one guest instruction, and runs repeat to the
//! digit. The kernel prints its first counter value when told to (`kindling.bench`), our `/init` prints one as its
//! first instruction, and the difference is the boot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::image;
use crate::kernel_build::Kernel;
use crate::machine::Machine;
use crate::progress::{Step, say};
use crate::qemu::{Media, QemuCommand};
use crate::rootfs::{self, PROMPT};
use crate::setup::{self, Need};
use crate::userspace_build::Programs;
use crate::workspace::Workspace;

/// Makes the kernel print its counter at entry.
const BENCH_PARAMETER: &str = "kindling.bench";
const KERNEL_MARK: &str = "bench: entry tsc=";
const INIT_MARK: &str = "bench: init tsc=";
/// The program that takes the place of `/init`.
const MARKER: &str = "bench-init";
/// A counted boot runs at a few tens of millions of instructions a second.
const COUNTED_DEADLINE: Duration = Duration::from_secs(300);
const SHELL_DEADLINE: Duration = Duration::from_secs(60);
/// The search for the least memory, in MiB: never below, and surely enough.
const MEMORY_RANGE: (u32, u32) = (4, 128);

/// Measures and prints both numbers.
pub fn bench(workspace: &Workspace) -> Result<()> {
    setup::packages(&[Need::Qemu, Need::CLibrary, Need::Busybox])?;
    let toolchain = setup::toolchain(workspace)?;
    let kernel = Kernel::build(workspace, &toolchain, &[])?;
    let programs = Programs::build(workspace, &toolchain)?;
    let tree = rootfs::default_initramfs(workspace, &programs)?;
    let plain = archive(workspace, "bench.cpio", &tree.to_cpio())?;
    let marked = tree.host_file("/init", 0o755, &programs.path(MARKER))?;
    let marked = archive(workspace, "bench-marked.cpio", &marked.to_cpio())?;
    let instructions = count_instructions(&kernel.image, &marked)?;
    println!(
        "instructions from kernel entry to /init: {}",
        grouped(instructions)
    );
    let least = least_memory(&kernel.image, &plain)?;
    println!("least memory that reaches the shell:     {least} MiB");
    Ok(())
}

fn archive(workspace: &Workspace, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let file = workspace.target_dir("boot")?.join(name);
    image::write_into_place(&file, bytes)?;
    Ok(file)
}

fn direct(kernel: &Path, initramfs: &Path) -> QemuCommand {
    QemuCommand::new(Media::Direct {
        kernel: kernel.to_owned(),
        initramfs: Some(initramfs.to_owned()),
    })
}

fn count_instructions(kernel: &Path, initramfs: &Path) -> Result<u64> {
    let mut step = Step::begin("Counting the instructions of a boot");
    step.note("");
    let mut qemu = direct(kernel, initramfs);
    qemu.counted = true;
    // The processor that Linux's figures were taken with.
    qemu.extra = vec!["-cpu".into(), "qemu64".into()];
    qemu.cmdline = qemu
        .cmdline
        .map(|cmdline| format!("{cmdline} {BENCH_PARAMETER}"));
    let mut machine = Machine::start(&qemu, None)?;
    machine.expect(INIT_MARK, COUNTED_DEADLINE)?;
    machine.expect("\n", COUNTED_DEADLINE)?;
    let text = machine.transcript();
    let (start, end) = (mark(&text, KERNEL_MARK)?, mark(&text, INIT_MARK)?);
    end.checked_sub(start).ok_or_else(|| {
        Error::Other(format!(
            "/init's counter {end} is before the kernel's {start}"
        ))
    })
}

/// Reads the number after a mark.
fn mark(text: &str, mark: &str) -> Result<u64> {
    let (_, after) = text
        .split_once(mark)
        .ok_or_else(|| Error::Other(format!("the guest did not print {mark:?}")))?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .map_err(|_| Error::Other(format!("no number follows {mark:?} in the guest's output")))
}

fn least_memory(kernel: &Path, initramfs: &Path) -> Result<u32> {
    let mut step = Step::begin("Looking for the least memory");
    let (low, high) = MEMORY_RANGE;
    if !reaches_shell(kernel, initramfs, high) {
        return Err(Error::Other(format!(
            "the shell does not appear with {high} MiB"
        )));
    }
    Ok(bisect(low, high, |memory| {
        step.note(&format!("{memory} MiB"));
        reaches_shell(kernel, initramfs, memory)
    }))
}

/// The least number above `low` that works; `high` is known to.
fn bisect(mut low: u32, mut high: u32, mut works: impl FnMut(u32) -> bool) -> u32 {
    while high - low > 1 {
        let middle = low.midpoint(high);
        if works(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

fn reaches_shell(kernel: &Path, initramfs: &Path, memory: u32) -> bool {
    let mut qemu = direct(kernel, initramfs);
    qemu.memory = format!("{memory}M");
    match Machine::start(&qemu, None) {
        Ok(mut machine) => machine.expect(PROMPT, SHELL_DEADLINE).is_ok(),
        Err(error) => {
            say(&error.to_string());
            false
        }
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_number_that_works_is_found() {
        for least in 5..=128 {
            assert_eq!(bisect(4, 128, |memory| memory >= least), least);
        }
    }

    #[test]
    fn numbers_are_read_after_their_marks() {
        let text = "x\nbench: entry tsc=17\r\nbench: init tsc=1017\r\n";
        assert_eq!(mark(text, KERNEL_MARK).unwrap(), 17);
        assert_eq!(mark(text, INIT_MARK).unwrap(), 1017);
        assert!(mark("bench: entry tsc=?", KERNEL_MARK).is_err());
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123_456), "123,456");
        assert_eq!(grouped(1_441_000_000), "1,441,000,000");
    }
}
