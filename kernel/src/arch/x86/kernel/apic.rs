//! The local APIC (Linux: arch/x86/kernel/apic/apic.c).
//!
//! The mode stays as the firmware left it: registers in memory (xAPIC) or MSRs (x2APIC).
//! Switching x2APIC on needs interrupt remapping, and switching it off loses the APIC.

use core::arch::x86_64::{__cpuid, __cpuid_count, _mm_mfence};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::acpi::acpi;
use super::tsc;
use crate::arch::smp_processor_id;
use crate::arch::x86::asm::irq_vectors::{
    ERROR_APIC_VECTOR, LOCAL_TIMER_VECTOR, RESCHEDULE_VECTOR, SPURIOUS_APIC_VECTOR,
};
use crate::arch::x86::asm::msr::{
    MSR_IA32_APICBASE, MSR_IA32_TSC_DEADLINE, MSR_X2APIC_FIRST, rdmsr, wrmsr,
};
use crate::arch::x86::mm::init_64::Cache;
use crate::arch::x86::mm::ioremap::ioremap;
use crate::kernel::time::{ClockEventDevice, NSEC_PER_SEC, clockevents_register_device};
use crate::mm::PhysAddr;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// Registers, as offsets of the memory mapping.
mod reg {
    pub const ID: u32 = 0x20;
    pub const VERSION: u32 = 0x30;
    pub const TASK_PRIORITY: u32 = 0x80;
    pub const EOI: u32 = 0xb0;
    pub const LOGICAL_DEST: u32 = 0xd0;
    pub const DEST_FORMAT: u32 = 0xe0;
    pub const SPURIOUS: u32 = 0xf0;
    pub const IN_SERVICE: u32 = 0x100;
    pub const ERROR_STATUS: u32 = 0x280;
    pub const COMMAND: u32 = 0x300;
    pub const COMMAND_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_THERMAL: u32 = 0x330;
    pub const LVT_PERF: u32 = 0x340;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3e0;
}

const APICBASE_ENABLE: u64 = 1 << 11;
const APICBASE_X2APIC: u64 = 1 << 10;
const LVT_MASKED: u32 = 1 << 16;
const LVT_TSC_DEADLINE: u32 = 2 << 17;
const DELIVERY_EXTINT: u32 = 7 << 8;
const DELIVERY_NMI: u32 = 4 << 8;
const SPURIOUS_APIC_ENABLED: u32 = 1 << 8;
const ICR_BUSY: u32 = 1 << 12;
const ICR_ASSERT: u32 = 1 << 14;
/// Divides the bus clock by 16.
const DIVIDE_BY_16: u32 = 3;

/// Address of the registers; 0 in x2APIC mode or without APIC.
static MMIO: AtomicU64 = AtomicU64::new(0);
static X2APIC: AtomicBool = AtomicBool::new(false);
/// Ticks of the timer in a second, divided; 0 until calibrated.
static TIMER_HZ: AtomicU64 = AtomicU64::new(0);
/// APIC numbers of the CPUs.
static APIC_ID: [AtomicU32; NR_CPUS] = [const { AtomicU32::new(0) }; NR_CPUS];

/// Whether there is a local APIC and it is in use.
pub fn enabled() -> bool {
    X2APIC.load(Ordering::Relaxed) || MMIO.load(Ordering::Relaxed) != 0
}

#[inline]
fn read(register: u32) -> u32 {
    let base = MMIO.load(Ordering::Relaxed);
    if base != 0 {
        // SAFETY: the register page is mapped for ever.
        return unsafe { ((base + u64::from(register)) as *const u32).read_volatile() };
    }
    if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: x2APIC mode is on, so the register exists.
        return unsafe { rdmsr(MSR_X2APIC_FIRST + (register >> 4)) } as u32;
    }
    0
}

