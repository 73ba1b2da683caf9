//! Local sockets: names, connections and their end (Linux: net/unix/af_unix.c).
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use uapi::Pod;
use uapi::ioctls::{SIOCINQ, SIOCOUTQ};
use uapi::poll::*;
use uapi::socket::*;
use uapi::stat::S_IFSOCK;

use crate::fs::char_dev::DevT;
use crate::fs::namei::create::do_mknodat;
use crate::fs::namei::{Path, WalkEnv};
use crate::fs::sleep_lock::SleepLock;
use crate::kernel::cred::Cred;
use crate::kernel::sched::try_current;
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::mm::UserAddr;
use crate::mm::uaccess::put_user;
use crate::net::core::scm::{InFlight, current_ucred};
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::*;
use crate::net::socket::sock_register;
use crate::net::unix::address::{self, Name, UnixAddr};
use crate::net::unix::garbage;
use crate::prelude::*;

/// Neither connected nor listening (Linux: `TCP_CLOSE`).
pub const CLOSE: u32 = 7;
/// Connected (Linux: `TCP_ESTABLISHED`).
pub const ESTABLISHED: u32 = 1;
/// Takes connections (Linux: `TCP_LISTEN`).
pub const LISTEN: u32 = 10;

/// /proc/sys/net/unix/max_dgram_qlen.
static MAX_DGRAM_QLEN: AtomicU32 = AtomicU32::new(10);

/// A message, or a piece of a stream, in a receiver's queue.
pub(super) struct Skb {
    /// Bytes.
    pub data: SkBuff,
    /// Files that travel with them.
    pub fds: Option<Box<InFlight>>,
    /// Who sent it, when one of the two ends asked for that.
    pub cred: Option<Ucred>,
    /// Name of the sender of a datagram.
    pub from: Option<Arc<UnixAddr>>,
    /// What it costs its sender.
    pub charge: Charge,
}

/// What waits to be received.
#[derive(Default)]
pub(super) struct Queue {
    pub skbs: VecDeque<Skb>,
    /// Bytes in them.
    pub bytes: usize,
}

/// Who was at the other end when the connection was made.
#[derive(Clone)]
pub(super) struct PeerCred {
    pub ucred: Ucred,
    pub groups: Arc<[u32]>,
}

impl PeerCred {
    fn current() -> Self {
        let mut ucred = current_ucred();
        let mut groups = Arc::from([]);
        if let Some(task) = try_current() {
            let cred = task.cred();
            (ucred.uid, ucred.gid) = (cred.euid, cred.egid);
            groups = cred.groups.clone();
        }
        Self { ucred, groups }
    }
}

#[derive(Default)]
pub(super) struct State {
    /// Where what is sent goes.
    pub peer: Option<Arc<UnixSock>>,
    /// Of a listening socket: who listens.
    pub peer_cred: Option<PeerCred>,
    /// Connections that were made and not accepted yet.
    pub pending: VecDeque<Arc<UnixSock>>,
    /// How many more than that many may wait.
    pub backlog: u32,
}

/// A local socket (Linux: `struct unix_sock`).
pub struct UnixSock {
    pub(super) common: SockCommon,
    pub(super) me: Weak<UnixSock>,
    phase: AtomicU32,
    /// Its file is closed: nothing may be queued any more. Set with `state` held.
    dead: AtomicBool,
    /// Held while the socket gets a name, connects or starts to listen.
    lock: SleepLock,
    /// Held by the one that copies bytes out of the queue or to its last page.
    pub(super) iolock: SleepLock,
    addr: spin::Once<Arc<UnixAddr>>,
    /// The file it is bound to.
    path: SpinLock<Option<Path>>,
    pub(super) state: SpinLock<State>,
    pub(super) queue: SpinLock<Queue>,
    /// Messages that may wait before senders of datagrams have to.
    max_qlen: usize,
    /// Those who wait for room in the queue or the backlog.
    pub(super) peer_wait: WaitQueueHead,
}

impl UnixSock {
    /// An unconnected socket.
    pub fn new(kind: u32, uid: u32) -> Arc<UnixSock> {
        let sock = Arc::new_cyclic(|me| Self {
            common: SockCommon::new(AF_UNIX, kind, 0, uid),
            me: me.clone(),
            phase: AtomicU32::new(CLOSE),
            dead: AtomicBool::new(false),
            lock: SleepLock::new(),
            iolock: SleepLock::new(),
            addr: spin::Once::new(),
            path: SpinLock::new(None),
            state: SpinLock::new(State::default()),
            queue: SpinLock::new(Queue::default()),
            max_qlen: MAX_DGRAM_QLEN.load(Ordering::Relaxed) as usize,
            peer_wait: WaitQueueHead::new(),
        });
        address::enlist(&sock);
        sock
    }

