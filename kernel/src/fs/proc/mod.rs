//! procfs (Linux: fs/proc/).
//!
//! | file | part |
//! |---|---|
//! | `inode.rs` | inodes and super block: what every node of /proc has in common |
//! | `generic.rs` | the tree of fixed entries and their text files |
//! | `base.rs` | directories of processes and threads, the tables of their entries |
//! | `array.rs`, `pid_text.rs`, `pid_mm.rs` | texts of a process; those about its memory |
//! | `fd.rs` | open files of a process |
//! | `namespaces.rs` | `/proc/PID/ns` |
//! | `proc_sysctl.rs` | `/proc/sys` |
//! | `kmsg.rs` | `/proc/kmsg` |
//! | `misc.rs` | files that speak of the whole system |
//! | `root.rs` | the root directory, mounting, entries that come and go (processes) |
#![forbid(unsafe_code)]

pub mod array;
pub mod base;
pub mod fd;
pub mod generic;
pub mod inode;
pub mod kmsg;
pub mod misc;
pub mod namespaces;
pub mod pid_mm;
pub mod pid_text;
pub mod proc_sysctl;
pub mod root;

pub use generic::{
    ProcDirEntry, ProcFile, proc_create, proc_create_rw, proc_create_single, proc_mkdir,
    proc_symlink, remove_proc_entry,
};
pub use inode::{NodeEmit, ProcNode};
pub use root::{proc_register_dynamic, proc_root_init};
