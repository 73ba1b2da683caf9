//! The part that all sockets share (Linux: net/core/sock.c, include/net/sock.h).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use uapi::capability::CAP_NET_ADMIN;
use uapi::poll::*;
use uapi::socket::*;

use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::kernel::time::ktime_get;
use crate::mm::UserAddr;
use crate::mm::uaccess::{IovIter, copy_from_user, copy_to_user, get_user, put_user};
use crate::net::core::scm::{ScmIn, ScmOut};
use crate::prelude::*;

/// /proc/sys/net/core/{r,w}mem_{default,max}, bytes.
pub const MEM_DEFAULT: i32 = 212_992;
/// Smallest send buffer (Linux: `SOCK_MIN_SNDBUF`).
pub const MIN_SNDBUF: i32 = 4608;
/// Smallest receive buffer (Linux: `SOCK_MIN_RCVBUF`).
pub const MIN_RCVBUF: i32 = 2304;

/// `SockCommon::shutdown`: nothing more is received.
pub const RCV_SHUTDOWN: u32 = 1;
/// `SockCommon::shutdown`: nothing more is sent.
pub const SEND_SHUTDOWN: u32 = 2;

/// An address of any family as the user wrote it (Linux: `struct sockaddr_storage` and length).
#[derive(Clone, Copy)]
pub struct SockAddr {
    len: usize,
    bytes: [u8; SOCKADDR_STORAGE_SIZE],
}

impl SockAddr {
    /// These bytes; longer ones are cut to the storage's size.
    pub fn new(from: &[u8]) -> Self {
        let len = from.len().min(SOCKADDR_STORAGE_SIZE);
        let mut bytes = [0; SOCKADDR_STORAGE_SIZE];
        bytes[..len].copy_from_slice(&from[..len]);
        Self { len, bytes }
    }

    /// Copies an address in (Linux: `move_addr_to_kernel`). Errors: EINVAL, EFAULT.
    pub fn from_user(addr: UserAddr, len: i32) -> Result<Self> {
        let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
        let mut bytes = [0; SOCKADDR_STORAGE_SIZE];
        copy_from_user(bytes.get_mut(..len).ok_or(Errno::EINVAL)?, addr)?;
        Ok(Self { len, bytes })
    }

    /// Copies an address out: as much as fits, then the whole length
    /// (Linux: `move_addr_to_user`). Errors: EINVAL for a negative length, EFAULT.
    pub fn to_user(&self, addr: UserAddr, len_addr: UserAddr) -> Result {
        let room: i32 = get_user(len_addr)?;
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        let bytes = self.as_bytes();
        copy_to_user(addr, &bytes[..room.min(bytes.len())])?;
        put_user(len_addr, &(bytes.len() as i32))
    }