    /// CLOSE, ESTABLISHED or LISTEN.
    #[inline]
    pub fn phase(&self) -> u32 {
        self.phase.load(Ordering::Acquire)
    }
    /// Whether its file is closed.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
    /// The name, if it has one.
    #[inline]
    pub fn addr(&self) -> Option<&Arc<UnixAddr>> {
        self.addr.get()
    }
    /// The socket at the other end.
    #[inline]
    pub(super) fn peer(&self) -> Option<Arc<UnixSock>> {
        self.state.lock().peer.clone()
    }
    pub(super) fn is_connected_to(&self, other: &UnixSock) -> bool {
        let state = self.state.lock();
        state
            .peer
            .as_ref()
            .is_some_and(|peer| core::ptr::eq(&**peer, other))
    }
    pub(super) fn is_connection_based(&self) -> bool {
        self.common.kind != SOCK_DGRAM
    }
    /// Whether senders of datagrams have to wait (Linux: `unix_recvq_full`).
    pub(super) fn is_queue_full(&self) -> bool {
        self.queue.lock().skbs.len() > self.max_qlen
    }

    /// Names the socket after the next free number, if it has no name (Linux: `unix_autobind`).
    pub(super) fn autobind(&self) -> Result {
        let _naming = self.lock.lock();
        self.autobind_locked()
    }
    fn autobind_locked(&self) -> Result {
        if self.addr.get().is_none()
            && let Some(me) = self.me.upgrade()
        {
            let addr = Arc::new(address::claim_any(&me)?);
            self.addr.call_once(|| addr);
        }
        Ok(())
    }

    /// Makes the file that stands for the socket (Linux: `unix_bind_bsd`). Errors: EADDRINUSE.
    fn bind_path(&self, me: &Arc<UnixSock>, name: &[u8]) -> Result<UnixAddr> {
        let env = WalkEnv::current()?;
        let made = do_mknodat(&env, None, name, S_IFSOCK | 0o777, DevT(0));
        let path = made.map_err(|error| match error {
            Errno::EEXIST => Errno::EADDRINUSE,
            error => error,
        })?;
        address::claim_inode(me, path.inode());
        *self.path.lock() = Some(path);
        Ok(UnixAddr::path(name))
    }

    /// Connects two ends; credentials go crosswise.
    fn join(&self, peer: Arc<UnixSock>, cred: Option<PeerCred>) {
        let mut state = self.state.lock();
        state.peer = Some(peer);
        state.peer_cred = cred;
        self.phase.store(ESTABLISHED, Ordering::Release);
    }

