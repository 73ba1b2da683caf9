//! The log ring: records of variable length in one byte buffer (Linux:
//! kernel/printk/printk_ringbuffer.c has the lock-free version).

use core::fmt::Write;

use crate::prelude::*;

/// Bytes of the buffer that is there from the first message on.
const EARLY_SIZE: usize = 64 << 10;
/// Bytes of a record's header.
const HEADER: usize = 24;

/// A record's description; the text follows it in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number since boot.
    pub seq: u64,
    /// ns since boot.
    pub time_ns: u64,
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Who printed.
    pub caller: i32,
    /// Length of the text.
    pub len: usize,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the early buffer is in .bss, not on the heap"
)]
enum Storage {
    Early([u8; EARLY_SIZE]),
    Grown(Vec<u8>),
}

/// Positions are byte offsets that only grow; the buffer index is the offset modulo its size.
pub(super) struct RingBuffer {
    storage: Storage,
    head: u64,
    tail: u64,
    first_seq: u64,
    next_seq: u64,
    /// Offset of the newest record, for `append`.
    newest: u64,
}

impl RingBuffer {
    pub(super) const fn new() -> Self {
        Self {
            storage: Storage::Early([0; EARLY_SIZE]),
            head: 0,
            tail: 0,
            first_seq: 0,
            next_seq: 0,
            newest: 0,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.bytes().len()
    }
    pub(super) fn early_size(&self) -> usize {
        EARLY_SIZE
    }
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }
    pub(super) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Early(bytes) => bytes,
            Storage::Grown(bytes) => bytes,
        }
    }

    fn write_at(&mut self, at: u64, data: &[u8]) {
        let bytes = match &mut self.storage {
            Storage::Early(bytes) => &mut bytes[..],
            Storage::Grown(bytes) => &mut bytes[..],
        };
        let start = (at % bytes.len() as u64) as usize;
        let first = data.len().min(bytes.len() - start);
        bytes[start..start + first].copy_from_slice(&data[..first]);
        bytes[..data.len() - first].copy_from_slice(&data[first..]);
    }

    fn read_at(&self, at: u64, out: &mut [u8]) {
        let bytes = self.bytes();
        let start = (at % bytes.len() as u64) as usize;
        let first = out.len().min(bytes.len() - start);
        out[..first].copy_from_slice(&bytes[start..start + first]);
        let rest = out.len() - first;
        out[first..].copy_from_slice(&bytes[..rest]);
    }

    fn header_at(&self, at: u64, seq: u64) -> Record {
        let mut raw = [0; HEADER];
        self.read_at(at, &mut raw);
        let word = |i: usize| u64::from_le_bytes(core::array::from_fn(|b| raw[i * 8 + b]));
        let packed = word(1);
        Record {
            seq,
            time_ns: word(0),
            level: (packed >> 56) as u8,
            caller: word(2) as i32,
            len: (packed & 0xffff_ffff) as usize,
        }
    }

    fn write_header(&mut self, at: u64, record: &Record) {
        let packed = u64::from(record.level) << 56 | record.len as u64;
        let words = [record.time_ns, packed, record.caller as u32 as u64];
        for (i, word) in words.iter().enumerate() {
            self.write_at(at + i as u64 * 8, &word.to_le_bytes());
        }
    }

    /// Adds a record; the oldest ones make room.
    pub(super) fn push(&mut self, level: u8, text: &[u8], time_ns: u64, caller: i32) {
        let len = text.len().min(self.size() / 4);
        self.make_room(HEADER + len);
        let record = Record {
            seq: self.next_seq,
            time_ns,
            level,
            caller,
            len,
        };
        self.newest = self.head;
        self.write_header(self.head, &record);
        self.write_at(self.head + HEADER as u64, &text[..len]);
        self.head += (HEADER + len) as u64;
        self.next_seq += 1;
    }

    /// Continues the newest record (KERN_CONT), or starts one when there is none.
    pub(super) fn append(&mut self, text: &[u8], time_ns: u64, caller: i32) {
        if self.next_seq == self.first_seq {
            return self.push(6, text, time_ns, caller);
        }
        let mut record = self.header_at(self.newest, self.next_seq - 1);
        let len = text.len().min(self.size() / 8);
        self.make_room(len);
        self.write_at(self.head, &text[..len]);
        self.head += len as u64;
        record.len += len;
        self.write_header(self.newest, &record);
    }

    fn make_room(&mut self, bytes: usize) {
        while self.head + bytes as u64 - self.tail > self.size() as u64 {
            let oldest = self.header_at(self.tail, self.first_seq);
            self.tail += (HEADER + oldest.len) as u64;
            self.first_seq += 1;
        }
    }

    /// Finds record `seq`, or the oldest one after it, and reads its text into `text`.
    pub(super) fn read(&self, seq: u64, text: &mut [u8]) -> Option<Record> {
        let mut at = self.tail;
        let mut current = self.first_seq;
        // The newest record is asked for most often.
        if seq + 1 == self.next_seq && self.next_seq > self.first_seq {
            (at, current) = (self.newest, seq);
        }
        while current < self.next_seq {
            let record = self.header_at(at, current);
            if current >= seq {
                let len = record.len.min(text.len());
                self.read_at(at + HEADER as u64, &mut text[..len]);
                return Some(Record { len, ..record });
            }
            at += (HEADER + record.len) as u64;
            current += 1;
        }
        None
    }

    /// Formats record `seq` (or the next one there is) as a console line:
    /// (number of the record after it, level, length).
    pub(super) fn format(&self, seq: u64, out: &mut [u8]) -> Option<(u64, u8, usize)> {
        let mut prefix = Prefix {
            bytes: [0; 32],
            len: 0,
        };
        let (_, room) = out.split_at_mut(0);
        let mut text = [0u8; super::LINE_MAX];
        let record = self.read(seq, &mut text)?;
        let seconds = record.time_ns / 1_000_000_000;
        let micros = record.time_ns / 1000 % 1_000_000;
        let _ = write!(prefix, "[{seconds:5}.{micros:06}] ");
        let body = record.len.min(room.len() - prefix.len - 1);
        room[..prefix.len].copy_from_slice(&prefix.bytes[..prefix.len]);
        room[prefix.len..prefix.len + body].copy_from_slice(&text[..body]);
        room[prefix.len + body] = b'\n';
        Some((record.seq + 1, record.level, prefix.len + body + 1))
    }

    /// Moves everything into a larger buffer; returns the bytes that were free before.
    pub(super) fn grow(&mut self, bytes: Vec<u8>) -> usize {
        let used = (self.head - self.tail) as usize;
        let mut text = vec![0; used];
        self.read_at(self.tail, &mut text);
        let free = self.size() - used;
        let tail = self.tail;
        self.storage = Storage::Grown(bytes);
        self.write_at(tail, &text);
        free
    }
}

