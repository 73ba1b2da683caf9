//! Execution domains: what is left of them (Linux: kernel/exec_domain.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use crate::kernel::sched::current;
use crate::prelude::*;

/// Asks without changing anything.
const QUERY: u32 = 0xffff_ffff;

/// personality(2): changes the caller's personality, which fork and exec pass on; returns the one
/// before. Only `ADDR_NO_RANDOMIZE` has an effect here.
pub fn sys_personality(persona: u32) -> Result<u32> {
    let word = &current().personality;
    if persona == QUERY {
        return Ok(word.load(Ordering::Relaxed));
    }
    Ok(word.swap(persona, Ordering::Relaxed))
}
