//! A booted machine under test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_image::rootfs::PROMPT;
use boot_image::{Machine, Outcome, Qmp};
use tempfile::TempDir;

use crate::artifacts;
use crate::gdb::Gdb;
use crate::slot::Slot;

/// How long a machine may take for one step. Generous: machines that build and test in parallel are slow, and a test
/// that passes never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long between two looks at the screen.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest switched the machine off.
    PoweredOff,
    /// The guest restarted the machine.
    Restarted,
    /// The processor gave up: the kernel has lost its own fault handlers.
    TripleFault,
    /// The kernel panicked.
    Panicked,
    /// The guest reported success by the exit device.
    Passed,
    /// QEMU ended in another way.
    Failed(Option<i32>),
    /// The machine still ran at the deadline.
    DeadlineReached,
}

/// A running machine. Dropping it switches the machine off.
#[derive(Debug)]
pub struct Guest {
    machine: Machine,
    qmp: Qmp,
    log: PathBuf,
    /// What must live as long as the machine.
    _keep: (TempDir, Slot),
}

impl Guest {
    pub(crate) fn new(machine: Machine, qmp: Qmp, log: PathBuf, keep: (TempDir, Slot)) -> Self {
        Self {
            machine,
            qmp,
            log,
            _keep: keep,
        }
    }

    /// Waits until the guest prints `text`; returns what it printed before, since the last match.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        self.expect_within(text, PATIENCE)
    }

    /// The same with another deadline.
    #[track_caller]
    pub fn expect_within(&mut self, text: &str, timeout: Duration) -> String {
        match self.machine.expect(text, timeout) {
            Ok(before) => before,
            Err(error) => self.fail(&error),
        }
    }

    /// Waits for the shell of the default initramfs; returns what was printed before its prompt.
    #[track_caller]
    pub fn expect_prompt(&mut self) -> String {
        self.expect(PROMPT)
    }

    /// Types at the console.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        if let Err(error) = self.machine.send(text) {
            self.fail(&error);
        }
    }

    /// Types a command at the prompt and returns its output, without the echo of the command.
    #[track_caller]
    pub fn command(&mut self, command: &str) -> String {
        self.send(&format!("{command}\n"));
        let output = self.expect_prompt().replace("\r\n", "\n");
        match output.split_once('\n') {
            Some((_echo, output)) => output.to_owned(),
            None => output,
        }
    }

    /// Presses keys of the machine's own keyboard, by QEMU's names: `["ctrl", "c"]` at a time.
    #[track_caller]
    pub fn press(&mut self, keys: &[&str]) {
        if let Err(error) = self.qmp.send_key(keys) {
            self.fail(&error);
        }
    }

    /// Runs a line of QEMU's monitor, such as `info registers` or `nmi`, and returns what it prints.
    #[track_caller]
    pub fn monitor(&mut self, line: &str) -> String {
        match self.qmp.monitor(line) {
            Ok(answer) => answer,
            Err(error) => self.fail(&error),
        }
    }

    /// Connects to a machine that is [`crate::Boot::debugged`].
    #[track_caller]
    pub fn debugger(&self) -> Gdb {
        Gdb::connect(self._keep.0.path())
    }

    /// Writes a picture of the screen to `target/tests/NAME.png` and returns its path.
    #[track_caller]
    pub fn screendump(&mut self, name: &str) -> PathBuf {
        let file = artifacts::log_folder().join(format!("{name}.png"));
        match self.qmp.screendump(&file) {
            Ok(()) => file,
            Err(error) => self.fail(&error),
        }
    }

    /// Waits until the screen is as wanted, which only looking at it again and again can tell.
    #[track_caller]
    pub fn expect_on_screen(&mut self, mut is_wanted: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_wanted(self) {
            assert!(
                Instant::now() < deadline,
                "the screen is not as wanted at the deadline"
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits for the end of the machine.
    #[track_caller]
    pub fn wait(&mut self) -> Verdict {
        self.wait_within(PATIENCE)
    }

    /// The same with another deadline.
    #[track_caller]
    pub fn wait_within(&mut self, timeout: Duration) -> Verdict {
        match self.machine.wait(timeout) {
            Ok(outcome) => self.verdict(outcome),
            Err(error) => self.fail(&error),
        }
    }

    /// Everything that the guest has printed.
    pub fn transcript(&self) -> String {
        self.machine.transcript()
    }

    /// Where the console's output is kept.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// QEMU's exit status does not tell a restart from a power-off; its protocol does.
    fn verdict(&mut self, outcome: Outcome) -> Verdict {
        match outcome {
            Outcome::PoweredOff if self.qmp.shutdown_reason().as_deref() == Some("guest-reset") => {
                Verdict::Restarted
            }
            Outcome::PoweredOff => Verdict::PoweredOff,
            Outcome::TripleFault => Verdict::TripleFault,
            Outcome::Panicked => Verdict::Panicked,
            Outcome::Passed => Verdict::Passed,
            Outcome::Failed(status) => Verdict::Failed(status),
            Outcome::DeadlineReached => Verdict::DeadlineReached,
        }
    }

    #[track_caller]
    fn fail(&self, error: &boot_image::Error) -> ! {
        panic!("{error}\nThe whole console is in {}", self.log.display());
    }
}
