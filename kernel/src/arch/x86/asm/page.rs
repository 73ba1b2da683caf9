//! Pages and the direct map (Linux: asm/page_64_types.h).
//!
//! | range | use |
//! |---|---|
//! | 0 .. 0x0000_7fff_ffff_f000 | user |
//! | 0xffff_8880_0000_0000 + 64 TiB | direct map of physical memory, RW NX |
//! | 0xffff_c900_0000_0000 + 512 GiB | vmalloc: kernel stacks |
//! | 0xffff_ea00_0000_0000 + 512 GiB | vmemmap: `struct page` array |
//! | 0xffff_ffff_8000_0000 + 1 GiB | kernel image (text RX, rodata R, data RW) |
//! | 0xffff_ffff_c000_0000 + 1008 MiB | ioremap: device memory |
//!
//! Linux has 32 TiB and 1 TiB for vmalloc and vmemmap. One top-level entry each is enough for
//! the memory that vmemmap can describe this way (32 TiB), and boot makes them once and for all.

use crate::mm::{PhysAddr, VirtAddr};

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Page size in bytes.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// End of the user half; the last page is never mapped (SYSRET with a non-canonical address).
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;
/// Start of the direct map.
pub const PAGE_OFFSET: u64 = 0xffff_8880_0000_0000;
/// Start of the vmalloc area.
pub const VMALLOC_START: u64 = 0xffff_c900_0000_0000;
/// End of the vmalloc area.
pub const VMALLOC_END: u64 = VMALLOC_START + (512 << 30);
/// Start of the `struct page` array.
pub const VMEMMAP_START: u64 = 0xffff_ea00_0000_0000;
/// Start of the window for device memory.
pub const IOREMAP_START: u64 = 0xffff_ffff_c000_0000;
/// End of the window for device memory.
pub const IOREMAP_END: u64 = 0xffff_ffff_ff00_0000;
/// Virtual address of physical address 0 as seen from the kernel image.
pub const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Physical load address of the image when QEMU loads it directly (PVH); the boot loader puts
/// the image's pages anywhere and maps them at the same virtual addresses.
pub const LOAD_PHYSICAL_ADDR: u64 = 0x20_0000;

/// Where a physical address is in the direct map.
#[inline]
pub const fn phys_to_virt(addr: PhysAddr) -> VirtAddr {
    VirtAddr::new(addr.as_u64() + PAGE_OFFSET)
}
/// The physical address behind a direct-map address (not for image or vmalloc addresses).
#[inline]
pub const fn virt_to_phys(addr: VirtAddr) -> PhysAddr {
    PhysAddr::new(addr.as_u64() - PAGE_OFFSET)
}
