//! How control enters and leaves the kernel (Linux: arch/x86/entry/).

pub mod common;
pub mod entry_64;
pub mod syscall_64;
