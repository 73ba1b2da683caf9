//! Copies that survive a bad user address (Linux: arch/x86/lib/copy_user_64.S).
use crate::mm::UserAddr;
/// Returns the number of bytes NOT copied.
/// # Safety
/// `dst` valid for `len` bytes.
pub unsafe fn raw_copy_from_user(dst: *mut u8, src: UserAddr, len: usize) -> usize {
    let _ = (dst, src, len);
    todo!()
}
/// Returns the number of bytes NOT copied.
/// # Safety
/// `src` valid for `len` bytes.
pub unsafe fn raw_copy_to_user(dst: UserAddr, src: *const u8, len: usize) -> usize {
    let _ = (dst, src, len);
    todo!()
}
