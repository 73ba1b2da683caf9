//! Boot and the kernel's address space on the test port: there is nothing to set up.

use crate::arch::params::Loader;
pub use crate::arch::params::{BootParams, PixelFormat, ScreenInfo};
use crate::mm::{Pfn, PhysAddr, VirtAddr};
use crate::prelude::*;

/// No loader, nothing known.
pub fn boot_params() -> &'static BootParams {
    static PARAMS: BootParams = BootParams::new(Loader::Pvh, 0);
    &PARAMS
}
/// Nothing to ask.
pub fn setup_arch() {}
/// An empty command line.
pub fn boot_command_line() -> &'static str {
    ""
}
/// There is no built-in one.
pub fn command_line_is_default() -> bool {
    false
}
/// The template is the only copy.
pub fn setup_per_cpu_areas() {}
/// The host works.
pub fn check_bugs() {}
/// There is one CPU.
pub fn smp_setup_processor_id() {}
/// There is one CPU.
pub fn smp_prepare_boot_cpu() {}
/// The host knows its CPU.
pub fn print_cpu_info(_prefix: &str) {}
/// No initramfs.
pub fn initrd_bytes() -> &'static [u8] {
    &[]
}
/// No initramfs.
pub fn set_initrd_len(_len: usize) {}
/// No initramfs.
pub fn free_initrd_mem() {}
/// One past the highest page frame of the simulated RAM.
pub fn max_pfn() -> Pfn {
    PhysAddr::new(super::RAM_SIZE as u64).pfn()
}
/// No symbol table.
pub fn kallsyms_blob() -> &'static [u8] {
    &[]
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

/// The frame behind a kernel address.
pub fn kernel_virt_to_pfn(addr: VirtAddr) -> Option<Pfn> {
    super::slow_virt_to_phys(addr).map(PhysAddr::pfn)
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
pub fn free_initmem() {}
/// Where constants begin: unknown here.
pub fn rodata_start() -> VirtAddr {
    VirtAddr::new(0)
}
/// Where constants end: unknown here.
pub fn rodata_end() -> VirtAddr {
    VirtAddr::new(0)
}
/// Does not try: a host program cannot survive it.
///
/// # Safety
/// None here.
pub unsafe fn probe_kernel_write(_addr: VirtAddr, _byte: u8) -> bool {
    false
}
