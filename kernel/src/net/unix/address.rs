//! Addresses of local sockets and who has which (Linux: net/unix/af_unix.c).
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU32, Ordering};

use uapi::socket::*;

use crate::fs::inode::Inode;
use crate::fs::namei::{LookupFlags, MAY_WRITE, WalkEnv, inode_permission, path_lookup};
use crate::net::core::sock::SockAddr;
use crate::net::unix::UnixSock;
use crate::prelude::*;

/// Bytes in front of the path in `struct sockaddr_un`.
const FAMILY_LEN: usize = 2;

/// The address a socket is bound to: the bytes behind the family, with the NUL of a path.
#[derive(Debug, PartialEq, Eq)]
pub struct UnixAddr {
    name: Box<[u8]>,
}

impl UnixAddr {
    /// A path, to which a NUL is added.
    pub fn path(path: &[u8]) -> Self {
        let mut name = path.to_vec();
        name.push(0);
        Self { name: name.into() }
    }
    /// An abstract name with its leading NUL.
    pub fn abstract_name(name: &[u8]) -> Self {
        Self { name: name.into() }
    }
    /// Whether no file stands for it.
    pub fn is_abstract(&self) -> bool {
        self.name.first() == Some(&0)
    }
    /// What user space sees.
    pub fn to_sockaddr(&self) -> SockAddr {
        let mut bytes = [0; FAMILY_LEN + UNIX_PATH_MAX + 1];
        let end = FAMILY_LEN + self.name.len();
        bytes[..FAMILY_LEN].copy_from_slice(&AF_UNIX.to_le_bytes());
        if let Some(room) = bytes.get_mut(FAMILY_LEN..end) {
            room.copy_from_slice(&self.name);
        }
        SockAddr::new(bytes.get(..end).unwrap_or(&bytes))
    }
    /// The name as /proc/net/unix shows it: `@` for NULs of an abstract name.
    pub fn display(&self) -> Vec<u8> {
        if self.is_abstract() {
            return self
                .name
                .iter()
                .map(|&b| if b == 0 { b'@' } else { b })
                .collect();
        }
        self.name.strip_suffix(&[0]).unwrap_or(&self.name).to_vec()
    }
}

/// The address of a socket without a name.
pub fn unnamed() -> SockAddr {
    SockAddr::new(&AF_UNIX.to_le_bytes())
}

/// A name as a user gives it.
#[derive(Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A file, without NUL.
    Path(&'a [u8]),
    /// With its leading NUL.
    Abstract(&'a [u8]),
}

/// Linux: `unix_validate_addr` and `unix_mkname_bsd`. Errors: EINVAL.
pub fn parse(addr: &SockAddr) -> Result<Name<'_>> {
    let bytes = addr.as_bytes();
    if bytes.len() <= FAMILY_LEN || bytes.len() > FAMILY_LEN + UNIX_PATH_MAX {
        return Err(Errno::EINVAL);
    }
    if addr.family() != Some(AF_UNIX) {
        return Err(Errno::EINVAL);
    }
    let name = &bytes[FAMILY_LEN..];
    match name.iter().position(|&byte| byte == 0) {
        Some(0) => Ok(Name::Abstract(name)),
        Some(end) => Ok(Name::Path(&name[..end])),
        None => Ok(Name::Path(name)),
    }
}

/// Whether bind(2) is asked to find a name itself.
pub fn asks_for_autobind(addr: &SockAddr) -> bool {
    addr.as_bytes().len() == FAMILY_LEN && addr.family() == Some(AF_UNIX)
}

/// A socket type and a name: the type is part of an abstract name.
type AbstractName = (u32, Box<[u8]>);

/// Sockets with abstract names.
static ABSTRACT: SpinLock<BTreeMap<AbstractName, Weak<UnixSock>>> = SpinLock::new(BTreeMap::new());
/// Sockets by the address of their inode, which they keep.
static INODES: SpinLock<BTreeMap<usize, Weak<UnixSock>>> = SpinLock::new(BTreeMap::new());
/// Every socket by its address.
static ALL: SpinLock<BTreeMap<usize, Weak<UnixSock>>> = SpinLock::new(BTreeMap::new());

/// Lists a new socket.
pub(super) fn enlist(sock: &Arc<UnixSock>) {
    ALL.lock()
        .insert(Arc::as_ptr(sock).addr(), Arc::downgrade(sock));
}
/// The socket's memory goes away.
pub(super) fn delist(sock: &UnixSock) {
    ALL.lock().remove(&core::ptr::from_ref(sock).addr());
}
/// Every socket there is.
pub fn all_sockets() -> Vec<Arc<UnixSock>> {
    ALL.lock().values().filter_map(Weak::upgrade).collect()
}

/// Enters an abstract name. Errors: EADDRINUSE.
pub(super) fn claim_abstract(sock: &Arc<UnixSock>, name: &[u8]) -> Result {
    let mut table = ABSTRACT.lock();
    let key = (sock.common.kind, Box::from(name));
    if table
        .get(&key)
        .is_some_and(|owner| owner.strong_count() > 0)
    {
        return Err(Errno::EADDRINUSE);
    }
    table.insert(key, Arc::downgrade(sock));
    Ok(())
}

