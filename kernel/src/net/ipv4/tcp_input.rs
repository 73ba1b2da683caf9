//! Receiving of TCP sockets (Linux: net/ipv4/tcp.c, `tcp_recvmsg`).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::socket::*;

use crate::net::core::sock::*;
use crate::net::ipv4::tcp::{Phase, TcpSock};
use crate::net::ipv4::tcp_fusion::Fused;
use crate::net::ipv4::tcp_stack::{BUFFER_SIZE, Direction, Stack, with_stack};
use crate::prelude::*;

/// Bytes read before the sender is told of the room.
const WINDOW_STEP: usize = BUFFER_SIZE / 4;

impl TcpSock {
    /// recvmsg(2) (Linux: `tcp_recvmsg`). Errors: ENOTCONN, EAGAIN, EFAULT, a pending error.
    pub(super) fn tcp_recvmsg(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        if msg.flags & MSG_OOB != 0 {
            return Err(Errno::EINVAL);
        }
        if msg.flags & MSG_ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        if let Some(fused) = self.fused() {
            return self.fused_receive(&fused, msg);
        }
        let target = self.sk().receive_target(msg.flags, msg.data.count());
        let mut patience = self.sk().receive_patience(msg.flags);
        let mut received = 0;
        let error = loop {
            let seen = self.seen();
            match with_stack(|stack| self.try_receive(stack, msg)) {
                Ok(Some(step)) if msg.peeks() => received = step,
                Ok(Some(step)) => received += step,
                Ok(None) => return Ok(received),
                Err(error) => break error,
            }
            let ended = self.sk().is_shut(RCV_SHUTDOWN);
            if received >= target || ended || msg.data.count() == 0 || msg.peeks() && received > 0 {
                return Ok(received);
            }
            if let Err(error) = self.wait_change(&mut patience, Direction::Receive, seen) {
                break error;
            }
            if let Some(fused) = self.fused() {
                return self.fused_receive(&fused, msg);
            }
        };
        if received > 0 {
            Ok(received)
        } else {
            Err(error)
        }
    }

    /// Receives the short way. Errors: EAGAIN, EFAULT, a pending error.
    pub(super) fn fused_receive(&self, fused: &Fused, msg: &mut RecvMsg<'_, '_>) -> Result<usize> {
        let channel = fused.incoming();
        let len = msg.data.count();
        let target = self.sk().receive_target(msg.flags, len);
        let mut patience = None;
        let mut received = 0;
        loop {
            // Asked for before the bytes are: those that came before the end are not missed.
            let seen = self.seen();
            let ended = self.sk().is_shut(RCV_SHUTDOWN);
            match channel.take(msg.data, msg.peeks()) {
                Ok(step) => received += step,
                Err(error) if received == 0 => return Err(error),
                Err(_) => return Ok(received),
            }
            if received >= target || received == len || msg.peeks() && received > 0 {
                return Ok(received);
            }
            if ended {
                // A reset is reported once, then it is an end like another.
                return if received > 0 {
                    Ok(received)
                } else {
                    self.sk().check_error().map(|()| 0)
                };
            }
            let patience = patience.get_or_insert_with(|| self.sk().receive_patience(msg.flags));
            let waited = patience.wait(&self.sk().rwait, Turn::Shared, || {
                !channel.is_empty() || self.sk().is_shut(RCV_SHUTDOWN) || self.seen() != seen
            });
            match waited {
                Ok(()) => self.settle(),
                Err(_) if received > 0 => return Ok(received),
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies what is there to `msg`; `None` at the end of the stream. Context: stack locked.
    pub(super) fn try_receive(
        &self,
        stack: &mut Stack,
        msg: &mut RecvMsg<'_, '_>,
    ) -> Result<Option<usize>> {
        let handle = match self.sync(stack) {
            Phase::Open(handle) => handle,
            Phase::Connecting(handle) => {
                self.arm(stack, handle);
                return Ok(Some(0));
            }
            Phase::Closed | Phase::Listening(_) => {
                self.sk().check_error()?;
                return Err(Errno::ENOTCONN);
            }
        };
        let mut received = 0;
        loop {
            let data = &mut *msg.data;
            let room = data.count();
            let socket = stack.socket(handle);
            let step = if msg.flags & MSG_PEEK != 0 {
                socket.peek(room).map(|bytes| data.copy_to_iter(bytes))
            } else {
                socket.recv(|bytes| {
                    let len = bytes.len().min(room);
                    let copied = data.copy_to_iter(&bytes[..len]);
                    (copied.unwrap_or(0), copied)
                })
            };
            let step = match step {
                Ok(Ok(step)) => step,
                Ok(Err(error)) if received == 0 => return Err(error),
                Ok(Err(_)) => break,
                Err(_) if received > 0 => break,
                Err(_) => {
                    // A reset is reported once, then it is an end like another.
                    self.sk().check_error()?;
                    return Ok(None);
                }
            };
            received += step;
            if step == 0 || msg.peeks() || msg.data.count() == 0 {
                break;
            }
        }
        self.announce_room(stack, if msg.peeks() { 0 } else { received });
        self.arm(stack, handle);
        Ok(Some(received))
    }

    /// Tells the sender of room once enough was read.
    pub(super) fn announce_room(&self, stack: &mut Stack, received: usize) {
        let unannounced = self.unannounced.fetch_add(received, Ordering::Relaxed) + received;
        if unannounced >= WINDOW_STEP {
            self.unannounced.store(0, Ordering::Relaxed);
            stack.pump();
        }
    }
}
