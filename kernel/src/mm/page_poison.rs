//! Debugging and hardening of free memory (Linux: mm/page_poison.c, mm/mm_init.c
//! `mem_debugging_and_hardening_init`).
//!
//! * `page_poison=1` fills free pages with a pattern and checks it when they are allocated.
//! * `init_on_alloc=1`, `init_on_free=1` zero memory at that moment.

use core::sync::atomic::{AtomicU32, Ordering};

use super::Pfn;
use super::page_alloc::clear_pages;
use crate::arch::{self, PAGE_SIZE};
use crate::prelude::*;

const POISON: u32 = 1;
const INIT_ON_ALLOC: u32 = 2;
const INIT_ON_FREE: u32 = 4;

/// Byte that fills free pages (Linux: `PAGE_POISON`).
const PAGE_POISON: u8 = 0xaa;

#[__ro_after_init]
static OPTIONS: AtomicU32 = AtomicU32::new(0);

fn is_set(option: u32) -> bool {
    OPTIONS.load(Ordering::Relaxed) & option != 0
}

/// Whether any option is on: the one test on the fast paths.
#[inline]
pub(super) fn active() -> bool {
    OPTIONS.load(Ordering::Relaxed) != 0
}

/// Whether slab objects are to be zeroed when they are allocated.
#[inline]
pub(super) fn init_on_alloc() -> bool {
    is_set(INIT_ON_ALLOC)
}

/// Whether slab objects are to be zeroed when they are freed.
#[inline]
pub(super) fn init_on_free() -> bool {
    is_set(INIT_ON_FREE)
}

fn switch(option: u32, value: &str) -> Result {
    match value {
        "1" | "on" | "y" | "Y" => OPTIONS.fetch_or(option, Ordering::Relaxed),
        "0" | "off" | "n" | "N" => OPTIONS.fetch_and(!option, Ordering::Relaxed),
        _ => return Err(Errno::EINVAL),
    };
    Ok(())
}

#[__init]
fn early_page_poison_param(value: &str) -> Result {
    switch(POISON, value)
}
crate::early_param!("page_poison", early_page_poison_param);

#[__init]
fn early_init_on_alloc(value: &str) -> Result {
    switch(INIT_ON_ALLOC, value)
}
crate::early_param!("init_on_alloc", early_init_on_alloc);

#[__init]
fn early_init_on_free(value: &str) -> Result {
    switch(INIT_ON_FREE, value)
}
crate::early_param!("init_on_free", early_init_on_free);

/// Says which of the options are on (Linux: `report_meminit`). Poisoning excludes zeroing, as
/// the pattern would not survive.
#[__init]
pub(super) fn report_meminit() {
    if is_set(POISON) && is_set(INIT_ON_ALLOC | INIT_ON_FREE) {
        pr_info!(
            "mem auto-init: CONFIG_PAGE_POISONING is on, will take precedence over init_on_alloc and init_on_free"
        );
        OPTIONS.store(POISON, Ordering::Relaxed);
    }
    let on_off = |option| if is_set(option) { "on" } else { "off" };
    pr_info!(
        "mem auto-init: stack:off, heap alloc:{}, heap free:{}",
        on_off(INIT_ON_ALLOC),
        on_off(INIT_ON_FREE)
    );
    if is_set(INIT_ON_FREE) {
        pr_info!("mem auto-init: clearing system memory may take some time...");
    }
}

fn bytes(pfn: Pfn, order: u32) -> (*mut u8, usize) {
    let base = arch::phys_to_virt(pfn.phys()).as_usize() as *mut u8;
    (base, PAGE_SIZE << order)
}

/// A block becomes free.
#[cold]
pub(super) fn freed(pfn: Pfn, order: u32) {
    if is_set(INIT_ON_FREE) {
        clear_pages(pfn, order);
    }
    if is_set(POISON) {
        let (base, len) = bytes(pfn, order);
        // SAFETY: the block is free RAM in the direct map, and ours until it is on a list.
        unsafe { base.write_bytes(PAGE_POISON, len) };
    }
}

/// A block was allocated.
#[cold]
pub(super) fn allocated(pfn: Pfn, order: u32) {
    if is_set(POISON) {
        let (base, len) = bytes(pfn, order);
        check_poison(base, len);
    }
    if is_set(INIT_ON_ALLOC) {
        clear_pages(pfn, order);
    }
}

/// Reports the first byte of a free page that was written to (Linux: `check_poison_mem`).
fn check_poison(base: *mut u8, len: usize) {
    for offset in 0..len {
        // SAFETY: within the block that was just allocated.
        let byte = unsafe { base.wrapping_add(offset).read() };
        if byte != PAGE_POISON {
            pr_err!("pagealloc: memory corruption");
            panic!(
                "free memory was written at {:p}: {byte:#04x}",
                base.wrapping_add(offset)
            );
        }
    }
}
