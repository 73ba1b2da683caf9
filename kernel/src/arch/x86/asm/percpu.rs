//! Per-CPU words reached through the GS base (Linux: asm/percpu.h, asm/current.h, asm/preempt.h).
//!
//! The GS base is the distance from the `.data..percpu` template to this CPU's copy: 0 until
//! `setup_per_cpu_areas`, so the template itself serves the boot CPU's first steps.

use core::arch::asm;

use crate::kernel::sched::task::Task;
use crate::prelude::*;

/// The running task was not asked to call `schedule`. Upside down, so that the word is zero exactly when the task has
/// to be preempted, and one instruction tells (Linux: `PREEMPT_NEED_RESCHED`).
const NO_RESCHED: i32 = i32::MIN;

/// The words that assembly and every function reach for. Kept together for one cache line.
#[repr(C)]
pub struct PcpuHot {
    /// The running task.
    pub current_task: *const Task,
    /// See `kernel::preempt`; its top bit is [`NO_RESCHED`].
    pub preempt_count: i32,
    /// Index of this CPU.
    pub cpu_number: u32,
    /// Copy of the GS base, so that it can be read with one load.
    pub this_cpu_off: usize,
    /// Top of the running task's kernel stack: where SYSCALL entry switches to.
    pub top_of_stack: u64,
    /// User stack pointer while SYSCALL entry switches stacks.
    pub scratch: u64,
}

// SAFETY: each CPU touches only its own copy.
unsafe impl Sync for PcpuHot {}

/// This CPU's hot words.
#[per_cpu]
#[unsafe(no_mangle)]
pub static PCPU_HOT: crate::mm::percpu::PerCpu<PcpuHot> = crate::mm::percpu::PerCpu::new(PcpuHot {
    current_task: core::ptr::null(),
    preempt_count: 1 | NO_RESCHED, // boot runs with preemption off (Linux: INIT_PREEMPT_COUNT)
    cpu_number: 0,
    this_cpu_off: 0,
    top_of_stack: 0,
    scratch: 0,
});

macro_rules! hot_read {
    ($field:ident, $ty:ty, $reg:ident $(, $size:literal)?) => {{
        let value: $ty;
        // SAFETY: GS points at this CPU's area at all times in the kernel.
        unsafe {
            asm!(concat!("mov {0", $($size,)? "}, gs:[{1} + {2}]"), out($reg) value, sym PCPU_HOT,
                const core::mem::offset_of!(PcpuHot, $field),
                options(nostack, preserves_flags, readonly));
        }
        value
    }};
}

/// Every reader is a task, from the first line of portable code on.
pub const COUNTS_READERS_BY_TASK: bool = true;

/// The running task.
#[inline]
pub fn current_ptr() -> *const Task {
    hot_read!(current_task, *const Task, reg)
}
/// Changes the running task.
///
/// # Safety
/// Only the context switch and boot may; `task` must stay alive while it is current.
#[inline]
pub unsafe fn set_current_ptr(task: *const Task) {
    // SAFETY: as above.
    unsafe {
        asm!("mov gs:[{1} + {2}], {0}", in(reg) task, sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, current_task), options(nostack, preserves_flags));
    }
}
/// Top of the running task's kernel stack.
#[inline]
pub fn top_of_stack() -> u64 {
    hot_read!(top_of_stack, u64, reg)
}
/// Changes the stack that SYSCALL entry switches to. Context: interrupts off.
#[inline]
pub fn set_top_of_stack(top: u64) {
    // SAFETY: one store to this CPU's own word; only entry from user space uses it.
    unsafe {
        asm!("mov gs:[{1} + {2}], {0}", in(reg) top, sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, top_of_stack), options(nostack, preserves_flags));
    }
}
/// Index of this CPU; stable only while preemption is off.
#[inline]
pub fn smp_processor_id() -> usize {
    hot_read!(cpu_number, u32, reg, ":e") as usize
}
/// Distance from the per-CPU template to this CPU's copy.
#[inline]
pub fn this_cpu_offset() -> usize {
    hot_read!(this_cpu_off, usize, reg)
}
/// See `kernel::preempt`.
#[inline]
pub fn preempt_count() -> i32 {
    hot_read!(preempt_count, i32, reg, ":e") & !NO_RESCHED
}
/// Adds one to the preempt count.
#[inline]
pub fn preempt_count_inc() {
    // SAFETY: as in `preempt_count_add`.
    unsafe {
        asm!("inc dword ptr gs:[{0} + {1}]", sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, preempt_count), options(nostack));
    }
}
/// Subtracts one from the preempt count; true when it is zero now and the task was asked to call `schedule` (Linux:
/// `__preempt_count_dec_and_test`).
#[inline]
pub fn preempt_count_dec_and_test() -> bool {
    // SAFETY: as in `preempt_count_add`.
    unsafe {
        asm!("dec dword ptr gs:[{0} + {1}]", "jz {2}", sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, preempt_count),
            label { return true }, options(nostack));
    }
    false
}
/// The running task is asked to call `schedule` (Linux: `set_preempt_need_resched`).
pub fn set_preempt_need_resched() {
    // SAFETY: as in `preempt_count_add`.
    unsafe {
        asm!("and dword ptr gs:[{0} + {1}], {2}", sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, preempt_count), const !NO_RESCHED, options(nostack));
    }
}
/// It did (Linux: `clear_preempt_need_resched`).
#[inline]
pub fn clear_preempt_need_resched() {
    // SAFETY: as in `preempt_count_add`.
    unsafe {
        asm!("or dword ptr gs:[{0} + {1}], {2}", sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, preempt_count), const NO_RESCHED, options(nostack));
    }
}
/// Adds to the preempt count.
#[inline]
pub fn preempt_count_add(value: i32) {
    // SAFETY: one instruction: an interrupt cannot split it, and it restores what it changes.
    unsafe {
        asm!("add dword ptr gs:[{1} + {2}], {0:e}", in(reg) value, sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, preempt_count), options(nostack));
    }
}
/// Subtracts from the preempt count.
#[inline]
pub fn preempt_count_sub(value: i32) {
    // SAFETY: as in `preempt_count_add`.
    unsafe {
        asm!("sub dword ptr gs:[{1} + {2}], {0:e}", in(reg) value, sym PCPU_HOT,
            const core::mem::offset_of!(PcpuHot, preempt_count), options(nostack));
    }
}
