//! The TCP state machines of this machine and the loopback queue between them. The machines are
//! those of the crate `smoltcp`; this file drives them (Linux: net/ipv4/tcp_input.c,
//! net/ipv4/tcp_output.c, drivers/net/loopback.c, the NAPI thread of net/core/dev.c).
//!
//! One sleeping lock guards everything. Whoever changes something calls `pump`, which moves
//! packets until none is left, so a loopback connection never waits for anybody else; only
//! timers (delayed acknowledgements, retransmission) need the thread. Wake-ups are noted under
//! the lock and done after it is free again, so that a woken task does not run into it.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::task::Wake;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::Waker;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpListenEndpoint};

use crate::kernel::kthread::kthread_run;
use crate::kernel::locking::Mutex;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::time::ktime_get;
use crate::mm::util::get_random_u64;
use crate::net::core::dev::LOOPBACK;
use crate::net::ipv4::af_inet::Endpoint;
use crate::net::ipv4::tcp::{TcpSock, endpoint};
use crate::net::ipv4::{devinet, tcp_fusion};
use crate::prelude::*;

/// Greatest packet of a connection. Four of them fill a buffer, so that a sender of bulk gets an
/// acknowledgement, which comes with every second packet, before it has to wait.
const PACKET_MAX: usize = 16384 + 40;
/// Smallest packet that IPv4 allows an interface.
const PACKET_MIN: usize = 576;
/// Bytes of a connection's buffer in each direction.
pub const BUFFER_SIZE: usize = 65536;
/// The same for a connection whose bytes take the short way: only its packets count.
const SMALL_BUFFER_SIZE: usize = 256;
/// How long an acknowledgement waits for data to travel with.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// How long a peer may stay silent (Linux: tcp_retries2, some 15 minutes).
const USER_TIMEOUT: Duration = Duration::from_secs(924);
/// How long a connection may take to come about (Linux: tcp_syn_retries, about two minutes).
const SYN_TIMEOUT: Duration = Duration::from_secs(127);
/// Sockets and packet buffers that are kept for reuse.
const IDLE_MAX: usize = 8;

/// Greatest packet now: SIOCSIFMTU may make it smaller.
static MTU: AtomicUsize = AtomicUsize::new(PACKET_MAX);

/// The interface takes packets of up to `mtu` bytes; connections made from now on keep to it.
pub fn mtu_changed(mtu: usize) {
    MTU.store(mtu.clamp(PACKET_MIN, PACKET_MAX), Ordering::Relaxed);
}

/// Buffers of packets that were received.
static PACKET_POOL: SpinLock<Vec<Box<[u8]>>> = SpinLock::new(Vec::new());

/// A packet in the loopback queue.
struct Packet {
    bytes: Box<[u8]>,
    len: usize,
}

impl Packet {
    fn new(len: usize) -> Self {
        let pooled = PACKET_POOL.lock().pop();
        let bytes = pooled.unwrap_or_else(|| vec![0; PACKET_MAX].into());
        Self { bytes, len }
    }
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let bytes = core::mem::take(&mut self.bytes);
        let mut pool = PACKET_POOL.lock();
        if bytes.len() == PACKET_MAX && pool.len() < IDLE_MAX {
            pool.push(bytes);
        }
    }
}

/// What goes out of the loopback interface comes in again.
struct Loopback {
    queue: VecDeque<Packet>,
}

struct RxToken(Packet);
struct TxToken<'a>(&'a mut Loopback);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0.as_bytes())
    }
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = Packet::new(len);
        let bytes = &mut packet.bytes;
        let room = len.min(bytes.len());
        let result = f(&mut bytes[..room]);
        LOOPBACK.count(len);
        self.0.queue.push_back(packet);
        result
    }
}

impl Device for Loopback {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let packet = self.queue.pop_front()?;
        Some((RxToken(packet), TxToken(self)))
    }
    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(self))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::ignored();
        checksum.ipv4 = Checksum::None;
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = MTU.load(Ordering::Relaxed);
        caps.checksum = checksum;
        caps
    }
}

impl Loopback {
    /// Sender and destination of the first packet, if it asks for a connection.
    fn first_is_syn(&self) -> Option<(Ipv4Addr, Ipv4Addr, u16)> {
        const FLAGS: usize = 20 + 13;
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let bytes = self.queue.front()?.as_bytes();
        if bytes.get(FLAGS)? & (SYN | ACK) != SYN {
            return None;
        }
        let from: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
        let addr: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
        let port: [u8; 2] = bytes.get(22..24)?.try_into().ok()?;
        Some((from.into(), addr.into(), u16::from_be_bytes(port)))
    }
}

/// Which direction a wake-up is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// There is something to receive, or to accept, or the state changed.
    Receive,
    /// There is room to send, or the state changed.
    Send,
}