/// Finds a free name of five hexadecimal digits (Linux: `unix_autobind`). Errors: ENOSPC.
pub(super) fn claim_any(sock: &Arc<UnixSock>) -> Result<UnixAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..=0xf_ffff {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
        let name = format!("\0{number:05x}");
        if claim_abstract(sock, name.as_bytes()).is_ok() {
            return Ok(UnixAddr::abstract_name(name.as_bytes()));
        }
    }
    Err(Errno::ENOSPC)
}

/// Enters the socket that an inode stands for.
pub(super) fn claim_inode(sock: &Arc<UnixSock>, inode: &Arc<Inode>) {
    INODES
        .lock()
        .insert(Arc::as_ptr(inode).addr(), Arc::downgrade(sock));
}

/// Takes the socket's name off the tables.
pub(super) fn unclaim(sock: &UnixSock, addr: &UnixAddr, inode: Option<&Arc<Inode>>) {
    let is_ours = |entry: &Weak<UnixSock>| core::ptr::eq(entry.as_ptr(), sock);
    if addr.is_abstract() {
        let key = (sock.common.kind, addr.name.clone());
        let mut table = ABSTRACT.lock();
        if table.get(&key).is_some_and(is_ours) {
            table.remove(&key);
        }
    } else if let Some(inode) = inode {
        let key = Arc::as_ptr(inode).addr();
        let mut table = INODES.lock();
        if table.get(&key).is_some_and(is_ours) {
            table.remove(&key);
        }
    }
}

/// The socket that a path leads to. Errors: ECONNREFUSED when nobody is bound to it any more,
/// EACCES without write permission, and those of the walk.
fn find_by_path(path: &[u8], kind: u32) -> Result<Arc<UnixSock>> {
    let env = WalkEnv::current()?;
    let place = path_lookup(&env, None, path, LookupFlags::FOLLOW)?;
    let inode = place.inode();
    inode_permission(inode, MAY_WRITE, &env.cred)?;
    if !uapi::stat::s_issock(inode.mode()) {
        return Err(Errno::ECONNREFUSED);
    }
    let found = INODES
        .lock()
        .get(&Arc::as_ptr(inode).addr())
        .and_then(Weak::upgrade);
    let sock = found.ok_or(Errno::ECONNREFUSED)?;
    if sock.common.kind == kind {
        Ok(sock)
    } else {
        Err(Errno::EPROTOTYPE)
    }
}

/// Whether there is a file at the path.
pub(super) fn exists(path: &[u8]) -> bool {
    let found =
        WalkEnv::current().and_then(|env| path_lookup(&env, None, path, LookupFlags::empty()));
    found.is_ok()
}

/// The socket that has a name (Linux: `unix_find_other`). Errors: ECONNREFUSED, EPROTOTYPE.
pub(super) fn find(name: &Name<'_>, kind: u32) -> Result<Arc<UnixSock>> {
    match name {
        Name::Path(path) => find_by_path(path, kind),
        Name::Abstract(name) => {
            let key = (kind, Box::from(*name));
            let found = ABSTRACT.lock().get(&key).and_then(Weak::upgrade);
            found.ok_or(Errno::ECONNREFUSED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockaddr(path: &[u8]) -> SockAddr {
        let mut bytes = AF_UNIX.to_le_bytes().to_vec();
        bytes.extend_from_slice(path);
        SockAddr::new(&bytes)
    }

    #[test]
    fn a_path_ends_at_its_nul_or_at_the_end_of_the_address() {
        assert_eq!(
            parse(&sockaddr(b"/dev/log\0junk")),
            Ok(Name::Path(b"/dev/log"))
        );
        let longest = [b'x'; UNIX_PATH_MAX];
        assert_eq!(parse(&sockaddr(&longest)), Ok(Name::Path(&longest)));
        let shown = UnixAddr::path(&longest).to_sockaddr();
        assert_eq!(shown.as_bytes().len(), 2 + 109);
    }

    #[test]
    fn an_abstract_name_counts_all_its_bytes() {
        assert_eq!(parse(&sockaddr(b"\0ab\0c")), Ok(Name::Abstract(b"\0ab\0c")));
        let addr = UnixAddr::abstract_name(b"\0ab\0c");
        assert_eq!(addr.display(), b"@ab@c");
        assert_eq!(addr.to_sockaddr().as_bytes(), b"\x01\0\0ab\0c");
    }

    #[test]
    fn wrong_lengths_and_families_are_refused() {
        assert_eq!(parse(&sockaddr(b"")), Err(Errno::EINVAL));
        assert!(asks_for_autobind(&sockaddr(b"")));
        assert_eq!(
            parse(&sockaddr(&[b'x'; UNIX_PATH_MAX + 1])),
            Err(Errno::EINVAL)
        );
        assert_eq!(parse(&SockAddr::new(b"\x02\0/x")), Err(Errno::EINVAL));
        assert_eq!(parse(&SockAddr::new(b"")), Err(Errno::EINVAL));
        assert_eq!(parse(&SockAddr::new(b"\x01")), Err(Errno::EINVAL));
    }
}
