//! The test port: portable kernel code as a host program (Linux: arch/um).
//!
//! One "CPU" per host thread, interrupts are a flag, memory is a big host allocation.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, OnceLock};

use uapi::errno::Errno;

use crate::kernel::sched::task::Task;
use crate::mm::{Pfn, PhysAddr, VirtAddr};

mod boot;
mod devices;
pub mod sections;
pub use devices::{Framebuffer, IoRegion, framebuffer, ioports_text};
mod pgtable;
mod process;
mod thread;

pub use pgtable::{
    flush_tlb_range, leave_pgd, load_pgd, pgd_ctor, pte_bits, raw_copy_from_user, raw_copy_to_user,
    supported_pte_mask, switch_mm,
};

pub use boot::*;
pub use process::*;
pub use thread::{ThreadStruct, copy_thread, init_stack_end, switch_to};

/// Nothing is guessed on the test port.
pub fn array_index_nospec(index: usize, size: usize) -> usize {
    if index < size { index } else { 0 }
}

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

/// Host threads that are no tasks run kernel code too, and all of them are "CPU 0".
pub const COUNTS_READERS_BY_TASK: bool = false;

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
/// Adds one to the preempt count.
pub fn preempt_count_inc() {
    preempt_count_add(1);
}
/// Subtracts one from the preempt count; true when it is zero now and the task was asked to call `schedule`.
pub fn preempt_count_dec_and_test() -> bool {
    preempt_count_sub(1);
    preempt_count() == 0 && crate::kernel::sched::need_resched()
}
/// The task's own flag is enough here.
pub fn set_preempt_need_resched() {}
/// The task's own flag is enough here.
pub fn clear_preempt_need_resched() {}
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
/// Start of the vmalloc area: addresses that are only looked at, never used.
pub const VMALLOC_START: u64 = 0xffff_c900_0000_0000;
/// End of the vmalloc area.
pub const VMALLOC_END: u64 = VMALLOC_START + (512 << 30);

bitflags::bitflags! {
    /// What a kernel mapping allows.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct KProt: u64 {
        /// Writes are allowed.
        const RW = 1;
        /// Instruction fetches fault.
        const NX = 2;
    }
}
impl KProt {
    /// Data.
    pub const KERNEL: KProt = KProt::RW.union(KProt::NX);
    /// Constants.
    pub const KERNEL_RO: KProt = KProt::NX;
    /// Code.
    pub const KERNEL_ROX: KProt = KProt::empty();
}

/// The kernel's "page table": frame by page address.
static KERNEL_MAP: Mutex<BTreeMap<u64, Pfn>> = Mutex::new(BTreeMap::new());

fn kernel_map() -> std::sync::MutexGuard<'static, BTreeMap<u64, Pfn>> {
    KERNEL_MAP
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Maps one page of the kernel half. Errors: EEXIST.
pub fn map_kernel_page(addr: VirtAddr, pfn: Pfn, _prot: KProt) -> crate::prelude::Result {
    match kernel_map().entry(addr.as_u64()) {
        Entry::Vacant(slot) => {
            slot.insert(pfn);
            Ok(())
        }
        Entry::Occupied(_) => Err(Errno::EEXIST),
    }
}
/// Unmaps one page and says which frame was there.
pub fn unmap_kernel_page(addr: VirtAddr) -> Option<Pfn> {
    kernel_map().remove(&addr.as_u64())
}
/// There is no TLB.
pub fn flush_tlb_kernel_range(_start: VirtAddr, _end: VirtAddr) {}
/// Physical address that a kernel address is mapped to.
pub fn slow_virt_to_phys(addr: VirtAddr) -> Option<PhysAddr> {
    if let Some(phys) = direct_map_phys(addr) {
        return Some(phys);
    }
    let page = addr.align_down(PAGE_SIZE as u64);
    let pfn = *kernel_map().get(&page.as_u64())?;
    Some(pfn.phys() + (addr - page))
}
/// The page array is there from the start.
pub fn vmemmap_populate(_start: Pfn, _end: Pfn, _entry_size: usize) -> crate::prelude::Result {
    Ok(())
}
/// There is no image.
pub fn image_sections() -> crate::mm::mm_init::ImageSections {
    crate::mm::mm_init::ImageSections::default()
}
/// The physical address behind an address of the direct map, `None` for any other address.
pub fn direct_map_phys(addr: VirtAddr) -> Option<PhysAddr> {
    let offset = addr.as_usize().wrapping_sub(ram());
    (offset < RAM_SIZE).then(|| PhysAddr::new(offset as u64))
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

/// AT_PLATFORM.
pub const ELF_PLATFORM: &str = "x86_64";
/// AT_HWCAP.
pub fn elf_hwcap() -> u64 {
    0
}
/// AT_HWCAP2.
pub fn elf_hwcap2() -> u64 {
    0
}
/// AT_MINSIGSTKSZ.
pub fn elf_minsigstksz() -> u64 {
    2048
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
/// The host program can end.
pub fn can_power_off() -> bool {
    true
}
/// Nothing to prepare.
pub fn power_off_prepare() {}
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
