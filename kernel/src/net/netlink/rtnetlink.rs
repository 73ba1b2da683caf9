//! Interfaces, addresses and routes over netlink (Linux: net/core/rtnetlink.c,
//! net/ipv4/devinet.c, net/ipv4/fib_frontend.c).
#![forbid(unsafe_code)]

use core::net::Ipv4Addr;
use core::sync::atomic::Ordering;

use uapi::socket::*;

use crate::net::core::dev::{LOOPBACK, NetDevice, dev_by_index, dev_by_name};
use crate::net::ipv4::devinet::{self, IfAddr};
use crate::net::ipv4::fib::{self, Output, Route};
use crate::net::netlink::message::*;
use crate::prelude::*;

// Types of messages: for each object new, delete, get.
/// A link.
pub const RTM_NEWLINK: u16 = 16;
/// Asks for links.
pub const RTM_GETLINK: u16 = 18;
/// Adds an address.
pub const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;
const RTM_NEWRULE: u16 = 32;

// Attributes of links.
const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_QDISC: u16 = 6;
const IFLA_STATS: u16 = 7;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_STATS64: u16 = 23;
const IFLA_GROUP: u16 = 27;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_CARRIER: u16 = 33;
const IF_OPER_UNKNOWN: u8 = 0;
const IF_OPER_DOWN: u8 = 2;
/// Counters of `struct rtnl_link_stats` and `struct rtnl_link_stats64`.
const NR_STATS: usize = 24;

// Attributes of addresses.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u8 = 0x80;

// Attributes of routes.
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_KERNEL: u8 = 2;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTM_F_CLONED: u32 = 0x200;

/// Bytes of `struct ifinfomsg`, `struct ifaddrmsg`, `struct rtmsg`.
const IFINFO_LEN: usize = 16;
const IFADDR_LEN: usize = 8;
const RTMSG_LEN: usize = 12;

/// One request with what is needed to answer it.
struct Request<'a> {
    header: &'a Header,
    payload: &'a [u8],
    port: u32,
}

