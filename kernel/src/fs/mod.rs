//! The virtual file system (Linux: fs/).
#![forbid(unsafe_code)]

pub mod char_dev;
pub mod dcache;
pub mod exec;
pub mod file;
pub mod fs_struct;
pub mod inode;
pub mod mount;
pub mod namei;
pub mod open;
pub mod proc;
pub mod seq_file;