/// How the bytes of a connection travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From queue to queue (`tcp_fusion.rs`).
    Short,
    /// In packets.
    Packets,
}

/// Tests send everything in packets with this.
#[cfg(test)]
pub(super) static PACKETS_ONLY: core::sync::atomic::AtomicBool =
    core::sync::atomic::AtomicBool::new(false);

impl Way {
    /// The way to or from an address of the other end.
    pub fn from(addr: Ipv4Addr) -> Self {
        #[cfg(test)]
        if PACKETS_ONLY.load(Ordering::Relaxed) {
            return Way::Packets;
        }
        if devinet::is_local(addr) {
            Way::Short
        } else {
            Way::Packets
        }
    }
    fn buffer_size(self) -> usize {
        match self {
            Way::Short => SMALL_BUFFER_SIZE,
            Way::Packets => BUFFER_SIZE,
        }
    }
}

/// What a state machine calls when something changes for a socket.
pub struct TcpWaker {
    /// The socket.
    pub sock: Weak<TcpSock>,
    /// What for.
    pub direction: Direction,
}

/// Wake-ups to be done when the stack is unlocked.
static WOKEN: SpinLock<Vec<Arc<TcpWaker>>> = SpinLock::new(Vec::new());

impl Wake for TcpWaker {
    fn wake(self: Arc<Self>) {
        WOKEN.lock().push(self);
    }
}

fn flush_wakes() {
    loop {
        let Some(waker) = WOKEN.lock().pop() else {
            return;
        };
        if let Some(sock) = waker.sock.upgrade() {
            sock.notify(waker.direction);
        }
    }
}

/// Somebody who takes connections.
struct Listener {
    id: u64,
    endpoint: IpListenEndpoint,
    /// The machine that takes the next one; `None` while the backlog is full.
    next: Option<SocketHandle>,
    /// Connections that were asked for and not accepted yet.
    pending: VecDeque<SocketHandle>,
    backlog: usize,
    waker: Waker,
}

impl Listener {
    fn hears(&self, addr: Ipv4Addr, port: u16) -> bool {
        let addr_fits = self
            .endpoint
            .addr
            .is_none_or(|own| own == IpAddress::Ipv4(addr));
        self.endpoint.port == port && addr_fits
    }
}

/// All connections of this machine.
pub struct Stack {
    iface: Interface,
    device: Loopback,
    sockets: SocketSet<'static>,
    listeners: Vec<Listener>,
    /// Connections that no socket belongs to any more.
    orphans: Vec<SocketHandle>,
    idle: Vec<tcp::Socket<'static>>,
    next_id: u64,
}

static STACK: Mutex<Option<Box<Stack>>> = Mutex::new(None);
/// When the thread looks at the timers next, ns of the monotonic clock.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);
static THREAD_WAIT: WaitQueueHead = WaitQueueHead::new();

fn now() -> Instant {
    Instant::from_micros(i64::try_from(ktime_get() / 1000).unwrap_or(i64::MAX))
}

/// Runs `f` with the stack locked, then does the wake-ups. May sleep.
pub fn with_stack<R>(f: impl FnOnce(&mut Stack) -> R) -> R {
    let result = {
        let mut stack = STACK.lock();
        f(stack.get_or_insert_with(Stack::new))
    };
    flush_wakes();
    result
}

/// Serves the timers of connections, as the thread of a NAPI instance does.
fn napi_thread() -> i32 {
    loop {
        let armed = DEADLINE.load(Ordering::Acquire);
        let earlier = || DEADLINE.load(Ordering::Acquire) < armed;
        let left = armed.saturating_sub(ktime_get());
        let woken = if armed == u64::MAX {
            THREAD_WAIT.wait_event_interruptible(earlier).map(|()| true)
        } else {
            THREAD_WAIT.wait_event_interruptible_timeout(left, earlier)
        };
        if woken == Ok(false) {
            DEADLINE.store(u64::MAX, Ordering::Release);
            with_stack(Stack::pump);
        }
    }
}

/// Starts the thread with the first socket. Errors: ENOMEM, EAGAIN.
pub fn start_thread() -> Result {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock();
    if !*started && cfg!(not(test)) {
        kthread_run("napi/lo-0", napi_thread)?;
    }
    *started = true;
    Ok(())
}

