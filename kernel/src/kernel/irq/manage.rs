//! Requests of drivers (Linux: kernel/irq/manage.c).
#![forbid(unsafe_code)]

use super::chip::{self, Trigger};
use super::irqdesc::{DescState, irq_to_desc};
use crate::arch;
use crate::kernel::cpu::CPU_ONLINE;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// What a handler found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IrqReturn {
    /// It was not this device.
    None,
    /// The device was served.
    Handled,
}

/// A driver's handler. Hard interrupt context: must not sleep.
pub type IrqHandler = Arc<dyn Fn() -> IrqReturn + Send + Sync>;

bitflags::bitflags! {
    /// How an interrupt is requested (Linux: `IRQF_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct IrqfFlags: u32 {
        /// Other drivers may have the same interrupt.
        const SHARED = 0x80;
        /// A timer: not a driver's, never given up.
        const TIMER = 0x200;
        /// Stays disabled until `enable_irq`.
        const NO_AUTOEN = 0x8_0000;
    }
}

/// One request.
pub struct IrqAction {
    /// Name for /proc/interrupts.
    pub name: String,
    /// The function.
    pub handler: IrqHandler,
    /// How it was requested.
    pub flags: IrqfFlags,
}

impl Clone for IrqAction {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            handler: self.handler.clone(),
            flags: self.flags,
        }
    }
}

/// Calls `handler` when `irq` comes, alone (Linux: `request_irq`). Process context or boot.
/// Errors: EINVAL for an interrupt without controller; EBUSY when somebody else has it.
pub fn request_irq(irq: u32, handler: IrqHandler, name: &str) -> Result {
    request_irq_flags(irq, handler, IrqfFlags::empty(), name)
}

/// [`request_irq`] with flags.
pub fn request_irq_flags(irq: u32, handler: IrqHandler, flags: IrqfFlags, name: &str) -> Result {
    let desc = irq_to_desc(irq).ok_or(Errno::EINVAL)?;
    let action = IrqAction {
        name: String::from(name),
        handler,
        flags,
    };
    let old = {
        let mut state = desc.state.lock();
        add_action(&mut state, action)?
    };
    drop(old); // not under the lock
    Ok(())
}

fn add_action(state: &mut DescState, action: IrqAction) -> Result<Arc<[IrqAction]>> {
    if state.chip.is_none() {
        return Err(Errno::EINVAL);
    }
    let shared = |action: &IrqAction| action.flags.contains(IrqfFlags::SHARED);
    let first = state.actions.is_empty();
    let all_shared = shared(&action) && state.actions.iter().all(shared);
    if !first && !all_shared {
        return Err(Errno::EBUSY);
    }
    let auto_enable = !action.flags.contains(IrqfFlags::NO_AUTOEN);
    let all: Vec<IrqAction> = state.actions.iter().cloned().chain([action]).collect();
    let old = core::mem::replace(&mut state.actions, Arc::from(all));
    if first {
        state.spurious = Default::default();
        state.pending = false;
        if auto_enable {
            chip::startup(state);
        }
    }
    Ok(old)
}

/// Takes a handler back and waits until it runs nowhere (Linux: `free_irq`). Process context.
/// Nothing happens for a handler that was not requested.
pub fn free_irq(irq: u32, handler: &IrqHandler) {
    let Some(desc) = irq_to_desc(irq) else {
        return;
    };
    let old = {
        let mut state = desc.state.lock();
        let stays = |action: &&IrqAction| !Arc::ptr_eq(&action.handler, handler);
        let rest: Vec<IrqAction> = state.actions.iter().filter(stays).cloned().collect();
        let old = core::mem::replace(&mut state.actions, Arc::from(rest));
        if state.actions.is_empty() && !old.is_empty() {
            state.depth = 1;
            chip::shutdown(&mut state);
        }
        old
    };
    synchronize_irq(irq);
    drop(old);
}

/// Waits until no CPU runs the handlers of `irq` (Linux: `synchronize_irq`). Process context.
pub fn synchronize_irq(irq: u32) {
    let Some(desc) = irq_to_desc(irq) else {
        return;
    };
    while desc.state.lock().in_progress {
        arch::cpu_relax();
    }
}

/// Holds `irq` back; calls nest (Linux: `disable_irq_nosync`). Any context.
pub fn disable_irq_nosync(irq: u32) {
    let Some(desc) = irq_to_desc(irq) else {
        return;
    };
    let mut state = desc.state.lock();
    if state.depth == 0 {
        chip::shutdown(&mut state);
    }
    state.depth = state.depth.saturating_add(1);
}

/// [`disable_irq_nosync`], and no handler runs any more on return (Linux: `disable_irq`).
/// Process context.
pub fn disable_irq(irq: u32) {
    disable_irq_nosync(irq);
    synchronize_irq(irq);
}

/// Undoes one `disable_irq` (Linux: `enable_irq`). Any context.
pub fn enable_irq(irq: u32) {
    let Some(desc) = irq_to_desc(irq) else {
        return;
    };
    let mut state = desc.state.lock();
    match state.depth {
        0 => {
            let _ = crate::warn_on!(true, "Unbalanced enable for IRQ {irq}");
        }
        1 => {
            state.depth = 0;
            chip::enable(&mut state);
        }
        _ => state.depth -= 1,
    }
}

