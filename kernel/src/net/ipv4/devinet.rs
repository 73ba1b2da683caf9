//! IPv4 addresses of interfaces (Linux: net/ipv4/devinet.c).
#![forbid(unsafe_code)]

use core::net::Ipv4Addr;

use uapi::socket::{IFF_LOOPBACK, IFF_UP};

use crate::net::core::dev::{LOOPBACK, NetDevice, dev_by_name};
use crate::prelude::*;

/// An address (Linux: `struct in_ifaddr`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfAddr {
    /// The address.
    pub addr: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefixlen: u8,
    /// Broadcast address, 0.0.0.0 for none.
    pub broadcast: Ipv4Addr,
    /// Name of the interface or of its alias.
    pub label: String,
}

impl IfAddr {
    /// The network mask.
    pub fn mask(&self) -> Ipv4Addr {
        mask_of(self.prefixlen)
    }
    fn contains(&self, addr: Ipv4Addr) -> bool {
        let mask = self.mask().to_bits();
        (self.addr.to_bits() ^ addr.to_bits()) & mask == 0
    }
}

/// The mask of a prefix length.
pub fn mask_of(prefixlen: u8) -> Ipv4Addr {
    let shift = 32 - u32::from(prefixlen.min(32));
    Ipv4Addr::from_bits(u32::MAX.checked_shl(shift).unwrap_or(0))
}

/// The prefix length of a mask. Errors: EINVAL for a mask with holes (Linux: `bad_mask`).
pub fn prefix_of(mask: Ipv4Addr) -> Result<u8> {
    let bits = mask.to_bits();
    let len = bits.leading_ones();
    if bits.count_ones() == len {
        Ok(len as u8)
    } else {
        Err(Errno::EINVAL)
    }
}

/// The prefix length that an address had before networks had masks (Linux: `inet_abc_len`).
fn class_prefix(addr: Ipv4Addr) -> u8 {
    match addr.octets()[0] {
        0 => 0,
        1..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        _ => 32,
    }
}

/// Addresses of the loopback interface, the first one of each label being its main address.
static ADDRESSES: SpinLock<Vec<IfAddr>> = SpinLock::new(Vec::new());

/// Every address.
pub fn addresses() -> Vec<IfAddr> {
    ADDRESSES.lock().clone()
}

/// The main address of an interface or alias.
pub fn by_label(label: &str) -> Option<IfAddr> {
    ADDRESSES
        .lock()
        .iter()
        .find(|ifa| ifa.label == label)
        .cloned()
}

/// Gives an interface or alias an address in place of the one it had. Errors: EINVAL.
pub fn set_address(label: &str, addr: Ipv4Addr) -> Result {
    if addr.is_multicast() || addr.is_broadcast() {
        return Err(Errno::EINVAL);
    }
    let mut list = ADDRESSES.lock();
    list.retain(|ifa| ifa.label != label);
    if !addr.is_unspecified() {
        list.push(IfAddr {
            addr,
            prefixlen: class_prefix(addr),
            broadcast: Ipv4Addr::UNSPECIFIED,
            label: String::from(label),
        });
    }
    drop(list);
    // An interface goes up when it gets an address.
    if let Some(dev) = dev_by_name(label) {
        dev.change_flags(dev.flags() | IFF_UP);
    }
    Ok(())
}

/// Adds an address (RTM_NEWADDR). Errors: EEXIST.
pub fn add_address(ifa: IfAddr) -> Result {
    let mut list = ADDRESSES.lock();
    if list
        .iter()
        .any(|old| old.addr == ifa.addr && old.prefixlen == ifa.prefixlen)
    {
        return Err(Errno::EEXIST);
    }
    list.push(ifa);
    Ok(())
}

