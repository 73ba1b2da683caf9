//! Sockets. Linux: linux/socket.h, asm-generic/socket.h, linux/un.h, linux/in.h, linux/net.h,
//! linux/netlink.h, linux/if.h.

use crate::fcntl;

// Address families.
pub const AF_UNSPEC: u16 = 0;
pub const AF_UNIX: u16 = 1;
pub const AF_LOCAL: u16 = AF_UNIX;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const AF_KEY: u16 = 15;
pub const AF_NETLINK: u16 = 16;
pub const AF_PACKET: u16 = 17;
pub const AF_ALG: u16 = 38;
pub const AF_VSOCK: u16 = 40;
pub const AF_MAX: u16 = 46;

// Socket types and the flags that may be or-ed to them.
pub const SOCK_STREAM: u32 = 1;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_RAW: u32 = 3;
pub const SOCK_RDM: u32 = 4;
pub const SOCK_SEQPACKET: u32 = 5;
pub const SOCK_PACKET: u32 = 10;
pub const SOCK_TYPE_MASK: u32 = 0xf;
pub const SOCK_CLOEXEC: u32 = fcntl::O_CLOEXEC;
pub const SOCK_NONBLOCK: u32 = fcntl::O_NONBLOCK;

// Protocols.
pub const IPPROTO_IP: i32 = 0;
pub const IPPROTO_ICMP: i32 = 1;
pub const IPPROTO_TCP: i32 = 6;
pub const IPPROTO_UDP: i32 = 17;
pub const IPPROTO_IPV6: i32 = 41;
pub const IPPROTO_RAW: i32 = 255;
pub const NETLINK_ROUTE: i32 = 0;
pub const NETLINK_AUDIT: i32 = 9;
pub const NETLINK_KOBJECT_UEVENT: i32 = 15;

/// Diagnostics of sockets (`ss`).
pub const NETLINK_SOCK_DIAG: i32 = 4;

// Levels of setsockopt(2).
pub const SOL_IP: i32 = 0;
pub const SOL_SOCKET: i32 = 1;
pub const SOL_TCP: i32 = 6;
pub const SOL_UDP: i32 = 17;
pub const SOL_IPV6: i32 = 41;
pub const SOL_ICMP: i32 = 1;
pub const SOL_RAW: i32 = 255;
pub const SOL_PACKET: i32 = 263;
pub const SOL_NETLINK: i32 = 270;

// Options of SOL_SOCKET.
pub const SO_DEBUG: i32 = 1;
pub const SO_REUSEADDR: i32 = 2;
pub const SO_TYPE: i32 = 3;
pub const SO_ERROR: i32 = 4;
pub const SO_DONTROUTE: i32 = 5;
pub const SO_BROADCAST: i32 = 6;
pub const SO_SNDBUF: i32 = 7;
pub const SO_RCVBUF: i32 = 8;
pub const SO_KEEPALIVE: i32 = 9;
pub const SO_OOBINLINE: i32 = 10;
pub const SO_NO_CHECK: i32 = 11;
pub const SO_PRIORITY: i32 = 12;
pub const SO_LINGER: i32 = 13;
pub const SO_BSDCOMPAT: i32 = 14;
pub const SO_REUSEPORT: i32 = 15;
pub const SO_PASSCRED: i32 = 16;
pub const SO_PEERCRED: i32 = 17;
pub const SO_RCVLOWAT: i32 = 18;
pub const SO_SNDLOWAT: i32 = 19;
pub const SO_RCVTIMEO: i32 = 20;
pub const SO_SNDTIMEO: i32 = 21;
pub const SO_BINDTODEVICE: i32 = 25;
pub const SO_ATTACH_FILTER: i32 = 26;
pub const SO_DETACH_FILTER: i32 = 27;
pub const SO_PEERNAME: i32 = 28;
pub const SO_TIMESTAMP: i32 = 29;
pub const SO_ACCEPTCONN: i32 = 30;
pub const SO_PEERSEC: i32 = 31;
pub const SO_SNDBUFFORCE: i32 = 32;
pub const SO_RCVBUFFORCE: i32 = 33;
pub const SO_PASSSEC: i32 = 34;
pub const SO_TIMESTAMPNS: i32 = 35;
pub const SO_MARK: i32 = 36;
pub const SO_PROTOCOL: i32 = 38;
pub const SO_DOMAIN: i32 = 39;
pub const SO_PEEK_OFF: i32 = 42;
pub const SO_PEERGROUPS: i32 = 59;
pub const SO_PEERPIDFD: i32 = 77;

pub const SO_RXQ_OVFL: i32 = 40;
pub const SO_INCOMING_CPU: i32 = 49;
pub const SO_COOKIE: i32 = 57;

