//! As much of gdb's remote protocol as a test needs, so that gdb need not be installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Name of the socket in the folder of a machine.
pub(crate) const GDB_SOCKET: &str = "gdb";
/// How long the machine may run until it stops.
const PATIENCE: Duration = Duration::from_secs(120);
/// Place of `rip` among the registers that the protocol sends: after the 16 general ones.
const RIP: usize = 16;

/// A debugger's connection to a machine. What goes wrong fails the test.
#[derive(Debug)]
pub struct Gdb {
    stream: BufReader<UnixStream>,
}

/// What stops the machine.
#[derive(Clone, Copy, Debug)]
pub enum Breakpoint {
    /// An instruction is replaced; the code must be loaded.
    Software,
    /// A debug register holds the address.
    Hardware,
}

impl Gdb {
    #[track_caller]
    pub(crate) fn connect(folder: &Path) -> Self {
        let stream = UnixStream::connect(folder.join(GDB_SOCKET)).expect("QEMU waits there");
        let set = stream.set_read_timeout(Some(PATIENCE));
        set.expect("a socket can have a deadline");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sets a breakpoint.
    #[track_caller]
    pub fn set_breakpoint(&mut self, kind: Breakpoint, address: u64) {
        self.ok(&format!("Z{},{address:x},1", kind as u8));
    }

    /// Removes a breakpoint.
    #[track_caller]
    pub fn remove_breakpoint(&mut self, kind: Breakpoint, address: u64) {
        self.ok(&format!("z{},{address:x},1", kind as u8));
    }

    /// Lets the machine run until it stops; returns its `rip`.
    #[track_caller]
    pub fn run(&mut self) -> u64 {
        self.resume_to_trap("c")
    }

    /// Runs one instruction; returns `rip`.
    #[track_caller]
    pub fn step(&mut self) -> u64 {
        self.resume_to_trap("s")
    }

    #[track_caller]
    fn resume_to_trap(&mut self, command: &str) -> u64 {
        let reason = self.ask(command);
        assert!(
            reason.starts_with("T05") || reason.starts_with("S05"),
            "{reason}"
        );
        self.rip()
    }

    #[track_caller]
    fn rip(&mut self) -> u64 {
        let registers = self.ask("g");
        let digits = registers.get(RIP * 16..RIP * 16 + 16);
        let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        value.expect("a register is 16 digits").swap_bytes()
    }

    /// Leaves; the machine goes on.
    #[track_caller]
    pub fn detach(mut self) {
        self.ok("D");
    }

    #[track_caller]
    fn ok(&mut self, packet: &str) {
        assert_eq!(self.ask(packet), "OK", "to {packet}");
    }

    /// Sends a packet and returns the answer.
    #[track_caller]
    fn ask(&mut self, packet: &str) -> String {
        let framed = format!("${packet}#{:02x}", checksum(packet.as_bytes()));
        let sent = self.stream.get_mut().write_all(framed.as_bytes());
        sent.expect("QEMU listens");
        let mut acknowledgement = [0];
        let read = self.stream.read_exact(&mut acknowledgement);
        read.expect("QEMU acknowledges");
        assert_eq!(acknowledgement, *b"+", "to {packet}");
        self.answer()
    }

    #[track_caller]
    fn answer(&mut self) -> String {
        let mut frame = Vec::new();
        let read = self.stream.read_until(b'#', &mut frame);
        read.expect("QEMU answers before the deadline");
        let mut digits = [0; 2];
        self.stream
            .read_exact(&mut digits)
            .expect("a checksum follows");
        let text = String::from_utf8_lossy(&frame).into_owned();
        let body = text
            .strip_prefix('$')
            .and_then(|text| text.strip_suffix('#'));
        let body = body.unwrap_or_else(|| panic!("{text:?} is no packet"));
        let sum = format!("{:02x}", checksum(body.as_bytes()));
        assert_eq!(sum.as_bytes(), digits, "{text:?}");
        let sent = self.stream.get_mut().write_all(b"+");
        sent.expect("QEMU listens");
        body.to_owned()
    }
}

/// The sum of the bytes, as the protocol wants it.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_sum_of_the_bytes() {
        assert_eq!(checksum(b"OK"), 0x9a);
        assert_eq!(checksum(&[0xff, 2]), 1);
    }
}
