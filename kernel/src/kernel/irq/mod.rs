//! Generic interrupts: descriptors, flow handlers, requests (Linux: kernel/irq/).
//!
//! An interrupt number has a descriptor. The descriptor knows the chip that masks and
//! acknowledges it, the flow (edge, level, fast end-of-interrupt) and the drivers' handlers.
//! The vector code of the port calls [`generic_handle_irq`].
//!
//! Locking: a descriptor's lock is taken with interrupts off and is the last lock taken;
//! handlers run without it.
#![forbid(unsafe_code)]

pub mod chip;
pub mod irqdesc;
pub mod manage;
pub mod proc;
pub mod spurious;

pub use chip::{Flow, IrqChip, Trigger};
pub use irqdesc::{
    IrqDesc, NR_IRQS, NR_IRQS_LEGACY, early_irq_init, generic_handle_irq, irq_alloc_desc,
    irq_to_desc,
};
pub use manage::{
    IrqHandler, IrqReturn, IrqfFlags, disable_irq, disable_irq_nosync, enable_irq, free_irq,
    irq_set_affinity, request_irq, request_irq_flags, synchronize_irq,
};