    /// The bytes of the address.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The address family; `None` when there are too few bytes for one.
    pub fn family(&self) -> Option<u16> {
        let family = self.as_bytes().get(..2)?;
        Some(u16::from_le_bytes([family[0], family[1]]))
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// getsockname(2).
    Local,
    /// getpeername(2).
    Peer,
}

/// A message to be sent (Linux: `struct msghdr`).
pub struct SendMsg<'a, 'b> {
    /// Destination, if the caller gave one.
    pub name: Option<&'a SockAddr>,
    /// The bytes.
    pub data: &'a mut IovIter<'b>,
    /// MSG_*; MSG_DONTWAIT also for a non-blocking file.
    pub flags: u32,
    /// Descriptors and credentials.
    pub scm: ScmIn,
}

/// A message to be received.
pub struct RecvMsg<'a, 'b> {
    /// Where the bytes go.
    pub data: &'a mut IovIter<'b>,
    /// MSG_*; MSG_DONTWAIT also for a non-blocking file.
    pub flags: u32,
    /// Whether the caller asked who sent it.
    pub wants_name: bool,
    /// Result: MSG_* bits of `msg_flags`.
    pub out_flags: u32,
    /// Result: who sent it, if the protocol says so.
    pub name: Option<SockAddr>,
    /// Result: control messages.
    pub scm: ScmOut,
}

impl RecvMsg<'_, '_> {
    /// Whether the bytes are to stay in the queue.
    pub fn peeks(&self) -> bool {
        self.flags & MSG_PEEK != 0
    }
}

/// What a protocol does for its sockets (Linux: `struct proto_ops`).
#[expect(unused_variables, reason = "default methods refuse")]
pub trait Sock: Send + Sync {
    /// The shared part.
    fn common(&self) -> &SockCommon;
    /// bind(2).
    fn bind(&self, addr: &SockAddr) -> Result {
        Err(Errno::EOPNOTSUPP)
    }
    /// connect(2). `flags`: MSG_DONTWAIT for a non-blocking file.
    fn connect(&self, addr: &SockAddr, flags: u32) -> Result {
        Err(Errno::EOPNOTSUPP)
    }
    /// listen(2); the backlog is within its bounds.
    fn listen(&self, backlog: u32) -> Result {
        Err(Errno::EOPNOTSUPP)
    }
    /// accept(2). `flags`: MSG_DONTWAIT for a non-blocking file.
    fn accept(&self, flags: u32) -> Result<Arc<dyn Sock>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// getsockname(2), getpeername(2).
    fn getname(&self, side: Side) -> Result<SockAddr> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Sends; returns bytes taken.
    fn sendmsg(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize>;
    /// Receives; returns bytes given.
    fn recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize>;
    /// shutdown(2); `how` has bits of RCV_SHUTDOWN and SEND_SHUTDOWN.
    fn shutdown(&self, how: u32) -> Result {
        Err(Errno::EOPNOTSUPP)
    }
    /// Options of the protocol's own levels.
    fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> Result {
        Err(Errno::ENOPROTOOPT)
    }
    /// Options of the protocol's own levels, and what it adds to SOL_SOCKET.
    fn getsockopt(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        Err(Errno::ENOPROTOOPT)
    }
    /// Which POLL* events hold.
    fn poll(&self, table: Option<&mut PollTable>) -> u32;
    /// Device control. Errors: ENOIOCTLCMD for a command of the layers below.
    fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<i64> {
        Err(Errno::ENOIOCTLCMD)
    }
    /// Takes note of errors that have happened by now, before SO_ERROR is read.
    fn refresh(&self) {}
    /// Whether it listens (SO_ACCEPTCONN).
    fn is_listening(&self) -> bool {
        false
    }
    /// The last descriptor is gone.
    fn release(&self) {}
    /// For down-casts by the protocol.
    fn as_any(&self) -> &dyn core::any::Any;
}

/// Bytes of a sender that wait in some queue (Linux: `sk_wmem_alloc`), and who waits for room.
pub struct WriteMem {
    used: AtomicUsize,
    limit: AtomicI32,
    /// Senders, and whoever polls for writing.
    pub wait: WaitQueueHead,
}

impl WriteMem {
    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
    /// Limit in bytes (SO_SNDBUF).
    pub fn limit(&self) -> usize {
        usize::try_from(self.limit.load(Ordering::Relaxed)).unwrap_or(0)
    }
    /// Whether a sender may add bytes.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.used() < self.limit()
    }
    /// Whether so much is free that a sleeping sender is worth waking (Linux: `unix_writable`).
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.used().saturating_mul(4) <= self.limit()
    }
    /// Charges `bytes`; the limit is the caller's business.
    #[inline]
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            mem: self.clone(),
            bytes,
        }
    }
}

/// Bytes charged to a sender; given back when this is dropped (Linux: `sock_wfree`).
pub struct Charge {
    mem: Arc<WriteMem>,
    bytes: usize,
}

impl Charge {
    /// Whether it counts against `mem`.
    pub fn is_of(&self, mem: &Arc<WriteMem>) -> bool {
        Arc::ptr_eq(&self.mem, mem)
    }
}

impl Drop for Charge {
    #[inline]
    fn drop(&mut self) {
        self.mem.used.fetch_sub(self.bytes, Ordering::AcqRel);
        if self.mem.is_writable() && self.mem.wait.is_active() {
            self.mem
                .wait
                .wake_up_poll(POLLOUT | POLLWRNORM | POLLWRBAND);
        }
    }
}

/// Never, as a time-out in ns.
pub const FOREVER: u64 = u64::MAX;

