//! The tick (Linux: kernel/time/tick-sched.c).
#![forbid(unsafe_code)]

/// The idle loop begins: the periodic tick may stop.
pub fn tick_nohz_idle_enter() {}
/// The idle loop ends: the periodic tick runs again.
pub fn tick_nohz_idle_exit() {}
