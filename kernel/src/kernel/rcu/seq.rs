//! Sequence numbers of grace periods (Linux: kernel/rcu/rcu.h, `rcu_seq_snap` and its family).
//!
//! The two low bits say whether an operation is under way, the others count. Whoever wants a
//! whole operation that begins after now waits for the number that [`snap`] gives.
#![forbid(unsafe_code)]

const STATE_MASK: u64 = 3;

/// The number while the next operation runs.
pub(super) const fn start(seq: u64) -> u64 {
    debug_assert!(seq & STATE_MASK == 0);
    seq + 1
}
/// The number when the operation is over.
pub(super) const fn end(seq: u64) -> u64 {
    (seq | STATE_MASK) + 1
}
/// The number when an operation that begins after now is over. One that is under way does not
/// count: it may have begun before the caller's change.
pub(super) const fn snap(seq: u64) -> u64 {
    (seq + 2 * STATE_MASK + 1) & !STATE_MASK
}
/// Whether the number `wanted` was reached.
pub(super) const fn is_done(seq: u64, wanted: u64) -> bool {
    seq >= wanted
}
/// Whether an operation is under way.
pub(super) const fn is_in_progress(seq: u64) -> bool {
    seq & STATE_MASK != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_under_way_does_not_count() {
        let idle = 8;
        assert_eq!(snap(idle), end(start(idle)), "the next one does");
        let busy = start(idle);
        assert!(is_in_progress(busy) && !is_in_progress(idle));
        let wanted = snap(busy);
        assert!(!is_done(end(busy), wanted), "this one is not enough");
        assert!(is_done(end(start(end(busy))), wanted));
    }
}
