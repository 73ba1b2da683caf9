//! /proc/interrupts (Linux: kernel/irq/proc.c).
#![forbid(unsafe_code)]

use super::irqdesc::{IrqDesc, NR_IRQS, for_each_desc, irq_to_desc};
use crate::arch;
use crate::kernel::cpu::CPU_ONLINE;
use crate::prelude::*;

/// Digits of the greatest interrupt number, three at least.
fn width() -> usize {
    let mut width = 3;
    let mut limit = 1000;
    while width < 10 && limit <= NR_IRQS {
        limit *= 10;
        width += 1;
    }
    width
}

/// The name at the beginning of a row that has no number.
pub fn row_head(out: &mut String, width: usize, name: &str) {
    out.push_str(&format!("{name:>width$}: "));
}

/// One CPU's counter.
pub fn count(out: &mut String, value: u32) {
    out.push_str(&format!("{value:10} "));
}

/// The whole text (Linux: `show_interrupts`).
pub fn show_interrupts(out: &mut String) -> Result {
    let width = width();
    let cpus: Vec<usize> = CPU_ONLINE.iter().collect();
    out.push_str(&format!("{:1$}", "", width + 8));
    for cpu in &cpus {
        out.push_str(&format!("CPU{cpu:<8}"));
    }
    out.push('\n');
    for desc in for_each_desc() {
        show_desc(out, desc, width, &cpus);
    }
    arch::arch_show_interrupts(out, width, &cpus);
    Ok(())
}

/// The row of an interrupt that has a handler or has come.
fn show_desc(out: &mut String, desc: &IrqDesc, width: usize, cpus: &[usize]) {
    let (chip, hwirq, flow, actions) = {
        let state = desc.state.lock();
        let chip = state.chip.map(|chip| chip.name());
        (chip, state.hwirq, state.flow, state.actions.clone())
    };
    if actions.is_empty() && desc.count() == 0 {
        return;
    }
    out.push_str(&format!("{:width$}: ", desc.irq()));
    for &cpu in cpus {
        count(out, desc.count_on(cpu));
    }
    out.push_str(&format!(
        " {:>8} {hwirq:width$}-{:<8}",
        chip.unwrap_or("None"),
        flow.name()
    ));
    for (index, action) in actions.iter().enumerate() {
        out.push_str(if index == 0 { "  " } else { ", " });
        out.push_str(&action.name);
    }
    out.push('\n');
}

/// Sum of all interrupts, and the counts of the numbers 0 to the last one: the `intr` line of
/// /proc/stat.
pub fn intr_counts() -> (u64, Vec<u64>) {
    let last = for_each_desc().last().map_or(0, IrqDesc::irq);
    let count_of = |irq| irq_to_desc(irq).map_or(0, IrqDesc::count);
    let counts: Vec<u64> = (0..=last).map(count_of).collect();
    let total = counts.iter().sum::<u64>() + arch::arch_irq_stat();
    (total, counts)
}

#[__init]
fn proc_interrupts_init() -> Result {
    crate::fs::proc::proc_create_single("interrupts", 0o444, show_interrupts)
}
crate::fs_initcall!(proc_interrupts_init);

#[cfg(test)]
mod tests {
    use super::super::{Flow, IrqChip, IrqReturn, generic_handle_irq, irq_alloc_desc, request_irq};
    use super::*;

    struct Pic;
    impl IrqChip for Pic {
        fn name(&self) -> &'static str {
            "IO-APIC"
        }
        fn mask(&self, _hwirq: u32) {}
        fn unmask(&self, _hwirq: u32) {}
    }

    #[test]
    fn a_row_looks_as_on_linux() {
        irq_alloc_desc(0).unwrap().set_chip(&Pic, 2, 0, Flow::Edge);
        crate::kernel::cpu::CPU_ONLINE.set(0);
        request_irq(0, Arc::new(|| IrqReturn::Handled), "timer").unwrap();
        generic_handle_irq(0);
        let mut text = String::new();
        show_interrupts(&mut text).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("           CPU0       "));
        assert_eq!(
            lines.next(),
            Some("  0:          1   IO-APIC   2-edge      timer")
        );
    }
}
