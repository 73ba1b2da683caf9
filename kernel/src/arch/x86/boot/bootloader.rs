//! The entry for the `bootloader` crate, BIOS and UEFI (the loader's side: bootloader_api).
//!
//! Nothing but this file knows the crate's types.

use bootloader_api::config::{BootloaderConfig, Mapping};
use bootloader_api::info::{self, BootInfo, MemoryRegionKind};

use super::params::{BootParams, Loader, PixelFormat, ScreenInfo};
use crate::arch::x86::asm::page::{PAGE_OFFSET, VMALLOC_START, VMEMMAP_START};
use crate::arch::x86::kernel::e820::{E820Kind, E820Table};
use crate::arch::x86::kernel::{head64, tsc};
use crate::arch::x86::mm::init::translate;
use crate::mm::memblock::PhysRange;
use crate::mm::{PhysAddr, VirtAddr};

/// The loader maps physical memory where our own direct map will be, so that `phys_to_virt`
/// holds from the first instruction; its other mappings go where ours come later.
static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::FixedAddress(PAGE_OFFSET));
    config.mappings.dynamic_range_start = Some(VMALLOC_START);
    config.mappings.dynamic_range_end = Some(VMEMMAP_START - 1);
    config
};

bootloader_api::entry_point!(bootloader_entry, config = &CONFIG);

/// Translates the boot information and goes the common way.
///
/// On entry: the loader's page tables and stack, its GDT, no IDT that could be used.
fn bootloader_entry(boot_info: &'static mut BootInfo) -> ! {
    let entry_tsc = tsc::get_cycles();
    head64::early_cpu_setup();
    let mut params = BootParams::new(loader_of(boot_info), entry_tsc);
    params.rsdp = boot_info.rsdp_addr.into_option().map(PhysAddr::new);
    params.kernel_elf = PhysRange::new(boot_info.kernel_addr, boot_info.kernel_len);
    params.initrd = boot_info
        .ramdisk_addr
        .into_option()
        .and_then(|addr| translate(VirtAddr::new(addr)))
        .and_then(|start| PhysRange::new(start.as_u64(), boot_info.ramdisk_len));
    params.screen = boot_info.framebuffer.as_ref().and_then(screen_info);
    copy_memory_map(boot_info, &mut head64::raw_memory_map());
    head64::leave_for_start_kernel(params)
}

/// The loader does not say which firmware it ran on; the memory map's types give it away.
fn loader_of(boot_info: &BootInfo) -> Loader {
    let uefi = boot_info
        .memory_regions
        .iter()
        .any(|region| matches!(region.kind, MemoryRegionKind::UnknownUefi(_)));
    if uefi { Loader::Uefi } else { Loader::Bios }
}

/// Memory that the loader uses is RAM too, but nothing may be allocated there as long as its
/// page tables and its boot information are in use.
fn copy_memory_map(boot_info: &BootInfo, map: &mut E820Table) {
    for region in boot_info.memory_regions.iter() {
        let size = region.end.saturating_sub(region.start);
        let kind = match region.kind {
            MemoryRegionKind::Usable => E820Kind::RAM,
            MemoryRegionKind::Bootloader => {
                head64::note_loader_memory(region.start, size);
                E820Kind::RAM
            }
            MemoryRegionKind::UnknownBios(raw) => E820Kind::from_raw(raw),
            MemoryRegionKind::UnknownUefi(raw) => efi_kind(raw),
            _ => E820Kind::RESERVED,
        };
        map.add(region.start, size, kind);
    }
}

/// E820's word for a UEFI memory type (UEFI 2.10, table 7.6).
fn efi_kind(raw: u32) -> E820Kind {
    match raw {
        8 => E820Kind::UNUSABLE,
        9 => E820Kind::ACPI,
        10 => E820Kind::NVS,
        14 => E820Kind::PMEM,
        _ => E820Kind::RESERVED, // firmware code and data, MMIO, unaccepted
    }
}

fn screen_info(buffer: &info::FrameBuffer) -> Option<ScreenInfo> {
    let info = buffer.info();
    let first = VirtAddr::new(buffer.buffer().as_ptr() as u64);
    Some(ScreenInfo {
        base: translate(first)?,
        size: info.byte_len,
        width: info.width,
        height: info.height,
        stride: info.stride.checked_mul(info.bytes_per_pixel)?,
        bytes_per_pixel: info.bytes_per_pixel,
        format: match info.pixel_format {
            info::PixelFormat::Rgb => PixelFormat::Rgb,
            info::PixelFormat::Bgr => PixelFormat::Bgr,
            info::PixelFormat::U8 => PixelFormat::U8,
            info::PixelFormat::Unknown {
                red_position,
                green_position,
                blue_position,
            } => PixelFormat::Shifts {
                red: red_position,
                green: green_position,
                blue: blue_position,
            },
            _ => return None,
        },
    })
}