    /// Errors: EISCONN, EINVAL while it listens.
    fn check_unconnected(&self) -> Result {
        match self.phase() {
            CLOSE => Ok(()),
            ESTABLISHED => Err(Errno::EISCONN),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Linux: `unix_stream_connect`. Errors: ECONNREFUSED, EAGAIN for a full backlog, EISCONN.
    fn stream_connect(&self, name: &Name<'_>, flags: u32) -> Result {
        let mut patience = self.common.send_patience(flags);
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let embryo = UnixSock::new(self.common.kind, self.common.uid);
        loop {
            let listener = {
                let _connecting = self.lock.lock();
                if self.common.option(SO_PASSCRED) {
                    self.autobind_locked()?;
                }
                let listener = address::find(name, self.common.kind)?;
                if self.join_listener(&me, &listener, &embryo)? {
                    return Ok(());
                }
                listener
            };
            patience.wait(&listener.peer_wait, Turn::Exclusive, || {
                listener.is_dead() || listener.phase() != LISTEN || !listener.is_backlog_full()
            })?;
        }
    }

    fn is_backlog_full(&self) -> bool {
        let state = self.state.lock();
        state.pending.len() > state.backlog as usize
    }

    /// Puts `embryo`, connected to this socket, into the listener's backlog; false when that is
    /// full. Context: `lock` held.
    fn join_listener(
        &self,
        me: &Arc<UnixSock>,
        listener: &UnixSock,
        embryo: &Arc<UnixSock>,
    ) -> Result<bool> {
        self.check_unconnected()?;
        let mut state = listener.state.lock();
        let takes = listener.phase() == LISTEN && !listener.common.is_shut(RCV_SHUTDOWN);
        if listener.is_dead() || !takes {
            return Err(Errno::ECONNREFUSED);
        }
        if state.pending.len() > state.backlog as usize {
            return Ok(false);
        }
        embryo.common.inherit(&listener.common);
        embryo.join(me.clone(), Some(PeerCred::current()));
        if let Some(addr) = listener.addr.get() {
            embryo.addr.call_once(|| addr.clone());
        }
        // Nests inside the listener's lock: this socket is unconnected and stays so while its
        // `lock` is held, so nobody takes the two the other way round.
        self.join(embryo.clone(), state.peer_cred.clone());
        state.pending.push_back(embryo.clone());
        drop(state);
        listener.common.wake_readers();
        Ok(true)
    }

    /// Linux: `unix_dgram_connect`. Errors: ECONNREFUSED, EPERM when the other end has a peer.
    fn dgram_connect(&self, addr: &SockAddr) -> Result {
        let _connecting = self.lock.lock();
        let other = if addr.family() == Some(AF_UNSPEC) {
            None
        } else {
            let name = address::parse(addr)?;
            if self.common.option(SO_PASSCRED) {
                self.autobind_locked()?;
            }
            let other = address::find(&name, self.common.kind)?;
            if other.is_dead() {
                return Err(Errno::ECONNREFUSED);
            }
            if !self.may_send_to(&other) {
                return Err(Errno::EPERM);
            }
            Some(other)
        };
        let old = {
            let mut state = self.state.lock();
            let phase = if other.is_some() { ESTABLISHED } else { CLOSE };
            self.phase.store(phase, Ordering::Release);
            core::mem::replace(&mut state.peer, other.clone())
        };
        if let Some(old) = old
            && !other.is_some_and(|new| Arc::ptr_eq(&new, &old))
        {
            self.dgram_disconnected(&old);
        }
        Ok(())
    }

    /// Linux: `unix_may_send`.
    pub(super) fn may_send_to(&self, other: &UnixSock) -> bool {
        let state = other.state.lock();
        state
            .peer
            .as_ref()
            .is_none_or(|peer| core::ptr::eq(&**peer, self))
    }

    /// What came from the old peer is void (Linux: `unix_dgram_disconnected`).
    pub(super) fn dgram_disconnected(&self, old: &UnixSock) {
        let stale = core::mem::take(&mut *self.queue.lock());
        if !stale.skbs.is_empty() {
            drop(stale);
            self.peer_wait.wake_up_all();
            if !old.is_dead() && old.is_connected_to(self) {
                old.common.set_error(Errno::ECONNRESET);
                old.common.wake_all();
            }
        }
    }

    /// What the peer of a connection sees when this end goes.
    fn hang_up(&self, peer: &UnixSock, had_unread: bool) {
        if self.is_connection_based() {
            if had_unread {
                peer.common.set_error(Errno::ECONNRESET);
            }
            peer.common.shut(RCV_SHUTDOWN | SEND_SHUTDOWN);
            peer.common.wake_all();
        }
    }

    /// Whether somebody may receive something, or accept.
    fn has_input(&self) -> bool {
        if self.phase() == LISTEN {
            return !self.state.lock().pending.is_empty();
        }
        !self.queue.lock().skbs.is_empty()
    }

    /// Whether the peer's full queue keeps a connected sender of datagrams from sending.
    fn is_peer_full(&self, table: Option<&mut PollTable>) -> bool {
        let Some(peer) = self.peer() else {
            return false;
        };
        if peer.is_connected_to(self) {
            return false;
        }
        if let Some(table) = table {
            peer.peer_wait.poll_wait(table);
        }
        peer.is_queue_full()
    }

    /// Closes a connection or the socket (Linux: `unix_release_sock`).
    fn close(&self, was_accepted: bool) {
        let path = self.path.lock().take();
        if let Some(addr) = self.addr.get() {
            address::unclaim(self, addr, path.as_ref().map(|path| path.inode()));
        }
        let (peer, pending) = {
            let mut state = self.state.lock();
            self.dead.store(true, Ordering::Release);
            self.phase.store(CLOSE, Ordering::Release);
            (state.peer.take(), core::mem::take(&mut state.pending))
        };
        self.common.shut(RCV_SHUTDOWN | SEND_SHUTDOWN);
        let unread = core::mem::take(&mut *self.queue.lock());
        if let Some(peer) = peer {
            self.hang_up(&peer, !unread.skbs.is_empty() || !was_accepted);
        }
        self.peer_wait.wake_up_all();
        self.common.wake_all();
        for embryo in pending {
            embryo.close(false);
        }
        drop(unread);
        drop(path);
    }
}

impl Drop for UnixSock {
    fn drop(&mut self) {
        address::delist(self);
    }
}

impl Sock for UnixSock {
    fn common(&self) -> &SockCommon {
        &self.common
    }

    fn bind(&self, addr: &SockAddr) -> Result {
        if address::asks_for_autobind(addr) {
            return self.autobind();
        }
        let name = address::parse(addr)?;
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let _naming = self.lock.lock();
        if self.addr.get().is_some() {
            // A path that exists is the greater mistake, as on Linux.
            let taken = matches!(name, Name::Path(path) if address::exists(path));
            return Err(if taken {
                Errno::EADDRINUSE
            } else {
                Errno::EINVAL
            });
        }
        let addr = match name {
            Name::Path(path) => self.bind_path(&me, path)?,
            Name::Abstract(name) => {
                address::claim_abstract(&me, name)?;
                UnixAddr::abstract_name(name)
            }
        };
        self.addr.call_once(|| Arc::new(addr));
        Ok(())
    }

    fn connect(&self, addr: &SockAddr, flags: u32) -> Result {
        if !self.is_connection_based() {
            return self.dgram_connect(addr);
        }
        self.stream_connect(&address::parse(addr)?, flags)
    }

    fn listen(&self, backlog: u32) -> Result {
        if !self.is_connection_based() {
            return Err(Errno::EOPNOTSUPP);
        }
        let _listening = self.lock.lock();
        if self.addr.get().is_none() {
            return Err(Errno::EINVAL);
        }
        if !matches!(self.phase(), CLOSE | LISTEN) {
            return Err(Errno::EINVAL);
        }
        {
            let mut state = self.state.lock();
            state.backlog = backlog;
            state.peer_cred = Some(PeerCred::current());
            self.phase.store(LISTEN, Ordering::Release);
        }
        self.peer_wait.wake_up_all();
        Ok(())
    }

    fn accept(&self, flags: u32) -> Result<Arc<dyn Sock>> {
        if !self.is_connection_based() {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.phase() != LISTEN {
            return Err(Errno::EINVAL);
        }
        let mut patience = self.common.receive_patience(flags);
        loop {
            if let Some(embryo) = self.state.lock().pending.pop_front() {
                self.peer_wait.wake_up();
                return Ok(embryo);
            }
            if self.common.is_shut(RCV_SHUTDOWN) {
                return Err(Errno::EINVAL);
            }
            patience.wait(&self.common.rwait, Turn::Exclusive, || {
                self.has_input() || self.common.is_shut(RCV_SHUTDOWN)
            })?;
        }
    }

    fn getname(&self, side: Side) -> Result<SockAddr> {
        let name_of = |sock: &UnixSock| {
            sock.addr()
                .map_or_else(address::unnamed, |a| a.to_sockaddr())
        };
        match side {
            Side::Local => Ok(name_of(self)),
            Side::Peer => Ok(name_of(&*self.peer().ok_or(Errno::ENOTCONN)?)),
        }
    }

    fn sendmsg(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        if self.common.kind == SOCK_STREAM {
            self.stream_send(msg)
        } else {
            self.dgram_send(msg)
        }
    }

    fn recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if self.common.kind == SOCK_STREAM {
            self.stream_receive(msg)
        } else {
            self.dgram_receive(msg)
        }
    }

    fn shutdown(&self, how: u32) -> Result {
        self.common.shut(how);
        if self.is_connection_based()
            && let Some(peer) = self.peer()
        {
            let mut other_way = 0;
            if how & RCV_SHUTDOWN != 0 {
                other_way |= SEND_SHUTDOWN;
            }
            if how & SEND_SHUTDOWN != 0 {
                other_way |= RCV_SHUTDOWN;
            }
            peer.common.shut(other_way);
            peer.common.wake_all();
        }
        self.common.wake_all();
        Ok(())
    }

    fn getsockopt(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let cred = self.state.lock().peer_cred.clone();
        match name {
            SO_PEERCRED => {
                let nobody = Ucred {
                    pid: 0,
                    uid: u32::MAX,
                    gid: u32::MAX,
                };
                let mut bytes = vec![0; Ucred::SIZE];
                cred.map_or(nobody, |cred| cred.ucred).write_to(&mut bytes);
                Ok(bytes)
            }
            SO_PEERGROUPS => {
                let groups = cred.ok_or(Errno::ENODATA)?.groups;
                Ok(groups.iter().flat_map(|gid| gid.to_le_bytes()).collect())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn setsockopt(&self, level: i32, _name: i32, _value: &[u8]) -> Result {
        // There are no options of this family's own.
        if level == SOL_SOCKET {
            Ok(())
        } else {
            Err(Errno::EOPNOTSUPP)
        }
    }

    fn poll(&self, mut table: Option<&mut PollTable>) -> u32 {
        let sk = &self.common;
        let key = table.as_deref().map_or(u32::MAX, PollTable::key);
        sk.poll_wait(table.as_deref_mut());
        let phase = self.phase();
        let shutdown = sk.shutdown.load(Ordering::Acquire);
        let mut mask = 0;
        if sk.has_error() {
            mask |= POLLERR;
        }
        if shutdown == RCV_SHUTDOWN | SEND_SHUTDOWN {
            mask |= POLLHUP;
        }
        if shutdown & RCV_SHUTDOWN != 0 {
            mask |= POLLRDHUP | POLLIN | POLLRDNORM;
        }
        if self.has_input() {
            mask |= POLLIN | POLLRDNORM;
        }
        if self.is_connection_based() && phase == CLOSE {
            mask |= POLLHUP;
        }
        let writes = key & (POLLOUT | POLLWRNORM | POLLWRBAND) != 0;
        if writes && phase != LISTEN && sk.wmem.is_writable() {
            let blocked = sk.kind != SOCK_STREAM && self.is_peer_full(table);
            if !blocked {
                mask |= POLLOUT | POLLWRNORM | POLLWRBAND;
            }
        }
        mask
    }

    fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<i64> {
        let value = match cmd {
            SIOCOUTQ | SIOCINQ if self.phase() == LISTEN => return Err(Errno::EINVAL),
            SIOCOUTQ => self.common.wmem.used(),
            SIOCINQ => {
                let queue = self.queue.lock();
                let first = queue.skbs.front().map_or(0, |skb| skb.data.len());
                if self.is_connection_based() {
                    queue.bytes
                } else {
                    first
                }
            }
            _ => return Err(Errno::ENOIOCTLCMD),
        };
        put_user(arg, &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn is_listening(&self) -> bool {
        self.phase() == LISTEN
    }

    fn release(&self) {
        self.close(true);
        garbage::unix_gc();
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// Connects two new sockets of this family (Linux: `unix_socketpair`). Errors: EOPNOTSUPP for
/// other families.
pub fn socketpair(one: &Arc<dyn Sock>, two: &Arc<dyn Sock>) -> Result {
    let unix = |sock: &Arc<dyn Sock>| {
        let sock = sock.as_any().downcast_ref::<UnixSock>()?;
        sock.me.upgrade()
    };
    let (one, two) = unix(one).zip(unix(two)).ok_or(Errno::EOPNOTSUPP)?;
    one.join(two.clone(), Some(PeerCred::current()));
    two.join(one.clone(), Some(PeerCred::current()));
    Ok(())
}

/// Linux: `unix_create`. Errors: EPROTONOSUPPORT, ESOCKTNOSUPPORT.
pub(super) fn unix_create(kind: u32, protocol: i32, cred: &Cred) -> Result<Arc<dyn Sock>> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    // A raw socket of this family is one of datagrams, as in BSD.
    let kind = match kind {
        SOCK_RAW => SOCK_DGRAM,
        SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => kind,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok(UnixSock::new(kind, cred.fsuid))
}

static UNIX_TABLE: [CtlTable; 1] = [CtlTable {
    path: "net/unix/max_dgram_qlen",
    get: || format!("{}", MAX_DGRAM_QLEN.load(Ordering::Relaxed)),
    set: Some(|text| {
        MAX_DGRAM_QLEN.store(parse_number(text, 0, i32::MAX as u32)?, Ordering::Relaxed);
        Ok(())
    }),
}];

/// Linux: `af_unix_init`.
#[__init]
fn af_unix_init() -> Result {
    sock_register(AF_UNIX, unix_create);
    register_sysctl(&UNIX_TABLE);
    pr_info!("NET: Registered PF_UNIX/PF_LOCAL protocol family");
    super::proc::unix_proc_init()
}
// After the other families, as on Linux: their messages keep its order.
fs_initcall_sync!(af_unix_init);