#[inline]
fn write(register: u32, value: u32) {
    let base = MMIO.load(Ordering::Relaxed);
    if base != 0 {
        // SAFETY: the register page is mapped for ever; the value is for this register.
        unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) };
    } else if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: as above.
        unsafe { wrmsr(MSR_X2APIC_FIRST + (register >> 4), value.into()) };
    }
}

/// The interrupt has been taken.
#[inline]
pub fn eoi() {
    write(reg::EOI, 0);
}

/// This CPU's APIC number.
pub fn read_id() -> u32 {
    let id = read(reg::ID);
    if X2APIC.load(Ordering::Relaxed) {
        id
    } else {
        id >> 24
    }
}

/// The APIC number of `cpu`.
pub fn apic_id_of(cpu: usize) -> u32 {
    APIC_ID[cpu].load(Ordering::Relaxed)
}

/// Tells the APIC number of a CPU that will be started.
pub fn set_apic_id(cpu: usize, apic_id: u32) {
    APIC_ID[cpu].store(apic_id, Ordering::Relaxed);
}

/// This CPU's APIC number, before the APIC's registers are mapped: CPUID tells it.
pub fn cpuid_apic_id() -> u32 {
    const TOPOLOGY: u32 = 0xb;
    if __cpuid(0).eax >= TOPOLOGY {
        let leaf = __cpuid_count(TOPOLOGY, 0);
        if leaf.ebx != 0 {
            return leaf.edx;
        }
    }
    __cpuid(1).ebx >> 24
}

/// Whether the firmware left the APIC in x2APIC mode. Boot CPU, any time.
pub fn x2apic_by_firmware() -> bool {
    const CPUID_APIC: u32 = 1 << 9;
    if __cpuid(1).edx & CPUID_APIC == 0 {
        return false;
    }
    // SAFETY: a CPU with a local APIC has the register.
    let base = unsafe { rdmsr(MSR_IA32_APICBASE) };
    base & (APICBASE_ENABLE | APICBASE_X2APIC) == APICBASE_ENABLE | APICBASE_X2APIC
}

/// Brings the APIC of a CPU that starts into the mode of the others (Linux: `x2apic_setup`).
/// Interrupts are off.
pub fn match_boot_cpu_mode() {
    // SAFETY: the boot CPU has an APIC, and so has every other.
    let base = unsafe { rdmsr(MSR_IA32_APICBASE) };
    let set = |mode: u64| {
        let value = base & !(APICBASE_ENABLE | APICBASE_X2APIC) | mode;
        // SAFETY: each step below is one that the mode's state machine allows.
        unsafe { wrmsr(MSR_IA32_APICBASE, value) };
    };
    let is_x2apic = base & APICBASE_X2APIC != 0;
    match (X2APIC.load(Ordering::Relaxed), is_x2apic) {
        (true, false) => {
            set(APICBASE_ENABLE);
            set(APICBASE_ENABLE | APICBASE_X2APIC);
        }
        (false, true) => {
            set(0);
            set(APICBASE_ENABLE);
        }
        (false, false) if base & APICBASE_ENABLE == 0 => set(APICBASE_ENABLE),
        _ => {}
    }
}

fn nolapic(_value: &str) -> Result {
    NOLAPIC.store(true, Ordering::Relaxed);
    Ok(())
}
crate::early_param!("nolapic", nolapic);
static NOLAPIC: AtomicBool = AtomicBool::new(false);

