//! Time (Linux: kernel/time/).
#![forbid(unsafe_code)]
pub mod tick;
pub mod timer;

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
    ktime_get() / (1_000_000_000 / HZ)
}
