//! The test port: portable kernel code as a host program (Linux: arch/um).
//!
//! One "CPU" per host thread, interrupts are a flag, memory is a big host allocation.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::kernel::sched::task::Task;
use crate::mm::{PhysAddr, VirtAddr};

mod devices;
pub mod sections;
pub use devices::{Framebuffer, IoRegion, framebuffer, ioports_text};
mod pgtable;
mod process;

pub use pgtable::{
    flush_tlb_range, leave_pgd, load_pgd, pgd_ctor, pte_bits, raw_copy_from_user, raw_copy_to_user,
    supported_pte_mask, switch_mm,
};

mod boot;

pub use boot::*;

pub use process::{
    PtRegs, ThreadEntry, ThreadStruct, copy_thread, flush_thread, smp_send_reschedule,
    start_thread, switch_to,
};

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
    static LOCAL_DEPTH: Cell<u32> = const { Cell::new(0) };
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

/// Start of the `struct page` array (Linux: `vmemmap`): zeroed host memory.
pub fn vmemmap_start() -> usize {
    static MAP: OnceLock<usize> = OnceLock::new();
    *MAP.get_or_init(|| {
        let bytes = (RAM_SIZE >> PAGE_SHIFT) * size_of::<crate::mm::page::Page>();
        let layout = std::alloc::Layout::from_size_align(bytes, PAGE_SIZE).expect("a valid layout");
        // SAFETY: the layout is not empty.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!base.is_null(), "the host has no memory for the page array");
        base as usize
    })
}
/// The frame behind a vmalloc address.
pub fn kernel_virt_to_pfn(_addr: VirtAddr) -> Option<crate::mm::Pfn> {
    None
}
/// Whether the direct map covers a kernel address (Linux: `virt_addr_valid`).
pub fn virt_addr_valid(addr: VirtAddr) -> bool {
    addr.as_usize().wrapping_sub(ram()) < RAM_SIZE
}
/// Memory that the page allocator takes over by itself when it is first asked: unit tests have
/// no boot. Page 0 stays out, as on a PC.
pub fn self_hosted_ram() -> Option<(PhysAddr, PhysAddr)> {
    let end = PhysAddr::new(RAM_SIZE as u64);
    Some((PhysAddr::new(PAGE_SIZE as u64), end))
}
/// Zeroes one page.
///
/// # Safety
/// `page` is a page-aligned address of a whole writable page.
pub unsafe fn clear_page(page: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { page.write_bytes(0, PAGE_SIZE) };
}
/// Copies one page.
///
/// # Safety
/// Both are page-aligned addresses of whole pages that do not overlap; `dst` is writable.
pub unsafe fn copy_page(dst: *mut u8, src: *const u8) {
    // SAFETY: the caller's contract.
    unsafe { dst.copy_from_nonoverlapping(src, PAGE_SIZE) };
}

/// Serialises the host threads that stand for CPU 0: see `local_lock_irqsave`.
static LOCAL_LOCK: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Disables interrupts around data of this CPU. All host threads are "CPU 0", so that the test
/// port needs a real lock (nested sections of one thread take it once).
pub fn local_lock_irqsave() -> IrqFlags {
    use std::sync::atomic::Ordering;
    if LOCAL_DEPTH.replace(LOCAL_DEPTH.get() + 1) == 0 {
        while LOCAL_LOCK.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
    local_irq_save()
}
/// Ends a section that `local_lock_irqsave` began.
pub fn local_unlock_irqrestore(flags: IrqFlags) {
    local_irq_restore(flags);
    LOCAL_DEPTH.set(LOCAL_DEPTH.get() - 1);
    if LOCAL_DEPTH.get() == 0 {
        LOCAL_LOCK.store(false, std::sync::atomic::Ordering::Release);
    }
}

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
