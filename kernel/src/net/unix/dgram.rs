//! Messages between local sockets (Linux: net/unix/af_unix.c, `unix_dgram_sendmsg`,
//! `__unix_dgram_recvmsg`).
#![forbid(unsafe_code)]

use uapi::poll::*;
use uapi::socket::*;

use crate::net::core::datagram::finish;
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::*;
use crate::net::unix::UnixSock;
use crate::net::unix::address;
use crate::net::unix::af_unix::{ESTABLISHED, Skb};
use crate::net::unix::stream::NOBODY;
use crate::prelude::*;

impl UnixSock {
    /// Where a message goes: the given name, else the peer. Errors: ENOTCONN, ECONNREFUSED,
    /// EISCONN for a named packet.
    fn dgram_target(&self, name: Option<&SockAddr>) -> Result<Arc<UnixSock>> {
        match name {
            Some(_) if self.common.kind == SOCK_SEQPACKET => Err(if self.phase() == ESTABLISHED {
                Errno::EISCONN
            } else {
                Errno::ENOTCONN
            }),
            Some(name) => address::find(&address::parse(name)?, self.common.kind),
            None => self.peer().ok_or(Errno::ENOTCONN),
        }
    }

    /// Errors: EMSGSIZE, ECONNREFUSED, EPERM, EPIPE, EAGAIN, EFAULT, ENOMEM, those of the name.
    pub(super) fn dgram_send(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.common.kind == SOCK_SEQPACKET && self.phase() != ESTABLISHED {
            return Err(Errno::ENOTCONN);
        }
        if self.common.option(SO_PASSCRED) && self.addr().is_none() {
            self.autobind()?;
        }
        let other = self.dgram_target(msg.name)?;
        let len = msg.data.count();
        if len > self.common.wmem.limit().saturating_sub(32) {
            return Err(Errno::EMSGSIZE);
        }
        let mut patience = self.common.send_patience(msg.flags);
        self.wait_for_memory(&mut patience)?;
        let data = SkBuff::copy_from(msg.data, len)?;
        let skb = Skb {
            charge: self.common.wmem.charge(data.truesize()),
            data,
            fds: msg.scm.fds.take(),
            cred: self.cred_for(&other, msg.scm.cred),
            from: self.addr().cloned(),
        };
        self.dgram_deliver(&other, skb, &mut patience, msg.name.is_some())?;
        Ok(len)
    }

