//! Netlink sockets (Linux: net/netlink/af_netlink.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use uapi::Pod;
use uapi::capability::CAP_NET_ADMIN;
use uapi::socket::*;

use crate::fs::proc::proc_create_single;
use crate::kernel::cred::Cred;
use crate::kernel::sched::wait::PollTable;
use crate::kernel::sched::{current, try_current};
use crate::mm::UserAddr;
use crate::net::core::datagram::DatagramQueue;
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::*;
use crate::net::core::sockopt::int_option;
use crate::net::ipv4::raw::{datagram_ioctl, datagram_poll};
use crate::net::netlink::message::*;
use crate::net::netlink::rtnetlink;
use crate::net::socket::sock_register;
use crate::prelude::*;

/// Greatest request.
const REQUEST_MAX: usize = 65536;
/// Options of SOL_NETLINK that are numbers below this.
const NR_OPTIONS: i32 = 32;

/// A netlink socket (Linux: `struct netlink_sock`).
pub struct NetlinkSock {
    common: SockCommon,
    /// Its port, 0 before it has one.
    port: AtomicU32,
    /// Whom it sends to if the message does not say: 0, the kernel.
    peer: AtomicU32,
    /// Multicast groups that it hears, by bit.
    groups: AtomicU32,
    options: AtomicI32,
    queue: DatagramQueue<u32>,
}

static ALL: SpinLock<Vec<Weak<NetlinkSock>>> = SpinLock::new(Vec::new());

fn all() -> Vec<Arc<NetlinkSock>> {
    ALL.lock().iter().filter_map(Weak::upgrade).collect()
}

/// Sends a message of the kernel to everybody who hears a multicast group, numbered from 1.
/// Returns how many heard it. May be called from process context only.
pub fn netlink_broadcast(protocol: i32, group: u32, bytes: &[u8]) -> usize {
    let bit = 1u32.checked_shl(group.wrapping_sub(1)).unwrap_or(0);
    let mut heard = 0;
    for sock in all() {
        let listens = sock.groups.load(Ordering::Relaxed) & bit != 0;
        if sock.common.protocol == protocol
            && listens
            && let Ok(data) = SkBuff::from_slice(bytes)
        {
            heard += usize::from(sock.queue.push(&sock.common, data, bit));
        }
    }
    heard
}

/// Reads a `struct sockaddr_nl`. Errors: EINVAL.
fn parse(addr: &SockAddr) -> Result<SockaddrNl> {
    if addr.as_bytes().len() < SockaddrNl::SIZE || addr.family() != Some(AF_NETLINK) {
        return Err(Errno::EINVAL);
    }
    Ok(SockaddrNl::read_from(addr.as_bytes()))
}

fn sockaddr(port: u32, groups: u32) -> SockAddr {
    let raw = SockaddrNl {
        nl_family: AF_NETLINK,
        nl_pad: 0,
        nl_pid: port,
        nl_groups: groups,
    };
    let mut bytes = [0; SockaddrNl::SIZE];
    raw.write_to(&mut bytes);
    SockAddr::new(&bytes)
}

impl NetlinkSock {
    fn new(kind: u32, protocol: i32, uid: u32) -> Arc<Self> {
        let sock = Arc::new(Self {
            common: SockCommon::new(AF_NETLINK, kind, protocol, uid),
            port: AtomicU32::new(0),
            peer: AtomicU32::new(0),
            groups: AtomicU32::new(0),
            options: AtomicI32::new(0),
            queue: DatagramQueue::default(),
        });
        ALL.lock().push(Arc::downgrade(&sock));
        sock
    }

    fn port(&self) -> u32 {
        self.port.load(Ordering::Relaxed)
    }

    /// Takes a port if it is free. Errors: EADDRINUSE.
    fn claim(&self, port: u32) -> Result {
        let socks = ALL.lock();
        let taken = socks
            .iter()
            .filter_map(Weak::upgrade)
            .any(|other| other.common.protocol == self.common.protocol && other.port() == port);
        if taken {
            return Err(Errno::EADDRINUSE);
        }
        self.port.store(port, Ordering::Relaxed);
        Ok(())
    }

