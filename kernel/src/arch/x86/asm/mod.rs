//! Typed registers and instructions (Linux: arch/x86/include/asm/).

pub mod cr;
pub mod io;
pub mod irqflags;
pub mod msr;
pub mod page;
pub mod percpu;
pub mod ptrace;