/// Finds the local APIC and maps its registers (Linux: `init_apic_mappings`). False: the CPU has
/// none, or it is switched off. Boot CPU.
pub fn init_apic_mappings() -> bool {
    const CPUID_APIC: u32 = 1 << 9;
    if __cpuid(1).edx & CPUID_APIC == 0 || NOLAPIC.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: a CPU with a local APIC has the register.
    let base = unsafe { rdmsr(MSR_IA32_APICBASE) };
    if base & APICBASE_ENABLE != 0 && base & APICBASE_X2APIC != 0 {
        pr_info!("x2apic: enabled by BIOS, switching to x2apic ops");
        X2APIC.store(true, Ordering::Relaxed);
        return true;
    }
    let address = acpi()
        .local_apic
        .unwrap_or(PhysAddr::new(base & 0x000f_ffff_ffff_f000));
    if base & APICBASE_ENABLE == 0 {
        pr_info!("Local APIC disabled by BIOS -- reenabling.");
        // SAFETY: an address of the register page, which nothing else uses.
        unsafe {
            wrmsr(
                MSR_IA32_APICBASE,
                address.as_u64() | APICBASE_ENABLE | base & 1 << 8,
            )
        };
    }
    match ioremap(address, 4096, Cache::Uncached) {
        Ok(mapped) => MMIO.store(mapped.as_u64(), Ordering::Relaxed),
        Err(errno) => pr_err!("APIC: cannot map the registers at {address:?}: {errno}"),
    }
    enabled()
}

/// Readies this CPU's APIC (Linux: `setup_local_APIC`). Interrupts are off.
pub fn setup_local_apic() {
    // Everything but the exceptions' vectors may interrupt.
    write(reg::TASK_PRIORITY, 0x10);
    clear_in_service();
    if !X2APIC.load(Ordering::Relaxed) {
        write(reg::DEST_FORMAT, u32::MAX);
        write(reg::LOGICAL_DEST, 1 << (24 + smp_processor_id() % 8));
    }
    write(
        reg::SPURIOUS,
        SPURIOUS_APIC_ENABLED | u32::from(SPURIOUS_APIC_VECTOR),
    );
    // The PIC's interrupts go through LINT0 until the I/O APIC takes over.
    write(reg::LVT_LINT0, DELIVERY_EXTINT | LVT_MASKED);
    let lint1 = if smp_processor_id() == 0 {
        DELIVERY_NMI
    } else {
        DELIVERY_NMI | LVT_MASKED
    };
    write(reg::LVT_LINT1, lint1);
    write(reg::LVT_TIMER, LVT_MASKED | u32::from(LOCAL_TIMER_VECTOR));
    let max_lvt = read(reg::VERSION) >> 16 & 0xff;
    if max_lvt >= 4 {
        write(reg::LVT_PERF, LVT_MASKED | DELIVERY_NMI);
    }
    if max_lvt >= 5 {
        write(reg::LVT_THERMAL, LVT_MASKED);
    }
    write(reg::ERROR_STATUS, 0);
    write(reg::LVT_ERROR, ERROR_APIC_VECTOR.into());
    write(reg::ERROR_STATUS, 0);
    APIC_ID[smp_processor_id()].store(read_id(), Ordering::Relaxed);
}

/// The firmware may have left interrupts unacknowledged, which would block lower vectors.
fn clear_in_service() {
    for _ in 0..256 {
        let busy = (0..8).any(|word| read(reg::IN_SERVICE + word * 0x10) != 0);
        if !busy {
            return;
        }
        eoi();
    }
}

/// Lets the PIC's interrupts through to this CPU: a machine without I/O APIC
/// (Linux: `setup_virtual_wire_mode`).
pub fn enable_virtual_wire() {
    write(reg::LVT_LINT0, DELIVERY_EXTINT);
}

/// Vector 0xfe (Linux: `sysvec_error_interrupt`).
pub fn error_interrupt() {
    const REASONS: [&str; 8] = [
        "Send CS error",
        "Receive CS error",
        "Send accept error",
        "Receive accept error",
        "Redirectable IPI",
        "Send illegal vector",
        "Received illegal vector",
        "Illegal register address",
    ];
    write(reg::ERROR_STATUS, 0);
    let status = read(reg::ERROR_STATUS);
    eoi();
    if crate::kernel::ratelimit::printk_ratelimit() {
        pr_warn!("APIC error on CPU{}: {status:02x}", smp_processor_id());
        let set = (0..8).filter(|bit| status & 1 << bit != 0);
        for bit in set {
            pr_warn!("APIC error: {}", REASONS[bit]);
        }
    }
}

