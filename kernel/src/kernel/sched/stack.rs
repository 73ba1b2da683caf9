//! Kernel stacks and their end mark (Linux: include/linux/sched/task_stack.h).

use crate::arch;
use crate::kernel::sched::task::Task;
use crate::mm::VirtAddr;
pub use crate::mm::vmalloc::THREAD_SIZE;
use crate::mm::vmalloc::{VmArea, alloc_kernel_stack, free_kernel_stack};

/// What the lowest word of every kernel stack holds.
pub const STACK_END_MAGIC: u64 = 0x57AC_6E9D;

/// The stack a task uses in the kernel.
pub struct KernelStack {
    area: VmArea,
    /// The lowest word, through the direct map.
    end_word: VirtAddr,
}

impl KernelStack {
    /// A stack with its end mark in place. May sleep.
    pub fn alloc() -> Option<Self> {
        let area = alloc_kernel_stack()?;
        let end_word = arch::phys_to_virt(arch::slow_virt_to_phys(area.addr())?);
        set_stack_end_magic(end_word);
        Some(Self { area, end_word })
    }

    /// Gives the stack back, for the next fork. Nobody runs on it any more. Any context.
    pub(super) fn free(self) {
        free_kernel_stack(self.area);
    }

    /// Lowest usable address (Linux: `end_of_stack`).
    pub fn end_of_stack(&self) -> VirtAddr {
        self.area.addr()
    }
    /// One past the highest address: where a stack starts.
    pub fn top(&self) -> VirtAddr {
        self.area.addr() + self.area.size() as u64
    }
    /// Where the end mark is.
    pub(super) fn end_word(&self) -> VirtAddr {
        self.end_word
    }
}

/// Writes the end mark into the lowest word of a stack (Linux: `set_task_stack_end_magic`).
fn set_stack_end_magic(end: VirtAddr) {
    // SAFETY: `end` is an address of the lowest word of a stack that nobody uses yet.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u64>(end.as_usize()).write(STACK_END_MAGIC);
    }
}

/// Gives the boot task the stack that ends at `end`, its lowest address, and marks the end
/// (Linux: `set_task_stack_end_magic(&init_task)`).
///
/// # Safety
/// `end` is the lowest, 8-byte aligned and unused word of the stack that the boot CPU runs on.
pub unsafe fn set_boot_stack(boot_task: &Task, end: VirtAddr) {
    set_stack_end_magic(end);
    boot_task.se.stack_end.set(end.as_u64());
}

/// The panic of a running task that used more stack than it has.
#[inline]
pub(super) fn check_stack_end(task: &Task) {
    let end = task.se.stack_end.get() as usize;
    if end != 0 && !mark_is_intact(end) {
        panic!("corrupted stack end detected inside scheduler");
    }
}

/// Linux: `!task_stack_end_corrupted`.
#[inline]
fn mark_is_intact(end: usize) -> bool {
    // SAFETY: the word belongs to the stack of the task that runs: mapped and aligned.
    let mark = unsafe { core::ptr::with_exposed_provenance::<u64>(end).read() };
    mark == STACK_END_MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stack_carries_its_end_mark_and_an_overrun_is_seen() {
        let stack = KernelStack::alloc().expect("memory");
        assert_eq!(stack.top() - stack.end_of_stack(), THREAD_SIZE as u64);
        let end = stack.end_word().as_usize();
        assert!(mark_is_intact(end));
        // SAFETY: the stack is ours and unused.
        unsafe { core::ptr::with_exposed_provenance_mut::<u64>(end).write(0) };
        assert!(!mark_is_intact(end));
        stack.free();
    }
}
