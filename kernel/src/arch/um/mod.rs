//! The test port: portable kernel code as a host program (Linux: arch/um).
//!
//! One "CPU" per host thread, interrupts are a flag, memory is a big host allocation.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::kernel::sched::task::Task;
use crate::mm::{PhysAddr, UserAddr, VirtAddr};

mod boot;

pub use boot::*;

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Page size in bytes.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// End of the user half.
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;
/// Size of the simulated RAM in bytes.
pub const RAM_SIZE: usize = 256 << 20;

thread_local! {
    static IRQS_OFF: Cell<bool> = const { Cell::new(false) };
    static PREEMPT_COUNT: Cell<i32> = const { Cell::new(0) };
    static CURRENT: Cell<*const Task> = const { Cell::new(core::ptr::null()) };
}

/// Saved interrupt state.
#[derive(Clone, Copy)]
pub struct IrqFlags(bool);

/// Disables interrupts; returns the state before.
pub fn local_irq_save() -> IrqFlags {
    IrqFlags(IRQS_OFF.replace(true))
}
/// Puts a saved state back.
pub fn local_irq_restore(flags: IrqFlags) {
    IRQS_OFF.set(flags.0);
}
/// Disables interrupts.
pub fn local_irq_disable() {
    IRQS_OFF.set(true);
}
/// Enables interrupts.
pub fn local_irq_enable() {
    IRQS_OFF.set(false);
}
/// Whether interrupts are off.
pub fn irqs_disabled() -> bool {
    IRQS_OFF.get()
}
/// Enables interrupts and waits for one.
pub fn safe_halt() {
    local_irq_enable();
    std::thread::yield_now();
}
/// A pause in a spin loop.
pub fn cpu_relax() {
    std::hint::spin_loop();
}

/// Always CPU 0.
pub fn smp_processor_id() -> usize {
    0
}
/// The template is the only copy.
pub fn this_cpu_offset() -> usize {
    0
}
/// The running task; null in a test that set none.
pub fn current_ptr() -> *const Task {
    CURRENT.get()
}
/// Changes the running task.
///
/// # Safety
/// `task` must stay alive while it is current.
pub unsafe fn set_current_ptr(task: *const Task) {
    CURRENT.set(task);
}
/// Preempt count of this "CPU".
pub fn preempt_count() -> i32 {
    PREEMPT_COUNT.get()
}
/// Adds to the preempt count.
pub fn preempt_count_add(value: i32) {
    PREEMPT_COUNT.set(PREEMPT_COUNT.get() + value);
}
/// Subtracts from the preempt count.
pub fn preempt_count_sub(value: i32) {
    PREEMPT_COUNT.set(PREEMPT_COUNT.get() - value);
}

fn ram() -> usize {
    static RAM: OnceLock<usize> = OnceLock::new();
    *RAM.get_or_init(|| {
        let layout =
            std::alloc::Layout::from_size_align(RAM_SIZE, 4 << 20).expect("a valid layout");
        // SAFETY: the layout is not empty.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(
            !base.is_null(),
            "the host has no memory for the simulated RAM"
        );
        base as usize
    })
}
/// Where a physical address is mapped.
pub fn phys_to_virt(addr: PhysAddr) -> VirtAddr {
    assert!(
        addr.as_usize() < RAM_SIZE,
        "physical address outside the simulated RAM"
    );
    VirtAddr::new((ram() + addr.as_usize()) as u64)
}
/// The physical address behind a direct-map address.
pub fn virt_to_phys(addr: VirtAddr) -> PhysAddr {
    PhysAddr::new(addr.as_u64() - ram() as u64)
}

/// A user page table; the owner of mm gives it a soft implementation for tests.
pub struct PageTable {}

/// Copies from user memory; returns the number of bytes NOT copied.
///
/// # Safety
/// `dst` must be valid for `len` bytes.
pub unsafe fn raw_copy_from_user(dst: *mut u8, src: UserAddr, len: usize) -> usize {
    let _ = (dst, src);
    len
}
/// Copies to user memory; returns the number of bytes NOT copied.
///
/// # Safety
/// `src` must be valid for `len` bytes.
pub unsafe fn raw_copy_to_user(dst: UserAddr, src: *const u8, len: usize) -> usize {
    let _ = (dst, src);
    len
}

/// User registers as an interrupt or system call left them.
#[derive(Clone, Copy, Default, Debug)]
pub struct PtRegs {}
/// What a context switch saves; empty, tests do not switch.
#[derive(Default)]
pub struct ThreadStruct {}
/// See the x86 port.
pub fn copy_thread() {}
/// See the x86 port.
pub fn flush_thread() {}
/// See the x86 port.
pub fn start_thread() {}
/// See the x86 port.
pub fn switch_to() {}

/// A random number from the machine.
pub fn arch_get_random() -> Option<u64> {
    None
}
/// Writes to the host's standard error.
pub fn early_console_write(bytes: &[u8]) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(bytes);
}
/// A counter that only goes up.
pub fn get_cycles() -> u64 {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    START
        .get_or_init(std::time::Instant::now)
        .elapsed()
        .as_nanos() as u64
}
/// Ends the host program.
pub fn machine_halt() -> ! {
    panic!("machine_halt")
}
/// Ends the host program.
pub fn machine_power_off() -> ! {
    panic!("machine_power_off")
}
/// Ends the host program.
pub fn machine_restart() -> ! {
    panic!("machine_restart")
}
/// No exit device here.
pub fn qemu_exit(_code: u32) {}
