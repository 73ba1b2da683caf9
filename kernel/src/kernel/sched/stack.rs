//! Kernel stacks: their end mark and a small cache (Linux: kernel/fork.c `alloc_thread_stack_node`,
//! include/linux/sched/task_stack.h).

use crate::kernel::sched::task::Task;
use crate::mm::VirtAddr;
use crate::mm::vmalloc::{VmArea, vmalloc};
use crate::prelude::*;

/// Size of a kernel stack, bytes (Linux: `THREAD_SIZE`).
pub const THREAD_SIZE: usize = 16 << 10;
/// What the lowest word of every kernel stack holds.
pub const STACK_END_MAGIC: u64 = 0x57AC_6E9D;
/// Stacks kept for the next fork: mapping and unmapping pages costs more than all the rest.
const NR_CACHED_STACKS: usize = 4;

static STACK_CACHE: IrqSpinLock<[Option<KernelStack>; NR_CACHED_STACKS]> =
    IrqSpinLock::new([const { None }; NR_CACHED_STACKS]);

/// The stack a task uses in the kernel.
pub struct KernelStack {
    area: VmArea,
}

impl KernelStack {
    /// A stack with its end mark in place; from the cache if there is one. May sleep.
    pub fn alloc() -> Option<Self> {
        let cached = STACK_CACHE.lock().iter_mut().find_map(Option::take);
        let stack = match cached {
            Some(stack) => stack,
            None => Self {
                area: vmalloc(THREAD_SIZE, "dup_task_struct")?,
            },
        };
        set_stack_end_magic(stack.end_of_stack());
        Some(stack)
    }

    /// Gives the stack to the cache, or frees it. Nobody runs on it any more.
    pub(super) fn free(self) {
        let mut cache = STACK_CACHE.lock();
        if let Some(slot) = cache.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(self);
        } else {
            drop(cache);
            drop(self);
        }
    }

    /// Lowest usable address (Linux: `end_of_stack`).
    pub fn end_of_stack(&self) -> VirtAddr {
        self.area.addr()
    }
    /// One past the highest address: where a stack starts.
    pub fn top(&self) -> VirtAddr {
        self.area.addr() + self.area.size() as u64
    }
    /// Whether the end mark is intact (Linux: `!task_stack_end_corrupted`).
    #[inline]
    pub fn end_is_intact(&self) -> bool {
        let end = core::ptr::with_exposed_provenance::<u64>(self.area.addr().as_usize());
        // SAFETY: the stack is mapped while `self` exists, and its lowest word is aligned.
        let word = unsafe { end.read() };
        word == STACK_END_MAGIC
    }
}

/// Writes the end mark at the lowest address of a stack (Linux: `set_task_stack_end_magic`).
fn set_stack_end_magic(end: VirtAddr) {
    // SAFETY: `end` is the lowest word of a mapped stack that nobody uses yet.
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
    // SAFETY: the word is in the stack of the task that runs: mapped and aligned.
    let intact = end == 0
        || unsafe { core::ptr::with_exposed_provenance::<u64>(end).read() } == STACK_END_MAGIC;
    if !intact {
        panic!("corrupted stack end detected inside scheduler");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stack_carries_its_end_mark_at_the_lowest_address() {
        let stack = KernelStack::alloc().expect("the host has memory");
        assert_eq!(stack.top() - stack.end_of_stack(), THREAD_SIZE as u64);
        assert!(stack.end_is_intact());
        // SAFETY: the stack is ours and unused.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<u64>(stack.end_of_stack().as_usize()).write(0);
        }
        assert!(!stack.end_is_intact());
        stack.free();
    }
}
