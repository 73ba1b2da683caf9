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

use core::arch::asm;

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

/// Size of the address range that the direct map may use.
const DIRECT_MAP_SIZE: u64 = 64 << 40;

/// The physical address behind an address of the direct map, `None` for any other address.
#[inline]
pub const fn direct_map_phys(addr: VirtAddr) -> Option<PhysAddr> {
    let offset = addr.as_u64().wrapping_sub(PAGE_OFFSET);
    if offset < DIRECT_MAP_SIZE {
        Some(PhysAddr::new(offset))
    } else {
        None
    }
}
/// Start of the `struct page` array (Linux: `vmemmap`).
#[inline]
pub const fn vmemmap_start() -> usize {
    VMEMMAP_START as usize
}
/// Only the test port has memory without a boot that finds it.
#[inline]
pub const fn self_hosted_ram() -> Option<(PhysAddr, PhysAddr)> {
    None
}

/// Zeroes one page (Linux: `clear_page_rep`).
///
/// # Safety
/// `page` is a page-aligned address of a whole writable page.
#[inline]
pub unsafe fn clear_page(page: *mut u8) {
    // SAFETY: writes exactly the page that the caller vouches for; DF is clear in the kernel.
    unsafe {
        asm!("rep stosq", inout("rcx") PAGE_SIZE / 8 => _, inout("rdi") page => _, in("rax") 0,
            options(nostack, preserves_flags));
    }
}
/// Copies one page (Linux: `copy_page`).
///
/// # Safety
/// Both are page-aligned addresses of whole pages that do not overlap; `dst` is writable.
#[inline]
pub unsafe fn copy_page(dst: *mut u8, src: *const u8) {
    // SAFETY: reads and writes exactly the pages that the caller vouches for.
    unsafe {
        asm!("rep movsq", inout("rcx") PAGE_SIZE / 8 => _, inout("rdi") dst => _,
            inout("rsi") src => _, options(nostack, preserves_flags));
    }
}
