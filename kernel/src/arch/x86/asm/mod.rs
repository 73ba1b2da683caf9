//! Typed registers and instructions (Linux: arch/x86/include/asm/).

pub mod barrier;
pub mod cr;
pub mod extable;
pub mod io;
pub mod irq_vectors;
pub mod irqflags;
pub mod msr;
pub mod page;
pub mod percpu;
pub mod ptrace;
pub mod segment;
