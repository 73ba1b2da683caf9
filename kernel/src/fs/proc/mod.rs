//! procfs (Linux: fs/proc/).
//!
//! | file | part |
//! |---|---|
//! | `inode.rs` | inodes and super block: what every node of /proc has in common |
//! | `generic.rs` | the tree of fixed entries and their text files |
//! | `root.rs` | the root directory, mounting, entries that come and go (processes) |
#![forbid(unsafe_code)]

pub mod array;
pub mod generic;
pub mod inode;
pub mod misc;
pub mod root;

pub use generic::{
    ProcDirEntry, ProcFile, proc_create, proc_create_rw, proc_create_single, proc_mkdir,
    proc_symlink, remove_proc_entry,
};
pub use inode::{NodeEmit, ProcNode};
pub use root::{proc_register_dynamic, proc_root_init};
