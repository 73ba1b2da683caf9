//! Typed registers and instructions (Linux: arch/x86/include/asm/).

pub mod irqflags;
pub mod page;
pub mod percpu;
pub mod ptrace;
