//! Tasks as the CPU sees them (Linux: arch/x86/kernel/process_64.c).
/// Registers of a task that is not running.
pub struct ThreadStruct {}
/// See the contract.
pub fn copy_thread() {
    todo!()
}
/// See the contract.
pub fn flush_thread() {
    todo!()
}
/// See the contract.
pub fn start_thread() {
    todo!()
}
/// See the contract.
pub fn switch_to() {
    todo!()
}