    /// The process number, or else a high one (Linux: `netlink_autobind`).
    fn autobind(&self) -> Result {
        if self.port() != 0 {
            return Ok(());
        }
        let process = try_current().map_or(1, |task| task.tgid() as u32);
        if self.claim(process).is_ok() {
            return Ok(());
        }
        let high = (0..4096).map(|step| u32::MAX - 4096 - step);
        high.into_iter()
            .find(|&port| self.claim(port).is_ok())
            .map(drop)
            .ok_or(Errno::EADDRINUSE)
    }

    /// Answers the requests in `bytes` (Linux: `netlink_rcv_skb`).
    fn answer(&self, bytes: &[u8], privileged: bool) -> Result {
        let mut rest = bytes;
        while let Some((header, payload)) = next_message(&mut rest) {
            if header.flags & NLM_F_REQUEST == 0 || header.kind < NLMSG_MIN_TYPE {
                self.acknowledge(&header, payload, Ok(()))?;
                continue;
            }
            let reply = rtnetlink::receive(&header, payload, self.port(), privileged);
            match reply {
                Ok(reply) if !reply.is_empty() => {
                    self.push(&reply)?;
                    if header.flags & NLM_F_DUMP != NLM_F_DUMP {
                        self.acknowledge(&header, payload, Ok(()))?;
                    }
                }
                Ok(_) => self.acknowledge(&header, payload, Ok(()))?,
                Err(error) => self.acknowledge(&header, payload, Err(error))?,
            }
        }
        Ok(())
    }

    /// Says how a request went: always after an error, else if asked (Linux: `netlink_ack`).
    fn acknowledge(&self, request: &Header, payload: &[u8], result: Result) -> Result {
        if result.is_ok() && request.flags & NLM_F_ACK == 0 {
            return Ok(());
        }
        let code = result.map_or_else(|error| -error.code(), |()| 0);
        let capped = result.is_ok() || self.has(NETLINK_CAP_ACK);
        let mut body = code.to_le_bytes().to_vec();
        body.extend_from_slice(&request.to_bytes());
        if !capped {
            body.extend_from_slice(payload);
        }
        let mut writer = Writer::default();
        let flags = if capped { NLM_F_CAPPED } else { 0 };
        writer.begin(request, NLMSG_ERROR, flags, self.port(), &body);
        writer.end();
        self.push(&writer.into_bytes())
    }

    fn push(&self, bytes: &[u8]) -> Result {
        if !self.queue.push(&self.common, SkBuff::from_slice(bytes)?, 0) {
            self.common.set_error(Errno::ENOBUFS);
        }
        Ok(())
    }

    fn has(&self, option: i32) -> bool {
        self.options.load(Ordering::Relaxed) & (1 << option) != 0
    }
}

impl Sock for NetlinkSock {
    fn common(&self) -> &SockCommon {
        &self.common
    }

    fn bind(&self, addr: &SockAddr) -> Result {
        let addr = parse(addr)?;
        match (self.port(), addr.nl_pid) {
            (0, 0) => self.autobind()?,
            (0, port) => self.claim(port)?,
            (port, wanted) if wanted != port && wanted != 0 => return Err(Errno::EINVAL),
            _ => {}
        }
        self.groups.store(addr.nl_groups, Ordering::Relaxed);
        Ok(())
    }

