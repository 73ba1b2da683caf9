//! Tasks as the CPU sees them (Linux: arch/x86/kernel/process_64.c).
/// Registers of a task that is not running.
pub struct ThreadStruct {}
/// See the contract.
pub fn copy_thread() {
    todo!()
}
/// See the contract.
pub fn flush_thread() -> crate::prelude::Result {
    todo!()
}
/// See the contract.
pub fn start_thread(regs: &mut crate::arch::PtRegs, ip: u64, sp: u64) {
    let _ = (regs, ip, sp);
    todo!()
}
/// See the contract.
pub fn with_current_pt_regs<R>(f: impl FnOnce(&mut crate::arch::PtRegs) -> R) -> R {
    let _ = f;
    todo!()
}
/// See the contract.
pub fn switch_to() {
    todo!()
}
