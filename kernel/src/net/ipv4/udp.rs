//! Datagrams (Linux: net/ipv4/udp.c).
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;

use smoltcp::wire::{Ipv4Packet, UdpPacket};
use uapi::socket::*;

use crate::kernel::sched::wait::PollTable;
use crate::kernel::time::ktime_get_real;
use crate::mm::UserAddr;
use crate::net::core::datagram::DatagramQueue;
use crate::net::core::dev::LOOPBACK;
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::*;
use crate::net::ipv4::af_inet::{Endpoint, InetSock, PacketInfo};
use crate::net::ipv4::fib::{Output, route_output};
use crate::net::ipv4::icmp;
use crate::net::ipv4::ip::{self, Header};
use crate::net::ipv4::ports::Transport;
use crate::net::ipv4::raw::{self, datagram_ioctl, datagram_poll};
use crate::prelude::*;

/// Bytes of a UDP header.
const HEADER_LEN: usize = 8;
/// Greatest datagram.
const DATAGRAM_MAX: usize = ip::PACKET_MAX - ip::HEADER_LEN - HEADER_LEN;

/// A UDP socket (Linux: `struct udp_sock`).
pub struct UdpSock {
    /// The shared part.
    pub inet: InetSock,
    me: Weak<UdpSock>,
    queue: DatagramQueue<PacketInfo>,
}

/// Sockets by port, each port's latest last (Linux: `udp_table`).
static TABLE: SpinLock<BTreeMap<u16, Vec<Weak<UdpSock>>>> = SpinLock::new(BTreeMap::new());

/// Every socket that has a port.
pub(super) fn all() -> Vec<Arc<UdpSock>> {
    TABLE
        .lock()
        .values()
        .flatten()
        .filter_map(Weak::upgrade)
        .collect()
}

/// The socket that fits a datagram best (Linux: `__udp4_lib_lookup`).
fn lookup(from: Endpoint, to: Endpoint) -> Option<Arc<UdpSock>> {
    let table = TABLE.lock();
    let mut best: Option<(u32, Arc<UdpSock>)> = None;
    for sock in table.get(&to.port)?.iter().rev().filter_map(Weak::upgrade) {
        let Some(score) = sock.score(from, to) else {
            continue;
        };
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, sock));
        }
    }
    best.map(|(_, sock)| sock)
}

/// A datagram came in with its headers, from a raw socket.
pub(super) fn rcv(packet: &Ipv4Packet<&[u8]>, bytes: &[u8]) {
    let Ok(datagram) = UdpPacket::new_checked(packet.payload()) else {
        return;
    };
    let (src, dst) = (packet.src_addr(), packet.dst_addr());
    let info = PacketInfo {
        from: Endpoint {
            addr: src,
            port: datagram.src_port(),
        },
        to: dst,
        ttl: packet.hop_limit(),
        tos: bytes.get(1).copied().unwrap_or(0),
        stamp: 0,
    };
    let to = Endpoint {
        addr: dst,
        port: datagram.dst_port(),
    };
    match lookup(info.from, to) {
        Some(sock) => {
            if let Ok(data) = SkBuff::from_slice(datagram.payload()) {
                sock.receive(data, info);
            }
        }
        None => icmp::send_unreachable(bytes, icmp::PORT_UNREACHABLE),
    }
}

