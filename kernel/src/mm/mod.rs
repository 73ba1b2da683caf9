//! Memory management (Linux: mm/).

pub mod addr;
pub mod brk;
#[cfg(any(test, target_os = "none"))]
mod early_heap;
pub mod filemap;
pub mod gfp;
pub mod gup;
pub mod heap;
pub mod iov_iter;
pub mod madvise;
pub mod memblock;
pub mod memory;
pub mod mincore;
pub mod mlock;
pub mod mm_init;
pub mod mm_types;
pub mod mmap;
pub mod mmu_gather;
pub mod mmzone;
pub mod mprotect;
pub mod mremap;
pub mod msync;
pub mod oom_kill;
pub mod page;
pub mod page_alloc;
mod page_poison;
pub mod percpu;
pub mod pgtable;
pub mod rodata_test;
pub mod shmem;
pub mod show_mem;
mod slab;
pub mod slab_common;
pub mod slub;
mod slub_debug;
pub mod table_cache;
pub mod task_mmu;
pub mod uaccess;
pub mod util;
pub mod vma;
pub mod vmalloc;
pub mod vmstat;

#[cfg(test)]
pub(crate) mod tests;

pub use addr::{Pfn, PhysAddr, UserAddr, VirtAddr};
