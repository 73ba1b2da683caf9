//! Page tables and faults (Linux: arch/x86/mm/).

pub mod extable;
pub mod fault;
pub mod init;
pub mod maccess;
pub mod pgtable;