impl UdpSock {
    /// A socket without a port.
    pub fn new(uid: u32) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            inet: InetSock::new(SOCK_DGRAM, IPPROTO_UDP, uid),
            me: me.clone(),
            queue: DatagramQueue::default(),
        })
    }
    /// Memory in its queue, and datagrams that found no room.
    pub(super) fn usage(&self) -> (usize, u64) {
        self.queue.usage()
    }

    /// How well it fits a datagram; `None` when it does not (Linux: `compute_score`).
    fn score(&self, from: Endpoint, to: Endpoint) -> Option<u32> {
        let (local, remote) = self.inet.names();
        let mut score = 1;
        if !local.addr.is_unspecified() {
            if local.addr != to.addr {
                return None;
            }
            score += 4;
        }
        if let Some(remote) = remote {
            if remote != from {
                return None;
            }
            score += 8;
        }
        Some(score)
    }

    fn receive(&self, data: SkBuff, mut info: PacketInfo) {
        let sk = &self.inet.common;
        if sk.option(SO_TIMESTAMP) || sk.option(SO_TIMESTAMPNS) {
            info.stamp = ktime_get_real();
        }
        if !self.queue.push(sk, data, info) {
            LOOPBACK.count_dropped();
        }
    }

    /// Enters the socket under its port.
    fn enlist(&self) {
        let port = self.inet.names().0.port;
        TABLE.lock().entry(port).or_default().push(self.me.clone());
    }
    fn delist(&self, port: u16) {
        let mut table = TABLE.lock();
        if let Some(socks) = table.get_mut(&port) {
            socks.retain(|sock| !sock.ptr_eq(&self.me));
            if socks.is_empty() {
                table.remove(&port);
            }
        }
    }
    fn autobind(&self) -> Result {
        if self.inet.autobind(Transport::Udp)? {
            self.enlist();
        }
        Ok(())
    }

    /// Where a datagram goes. Errors: EDESTADDRREQ, EINVAL for port 0, and those of the address.
    fn destination(&self, name: Option<&SockAddr>) -> Result<Endpoint> {
        let Some(name) = name else {
            return self.inet.names().1.ok_or(Errno::EDESTADDRREQ);
        };
        let mut to = Endpoint::parse(name)?;
        if to.port == 0 {
            return Err(Errno::EINVAL);
        }
        if to.addr.is_unspecified() {
            to.addr = Ipv4Addr::LOCALHOST;
        }
        Ok(to)
    }

    /// Hands a datagram to its receiver on this machine.
    fn deliver(&self, data: SkBuff, from: Endpoint, to: Endpoint) -> Result {
        let tos = self.inet.get(IP_TOS) as u8;
        let ttl = self.inet.ttl();
        let udp = IPPROTO_UDP as u8;
        let receiver = lookup(from, to);
        if receiver.is_none() || raw::has_listener(udp) {
            let header = Header {
                src: from.addr,
                dst: to.addr,
                protocol: udp,
                ttl,
                tos,
            };
            let packet = build(&header, from.port, to.port, &data.to_vec()?)?;
            if let Ok(parsed) = Ipv4Packet::new_checked(&packet[..]) {
                raw::deliver(&parsed, &packet);
            }
            if receiver.is_none() {
                icmp::send_unreachable(&packet, icmp::PORT_UNREACHABLE);
                self.port_unreachable(to);
            }
        }
        if let Some(receiver) = receiver {
            let info = PacketInfo {
                from,
                to: to.addr,
                ttl,
                tos,
                stamp: 0,
            };
            receiver.receive(data, info);
        }
        Ok(())
    }

    /// Nobody is at the port: a connected sender hears of that (Linux: `__udp4_lib_err`).
    fn port_unreachable(&self, to: Endpoint) {
        if self.inet.names().1 == Some(to) || self.inet.get(IP_RECVERR) != 0 {
            self.inet.common.set_error(Errno::ECONNREFUSED);
            self.inet.common.wake_all();
        }
    }
}

/// A datagram with both headers.
fn build(header: &Header, src_port: u16, dst_port: u16, payload: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes.extend_from_slice(payload);
    let len = u16::try_from(bytes.len()).map_err(|_| Errno::EMSGSIZE)?;
    let mut datagram = UdpPacket::new_unchecked(&mut bytes[..]);
    datagram.set_src_port(src_port);
    datagram.set_dst_port(dst_port);
    datagram.set_len(len);
    datagram.fill_checksum(&header.src.into(), &header.dst.into());
    ip::build(header, &bytes)
}

impl Sock for UdpSock {
    fn common(&self) -> &SockCommon {
        &self.inet.common
    }

    fn bind(&self, addr: &SockAddr) -> Result {
        self.inet.bind(Transport::Udp, addr)?;
        self.enlist();
        Ok(())
    }

    fn connect(&self, addr: &SockAddr, _flags: u32) -> Result {
        if addr.family() == Some(AF_UNSPEC) {
            self.inet.ends.lock().remote = None;
            return Ok(());
        }
        let mut remote = Endpoint::parse(addr)?;
        if remote.addr.is_unspecified() {
            remote.addr = Ipv4Addr::LOCALHOST;
        }
        if remote.addr.is_broadcast() && !self.inet.common.option(SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        let source = route_output(remote.addr)?.source();
        self.autobind()?;
        let mut ends = self.inet.ends.lock();
        if ends.local.addr.is_unspecified() {
            ends.local.addr = source;
        }
        ends.remote = Some(remote);
        Ok(())
    }

    fn getname(&self, side: Side) -> Result<SockAddr> {
        self.inet.getname(side)
    }

    fn sendmsg(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        let len = msg.data.count();
        if len > DATAGRAM_MAX {
            return Err(Errno::EMSGSIZE);
        }
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = self.destination(msg.name)?;
        self.inet.common.check_error()?;
        if self.inet.common.is_shut(SEND_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        if to.addr.is_broadcast() && !self.inet.common.option(SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        let output = route_output(to.addr)?;
        self.autobind()?;
        let mut from = self.inet.names().0;
        if from.addr.is_unspecified() {
            from.addr = output.source();
        }
        let data = SkBuff::copy_from(msg.data, len)?;
        LOOPBACK.count(len + HEADER_LEN + ip::HEADER_LEN);
        if let Output::Local(_) = output {
            self.deliver(data, from, to)?;
        }
        Ok(len)
    }

    fn recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        self.inet.receive(&self.queue, msg)
    }

    fn shutdown(&self, how: u32) -> Result {
        self.inet.shutdown_datagram(how)
    }

    fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> Result {
        match level {
            SOL_IP => self.inet.setsockopt(name, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn getsockopt(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        match level {
            SOL_IP => self.inet.getsockopt(name),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn poll(&self, table: Option<&mut PollTable>) -> u32 {
        self.inet.common.poll_wait(table);
        datagram_poll(&self.inet.common, self.queue.is_empty())
    }

    fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<i64> {
        datagram_ioctl(cmd, arg, self.queue.first_len())
    }

    fn release(&self) {
        let port = self.inet.ends.lock().port.take();
        if let Some(port) = port {
            self.delist(port.port);
        }
        self.queue.close();
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}