/// Answers a request; an empty answer means that it was carried out (Linux:
/// `rtnetlink_rcv_msg`). Errors: EPERM, EOPNOTSUPP, EINVAL, ENODEV and those of the change.
pub fn receive(header: &Header, payload: &[u8], port: u32, privileged: bool) -> Result<Vec<u8>> {
    // Types come in fours: new, delete, get, set. Only get is for everybody.
    if header.kind & 3 != 2 && !privileged {
        return Err(Errno::EPERM);
    }
    let request = Request {
        header,
        payload,
        port,
    };
    let family = payload.first().copied().unwrap_or(0);
    let is_inet = family == 0 || u16::from(family) == AF_INET;
    if header.kind & 3 == 2 && header.flags & NLM_F_DUMP != 0 {
        return request.dump(is_inet);
    }
    match header.kind {
        RTM_GETLINK => request.get_link(),
        RTM_GETROUTE if is_inet => request.get_route(),
        RTM_NEWLINK => request.set_link().map(|()| Vec::new()),
        RTM_NEWADDR if is_inet => request.new_addr().map(|()| Vec::new()),
        RTM_DELADDR if is_inet => request.del_addr().map(|()| Vec::new()),
        RTM_NEWROUTE if is_inet => request.new_route().map(|()| Vec::new()),
        RTM_DELROUTE if is_inet => request.del_route().map(|()| Vec::new()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn prefix_scope(addr: Ipv4Addr) -> u8 {
    if addr.is_loopback() {
        RT_SCOPE_HOST
    } else {
        RT_SCOPE_UNIVERSE
    }
}

impl Request<'_> {
    fn u32_at(&self, at: usize) -> Result<u32> {
        let bytes = self.payload.get(at..at + 4).ok_or(Errno::EINVAL)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
    fn u8_at(&self, at: usize) -> Result<u8> {
        self.payload.get(at).copied().ok_or(Errno::EINVAL)
    }
    fn addr(&self, skip: usize, kind: u16) -> Result<Option<Ipv4Addr>> {
        let Some(value) = attribute(self.payload, skip, kind) else {
            return Ok(None);
        };
        let octets: [u8; 4] = value.try_into().map_err(|_| Errno::EINVAL)?;
        Ok(Some(Ipv4Addr::from(octets)))
    }

    /// Lists all objects of a kind, with the end mark.
    fn dump(&self, is_inet: bool) -> Result<Vec<u8>> {
        let mut writer = Writer::default();
        match self.header.kind {
            RTM_GETLINK => self.put_link(&mut writer, &LOOPBACK, NLM_F_MULTI),
            RTM_GETADDR if is_inet => {
                for ifa in devinet::addresses() {
                    self.put_addr(&mut writer, &ifa);
                }
            }
            RTM_GETROUTE if is_inet => self.put_routes(&mut writer),
            RTM_GETRULE if is_inet => self.put_rules(&mut writer),
            RTM_GETADDR | RTM_GETROUTE | RTM_GETNEIGH | RTM_GETRULE => {}
            _ => return Err(Errno::EOPNOTSUPP),
        }
        writer.begin(self.header, NLMSG_DONE, NLM_F_MULTI, self.port, &[0; 4]);
        writer.end();
        Ok(writer.into_bytes())
    }

    /// The interface that the request names.
    fn device(&self) -> Result<&'static NetDevice> {
        let index = self.u32_at(4)? as i32;
        if index > 0 {
            return dev_by_index(index).ok_or(Errno::ENODEV);
        }
        let name = attribute(self.payload, IFINFO_LEN, IFLA_IFNAME).ok_or(Errno::EINVAL)?;
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        let name = core::str::from_utf8(name).map_err(|_| Errno::EINVAL)?;
        dev_by_name(name).ok_or(Errno::ENODEV)
    }

    fn get_link(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::default();
        self.put_link(&mut writer, self.device()?, 0);
        Ok(writer.into_bytes())
    }

    /// Linux: `rtnl_fill_ifinfo`.
    fn put_link(&self, writer: &mut Writer, dev: &NetDevice, flags: u16) {
        let mut body = [0; IFINFO_LEN];
        body[2..4].copy_from_slice(&dev.kind.to_le_bytes());
        body[4..8].copy_from_slice(&dev.ifindex.to_le_bytes());
        body[8..12].copy_from_slice(&dev.flags().to_le_bytes());
        writer.begin(self.header, RTM_NEWLINK, flags, self.port, &body);
        writer.put_str(IFLA_IFNAME, dev.name);
        writer.put_u32(IFLA_TXQLEN, dev.txqlen.load(Ordering::Relaxed));
        let state = if dev.is_up() {
            IF_OPER_UNKNOWN
        } else {
            IF_OPER_DOWN
        };
        writer.put(IFLA_OPERSTATE, &[state]);
        writer.put(IFLA_LINKMODE, &[0]);
        writer.put_u32(IFLA_MTU, dev.mtu.load(Ordering::Relaxed));
        writer.put_u32(IFLA_GROUP, 0);
        writer.put_u32(IFLA_PROMISCUITY, 0);
        writer.put_u32(IFLA_NUM_TX_QUEUES, 1);
        writer.put_u32(IFLA_NUM_RX_QUEUES, 1);
        writer.put(IFLA_CARRIER, &[1]);
        writer.put_str(IFLA_QDISC, if dev.is_up() { "noqueue" } else { "noop" });
        writer.put(IFLA_ADDRESS, &[0; 6]);
        writer.put(IFLA_BROADCAST, &[0; 6]);
        let [packets, bytes, dropped] = dev.stats();
        let mut stats = [0u64; NR_STATS];
        // Packets in and out, bytes in and out, errors in and out, dropped.
        stats[..7].copy_from_slice(&[packets, packets, bytes, bytes, 0, 0, dropped]);
        let wide: Vec<u8> = stats.iter().flat_map(|count| count.to_le_bytes()).collect();
        let narrow: Vec<u8> = stats
            .iter()
            .flat_map(|&count| (count as u32).to_le_bytes())
            .collect();
        writer.put(IFLA_STATS64, &wide);
        writer.put(IFLA_STATS, &narrow);
        writer.end();
    }

    /// RTM_NEWLINK: changes flags, MTU and queue length of an interface.
    fn set_link(&self) -> Result {
        let dev = self.device().map_err(|error| match error {
            // Making interfaces is beyond this kernel.
            Errno::ENODEV if self.header.flags & 0x400 != 0 => Errno::EOPNOTSUPP,
            error => error,
        })?;
        let number = |kind| {
            let value = attribute(self.payload, IFINFO_LEN, kind)?;
            Some(u32::from_le_bytes(value.try_into().ok()?))
        };
        if let Some(mtu) = number(IFLA_MTU) {
            dev.mtu.store(mtu, Ordering::Relaxed);
            crate::net::ipv4::tcp_stack::mtu_changed(mtu as usize);
        }
        if let Some(txqlen) = number(IFLA_TXQLEN) {
            dev.txqlen.store(txqlen, Ordering::Relaxed);
        }
        let (flags, change) = (self.u32_at(8)?, self.u32_at(12)?);
        let change = if change == 0 && flags != 0 {
            u32::MAX
        } else {
            change
        };
        if change != 0 {
            let new = dev.flags() & !change | flags & change;
            devinet::change_flags(dev, dev.name, new);
        }
        Ok(())
    }

    /// Linux: `inet_fill_ifaddr`.
    fn put_addr(&self, writer: &mut Writer, ifa: &IfAddr) {
        let mut body = [0; IFADDR_LEN];
        body[0] = AF_INET as u8;
        body[1] = ifa.prefixlen;
        body[2] = IFA_F_PERMANENT;
        body[3] = prefix_scope(ifa.addr);
        body[4..].copy_from_slice(&LOOPBACK.ifindex.to_le_bytes());
        writer.begin(self.header, RTM_NEWADDR, NLM_F_MULTI, self.port, &body);
        writer.put(IFA_ADDRESS, &ifa.addr.octets());
        writer.put(IFA_LOCAL, &ifa.addr.octets());
        if !ifa.broadcast.is_unspecified() {
            writer.put(IFA_BROADCAST, &ifa.broadcast.octets());
        }
        writer.put_str(IFA_LABEL, &ifa.label);
        writer.put_u32(IFA_FLAGS, u32::from(IFA_F_PERMANENT));
        // Preferred and valid for ever; when it was made and changed is not kept.
        let mut cache = [0xff; 16];
        cache[8..].fill(0);
        writer.put(IFA_CACHEINFO, &cache);
        writer.end();
    }

    /// The address that a request is about, with its prefix length.
    fn local_addr(&self) -> Result<(Ipv4Addr, u8)> {
        dev_by_index(self.u32_at(4)? as i32).ok_or(Errno::ENODEV)?;
        let local = self.addr(IFADDR_LEN, IFA_LOCAL)?;
        let addr = local
            .or(self.addr(IFADDR_LEN, IFA_ADDRESS)?)
            .ok_or(Errno::EINVAL)?;
        let prefixlen = self.u8_at(1)?;
        if prefixlen > 32 {
            Err(Errno::EINVAL)
        } else {
            Ok((addr, prefixlen))
        }
    }

    fn new_addr(&self) -> Result {
        let (addr, prefixlen) = self.local_addr()?;
        let label = attribute(self.payload, IFADDR_LEN, IFA_LABEL);
        let label = label.map(|text| text.strip_suffix(&[0]).unwrap_or(text));
        let label = label.and_then(|text| core::str::from_utf8(text).ok());
        devinet::add_address(IfAddr {
            addr,
            prefixlen,
            broadcast: self
                .addr(IFADDR_LEN, IFA_BROADCAST)?
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            label: String::from(label.unwrap_or(LOOPBACK.name)),
        })
    }

    fn del_addr(&self) -> Result {
        let (addr, prefixlen) = self.local_addr()?;
        devinet::del_address(addr, prefixlen)
    }

    /// Linux: `fib_dump_info`. `body`: prefix length, table, protocol, scope, type, flags.
    fn put_route(
        &self,
        writer: &mut Writer,
        flags: u16,
        body: [u8; 5],
        route_flags: u32,
        attrs: &[(u16, &[u8])],
    ) {
        let [dst_len, table, protocol, scope, kind] = body;
        let mut raw = [0; RTMSG_LEN];
        raw[..8].copy_from_slice(&[AF_INET as u8, dst_len, 0, 0, table, protocol, scope, kind]);
        raw[8..].copy_from_slice(&route_flags.to_le_bytes());
        writer.begin(self.header, RTM_NEWROUTE, flags, self.port, &raw);
        writer.put_u32(RTA_TABLE, u32::from(table));
        for (kind, value) in attrs {
            writer.put(*kind, value);
        }
        writer.put_u32(RTA_OIF, LOOPBACK.ifindex as u32);
        writer.end();
    }

    /// The main table, then the table of this machine's own addresses.
    fn put_routes(&self, writer: &mut Writer) {
        for route in fib::routes() {
            let (dst, gateway) = (route.dst.octets(), route.gateway.octets());
            let metric = route.metric.to_le_bytes();
            let mut attrs: Vec<(u16, &[u8])> = Vec::new();
            if route.prefixlen > 0 {
                attrs.push((RTA_DST, &dst));
            }
            if route.metric != 0 {
                attrs.push((RTA_PRIORITY, &metric));
            }
            let mut scope = RT_SCOPE_LINK;
            if !route.gateway.is_unspecified() {
                scope = RT_SCOPE_UNIVERSE;
                attrs.push((RTA_GATEWAY, &gateway));
            }
            let body = [
                route.prefixlen,
                RT_TABLE_MAIN,
                RTPROT_BOOT,
                scope,
                RTN_UNICAST,
            ];
            self.put_route(writer, NLM_F_MULTI, body, 0, &attrs);
        }
        if !LOOPBACK.is_up() {
            return;
        }
        for ifa in devinet::addresses() {
            let addr = ifa.addr.octets();
            let net = (ifa.addr.to_bits() & ifa.mask().to_bits()).to_be_bytes();
            for (dst, len) in [(net, ifa.prefixlen), (addr, 32)] {
                let body = [len, RT_TABLE_LOCAL, RTPROT_KERNEL, RT_SCOPE_HOST, RTN_LOCAL];
                let attrs: [(u16, &[u8]); 2] = [(RTA_DST, &dst), (RTA_PREFSRC, &addr)];
                self.put_route(writer, NLM_F_MULTI, body, 0, &attrs);
                if ifa.prefixlen == 32 {
                    break;
                }
            }
        }
    }

    /// The three rules that every machine has: local, main, default.
    fn put_rules(&self, writer: &mut Writer) {
        const FRA_PRIORITY: u16 = 6;
        const FRA_TABLE: u16 = 15;
        const FR_ACT_TO_TBL: u8 = 1;
        for (priority, table) in [(0, RT_TABLE_LOCAL), (32766, RT_TABLE_MAIN), (32767, 253)] {
            let mut raw = [0; RTMSG_LEN];
            raw[0] = AF_INET as u8;
            raw[4] = table;
            raw[7] = FR_ACT_TO_TBL;
            writer.begin(self.header, RTM_NEWRULE, NLM_F_MULTI, self.port, &raw);
            writer.put_u32(FRA_TABLE, u32::from(table));
            if priority != 0 {
                writer.put_u32(FRA_PRIORITY, priority);
            }
            writer.end();
        }
    }

    /// RTM_GETROUTE without a listing: which way a packet would go. Errors: ENETUNREACH.
    fn get_route(&self) -> Result<Vec<u8>> {
        let dst = self.addr(RTMSG_LEN, RTA_DST)?.ok_or(Errno::EINVAL)?;
        let output = fib::route_output(dst)?;
        let (table, kind) = match output {
            Output::Local(_) => (RT_TABLE_LOCAL, RTN_LOCAL),
            Output::Lost(_) => (RT_TABLE_MAIN, RTN_UNICAST),
        };
        let (dst, source) = (dst.octets(), output.source().octets());
        let attrs: [(u16, &[u8]); 2] = [(RTA_DST, &dst), (RTA_PREFSRC, &source)];
        let mut writer = Writer::default();
        let body = [32, table, 0, RT_SCOPE_UNIVERSE, kind];
        self.put_route(&mut writer, 0, body, RTM_F_CLONED, &attrs);
        Ok(writer.into_bytes())
    }

    /// The route that a request is about.
    fn route(&self) -> Result<Route> {
        let prefixlen = self.u8_at(1)?;
        if prefixlen > 32 {
            return Err(Errno::EINVAL);
        }
        let metric = attribute(self.payload, RTMSG_LEN, RTA_PRIORITY);
        let metric = metric
            .and_then(|value| value.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        Ok(Route {
            dst: self
                .addr(RTMSG_LEN, RTA_DST)?
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            prefixlen,
            gateway: self
                .addr(RTMSG_LEN, RTA_GATEWAY)?
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            metric,
        })
    }

    fn new_route(&self) -> Result {
        match fib::add(self.route()?) {
            Err(Errno::EEXIST) if self.header.flags & NLM_F_EXCL == 0 => Ok(()),
            result => result,
        }
    }

    fn del_route(&self) -> Result {
        let route = self.route()?;
        fib::del(route.dst, route.prefixlen, route.gateway)
    }
}
