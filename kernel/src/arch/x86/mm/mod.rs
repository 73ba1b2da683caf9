//! Page tables and faults (Linux: arch/x86/mm/).

pub mod dump_pagetables;
pub mod extable;
pub mod fault;
pub mod init;
pub mod init_64;
pub mod ioremap;
pub mod maccess;
pub mod nofault;
pub mod pat;
pub mod pgtable;
#[cfg(feature = "boot-tests")]
mod selftest;
pub mod set_memory;
pub mod tlb;
