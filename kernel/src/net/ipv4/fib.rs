//! Routes (Linux: net/ipv4/fib_frontend.c, net/ipv4/fib_trie.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::net::Ipv4Addr;

use uapi::socket::{AF_INET, Rtentry};

use crate::net::core::dev::LOOPBACK;
use crate::net::ipv4::devinet;
use crate::prelude::*;

/// The route is usable.
pub const RTF_UP: u16 = 1;
/// It leads through a gateway.
pub const RTF_GATEWAY: u16 = 2;
/// It leads to a host.
pub const RTF_HOST: u16 = 4;

/// A route of the main table. All of them lead through the loopback interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination network.
    pub dst: Ipv4Addr,
    /// Length of its prefix.
    pub prefixlen: u8,
    /// Gateway, 0.0.0.0 for none.
    pub gateway: Ipv4Addr,
    /// Lower ones are preferred.
    pub metric: u32,
}

impl Route {
    fn contains(&self, addr: Ipv4Addr) -> bool {
        let mask = devinet::mask_of(self.prefixlen).to_bits();
        addr.to_bits() & mask == self.dst.to_bits()
    }
    fn flags(&self) -> u16 {
        let gateway = if self.gateway.is_unspecified() {
            0
        } else {
            RTF_GATEWAY
        };
        let host = if self.prefixlen == 32 { RTF_HOST } else { 0 };
        RTF_UP | gateway | host
    }
}

/// Longest prefix first, then lowest metric.
static MAIN: SpinLock<Vec<Route>> = SpinLock::new(Vec::new());

/// Every route of the main table.
pub fn routes() -> Vec<Route> {
    MAIN.lock().clone()
}

/// Adds a route. Errors: EEXIST, EINVAL for bits behind the prefix, ENETDOWN, ENETUNREACH for a
/// gateway that no route leads to.
pub fn add(route: Route) -> Result {
    if !route.contains(route.dst) {
        return Err(Errno::EINVAL);
    }
    if !LOOPBACK.is_up() {
        return Err(Errno::ENETDOWN);
    }
    if !route.gateway.is_unspecified() && !has_route(route.gateway) {
        return Err(Errno::ENETUNREACH);
    }
    let mut table = MAIN.lock();
    let key = |r: &Route| (32 - r.prefixlen.min(32), r.dst, r.metric);
    match table.binary_search_by_key(&key(&route), key) {
        Ok(_) => Err(Errno::EEXIST),
        Err(at) => {
            table.insert(at, route);
            Ok(())
        }
    }
}

/// Removes the first route to a network. Errors: ESRCH.
pub fn del(dst: Ipv4Addr, prefixlen: u8, gateway: Ipv4Addr) -> Result {
    let mut table = MAIN.lock();
    let matches = |r: &Route| {
        r.dst == dst
            && r.prefixlen == prefixlen
            && (gateway.is_unspecified() || r.gateway == gateway)
    };
    let index = table.iter().position(matches).ok_or(Errno::ESRCH)?;
    table.remove(index);
    Ok(())
}

fn has_route(addr: Ipv4Addr) -> bool {
    devinet::is_local(addr) || MAIN.lock().iter().any(|route| route.contains(addr))
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To this machine, from this address.
    Local(Ipv4Addr),
    /// Out of the loopback interface to nobody: such packets vanish.
    Lost(Ipv4Addr),
}

impl Output {
    /// The address that packets come from.
    pub fn source(self) -> Ipv4Addr {
        match self {
            Output::Local(source) | Output::Lost(source) => source,
        }
    }
}

/// Looks up the way to `dst` (Linux: `ip_route_output_key`). Errors: ENETUNREACH.
pub fn route_output(dst: Ipv4Addr) -> Result<Output> {
    if devinet::is_local(dst) {
        return Ok(Output::Local(devinet::source_for(dst).unwrap_or(dst)));
    }
    let found = LOOPBACK.is_up() && MAIN.lock().iter().any(|route| route.contains(dst));
    if !found {
        return Err(Errno::ENETUNREACH);
    }
    let source = devinet::addresses().first().map(|ifa| ifa.addr);
    Ok(Output::Lost(source.unwrap_or(Ipv4Addr::UNSPECIFIED)))
}

/// The IPv4 address of a `struct sockaddr` in a route; 0.0.0.0 when there is none.
fn sockaddr_of(raw: &[u8; 16]) -> Result<Ipv4Addr> {
    match u16::from_le_bytes([raw[0], raw[1]]) {
        0 => Ok(Ipv4Addr::UNSPECIFIED),
        AF_INET => Ok(Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7])),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// SIOCADDRT and SIOCDELRT (Linux: `rtentry_to_fib_config`). Errors: EINVAL, EAFNOSUPPORT and
/// those of `add` and `del`.
pub fn ioctl_route(adds: bool, entry: &Rtentry) -> Result {
    let dst = sockaddr_of(&entry.rt_dst)?;
    let prefixlen = if entry.rt_flags & RTF_HOST != 0 {
        32
    } else {
        devinet::prefix_of(sockaddr_of(&entry.rt_genmask)?)?
    };
    let gateway = if entry.rt_flags & RTF_GATEWAY != 0 {
        sockaddr_of(&entry.rt_gateway)?
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    if !adds {
        return del(dst, prefixlen, gateway);
    }
    // The metric is one more than it says: 0 means that there is none.
    let metric = u32::try_from(entry.rt_metric.saturating_sub(1)).unwrap_or(0);
    add(Route {
        dst,
        prefixlen,
        gateway,
        metric,
    })
}

/// An address the way /proc prints it: as a number in the machine's byte order.
pub fn hex(addr: Ipv4Addr) -> u32 {
    u32::from_le_bytes(addr.octets())
}

/// /proc/net/route (Linux: `fib_route_seq_show`).
pub(super) fn route_show(text: &mut String) -> Result {
    let header =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
    writeln!(text, "{header:<127}")?;
    for route in routes() {
        let line = format!(
            "{}\t{:08X}\t{:08X}\t{:04X}\t0\t0\t{}\t{:08X}\t0\t0\t0",
            LOOPBACK.name,
            hex(route.dst),
            hex(route.gateway),
            route.flags(),
            route.metric,
            hex(devinet::mask_of(route.prefixlen)),
        );
        writeln!(text, "{line:<127}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_covers_its_network_only() {
        let route = Route {
            dst: Ipv4Addr::new(10, 1, 0, 0),
            prefixlen: 16,
            gateway: Ipv4Addr::UNSPECIFIED,
            metric: 0,
        };
        assert!(route.contains(Ipv4Addr::new(10, 1, 2, 3)));
        assert!(!route.contains(Ipv4Addr::new(10, 2, 0, 0)));
        assert_eq!(route.flags(), RTF_UP);
    }

    #[test]
    fn the_header_of_the_route_table_is_padded() {
        let mut text = String::new();
        route_show(&mut text).unwrap();
        assert_eq!(text.lines().next().map(str::len), Some(127));
        assert_eq!(hex(Ipv4Addr::LOCALHOST), 0x0100_007f);
    }
}
