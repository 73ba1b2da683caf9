//! Throwing away stale translations (Linux: arch/x86/mm/tlb.c). Every flush for user memory goes
//! through `flush_tlb_range`, every flush for the kernel's through `flush_tlb_kernel_range`.
//!
//! An address space knows the CPUs that have its tables loaded, and counts its flushes. A CPU
//! that flushes tells the others by an interrupt and waits. One that runs a kernel thread on
//! borrowed tables ("lazily") uses no user address: it is left alone, unless page tables
//! themselves go, and compares the count when a user task comes back.
//!
//! A CPU that loads tables first enters itself, then reads the count, then loads; one that stops
//! being lazy first says so, then reads the count. A CPU that flushes first changes the entries,
//! then counts, then looks who has the tables. All of these are full barriers, so either side
//! sees the other.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::init_64::{flush_tlb_all_local, init_top_pgt};
use super::pgtable::write_cr3;
use crate::arch::x86::asm::cr::invlpg;
use crate::arch::x86::kernel::irq::count_tlb_shootdown;
use crate::arch::{PAGE_SIZE, local_irq_restore, local_irq_save, smp_processor_id};
use crate::kernel::cpu::CPU_ONLINE;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::smp::{Wait, cpus_of, smp_call_function_many};
use crate::mm::mmap::MmStruct;
use crate::mm::percpu::PerCpu;
use crate::mm::{PhysAddr, VirtAddr};
use crate::prelude::*;

/// Above this many pages the whole TLB goes (Linux: `tlb_single_page_flush_ceiling`).
const SINGLE_PAGE_FLUSH_CEILING: u64 = 33;
const PAGE: u64 = PAGE_SIZE as u64;

/// Who uses an address space, and what it has flushed (Linux: `mm_context_t`, `mm_cpumask`).
pub struct MmContext {
    /// CPUs that have the tables loaded, lazily or not.
    cpus: AtomicU64,
    /// Flushes so far (Linux: `tlb_gen`).
    generation: AtomicU64,
}

impl MmContext {
    /// Nobody uses it.
    pub const fn new() -> Self {
        Self {
            cpus: AtomicU64::new(0),
            generation: AtomicU64::new(1),
        }
    }
    /// A CPU has loaded other tables.
    pub fn left_by(&self, cpu: usize) {
        self.cpus.fetch_and(!(1 << cpu), Ordering::SeqCst);
    }
}

impl Default for MmContext {
    fn default() -> Self {
        Self::new()
    }
}

/// What a CPU has loaded (Linux: `cpu_tlbstate`). Only the CPU itself writes, interrupts off.
struct TlbState {
    /// Top table; 0 for the kernel's own.
    pgd: AtomicU64,
    /// The generation of its address space that this CPU's TLB is up to date with.
    generation: AtomicU64,
    /// A kernel thread borrows the tables.
    lazy: AtomicBool,
}

#[per_cpu]
static TLB_STATE: PerCpu<TlbState> = PerCpu::new(TlbState {
    pgd: AtomicU64::new(0),
    generation: AtomicU64::new(0),
    lazy: AtomicBool::new(false),
});

/// A flush that a CPU asks others for (Linux: `struct flush_tlb_info`). A `pgd` of 0 means the
/// kernel's addresses.
struct FlushInfo {
    pgd: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    generation: AtomicU64,
}

#[per_cpu]
static FLUSH_INFO: PerCpu<FlushInfo> = PerCpu::new(FlushInfo {
    pgd: AtomicU64::new(0),
    start: AtomicU64::new(0),
    end: AtomicU64::new(0),
    generation: AtomicU64::new(0),
});

impl FlushInfo {
    fn set(&self, pgd: u64, range: (u64, u64), generation: u64) {
        self.pgd.store(pgd, Ordering::Relaxed);
        self.start.store(range.0, Ordering::Relaxed);
        self.end.store(range.1, Ordering::Relaxed);
        self.generation.store(generation, Ordering::Relaxed);
    }
}

