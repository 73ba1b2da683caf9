//! TCP sockets (Linux: net/ipv4/tcp.c, net/ipv4/af_inet.c).
//!
//! What a call finds out about its connection it finds out under the stack's lock; what it waits
//! for is a change of `changes`, which every wake-up of the stack makes.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use core::task::Waker;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, State};
use uapi::ioctls::{SIOCATMARK, SIOCINQ, SIOCOUTQ};
use uapi::poll::*;
use uapi::socket::*;

use crate::kernel::sched::wait::PollTable;
use crate::mm::UserAddr;
use crate::mm::uaccess::put_user;
use crate::net::core::sock::*;
use crate::net::ipv4::af_inet::{Endpoint, InetSock};
use crate::net::ipv4::devinet;
use crate::net::ipv4::fib::route_output;
use crate::net::ipv4::ports::Transport;
use crate::net::ipv4::tcp_fusion::{self, Fused};
use crate::net::ipv4::tcp_stack::{Direction, Stack, TcpWaker, Way, start_thread, with_stack};
use crate::prelude::*;

/// Options of SOL_TCP that are numbers below this.
pub(super) const NR_OPTIONS: usize = 32;

/// What became of the socket so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing, or everything is over.
    Closed,
    /// connect(2) was called.
    Connecting(SocketHandle),
    /// Connected, or was.
    Open(SocketHandle),
    /// listen(2) was called.
    Listening(u64),
}

/// Changed with the stack locked only.
struct Inner {
    phase: Phase,
    /// connect(2) has returned 0 for this connection.
    connect_reported: bool,
    /// The reset was turned into an error.
    reset_reported: bool,
}

/// A TCP socket (Linux: `struct tcp_sock`).
pub struct TcpSock {
    /// The shared part.
    pub inet: InetSock,
    me: Weak<TcpSock>,
    inner: SpinLock<Inner>,
    /// The short way, for a connection within this machine.
    fused: SpinLock<Option<Fused>>,
    /// How often the stack reported a change.
    changes: AtomicU32,
    /// The changes that were taken note of.
    synced: AtomicU32,
    receive_waker: Waker,
    send_waker: Waker,
    /// Bytes read since the sender was last told of the room.
    pub(super) unannounced: AtomicUsize,
    pub(super) options: [AtomicI32; NR_OPTIONS],
}

static ALL: SpinLock<BTreeMap<usize, Weak<TcpSock>>> = SpinLock::new(BTreeMap::new());

/// Every socket that belongs to a file or a call.
pub(super) fn all() -> Vec<Arc<TcpSock>> {
    ALL.lock().values().filter_map(Weak::upgrade).collect()
}

/// What /proc/net/tcp shows of a socket.
pub(super) struct Row {
    /// Linux's number of the state.
    pub state: u8,
    /// Bytes that wait to be sent or acknowledged.
    pub tx_queue: usize,
    /// Bytes that wait to be read, or connections to be accepted.
    pub rx_queue: usize,
}

/// Linux's number of a state (include/net/tcp_states.h).
fn state_number(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
    }
}

/// An endpoint of the stack as one of ours.
pub(super) fn endpoint(end: smoltcp::wire::IpEndpoint) -> Endpoint {
    let smoltcp::wire::IpAddress::Ipv4(addr) = end.addr;
    Endpoint {
        addr,
        port: end.port,
    }
}

impl TcpSock {
    /// An unconnected socket.
    pub fn new(uid: u32) -> Arc<Self> {
        let sock = Arc::new_cyclic(|me: &Weak<Self>| {
            let waker = |direction| {
                Waker::from(Arc::new(TcpWaker {
                    sock: me.clone(),
                    direction,
                }))
            };
            Self {
                inet: InetSock::new(SOCK_STREAM, IPPROTO_TCP, uid),
                inner: SpinLock::new(Inner {
                    phase: Phase::Closed,
                    connect_reported: false,
                    reset_reported: false,
                }),
                me: me.clone(),
                fused: SpinLock::new(None),
                changes: AtomicU32::new(0),
                synced: AtomicU32::new(0),
                receive_waker: waker(Direction::Receive),
                send_waker: waker(Direction::Send),
                unannounced: AtomicUsize::new(0),
                options: [const { AtomicI32::new(0) }; NR_OPTIONS],
            }
        });
        for (name, value) in [
            (TCP_KEEPIDLE, 7200),
            (TCP_KEEPINTVL, 75),
            (TCP_KEEPCNT, 9),
            (TCP_SYNCNT, 6),
            (TCP_LINGER2, 60),
        ] {
            sock.set_option(name, value);
        }
        ALL.lock()
            .insert(Arc::as_ptr(&sock).addr(), Arc::downgrade(&sock));
        sock
    }

