//! Streams of bytes between local sockets (Linux: net/unix/af_unix.c, `unix_stream_sendmsg`,
//! `unix_stream_read_generic`).
//!
//! The receiver's queue is a row of pages. Small writes are added to its last page, so that a
//! byte does not cost a page; `iolock` keeps the page's reader and its writer apart then. Whole
//! pages are queued without that lock.
#![forbid(unsafe_code)]

use uapi::socket::*;

use crate::arch::PAGE_SIZE;
use crate::net::core::scm::{InFlight, current_ucred};
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::*;
use crate::net::unix::UnixSock;
use crate::net::unix::af_unix::{ESTABLISHED, Skb};
use crate::prelude::*;

/// Blocks that are queued before the receiver is woken, if the sender need not wait.
const BLOCKS_PER_WAKE: usize = 2;

/// Who the kernel says a sender is when it did not note that.
pub(super) const NOBODY: Ucred = Ucred {
    pid: 0,
    uid: 65534,
    gid: 65534,
};

/// What one call sends besides bytes.
struct Sending<'a> {
    peer: &'a UnixSock,
    cred: Option<Ucred>,
    fds: Option<Box<InFlight>>,
}

impl UnixSock {
    /// The sender's credentials, if either end asks for them (Linux: `unix_maybe_add_creds`).
    pub(super) fn cred_for(&self, peer: &UnixSock, given: Option<Ucred>) -> Option<Ucred> {
        let asked = self.common.option(SO_PASSCRED) || peer.common.option(SO_PASSCRED);
        given.or_else(|| asked.then(current_ucred))
    }

    /// Errors: EPIPE, ENOTCONN, EISCONN, EOPNOTSUPP, EAGAIN, EFAULT, ENOMEM.
    pub(super) fn stream_send(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if msg.name.is_some() {
            let connected = self.phase() == ESTABLISHED;
            return Err(if connected {
                Errno::EISCONN
            } else {
                Errno::EOPNOTSUPP
            });
        }
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        let mut sending = Sending {
            peer: &peer,
            cred: self.cred_for(&peer, msg.scm.cred),
            fds: msg.scm.fds.take(),
        };
        let mut sent = 0;
        let result = self.stream_send_all(&mut sending, msg, &mut sent);
        peer.common.wake_readers();
        match result {
            Err(error) if sent == 0 => Err(error),
            _ => Ok(sent),
        }
    }

