//! Memory management (Linux: mm/).

pub mod addr;
#[cfg(any(test, target_os = "none"))]
mod early_heap;
pub mod filemap;
pub mod gfp;
pub mod heap;
pub mod memblock;
pub mod memory;
pub mod mm_init;
pub mod mmap;
pub mod mmzone;
pub mod oom_kill;
pub mod page;
pub mod page_alloc;
mod page_poison;
pub mod percpu;
pub mod rodata_test;
pub mod show_mem;
mod slab;
pub mod slab_common;
pub mod slub;
mod slub_debug;
pub mod uaccess;
pub mod vmalloc;
pub mod vmstat;

pub use addr::{Pfn, PhysAddr, UserAddr, VirtAddr};
