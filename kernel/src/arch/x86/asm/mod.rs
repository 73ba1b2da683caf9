//! Typed registers and instructions (Linux: arch/x86/include/asm/).

pub mod extable;
pub mod irq_vectors;
pub mod irqflags;
pub mod page;
pub mod percpu;
pub mod ptrace;
pub mod segment;
