//! Sending of TCP sockets (Linux: net/ipv4/tcp.c, `tcp_sendmsg`).
#![forbid(unsafe_code)]

use crate::net::core::dev::LOOPBACK;
use crate::net::core::sock::*;
use crate::net::ipv4::tcp::{Phase, TcpSock};
use crate::net::ipv4::tcp_fusion::Fused;
use crate::net::ipv4::tcp_stack::{Direction, Stack, with_stack};
use crate::prelude::*;

/// Bytes of the two headers that a packet would have.
const HEADERS_LEN: usize = 40;

impl TcpSock {
    /// sendmsg(2) (Linux: `tcp_sendmsg`). Errors: EPIPE, EAGAIN, EFAULT, a pending error.
    pub(super) fn tcp_sendmsg(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        if let Some(fused) = self.fused() {
            return self.fused_send(&fused, msg);
        }
        let len = msg.data.count();
        let mut patience = self.sk().send_patience(msg.flags);
        let mut sent = 0;
        let error = loop {
            if self.sk().is_shut(SEND_SHUTDOWN) {
                break self.sk().check_error().err().unwrap_or(Errno::EPIPE);
            }
            let seen = self.seen();
            match with_stack(|stack| self.try_send(stack, msg)) {
                Ok(step) => sent += step,
                Err(error) => break error,
            }
            if sent == len {
                return Ok(sent);
            }
            if let Err(error) = self.wait_change(&mut patience, Direction::Send, seen) {
                break error;
            }
            // What was a connection in the making when the call began may go the short way now.
            if let Some(fused) = self.fused() {
                return self.fused_send(&fused, msg);
            }
        };
        if sent > 0 { Ok(sent) } else { Err(error) }
    }

    /// Sends the short way. Errors: EPIPE, EAGAIN, EFAULT, ENOMEM, a pending error.
    pub(super) fn fused_send(&self, fused: &Fused, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        let len = msg.data.count();
        let wmem = &self.sk().wmem;
        let mut patience = None;
        let mut sent = 0;
        let error = loop {
            if self.sk().is_shut(SEND_SHUTDOWN) {
                break self.sk().check_error().err().unwrap_or(Errno::EPIPE);
            }
            if sent == len {
                break Errno::EAGAIN;
            }
            if wmem.has_room() {
                match fused.outgoing().push(wmem, msg.data, len - sent) {
                    Ok(step) => sent += step,
                    Err(Errno::EPIPE) => {
                        // Lost on the way to an end that is closed; its answer is a reset, which
                        // the next call hears of.
                        self.sk().set_error(Errno::EPIPE);
                        self.sk().shut(RCV_SHUTDOWN | SEND_SHUTDOWN);
                        self.sk().wake_all();
                        return Ok(len);
                    }
                    Err(error) => break error,
                }
                continue;
            }
            wake_reader(fused);
            let patience = patience.get_or_insert_with(|| self.sk().send_patience(msg.flags));
            let seen = self.seen();
            let waited = patience.wait(&wmem.wait, Turn::Shared, || {
                wmem.has_room() || self.sk().is_shut(SEND_SHUTDOWN) || self.seen() != seen
            });
            if let Err(error) = waited {
                break error;
            }
            self.settle();
        };
        wake_reader(fused);
        LOOPBACK.count(sent + HEADERS_LEN);
        if sent > 0 || len == 0 {
            Ok(sent)
        } else {
            Err(error)
        }
    }

    /// Copies from `msg` as much as there is room for. Context: stack locked.
    pub(super) fn try_send(&self, stack: &mut Stack, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
        let handle = match self.sync(stack) {
            Phase::Open(handle) => handle,
            Phase::Connecting(handle) => {
                self.arm(stack, handle);
                return Ok(0);
            }
            Phase::Closed | Phase::Listening(_) => {
                self.sk().check_error()?;
                return Err(Errno::EPIPE);
            }
        };
        let mut sent = 0;
        loop {
            let data = &mut *msg.data;
            let step = stack.socket(handle).send(|room| {
                let len = room.len().min(data.count());
                let copied = data.copy_from_iter(&mut room[..len]);
                (copied.unwrap_or(0), copied)
            });
            let step = match step {
                Ok(Ok(step)) => step,
                Ok(Err(error)) if sent == 0 => return Err(error),
                Ok(Err(_)) => break,
                Err(_) if sent > 0 => break,
                Err(_) => {
                    self.sk().check_error()?;
                    return Err(Errno::EPIPE);
                }
            };
            sent += step;
            if step > 0 {
                stack.pump();
            }
            if step == 0 || msg.data.count() == 0 {
                break;
            }
        }
        self.arm(stack, handle);
        Ok(sent)
    }
}

/// Bytes went to the other end.
fn wake_reader(fused: &Fused) {
    if let Some(other) = fused.other() {
        other.sk().wake_readers();
    }
}