// Options of SOL_IP.
pub const IP_TOS: i32 = 1;
pub const IP_TTL: i32 = 2;
pub const IP_HDRINCL: i32 = 3;
pub const IP_OPTIONS: i32 = 4;
pub const IP_RECVOPTS: i32 = 6;
pub const IP_PKTINFO: i32 = 8;
pub const IP_MTU_DISCOVER: i32 = 10;
pub const IP_RECVERR: i32 = 11;
pub const IP_RECVTTL: i32 = 12;
pub const IP_RECVTOS: i32 = 13;
pub const IP_MTU: i32 = 14;
pub const IP_FREEBIND: i32 = 15;
pub const IP_TRANSPARENT: i32 = 19;
pub const IP_BIND_ADDRESS_NO_PORT: i32 = 24;
pub const IP_MULTICAST_IF: i32 = 32;
pub const IP_MULTICAST_TTL: i32 = 33;
pub const IP_MULTICAST_LOOP: i32 = 34;
pub const IP_ADD_MEMBERSHIP: i32 = 35;
pub const IP_DROP_MEMBERSHIP: i32 = 36;
pub const IP_MULTICAST_ALL: i32 = 49;

/// Option of SOL_RAW: which ICMP types are not wanted.
pub const ICMP_FILTER: i32 = 1;

// Options of SOL_TCP.
pub const TCP_NODELAY: i32 = 1;
pub const TCP_MAXSEG: i32 = 2;
pub const TCP_CORK: i32 = 3;
pub const TCP_KEEPIDLE: i32 = 4;
pub const TCP_KEEPINTVL: i32 = 5;
pub const TCP_KEEPCNT: i32 = 6;
pub const TCP_SYNCNT: i32 = 7;
pub const TCP_LINGER2: i32 = 8;
pub const TCP_DEFER_ACCEPT: i32 = 9;
pub const TCP_WINDOW_CLAMP: i32 = 10;
pub const TCP_INFO: i32 = 11;
pub const TCP_QUICKACK: i32 = 12;
pub const TCP_CONGESTION: i32 = 13;
pub const TCP_USER_TIMEOUT: i32 = 18;
pub const TCP_FASTOPEN: i32 = 23;

// Options of SOL_NETLINK.
pub const NETLINK_ADD_MEMBERSHIP: i32 = 1;
pub const NETLINK_DROP_MEMBERSHIP: i32 = 2;
pub const NETLINK_PKTINFO: i32 = 3;
pub const NETLINK_BROADCAST_ERROR: i32 = 4;
pub const NETLINK_NO_ENOBUFS: i32 = 5;
pub const NETLINK_LISTEN_ALL_NSID: i32 = 8;
pub const NETLINK_LIST_MEMBERSHIPS: i32 = 9;
pub const NETLINK_CAP_ACK: i32 = 10;
pub const NETLINK_EXT_ACK: i32 = 11;
pub const NETLINK_GET_STRICT_CHK: i32 = 12;

// Types of control messages.
pub const SCM_RIGHTS: i32 = 1;
pub const SCM_CREDENTIALS: i32 = 2;
pub const SCM_TIMESTAMP: i32 = SO_TIMESTAMP;
pub const SCM_TIMESTAMPNS: i32 = SO_TIMESTAMPNS;
/// Most descriptors in one message.
pub const SCM_MAX_FD: usize = 253;

// Flags of sendmsg(2) and recvmsg(2).
pub const MSG_OOB: u32 = 0x1;
pub const MSG_PEEK: u32 = 0x2;
pub const MSG_DONTROUTE: u32 = 0x4;
pub const MSG_CTRUNC: u32 = 0x8;
pub const MSG_PROBE: u32 = 0x10;
pub const MSG_TRUNC: u32 = 0x20;
pub const MSG_DONTWAIT: u32 = 0x40;
pub const MSG_EOR: u32 = 0x80;
pub const MSG_WAITALL: u32 = 0x100;
pub const MSG_FIN: u32 = 0x200;
pub const MSG_SYN: u32 = 0x400;
pub const MSG_CONFIRM: u32 = 0x800;
pub const MSG_RST: u32 = 0x1000;
pub const MSG_ERRQUEUE: u32 = 0x2000;
pub const MSG_NOSIGNAL: u32 = 0x4000;
pub const MSG_MORE: u32 = 0x8000;
pub const MSG_WAITFORONE: u32 = 0x1_0000;
pub const MSG_ZEROCOPY: u32 = 0x400_0000;
pub const MSG_FASTOPEN: u32 = 0x2000_0000;
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

// `how` of shutdown(2).
pub const SHUT_RD: u32 = 0;
pub const SHUT_WR: u32 = 1;
pub const SHUT_RDWR: u32 = 2;

