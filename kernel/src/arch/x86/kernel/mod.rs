//! The machine-dependent core (Linux: arch/x86/kernel/).

pub mod cpu;
pub mod e820;
pub mod early_printk;
pub mod head64;
mod idt_early;
pub mod process;
pub mod random;
pub mod reboot;
pub mod sections;
pub mod setup;
pub mod setup_percpu;
pub mod tsc;
pub mod initcall_tables;
pub mod ioport;
pub mod screen_info;
