//! Ranges of I/O ports that drivers own (Linux: kernel/resource.c, `request_region`).

use crate::arch::x86::asm::io::{inb, outb};
use crate::prelude::*;

/// One range that somebody owns.
struct Claim {
    start: u16,
    end: u16,
    name: &'static str,
}

static CLAIMS: IrqSpinLock<Vec<Claim>> = SpinLock::new(Vec::new());

/// Ports that a driver has for itself; given back when dropped.
pub struct IoRegion {
    start: u16,
    len: u16,
}

impl IoRegion {
    /// Takes `len` ports from `start` on; `None` when somebody has one of them, or when they
    /// belong to the machine itself (interrupt and DMA controllers, PCI configuration).
    pub fn request(start: u16, len: u16, name: &'static str) -> Option<Self> {
        const MACHINE: [(u16, u16); 4] =
            [(0x00, 0x21), (0x80, 0xdf), (0x4d0, 0x4d1), (0xcf8, 0xcff)];
        let end = start.checked_add(len.checked_sub(1)?)?;
        let overlaps = |a: u16, b: u16| start <= b && end >= a;
        if MACHINE.iter().any(|(a, b)| overlaps(*a, *b)) {
            return None;
        }
        let mut claims = CLAIMS.lock();
        if claims.iter().any(|claim| overlaps(claim.start, claim.end)) {
            return None;
        }
        claims.push(Claim { start, end, name });
        Some(Self { start, len })
    }

    fn port(&self, offset: u16) -> u16 {
        assert!(offset < self.len, "a driver reaches outside its ports");
        self.start + offset
    }

    /// Reads the port at `offset`.
    pub fn inb(&self, offset: u16) -> u8 {
        let port = self.port(offset);
        // SAFETY: the port is the driver's own, and byte-wide PC devices do no DMA by themselves.
        unsafe { inb(port) }
    }

    /// Writes the port at `offset`.
    pub fn outb(&self, offset: u16, value: u8) {
        let port = self.port(offset);
        // SAFETY: as in `inb`.
        unsafe { outb(port, value) };
    }
}

impl Drop for IoRegion {
    fn drop(&mut self) {
        let start = self.start;
        CLAIMS.lock().retain(|claim| claim.start != start);
    }
}

/// /proc/ioports.
pub fn ioports_text() -> String {
    let claims = CLAIMS.lock();
    let mut lines: Vec<_> = claims.iter().map(|c| (c.start, c.end, c.name)).collect();
    lines.sort();
    lines
        .iter()
        .map(|(start, end, name)| format!("{start:04x}-{end:04x} : {name}\n"))
        .collect()
}
