//! Control messages: echo and unreachable (Linux: net/ipv4/icmp.c).
#![forbid(unsafe_code)]

use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet};

use crate::net::ipv4::af_inet::DEFAULT_TTL;
use crate::net::ipv4::ip::{self, Header};
use crate::net::ipv4::raw;
use crate::prelude::*;

/// Code of an unreachable message: no such protocol here.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of an unreachable message: nobody at that port.
pub const PORT_UNREACHABLE: u8 = 3;

/// Bytes of an ICMP header.
const HEADER_LEN: usize = 8;
const TYPE_ECHO_REPLY: u8 = 0;
const TYPE_UNREACHABLE: u8 = 3;

/// A message came in (Linux: `icmp_rcv`): echo requests are answered.
pub(super) fn rcv(packet: &Ipv4Packet<&[u8]>) {
    let Ok(message) = Icmpv4Packet::new_checked(packet.payload()) else {
        return;
    };
    if message.msg_type() == Icmpv4Message::EchoRequest && message.verify_checksum() {
        // What cannot be answered for lack of memory is not answered.
        let _ = echo(packet);
    }
}

fn echo(request: &Ipv4Packet<&[u8]>) -> Result {
    let mut payload = request.payload().to_vec();
    payload[0] = TYPE_ECHO_REPLY;
    Icmpv4Packet::new_unchecked(&mut payload[..]).fill_checksum();
    let header = Header {
        src: request.dst_addr(),
        dst: request.src_addr(),
        protocol: u8::from(IpProtocol::Icmp),
        ttl: DEFAULT_TTL,
        tos: 0,
    };
    ip::local_out(&ip::build(&header, &payload)?, header.dst)
}

/// Tells the sender of a packet that nobody wants it (Linux: `icmp_send`). The sockets that hear
/// of it are raw ones; others are told directly. `packet` is the whole packet.
pub(super) fn send_unreachable(packet: &[u8], code: u8) {
    if !raw::has_listener(u8::from(IpProtocol::Icmp)) {
        return;
    }
    let _ = unreachable(packet, code);
}

fn unreachable(bytes: &[u8], code: u8) -> Result {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Errno::EINVAL)?;
    // The header and the first bytes behind it say which packet it is about.
    let quoted = (usize::from(packet.header_len()) + 8).min(bytes.len());
    let mut payload = vec![0; HEADER_LEN];
    payload[0] = TYPE_UNREACHABLE;
    payload[1] = code;
    payload.extend_from_slice(bytes.get(..quoted).unwrap_or(bytes));
    Icmpv4Packet::new_unchecked(&mut payload[..]).fill_checksum();
    let header = Header {
        src: packet.dst_addr(),
        dst: packet.src_addr(),
        protocol: u8::from(IpProtocol::Icmp),
        ttl: DEFAULT_TTL,
        tos: 0xc0,
    };
    ip::local_out(&ip::build(&header, &payload)?, header.dst)
}
