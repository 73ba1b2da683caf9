//! What the sockets of this family share, and their making (Linux: net/ipv4/af_inet.c,
//! net/ipv4/ip_sockglue.c).
#![forbid(unsafe_code)]

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicI32, Ordering};

use uapi::Pod;
use uapi::capability::{CAP_NET_BIND_SERVICE, CAP_NET_RAW};
use uapi::socket::*;

use crate::kernel::cred::Cred;
use crate::kernel::sched::try_current;
use crate::kernel::time::{ktime_get_real, ns_to_timespec, ns_to_timeval};
use crate::net::core::datagram::DatagramQueue;
use crate::net::core::dev::{LOOPBACK, LOOPBACK_IFINDEX};
use crate::net::core::sock::{RecvMsg, Side, Sock, SockAddr, SockCommon};
use crate::net::core::sockopt::int_option;
use crate::net::ipv4::ports::{BoundPort, Sharing, Transport, UNPRIVILEGED_PORT_START, bind_port};
use crate::net::ipv4::{devinet, raw, tcp, udp};
use crate::net::socket::sock_register;
use crate::prelude::*;

/// Hops that packets may take (/proc/sys/net/ipv4/ip_default_ttl).
pub const DEFAULT_TTL: u8 = 64;

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub addr: Ipv4Addr,
    /// The port, in the machine's byte order.
    pub port: u16,
}

impl Endpoint {
    /// Neither address nor port.
    pub const NONE: Endpoint = Endpoint {
        addr: Ipv4Addr::UNSPECIFIED,
        port: 0,
    };

    /// Reads a `struct sockaddr_in`. Errors: EINVAL when it is too short, EAFNOSUPPORT.
    pub fn parse(addr: &SockAddr) -> Result<Self> {
        let bytes = addr.as_bytes();
        if bytes.len() < SockaddrIn::SIZE {
            return Err(Errno::EINVAL);
        }
        let raw = SockaddrIn::read_from(bytes);
        if raw.sin_family != AF_INET {
            return Err(Errno::EAFNOSUPPORT);
        }
        Ok(Self {
            addr: Ipv4Addr::from(raw.sin_addr),
            port: u16::from_be_bytes(raw.sin_port),
        })
    }

    /// The same for bind(2), which takes AF_UNSPEC for any address.
    pub fn parse_for_bind(addr: &SockAddr) -> Result<Self> {
        let bytes = addr.as_bytes();
        if bytes.len() < SockaddrIn::SIZE {
            return Err(Errno::EINVAL);
        }
        let any = SockaddrIn::read_from(bytes).sin_addr == [0; 4];
        if addr.family() == Some(AF_UNSPEC) && any {
            let mut bytes = [0; SockaddrIn::SIZE];
            bytes.copy_from_slice(&addr.as_bytes()[..SockaddrIn::SIZE]);
            bytes[..2].copy_from_slice(&AF_INET.to_le_bytes());
            return Self::parse(&SockAddr::new(&bytes));
        }
        Self::parse(addr)
    }

    /// What user space sees.
    pub fn to_sockaddr(self) -> SockAddr {
        let raw = SockaddrIn {
            sin_family: AF_INET,
            sin_port: self.port.to_be_bytes(),
            sin_addr: self.addr.octets(),
            sin_zero: [0; 8],
        };
        let mut bytes = [0; SockaddrIn::SIZE];
        raw.write_to(&mut bytes);
        SockAddr::new(&bytes)
    }
}

/// The two ends of a socket.
#[derive(Debug)]
pub struct Ends {
    /// This end; the address may be any.
    pub local: Endpoint,
    /// The other end.
    pub remote: Option<Endpoint>,
    /// The local port, once there is one.
    pub port: Option<BoundPort>,
}

/// Options of SOL_IP that are numbers below this.
const NR_OPTIONS: usize = 64;

/// The part that sockets of this family share (Linux: `struct inet_sock`).
pub struct InetSock {
    /// The part that all sockets share.
    pub common: SockCommon,
    /// Its ends.
    pub ends: SpinLock<Ends>,
    /// Options of SOL_IP.
    options: [AtomicI32; NR_OPTIONS],
}

