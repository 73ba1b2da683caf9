//! Protection of data that only this CPU touches (Linux: include/linux/local_lock.h).
//!
//! Cheaper than a spin lock: interrupts go off, which also keeps the task on the CPU, and nothing
//! is written to memory.
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use crate::arch;

/// Interrupts are off on this CPU until it is dropped; sections nest.
#[must_use = "interrupts are enabled again when the guard is dropped"]
pub struct LocalIrqGuard {
    flags: arch::IrqFlags,
    _not_send: PhantomData<*mut ()>,
}

/// Enters a section in which this CPU's data does not change under us. Any context but NMI.
/// Linux: `local_lock_irqsave`.
#[inline]
pub fn local_lock_irqsave() -> LocalIrqGuard {
    LocalIrqGuard {
        flags: arch::local_lock_irqsave(),
        _not_send: PhantomData,
    }
}

impl Drop for LocalIrqGuard {
    #[inline]
    fn drop(&mut self) {
        arch::local_unlock_irqrestore(self.flags);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_sections_enable_interrupts_once_at_the_end() {
        let outer = local_lock_irqsave();
        drop(local_lock_irqsave());
        assert!(arch::irqs_disabled());
        drop(outer);
        assert!(!arch::irqs_disabled());
    }
}