/// The shared part of a socket (Linux: `struct sock`).
pub struct SockCommon {
    /// AF_*.
    pub family: u16,
    /// SOCK_STREAM and so on.
    pub kind: u32,
    /// IPPROTO_* or what the family calls a protocol.
    pub protocol: i32,
    /// Number of its inode, 0 before it has one.
    pub ino: AtomicU64,
    /// User that made it.
    pub uid: u32,
    /// Options that are on, by number of SO_* below 64.
    options: AtomicU64,
    /// Bits of RCV_SHUTDOWN and SEND_SHUTDOWN.
    pub shutdown: AtomicU32,
    /// Receive buffer, bytes.
    pub rcvbuf: AtomicI32,
    /// Bytes under way and the send buffer.
    pub wmem: Arc<WriteMem>,
    /// Time-outs in ns.
    pub rcvtimeo: AtomicU64,
    /// Time-out of sending, ns.
    pub sndtimeo: AtomicU64,
    /// Least number of bytes that a receiver waits for.
    pub rcvlowat: AtomicI32,
    /// SO_LINGER in seconds, when that option is on.
    pub linger: AtomicI32,
    /// SO_PRIORITY.
    pub priority: AtomicI32,
    /// SO_MARK.
    pub mark: AtomicU32,
    /// Pending error, as a positive number.
    err: AtomicI32,
    /// Receivers, and whoever polls.
    pub rwait: WaitQueueHead,
}

impl SockCommon {
    /// A socket that `uid` makes.
    pub fn new(family: u16, kind: u32, protocol: i32, uid: u32) -> Self {
        Self {
            family,
            kind,
            protocol,
            ino: AtomicU64::new(0),
            uid,
            options: AtomicU64::new(0),
            shutdown: AtomicU32::new(0),
            rcvbuf: AtomicI32::new(MEM_DEFAULT),
            wmem: Arc::new(WriteMem {
                used: AtomicUsize::new(0),
                limit: AtomicI32::new(MEM_DEFAULT),
                wait: WaitQueueHead::new(),
            }),
            rcvtimeo: AtomicU64::new(FOREVER),
            sndtimeo: AtomicU64::new(FOREVER),
            rcvlowat: AtomicI32::new(1),
            linger: AtomicI32::new(0),
            priority: AtomicI32::new(0),
            mark: AtomicU32::new(0),
            err: AtomicI32::new(0),
            rwait: WaitQueueHead::new(),
        }
    }

