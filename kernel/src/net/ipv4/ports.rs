//! Who has which port (Linux: net/ipv4/inet_connection_sock.c, `inet_csk_get_port`;
//! net/ipv4/udp.c, `udp_lib_get_port`).
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::mm::util::get_random_u64;
use crate::prelude::*;

/// Ports that are given to who asks for any (/proc/sys/net/ipv4/ip_local_port_range).
pub const LOCAL_PORTS: core::ops::RangeInclusive<u16> = 32768..=60999;
/// First port that anybody may bind to (/proc/sys/net/ipv4/ip_unprivileged_port_start).
pub const UNPRIVILEGED_PORT_START: u16 = 1024;

/// Which transport a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How far a socket shares its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// SO_REUSEADDR.
    pub reuse_addr: bool,
    /// SO_REUSEPORT, with the user who may share.
    pub reuse_port: Option<u32>,
}

struct Use {
    id: u64,
    addr: Ipv4Addr,
    sharing: Sharing,
    listens: bool,
}

static TABLE: SpinLock<BTreeMap<(Transport, u16), Vec<Use>>> = SpinLock::new(BTreeMap::new());

/// A port that a socket has; it is free again when this is dropped.
#[derive(Debug)]
pub struct BoundPort {
    transport: Transport,
    /// The number.
    pub port: u16,
    id: u64,
}

impl Use {
    /// Whether somebody else can have the port too (Linux: `inet_bind_conflict`).
    fn conflicts(&self, transport: Transport, addr: Ipv4Addr, sharing: Sharing) -> bool {
        let apart = self.addr != addr && !self.addr.is_unspecified() && !addr.is_unspecified();
        let both_reuse = self.sharing.reuse_addr && sharing.reuse_addr;
        let same_group =
            sharing.reuse_port.is_some() && self.sharing.reuse_port == sharing.reuse_port;
        let by_address = both_reuse && (transport == Transport::Udp || !self.listens);
        !(apart || by_address || same_group)
    }
}

fn try_port(
    table: &mut BTreeMap<(Transport, u16), Vec<Use>>,
    transport: Transport,
    addr: Ipv4Addr,
    port: u16,
    sharing: Sharing,
) -> Option<BoundPort> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    let users = table.entry((transport, port)).or_default();
    if users
        .iter()
        .any(|user| user.conflicts(transport, addr, sharing))
    {
        return None;
    }
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    users.push(Use {
        id,
        addr,
        sharing,
        listens: false,
    });
    Some(BoundPort {
        transport,
        port,
        id,
    })
}

/// Takes a port, any one for 0. Errors: EADDRINUSE.
pub fn bind_port(
    transport: Transport,
    addr: Ipv4Addr,
    port: u16,
    sharing: Sharing,
) -> Result<BoundPort> {
    let mut table = TABLE.lock();
    if port != 0 {
        return try_port(&mut table, transport, addr, port, sharing).ok_or(Errno::EADDRINUSE);
    }
    let (first, last) = LOCAL_PORTS.into_inner();
    let count = u64::from(last - first) + 1;
    let start = get_random_u64() % count;
    // A port that is given away is never shared.
    let alone = Sharing {
        reuse_addr: false,
        reuse_port: None,
    };
    for step in 0..count {
        let port = first + ((start + step) % count) as u16;
        if !table.get(&(transport, port)).is_none_or(Vec::is_empty) {
            continue;
        }
        if let Some(mut bound) = try_port(&mut table, transport, addr, port, alone) {
            bound.set_sharing(&mut table, sharing);
            return Ok(bound);
        }
    }
    Err(Errno::EADDRINUSE)
}

impl BoundPort {
    fn set_sharing(&mut self, table: &mut BTreeMap<(Transport, u16), Vec<Use>>, sharing: Sharing) {
        let users = table.get_mut(&(self.transport, self.port));
        if let Some(user) = users.and_then(|users| users.iter_mut().find(|user| user.id == self.id))
        {
            user.sharing = sharing;
        }
    }

    /// The socket starts to listen: nobody else may, unless both share the port.
    /// Errors: EADDRINUSE.
    pub fn listen(&self) -> Result {
        let mut table = TABLE.lock();
        let Some(users) = table.get_mut(&(self.transport, self.port)) else {
            return Ok(());
        };
        let me = users
            .iter()
            .find(|user| user.id == self.id)
            .map(|user| (user.addr, user.sharing));
        let Some((addr, sharing)) = me else {
            return Ok(());
        };
        let taken = users.iter().any(|user| {
            user.id != self.id && user.listens && user.conflicts(self.transport, addr, sharing)
        });
        if taken {
            return Err(Errno::EADDRINUSE);
        }
        users
            .iter_mut()
            .filter(|user| user.id == self.id)
            .for_each(|user| user.listens = true);
        Ok(())
    }
}

impl Drop for BoundPort {
    fn drop(&mut self) {
        let mut table = TABLE.lock();
        if let Some(users) = table.get_mut(&(self.transport, self.port)) {
            users.retain(|user| user.id != self.id);
            if users.is_empty() {
                table.remove(&(self.transport, self.port));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    const ALONE: Sharing = Sharing {
        reuse_addr: false,
        reuse_port: None,
    };
    const REUSE: Sharing = Sharing {
        reuse_addr: true,
        reuse_port: None,
    };

    #[test]
    fn a_port_is_taken_once_and_free_after_close() {
        let bound = bind_port(Transport::Tcp, ANY, 4001, ALONE).unwrap();
        let local = Ipv4Addr::LOCALHOST;
        assert_eq!(
            bind_port(Transport::Tcp, local, 4001, REUSE).err(),
            Some(Errno::EADDRINUSE)
        );
        assert!(bind_port(Transport::Udp, local, 4001, ALONE).is_ok());
        drop(bound);
        assert!(bind_port(Transport::Tcp, local, 4001, ALONE).is_ok());
    }

    #[test]
    fn reuse_shares_until_somebody_listens() {
        let one = bind_port(Transport::Tcp, ANY, 4002, REUSE).unwrap();
        let two = bind_port(Transport::Tcp, ANY, 4002, REUSE).unwrap();
        one.listen().unwrap();
        assert_eq!(two.listen(), Err(Errno::EADDRINUSE));
        assert_eq!(
            bind_port(Transport::Tcp, ANY, 4002, REUSE).err(),
            Some(Errno::EADDRINUSE)
        );
    }

    #[test]
    fn any_port_comes_from_the_local_range() {
        let one = bind_port(Transport::Tcp, ANY, 0, REUSE).unwrap();
        let two = bind_port(Transport::Tcp, ANY, 0, REUSE).unwrap();
        assert!(LOCAL_PORTS.contains(&one.port) && one.port != two.port);
    }

    #[test]
    fn reuse_port_is_for_the_same_user() {
        let of = |uid| Sharing {
            reuse_addr: false,
            reuse_port: Some(uid),
        };
        let _one = bind_port(Transport::Udp, ANY, 4003, of(5)).unwrap();
        assert!(bind_port(Transport::Udp, ANY, 4003, of(5)).is_ok());
        assert!(bind_port(Transport::Udp, ANY, 4003, of(6)).is_err());
    }
}
