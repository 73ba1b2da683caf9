//! Memory management (Linux: mm/).

pub mod addr;
pub mod filemap;
pub mod gfp;
pub mod heap;
pub mod memblock;
pub mod iov_iter;
pub mod madvise;
pub mod memory;
pub mod mincore;
pub mod mlock;
pub mod mm_types;
pub mod mmap;
pub mod mmu_gather;
pub mod mprotect;
pub mod mremap;
pub mod msync;
pub mod page;
pub mod page_alloc;
pub mod percpu;
pub mod pgtable;
pub mod uaccess;
pub mod util;
pub mod vma;
pub mod vmalloc;

pub use addr::{Pfn, PhysAddr, UserAddr, VirtAddr};
