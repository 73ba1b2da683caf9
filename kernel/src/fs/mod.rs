//! The virtual file system (Linux: fs/).
#![forbid(unsafe_code)]

pub mod binfmt_elf;
pub mod binfmt_script;
pub mod char_dev;
pub mod dcache;
pub mod elf_tables;
pub mod exec;
pub mod exec_args;
pub mod exec_hooks;
pub mod file;
pub mod fs_struct;
pub mod inode;
pub mod mount;
pub mod namei;
pub mod open;
pub mod proc;
pub mod seq_file;