struct Prefix {
    bytes: [u8; 32],
    len: usize,
}

impl Write for Prefix {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let end = self.len + s.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(core::fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(ring: &RingBuffer, seq: u64) -> String {
        let mut text = [0; 1000];
        let record = ring.read(seq, &mut text).expect("a record");
        String::from_utf8_lossy(&text[..record.len]).into_owned()
    }

    #[test]
    fn records_come_back_in_order_with_time_and_level() {
        let mut ring = RingBuffer::new();
        ring.push(6, b"one", 1_500_000_000, 1);
        ring.push(4, b"two", 2_000_000_000, 2);
        let mut line = [0; 100];
        let (next, level, len) = ring.format(0, &mut line).expect("a line");
        assert_eq!((next, level), (1, 6));
        assert_eq!(&line[..len], b"[    1.500000] one\n");
        assert_eq!(text_of(&ring, 1), "two");
    }

    #[test]
    fn a_continuation_belongs_to_the_newest_record() {
        let mut ring = RingBuffer::new();
        ring.push(6, b"one ", 0, 0);
        ring.append(b"and a half", 0, 0);
        assert_eq!(text_of(&ring, 0), "one and a half");
    }

    #[test]
    fn old_records_make_room_and_numbers_go_on() {
        let mut ring = RingBuffer::new();
        for i in 0..5000 {
            ring.push(6, format!("message number {i}").as_bytes(), i, 0);
        }
        assert!(ring.first_seq() > 0);
        assert_eq!(text_of(&ring, 4999), "message number 4999");
        assert_eq!(
            text_of(&ring, 0),
            format!("message number {}", ring.first_seq())
        );
    }

    #[test]
    fn growing_keeps_the_whole_log() {
        let mut ring = RingBuffer::new();
        for i in 0..5000 {
            ring.push(6, format!("message number {i}").as_bytes(), i, 0);
        }
        let first = ring.first_seq();
        ring.grow(vec![0; 1 << 18]);
        assert_eq!(ring.first_seq(), first);
        for seq in first..5000 {
            assert_eq!(text_of(&ring, seq), format!("message number {seq}"));
        }
    }
}