    /// Takes over what accept(2) hands down from the listening socket.
    pub fn inherit(&self, from: &SockCommon) {
        let options = from.options.load(Ordering::Relaxed);
        self.options.store(options, Ordering::Relaxed);
        self.set_sndbuf(from.sndbuf());
        for (to, from) in [
            (&self.rcvbuf, &from.rcvbuf),
            (&self.rcvlowat, &from.rcvlowat),
            (&self.linger, &from.linger),
            (&self.priority, &from.priority),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for (to, from) in [
            (&self.rcvtimeo, &from.rcvtimeo),
            (&self.sndtimeo, &from.sndtimeo),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Whether a yes-or-no option of SOL_SOCKET is on.
    #[inline]
    pub fn option(&self, name: i32) -> bool {
        self.options.load(Ordering::Relaxed) & (1 << (name & 63)) != 0
    }
    /// Switches such an option.
    pub fn set_option(&self, name: i32, on: bool) {
        let bit = 1 << (name & 63);
        if on {
            self.options.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.options.fetch_and(!bit, Ordering::Relaxed);
        }
    }
    /// SO_SNDBUF in bytes.
    pub fn sndbuf(&self) -> i32 {
        self.wmem.limit.load(Ordering::Relaxed)
    }
    /// Changes SO_SNDBUF.
    pub fn set_sndbuf(&self, bytes: i32) {
        self.wmem.limit.store(bytes, Ordering::Relaxed);
    }
    /// SO_RCVBUF in bytes.
    pub fn rcvbuf(&self) -> usize {
        usize::try_from(self.rcvbuf.load(Ordering::Relaxed)).unwrap_or(0)
    }
    /// Whether any of these RCV_SHUTDOWN and SEND_SHUTDOWN bits is set.
    #[inline]
    pub fn is_shut(&self, how: u32) -> bool {
        self.shutdown.load(Ordering::Acquire) & how != 0
    }
    /// Shuts directions down.
    pub fn shut(&self, how: u32) {
        self.shutdown.fetch_or(how, Ordering::AcqRel);
    }
    /// Leaves an error for the next call.
    pub fn set_error(&self, errno: Errno) {
        self.err.store(errno.code(), Ordering::Release);
    }
    /// Whether an error waits.
    #[inline]
    pub fn has_error(&self) -> bool {
        self.err.load(Ordering::Acquire) != 0
    }
    /// Takes the pending error (Linux: `sock_error`); 0 for none.
    pub fn take_error(&self) -> i32 {
        if self.has_error() {
            self.err.swap(0, Ordering::AcqRel)
        } else {
            0
        }
    }
    /// Fails with the pending error, once.
    #[inline]
    pub fn check_error(&self) -> Result {
        match self.take_error() {
            0 => Ok(()),
            code => Err(Errno::from_code(code).unwrap_or(Errno::EIO)),
        }
    }
    /// Least bytes to wait for (Linux: `sock_rcvlowat`).
    pub fn receive_target(&self, flags: u32, len: usize) -> usize {
        if flags & MSG_WAITALL != 0 {
            return len.max(1);
        }
        let low = usize::try_from(self.rcvlowat.load(Ordering::Relaxed)).unwrap_or(1);
        low.min(len).max(1)
    }

    /// Something can be received: wakes one exclusive receiver and everybody else.
    #[inline]
    pub fn wake_readers(&self) {
        if self.rwait.is_active() {
            self.rwait.wake_up_poll(POLLIN | POLLRDNORM | POLLRDBAND);
        }
    }
    /// The state changed: wakes everybody.
    pub fn wake_all(&self) {
        self.rwait.wake_up_all();
        self.wmem.wait.wake_up_all();
    }
    /// Registers a poller for what it waits for.
    pub fn poll_wait(&self, table: Option<&mut PollTable>) {
        let Some(table) = table else {
            return;
        };
        let key = table.key();
        self.rwait.poll_wait(table);
        if key & (POLLOUT | POLLWRNORM | POLLWRBAND) != 0 {
            self.wmem.wait.poll_wait(table);
        }
    }
    /// How long a receiver waits.
    pub fn receive_patience(&self, flags: u32) -> Patience {
        Patience::new(flags, &self.rcvtimeo)
    }
    /// How long a sender waits.
    pub fn send_patience(&self, flags: u32) -> Patience {
        Patience::new(flags, &self.sndtimeo)
    }
}

/// Whether a waiter is woken together with others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// With everybody.
    Shared,
    /// One at a time.
    Exclusive,
}

/// How long a call may wait. The clock is read at the first wait only.
pub struct Patience {
    nonblock: bool,
    timeout: u64,
    deadline: Option<u64>,
}

impl Patience {
    fn new(flags: u32, timeout: &AtomicU64) -> Self {
        Self {
            nonblock: flags & MSG_DONTWAIT != 0,
            timeout: timeout.load(Ordering::Relaxed),
            deadline: None,
        }
    }

    /// Whether the caller does not wait at all.
    pub fn is_none(&self) -> bool {
        self.nonblock
    }

    /// Sleeps until `condition` holds. Errors: EAGAIN at once without patience and when it ends;
    /// ERESTARTSYS for a signal, EINTR instead when there is a time-out
    /// (Linux: `sock_intr_errno`).
    pub fn wait(
        &mut self,
        queue: &WaitQueueHead,
        turn: Turn,
        condition: impl FnMut() -> bool,
    ) -> Result {
        if self.nonblock {
            return Err(Errno::EAGAIN);
        }
        if self.timeout == FOREVER {
            return match turn {
                Turn::Shared => queue.wait_event_interruptible(condition),
                Turn::Exclusive => queue.wait_event_interruptible_exclusive(condition),
            };
        }
        let now = ktime_get();
        let deadline = *self
            .deadline
            .get_or_insert_with(|| now.saturating_add(self.timeout));
        let left = deadline.saturating_sub(now);
        match queue.wait_event_interruptible_timeout(left, condition) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Errno::EAGAIN),
            Err(_) => Err(Errno::EINTR),
        }
    }
}

/// Whether the running task may administrate the network.
pub fn may_administrate() -> bool {
    crate::kernel::sched::current()
        .cred()
        .has_cap(CAP_NET_ADMIN)
}
