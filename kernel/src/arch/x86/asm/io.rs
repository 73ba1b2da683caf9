//! Ports and memory-mapped registers (Linux: asm/io.h).

use core::arch::asm;

macro_rules! port_access {
    ($ty:ty, $read:ident, $write:ident, $reg:tt) => {
        /// Reads a port.
        ///
        /// # Safety
        /// Reading must not upset the device behind the port.
        #[inline]
        pub unsafe fn $read(port: u16) -> $ty {
            let value: $ty;
            // SAFETY: as the caller promises; IN touches no memory.
            unsafe {
                asm!(concat!("in ", $reg, ", dx"), out($reg) value, in("dx") port,
                    options(nomem, nostack, preserves_flags));
            }
            value
        }
        /// Writes a port.
        ///
        /// # Safety
        /// The device must not do anything to memory that Rust owns because of the write.
        #[inline]
        pub unsafe fn $write(port: u16, value: $ty) {
            // SAFETY: as the caller promises. Not `nomem`: a command may start DMA on memory
            // that was written just before.
            unsafe {
                asm!(concat!("out dx, ", $reg), in("dx") port, in($reg) value,
                    options(nostack, preserves_flags));
            }
        }
    };
}
port_access!(u8, inb, outb, "al");
port_access!(u16, inw, outw, "ax");
port_access!(u32, inl, outl, "eax");

/// A pause of about a microsecond between two accesses to an old device: a write to the POST
/// port (Linux: `io_delay`).
#[inline]
pub fn io_delay() {
    // SAFETY: port 0x80 only shows a diagnostic code.
    unsafe { outb(0x80, 0) };
}
