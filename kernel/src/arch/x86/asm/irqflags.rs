//! The interrupt flag (Linux: asm/irqflags.h).

use core::arch::asm;

const X86_EFLAGS_IF: u64 = 1 << 9;

/// Saved interrupt state.
#[derive(Clone, Copy)]
pub struct IrqFlags(u64);

#[inline]
fn save_flags() -> u64 {
    let flags: u64;
    // SAFETY: pushes and pops one word of this stack; the compiler knows (no `nostack`).
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(nomem, preserves_flags)) };
    flags
}

/// Disables interrupts; returns the state before.
#[inline]
pub fn local_irq_save() -> IrqFlags {
    let flags = save_flags();
    local_irq_disable();
    IrqFlags(flags)
}
/// Puts a saved state back.
#[inline]
pub fn local_irq_restore(flags: IrqFlags) {
    if flags.0 & X86_EFLAGS_IF != 0 {
        local_irq_enable();
    }
}
/// Disables interrupts.
#[inline]
pub fn local_irq_disable() {
    // SAFETY: ring 0; not `nomem`, so memory accesses do not move across it.
    unsafe { asm!("cli", options(nostack, preserves_flags)) };
}
/// Enables interrupts.
#[inline]
pub fn local_irq_enable() {
    // SAFETY: ring 0; the IDT is loaded before interrupts are first enabled.
    unsafe { asm!("sti", options(nostack, preserves_flags)) };
}
/// Whether interrupts are off.
#[inline]
pub fn irqs_disabled() -> bool {
    save_flags() & X86_EFLAGS_IF == 0
}
/// Enables interrupts and waits for one, without a window between the two.
#[inline]
pub fn safe_halt() {
    // SAFETY: `sti` takes effect after the next instruction: a pending interrupt ends the `hlt`.
    unsafe { asm!("sti", "hlt", options(nostack, preserves_flags)) };
}
/// A pause in a spin loop.
#[inline]
pub fn cpu_relax() {
    core::hint::spin_loop();
}
