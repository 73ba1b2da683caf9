//! The virtual file system (Linux: fs/).
//!
//! | file | part |
//! |---|---|
//! | `dcache`, `inode`, `superblock`, `hashtable` | names, files, file systems and their caches |
//! | `mount`, `namespace`, `filesystems` | the mount tree and mount(2) |
//! | `namei/` | from paths to files; calls that change directories |
//! | `file`, `file_table`, `fdtable`, `open` | open files and descriptors |
//! | `read_write`, `splice`, `pipe`, `readdir` | moving bytes |
//! | `select`, `eventpoll`, `eventfd` | waiting for files |
//! | `libfs`, `seq_file`, `proc/`, `char_dev` | what file systems and drivers build on |
//! | `init` | the calls that boot uses before there is a program |
#![forbid(unsafe_code)]

pub mod access;
pub mod anon_inodes;
pub mod atime;
pub mod attr;
pub mod binfmt_elf;
pub mod binfmt_script;
pub mod char_dev;
pub mod chmod;
pub mod d_path;
pub mod dcache;
pub mod elf_tables;
pub mod eventfd;
pub mod eventpoll;
pub mod exec;
pub mod exec_args;
pub mod exec_hooks;
pub mod fcntl;
pub mod fdtable;
pub mod file;
pub mod file_table;
pub mod filesystems;
pub mod fs_struct;
pub mod hashtable;
pub mod init;
pub mod inode;
pub mod ioctl;
pub mod libfs;
pub mod locks;
pub mod mount;
pub mod namei;
pub mod namespace;
pub mod opath;
pub mod open;
pub mod pipe;
pub mod proc;
pub mod proc_namespace;
pub mod read_write;
pub mod readdir;
pub mod rlimit;
pub mod select;
pub mod seq_file;
pub mod sleep_lock;
pub mod splice;
pub mod stat;
pub mod statfs;
pub mod superblock;
pub mod sync;
pub mod timerfd;
pub mod truncate;
pub mod utimes;
pub mod xattr;

mod setup;
#[cfg(test)]
pub(crate) mod tests;

pub use setup::{memory_bytes, vfs_caches_init};

#[cfg(test)]
mod exec_tests;