impl Stack {
    fn new() -> Box<Self> {
        let mut device = Loopback {
            queue: VecDeque::new(),
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = get_random_u64();
        let iface = Interface::new(config, &mut device, now());
        Box::new(Self {
            iface,
            device,
            sockets: SocketSet::new(Vec::new()),
            listeners: Vec::new(),
            orphans: Vec::new(),
            idle: Vec::new(),
            next_id: 1,
        })
    }

    /// The machine behind a handle.
    pub fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Makes packets to and from a local address pass. Errors: EADDRNOTAVAIL when there are too
    /// many different ones.
    pub fn add_address(&mut self, addr: Ipv4Addr) -> Result {
        let wanted = IpCidr::new(IpAddress::Ipv4(addr), 8);
        let mut fits = true;
        self.iface.update_ip_addrs(|addrs| {
            let known = addrs.iter().any(|cidr| cidr.address() == wanted.address());
            fits = known || addrs.push(wanted).is_ok();
        });
        if fits {
            Ok(())
        } else {
            Err(Errno::EADDRNOTAVAIL)
        }
    }

    /// A closed machine. Errors: ENOMEM.
    fn new_socket(&mut self, buffer_size: usize) -> Result<SocketHandle> {
        let fits = |socket: &tcp::Socket<'_>| socket.recv_capacity() == buffer_size;
        let mut socket = match self.idle.iter().position(fits) {
            Some(index) => self.idle.swap_remove(index),
            None => tcp::Socket::new(buffer(buffer_size)?, buffer(buffer_size)?),
        };
        socket.set_ack_delay(Some(ACK_DELAY));
        // Nothing is gained by waiting for more on a wire without length.
        socket.set_nagle_enabled(false);
        socket.set_keep_alive(None);
        socket.set_hop_limit(None);
        Ok(self.sockets.add(socket))
    }

    /// A machine is no longer needed.
    pub fn free(&mut self, handle: SocketHandle) {
        let smoltcp::socket::Socket::Tcp(mut socket) = self.sockets.remove(handle);
        socket.abort();
        if self.idle.len() < IDLE_MAX {
            self.idle.push(socket);
        }
    }

    /// Starts to connect. Errors: ENOMEM, EADDRNOTAVAIL.
    pub fn connect(
        &mut self,
        local: (Ipv4Addr, u16),
        remote: (Ipv4Addr, u16),
        way: Way,
    ) -> Result<SocketHandle> {
        let handle = self.new_socket(way.buffer_size())?;
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket.set_timeout(Some(SYN_TIMEOUT));
        let started = socket.connect(self.iface.context(), remote, local);
        if started.is_err() {
            self.free(handle);
            return Err(Errno::EADDRNOTAVAIL);
        }
        Ok(handle)
    }

    /// The connection came about.
    pub fn connected(&mut self, handle: SocketHandle) {
        self.socket(handle).set_timeout(Some(USER_TIMEOUT));
    }

    /// Starts to take connections; returns the listener's number.
    pub fn listen(
        &mut self,
        addr: Option<Ipv4Addr>,
        port: u16,
        backlog: usize,
        waker: Waker,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.listeners.push(Listener {
            id,
            endpoint: IpListenEndpoint {
                addr: addr.map(IpAddress::Ipv4),
                port,
            },
            next: None,
            pending: VecDeque::new(),
            backlog,
            waker,
        });
        id
    }

    /// Changes the backlog.
    pub fn set_backlog(&mut self, id: u64, backlog: usize) {
        if let Some(listener) = self.listeners.iter_mut().find(|listener| listener.id == id) {
            listener.backlog = backlog;
        }
    }

    /// Gives a listener a machine for the next connection, if it has room for one.
    fn refill(&mut self, index: usize, way: Way) -> Result {
        let Some(listener) = self.listeners.get(index) else {
            return Ok(());
        };
        if listener.next.is_some() || listener.pending.len() > listener.backlog {
            return Ok(());
        }
        let endpoint = listener.endpoint;
        let handle = self.new_socket(way.buffer_size())?;
        let socket = self.socket(handle);
        socket.set_timeout(Some(USER_TIMEOUT));
        if socket.listen(endpoint).is_err() {
            self.free(handle);
            return Err(Errno::EINVAL);
        }
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.next = Some(handle);
        }
        Ok(())
    }

    /// Stops to listen; connections that wait are reset.
    pub fn unlisten(&mut self, id: u64) {
        let Some(index) = self.listeners.iter().position(|listener| listener.id == id) else {
            return;
        };
        let listener = self.listeners.swap_remove(index);
        if let Some(handle) = listener.next {
            self.free(handle);
        }
        for handle in listener.pending {
            let socket = self.socket(handle);
            let ends = socket.remote_endpoint().zip(socket.local_endpoint());
            if let Some((client, server)) = ends {
                let (client, server): (Endpoint, Endpoint) = (endpoint(client), endpoint(server));
                tcp_fusion::give_up(client, server);
            }
            self.abort(handle);
        }
        self.pump();
    }

