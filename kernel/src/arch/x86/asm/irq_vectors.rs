//! Who uses which interrupt vector (Linux: asm/irq_vectors.h).
//!
//! | vectors | use |
//! |---|---|
//! | 0x00-0x1f | exceptions |
//! | 0x20-0x2f | ISA interrupts 0-15, whether the PIC or the I/O APIC delivers them |
//! | 0x30-0xeb | device interrupts; 0x80 is the system call gate |
//! | 0xec-0xff | this kernel's own: timer, IPIs, APIC error, spurious |

/// First vector that is not an exception.
pub const FIRST_EXTERNAL_VECTOR: u8 = 0x20;
/// `int 0x80`.
pub const IA32_SYSCALL_VECTOR: u8 = 0x80;
/// Vector of ISA interrupt 0.
pub const ISA_IRQ_VECTOR_BASE: u8 = 0x20;
/// First vector for interrupts that are not ISA ones.
pub const FIRST_DEVICE_VECTOR: u8 = 0x30;
/// Local APIC timer.
pub const LOCAL_TIMER_VECTOR: u8 = 0xec;
/// First vector that devices do not get.
pub const FIRST_SYSTEM_VECTOR: u8 = LOCAL_TIMER_VECTOR;
/// Stops this CPU for ever.
pub const REBOOT_VECTOR: u8 = 0xf8;
/// Run a function for another CPU.
pub const CALL_FUNCTION_VECTOR: u8 = 0xfc;
/// Run a single function for another CPU.
pub const CALL_FUNCTION_SINGLE_VECTOR: u8 = 0xfb;
/// Look at NEED_RESCHED.
pub const RESCHEDULE_VECTOR: u8 = 0xfd;
/// The local APIC found an error.
pub const ERROR_APIC_VECTOR: u8 = 0xfe;
/// The local APIC had an interrupt that went away.
pub const SPURIOUS_APIC_VECTOR: u8 = 0xff;