/// Vector 0xff: the interrupt went away before it was delivered; it needs no acknowledgement
/// unless somebody really used the vector (Linux: `handle_spurious_interrupt`).
pub fn spurious_interrupt(vector: u8) {
    let word = read(reg::IN_SERVICE + u32::from(vector / 32) * 0x10);
    if word & 1 << (vector % 32) != 0 {
        eoi();
    }
}

/// Sends a vector to the CPU with an APIC number.
fn send_ipi(apic_id: u32, command: u32) {
    if X2APIC.load(Ordering::Relaxed) {
        // The write must not overtake what the other CPU shall see.
        // SAFETY: a barrier.
        unsafe { _mm_mfence() };
        let value = u64::from(apic_id) << 32 | u64::from(command);
        // SAFETY: x2APIC mode is on.
        unsafe { wrmsr(MSR_X2APIC_FIRST + (reg::COMMAND >> 4), value) };
        return;
    }
    let flags = crate::arch::local_irq_save();
    for _ in 0..100_000 {
        if read(reg::COMMAND) & ICR_BUSY == 0 {
            break;
        }
        crate::arch::cpu_relax();
    }
    write(reg::COMMAND_HIGH, apic_id << 24);
    write(reg::COMMAND, command);
    crate::arch::local_irq_restore(flags);
}

/// Makes `cpu` look at NEED_RESCHED (Linux: `smp_send_reschedule`). Any context.
pub fn smp_send_reschedule(cpu: usize) {
    if enabled() && cpu != smp_processor_id() {
        send_vector(cpu, RESCHEDULE_VECTOR);
    }
}

/// Sends a vector to another CPU. Any context.
pub fn send_vector(cpu: usize, vector: u8) {
    send_ipi(apic_id_of(cpu), ICR_ASSERT | u32::from(vector));
}

/// Sends an NMI to another CPU. Any context.
pub fn send_nmi(cpu: usize) {
    send_ipi(apic_id_of(cpu), ICR_ASSERT | DELIVERY_NMI);
}

/// INIT and start-up messages for another CPU (Linux: `wakeup_secondary_cpu_via_init`).
pub fn send_init_sipi(apic_id: u32, start_page: u8) {
    const DELIVERY_INIT: u32 = 5 << 8;
    const DELIVERY_STARTUP: u32 = 6 << 8;
    send_ipi(apic_id, DELIVERY_INIT | ICR_ASSERT);
    crate::arch::mdelay(10);
    for _ in 0..2 {
        send_ipi(
            apic_id,
            DELIVERY_STARTUP | ICR_ASSERT | u32::from(start_page),
        );
        crate::arch::udelay(200);
    }
}

// --- the timer ---

/// Whether the timer takes a TSC value.
fn has_tsc_deadline() -> bool {
    const CPUID_TSC_DEADLINE: u32 = 1 << 24;
    __cpuid(1).ecx & CPUID_TSC_DEADLINE != 0 && tsc::tsc_hz() != 0
}

/// The timer in one-shot mode, counting down.
struct OneShot;
/// The timer in TSC deadline mode.
struct Deadline;

impl ClockEventDevice for OneShot {
    fn name(&self) -> &'static str {
        "lapic"
    }
    fn set_next_event(&self, delta_ns: u64) {
        let hz = TIMER_HZ.load(Ordering::Relaxed);
        let ticks = u128::from(delta_ns) * u128::from(hz) / u128::from(NSEC_PER_SEC);
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        write(reg::TIMER_INITIAL, ticks);
    }
    fn shutdown(&self) {
        write(reg::TIMER_INITIAL, 0);
    }
    fn min_delta_ns(&self) -> u64 {
        1000
    }
    fn max_delta_ns(&self) -> u64 {
        let hz = TIMER_HZ.load(Ordering::Relaxed).max(1);
        u64::from(u32::MAX >> 1) * NSEC_PER_SEC / hz
    }
}

