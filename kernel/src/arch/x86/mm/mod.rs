//! Page tables and faults (Linux: arch/x86/mm/).
pub mod pgtable;
pub mod tlb;

/// The frame behind a vmalloc address.
pub fn kernel_virt_to_pfn(_addr: crate::mm::VirtAddr) -> Option<crate::mm::Pfn> {
    None
}
