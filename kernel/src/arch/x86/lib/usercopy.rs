//! Copies that survive a bad user address (Linux: arch/x86/lib/copy_user_64.S, usercopy_64.c).
//!
//! The copy goes in words and then in bytes. If a word faults, the rest is tried byte by byte,
//! so that exactly the bytes before the bad page are copied.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::x86::asm::barrier::barrier_nospec;
use crate::arch::x86::asm::page::TASK_SIZE;
use crate::ex_table;
use crate::mm::UserAddr;

/// Whether CR4.SMAP is on, so that user pages must be opened around a copy. Entry code closes them
/// again when a copy is interrupted.
pub(crate) static SMAP: AtomicBool = AtomicBool::new(false);

/// Tells this file that SMAP has been switched on.
pub fn smap_enabled() {
    SMAP.store(true, Ordering::Relaxed);
}

/// Opens the user half, after the check of the address (Linux: `stac`).
#[inline(always)]
fn user_access_begin() {
    if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP; the flag is taken back right after the copy.
        unsafe { asm!("stac", options(nostack)) };
    }
    // The check of the address may still be a guess; Linux: `__uaccess_begin_nospec`.
    barrier_nospec();
}
/// Closes it again (Linux: `clac`).
#[inline(always)]
fn user_access_end() {
    if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP.
        unsafe { asm!("clac", options(nostack)) };
    }
}

/// Whether the range is in the user half; what is mapped there shows only by touching it.
#[inline]
fn access_ok(addr: UserAddr, len: usize) -> bool {
    let end = addr.as_u64().checked_add(len as u64);
    end.is_some_and(|end| end <= TASK_SIZE)
}

/// Copies `len` bytes; returns how many are left. One of the two ranges may fault.
///
/// # Safety
/// The kernel's range must be valid for `len` bytes, the other one must be in the user half.
#[inline(always)]
unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) -> usize {
    let left: usize;
    // SAFETY: the caller's promise; a fault in the user's range goes through the table.
    unsafe {
        asm!(
            "mov rcx, {len}",
            "shr rcx, 3",
            "2: rep movsq",
            "mov ecx, {len:e}",
            "and ecx, 7",
            "3: rep movsb",
            "jmp 5f",
            // A word faulted: rcx words and the tail are left.
            "4: and {len}, 7",
            "lea rcx, [rcx * 8 + {len}]",
            "jmp 3b",
            "5:",
            ex_table!("2b", "4b"),
            ex_table!("3b", "5b"),
            len = inout(reg) len => _,
            out("rcx") left,
            inout("rdi") dst => _,
            inout("rsi") src => _,
            options(nostack),
        );
    }
    left
}

/// Copies from user memory; returns the number of bytes NOT copied. May sleep.
///
/// # Safety
/// `dst` must be valid for `len` bytes.
#[inline]
pub unsafe fn raw_copy_from_user(dst: *mut u8, src: UserAddr, len: usize) -> usize {
    if !access_ok(src, len) {
        return len;
    }
    user_access_begin();
    // SAFETY: the caller vouches for `dst`, `access_ok` for `src`.
    let left = unsafe { copy(dst, src.as_u64() as *const u8, len) };
    user_access_end();
    left
}

/// Copies to user memory; returns the number of bytes NOT copied. May sleep.
///
/// # Safety
/// `src` must be valid for `len` bytes.
#[inline]
pub unsafe fn raw_copy_to_user(dst: UserAddr, src: *const u8, len: usize) -> usize {
    if !access_ok(dst, len) {
        return len;
    }
    user_access_begin();
    // SAFETY: the caller vouches for `src`, `access_ok` for `dst`.
    let left = unsafe { copy(dst.as_u64() as *mut u8, src, len) };
    user_access_end();
    left
}

/// Zeroes user memory; returns the number of bytes NOT zeroed (Linux: `__clear_user`).
#[inline]
pub fn raw_clear_user(dst: UserAddr, len: usize) -> usize {
    if !access_ok(dst, len) {
        return len;
    }
    let left: usize;
    user_access_begin();
    // SAFETY: the range is in the user half; a fault goes through the table.
    unsafe {
        asm!(
            "mov rcx, {len}",
            "shr rcx, 3",
            "2: rep stosq",
            "mov ecx, {len:e}",
            "and ecx, 7",
            "3: rep stosb",
            "jmp 5f",
            "4: and {len}, 7",
            "lea rcx, [rcx * 8 + {len}]",
            "jmp 3b",
            "5:",
            ex_table!("2b", "4b"),
            ex_table!("3b", "5b"),
            len = inout(reg) len => _,
            out("rcx") left,
            inout("rdi") dst.as_u64() => _,
            in("rax") 0u64,
            options(nostack),
        );
    }
    user_access_end();
    left
}

/// Compares and exchanges a 32-bit user word; `Ok(old)` says what was there (Linux:
/// `futex_atomic_cmpxchg_inatomic`). `None`: the address faults. May sleep.
pub fn raw_cmpxchg_user_u32(addr: UserAddr, old: u32, new: u32) -> Option<u32> {
    if !access_ok(addr, 4) || addr.as_u64() & 3 != 0 {
        return None;
    }
    let (found, failed): (u32, u32);
    user_access_begin();
    // SAFETY: an aligned word in the user half; a fault goes through the table.
    unsafe {
        asm!(
            "2: lock cmpxchg dword ptr [{addr}], {new:e}",
            "jmp 4f",
            "3: mov {failed:e}, 1",
            "4:",
            ex_table!("2b", "3b"),
            addr = in(reg) addr.as_u64(),
            new = in(reg) new,
            failed = inout(reg) 0u32 => failed,
            inout("eax") old => found,
            options(nostack),
        );
    }
    user_access_end();
    (failed == 0).then_some(found)
}