    fn stream_send_all(
        &self,
        sending: &mut Sending<'_>,
        msg: &mut SendMsg<'_, '_>,
        sent: &mut usize,
    ) -> Result {
        let mut left = msg.data.count();
        let mut patience = None;
        let mut pages = 0;
        if self.common.is_shut(SEND_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        while left > 0 {
            if !self.common.wmem.has_room() {
                sending.peer.common.wake_readers();
                pages = 0;
                let patience = patience.get_or_insert_with(|| self.common.send_patience(msg.flags));
                patience.wait(&self.common.wmem.wait, Turn::Shared, || {
                    self.common.wmem.has_room() || self.common.is_shut(SEND_SHUTDOWN)
                })?;
                if self.common.is_shut(SEND_SHUTDOWN) {
                    return Err(Errno::EPIPE);
                }
            }
            let step = self.stream_queue(sending, msg, left)?;
            *sent += step;
            left -= step;
            pages += 1;
            if pages == BLOCKS_PER_WAKE {
                pages = 0;
                sending.peer.common.wake_readers();
            }
        }
        Ok(())
    }

    /// Queues the next bytes: to the last page if all `left` fit there, else in a page of their
    /// own. Errors: EPIPE, EFAULT, ENOMEM.
    fn stream_queue(
        &self,
        sending: &mut Sending<'_>,
        msg: &mut SendMsg<'_, '_>,
        left: usize,
    ) -> Result<usize> {
        if let Some(merged) = self.stream_merge(sending, msg, left)? {
            return Ok(merged);
        }
        let data = SkBuff::copy_some_from(msg.data, left)?;
        let step = data.len();
        let skb = Skb {
            charge: self.common.wmem.charge(data.truesize()),
            data,
            fds: sending.fds.take(),
            cred: sending.cred,
            from: None,
        };
        sending.peer.enqueue(skb)?;
        Ok(step)
    }

    /// Whether `left` more bytes of this sender can be added to the peer's last page.
    fn can_merge(&self, sending: &Sending<'_>, last: Option<&Skb>, left: usize) -> bool {
        last.is_some_and(|skb| {
            left <= skb.data.tailroom()
                && skb.fds.is_none()
                && skb.cred == sending.cred
                && skb.charge.is_of(&self.common.wmem)
        })
    }

    fn stream_merge(
        &self,
        sending: &Sending<'_>,
        msg: &mut SendMsg<'_, '_>,
        left: usize,
    ) -> Result<Option<usize>> {
        let peer = sending.peer;
        let fits = |peer: &UnixSock| {
            let queue = peer.queue.lock();
            let last = queue.skbs.back();
            let fits = self.can_merge(sending, last, left);
            fits.then(|| last.and_then(|skb| skb.data.tail_page()))
                .flatten()
        };
        if left >= PAGE_SIZE || sending.fds.is_some() || fits(peer).is_none() {
            return Ok(None);
        }
        let _moving = peer.iolock.lock();
        let Some((page, offset)) = fits(peer) else {
            return Ok(None);
        };
        let added = msg.data.copy_page_from_iter(&page, offset, left)?;
        let mut queue = peer.queue.lock();
        if peer.is_dead() || peer.common.is_shut(RCV_SHUTDOWN) {
            return Err(Errno::EPIPE);
        }
        // The last page is still the same unless somebody queued another one meanwhile.
        let same = |skb: &Skb| {
            skb.data
                .tail_page()
                .is_some_and(|(p, o)| p.pfn() == page.pfn() && o == offset)
        };
        let Some(skb) = queue.skbs.iter_mut().rev().find(|skb| same(skb)) else {
            return Err(Errno::EPIPE);
        };
        skb.data.added(added);
        queue.bytes += added;
        Ok(Some(added))
    }

    /// Adds to this socket's queue. Errors: EPIPE when nothing is received any more.
    pub(super) fn enqueue(&self, skb: Skb) -> Result {
        let mut queue = self.queue.lock();
        if self.is_dead() || self.common.is_shut(RCV_SHUTDOWN) {
            drop(queue);
            return Err(Errno::EPIPE);
        }
        queue.bytes += skb.data.len();
        queue.skbs.push_back(skb);
        Ok(())
    }

    /// Errors: EINVAL unless connected, EOPNOTSUPP, EAGAIN, EFAULT, and a pending error.
    pub(super) fn stream_receive(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if self.phase() != ESTABLISHED {
            return Err(Errno::EINVAL);
        }
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let len = msg.data.count();
        let target = self.common.receive_target(msg.flags, len);
        let mut patience = None;
        let mut reading = Reading::default();
        loop {
            self.stream_take(msg, len, &mut reading)?;
            if reading.copied >= target || reading.ended {
                break;
            }
            let more = self.stream_wait(&mut patience, msg.flags, &reading);
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) if reading.copied > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if msg.wants_name {
            let peer = self.peer();
            msg.name = peer.and_then(|peer| peer.addr().map(|addr| addr.to_sockaddr()));
        }
        Ok(reading.copied)
    }

    /// Waits for bytes behind those that were looked at; false at the end of the stream.
    fn stream_wait(
        &self,
        patience: &mut Option<Patience>,
        flags: u32,
        reading: &Reading,
    ) -> Result<bool> {
        let has_more = || self.queue.lock().skbs.len() > reading.index;
        self.common.check_error()?;
        if self.common.is_shut(RCV_SHUTDOWN) {
            // What was queued before the end is still read.
            return Ok(has_more());
        }
        let patience = patience.get_or_insert_with(|| self.common.receive_patience(flags));
        patience.wait(&self.common.rwait, Turn::Shared, || {
            has_more() || self.common.is_shut(RCV_SHUTDOWN) || self.common.has_error()
        })?;
        Ok(true)
    }

    /// Copies what is there, up to a change of credentials or behind passed files.
    fn stream_take(&self, msg: &mut RecvMsg<'_, '_>, len: usize, reading: &mut Reading) -> Result {
        let _moving = self.iolock.lock();
        let passcred = self.common.option(SO_PASSCRED);
        while !reading.ended {
            let (cred, piece) = {
                let queue = self.queue.lock();
                let Some(skb) = queue.skbs.get(reading.index) else {
                    return Ok(());
                };
                (skb.cred, skb.data.piece(reading.skip))
            };
            if passcred {
                let cred = cred.unwrap_or(NOBODY);
                match msg.scm.cred {
                    Some(first) if first != cred => {
                        reading.ended = true;
                        return Ok(());
                    }
                    _ => msg.scm.cred = Some(cred),
                }
            }
            let mut step = 0;
            if let Some((page, offset, here)) = piece {
                let wanted = here.min(len - reading.copied);
                step = match msg.data.copy_page_to_iter(&page, offset, wanted) {
                    Ok(step) => step,
                    Err(error) if reading.copied == 0 => return Err(error),
                    Err(_) => {
                        reading.ended = true;
                        return Ok(());
                    }
                };
                reading.ended = step < wanted;
            }
            reading.copied += step;
            if msg.peeks() {
                self.stream_peeked(msg, step, reading);
            } else {
                self.stream_consume(msg, step, reading);
            }
            reading.ended |= reading.copied >= len;
        }
        Ok(())
    }

    /// Passes over bytes that stay in the queue.
    fn stream_peeked(&self, msg: &mut RecvMsg<'_, '_>, step: usize, reading: &mut Reading) {
        let queue = self.queue.lock();
        let Some(skb) = queue.skbs.get(reading.index) else {
            return;
        };
        reading.skip += step;
        if let Some(fds) = &skb.fds {
            msg.scm.files = fds.files().to_vec();
            reading.ended = true;
        }
        if reading.skip >= skb.data.len() {
            reading.skip = 0;
            reading.index += 1;
        }
    }

    /// Takes bytes off the front, and the files that came with them.
    fn stream_consume(&self, msg: &mut RecvMsg<'_, '_>, step: usize, reading: &mut Reading) {
        let mut queue = self.queue.lock();
        queue.bytes = queue.bytes.saturating_sub(step);
        let Some(skb) = queue.skbs.front_mut() else {
            return;
        };
        skb.data.pull(step);
        let fds = skb.fds.take();
        let emptied = if skb.data.is_empty() {
            queue.skbs.pop_front()
        } else {
            None
        };
        drop(queue);
        drop(emptied);
        if let Some(fds) = fds {
            msg.scm.files = fds.into_files();
            reading.ended = true;
        }
    }
}

/// How far one call has read.
#[derive(Default)]
struct Reading {
    copied: usize,
    /// While peeking: pages passed, and bytes of the next one.
    index: usize,
    skip: usize,
    /// Nothing more belongs to this call.
    ended: bool,
}
