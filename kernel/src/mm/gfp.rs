//! What an allocation may do to be satisfied (Linux: include/linux/gfp_types.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

bitflags::bitflags! {
    /// Allocation flags.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Gfp: u32 {
        /// Below 16 MiB.
        const DMA = 1;
        /// Below 4 GiB.
        const DMA32 = 1 << 2;
        /// May sleep and reclaim (masked out until `kernel_init` allows it).
        const RECLAIM = 1 << 3;
        /// May use the emergency reserve: interrupts, the allocator itself.
        const HIGH = 1 << 4;
        /// Zero the memory.
        const ZERO = 1 << 5;
        /// Do not complain on failure.
        const NOWARN = 1 << 6;
        /// For a user page.
        const MOVABLE = 1 << 7;
        /// The caller cannot cope with failure: may use the whole reserve.
        const NOFAIL = 1 << 8;
        /// For private memory of a process (AnonPages in /proc/meminfo).
        const ANON = 1 << 9;
    }
}

impl Gfp {
    /// The ordinary kernel allocation: process context, may sleep.
    pub const KERNEL: Gfp = Gfp::RECLAIM;
    /// From any context; never sleeps.
    pub const ATOMIC: Gfp = Gfp::HIGH;
    /// A page for user space.
    pub const USER: Gfp = Gfp::RECLAIM.union(Gfp::MOVABLE);
    /// A page of private memory.
    pub const USER_ANON: Gfp = Gfp::USER.union(Gfp::ANON);
}

/// What allocations may do by now (Linux: `gfp_allowed_mask`): before `kernel_init` nobody can
/// wait for memory.
static GFP_ALLOWED_MASK: AtomicU32 = AtomicU32::new(Gfp::all().difference(Gfp::RECLAIM).bits());

/// From here on allocations may do what they ask for.
pub fn allow_all() {
    GFP_ALLOWED_MASK.store(Gfp::all().bits(), Ordering::Release);
}

impl Gfp {
    /// What is left of a request at this time of the boot.
    pub(super) fn allowed(self) -> Gfp {
        self & Gfp::from_bits_truncate(GFP_ALLOWED_MASK.load(Ordering::Acquire))
    }
}

impl core::fmt::Display for Gfp {
    /// The flags as Linux names them (Linux: `%pGg`).
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut separator = "";
        for (name, _) in self.iter_names() {
            write!(f, "{separator}__GFP_{name}")?;
            separator = "|";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_by_their_names() {
        let text = format!("{}", Gfp::USER | Gfp::ZERO);
        assert_eq!(text, "__GFP_RECLAIM|__GFP_ZERO|__GFP_MOVABLE");
        assert_eq!(format!("{}", Gfp::empty()), "");
    }
}