    /// A connection that is complete (Linux: `inet_csk_accept`). Those that were reset go.
    pub fn accept(&mut self, id: u64) -> Option<SocketHandle> {
        let index = self
            .listeners
            .iter()
            .position(|listener| listener.id == id)?;
        let mut found = None;
        let pending = core::mem::take(&mut self.listeners.get_mut(index)?.pending);
        let mut left = VecDeque::new();
        for handle in pending {
            match self.socket(handle).state() {
                tcp::State::Listen | tcp::State::Closed => self.free(handle),
                tcp::State::SynReceived => left.push_back(handle),
                _ if found.is_none() => found = Some(handle),
                _ => left.push_back(handle),
            }
        }
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.pending = left;
        }
        found
    }

    /// Whether a connection is complete; the listener hears of the next one otherwise.
    pub fn can_accept(&mut self, id: u64) -> bool {
        let Some(listener) = self.listeners.iter().find(|listener| listener.id == id) else {
            return false;
        };
        let sockets = &mut self.sockets;
        listener.pending.iter().any(|&handle| {
            let socket = sockets.get_mut::<tcp::Socket>(handle);
            socket.register_recv_waker(&listener.waker);
            !matches!(
                socket.state(),
                tcp::State::Listen | tcp::State::Closed | tcp::State::SynReceived
            )
        })
    }

    /// Closes a connection in good order; it lives on without a socket.
    pub fn close(&mut self, handle: SocketHandle) {
        self.socket(handle).close();
        self.orphans.push(handle);
    }

    /// Resets a connection.
    pub fn abort(&mut self, handle: SocketHandle) {
        self.socket(handle).abort();
        self.orphans.push(handle);
    }

    /// Connections without sockets, for /proc/net/sockstat.
    pub fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// Moves packets until none is left, ends orphans, sees to the timers.
    pub fn pump(&mut self) {
        let now = now();
        loop {
            while self.ingress(now) || self.egress(now) {}
            if !self.reap() {
                break;
            }
        }
        let at = self.iface.poll_at(now, &self.sockets);
        let at = at.map_or(u64::MAX, |at| {
            (at.total_micros().max(0) as u64).saturating_mul(1000)
        });
        if at < DEADLINE.load(Ordering::Relaxed) {
            DEADLINE.store(at, Ordering::Release);
            THREAD_WAIT.wake_up();
        }
    }

    fn egress(&mut self, now: Instant) -> bool {
        let result = self
            .iface
            .poll_egress(now, &mut self.device, &mut self.sockets);
        result == PollResult::SocketStateChanged || !self.device.queue.is_empty()
    }

    /// Takes in all packets of the queue; false when there was none.
    fn ingress(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let syn = self.device.first_is_syn();
            if let Some((from, addr, port)) = syn
                && !self.prepare_listeners(addr, port, Way::from(from))
            {
                // The backlog is full: the request is not heard, and comes again.
                self.device.queue.pop_front();
                any = true;
                continue;
            }
            let result = self
                .iface
                .poll_ingress_single(now, &mut self.device, &mut self.sockets);
            if result == PollIngressSingleResult::None {
                return any;
            }
            any = true;
            if syn.is_some() {
                self.collect_requests();
            }
        }
    }

    /// Before a request for a connection: whether somebody can take it, or nobody wants to.
    fn prepare_listeners(&mut self, addr: Ipv4Addr, port: u16, way: Way) -> bool {
        let mut heard = false;
        for index in 0..self.listeners.len() {
            if !self.listeners[index].hears(addr, port) {
                continue;
            }
            heard = true;
            // Without memory the request is not heard, and comes again.
            let _ = self.refill(index, way);
            if self.listeners[index].next.is_some() {
                return true;
            }
        }
        !heard
    }

    /// After a request: the machine that took it belongs to the backlog now.
    fn collect_requests(&mut self) {
        for index in 0..self.listeners.len() {
            let Some(handle) = self.listeners[index].next else {
                continue;
            };
            let socket = self.sockets.get_mut::<tcp::Socket>(handle);
            if socket.state() == tcp::State::Listen {
                continue;
            }
            let listener = &mut self.listeners[index];
            socket.register_recv_waker(&listener.waker);
            listener.next = None;
            listener.pending.push_back(handle);
        }
    }

    /// Ends orphans that are through; whether one of them has something to send.
    fn reap(&mut self) -> bool {
        let mut again = false;
        let orphans = core::mem::take(&mut self.orphans);
        for handle in orphans {
            let socket = self.sockets.get_mut::<tcp::Socket>(handle);
            match socket.state() {
                tcp::State::Closed | tcp::State::TimeWait => self.free(handle),
                _ => {
                    // Nobody will read that: the sender is told so.
                    if socket.recv_queue() > 0 {
                        socket.abort();
                        again = true;
                    }
                    self.orphans.push(handle);
                }
            }
        }
        again
    }
}

/// A buffer of a connection. Errors: ENOMEM.
fn buffer(size: usize) -> Result<tcp::SocketBuffer<'static>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(size, 0);
    Ok(tcp::SocketBuffer::new(bytes))
}
