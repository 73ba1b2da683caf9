//! What QEMU's exit status means.

use std::process::ExitStatus;

/// QEMU's exit status when the guest writes `value` to the exit device.
const fn exit_device_status(value: i32) -> i32 {
    value << 1 | 1
}

/// What a test writes to the exit device when it has passed.
pub const EXIT_SUCCESS: i32 = exit_device_status(0x10);
/// What the kernel writes at the end of a panic.
pub const EXIT_PANIC: i32 = exit_device_status(0x11);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest powered the machine off, restarted it, or the user left.
    PoweredOff,
    /// The kernel panicked.
    Panicked,
    /// The processor gave up: a fault within a fault within a fault.
    TripleFault,
    /// The guest reported success by the exit device.
    Passed,
    /// QEMU ended in another way, with this status if it was not a signal.
    Failed(Option<i32>),
    /// The machine still ran at the deadline.
    DeadlineReached,
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::PoweredOff,
            Some(EXIT_SUCCESS) => Self::Passed,
            Some(EXIT_PANIC) => Self::Panicked,
            other => Self::Failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_exit_device_tells_a_panic_from_a_success() {
        let outcome = |code: i32| Outcome::from(ExitStatus::from_raw(code << 8));
        assert_eq!(outcome(0), Outcome::PoweredOff);
        assert_eq!(outcome(33), Outcome::Passed);
        assert_eq!(outcome(35), Outcome::Panicked);
        assert_eq!(outcome(1), Outcome::Failed(Some(1)));
        assert_eq!(
            Outcome::from(ExitStatus::from_raw(9)),
            Outcome::Failed(None)
        );
    }
}
