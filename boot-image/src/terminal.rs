//! Leaves the terminal as it was, also when QEMU, which puts it into raw mode, is ended by force.

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Restores the settings of the terminal on standard input when dropped. Without a terminal it does nothing.
#[derive(Debug)]
pub struct TerminalGuard {
    settings: Option<Termios>,
}

impl TerminalGuard {
    /// Remembers the present settings.
    pub fn new() -> Self {
        Self {
            settings: tcgetattr(stdin()).ok(),
        }
    }
}

impl Default for TerminalGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if let Some(settings) = &self.settings {
            // A terminal that has gone away cannot be restored, and needs not to be.
            let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
        }
    }
}
