//! /proc/cpuinfo (Linux: arch/x86/kernel/cpu/proc.c).
#![forbid(unsafe_code)]

use core::fmt::Write;

use super::common::{CpuInfo, boot_cpu, cpu_khz, loops_per_jiffy};
use super::{bugs, capflags};
use crate::kernel::time::HZ;
use crate::prelude::*;

/// The whole text. Every CPU is taken to be like the boot CPU.
fn show_cpuinfo(text: &mut String) -> Result {
    show_one(text, 0, boot_cpu()).map_err(|_| Errno::ENOMEM)
}

fn show_one(text: &mut String, number: usize, cpu: &CpuInfo) -> core::fmt::Result {
    let (khz, lpj) = (cpu_khz(), loops_per_jiffy());
    writeln!(text, "processor\t: {number}")?;
    writeln!(text, "vendor_id\t: {}", cpu.vendor_id())?;
    writeln!(text, "cpu family\t: {}", cpu.family)?;
    writeln!(text, "model\t\t: {}", cpu.model)?;
    writeln!(text, "model name\t: {}", cpu.model_name())?;
    writeln!(text, "stepping\t: {}", cpu.stepping)?;
    if khz != 0 {
        writeln!(text, "cpu MHz\t\t: {}.{:03}", khz / 1000, khz % 1000)?;
    }
    if cpu.cache_size != 0 {
        writeln!(text, "cache size\t: {} KB", cpu.cache_size)?;
    }
    writeln!(
        text,
        "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: {number}"
    )?;
    writeln!(text, "cpu cores\t: 1\napicid\t\t: {}", cpu.initial_apicid)?;
    writeln!(text, "initial apicid\t: {}", cpu.initial_apicid)?;
    writeln!(text, "fpu\t\t: yes\nfpu_exception\t: yes")?;
    writeln!(text, "cpuid level\t: {}\nwp\t\t: yes", cpu.cpuid_level)?;
    text.push_str("flags\t\t:");
    for name in capflags::names(&cpu.capability) {
        write!(text, " {name}")?;
    }
    text.push_str("\nbugs\t\t:");
    for name in bugs::boot_cpu_bugs().names() {
        write!(text, " {name}")?;
    }
    text.push('\n');
    writeln!(
        text,
        "bogomips\t: {}.{:02}",
        lpj / (500_000 / HZ),
        lpj / (5_000 / HZ) % 100
    )?;
    writeln!(text, "clflush size\t: {}", cpu.clflush_size)?;
    writeln!(text, "cache_alignment\t: {}", cpu.clflush_size)?;
    writeln!(
        text,
        "address sizes\t: {} bits physical, {} bits virtual",
        cpu.phys_bits, cpu.virt_bits
    )?;
    text.push_str("power management:\n\n");
    Ok(())
}

#[__init]
fn cpuinfo_init() -> Result {
    crate::fs::proc::proc_create_single("cpuinfo", 0o444, show_cpuinfo)
}
crate::fs_initcall!(cpuinfo_init);
