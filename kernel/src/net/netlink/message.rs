//! The format of netlink messages (Linux: include/net/netlink.h, lib/nlattr.c).
#![forbid(unsafe_code)]

use crate::prelude::*;

/// Bytes of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;

// Types of messages that every protocol has.
/// Says how a request went.
pub const NLMSG_ERROR: u16 = 2;
/// Ends a listing.
pub const NLMSG_DONE: u16 = 3;
/// First type of the protocol's own.
pub const NLMSG_MIN_TYPE: u16 = 16;

// Flags of messages.
/// The message is a request.
pub const NLM_F_REQUEST: u16 = 1;
/// More follow, up to NLMSG_DONE.
pub const NLM_F_MULTI: u16 = 2;
/// The sender wants to hear how it went.
pub const NLM_F_ACK: u16 = 4;
/// The answer does not repeat the request.
pub const NLM_F_CAPPED: u16 = 0x100;
/// Everything is listed.
pub const NLM_F_DUMP: u16 = 0x300;
/// Fails if it exists.
pub const NLM_F_EXCL: u16 = 0x200;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the message with this header.
    pub len: u32,
    /// NLMSG_* or the protocol's.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// Chosen by the one who asks.
    pub seq: u32,
    /// Port of the sender.
    pub pid: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let kind_flags = word(4)?;
        Some(Self {
            len: word(0)?,
            kind: kind_flags as u16,
            flags: (kind_flags >> 16) as u16,
            seq: word(8)?,
            pid: word(12)?,
        })
    }
    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.seq.to_le_bytes());
        bytes[12..].copy_from_slice(&self.pid.to_le_bytes());
        bytes
    }
}

/// Takes the first message off `rest`: header and payload; `None` at the end or for one that
/// does not fit (Linux: `netlink_rcv_skb`).
pub fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(Header, &'a [u8])> {
    let header = Header::read(rest)?;
    let len = header.len as usize;
    let payload = rest.get(HEADER_LEN..len)?;
    let next = len.next_multiple_of(4);
    *rest = rest.get(next..).unwrap_or(&[]);
    Some((header, payload))
}

/// Finds an attribute behind a structure of `skip` bytes.
pub fn attribute(payload: &[u8], skip: usize, kind: u16) -> Option<&[u8]> {
    const NLA_TYPE_MASK: u16 = 0x3fff;
    let mut rest = payload.get(skip.next_multiple_of(4)..)?;
    loop {
        let len = usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]));
        let found = u16::from_le_bytes([*rest.get(2)?, *rest.get(3)?]) & NLA_TYPE_MASK;
        let value = rest.get(4..len)?;
        if found == kind {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

/// Messages that are being written.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Where the current message starts.
    start: usize,
}

impl Writer {
    /// Starts a message in answer to `request` with the protocol's structure `body`.
    pub fn begin(&mut self, request: &Header, kind: u16, flags: u16, port: u32, body: &[u8]) {
        self.start = self.bytes.len();
        let header = Header {
            len: 0,
            kind,
            flags,
            seq: request.seq,
            pid: port,
        };
        self.bytes.extend_from_slice(&header.to_bytes());
        self.bytes.extend_from_slice(body);
        self.pad();
    }
    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let len = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }
    /// Adds an attribute that is a number.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_le_bytes());
    }
    /// Adds an attribute that is a text, with its NUL.
    pub fn put_str(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.put(kind, &value);
    }
    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
    /// Ends the message.
    pub fn end(&mut self) {
        let len = (self.bytes.len() - self.start) as u32;
        let start = self.start;
        if let Some(room) = self.bytes.get_mut(start..start + 4) {
            room.copy_from_slice(&len.to_le_bytes());
        }
    }
    /// The messages.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Header = Header {
        len: 0,
        kind: 18,
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        seq: 7,
        pid: 9,
    };

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer.begin(&REQUEST, 16, NLM_F_MULTI, 9, &[1, 2, 3, 4, 5]);
        writer.put_str(3, "lo");
        writer.put_u32(4, 65536);
        writer.end();
        writer.begin(&REQUEST, NLMSG_DONE, NLM_F_MULTI, 9, &[0; 4]);
        writer.end();
        let bytes = writer.into_bytes();
        let mut rest = bytes.as_slice();
        let (header, payload) = next_message(&mut rest).unwrap();
        assert_eq!((header.kind, header.seq, header.pid), (16, 7, 9));
        assert_eq!(attribute(payload, 5, 3), Some(&b"lo\0"[..]));
        assert_eq!(attribute(payload, 5, 4), Some(&65536u32.to_le_bytes()[..]));
        assert_eq!(attribute(payload, 5, 5), None);
        assert_eq!(next_message(&mut rest).unwrap().0.kind, NLMSG_DONE);
        assert_eq!(next_message(&mut rest), None);
    }

    #[test]
    fn lengths_that_do_not_fit_end_the_reading() {
        for len in [0u32, 15, 21, u32::MAX] {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            assert_eq!(next_message(&mut &bytes[..]), None, "{len}");
        }
        assert_eq!(attribute(&[3, 0, 1, 0], 0, 1), None);
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 0, 0], 0, 2), None);
        assert_eq!(attribute(&[0xff, 0xff, 1, 0], 0, 1), None);
        assert_eq!(attribute(&[], 8, 1), None);
    }
}