    fn connect(&self, addr: &SockAddr, _flags: u32) -> Result {
        if addr.family() == Some(AF_UNSPEC) {
            self.peer.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let addr = parse(addr)?;
        self.autobind()?;
        self.peer.store(addr.nl_pid, Ordering::Relaxed);
        Ok(())
    }

    fn getname(&self, side: Side) -> Result<SockAddr> {
        Ok(match side {
            Side::Local => sockaddr(self.port(), self.groups.load(Ordering::Relaxed)),
            Side::Peer => sockaddr(self.peer.load(Ordering::Relaxed), 0),
        })
    }

    fn sendmsg(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = match msg.name {
            Some(name) => parse(name)?.nl_pid,
            None => self.peer.load(Ordering::Relaxed),
        };
        let len = msg.data.count();
        if len > REQUEST_MAX {
            return Err(Errno::EMSGSIZE);
        }
        self.autobind()?;
        // Only the kernel listens, and only to this protocol.
        if to != 0 || self.common.protocol != NETLINK_ROUTE {
            return Err(Errno::ECONNREFUSED);
        }
        let request = SkBuff::copy_from(msg.data, len)?.to_vec()?;
        let privileged = current().cred().has_cap(CAP_NET_ADMIN);
        self.answer(&request, privileged)?;
        Ok(len)
    }

    fn recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        match self.queue.receive(&self.common, msg) {
            Ok((count, groups)) => {
                if msg.wants_name {
                    msg.name = Some(sockaddr(0, groups));
                }
                if self.common.option(SO_PASSCRED) {
                    // The sender is the kernel.
                    msg.scm.cred = Some(Ucred::default());
                }
                Ok(count)
            }
            Err(Errno::ESHUTDOWN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> Result {
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        let int = int_option(value)?;
        match name {
            NETLINK_ADD_MEMBERSHIP | NETLINK_DROP_MEMBERSHIP => {
                let shift = u32::try_from(int)
                    .ok()
                    .and_then(|group| group.checked_sub(1));
                let bit = shift
                    .and_then(|shift| 1u32.checked_shl(shift))
                    .ok_or(Errno::EINVAL)?;
                if name == NETLINK_ADD_MEMBERSHIP {
                    self.groups.fetch_or(bit, Ordering::Relaxed);
                } else {
                    self.groups.fetch_and(!bit, Ordering::Relaxed);
                }
            }
            NETLINK_PKTINFO
            | NETLINK_BROADCAST_ERROR
            | NETLINK_NO_ENOBUFS
            | NETLINK_LISTEN_ALL_NSID
            | NETLINK_CAP_ACK
            | NETLINK_EXT_ACK
            | NETLINK_GET_STRICT_CHK => {
                if int != 0 {
                    self.options.fetch_or(1 << name, Ordering::Relaxed);
                } else {
                    self.options.fetch_and(!(1 << name), Ordering::Relaxed);
                }
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn getsockopt(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        if level != SOL_NETLINK || !(0..NR_OPTIONS).contains(&name) {
            return Err(Errno::ENOPROTOOPT);
        }
        let value = match name {
            NETLINK_LIST_MEMBERSHIPS => self.groups.load(Ordering::Relaxed) as i32,
            _ => i32::from(self.has(name)),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    fn poll(&self, table: Option<&mut PollTable>) -> u32 {
        self.common.poll_wait(table);
        datagram_poll(&self.common, self.queue.is_empty())
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

/// Linux: `netlink_create`. Errors: ESOCKTNOSUPPORT, EPROTONOSUPPORT.
fn netlink_create(kind: u32, protocol: i32, cred: &Cred) -> Result<Arc<dyn Sock>> {
    match (kind, protocol) {
        (SOCK_RAW | SOCK_DGRAM, NETLINK_ROUTE | NETLINK_KOBJECT_UEVENT) => {
            Ok(NetlinkSock::new(kind, protocol, cred.fsuid))
        }
        (SOCK_RAW | SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// /proc/net/netlink (Linux: `netlink_native_seq_show`).
fn netlink_show(text: &mut String) -> Result {
    text.push_str(
        "sk               Eth Pid        Groups   \
         Rmem     Wmem     Dump  Locks    Drops    Inode\n",
    );
    for sock in all() {
        let (memory, dropped) = sock.queue.usage();
        writeln!(
            text,
            "{:016x} {:<3} {:<10} {:08x} {memory:<8} {:<8} {:<5} {:<8} {dropped:<8} {:<8}",
            0,
            sock.common.protocol,
            sock.port(),
            sock.groups.load(Ordering::Relaxed),
            0,
            0,
            Arc::strong_count(&sock),
            sock.common.ino.load(Ordering::Relaxed),
        )?;
    }
    Ok(())
}

/// Linux: `netlink_proto_init`.
#[__init]
fn netlink_proto_init() -> Result {
    sock_register(AF_NETLINK, netlink_create);
    pr_info!("NET: Registered PF_NETLINK/PF_ROUTE protocol family");
    proc_create_single("net/netlink", 0o444, netlink_show)
}
core_initcall!(netlink_proto_init);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::uaccess::IovIter;
    use crate::net::core::scm::ScmOut;

    fn receive(sock: &NetlinkSock) -> Result<Vec<u8>> {
        let mut bytes = vec![0; 8192];
        let mut data = IovIter::kernel_dst(&mut bytes);
        let mut msg = RecvMsg {
            data: &mut data,
            flags: MSG_DONTWAIT,
            wants_name: false,
            out_flags: 0,
            name: None,
            scm: ScmOut::default(),
        };
        let count = sock.recvmsg(&mut msg)?;
        drop(msg);
        bytes.truncate(count);
        Ok(bytes)
    }

    fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let header = Header {
            len: 0,
            kind,
            flags: flags | NLM_F_REQUEST,
            seq: 5,
            pid: 0,
        };
        let mut writer = Writer::default();
        writer.begin(&header, kind, header.flags, 0, body);
        writer.end();
        writer.into_bytes()
    }

    #[test]
    fn links_are_listed_up_to_the_end_mark() {
        let sock = NetlinkSock::new(SOCK_RAW, NETLINK_ROUTE, 0);
        sock.answer(
            &request(rtnetlink::RTM_GETLINK, NLM_F_DUMP, &[0; 16]),
            false,
        )
        .unwrap();
        let bytes = receive(&sock).unwrap();
        let mut rest = bytes.as_slice();
        let (link, payload) = next_message(&mut rest).unwrap();
        assert_eq!((link.kind, link.seq, link.flags), (16, 5, NLM_F_MULTI));
        assert_eq!(attribute(payload, 16, 3), Some(&b"lo\0"[..]));
        assert_eq!(next_message(&mut rest).unwrap().0.kind, NLMSG_DONE);
        sock.release();
    }

    #[test]
    fn errors_and_acknowledgements_quote_the_request() {
        let sock = NetlinkSock::new(SOCK_RAW, NETLINK_ROUTE, 0);
        sock.answer(&request(rtnetlink::RTM_NEWADDR, NLM_F_ACK, &[0; 8]), false)
            .unwrap();
        let bytes = receive(&sock).unwrap();
        let (header, payload) = next_message(&mut bytes.as_slice()).unwrap();
        assert_eq!(header.kind, NLMSG_ERROR);
        assert_eq!(payload[..4], (-Errno::EPERM.code()).to_le_bytes());
        sock.answer(&request(0xff00, 0, &[]), true).unwrap();
        let bytes = receive(&sock).unwrap();
        let (_, payload) = next_message(&mut bytes.as_slice()).unwrap();
        assert_eq!(payload[..4], (-Errno::EOPNOTSUPP.code()).to_le_bytes());
        sock.release();
    }

    #[test]
    fn ports_are_unique_and_groups_hear_broadcasts() {
        let one = NetlinkSock::new(SOCK_DGRAM, NETLINK_KOBJECT_UEVENT, 0);
        let two = NetlinkSock::new(SOCK_DGRAM, NETLINK_KOBJECT_UEVENT, 0);
        one.bind(&sockaddr(0, 1)).unwrap();
        two.bind(&sockaddr(0, 0)).unwrap();
        assert_ne!(one.port(), two.port());
        assert_eq!(two.bind(&sockaddr(one.port(), 0)), Err(Errno::EINVAL));
        assert_eq!(netlink_broadcast(NETLINK_KOBJECT_UEVENT, 1, b"add@/x"), 1);
        assert_eq!(receive(&one), Ok(b"add@/x".to_vec()));
        assert_eq!(receive(&two), Err(Errno::EAGAIN));
        one.release();
        two.release();
    }
}
