//! Places for running machines: more emulators than processors would only make all of them miss their deadlines.

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// How many machines run at a time.
const PLACES: usize = 2;
const POLL: Duration = Duration::from_millis(50);

thread_local! {
    /// Whether the test of this thread has a place.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// The right to run a machine, shared by all test processes through file locks. It ends when dropped, or with the
/// process.
#[derive(Debug)]
pub struct Slot {
    _lock: File,
}

impl Drop for Slot {
    fn drop(&mut self) {
        HELD.set(false);
    }
}

impl Slot {
    /// Waits for a free place. A test has one machine at a time: with a second, two tests could wait for each other.
    pub fn wait_in(folder: &Path) -> Self {
        assert!(
            !HELD.replace(true),
            "this test still has a machine: drop it before the next"
        );
        loop {
            if let Some(slot) = (0..PLACES).find_map(|place| Self::try_take(folder, place)) {
                return slot;
            }
            std::thread::sleep(POLL);
        }
    }

    fn try_take(folder: &Path, place: usize) -> Option<Self> {
        let path = folder.join(format!("place-{place}.lock"));
        let file = File::create(&path)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        match file.try_lock() {
            Ok(()) => Some(Self { _lock: file }),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => panic!("cannot lock {}: {error}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_places_and_a_dropped_one_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = Slot::wait_in(folder.path());
        let _second = Slot::try_take(folder.path(), 1).unwrap();
        assert!(Slot::try_take(folder.path(), 0).is_none());
        assert!(Slot::try_take(folder.path(), 1).is_none());
        drop(first);
        assert!(Slot::try_take(folder.path(), 0).is_some());
    }
}
