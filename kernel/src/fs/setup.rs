//! Bringing the VFS up (Linux: fs/dcache.c, `vfs_caches_init`; fs/namespace.c, `mnt_init`).
#![forbid(unsafe_code)]

use crate::arch::PAGE_SIZE;
use crate::mm::memblock::{memblock, memblock_is_active};
use crate::mm::page_alloc::totalram_pages;
use crate::prelude::*;

/// Memory of the machine in bytes, at any time of the boot.
pub fn memory_bytes() -> u64 {
    if memblock_is_active() {
        memblock().phys_mem_size()
    } else {
        totalram_pages() * PAGE_SIZE as u64
    }
}

/// Limits, the mount tables and the root file system.
///
/// On entry: memory and the first task work. On return: the running task has a root directory,
/// an empty one.
#[__init]
pub fn vfs_caches_init() {
    super::file_table::files_maxfiles_init(memory_bytes()); // a tenth of memory at most
    super::mount::mount_hash_init(memory_bytes());
    crate::mm::shmem::shmem_init(); // the root file system is one of its types
    super::namespace::init_mount_tree(); // from here on paths can be walked
}
