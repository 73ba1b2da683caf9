//! QEMU's machine protocol: screen dumps, keys, and the reason of a shutdown.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// QEMU opens the socket within this time, and answers within it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a running QEMU.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    messages: Receiver<Value>,
    shutdown_reason: Option<String>,
}

impl Qmp {
    /// Connects to QEMU's socket, which may not be there yet. `is_running` tells when waiting for it has become vain.
    pub fn connect(socket: &Path, is_running: impl FnMut() -> bool) -> Result<Self> {
        let stream = connect(socket, is_running)?;
        let copy = stream.try_clone().map_err(broken)?;
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(copy).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str(&line)
                    && sender.send(message).is_err()
                {
                    return;
                }
            }
        });
        let mut qmp = Self {
            stream,
            messages,
            shutdown_reason: None,
        };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns what it answers.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string();
        writeln!(self.stream, "{line}").map_err(broken)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).map_err(broken)?;
            self.note_event(&message);
            if let Some(answer) = message.get("return") {
                return Ok(answer.clone());
            }
            if let Some(error) = message.get("error") {
                return Err(Error::Other(format!("QEMU refused {command}: {error}")));
            }
        }
    }

    /// Writes a picture of the guest's screen as a PNG file.
    pub fn screendump(&mut self, file: &Path) -> Result<()> {
        self.execute("screendump", json!({ "filename": file, "format": "png" }))
            .map(drop)
    }

    /// Runs a line of QEMU's monitor for people, such as `info registers` or `nmi`, and returns what it prints.
    pub fn monitor(&mut self, line: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Presses keys at the same time, by QEMU's names for them.
    pub fn send_key(&mut self, keys: &[&str]) -> Result<()> {
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| json!({ "type": "qcode", "data": key }))
            .collect();
        self.execute("send-key", json!({ "keys": keys })).map(drop)
    }

    /// Why the machine stopped, once it has: `guest-shutdown`, `guest-reset`, ...
    pub fn shutdown_reason(&mut self) -> Option<String> {
        // The sender goes away with QEMU's end of the socket, so this ends before the timeout.
        while let Ok(message) = self.messages.recv_timeout(Duration::from_secs(1)) {
            self.note_event(&message);
        }
        self.shutdown_reason.clone()
    }

    fn note_event(&mut self, message: &Value) {
        if let Some(reason) = shutdown_reason(message) {
            self.shutdown_reason = Some(reason.to_owned());
        }
    }
}

fn shutdown_reason(message: &Value) -> Option<&str> {
    if message.get("event")? != "SHUTDOWN" {
        return None;
    }
    message.get("data")?.get("reason")?.as_str()
}

fn connect(socket: &Path, mut is_running: impl FnMut() -> bool) -> Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline || !is_running() => return Err(broken(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Other(format!("lost the connection to QEMU: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_shutdown_is_read_from_its_event() {
        let event = json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}});
        assert_eq!(shutdown_reason(&event), Some("guest-reset"));
        assert_eq!(shutdown_reason(&json!({"event": "RESET"})), None);
    }
}
