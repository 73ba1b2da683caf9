//! What the boot loader knows, in one form (Linux: asm/bootparam.h, `struct boot_params`).
//!
//! The memory map is not in here: it is long, only boot needs it, and it is edited
//! (`kernel::head64::raw_memory_map`).

use crate::mm::PhysAddr;
use crate::mm::memblock::PhysRange;

/// Longest command line with its NUL (Linux: `COMMAND_LINE_SIZE`).
pub const COMMAND_LINE_SIZE: usize = 2048;

/// Who started the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loader {
    /// The `bootloader` crate on a BIOS machine.
    Bios,
    /// The `bootloader` crate on a UEFI machine.
    Uefi,
    /// A machine monitor, by the PVH protocol.
    Pvh,
}

/// Where the colours are in a pixel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PixelFormat {
    /// Bytes red, green, blue.
    Rgb,
    /// Bytes blue, green, red.
    Bgr,
    /// One byte of grey.
    U8,
    /// Bit offsets of eight-bit colours.
    Shifts {
        /// Bit offset of red.
        red: u8,
        /// Bit offset of green.
        green: u8,
        /// Bit offset of blue.
        blue: u8,
    },
}

/// The framebuffer that the firmware set up (Linux: `struct screen_info`).
#[derive(Clone, Copy, Debug)]
pub struct ScreenInfo {
    /// Physical address of the first pixel.
    pub base: PhysAddr,
    /// Size in bytes.
    pub size: usize,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// From one line to the next, in bytes.
    pub stride: usize,
    /// From one pixel to the next, in bytes.
    pub bytes_per_pixel: usize,
    /// Layout of a pixel.
    pub format: PixelFormat,
}

/// A command line that came as bytes; never longer than fits with a NUL.
#[derive(Clone)]
pub struct CommandLine {
    bytes: [u8; COMMAND_LINE_SIZE],
    len: usize,
    is_default: bool,
}

impl CommandLine {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            bytes: [0; COMMAND_LINE_SIZE],
            len: 0,
            is_default: false,
        }
    }
    /// Takes what stands for no line at all.
    pub fn set_default(&mut self, text: &str) {
        self.set(text.as_bytes());
        self.is_default = true;
    }
    /// Whether nobody gave a line.
    pub fn is_default(&self) -> bool {
        self.is_default
    }
    /// Appends a byte; `false` when the line is full. Anything but printable ASCII becomes a
    /// blank or a question mark, so that the line is text for everybody after this point.
    pub fn push(&mut self, byte: u8) -> bool {
        if self.len + 1 >= COMMAND_LINE_SIZE {
            return false;
        }
        self.bytes[self.len] = match byte {
            b' '..=b'~' => byte,
            b'\t' | b'\n' | b'\r' => b' ',
            _ => b'?',
        };
        self.len += 1;
        true
    }
    /// Replaces the text; what does not fit is cut off.
    pub fn set(&mut self, text: &[u8]) {
        self.len = 0;
        for &byte in text {
            if byte == 0 || !self.push(byte) {
                break;
            }
        }
    }
    /// The text without blanks at its ends.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len])
            .unwrap_or_default() // `push` lets ASCII in only
            .trim()
    }
}

impl Default for CommandLine {
    fn default() -> Self {
        Self::new()
    }
}

/// All of it.
#[derive(Clone)]
pub struct BootParams {
    /// Who started the kernel.
    pub loader: Loader,
    /// Time stamp counter at the kernel's first instructions.
    pub entry_tsc: u64,
    /// Command line; empty when the loader has none to give.
    pub command_line: CommandLine,
    /// The initramfs as loaded.
    pub initrd: Option<PhysRange>,
    /// The ACPI root pointer, where the loader found it.
    pub rsdp: Option<PhysAddr>,
    /// The framebuffer, if there is one.
    pub screen: Option<ScreenInfo>,
    /// The kernel's ELF file as the `bootloader` crate read it. Not reserved: only its pages
    /// that became the image stay as they are after `setup_arch`.
    pub kernel_elf: Option<PhysRange>,
    /// Something that was wrong before there was a console to say it on.
    pub complaint: Option<&'static str>,
}

impl BootParams {
    /// Nothing known yet.
    pub const fn new(loader: Loader, entry_tsc: u64) -> Self {
        Self {
            loader,
            entry_tsc,
            command_line: CommandLine::new(),
            initrd: None,
            rsdp: None,
            screen: None,
            kernel_elf: None,
            complaint: None,
        }
    }
}