    pub(super) fn sk(&self) -> &SockCommon {
        &self.inet.common
    }
    pub(super) fn phase(&self) -> Phase {
        self.inner.lock().phase
    }
    pub(super) fn set_phase(&self, phase: Phase) {
        self.inner.lock().phase = phase;
    }

    /// The stack says that something changed.
    pub(super) fn notify(&self, direction: Direction) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        match direction {
            Direction::Receive => self.sk().rwait.wake_up_all(),
            Direction::Send => self.sk().wmem.wait.wake_up_all(),
        }
    }

    /// Asks to hear of the next change.
    pub(super) fn arm(&self, stack: &mut Stack, handle: SocketHandle) {
        let socket = stack.socket(handle);
        socket.register_recv_waker(&self.receive_waker);
        socket.register_send_waker(&self.send_waker);
    }

    /// Takes note of what happened to the connection since the last call.
    pub(super) fn sync(&self, stack: &mut Stack) -> Phase {
        let phase = self.phase();
        match phase {
            Phase::Connecting(handle) => match stack.socket(handle).state() {
                State::SynSent | State::SynReceived => {}
                State::Closed => {
                    stack.free(handle);
                    self.unfuse();
                    self.inet.ends.lock().remote = None;
                    self.sk().set_error(Errno::ECONNREFUSED);
                    self.set_phase(Phase::Closed);
                }
                _ => {
                    stack.connected(handle);
                    self.set_phase(Phase::Open(handle));
                }
            },
            Phase::Open(handle) => {
                let socket = stack.socket(handle);
                let state = socket.state();
                let reset = state == State::Closed
                    && matches!(socket.peek(0), Err(RecvError::InvalidState));
                if peer_has_ended(state) {
                    self.sk().shut(RCV_SHUTDOWN);
                }
                let mut inner = self.inner.lock();
                if reset && !inner.reset_reported {
                    inner.reset_reported = true;
                    self.sk().set_error(Errno::ECONNRESET);
                    self.sk().shut(RCV_SHUTDOWN | SEND_SHUTDOWN);
                }
            }
            Phase::Closed | Phase::Listening(_) => {}
        }
        self.phase()
    }

    /// `sync`, if there was a change since the last time.
    pub(super) fn settle(&self) {
        let seen = self.seen();
        if self.synced.load(Ordering::Acquire) == seen {
            return;
        }
        with_stack(|stack| match self.sync(stack) {
            Phase::Connecting(handle) | Phase::Open(handle) => self.arm(stack, handle),
            Phase::Closed | Phase::Listening(_) => {}
        });
        self.synced.store(seen, Ordering::Release);
    }

    /// The short way of this connection, once it is connected.
    #[inline]
    pub(super) fn fused(&self) -> Option<Fused> {
        let fused = self.fused.lock().clone()?;
        self.settle();
        matches!(self.phase(), Phase::Open(_)).then_some(fused)
    }

    /// The connection ends before it is accepted, or was never made: its bytes are lost.
    fn unfuse(&self) {
        if self.fused.lock().is_some()
            && let (local, Some(remote)) = self.inet.names()
        {
            tcp_fusion::give_up(local, remote);
        }
    }

    /// Sleeps until the stack reports a change since `seen`.
    pub(super) fn wait_change(
        &self,
        patience: &mut Patience,
        direction: Direction,
        seen: u32,
    ) -> Result {
        let queue = match direction {
            Direction::Receive => &self.sk().rwait,
            Direction::Send => &self.sk().wmem.wait,
        };
        patience.wait(queue, Turn::Shared, || {
            self.changes.load(Ordering::Acquire) != seen
        })
    }
    pub(super) fn seen(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Starts a connection. Context: stack locked.
    fn start_connect(&self, stack: &mut Stack, mut remote: Endpoint) -> Result {
        if remote.addr.is_unspecified() {
            remote.addr = Ipv4Addr::LOCALHOST;
        }
        let source = route_output(remote.addr)?.source();
        self.inet.autobind(Transport::Tcp)?;
        let mut local = self.inet.names().0;
        if local.addr.is_unspecified() {
            local.addr = source;
        }
        stack.add_address(local.addr)?;
        if devinet::is_local(remote.addr) {
            stack.add_address(remote.addr)?;
        }
        let way = Way::from(remote.addr);
        let handle = stack.connect((local.addr, local.port), (remote.addr, remote.port), way)?;
        {
            let mut ends = self.inet.ends.lock();
            ends.local = local;
            ends.remote = Some(remote);
        }
        let fused = (way == Way::Short).then(|| tcp_fusion::start(self.me.clone(), local, remote));
        *self.fused.lock() = fused;
        {
            let mut inner = self.inner.lock();
            inner.phase = Phase::Connecting(handle);
            inner.connect_reported = false;
            inner.reset_reported = false;
        }
        self.sk().shutdown.store(0, Ordering::Release);
        self.apply_keepalive(stack, handle);
        self.arm(stack, handle);
        stack.pump();
        Ok(())
    }

    /// Ends the association (connect(2) with AF_UNSPEC; Linux: `tcp_disconnect`).
    fn disconnect(&self) {
        with_stack(|stack| {
            match self.phase() {
                Phase::Connecting(handle) | Phase::Open(handle) => {
                    self.unfuse();
                    stack.abort(handle);
                    stack.pump();
                }
                Phase::Listening(id) => stack.unlisten(id),
                Phase::Closed => {}
            }
            self.set_phase(Phase::Closed);
        });
        let fused = self.fused.lock().take();
        if let Some(fused) = fused {
            fused.incoming().close();
        }
        self.inet.ends.lock().remote = None;
    }

    /// Linux: `__inet_stream_connect`, one look. `Ok(true)`: connected.
    fn try_connect(&self, stack: &mut Stack, remote: Endpoint, first: bool) -> Result<bool> {
        match self.sync(stack) {
            Phase::Closed if first => {
                self.start_connect(stack, remote)?;
                Ok(false)
            }
            Phase::Closed => {
                self.sk().check_error()?;
                Err(Errno::ECONNABORTED)
            }
            Phase::Connecting(handle) => {
                self.arm(stack, handle);
                Ok(false)
            }
            Phase::Open(_) => {
                let mut inner = self.inner.lock();
                if core::mem::replace(&mut inner.connect_reported, true) {
                    return Err(Errno::EISCONN);
                }
                Ok(true)
            }
            Phase::Listening(_) => Err(Errno::EISCONN),
        }
    }

    /// What /proc/net/tcp shows.
    pub(super) fn row(&self) -> Row {
        with_stack(|stack| match self.sync(stack) {
            Phase::Closed => Row {
                state: 7,
                tx_queue: 0,
                rx_queue: 0,
            },
            Phase::Listening(id) => Row {
                state: 10,
                tx_queue: 0,
                rx_queue: usize::from(stack.can_accept(id)),
            },
            Phase::Connecting(handle) | Phase::Open(handle) => {
                let socket = stack.socket(handle);
                let fused = self.fused.lock();
                let (tx, rx) = fused.as_ref().map_or((0, 0), |fused| {
                    (fused.outgoing().len(), fused.incoming().len())
                });
                Row {
                    state: state_number(socket.state()),
                    tx_queue: socket.send_queue() + tx,
                    rx_queue: socket.recv_queue() + rx,
                }
            }
        })
    }

    /// A socket for a connection that was accepted from this one.
    fn accepted(&self, stack: &mut Stack, handle: SocketHandle) -> Arc<TcpSock> {
        let sock = TcpSock::new(self.sk().uid);
        sock.sk().inherit(self.sk());
        for (to, from) in sock.options.iter().zip(&self.options) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        {
            let socket = stack.socket(handle);
            let mut ends = sock.inet.ends.lock();
            ends.local = socket.local_endpoint().map_or(Endpoint::NONE, endpoint);
            ends.remote = socket.remote_endpoint().map(endpoint);
            if let Some(client) = ends.remote {
                let fused = tcp_fusion::accept(sock.me.clone(), client, ends.local);
                *sock.fused.lock() = fused;
            }
        }
        {
            let mut inner = sock.inner.lock();
            inner.phase = Phase::Open(handle);
            inner.connect_reported = true;
        }
        sock.apply_keepalive(stack, handle);
        sock.arm(stack, handle);
        // The other end may have ended its stream already.
        sock.sync(stack);
        sock
    }

    /// POLL* of a connection (Linux: `tcp_poll`).
    fn poll_open(&self, stack: &mut Stack, handle: SocketHandle) -> u32 {
        self.arm(stack, handle);
        let shutdown = self.sk().shutdown.load(Ordering::Acquire);
        let socket = stack.socket(handle);
        let state = socket.state();
        let mut mask = 0;
        let peer_ended = peer_has_ended(state);
        if socket.can_recv() {
            mask |= POLLIN | POLLRDNORM;
        }
        if peer_ended || shutdown & RCV_SHUTDOWN != 0 {
            mask |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if state == State::Closed || shutdown == RCV_SHUTDOWN | SEND_SHUTDOWN {
            mask |= POLLHUP;
        }
        // Enough room to be worth a call; writing after the end fails at once.
        let room = socket.send_capacity() - socket.send_queue();
        if shutdown & SEND_SHUTDOWN != 0 || !socket.may_send() || room >= socket.send_capacity() / 3
        {
            mask |= POLLOUT | POLLWRNORM;
        }
        mask
    }
}

/// Whether the other end has ended its stream.
fn peer_has_ended(state: State) -> bool {
    !matches!(
        state,
        State::Established
            | State::FinWait1
            | State::FinWait2
            | State::SynReceived
            | State::SynSent
    )
}

/// POLL* of a connection within this machine.
fn poll_fused(sk: &SockCommon, fused: &Fused) -> u32 {
    let shutdown = sk.shutdown.load(Ordering::Acquire);
    let mut mask = 0;
    if !fused.incoming().is_empty() {
        mask |= POLLIN | POLLRDNORM;
    }
    if shutdown & RCV_SHUTDOWN != 0 {
        mask |= POLLIN | POLLRDNORM | POLLRDHUP;
    }
    if shutdown == RCV_SHUTDOWN | SEND_SHUTDOWN {
        mask |= POLLHUP;
    }
    if shutdown & SEND_SHUTDOWN != 0 || sk.wmem.is_writable() {
        mask |= POLLOUT | POLLWRNORM;
    }
    mask
}

impl Drop for TcpSock {
    fn drop(&mut self) {
        ALL.lock().remove(&core::ptr::from_ref(self).addr());
    }
}

impl Sock for TcpSock {
    fn common(&self) -> &SockCommon {
        self.sk()
    }

    fn bind(&self, addr: &SockAddr) -> Result {
        if self.phase() != Phase::Closed {
            return Err(Errno::EINVAL);
        }
        self.inet.bind(Transport::Tcp, addr)
    }

    fn connect(&self, addr: &SockAddr, flags: u32) -> Result {
        if addr.family() == Some(AF_UNSPEC) {
            self.disconnect();
            return Ok(());
        }
        let remote = Endpoint::parse(addr)?;
        start_thread()?;
        let mut patience = self.sk().send_patience(flags);
        let was_connecting = matches!(self.phase(), Phase::Connecting(_));
        let mut first = true;
        loop {
            let seen = self.seen();
            // The first look starts the connection, which is complete at once on this machine;
            // a caller that does not wait learns that from its next call, as on Linux.
            if with_stack(|stack| self.try_connect(stack, remote, first))? {
                return Ok(());
            }
            if patience.is_none() {
                with_stack(|stack| self.sync(stack));
                return Err(if was_connecting {
                    Errno::EALREADY
                } else {
                    Errno::EINPROGRESS
                });
            }
            if core::mem::replace(&mut first, false) {
                continue;
            }
            match self.wait_change(&mut patience, Direction::Receive, seen) {
                Err(Errno::EAGAIN) => return Err(Errno::EINPROGRESS),
                other => other?,
            }
        }
    }

    fn listen(&self, backlog: u32) -> Result {
        start_thread()?;
        let backlog = backlog as usize;
        with_stack(|stack| match self.sync(stack) {
            Phase::Listening(id) => {
                stack.set_backlog(id, backlog);
                Ok(())
            }
            Phase::Closed => {
                self.inet.autobind(Transport::Tcp)?;
                let local = {
                    let ends = self.inet.ends.lock();
                    if let Some(port) = &ends.port {
                        port.listen()?;
                    }
                    ends.local
                };
                let addr = (!local.addr.is_unspecified()).then_some(local.addr);
                if let Some(addr) = addr {
                    stack.add_address(addr)?;
                }
                let waker = self.receive_waker.clone();
                let id = stack.listen(addr, local.port, backlog, waker);
                self.sk().shutdown.store(0, Ordering::Release);
                self.set_phase(Phase::Listening(id));
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        })
    }

    fn accept(&self, flags: u32) -> Result<Arc<dyn Sock>> {
        let mut patience = self.sk().receive_patience(flags);
        loop {
            let seen = self.seen();
            let accepted = with_stack(|stack| match self.phase() {
                Phase::Listening(id) => {
                    let handle = stack.accept(id);
                    if handle.is_none() {
                        stack.can_accept(id);
                    }
                    Ok(handle.map(|handle| self.accepted(stack, handle)))
                }
                _ => Err(Errno::EINVAL),
            })?;
            if let Some(sock) = accepted {
                return Ok(sock);
            }
            self.wait_change(&mut patience, Direction::Receive, seen)?;
        }
    }

    fn getname(&self, side: Side) -> Result<SockAddr> {
        if side == Side::Peer {
            let phase = with_stack(|stack| self.sync(stack));
            if !matches!(phase, Phase::Open(_)) {
                return Err(Errno::ENOTCONN);
            }
        }
        self.inet.getname(side)
    }

    fn sendmsg(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        self.tcp_sendmsg(msg)
    }

    fn recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        self.tcp_recvmsg(msg)
    }

    fn shutdown(&self, how: u32) -> Result {
        with_stack(|stack| match self.sync(stack) {
            Phase::Open(handle) => {
                self.sk().shut(how);
                if how & SEND_SHUTDOWN != 0 {
                    stack.socket(handle).close();
                    stack.pump();
                }
                Ok(())
            }
            Phase::Listening(id) if how & RCV_SHUTDOWN != 0 => {
                stack.unlisten(id);
                self.set_phase(Phase::Closed);
                Ok(())
            }
            Phase::Listening(_) => Ok(()),
            Phase::Closed | Phase::Connecting(_) => Err(Errno::ENOTCONN),
        })?;
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.sk().wake_all();
        Ok(())
    }

    fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> Result {
        self.set_tcp_option(level, name, value)
    }

    fn getsockopt(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        self.get_tcp_option(level, name)
    }

    fn refresh(&self) {
        with_stack(|stack| self.sync(stack));
    }

    fn poll(&self, table: Option<&mut PollTable>) -> u32 {
        self.sk().poll_wait(table);
        let fused = self.fused();
        if let Some(fused) = &fused {
            let mask = poll_fused(self.sk(), fused);
            return if self.sk().has_error() {
                mask | POLLERR
            } else {
                mask
            };
        }
        let mask = with_stack(|stack| match self.sync(stack) {
            Phase::Closed => POLLOUT | POLLWRNORM | POLLHUP,
            Phase::Listening(id) if stack.can_accept(id) => POLLIN | POLLRDNORM,
            Phase::Listening(_) => 0,
            Phase::Connecting(handle) => {
                self.arm(stack, handle);
                0
            }
            Phase::Open(handle) => self.poll_open(stack, handle),
        });
        if self.sk().has_error() {
            mask | POLLERR
        } else {
            mask
        }
    }

    fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<i64> {
        let row = match cmd {
            SIOCINQ | SIOCOUTQ | SIOCATMARK => self.row(),
            _ => return Err(Errno::ENOIOCTLCMD),
        };
        let value = match cmd {
            SIOCATMARK => 0,
            _ if row.state == state_number(State::Listen) => return Err(Errno::EINVAL),
            SIOCINQ => row.rx_queue,
            _ => row.tx_queue,
        };
        put_user(arg, &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn is_listening(&self) -> bool {
        matches!(self.phase(), Phase::Listening(_))
    }

    fn release(&self) {
        let fused = self.fused.lock().clone();
        let unread = fused.as_ref().is_some_and(|fused| fused.incoming().close());
        if self.phase() != Phase::Closed {
            with_stack(|stack| {
                match self.phase() {
                    Phase::Connecting(handle) => {
                        self.unfuse();
                        stack.abort(handle);
                    }
                    Phase::Open(handle) => {
                        let sk = self.sk();
                        let hard = sk.option(SO_LINGER) && sk.linger.load(Ordering::Relaxed) == 0;
                        // Bytes that nobody read: the other end is to know that.
                        if hard || unread || stack.socket(handle).recv_queue() > 0 {
                            self.unfuse();
                            stack.abort(handle);
                        } else {
                            stack.close(handle);
                        }
                    }
                    Phase::Listening(id) => stack.unlisten(id),
                    Phase::Closed => {}
                }
                self.set_phase(Phase::Closed);
                stack.pump();
            });
        }
        drop(self.fused.lock().take());
        self.inet.ends.lock().port = None;
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}
