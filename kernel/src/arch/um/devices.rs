//! Devices of the test port: there are none.

use crate::arch::PixelFormat;

/// No ports.
pub struct IoRegion(core::convert::Infallible);

impl IoRegion {
    /// Nobody gets one.
    pub fn request(_start: u16, _len: u16, _name: &'static str) -> Option<Self> {
        None
    }
    /// Never called.
    pub fn inb(&self, _offset: u16) -> u8 {
        match self.0 {}
    }
    /// Never called.
    pub fn outb(&self, _offset: u16, _value: u8) {
        match self.0 {}
    }
}

/// /proc/ioports.
pub fn ioports_text() -> String {
    String::new()
}

/// No framebuffer.
pub struct Framebuffer(core::convert::Infallible);

impl Framebuffer {
    /// Never called.
    pub fn width(&self) -> usize {
        match self.0 {}
    }
    /// Never called.
    pub fn height(&self) -> usize {
        match self.0 {}
    }
    /// Never called.
    pub fn bytes_per_pixel(&self) -> usize {
        match self.0 {}
    }
    /// Never called.
    pub fn format(&self) -> PixelFormat {
        match self.0 {}
    }
    /// Never called.
    pub fn write_row(&mut self, _y: usize, _pixels: &[u8]) {
        match self.0 {}
    }
}

/// Nothing to draw on.
pub fn framebuffer() -> Option<Framebuffer> {
    None
}
