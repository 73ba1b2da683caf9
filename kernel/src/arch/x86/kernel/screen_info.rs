//! The framebuffer that the firmware set up (Linux: drivers/firmware/sysfb.c).

use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::x86::boot::params::{PixelFormat, ScreenInfo};
use crate::arch::x86::kernel::head64::boot_params;
use crate::arch::x86::mm::init_64::Cache;
use crate::arch::x86::mm::ioremap::ioremap;
use crate::mm::VirtAddr;
use crate::prelude::*;

/// The mapped framebuffer; there is one owner.
pub struct Framebuffer {
    base: VirtAddr,
    info: ScreenInfo,
}

impl Framebuffer {
    /// Pixels in a line.
    pub fn width(&self) -> usize {
        self.info.width
    }
    /// Lines.
    pub fn height(&self) -> usize {
        self.info.height
    }
    /// Bytes of a pixel.
    pub fn bytes_per_pixel(&self) -> usize {
        self.info.bytes_per_pixel
    }
    /// Where the colours are in a pixel.
    pub fn format(&self) -> PixelFormat {
        self.info.format
    }
    /// Writes the pixels of line `y` from its left end; what does not fit is left out.
    pub fn write_row(&mut self, y: usize, pixels: &[u8]) {
        let start = y * self.info.stride;
        let len = pixels.len().min(self.info.stride);
        if y >= self.info.height || start + len > self.info.size {
            return;
        }
        let to = (self.base.as_usize() + start) as *mut u8;
        // SAFETY: the mapping is `size` bytes long, the range was checked against it, and pixels
        // are device memory that no Rust reference points to.
        unsafe { core::ptr::copy_nonoverlapping(pixels.as_ptr(), to, len) };
    }
}

/// Maps the framebuffer, with writes combined. The first caller gets it.
pub fn framebuffer() -> Option<Framebuffer> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let info = boot_params().screen?;
    if info.bytes_per_pixel == 0
        || info.stride == 0
        || info.width * info.bytes_per_pixel > info.stride
    {
        return None;
    }
    if TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    let base = match ioremap(info.base, info.size, Cache::WriteCombining) {
        Ok(base) => base,
        Err(errno) => {
            pr_err!("fb: cannot map {info:x?}: {errno}");
            return None;
        }
    };
    Some(Framebuffer { base, info })
}
