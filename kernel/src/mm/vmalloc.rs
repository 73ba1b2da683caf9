//! Virtually contiguous kernel memory with guard pages (Linux: mm/vmalloc.c).

use super::VirtAddr;

/// Memory from the vmalloc area; unmapped and freed on drop.
pub struct VmArea {
    addr: VirtAddr,
    size: usize,
}

impl VmArea {
    /// First byte.
    pub fn addr(&self) -> VirtAddr {
        self.addr
    }
    /// Usable size in bytes, without guard pages.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Allocates `size` bytes (rounded up to pages), zeroed, read-write, not executable, with an
/// unmapped page before and after. `caller` shows in /proc/vmallocinfo. May sleep.
pub fn vmalloc(size: usize, caller: &'static str) -> Option<VmArea> {
    let _ = (size, caller);
    todo!()
}
/// Sets up.
pub(super) fn vmalloc_init() {}
