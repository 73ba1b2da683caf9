//! Page tables and faults (Linux: arch/x86/mm/).
pub mod init;
pub mod pgtable;
