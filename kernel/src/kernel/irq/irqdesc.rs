//! Interrupt descriptors (Linux: kernel/irq/irqdesc.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use super::chip::{Flow, IrqChip};
use super::manage::IrqAction;
use crate::arch;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// Interrupt numbers there can be.
pub const NR_IRQS: usize = 512;
/// ISA interrupts, whose descriptors always exist.
pub const NR_IRQS_LEGACY: usize = 16;

/// One interrupt number (Linux: `struct irq_desc`).
pub struct IrqDesc {
    irq: u32,
    /// Interrupts per CPU; only that CPU writes its counter.
    counts: [AtomicU32; NR_CPUS],
    pub(super) state: IrqSpinLock<DescState>,
}

/// What a descriptor's lock protects.
pub struct DescState {
    /// Who masks and acknowledges; `None`: nobody, requests fail.
    pub chip: Option<&'static dyn IrqChip>,
    /// The chip's own number, as /proc/interrupts shows it.
    pub hwirq: u32,
    /// What the chip's functions get.
    pub chip_data: u32,
    /// Order of acknowledging and handling.
    pub flow: Flow,
    /// How often it is disabled; handlers run at 0. Starts at 1.
    pub depth: u32,
    /// Masked at the chip.
    pub masked: bool,
    /// A CPU runs the handlers.
    pub in_progress: bool,
    /// It came while it could not be handled.
    pub pending: bool,
    /// The handlers, in the order of their requests.
    pub actions: Arc<[IrqAction]>,
    /// For `spurious`.
    pub spurious: super::spurious::Spurious,
}

impl IrqDesc {
    fn new(irq: u32) -> Self {
        Self {
            irq,
            counts: [const { AtomicU32::new(0) }; NR_CPUS],
            state: IrqSpinLock::new(DescState {
                chip: None,
                hwirq: irq,
                chip_data: irq,
                flow: Flow::Bad,
                depth: 1,
                masked: true,
                in_progress: false,
                pending: false,
                actions: Arc::from([]),
                spurious: Default::default(),
            }),
        }
    }
    /// Its number.
    pub fn irq(&self) -> u32 {
        self.irq
    }
    /// How often it came on `cpu` (Linux: `kstat_irqs_cpu`).
    pub fn count_on(&self, cpu: usize) -> u32 {
        self.counts[cpu].load(Ordering::Relaxed)
    }
    /// How often it came in all (Linux: `kstat_irqs`).
    pub fn count(&self) -> u64 {
        let load = |counter: &AtomicU32| u64::from(counter.load(Ordering::Relaxed));
        self.counts.iter().map(load).sum()
    }
    pub(super) fn count_one(&self) {
        let counter = &self.counts[arch::smp_processor_id()];
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }
    /// Connects it with a chip (Linux: `irq_set_chip_and_handler_name`). `hwirq` is shown to
    /// people, `data` is what the chip's functions get.
    pub fn set_chip(&self, chip: &'static dyn IrqChip, hwirq: u32, data: u32, flow: Flow) {
        let mut state = self.state.lock();
        (state.chip, state.flow) = (Some(chip), flow);
        (state.hwirq, state.chip_data) = (hwirq, data);
    }
}

/// All descriptors; a slot is filled once and stays.
static IRQ_DESC: [spin::Once<Box<IrqDesc>>; NR_IRQS] = [const { spin::Once::new() }; NR_IRQS];

/// The descriptor of `irq`, if it has one.
#[inline]
pub fn irq_to_desc(irq: u32) -> Option<&'static IrqDesc> {
    IRQ_DESC.get(irq as usize)?.get().map(|desc| &**desc)
}

/// The descriptor of `irq`, made if need be (Linux: `irq_alloc_desc_at`). Process context or
/// boot. Errors: EINVAL for a number beyond [`NR_IRQS`].
pub fn irq_alloc_desc(irq: u32) -> Result<&'static IrqDesc> {
    let slot = IRQ_DESC.get(irq as usize).ok_or(Errno::EINVAL)?;
    Ok(slot.call_once(|| Box::new(IrqDesc::new(irq))))
}

/// All descriptors in the order of their numbers.
pub fn for_each_desc() -> impl Iterator<Item = &'static IrqDesc> {
    IRQ_DESC
        .iter()
        .filter_map(|slot| slot.get().map(|desc| &**desc))
}

/// Makes the ISA interrupts' descriptors (Linux: `early_irq_init`). Needs the allocator.
#[__init]
pub fn early_irq_init() {
    pr_info!("NR_IRQS: {NR_IRQS}, nr_irqs: {NR_IRQS}, preallocated irqs: {NR_IRQS_LEGACY}");
    for irq in 0..NR_IRQS_LEGACY as u32 {
        irq_alloc_desc(irq).expect("the number is in the table");
    }
}

/// An interrupt came: runs its flow (Linux: `generic_handle_irq`).
/// Hard interrupt context, interrupts off.
#[inline]
pub fn generic_handle_irq(irq: u32) {
    if let Some(desc) = irq_to_desc(irq) {
        super::chip::handle(desc);
    }
}
