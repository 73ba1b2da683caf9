//! A running QEMU that a program talks to over the serial console.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::command::{is_in_path, start_error};
use crate::error::{Error, FileContext, Result};
use crate::outcome::Outcome;
use crate::qemu::QemuCommand;

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// A machine with its serial port on pipes. Dropping it ends QEMU.
#[derive(Debug)]
pub struct Machine {
    qemu: QemuCommand,
    child: Child,
    stdin: Option<ChildStdin>,
    console: Arc<Console>,
    /// Up to where the output was taken by [`Machine::expect`].
    taken: usize,
}

/// What the guest has printed so far.
#[derive(Debug, Default)]
struct Console {
    state: Mutex<ConsoleState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ConsoleState {
    bytes: Vec<u8>,
    closed: bool,
}

impl Machine {
    /// Starts QEMU. All that the guest prints, and QEMU's own messages, are copied to `log`.
    pub fn start(qemu: &QemuCommand, log: Option<&Path>) -> Result<Self> {
        let mut command = dying_with_parent(&qemu.command()?, "KILL");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut log = log
            .map(|path| File::create(path).doing("create", path))
            .transpose()?;
        if let Some(log) = &log {
            let copy = log
                .try_clone()
                .map_err(|error| Error::Other(format!("cannot share the log: {error}")))?;
            command.stderr(copy);
        }
        let mut child = command
            .spawn()
            .map_err(|source| start_error(&command, source))?;
        let stdout = child.stdout.take().expect("the pipe was asked for");
        let console = Arc::new(Console::default());
        let reader = Arc::clone(&console);
        std::thread::spawn(move || reader.fill_from(stdout, log.as_mut()));
        Ok(Self {
            qemu: qemu.clone(),
            stdin: child.stdin.take(),
            child,
            console,
            taken: 0,
        })
    }

    /// Waits until the guest prints `text` and returns what it printed before, from the last match on.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        let mut state = self.console.lock();
        // What was looked through in vain is not looked through again.
        let mut from = self.taken;
        loop {
            if let Some(position) = find(&state.bytes[from..], text.as_bytes()) {
                let before = lossy(&state.bytes[self.taken..from + position]);
                self.taken = from + position + text.len();
                return Ok(before);
            }
            from = from.max(state.bytes.len().saturating_sub(text.len()));
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let reason = if state.closed {
                    "the machine ended"
                } else {
                    "the deadline passed"
                };
                return Err(not_found(text, reason, &state.bytes[self.taken..]));
            }
            state = self.console.wait(state, left);
        }
    }

    /// Types at the guest's console.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.send_bytes(text.as_bytes())
    }

    /// Types bytes that need not be text.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Err(Error::Other("the machine's console is closed".into()));
        };
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .map_err(|error| Error::Other(format!("cannot type at the machine's console: {error}")))
    }

    /// Everything that the guest has printed.
    pub fn transcript(&self) -> String {
        lossy(&self.console.lock().bytes)
    }

    /// Waits for the end of QEMU. At the deadline the machine is switched off.
    pub fn wait(&mut self, timeout: Duration) -> Result<Outcome> {
        let outcome = wait_for(&mut self.child, Some(timeout))?;
        self.wait_for_last_output();
        Ok(self.qemu.outcome(outcome))
    }

    /// Whether QEMU has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// QEMU has ended: its pipe closes as soon as the reader has taken what is left.
    fn wait_for_last_output(&self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut state = self.console.lock();
        while !state.closed && Instant::now() < deadline {
            state = self.console.wait(state, POLL);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if QEMU has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Console {
    fn lock(&self) -> MutexGuard<'_, ConsoleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, ConsoleState>,
        timeout: Duration,
    ) -> MutexGuard<'a, ConsoleState> {
        self.changed
            .wait_timeout(state, timeout)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn fill_from(&self, mut stdout: ChildStdout, mut log: Option<&mut File>) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            if let Some(log) = &mut log {
                // A full disk must not end the test; the transcript in memory is what is judged.
                drop(log.write_all(&buffer[..length]));
            }
            self.lock().bytes.extend_from_slice(&buffer[..length]);
            self.changed.notify_all();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Waits for a QEMU process, and ends it at the deadline.
pub fn wait_for(child: &mut Child, timeout: Option<Duration>) -> Result<Outcome> {
    let error = |error| Error::Other(format!("cannot wait for QEMU: {error}"));
    let Some(timeout) = timeout else {
        return Ok(child.wait().map_err(error)?.into());
    };
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().map_err(error)? {
            return Ok(status.into());
        }
        std::thread::sleep(POLL);
    }
    child.kill().map_err(error)?;
    child.wait().map_err(error)?;
    Ok(Outcome::DeadlineReached)
}

/// Lets this machine's kernel send QEMU a signal when the thread that started it ends, however that happens.
pub fn dying_with_parent(command: &Command, signal: &str) -> Command {
    const WRAPPER: &str = "setpriv";
    let mut wrapped = if is_in_path(WRAPPER) {
        let mut wrapper = Command::new(WRAPPER);
        wrapper
            .args(["--pdeathsig", signal, "--"])
            .arg(command.get_program());
        wrapper
    } else {
        Command::new(command.get_program())
    };
    wrapped.args(command.get_args());
    wrapped
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len().max(1))
        .position(|window| window.starts_with(needle))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Shows the end of what was printed instead.
fn not_found(text: &str, reason: &str, rest: &[u8]) -> Error {
    const SHOWN: usize = 2000;
    let tail = lossy(&rest[rest.len().saturating_sub(SHOWN)..]);
    Error::Other(format!(
        "{reason} before the guest printed {text:?}; it printed:\n{tail}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_across_reads() {
        assert_eq!(find(b"hello world", b"o w"), Some(4));
        assert_eq!(find(b"hello", b"x"), None);
        assert_eq!(find(b"", b"x"), None);
    }

    #[test]
    fn a_process_that_outlives_the_deadline_is_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let outcome = wait_for(&mut child, Some(Duration::from_millis(30))).unwrap();
        assert_eq!(outcome, Outcome::DeadlineReached);
    }

    #[test]
    fn a_status_is_returned_before_the_deadline() {
        let mut child = Command::new("sh").args(["-c", "exit 35"]).spawn().unwrap();
        let outcome = wait_for(&mut child, Some(Duration::from_secs(20))).unwrap();
        assert_eq!(outcome, Outcome::Panicked);
    }
}