/// Whether page tables go too, or only what they pointed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// Leaf entries changed.
    Pages,
    /// Tables are freed: even a CPU that uses no user address may remember them.
    Tables,
}

/// Loads the page tables of the task that runs next. Interrupts are off.
#[inline]
pub fn switch_mm(next: Option<&MmStruct>) {
    match next {
        Some(mm) => mm.page_table().activate(),
        None => enter_lazy_tlb(),
    }
}

/// A kernel thread borrows the tables that are loaded: every one has the kernel half
/// (Linux: `enter_lazy_tlb`). Interrupts are off.
#[inline]
pub fn enter_lazy_tlb() {
    let state = TLB_STATE.raw_this();
    if state.pgd.load(Ordering::Relaxed) != 0 {
        state.lazy.store(true, Ordering::Release);
    }
}

/// Makes a top table this CPU's (Linux: `switch_mm_irqs_off`). The caller keeps it alive while it
/// is loaded. Interrupts are off.
#[inline]
pub fn load_pgd(pgd: PhysAddr, context: &MmContext) {
    let state = TLB_STATE.raw_this();
    if state.pgd.load(Ordering::Relaxed) != pgd.as_u64() {
        context
            .cpus
            .fetch_or(1 << smp_processor_id(), Ordering::SeqCst);
        load_fresh(state, pgd, context);
    } else if state.lazy.load(Ordering::Relaxed) {
        state.lazy.swap(false, Ordering::SeqCst);
        let generation = context.generation.load(Ordering::SeqCst);
        if state.generation.load(Ordering::Relaxed) != generation {
            load_fresh(state, pgd, context); // flushed while nobody told this CPU
        }
    }
}

fn load_fresh(state: &TlbState, pgd: PhysAddr, context: &MmContext) {
    state.pgd.store(pgd.as_u64(), Ordering::Relaxed);
    state.lazy.swap(false, Ordering::SeqCst);
    let generation = context.generation.load(Ordering::SeqCst);
    state.generation.store(generation, Ordering::Relaxed);
    write_cr3(pgd);
}

/// Goes back to the kernel's own table. Interrupts are off.
fn leave(state: &TlbState) {
    write_cr3(init_top_pgt());
    state.pgd.store(0, Ordering::Relaxed);
    state.lazy.store(false, Ordering::Relaxed);
}

/// Makes every CPU that still borrows the tables go back to the kernel's own: nobody flushes
/// while they are taken apart (Linux: `leave_mm`). Interrupts are on if others borrow them.
pub fn leave_pgd(pgd: PhysAddr, context: &MmContext) {
    if context.cpus.load(Ordering::SeqCst) == 0 {
        return;
    }
    let here = preempt_disable();
    let flags = local_irq_save();
    let state = TLB_STATE.raw_this();
    if state.pgd.load(Ordering::Relaxed) == pgd.as_u64() {
        leave(state);
    }
    local_irq_restore(flags);
    context.left_by(smp_processor_id());
    let others = context.cpus.load(Ordering::SeqCst);
    if others != 0 {
        let call = |pgd: usize| {
            count_tlb_shootdown();
            let state = TLB_STATE.raw_this();
            if state.pgd.load(Ordering::Relaxed) == pgd as u64 {
                leave(state);
            }
        };
        smp_call_function_many(others, call, pgd.as_usize(), Wait::Yes, &here);
        context.cpus.fetch_and(!others, Ordering::SeqCst);
    }
}