impl InetSock {
    /// A socket without ends.
    pub fn new(kind: u32, protocol: i32, uid: u32) -> Self {
        let inet = Self {
            common: SockCommon::new(AF_INET, kind, protocol, uid),
            ends: SpinLock::new(Ends {
                local: Endpoint::NONE,
                remote: None,
                port: None,
            }),
            options: [const { AtomicI32::new(0) }; NR_OPTIONS],
        };
        inet.set(IP_TTL, i32::from(DEFAULT_TTL));
        inet.set(IP_MULTICAST_TTL, 1);
        inet.set(IP_MULTICAST_LOOP, 1);
        inet.set(IP_MTU_DISCOVER, 1);
        inet
    }
    /// An option of SOL_IP.
    pub fn get(&self, name: i32) -> i32 {
        let slot = usize::try_from(name)
            .ok()
            .and_then(|name| self.options.get(name));
        slot.map_or(0, |slot| slot.load(Ordering::Relaxed))
    }
    /// Changes an option of SOL_IP.
    pub fn set(&self, name: i32, value: i32) {
        if let Some(slot) = usize::try_from(name)
            .ok()
            .and_then(|name| self.options.get(name))
        {
            slot.store(value, Ordering::Relaxed);
        }
    }
    /// Hops that its packets may take.
    pub fn ttl(&self) -> u8 {
        u8::try_from(self.get(IP_TTL)).unwrap_or(DEFAULT_TTL)
    }
    /// Where it is and where it is connected to.
    pub fn names(&self) -> (Endpoint, Option<Endpoint>) {
        let ends = self.ends.lock();
        (ends.local, ends.remote)
    }

    fn sharing(&self) -> Sharing {
        let common = &self.common;
        Sharing {
            reuse_addr: common.option(SO_REUSEADDR),
            reuse_port: common.option(SO_REUSEPORT).then_some(common.uid),
        }
    }

    /// Whether a socket may be bound to the address. Errors: EADDRNOTAVAIL.
    pub fn check_bindable(&self, addr: Ipv4Addr) -> Result {
        let free = self.get(IP_FREEBIND) != 0 || self.get(IP_TRANSPARENT) != 0;
        let fine = addr.is_unspecified()
            || addr.is_broadcast()
            || addr.is_multicast()
            || devinet::is_local(addr)
            || free;
        if fine {
            Ok(())
        } else {
            Err(Errno::EADDRNOTAVAIL)
        }
    }

    /// bind(2) with a port (Linux: `__inet_bind`). Errors: EADDRNOTAVAIL, EACCES for a low port,
    /// EINVAL when it has a port, EADDRINUSE.
    pub fn bind(&self, transport: Transport, addr: &SockAddr) -> Result {
        let end = Endpoint::parse_for_bind(addr)?;
        self.check_bindable(end.addr)?;
        let low = (1..UNPRIVILEGED_PORT_START).contains(&end.port);
        let may = || try_current().is_none_or(|task| task.cred().has_cap(CAP_NET_BIND_SERVICE));
        if low && !may() {
            return Err(Errno::EACCES);
        }
        let mut ends = self.ends.lock();
        if ends.port.is_some() {
            return Err(Errno::EINVAL);
        }
        let port = bind_port(transport, end.addr, end.port, self.sharing())?;
        ends.local = Endpoint {
            addr: end.addr,
            port: port.port,
        };
        ends.port = Some(port);
        Ok(())
    }

    /// Takes any port if it has none; returns whether it did (Linux: `inet_autobind`).
    /// Errors: EAGAIN.
    pub fn autobind(&self, transport: Transport) -> Result<bool> {
        let mut ends = self.ends.lock();
        if ends.port.is_some() {
            return Ok(false);
        }
        let addr = ends.local.addr;
        let port = bind_port(transport, addr, 0, self.sharing()).map_err(|_| Errno::EAGAIN)?;
        ends.local.port = port.port;
        ends.port = Some(port);
        Ok(true)
    }

    /// getsockname(2), getpeername(2). Errors: ENOTCONN.
    pub fn getname(&self, side: Side) -> Result<SockAddr> {
        let (local, remote) = self.names();
        match side {
            Side::Local => Ok(local.to_sockaddr()),
            Side::Peer => Ok(remote.ok_or(Errno::ENOTCONN)?.to_sockaddr()),
        }
    }

