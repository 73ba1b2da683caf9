//! Raw sockets (Linux: net/ipv4/raw.c).
#![forbid(unsafe_code)]

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU32, Ordering};

use smoltcp::wire::{IpProtocol, Ipv4Packet};
use uapi::Pod;
use uapi::ioctls::{SIOCINQ, SIOCOUTQ};
use uapi::poll::*;
use uapi::socket::*;

use crate::kernel::sched::wait::PollTable;
use crate::mm::UserAddr;
use crate::mm::uaccess::put_user;
use crate::net::core::datagram::DatagramQueue;
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::*;
use crate::net::ipv4::af_inet::{Endpoint, InetSock, PacketInfo};
use crate::net::ipv4::fib::route_output;
use crate::net::ipv4::ip::{self, Header};
use crate::prelude::*;

/// A socket that sees packets of one protocol (Linux: `struct raw_sock`).
pub struct RawSock {
    /// The shared part.
    pub inet: InetSock,
    /// ICMP types that are not wanted, by bit.
    icmp_filter: AtomicU32,
    queue: DatagramQueue<PacketInfo>,
}

static ALL: SpinLock<Vec<Weak<RawSock>>> = SpinLock::new(Vec::new());

/// Every raw socket.
pub(super) fn all() -> Vec<Arc<RawSock>> {
    ALL.lock().iter().filter_map(Weak::upgrade).collect()
}

/// Whether a socket hears of a protocol.
pub(super) fn has_listener(protocol: u8) -> bool {
    let protocol = i32::from(protocol);
    ALL.lock()
        .iter()
        .filter_map(Weak::upgrade)
        .any(|sock| sock.inet.common.protocol == protocol)
}

/// Gives a packet to every socket that wants it; whether there was one
/// (Linux: `raw_local_deliver`).
pub(super) fn deliver(packet: &Ipv4Packet<&[u8]>, bytes: &[u8]) -> bool {
    let mut heard = false;
    if ALL.lock().is_empty() {
        return false;
    }
    for sock in all() {
        if sock.wants(packet) {
            heard = true;
            sock.receive(packet, bytes);
        }
    }
    heard
}

impl RawSock {
    /// A socket for one protocol; IPPROTO_RAW only sends.
    pub fn new(protocol: i32, uid: u32) -> Arc<Self> {
        let sock = Arc::new(Self {
            inet: InetSock::new(SOCK_RAW, protocol, uid),
            icmp_filter: AtomicU32::new(0),
            queue: DatagramQueue::default(),
        });
        // /proc/net/raw shows the protocol where others show their port.
        sock.inet.ends.lock().local.port = u16::try_from(protocol).unwrap_or(0);
        if protocol == IPPROTO_RAW {
            sock.inet.set(IP_HDRINCL, 1);
        }
        ALL.lock().push(Arc::downgrade(&sock));
        sock
    }
    /// Memory in its queue, and packets that found no room.
    pub(super) fn usage(&self) -> (usize, u64) {
        self.queue.usage()
    }

    fn wants(&self, packet: &Ipv4Packet<&[u8]>) -> bool {
        let protocol = u8::from(packet.next_header());
        if self.inet.common.protocol != i32::from(protocol) {
            return false;
        }
        let (local, remote) = self.inet.names();
        let local_fits = local.addr.is_unspecified() || local.addr == packet.dst_addr();
        let remote_fits = remote.is_none_or(|remote| remote.addr == packet.src_addr());
        local_fits && remote_fits && !self.filters(packet)
    }

    fn filters(&self, packet: &Ipv4Packet<&[u8]>) -> bool {
        if packet.next_header() != IpProtocol::Icmp {
            return false;
        }
        let kind = packet.payload().first().copied().unwrap_or(0);
        kind < 32 && self.icmp_filter.load(Ordering::Relaxed) & (1 << kind) != 0
    }

    fn receive(&self, packet: &Ipv4Packet<&[u8]>, bytes: &[u8]) {
        let Ok(data) = SkBuff::from_slice(bytes) else {
            return;
        };
        let info = PacketInfo {
            from: Endpoint {
                addr: packet.src_addr(),
                port: 0,
            },
            to: packet.dst_addr(),
            ttl: packet.hop_limit(),
            tos: bytes.get(1).copied().unwrap_or(0),
            stamp: 0,
        };
        self.queue.push(&self.inet.common, data, info);
    }

