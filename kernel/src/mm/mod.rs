//! Memory management (Linux: mm/).

pub mod addr;
pub mod filemap;
pub mod gfp;
pub mod heap;
pub mod memblock;
pub mod memory;
pub mod mmap;
pub mod page;
pub mod page_alloc;
pub mod percpu;
pub mod uaccess;
pub mod vmalloc;

pub use addr::{Pfn, PhysAddr, UserAddr, VirtAddr};