/// Forgets what the CPUs know about `start..end` of the address space with top table `pgd`, and
/// about its page tables there. On return nobody uses the old entries any more
/// (Linux: `flush_tlb_mm_range`). Interrupts are on if other CPUs may use it.
pub fn flush_tlb_range(pgd: PhysAddr, context: &MmContext, start: u64, end: u64, freed: Freed) {
    let here = preempt_disable();
    let generation = context.generation.fetch_add(1, Ordering::SeqCst) + 1;
    let me = smp_processor_id();
    let users = context.cpus.load(Ordering::SeqCst);
    let others = users & !(1 << me);
    if others != 0 {
        let told = match freed {
            Freed::Tables => others,
            Freed::Pages => cpus_of(others)
                .filter(|&cpu| !TLB_STATE.on(cpu).lazy.load(Ordering::SeqCst))
                .fold(0, |mask, cpu| mask | 1 << cpu),
        };
        FLUSH_INFO
            .on(me)
            .set(pgd.as_u64(), (start, end), generation);
        smp_call_function_many(told, flush_tlb_func, me, Wait::Yes, &here);
    }
    if users & 1 << me != 0 {
        let flags = local_irq_save();
        flush_user(pgd.as_u64(), (start, end), generation);
        local_irq_restore(flags);
    }
}

/// What an interrupt makes a CPU flush; the argument is the CPU that asks
/// (Linux: `flush_tlb_func`).
fn flush_tlb_func(sender: usize) {
    count_tlb_shootdown();
    let info = FLUSH_INFO.on(sender);
    let pgd = info.pgd.load(Ordering::Relaxed);
    let start = info.start.load(Ordering::Relaxed);
    let end = info.end.load(Ordering::Relaxed);
    if pgd == 0 {
        return flush_kernel_local(start, end);
    }
    let state = TLB_STATE.raw_this();
    if state.pgd.load(Ordering::Relaxed) != pgd {
        return;
    }
    if state.lazy.load(Ordering::Relaxed) {
        return leave(state); // nothing of it is needed; so no flush interrupts it again
    }
    flush_user(pgd, (start, end), info.generation.load(Ordering::Relaxed));
}

/// Brings this CPU's TLB up to `generation`: the range if that is all it misses. Interrupts off.
fn flush_user(pgd: u64, (start, end): (u64, u64), generation: u64) {
    let state = TLB_STATE.raw_this();
    let mine = state.generation.load(Ordering::Relaxed);
    if state.pgd.load(Ordering::Relaxed) != pgd || mine >= generation {
        return;
    }
    state.generation.store(generation, Ordering::Relaxed);
    if mine + 1 != generation || (end - start) / PAGE > SINGLE_PAGE_FLUSH_CEILING {
        return flush_all_user();
    }
    for addr in (start..end).step_by(PAGE_SIZE) {
        // SAFETY: dropping a translation is always allowed; not `nomem`, so that the entry's
        // store comes before it.
        unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) };
    }
}

/// Drops every non-global translation of this CPU.
fn flush_all_user() {
    // SAFETY: reloads the value that is there, whose kernel half maps this code.
    unsafe {
        asm!("mov {tmp}, cr3", "mov cr3, {tmp}", tmp = out(reg) _, options(nostack, preserves_flags));
    }
}

/// Drops all CPUs' translations of a kernel range (Linux: `flush_tlb_kernel_range`). Interrupts
/// are on once other CPUs run.
pub fn flush_tlb_kernel_range(start: VirtAddr, end: VirtAddr) {
    let here = preempt_disable();
    let me = smp_processor_id();
    if CPU_ONLINE.bits() & !(1 << me) != 0 {
        let range = (start.as_u64(), end.as_u64());
        FLUSH_INFO.on(me).set(0, range, 0);
        smp_call_function_many(u64::MAX, flush_tlb_func, me, Wait::Yes, &here);
    }
    flush_kernel_local(start.as_u64(), end.as_u64());
}

/// Drops all CPUs' translations, global ones too (Linux: `flush_tlb_all`). As above.
pub fn flush_tlb_all() {
    let limit = (SINGLE_PAGE_FLUSH_CEILING + 1) * PAGE;
    flush_tlb_kernel_range(VirtAddr::new(0), VirtAddr::new(limit));
}

fn flush_kernel_local(start: u64, end: u64) {
    let start = start & !(PAGE - 1);
    if (end - start) / PAGE > SINGLE_PAGE_FLUSH_CEILING {
        return flush_tlb_all_local();
    }
    for addr in (start..end).step_by(PAGE_SIZE) {
        invlpg(addr);
    }
}
