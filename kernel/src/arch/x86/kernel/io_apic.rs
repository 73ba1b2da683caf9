//! I/O APICs (Linux: arch/x86/kernel/apic/io_apic.c).
//!
//! An ISA interrupt keeps its number and its vector 0x20+n whatever line it arrives at; other
//! lines have their global number as interrupt number and get a vector when they are requested.

use super::acpi::{IoApicInfo, acpi};
use super::{apic, irq};
use crate::arch::x86::asm::irq_vectors::ISA_IRQ_VECTOR_BASE;
use crate::arch::x86::mm::init_64::Cache;
use crate::arch::x86::mm::ioremap::ioremap;
use crate::kernel::irq::{Flow, IrqChip, NR_IRQS_LEGACY, Trigger, irq_alloc_desc};
use crate::prelude::*;

/// Most I/O APICs.
const MAX_IO_APICS: usize = 16;
const REG_VERSION: u32 = 1;
const REG_REDIRECTION: u32 = 0x10;
const ENTRY_MASKED: u64 = 1 << 16;
const ENTRY_LEVEL: u64 = 1 << 15;
const ENTRY_ACTIVE_LOW: u64 = 1 << 13;

/// One I/O APIC.
#[derive(Clone, Copy)]
struct IoApic {
    /// Address of the register window.
    base: u64,
    gsi_base: u32,
    pins: u32,
}

impl IoApic {
    const fn none() -> Self {
        Self {
            base: 0,
            gsi_base: 0,
            pins: 0,
        }
    }
    fn read(&self, register: u32) -> u32 {
        // SAFETY: the window is mapped for ever; the caller holds the lock.
        unsafe { (self.base as *mut u32).write_volatile(register) };
        // SAFETY: as above.
        unsafe { ((self.base + 0x10) as *const u32).read_volatile() }
    }
    fn write(&self, register: u32, value: u32) {
        // SAFETY: the window is mapped for ever; the caller holds the lock.
        unsafe { (self.base as *mut u32).write_volatile(register) };
        // SAFETY: as above.
        unsafe { ((self.base + 0x10) as *mut u32).write_volatile(value) };
    }
    /// The low half is written last when it unmasks, first when it masks: a half-written entry
    /// must not deliver anything.
    fn write_entry(&self, pin: u32, entry: u64) {
        let register = REG_REDIRECTION + 2 * pin;
        if entry & ENTRY_MASKED != 0 {
            self.write(register, entry as u32);
            self.write(register + 1, (entry >> 32) as u32);
        } else {
            self.write(register + 1, (entry >> 32) as u32);
            self.write(register, entry as u32);
        }
    }
}

/// A line that is in use.
#[derive(Clone, Copy)]
struct Pin {
    apic: usize,
    pin: u32,
    entry: u64,
}

/// All I/O APICs and what each interrupt number is connected to.
struct State {
    apics: [IoApic; MAX_IO_APICS],
    count: usize,
    pins: [Option<Pin>; crate::kernel::irq::NR_IRQS],
}

static STATE: IrqSpinLock<State> = IrqSpinLock::new(State {
    apics: [IoApic::none(); MAX_IO_APICS],
    count: 0,
    pins: [None; crate::kernel::irq::NR_IRQS],
});

fn noapic(_value: &str) -> Result {
    NOAPIC.store(true, core::sync::atomic::Ordering::Relaxed);
    Ok(())
}
crate::early_param!("noapic", noapic);
static NOAPIC: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Maps the I/O APICs, masks all their lines, connects the ISA interrupts
/// (Linux: `io_apic_init_mappings`, `setup_IO_APIC`). Returns whether there is one to use.
pub fn setup_io_apic() -> bool {
    if NOAPIC.load(core::sync::atomic::Ordering::Relaxed) || !apic::enabled() {
        return false;
    }
    for (index, info) in acpi().io_apics.iter().enumerate().take(MAX_IO_APICS) {
        add_io_apic(index, &info);
    }
    if STATE.lock().count == 0 {
        return false;
    }
    (0..NR_IRQS_LEGACY as u32).for_each(connect_isa);
    true
}

fn add_io_apic(index: usize, info: &IoApicInfo) {
    let Ok(mapped) = ioremap(info.address, 0x20, Cache::Uncached) else {
        pr_err!("IOAPIC[{index}]: cannot map the registers");
        return;
    };
    let mut state = STATE.lock();
    let mut apic = IoApic {
        base: mapped.as_u64(),
        gsi_base: info.gsi_base,
        pins: 0,
    };
    let version = apic.read(REG_VERSION);
    if version == u32::MAX {
        pr_warn!("IOAPIC[{index}]: no registers at {:#x}", info.address);
        return;
    }
    apic.pins = (version >> 16 & 0xff) + 1;
    (0..apic.pins).for_each(|pin| apic.write_entry(pin, ENTRY_MASKED));
    pr_info!(
        "IOAPIC[{index}]: apic_id {}, version {}, address {:#x}, GSI {}-{}",
        info.id,
        version & 0xff,
        info.address,
        info.gsi_base,
        info.gsi_base + apic.pins - 1
    );
    let slot = state.count;
    state.apics[slot] = apic;
    state.count += 1;
}

/// Global line and trigger of an ISA interrupt: edge and high unless the MADT says otherwise.
fn isa_line(isa: u32) -> (u32, Trigger) {
    let found = acpi().overrides.iter().find(|o| u32::from(o.source) == isa);
    let Some(found) = found else {
        return (isa, Trigger::EdgeRising);
    };
    let trigger = match (found.flags.is_level(), found.flags.is_active_low()) {
        (false, false) => Trigger::EdgeRising,
        (false, true) => Trigger::EdgeFalling,
        (true, false) => Trigger::LevelHigh,
        (true, true) => Trigger::LevelLow,
    };
    (found.gsi, trigger)
}

