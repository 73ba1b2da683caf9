//! The buddy allocator (Linux: mm/page_alloc.c).

use super::gfp::Gfp;
use super::page::PageRef;

/// Allocates `1 << order` contiguous frames, or `None` (Linux: `alloc_pages`).
/// Context: any with `Gfp::ATOMIC`; process context with `Gfp::RECLAIM`.
pub fn alloc_pages(gfp: Gfp, order: u32) -> Option<PageRef> {
    let _ = (gfp, order);
    todo!()
}

/// Free memory in pages (Linux: `nr_free_pages`).
pub fn nr_free_pages() -> u64 {
    todo!()
}

/// Memory that the buddy allocator manages, in pages (Linux: `totalram_pages`).
pub fn totalram_pages() -> u64 {
    todo!()
}