    fn packet(&self, payload: Vec<u8>, dst: Ipv4Addr) -> Result<Vec<u8>> {
        let local = self.inet.names().0.addr;
        let source = if local.is_unspecified() {
            route_output(dst)?.source()
        } else {
            local
        };
        if self.inet.get(IP_HDRINCL) != 0 {
            let mut packet = payload;
            ip::complete(&mut packet, source)?;
            return Ok(packet);
        }
        let header = Header {
            src: source,
            dst,
            protocol: u8::try_from(self.inet.common.protocol).unwrap_or(0),
            ttl: self.inet.ttl(),
            tos: self.inet.get(IP_TOS) as u8,
        };
        ip::build(&header, &payload)
    }
}

impl Sock for RawSock {
    fn common(&self) -> &SockCommon {
        &self.inet.common
    }

    fn bind(&self, addr: &SockAddr) -> Result {
        let end = Endpoint::parse(addr)?;
        self.inet.check_bindable(end.addr)?;
        self.inet.ends.lock().local.addr = end.addr;
        Ok(())
    }

    fn connect(&self, addr: &SockAddr, _flags: u32) -> Result {
        if addr.family() == Some(AF_UNSPEC) {
            self.inet.ends.lock().remote = None;
            return Ok(());
        }
        let remote = Endpoint::parse(addr)?;
        let source = route_output(remote.addr)?.source();
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
        if len > ip::PACKET_MAX {
            return Err(Errno::EMSGSIZE);
        }
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let dst = match msg.name {
            Some(name) => Endpoint::parse(name)?.addr,
            None => self.inet.names().1.ok_or(Errno::EDESTADDRREQ)?.addr,
        };
        let dst = if dst.is_unspecified() {
            Ipv4Addr::LOCALHOST
        } else {
            dst
        };
        if dst.is_broadcast() && !self.inet.common.option(SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        self.inet.common.check_error()?;
        let payload = SkBuff::copy_from(msg.data, len)?.to_vec()?;
        ip::local_out(&self.packet(payload, dst)?, dst)?;
        Ok(len)
    }

    fn recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if msg.flags & MSG_ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        self.inet.receive(&self.queue, msg)
    }

    fn shutdown(&self, how: u32) -> Result {
        self.inet.shutdown_datagram(how)
    }

    fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> Result {
        match (level, name) {
            (SOL_IP, _) => self.inet.setsockopt(name, value),
            (SOL_RAW, ICMP_FILTER) if self.inet.common.protocol == IPPROTO_ICMP => {
                let mut mask = [0; 4];
                let len = value.len().min(4);
                mask[..len].copy_from_slice(&value[..len]);
                self.icmp_filter
                    .store(u32::from_le_bytes(mask), Ordering::Relaxed);
                Ok(())
            }
            (SOL_RAW, ICMP_FILTER) => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn getsockopt(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        match (level, name) {
            (SOL_IP, _) => self.inet.getsockopt(name),
            (SOL_RAW, ICMP_FILTER) if self.inet.common.protocol == IPPROTO_ICMP => {
                let mut bytes = vec![0; 4];
                self.icmp_filter
                    .load(Ordering::Relaxed)
                    .write_to(&mut bytes);
                Ok(bytes)
            }
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
        let me = core::ptr::from_ref(self);
        ALL.lock()
            .retain(|sock| sock.strong_count() > 0 && !core::ptr::eq(sock.as_ptr(), me));
        self.queue.close();
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// POLL* of a socket that can always send (Linux: `datagram_poll`).
pub(crate) fn datagram_poll(sk: &SockCommon, is_empty: bool) -> u32 {
    let shutdown = sk.shutdown.load(Ordering::Acquire);
    let mut mask = POLLOUT | POLLWRNORM | POLLWRBAND;
    if sk.has_error() {
        mask |= POLLERR;
    }
    if shutdown & RCV_SHUTDOWN != 0 {
        mask |= POLLRDHUP | POLLIN | POLLRDNORM;
    }
    if shutdown == RCV_SHUTDOWN | SEND_SHUTDOWN {
        mask |= POLLHUP;
    }
    if !is_empty {
        mask |= POLLIN | POLLRDNORM;
    }
    mask
}

/// SIOCINQ and SIOCOUTQ of such a socket.
pub(crate) fn datagram_ioctl(cmd: u32, arg: UserAddr, first_len: usize) -> Result<i64> {
    let value = match cmd {
        SIOCINQ => first_len as i32,
        SIOCOUTQ => 0,
        _ => return Err(Errno::ENOIOCTLCMD),
    };
    put_user(arg, &value)?;
    Ok(0)
}
