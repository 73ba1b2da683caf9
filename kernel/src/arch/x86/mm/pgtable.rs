//! User page tables (Linux: asm/pgtable.h).
/// A user page table.
pub struct PageTable {}
