//! A queue of received packets (Linux: net/core/datagram.c).
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;

use uapi::socket::*;

use crate::fs::sleep_lock::SleepLock;
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::{RCV_SHUTDOWN, RecvMsg, SockCommon, Turn};
use crate::prelude::*;

/// Packets with what the protocol notes about each.
pub struct DatagramQueue<M> {
    list: SpinLock<List<M>>,
    /// Held while a packet is taken or looked at, so that it stays in its place meanwhile.
    iolock: SleepLock,
}

struct List<M> {
    packets: VecDeque<(SkBuff, M)>,
    /// Memory of them (Linux: `sk_rmem_alloc`).
    memory: usize,
    dropped: u64,
    closed: bool,
}

impl<M> Default for DatagramQueue<M> {
    fn default() -> Self {
        Self {
            list: SpinLock::new(List {
                packets: VecDeque::new(),
                memory: 0,
                dropped: 0,
                closed: false,
            }),
            iolock: SleepLock::new(),
        }
    }
}

impl<M: Clone> DatagramQueue<M> {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.list.lock().packets.is_empty()
    }
    /// Bytes of the first packet, 0 for none.
    pub fn first_len(&self) -> usize {
        self.list
            .lock()
            .packets
            .front()
            .map_or(0, |(data, _)| data.len())
    }
    /// Memory in use, bytes, and packets that found no room.
    pub fn usage(&self) -> (usize, u64) {
        let list = self.list.lock();
        (list.memory, list.dropped)
    }
    /// Adds a packet and wakes a receiver; drops it when the receive buffer is full
    /// (Linux: `sock_queue_rcv_skb`). Returns whether it was queued.
    pub fn push(&self, sk: &SockCommon, data: SkBuff, meta: M) -> bool {
        {
            let mut list = self.list.lock();
            let size = data.truesize();
            if list.closed || list.memory + size > sk.rcvbuf() {
                list.dropped += 1;
                return false;
            }
            list.memory += size;
            list.packets.push_back((data, meta));
        }
        sk.wake_readers();
        true
    }
    /// Throws everything away; nothing is added any more.
    pub fn close(&self) {
        let packets = {
            let mut list = self.list.lock();
            list.closed = true;
            list.memory = 0;
            core::mem::take(&mut list.packets)
        };
        drop(packets);
    }

    /// Receives one packet, waiting for it; what was noted about it comes back with the count
    /// for recvmsg(2). Errors: EAGAIN, ERESTARTSYS, EFAULT, a pending error; ESHUTDOWN when
    /// receiving was shut down, which is the end of file to most protocols.
    pub fn receive(&self, sk: &SockCommon, msg: &mut RecvMsg<'_, '_>) -> Result<(usize, M)> {
        let mut patience = sk.receive_patience(msg.flags);
        loop {
            sk.check_error()?;
            if let Some(received) = self.take(msg) {
                return received;
            }
            if sk.is_shut(RCV_SHUTDOWN) && !patience.is_none() {
                return Err(Errno::ESHUTDOWN);
            }
            patience.wait(&sk.rwait, Turn::Exclusive, || {
                !self.is_empty() || sk.has_error() || sk.is_shut(RCV_SHUTDOWN)
            })?;
        }
    }

    fn take(&self, msg: &mut RecvMsg<'_, '_>) -> Option<Result<(usize, M)>> {
        let _taking = self.iolock.lock();
        if msg.peeks() {
            return self.peek(msg);
        }
        let (data, meta) = {
            let mut list = self.list.lock();
            let (data, meta) = list.packets.pop_front()?;
            list.memory = list.memory.saturating_sub(data.truesize());
            (data, meta)
        };
        let wanted = data.len().min(msg.data.count());
        match data.copy_to(0, wanted, msg.data) {
            Ok(copied) if copied == wanted => Some(Ok((finish(msg, data.len(), copied), meta))),
            Ok(_) => Some(Err(Errno::EFAULT)),
            Err(error) => Some(Err(error)),
        }
    }

    fn peek(&self, msg: &mut RecvMsg<'_, '_>) -> Option<Result<(usize, M)>> {
        let (len, meta) = {
            let list = self.list.lock();
            let (data, meta) = list.packets.front()?;
            (data.len(), meta.clone())
        };
        let wanted = len.min(msg.data.count());
        let mut copied = 0;
        while copied < wanted {
            let piece = {
                let list = self.list.lock();
                list.packets
                    .front()
                    .and_then(|(data, _)| data.piece(copied))
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
        Some(Ok((finish(msg, len, copied), meta)))
    }
}

/// What the call returns: the copied length, or the real one for who asks with MSG_TRUNC.
pub fn finish(msg: &mut RecvMsg<'_, '_>, len: usize, copied: usize) -> usize {
    if len > copied {
        msg.out_flags |= MSG_TRUNC;
    }
    if msg.flags & MSG_TRUNC != 0 {
        len
    } else {
        copied
    }
}
