//! Packets between sockets of this machine (Linux: net/ipv4/ip_output.c, net/ipv4/ip_input.c).
//! UDP and TCP do not come here: UDP hands its datagrams over without a header, TCP has a queue
//! of its own (`tcp_stack.rs`).
#![forbid(unsafe_code)]

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU16, Ordering};

use smoltcp::wire::{IpProtocol, Ipv4Packet};

use crate::net::core::dev::LOOPBACK;
use crate::net::ipv4::fib::{Output, route_output};
use crate::net::ipv4::{icmp, raw, udp};
use crate::prelude::*;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Greatest packet.
pub const PACKET_MAX: usize = 65535;

/// What the header of a new packet says.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Sender.
    pub src: Ipv4Addr,
    /// Receiver.
    pub dst: Ipv4Addr,
    /// IPPROTO_*.
    pub protocol: u8,
    /// Hops.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
}

fn next_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A packet with this header. Errors: EMSGSIZE, ENOMEM.
pub fn build(header: &Header, payload: &[u8]) -> Result<Vec<u8>> {
    let len = HEADER_LEN + payload.len();
    if len > PACKET_MAX {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(HEADER_LEN, 0);
    bytes.extend_from_slice(payload);
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(4);
    packet.set_header_len(HEADER_LEN as u8);
    packet.set_dscp(header.tos >> 2);
    packet.set_ecn(header.tos & 3);
    packet.set_total_len(len as u16);
    packet.set_ident(next_id());
    packet.set_hop_limit(header.ttl);
    packet.set_next_header(IpProtocol::from(header.protocol));
    packet.set_src_addr(header.src);
    packet.set_dst_addr(header.dst);
    packet.fill_checksum();
    Ok(bytes)
}

/// Completes a header that a user wrote, as Linux does for IP_HDRINCL: length and checksum
/// always, number and sender when they are 0. Errors: EINVAL for what is no header.
pub fn complete(bytes: &mut [u8], source: Ipv4Addr) -> Result {
    let total = u16::try_from(bytes.len()).map_err(|_| Errno::EMSGSIZE)?;
    if bytes.len() < HEADER_LEN {
        return Err(Errno::EINVAL);
    }
    let mut packet = Ipv4Packet::new_unchecked(bytes);
    let header_len = usize::from(packet.header_len());
    if header_len < HEADER_LEN || header_len > usize::from(total) {
        return Err(Errno::EINVAL);
    }
    packet.set_total_len(total);
    if packet.ident() == 0 {
        packet.set_ident(next_id());
    }
    if packet.src_addr().is_unspecified() {
        packet.set_src_addr(source);
    }
    packet.fill_checksum();
    Ok(())
}

/// Sends a packet on its way (Linux: `ip_local_out`). Errors: ENETUNREACH.
pub fn local_out(packet: &[u8], dst: Ipv4Addr) -> Result {
    let output = route_output(dst)?;
    LOOPBACK.count(packet.len());
    if let Output::Local(_) = output {
        rcv(packet);
    }
    Ok(())
}

/// A packet came in (Linux: `ip_rcv`, `ip_local_deliver`). Malformed ones are dropped.
pub fn rcv(bytes: &[u8]) {
    let Ok(packet) = Ipv4Packet::new_checked(bytes) else {
        return;
    };
    if packet.version() != 4 || !packet.verify_checksum() || packet.more_frags() {
        return;
    }
    let heard = raw::deliver(&packet, bytes);
    match packet.next_header() {
        IpProtocol::Icmp => icmp::rcv(&packet),
        IpProtocol::Udp => udp::rcv(&packet, bytes),
        IpProtocol::Tcp => {}
        _ if heard => {}
        _ => icmp::send_unreachable(bytes, icmp::PROTOCOL_UNREACHABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        src: Ipv4Addr::LOCALHOST,
        dst: Ipv4Addr::LOCALHOST,
        protocol: 1,
        ttl: 64,
        tos: 0x1c,
    };

    #[test]
    fn a_built_packet_parses_and_its_checksum_holds() {
        let bytes = build(&HEADER, b"payload").unwrap();
        let packet = Ipv4Packet::new_checked(&bytes[..]).unwrap();
        assert!(packet.verify_checksum());
        assert_eq!(
            (packet.payload(), packet.hop_limit()),
            (&b"payload"[..], 64)
        );
        assert_eq!(bytes[1], 0x1c);
        assert_eq!(build(&HEADER, &[0; 65516]).err(), Some(Errno::EMSGSIZE));
    }

    #[test]
    fn user_headers_are_completed_or_refused() {
        let mut bytes = build(&HEADER, b"xy").unwrap();
        bytes[2..6].fill(0);
        bytes[10..16].fill(0);
        complete(&mut bytes, Ipv4Addr::new(127, 0, 0, 5)).unwrap();
        let packet = Ipv4Packet::new_checked(&bytes[..]).unwrap();
        assert!(packet.verify_checksum() && packet.total_len() == 22 && packet.ident() != 0);
        assert_eq!(packet.src_addr(), Ipv4Addr::new(127, 0, 0, 5));
        assert_eq!(complete(&mut [0x4f; 20], HEADER.src), Err(Errno::EINVAL));
        assert_eq!(complete(&mut [0x41; 20], HEADER.src), Err(Errno::EINVAL));
        assert_eq!(complete(&mut [0x45; 19], HEADER.src), Err(Errno::EINVAL));
    }

    #[test]
    fn garbage_is_dropped_without_a_word() {
        rcv(&[]);
        rcv(&[0x45; 20]);
        rcv(&[0xff; 64]);
    }
}
