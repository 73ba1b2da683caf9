//! Draws the screen into the framebuffer (Linux: drivers/video/fbdev/core/fbcon.c).
//!
//! A line is made in RAM first and written in one go: the framebuffer is never read, and only
//! lines that changed are written (it may be uncached on real hardware).

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::screen::{Cell, Screen};
use crate::arch::{Framebuffer, PixelFormat};
use crate::prelude::*;

const HEIGHT: RasterHeight = RasterHeight::Size16;
const WEIGHT: FontWeight = FontWeight::Regular;

/// The VGA colours as red, green, blue.
const PALETTE: [[u8; 3]; 16] = [
    [0, 0, 0],
    [0, 0, 170],
    [0, 170, 0],
    [0, 170, 170],
    [170, 0, 0],
    [170, 0, 170],
    [170, 85, 0],
    [170, 170, 170],
    [85, 85, 85],
    [85, 85, 255],
    [85, 255, 85],
    [85, 255, 255],
    [255, 85, 85],
    [255, 85, 255],
    [255, 255, 85],
    [255, 255, 255],
];

/// A framebuffer with a text line's worth of pixels in RAM.
pub struct FbCon {
    fb: Framebuffer,
    line: Vec<u8>,
}

fn cell_width() -> usize {
    get_raster_width(WEIGHT, HEIGHT)
}

fn cell_height() -> usize {
    HEIGHT.val()
}

impl FbCon {
    /// Takes the framebuffer over.
    pub fn new(fb: Framebuffer) -> Self {
        let line = vec![0; fb.width() * fb.bytes_per_pixel() * cell_height()];
        Self { fb, line }
    }

    /// Columns and lines of text.
    pub fn text_size(&self) -> (usize, usize) {
        (
            self.fb.width() / cell_width(),
            self.fb.height() / cell_height(),
        )
    }

    /// Draws one line of the screen.
    pub fn draw_line(&mut self, y: usize, cells: &[Cell], cursor: Option<usize>) {
        for (x, cell) in cells.iter().enumerate() {
            self.draw_cell(x, cell, cursor == Some(x));
        }
        let row_bytes = self.fb.width() * self.fb.bytes_per_pixel();
        for (row, pixels) in self.line.chunks_exact(row_bytes).enumerate() {
            self.fb.write_row(y * cell_height() + row, pixels);
        }
    }

    fn draw_cell(&mut self, x: usize, cell: &Cell, cursor: bool) {
        let raster =
            get_raster(cell.ch, WEIGHT, HEIGHT).or_else(|| get_raster('?', WEIGHT, HEIGHT));
        let (fg, bg) = (
            PALETTE[usize::from(cell.attr.fg & 15)],
            PALETTE[usize::from(cell.attr.bg & 15)],
        );
        let row_bytes = self.fb.width() * self.fb.bytes_per_pixel();
        let (bytes, format) = (self.fb.bytes_per_pixel(), self.fb.format());
        for row in 0..cell_height() {
            let underline = cell.attr.underline && row == cell_height() - 2;
            let block = cursor && row >= cell_height() - 2;
            for column in 0..cell_width() {
                let level = match raster.as_ref().and_then(|r| r.pixel(column, row)) {
                    _ if underline || block => 255,
                    Some(level) => level,
                    None => 0,
                };
                let at = row * row_bytes + (x * cell_width() + column) * bytes;
                put_pixel(&mut self.line[at..at + bytes], format, mix(fg, bg, level));
            }
        }
    }
}

/// `level` 255 is all foreground.
fn mix(fg: [u8; 3], bg: [u8; 3], level: u8) -> [u8; 3] {
    let level = u32::from(level);
    core::array::from_fn(|i| {
        ((u32::from(fg[i]) * level + u32::from(bg[i]) * (255 - level)) / 255) as u8
    })
}

fn put_pixel(out: &mut [u8], format: PixelFormat, [r, g, b]: [u8; 3]) {
    match format {
        PixelFormat::Rgb if out.len() >= 3 => out[..3].copy_from_slice(&[r, g, b]),
        PixelFormat::Bgr if out.len() >= 3 => out[..3].copy_from_slice(&[b, g, r]),
        _ => {
            let grey = (u32::from(r) * 30 + u32::from(g) * 59 + u32::from(b) * 11) / 100;
            out.fill(grey as u8);
        }
    }
}

/// Draws every line that changed; the screen is only locked while one line is copied.
pub fn draw_changes(con: &mut FbCon, screen: &IrqSpinLock<Screen>, copy: &mut Vec<Cell>) {
    loop {
        let (y, cursor) = {
            let mut screen = screen.lock();
            let Some(y) = screen.take_dirty() else {
                return;
            };
            copy.clear();
            copy.extend_from_slice(screen.line(y));
            let (cx, cy) = screen.cursor();
            (y, (screen.cursor_visible && cy == y).then_some(cx))
        };
        con.draw_line(y, copy, cursor);
    }
}
