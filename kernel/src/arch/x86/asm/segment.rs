//! Selectors (Linux: asm/segment.h). User programs and debuggers know these numbers.

/// 32-bit kernel code, entry 1; only there because SYSCALL counts from it.
pub const KERNEL32_CS: u16 = 1 << 3;
/// Kernel code.
pub const KERNEL_CS: u16 = 2 << 3;
/// Kernel data and stack.
pub const KERNEL_DS: u16 = 3 << 3;
/// 32-bit user code.
pub const USER32_CS: u16 = 4 << 3 | 3;
/// User data and stack.
pub const USER_DS: u16 = 5 << 3 | 3;
/// 64-bit user code.
pub const USER_CS: u16 = 6 << 3 | 3;
/// The task state segment, entries 8 and 9.
pub const TSS_SELECTOR: u16 = 8 << 3;
/// A data segment whose limit is the CPU number, for `lsl` in user space.
pub const CPUNODE: u16 = 15 << 3 | 3;
/// Entries of the table.
pub const GDT_ENTRIES: usize = 16;
