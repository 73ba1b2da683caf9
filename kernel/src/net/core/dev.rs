//! Network interfaces (Linux: net/core/dev.c, drivers/net/loopback.c, net/core/net-procfs.c).
//! The loopback interface is the only one.
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::socket::*;

use crate::fs::proc::proc_create_single;
use crate::prelude::*;

/// Greatest packet that the loopback interface takes.
pub const LOOPBACK_MTU: u32 = 65536;
/// Its number.
pub const LOOPBACK_IFINDEX: i32 = 1;

/// A network interface (Linux: `struct net_device`).
pub struct NetDevice {
    /// Such as `lo`.
    pub name: &'static str,
    /// Its number, from 1.
    pub ifindex: i32,
    /// ARPHRD_*.
    pub kind: u16,
    /// IFF_*, as far as they are set.
    flags: AtomicU32,
    /// Greatest packet, bytes.
    pub mtu: AtomicU32,
    /// Packets that may wait to be sent.
    pub txqlen: AtomicU32,
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

/// `lo`. It is down until somebody sets it up.
pub static LOOPBACK: NetDevice = NetDevice {
    name: "lo",
    ifindex: LOOPBACK_IFINDEX,
    kind: ARPHRD_LOOPBACK,
    flags: AtomicU32::new(IFF_LOOPBACK),
    mtu: AtomicU32::new(LOOPBACK_MTU),
    txqlen: AtomicU32::new(1000),
    packets: AtomicU64::new(0),
    bytes: AtomicU64::new(0),
    dropped: AtomicU64::new(0),
};

impl NetDevice {
    /// IFF_*, with those that say what it does now (Linux: `dev_get_flags`).
    pub fn flags(&self) -> u32 {
        let flags = self.flags.load(Ordering::Acquire);
        let running = if flags & IFF_UP != 0 {
            IFF_RUNNING | IFF_LOWER_UP
        } else {
            0
        };
        flags | running
    }
    /// Whether packets pass.
    #[inline]
    pub fn is_up(&self) -> bool {
        self.flags.load(Ordering::Acquire) & IFF_UP != 0
    }
    /// Changes the flags that user space may change (Linux: `__dev_change_flags`). Returns
    /// whether it went up.
    pub fn change_flags(&self, flags: u32) -> bool {
        let changeable = IFF_UP | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST;
        let old = self.flags.load(Ordering::Acquire);
        let new = old & !changeable | flags & changeable;
        self.flags.store(new, Ordering::Release);
        old & IFF_UP == 0 && new & IFF_UP != 0
    }
    /// Counts a packet that went out and came in.
    #[inline]
    pub fn count(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    /// Counts a packet that could not be received.
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
    /// Packets, bytes, dropped packets.
    pub fn stats(&self) -> [u64; 3] {
        [&self.packets, &self.bytes, &self.dropped].map(|count| count.load(Ordering::Relaxed))
    }
}

/// The interface of a number.
pub fn dev_by_index(ifindex: i32) -> Option<&'static NetDevice> {
    (ifindex == LOOPBACK.ifindex).then_some(&LOOPBACK)
}

/// The interface of a name; an alias such as `lo:0` is the interface itself.
pub fn dev_by_name(name: &str) -> Option<&'static NetDevice> {
    let base = name.split(':').next().unwrap_or(name);
    (base == LOOPBACK.name).then_some(&LOOPBACK)
}

/// Linux: `dev_seq_show`.
fn dev_show(text: &mut String) -> Result {
    text.push_str(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|\
         bytes    packets errs drop fifo colls carrier compressed\n",
    );
    let [packets, bytes, dropped] = LOOPBACK.stats();
    writeln!(
        text,
        "{:>6}: {bytes:7} {packets:7} {:4} {dropped:4} {:4} {:5} {:10} {:9} \
         {bytes:8} {packets:7} {:4} {:4} {:4} {:5} {:7} {:10}",
        LOOPBACK.name, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )?;
    Ok(())
}

#[__init]
fn dev_proc_init() -> Result {
    proc_create_single("net/dev", 0o444, dev_show)
}
subsys_initcall!(dev_proc_init);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_interfaces_has_linux_columns() {
        let mut text = String::new();
        dev_show(&mut text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with(" face |bytes    packets errs"));
        assert!(lines[2].starts_with("    lo: "));
        assert_eq!(lines[2].split_whitespace().count(), 17);
    }

    #[test]
    fn names_of_aliases_lead_to_the_interface() {
        assert_eq!(dev_by_name("lo:1").map(|dev| dev.ifindex), Some(1));
        assert!(dev_by_name("eth0").is_none() && dev_by_index(2).is_none());
    }
}