impl ClockEventDevice for Deadline {
    fn name(&self) -> &'static str {
        "lapic-deadline"
    }
    fn set_next_event(&self, delta_ns: u64) {
        let ticks = u128::from(delta_ns) * u128::from(tsc::tsc_hz()) / u128::from(NSEC_PER_SEC);
        let deadline = tsc::get_cycles().wrapping_add(ticks as u64);
        // SAFETY: the CPU has the register.
        unsafe { wrmsr(MSR_IA32_TSC_DEADLINE, deadline) };
    }
    fn shutdown(&self) {
        // SAFETY: as above; zero disarms the timer.
        unsafe { wrmsr(MSR_IA32_TSC_DEADLINE, 0) };
    }
    fn min_delta_ns(&self) -> u64 {
        1000
    }
    fn max_delta_ns(&self) -> u64 {
        u64::MAX >> 2
    }
}

/// Makes the local timer this CPU's clock event device (Linux: `setup_boot_APIC_clock`,
/// `setup_APIC_timer`). Interrupts are off. False: there is no APIC, or it cannot be calibrated.
pub fn setup_apic_timer() -> bool {
    if !enabled() {
        return false;
    }
    let cpu = smp_processor_id();
    let device: Arc<dyn ClockEventDevice> = if has_tsc_deadline() {
        write(
            reg::LVT_TIMER,
            LVT_TSC_DEADLINE | u32::from(LOCAL_TIMER_VECTOR),
        );
        // SAFETY: the mode must be set before the first deadline is written.
        unsafe { _mm_mfence() };
        if cpu == 0 {
            pr_info!("TSC deadline timer available");
        }
        Arc::new(Deadline)
    } else {
        if TIMER_HZ.load(Ordering::Relaxed) == 0 && !calibrate_apic_clock() {
            return false;
        }
        write(reg::TIMER_DIVIDE, DIVIDE_BY_16);
        write(reg::LVT_TIMER, LOCAL_TIMER_VECTOR.into());
        Arc::new(OneShot)
    };
    clockevents_register_device(cpu, device);
    true
}

/// Counts the timer's ticks in a millisecond of the TSC or another reference
/// (Linux: `calibrate_APIC_clock`).
fn calibrate_apic_clock() -> bool {
    const WARM_UP_NS: u64 = 50_000;
    const WINDOW_NS: u64 = 1_000_000;
    write(reg::TIMER_DIVIDE, DIVIDE_BY_16);
    write(reg::LVT_TIMER, LVT_MASKED | u32::from(LOCAL_TIMER_VECTOR));
    // The first round brings code and registers into the caches (or an emulator's translation).
    let _ = count_timer_ticks(WARM_UP_NS);
    let Some((ticks, elapsed_ns)) = count_timer_ticks(WINDOW_NS) else {
        pr_warn!("APIC frequency cannot be measured, disabling apic timer");
        return false;
    };
    let hz = u128::from(ticks) * u128::from(NSEC_PER_SEC) / u128::from(elapsed_ns.max(1));
    if hz < 100_000 {
        pr_warn!("APIC frequency too slow, disabling apic timer");
        return false;
    }
    pr_debug!(
        "..... host bus clock speed is {}.{:04} MHz.",
        hz * 16 / 1_000_000,
        hz * 16 / 100 % 10_000
    );
    TIMER_HZ.store(hz as u64, Ordering::Relaxed);
    true
}

/// Lets the timer run for about `ns`; the ticks it made, and how long it really was.
fn count_timer_ticks(ns: u64) -> Option<(u32, u64)> {
    let stopwatch = tsc::Stopwatch::find()?;
    write(reg::TIMER_INITIAL, u32::MAX);
    let start = stopwatch.now();
    stopwatch.wait_until(start, ns)?;
    let current = read(reg::TIMER_CURRENT);
    let elapsed = stopwatch.elapsed_ns(start);
    write(reg::TIMER_INITIAL, 0);
    Some((u32::MAX - current, elapsed))
}