fn connect_isa(isa: u32) {
    // A line that an override gave to another interrupt is not this one's any more.
    let (gsi, trigger) = isa_line(isa);
    let taken = |o: super::acpi::IsaOverride| o.gsi == gsi && u32::from(o.source) != isa;
    if acpi().overrides.iter().any(taken) {
        return;
    }
    let vector = ISA_IRQ_VECTOR_BASE + isa as u8;
    if connect(isa, gsi, trigger, vector) {
        irq::assign_vector(vector, isa);
    }
}

/// Writes the redirection entry, masked, and gives the descriptor its chip.
fn connect(irq: u32, gsi: u32, trigger: Trigger, vector: u8) -> bool {
    let mut state = STATE.lock();
    let holds = |apic: &IoApic| (apic.gsi_base..apic.gsi_base + apic.pins).contains(&gsi);
    let count = state.count;
    let Some(index) = state.apics[..count].iter().position(holds) else {
        return false;
    };
    let pin = gsi - state.apics[index].gsi_base;
    let entry = u64::from(vector)
        | ENTRY_MASKED
        | trigger_bits(trigger)
        | u64::from(apic::apic_id_of(0) & 0xff) << 56;
    state.apics[index].write_entry(pin, entry);
    state.pins[irq as usize] = Some(Pin {
        apic: index,
        pin,
        entry,
    });
    drop(state);
    let flow = if trigger.is_level() {
        Flow::FastEoi
    } else {
        Flow::Edge
    };
    match irq_alloc_desc(irq) {
        Ok(desc) => desc.set_chip(&IO_APIC, pin, irq, flow),
        Err(_) => return false,
    }
    true
}

fn trigger_bits(trigger: Trigger) -> u64 {
    let level = if trigger.is_level() { ENTRY_LEVEL } else { 0 };
    let low = if trigger.is_active_low() {
        ENTRY_ACTIVE_LOW
    } else {
        0
    };
    level | low
}

/// The interrupt number of a global line, connected if it was not yet
/// (Linux: `acpi_register_gsi`): for PCI's INTx lines. Process context.
/// Errors: ENODEV without such a line; ENOSPC when the vectors are used up.
pub fn register_gsi(gsi: u32, trigger: Trigger) -> Result<u32> {
    let isa = (0..NR_IRQS_LEGACY as u32).find(|&isa| isa_line(isa).0 == gsi);
    if let Some(irq) = isa {
        return Ok(irq);
    }
    let known = STATE.lock().pins.get(gsi as usize).copied();
    match known {
        None => return Err(Errno::ENODEV),
        Some(Some(_)) => return Ok(gsi),
        Some(None) => {}
    }
    let vector = irq::allocate_vector(gsi)?;
    if connect(gsi, gsi, trigger, vector) {
        Ok(gsi)
    } else {
        Err(Errno::ENODEV)
    }
}

/// The I/O APICs as the generic layer sees them; the chip's number is the interrupt number.
pub struct IoApicChip;
/// The one instance.
pub static IO_APIC: IoApicChip = IoApicChip;

fn change(irq: u32, f: impl FnOnce(u64) -> u64) {
    let mut state = STATE.lock();
    if let Some(Some(mut pin)) = state.pins.get(irq as usize).copied() {
        pin.entry = f(pin.entry);
        state.apics[pin.apic].write_entry(pin.pin, pin.entry);
        state.pins[irq as usize] = Some(pin);
    }
}

impl IrqChip for IoApicChip {
    fn name(&self) -> &'static str {
        "IO-APIC"
    }
    fn mask(&self, irq: u32) {
        change(irq, |entry| entry | ENTRY_MASKED);
    }
    fn unmask(&self, irq: u32) {
        change(irq, |entry| entry & !ENTRY_MASKED);
    }
    fn ack(&self, _irq: u32) {
        apic::eoi();
    }
    fn eoi(&self, _irq: u32) {
        apic::eoi();
    }
    fn set_type(&self, irq: u32, trigger: Trigger) -> Result {
        let bits = trigger_bits(trigger);
        change(irq, |entry| {
            entry & !(ENTRY_LEVEL | ENTRY_ACTIVE_LOW) | bits
        });
        Ok(())
    }
    fn set_affinity(&self, irq: u32, cpu: usize) -> Result {
        let id = u64::from(apic::apic_id_of(cpu));
        if id > 0xff {
            return Err(Errno::EINVAL); // eight bits without interrupt remapping
        }
        change(irq, |entry| entry & !(0xff << 56) | id << 56);
        Ok(())
    }
}

/// Masks every line: before a restart (Linux: `disable_IO_APIC`).
/// The code that restarts may have been interrupted inside the lock: then they stay as they are.
pub fn disable() {
    let Some(state) = STATE.try_lock() else {
        return;
    };
    for apic in &state.apics[..state.count] {
        (0..apic.pins).for_each(|pin| apic.write_entry(pin, ENTRY_MASKED));
    }
}

/// The timer's interrupt goes the way that the MADT says; shown as Linux shows it.
pub fn report_timer() {
    let (gsi, _) = isa_line(0);
    pr_info!("..TIMER: vector=0x{ISA_IRQ_VECTOR_BASE:02X} apic1=0 pin1={gsi} apic2=-1 pin2=-1");
}