/// Changes what makes the line active (Linux: `irq_set_irq_type`). Errors: EINVAL.
pub fn irq_set_type(irq: u32, trigger: Trigger) -> Result {
    let desc = irq_to_desc(irq).ok_or(Errno::EINVAL)?;
    let state = desc.state.lock();
    state
        .chip
        .ok_or(Errno::EINVAL)?
        .set_type(state.chip_data, trigger)
}

/// Sends `irq` to `cpu` (Linux: `irq_set_affinity`). Errors: EINVAL.
pub fn irq_set_affinity(irq: u32, cpu: usize) -> Result {
    let desc = irq_to_desc(irq).ok_or(Errno::EINVAL)?;
    if cpu >= NR_CPUS || !CPU_ONLINE.test(cpu) {
        return Err(Errno::EINVAL);
    }
    let state = desc.state.lock();
    state
        .chip
        .ok_or(Errno::EINVAL)?
        .set_affinity(state.chip_data, cpu)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::super::{Flow, IrqChip, generic_handle_irq, irq_alloc_desc};
    use super::*;

    /// A controller that writes down what is done to it.
    struct TestChip(SpinLock<String>);

    impl IrqChip for TestChip {
        fn name(&self) -> &'static str {
            "TEST"
        }
        fn mask(&self, _hwirq: u32) {
            self.0.lock().push('m');
        }
        fn unmask(&self, _hwirq: u32) {
            self.0.lock().push('u');
        }
        fn ack(&self, _hwirq: u32) {
            self.0.lock().push('a');
        }
        fn eoi(&self, _hwirq: u32) {
            self.0.lock().push('e');
        }
    }

    fn line(irq: u32, flow: Flow) -> &'static TestChip {
        let chip: &'static TestChip = Box::leak(Box::new(TestChip(SpinLock::new(String::new()))));
        irq_alloc_desc(irq).unwrap().set_chip(chip, irq, irq, flow);
        chip
    }

    fn counter(result: IrqReturn) -> (IrqHandler, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let seen = count.clone();
        let handler: IrqHandler = Arc::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
            result
        });
        (handler, count)
    }

    #[test]
    fn each_flow_does_its_chip_operations_in_order() {
        for (irq, flow, expected) in [
            (100, Flow::Edge, "ua"),
            (101, Flow::Level, "umau"),
            (102, Flow::FastEoi, "ue"),
        ] {
            let chip = line(irq, flow);
            let (handler, count) = counter(IrqReturn::Handled);
            request_irq(irq, handler, "test").unwrap();
            generic_handle_irq(irq);
            assert_eq!(chip.0.lock().as_str(), expected);
            assert_eq!(count.load(Ordering::Relaxed), 1);
            assert_eq!(irq_to_desc(irq).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_disabled_edge_interrupt_is_masked_and_not_handled() {
        let chip = line(110, Flow::Edge);
        let (handler, count) = counter(IrqReturn::Handled);
        request_irq(110, handler, "test").unwrap();
        disable_irq(110);
        disable_irq(110);
        generic_handle_irq(110);
        enable_irq(110);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        enable_irq(110);
        assert_eq!(chip.0.lock().as_str(), "ummau");
        generic_handle_irq(110);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn only_shared_requests_share_an_interrupt() {
        line(120, Flow::FastEoi);
        let (first, first_count) = counter(IrqReturn::None);
        let (second, second_count) = counter(IrqReturn::Handled);
        assert_eq!(request_irq(400, first.clone(), "none"), Err(Errno::EINVAL));
        let shared = IrqfFlags::SHARED;
        request_irq_flags(120, first.clone(), shared, "first").unwrap();
        assert_eq!(
            request_irq(120, second.clone(), "second"),
            Err(Errno::EBUSY)
        );
        request_irq_flags(120, second, shared, "second").unwrap();
        generic_handle_irq(120);
        free_irq(120, &first);
        generic_handle_irq(120);
        assert_eq!(first_count.load(Ordering::Relaxed), 1);
        assert_eq!(second_count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_interrupt_that_comes_during_its_handler_is_handled_afterwards() {
        line(130, Flow::Edge);
        let count = Arc::new(AtomicU32::new(0));
        let seen = count.clone();
        let handler: IrqHandler = Arc::new(move || {
            if seen.fetch_add(1, Ordering::Relaxed) == 0 {
                generic_handle_irq(130);
            }
            IrqReturn::Handled
        });
        request_irq(130, handler, "test").unwrap();
        generic_handle_irq(130);
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_interrupt_nobody_handles_is_switched_off_in_the_end() {
        let chip = line(140, Flow::FastEoi);
        let (handler, count) = counter(IrqReturn::None);
        request_irq(140, handler, "deaf").unwrap();
        for _ in 0..100_000 {
            generic_handle_irq(140);
        }
        assert_eq!(count.load(Ordering::Relaxed), 100_000);
        generic_handle_irq(140);
        assert_eq!(count.load(Ordering::Relaxed), 100_000);
        assert!(chip.0.lock().contains('m'));
    }
}