    /// Waits until this sender may have another message under way.
    fn wait_for_memory(&self, patience: &mut Patience) -> Result {
        self.common.check_error()?;
        if self.common.is_shut(SEND_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        if self.common.wmem.has_room() {
            return Ok(());
        }
        patience.wait(&self.common.wmem.wait, Turn::Shared, || {
            self.common.wmem.has_room() || self.common.is_shut(SEND_SHUTDOWN)
        })?;
        if self.common.is_shut(SEND_SHUTDOWN) {
            Err(Errno::EPIPE)
        } else {
            Ok(())
        }
    }

    /// Queues the message at its receiver; waits while its queue is full, unless the receiver is
    /// connected back to this socket, which then waits for memory instead.
    fn dgram_deliver(
        &self,
        other: &Arc<UnixSock>,
        skb: Skb,
        patience: &mut Patience,
        was_named: bool,
    ) -> Result {
        loop {
            if other.is_dead() {
                return Err(self.dgram_peer_is_gone(other, was_named));
            }
            if other.common.is_shut(RCV_SHUTDOWN) {
                return Err(Errno::EPIPE);
            }
            if !self.may_send_to(other) {
                return Err(Errno::EPERM);
            }
            let is_self = core::ptr::eq(self, &**other);
            if !other.is_queue_full() || is_self || other.is_connected_to(self) {
                break;
            }
            patience.wait(&other.peer_wait, Turn::Exclusive, || {
                !other.is_queue_full() || other.is_dead() || other.common.is_shut(RCV_SHUTDOWN)
            })?;
        }
        match other.enqueue(skb) {
            Ok(()) => {
                other.common.wake_readers();
                Ok(())
            }
            Err(_) if other.is_dead() => Err(self.dgram_peer_is_gone(other, was_named)),
            Err(error) => Err(error),
        }
    }

    /// The receiver was closed: a connected sender is told once and is unconnected then.
    fn dgram_peer_is_gone(&self, other: &UnixSock, was_named: bool) -> Errno {
        if self.common.kind == SOCK_SEQPACKET {
            return Errno::EPIPE;
        }
        if !was_named {
            let old = {
                let mut state = self.state.lock();
                let is_other = state
                    .peer
                    .as_ref()
                    .is_some_and(|peer| core::ptr::eq(&**peer, other));
                if is_other { state.peer.take() } else { None }
            };
            if let Some(old) = old {
                self.dgram_disconnected(&old);
            }
        }
        Errno::ECONNREFUSED
    }

    /// Errors: ENOTCONN for an unconnected packet socket, EAGAIN, EFAULT, a pending error.
    pub(super) fn dgram_receive(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let is_packet = self.common.kind == SOCK_SEQPACKET;
        if is_packet && self.phase() != ESTABLISHED {
            return Err(Errno::ENOTCONN);
        }
        let mut patience = self.common.receive_patience(msg.flags);
        loop {
            let taken = if msg.peeks() {
                self.dgram_peek(msg)
            } else {
                self.dgram_take(msg)
            };
            if let Some(result) = taken {
                return result;
            }
            self.common.check_error()?;
            if self.common.is_shut(RCV_SHUTDOWN) && (is_packet || !patience.is_none()) {
                return Ok(0);
            }
            patience.wait(&self.common.rwait, Turn::Exclusive, || {
                !self.queue.lock().skbs.is_empty()
                    || self.common.is_shut(RCV_SHUTDOWN)
                    || self.common.has_error()
            })?;
        }
    }

    /// Takes the first message; `None` when there is none.
    fn dgram_take(&self, msg: &mut RecvMsg<'_, '_>) -> Option<Result<usize>> {
        let skb = {
            let _moving = self.iolock.lock();
            let mut queue = self.queue.lock();
            let skb = queue.skbs.pop_front()?;
            queue.bytes = queue.bytes.saturating_sub(skb.data.len());
            skb
        };
        if self.peer_wait.is_active() {
            self.peer_wait
                .wake_up_poll(POLLOUT | POLLWRNORM | POLLWRBAND);
        }
        let wanted = skb.data.len().min(msg.data.count());
        let copied = match skb.data.copy_to(0, wanted, msg.data) {
            Ok(copied) if copied == wanted => copied,
            Ok(_) => return Some(Err(Errno::EFAULT)),
            Err(error) => return Some(Err(error)),
        };
        self.dgram_describe(msg, skb.cred, skb.from.as_deref());
        let len = skb.data.len();
        if let Some(fds) = skb.fds {
            msg.scm.files = fds.into_files();
        }
        Some(Ok(finish(msg, len, copied)))
    }

    /// Copies the first message and leaves it; `iolock` keeps it in its place meanwhile.
    fn dgram_peek(&self, msg: &mut RecvMsg<'_, '_>) -> Option<Result<usize>> {
        let _moving = self.iolock.lock();
        let (len, cred, from, files) = {
            let queue = self.queue.lock();
            let skb = queue.skbs.front()?;
            let files = skb.fds.as_ref().map(|fds| fds.files().to_vec());
            (skb.data.len(), skb.cred, skb.from.clone(), files)
        };
        let wanted = len.min(msg.data.count());
        let mut copied = 0;
        while copied < wanted {
            let piece = {
                let queue = self.queue.lock();
                queue.skbs.front().and_then(|skb| skb.data.piece(copied))
            };
            let Some((page, offset, here)) = piece else {
                break;
            };
            let step = here.min(wanted - copied);
            match msg.data.copy_page_to_iter(&page, offset, step) {
                Ok(moved) if moved == step => copied += moved,
                _ => return Some(Err(Errno::EFAULT)),
            }
        }
        self.dgram_describe(msg, cred, from.as_deref());
        msg.scm.files = files.unwrap_or_default();
        Some(Ok(finish(msg, len, copied)))
    }

    /// Says who sent a message.
    fn dgram_describe(
        &self,
        msg: &mut RecvMsg<'_, '_>,
        cred: Option<Ucred>,
        from: Option<&address::UnixAddr>,
    ) {
        if self.common.option(SO_PASSCRED) {
            msg.scm.cred = Some(cred.unwrap_or(NOBODY));
        }
        if msg.wants_name {
            msg.name = from.map(address::UnixAddr::to_sockaddr);
        }
    }
}
