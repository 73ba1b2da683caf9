//! The time stamp counter (Linux: arch/x86/kernel/tsc.c).
/// Reads the counter.
#[inline]
pub fn get_cycles() -> u64 {
    // SAFETY: RDTSC has no effect on memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}