    /// setsockopt(2) with SOL_IP (Linux: `do_ip_setsockopt`). Errors: EINVAL, ENOPROTOOPT.
    pub fn setsockopt(&self, name: i32, value: &[u8]) -> Result {
        // Linux takes one byte as well as an int.
        let int = match value {
            [] => 0,
            [byte] => i32::from(*byte),
            _ => int_option(value).unwrap_or(i32::from(value[0])),
        };
        match name {
            IP_TTL if int == -1 => self.set(IP_TTL, i32::from(DEFAULT_TTL)),
            IP_TTL if !(1..=255).contains(&int) => return Err(Errno::EINVAL),
            IP_MULTICAST_TTL if !(-1..=255).contains(&int) => return Err(Errno::EINVAL),
            IP_TTL | IP_MULTICAST_TTL => self.set(name, int),
            IP_TOS => self.set(name, int & 0xff),
            IP_MTU_DISCOVER if !(0..=5).contains(&int) => return Err(Errno::EINVAL),
            IP_MTU_DISCOVER => self.set(name, int),
            IP_PKTINFO
            | IP_RECVERR
            | IP_RECVTTL
            | IP_RECVTOS
            | IP_FREEBIND
            | IP_RECVOPTS
            | IP_BIND_ADDRESS_NO_PORT
            | IP_MULTICAST_LOOP
            | IP_MULTICAST_ALL
            | IP_TRANSPARENT => {
                self.set(name, i32::from(int != 0));
            }
            IP_HDRINCL if self.common.kind == SOCK_RAW => self.set(name, i32::from(int != 0)),
            // No options are ever sent, and one interface is no choice.
            IP_OPTIONS | IP_MULTICAST_IF => {}
            IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP => return Err(Errno::ENODEV),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// getsockopt(2) with SOL_IP. Errors: ENOPROTOOPT, ENOTCONN.
    pub fn getsockopt(&self, name: i32) -> Result<Vec<u8>> {
        let int = match name {
            IP_TTL
            | IP_TOS
            | IP_MTU_DISCOVER
            | IP_PKTINFO
            | IP_RECVERR
            | IP_RECVTTL
            | IP_RECVTOS
            | IP_FREEBIND
            | IP_RECVOPTS
            | IP_BIND_ADDRESS_NO_PORT
            | IP_MULTICAST_LOOP
            | IP_MULTICAST_ALL
            | IP_MULTICAST_TTL
            | IP_TRANSPARENT => self.get(name),
            IP_HDRINCL if self.common.kind == SOCK_RAW => self.get(name),
            IP_MTU => {
                self.names().1.ok_or(Errno::ENOTCONN)?;
                LOOPBACK.mtu.load(Ordering::Relaxed) as i32
            }
            IP_OPTIONS => return Ok(Vec::new()),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(int.to_le_bytes().to_vec())
    }

    /// recvmsg(2) of a socket that keeps whole packets in `queue`; 0 at the end of what comes
    /// (Linux: `udp_recvmsg`, `raw_recvmsg`). Errors: those of `DatagramQueue::receive`.
    pub fn receive(
        &self,
        queue: &DatagramQueue<PacketInfo>,
        msg: &mut RecvMsg<'_, '_>,
    ) -> Result<usize> {
        match queue.receive(&self.common, msg) {
            Ok((count, info)) => {
                if msg.wants_name {
                    msg.name = Some(info.from.to_sockaddr());
                }
                self.describe(msg, &info);
                Ok(count)
            }
            Err(Errno::ESHUTDOWN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// shutdown(2) of a socket without connections. Errors: ENOTCONN.
    pub fn shutdown_datagram(&self, how: u32) -> Result {
        self.names().1.ok_or(Errno::ENOTCONN)?;
        self.common.shut(how);
        self.common.wake_all();
        Ok(())
    }

    /// Adds what the receiver asked to know about a packet (Linux: `ip_cmsg_recv`,
    /// `sock_recv_timestamp`).
    fn describe(&self, msg: &mut RecvMsg<'_, '_>, info: &PacketInfo) {
        let sk = &self.common;
        if sk.option(SO_TIMESTAMP) {
            let mut bytes = vec![0; 16];
            ns_to_timeval(info.received_at()).write_to(&mut bytes);
            msg.scm.items.push((SOL_SOCKET, SCM_TIMESTAMP, bytes));
        } else if sk.option(SO_TIMESTAMPNS) {
            let mut bytes = vec![0; 16];
            ns_to_timespec(info.received_at()).write_to(&mut bytes);
            msg.scm.items.push((SOL_SOCKET, SCM_TIMESTAMPNS, bytes));
        }
        if self.get(IP_PKTINFO) != 0 {
            let pktinfo = InPktinfo {
                ipi_ifindex: LOOPBACK_IFINDEX,
                ipi_spec_dst: info.to.octets(),
                ipi_addr: info.to.octets(),
            };
            let mut bytes = vec![0; InPktinfo::SIZE];
            pktinfo.write_to(&mut bytes);
            msg.scm.items.push((SOL_IP, IP_PKTINFO, bytes));
        }
        if self.get(IP_RECVTTL) != 0 {
            let ttl = i32::from(info.ttl).to_le_bytes().to_vec();
            msg.scm.items.push((SOL_IP, IP_TTL, ttl));
        }
        if self.get(IP_RECVTOS) != 0 {
            msg.scm.items.push((SOL_IP, IP_TOS, vec![info.tos]));
        }
    }
}

/// What is noted about a received packet.
#[derive(Clone, Copy, Debug)]
pub struct PacketInfo {
    /// Who sent it.
    pub from: Endpoint,
    /// The address it was sent to.
    pub to: Ipv4Addr,
    /// Hops it might still have taken.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Wall clock time of its arrival in ns, 0 when nobody asked for it then.
    pub stamp: u64,
}

impl PacketInfo {
    /// When it arrived; the present if that was not noted (Linux does the same).
    fn received_at(&self) -> u64 {
        if self.stamp != 0 {
            self.stamp
        } else {
            ktime_get_real()
        }
    }
}

/// Linux: `inet_create`. Errors: EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM, EACCES.
fn inet_create(kind: u32, protocol: i32, cred: &Cred) -> Result<Arc<dyn Sock>> {
    if !(0..=255).contains(&protocol) {
        return Err(Errno::EINVAL);
    }
    match (kind, protocol) {
        (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => Ok(tcp::TcpSock::new(cred.fsuid)),
        (SOCK_DGRAM, IPPROTO_IP | IPPROTO_UDP) => Ok(udp::UdpSock::new(cred.fsuid)),
        // /proc/sys/net/ipv4/ping_group_range lets no group do that.
        (SOCK_DGRAM, IPPROTO_ICMP) => Err(Errno::EACCES),
        (SOCK_RAW, IPPROTO_IP) => Err(Errno::EPROTONOSUPPORT),
        (SOCK_RAW, _) if !cred.has_cap(CAP_NET_RAW) => Err(Errno::EPERM),
        (SOCK_RAW, _) => Ok(raw::RawSock::new(protocol, cred.fsuid)),
        (SOCK_STREAM | SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// Linux: `inet_init`.
#[__init]
fn inet_init() -> Result {
    sock_register(AF_INET, inet_create);
    pr_info!("NET: Registered PF_INET protocol family");
    super::proc::ip_proc_init()
}
fs_initcall!(inet_init);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_user_space_and_back() {
        let end = Endpoint {
            addr: Ipv4Addr::new(127, 0, 0, 1),
            port: 8080,
        };
        let raw = end.to_sockaddr();
        assert_eq!(
            raw.as_bytes(),
            [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(Endpoint::parse(&raw), Ok(end));
    }

    #[test]
    fn short_and_foreign_addresses_are_refused() {
        assert_eq!(
            Endpoint::parse(&SockAddr::new(&[2, 0, 0])),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            Endpoint::parse(&SockAddr::new(&[10; 16])),
            Err(Errno::EAFNOSUPPORT)
        );
        assert_eq!(
            Endpoint::parse_for_bind(&SockAddr::new(&[0; 16])),
            Ok(Endpoint::NONE)
        );
        let mut specific = [0; 16];
        specific[4] = 127;
        let refused = Endpoint::parse_for_bind(&SockAddr::new(&specific));
        assert_eq!(refused, Err(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn options_of_ip_are_checked() {
        let inet = InetSock::new(SOCK_DGRAM, 0, 0);
        assert_eq!(
            inet.setsockopt(IP_TTL, &0i32.to_le_bytes()),
            Err(Errno::EINVAL)
        );
        inet.setsockopt(IP_TTL, &[7]).unwrap();
        assert_eq!(inet.getsockopt(IP_TTL), Ok(vec![7, 0, 0, 0]));
        assert_eq!(inet.setsockopt(IP_HDRINCL, &[1]), Err(Errno::ENOPROTOOPT));
        assert_eq!(inet.setsockopt(-1, &[1]), Err(Errno::ENOPROTOOPT));
        assert_eq!(inet.getsockopt(IP_MTU), Err(Errno::ENOTCONN));
    }
}