/// Default upper bound of listen(2)'s backlog.
pub const SOMAXCONN: u32 = 4096;

/// Length of an interface's name with its NUL.
pub const IFNAMSIZ: usize = 16;
// Flags of an interface.
pub const IFF_UP: u32 = 0x1;
pub const IFF_BROADCAST: u32 = 0x2;
pub const IFF_LOOPBACK: u32 = 0x8;
pub const IFF_POINTOPOINT: u32 = 0x10;
pub const IFF_RUNNING: u32 = 0x40;
pub const IFF_NOARP: u32 = 0x80;
pub const IFF_PROMISC: u32 = 0x100;
pub const IFF_ALLMULTI: u32 = 0x200;
pub const IFF_MULTICAST: u32 = 0x1000;
pub const IFF_LOWER_UP: u32 = 0x1_0000;
/// Hardware type of the loopback device.
pub const ARPHRD_LOOPBACK: u16 = 772;

/// Bytes of a path in `SockaddrUn`.
pub const UNIX_PATH_MAX: usize = 108;
/// Bytes of `struct sockaddr_storage`.
pub const SOCKADDR_STORAGE_SIZE: usize = 128;

pod_struct! {
    /// Address of a local socket.
    pub struct SockaddrUn {
        pub sun_family: u16,
        pub sun_path: [u8; 108],
    }

    /// Address of an IPv4 socket; port and address are big endian.
    pub struct SockaddrIn {
        pub sin_family: u16,
        pub sin_port: [u8; 2],
        pub sin_addr: [u8; 4],
        pub sin_zero: [u8; 8],
    }

    /// Address of a netlink socket.
    pub struct SockaddrNl {
        pub nl_family: u16,
        pub nl_pad: u16,
        pub nl_pid: u32,
        pub nl_groups: u32,
    }

    /// Argument of sendmsg(2) and recvmsg(2) (`struct user_msghdr`).
    pub struct Msghdr {
        pub msg_name: u64,
        pub msg_namelen: i32,
        pub msg_iov: u64,
        pub msg_iovlen: u64,
        pub msg_control: u64,
        pub msg_controllen: u64,
        pub msg_flags: u32,
    }

    /// Header of a control message; data follows, padded to 8 bytes.
    pub struct Cmsghdr {
        pub cmsg_len: u64,
        pub cmsg_level: i32,
        pub cmsg_type: i32,
    }

    /// Credentials of the peer, of SO_PEERCRED and SCM_CREDENTIALS.
    pub struct Ucred {
        pub pid: i32,
        pub uid: u32,
        pub gid: u32,
    }

    /// Argument of SO_LINGER.
    pub struct Linger {
        pub l_onoff: i32,
        /// In seconds.
        pub l_linger: i32,
    }

    /// Entry of sendmmsg(2) and recvmmsg(2).
    pub struct Mmsghdr {
        pub msg_hdr: Msghdr,
        pub msg_len: u32,
    }

    /// Control message of IP_PKTINFO.
    pub struct InPktinfo {
        pub ipi_ifindex: i32,
        pub ipi_spec_dst: [u8; 4],
        pub ipi_addr: [u8; 4],
    }

    /// Argument of SIOCADDRT and SIOCDELRT.
    pub struct Rtentry {
        pub rt_pad1: u64,
        pub rt_dst: [u8; 16],
        pub rt_gateway: [u8; 16],
        pub rt_genmask: [u8; 16],
        pub rt_flags: u16,
        pub rt_pad2: i16,
        pub rt_pad3: u64,
        pub rt_pad4: u64,
        pub rt_metric: i16,
        pub rt_dev: u64,
        pub rt_mtu: u64,
        pub rt_window: u64,
        pub rt_irtt: u16,
    }

    /// Argument of SIOCGIFCONF.
    pub struct Ifconf {
        /// Bytes at `ifc_buf`.
        pub ifc_len: i32,
        pub ifc_buf: u64,
    }

    /// Argument of the SIOCGIF* ioctls: a name and a 24-byte union.
    pub struct Ifreq {
        pub ifr_name: [u8; 16],
        pub ifr_data: [u8; 24],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!(
            (SockaddrUn::SIZE, SockaddrIn::SIZE, SockaddrNl::SIZE),
            (110, 16, 12)
        );
        assert_eq!((Msghdr::SIZE, Cmsghdr::SIZE, Ucred::SIZE), (56, 16, 12));
        assert_eq!((Linger::SIZE, Ifreq::SIZE), (8, 40));
        assert_eq!((Mmsghdr::SIZE, Ifconf::SIZE), (64, 16));
        assert_eq!((InPktinfo::SIZE, Rtentry::SIZE), (12, 120));
        assert_eq!(core::mem::offset_of!(Msghdr, msg_iov), 16);
    }
}
