//! The machine-dependent core (Linux: arch/x86/kernel/).

pub mod early_printk;
pub mod elf;
pub mod process;
pub mod random;
pub mod reboot;
pub mod tsc;