/// Removes an address (RTM_DELADDR). Errors: EADDRNOTAVAIL.
pub fn del_address(addr: Ipv4Addr, prefixlen: u8) -> Result {
    let mut list = ADDRESSES.lock();
    let index = list
        .iter()
        .position(|ifa| ifa.addr == addr && ifa.prefixlen == prefixlen);
    list.remove(index.ok_or(Errno::EADDRNOTAVAIL)?);
    Ok(())
}

fn change(label: &str, f: impl FnOnce(&mut IfAddr) -> Result) -> Result {
    let mut list = ADDRESSES.lock();
    let ifa = list.iter_mut().find(|ifa| ifa.label == label);
    f(ifa.ok_or(Errno::EADDRNOTAVAIL)?)
}

/// Changes the mask. Errors: EADDRNOTAVAIL, EINVAL.
pub fn set_netmask(label: &str, mask: Ipv4Addr) -> Result {
    let prefixlen = prefix_of(mask)?;
    change(label, |ifa| {
        ifa.prefixlen = prefixlen;
        Ok(())
    })
}

/// Changes the broadcast address. Errors: EADDRNOTAVAIL.
pub fn set_broadcast(label: &str, broadcast: Ipv4Addr) -> Result {
    change(label, |ifa| {
        ifa.broadcast = broadcast;
        Ok(())
    })
}

/// SIOCSIFFLAGS: an alias that goes down loses its address; the loopback interface gets
/// 127.0.0.1 when it goes up without an address (Linux: `inetdev_event`, NETDEV_UP).
pub fn change_flags(dev: &NetDevice, label: &str, flags: u32) {
    if label.contains(':') {
        if flags & IFF_UP == 0 {
            ADDRESSES.lock().retain(|ifa| ifa.label != label);
        }
        return;
    }
    let went_up = dev.change_flags(flags);
    if went_up && dev.flags() & IFF_LOOPBACK != 0 {
        let mut list = ADDRESSES.lock();
        if list.is_empty() {
            list.push(IfAddr {
                addr: Ipv4Addr::LOCALHOST,
                prefixlen: 8,
                broadcast: Ipv4Addr::UNSPECIFIED,
                label: String::from(dev.name),
            });
        }
    }
}

/// Whether packets for `addr` are for this machine: every address of the loopback interface's
/// networks, as long as it is up (Linux: the table `local`).
pub fn is_local(addr: Ipv4Addr) -> bool {
    LOOPBACK.is_up() && ADDRESSES.lock().iter().any(|ifa| ifa.contains(addr))
}

/// The address that packets to the local address `dst` come from.
pub fn source_for(dst: Ipv4Addr) -> Option<Ipv4Addr> {
    let list = ADDRESSES.lock();
    let exact = list.iter().find(|ifa| ifa.addr == dst);
    exact
        .or_else(|| list.iter().find(|ifa| ifa.contains(dst)))
        .map(|ifa| ifa.addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_prefixes_convert() {
        for (len, mask) in [(0, [0, 0, 0, 0]), (8, [255, 0, 0, 0]), (32, [255; 4])] {
            assert_eq!(mask_of(len), Ipv4Addr::from(mask));
            assert_eq!(prefix_of(Ipv4Addr::from(mask)), Ok(len));
        }
        assert_eq!(prefix_of(Ipv4Addr::new(255, 0, 255, 0)), Err(Errno::EINVAL));
        assert_eq!(class_prefix(Ipv4Addr::new(192, 168, 1, 1)), 24);
        assert_eq!(class_prefix(Ipv4Addr::LOCALHOST), 8);
    }

    #[test]
    fn an_address_covers_its_network() {
        let ifa = IfAddr {
            addr: Ipv4Addr::LOCALHOST,
            prefixlen: 8,
            broadcast: Ipv4Addr::UNSPECIFIED,
            label: String::from("lo"),
        };
        assert!(ifa.contains(Ipv4Addr::new(127, 9, 9, 9)));
        assert!(!ifa.contains(Ipv4Addr::new(128, 0, 0, 1)));
    }
}
