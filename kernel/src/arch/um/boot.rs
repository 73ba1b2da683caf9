//! Boot and the kernel's address space on the test port: there is nothing to set up.

use crate::arch::params::Loader;
pub use crate::arch::params::{BootParams, PixelFormat, ScreenInfo};
use crate::mm::memblock::PhysRange;
use crate::mm::{Pfn, PhysAddr, VirtAddr};
use crate::prelude::*;

/// No loader, nothing known.
pub fn boot_params() -> &'static BootParams {
    static PARAMS: BootParams = BootParams::new(Loader::Pvh, 0);
    &PARAMS
}
/// An empty command line.
pub fn setup_arch(_parse_early_param: fn(&str)) -> &'static str {
    ""
}
/// The template is the only copy.
pub fn setup_per_cpu_areas(_nr_cpu_ids: usize) {}
/// No initramfs.
pub fn initrd() -> Option<&'static [u8]> {
    None
}
/// No initramfs.
pub fn initrd_range() -> Option<PhysRange> {
    None
}
/// One past the highest page frame of the simulated RAM.
pub fn max_pfn() -> Pfn {
    PhysAddr::new(super::RAM_SIZE as u64).pfn()
}
/// No image.
pub fn image_sizes() -> [u64; 5] {
    [0; 5]
}
/// No symbol table.
pub fn kallsyms_blob() -> &'static [u8] {
    &[]
}

/// What a mapping allows; nothing is mapped here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KProt(());
impl KProt {
    /// Data.
    pub const KERNEL: KProt = KProt(());
    /// Constants.
    pub const KERNEL_RO: KProt = KProt(());
    /// Code.
    pub const KERNEL_ROX: KProt = KProt(());
    /// The same with another memory type.
    pub const fn with_cache(self, _cache: Cache) -> KProt {
        self
    }
}

/// How a mapping is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// Ordinary memory.
    WriteBack,
    /// Framebuffers.
    WriteCombining,
    /// Device registers.
    UncachedMinus,
    /// Device registers.
    Uncached,
}

/// No page tables of our own: ENOMEM.
pub fn map_kernel_page(_addr: VirtAddr, _pfn: Pfn, _prot: KProt) -> Result {
    Err(Errno::ENOMEM)
}
/// Nothing is mapped.
pub fn unmap_kernel_page(_addr: VirtAddr) -> Option<Pfn> {
    None
}
/// Nothing is cached.
pub fn flush_tlb_kernel_range(_start: VirtAddr, _end: VirtAddr) {}
/// Only the simulated RAM has frames.
pub fn kernel_virt_to_pfn(_addr: VirtAddr) -> Option<Pfn> {
    None
}
/// The host has mapped the array already.
pub fn vmemmap_populate(_start: Pfn, _end: Pfn, _entry_size: usize) -> Result {
    Ok(())
}
/// No devices: ENXIO.
pub fn ioremap(_phys: PhysAddr, _size: usize, _cache: Cache) -> Result<VirtAddr> {
    Err(Errno::ENXIO)
}
/// See [`ioremap`].
pub fn iounmap(_addr: VirtAddr) {}
/// The simulated RAM; nothing else is there.
pub fn memremap(phys: PhysAddr, size: usize) -> Result<VirtAddr> {
    match phys.checked_add(size as u64) {
        Some(end) if size > 0 && end.as_usize() <= super::RAM_SIZE => Ok(super::phys_to_virt(phys)),
        _ => Err(Errno::EINVAL),
    }
}
/// The host decides.
pub fn set_memory_ro(_addr: VirtAddr, _nr_pages: u64) -> Result {
    Ok(())
}
/// The host decides.
pub fn set_memory_rw(_addr: VirtAddr, _nr_pages: u64) -> Result {
    Ok(())
}
/// The host decides.
pub fn set_memory_nx(_addr: VirtAddr, _nr_pages: u64) -> Result {
    Ok(())
}
/// The host decides.
pub fn set_memory_x(_addr: VirtAddr, _nr_pages: u64) -> Result {
    Ok(())
}
/// The host decides.
pub fn mark_rodata_ro() {}
/// No page tables to check.
pub fn debug_checkwx() -> bool {
    true
}
/// No init memory.
pub fn free_initmem(_free: impl FnMut(Pfn)) {}
/// No image.
pub fn free_kernel_image_gaps(_free: impl FnMut(Pfn)) {}
