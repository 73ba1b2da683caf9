//! The short way for the bytes of a connection within this machine.
//!
//! The state machines of the two ends make, shut and reset the connection with packets, but its
//! bytes go from one socket's sender straight into the other's queue, as Solaris' TCP fusion
//! does it: no headers, no acknowledgements, no copies on the way. An end of the stream or a
//! reset travels as a packet; a receiver looks for bytes before it believes in the end.
#![forbid(unsafe_code)]

use alloc::collections::{BTreeMap, VecDeque};

use crate::arch::PAGE_SIZE;
use crate::fs::sleep_lock::SleepLock;
use crate::mm::uaccess::IovIter;
use crate::net::core::skbuff::SkBuff;
use crate::net::core::sock::{Charge, WriteMem};
use crate::net::ipv4::af_inet::Endpoint;
use crate::net::ipv4::tcp::TcpSock;
use crate::prelude::*;

#[derive(Default)]
struct Queue {
    blocks: VecDeque<(SkBuff, Charge)>,
    bytes: usize,
    /// Nobody will read any more.
    closed: bool,
}

/// Bytes on their way in one direction.
#[derive(Default)]
pub struct Channel {
    queue: SpinLock<Queue>,
    /// Held while bytes are copied out, or to the last block.
    iolock: SleepLock,
}

impl Channel {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.queue.lock().bytes
    }
    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The reader is gone; returns whether bytes were left.
    pub fn close(&self) -> bool {
        let blocks = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.bytes = 0;
            core::mem::take(&mut queue.blocks)
        };
        !blocks.is_empty()
    }

    /// Queues the next of `left` bytes; returns how many. Errors: EPIPE when the reader is gone,
    /// EFAULT, ENOMEM.
    pub fn push(&self, mem: &Arc<WriteMem>, from: &mut IovIter<'_>, left: usize) -> Result<usize> {
        if left < PAGE_SIZE
            && let Some(added) = self.merge(mem, from, left)?
        {
            return Ok(added);
        }
        let data = SkBuff::copy_some_from(from, left)?;
        let len = data.len();
        let charge = mem.charge(data.truesize());
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return Err(Errno::EPIPE);
        }
        queue.bytes += len;
        queue.blocks.push_back((data, charge));
        Ok(len)
    }

    /// The last block, if it has room for `left` bytes: its page, where, and its place.
    fn tail(&self, mem: &Arc<WriteMem>, left: usize) -> Option<(crate::mm::page::PageRef, usize)> {
        let queue = self.queue.lock();
        let (data, charge) = queue.blocks.back()?;
        let fits = left <= data.tailroom() && charge.is_of(mem);
        fits.then(|| data.tail_page()).flatten()
    }

    /// Adds few bytes to the last block.
    fn merge(
        &self,
        mem: &Arc<WriteMem>,
        from: &mut IovIter<'_>,
        left: usize,
    ) -> Result<Option<usize>> {
        if self.tail(mem, left).is_none() {
            return Ok(None);
        }
        let _moving = self.iolock.lock();
        let Some((page, offset)) = self.tail(mem, left) else {
            return Ok(None);
        };
        let added = from.copy_page_from_iter(&page, offset, left)?;
        let mut queue = self.queue.lock();
        // Others may have queued blocks behind it meanwhile, but none can have been taken.
        let same = |data: &SkBuff| {
            data.tail_page()
                .is_some_and(|(other, at)| other.pfn() == page.pfn() && at == offset)
        };
        let Some((data, _)) = queue.blocks.iter_mut().rev().find(|(data, _)| same(data)) else {
            return Err(Errno::EPIPE);
        };
        data.added(added);
        queue.bytes += added;
        Ok(Some(added))
    }

    /// Moves what is there to `to`, or copies it when `peeks`. Errors: EFAULT.
    pub fn take(&self, to: &mut IovIter<'_>, peeks: bool) -> Result<usize> {
        let _moving = self.iolock.lock();
        let (mut done, mut index, mut skip) = (0, 0, 0);
        let room = to.count();
        while done < room {
            let piece = {
                let queue = self.queue.lock();
                queue.blocks.get(index).map(|(data, _)| data.piece(skip))
            };
            let Some(piece) = piece else {
                break;
            };
            let Some((page, offset, here)) = piece else {
                // Behind the last byte of a block that is only looked at.
                (index, skip) = (index + 1, 0);
                continue;
            };
            let wanted = here.min(room - done);
            let step = match to.copy_page_to_iter(&page, offset, wanted) {
                Ok(step) => step,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            done += step;
            if peeks {
                skip += step;
            } else {
                self.consume(step);
            }
            if step < wanted {
                break;
            }
        }
        Ok(done)
    }

    /// Takes bytes off the first block.
    fn consume(&self, count: usize) {
        let mut queue = self.queue.lock();
        let Some((data, _)) = queue.blocks.front_mut() else {
            return;
        };
        data.pull(count);
        let emptied = if data.is_empty() {
            queue.blocks.pop_front()
        } else {
            None
        };
        queue.bytes = queue.bytes.saturating_sub(count);
        drop(queue);
        drop(emptied);
    }
}

/// The end of a connection that a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It called connect(2).
    Client,
    /// It was accepted.
    Server,
}

/// Both directions of a connection, and the sockets to be woken.
#[derive(Default)]
pub struct Fusion {
    to_client: Channel,
    to_server: Channel,
    client: SpinLock<Weak<TcpSock>>,
    server: SpinLock<Weak<TcpSock>>,
}

/// A socket's view of its connection.
#[derive(Clone)]
pub struct Fused {
    fusion: Arc<Fusion>,
    end: End,
}

impl Fused {
    /// The bytes for this end.
    pub fn incoming(&self) -> &Channel {
        match self.end {
            End::Client => &self.fusion.to_client,
            End::Server => &self.fusion.to_server,
        }
    }
    /// The bytes for the other end.
    pub fn outgoing(&self) -> &Channel {
        match self.end {
            End::Client => &self.fusion.to_server,
            End::Server => &self.fusion.to_client,
        }
    }
    /// The socket at the other end; none before it is accepted.
    pub fn other(&self) -> Option<Arc<TcpSock>> {
        let slot = match self.end {
            End::Client => &self.fusion.server,
            End::Server => &self.fusion.client,
        };
        slot.lock().upgrade()
    }
}

/// Client's and server's end.
type Key = (u32, u16, u32, u16);

fn key(client: Endpoint, server: Endpoint) -> Key {
    (
        client.addr.to_bits(),
        client.port,
        server.addr.to_bits(),
        server.port,
    )
}

/// Connections that were not accepted yet.
static PENDING: SpinLock<BTreeMap<Key, Arc<Fusion>>> = SpinLock::new(BTreeMap::new());

/// A socket starts to connect.
pub fn start(sock: Weak<TcpSock>, client: Endpoint, server: Endpoint) -> Fused {
    let fusion = Arc::new(Fusion::default());
    *fusion.client.lock() = sock;
    PENDING.lock().insert(key(client, server), fusion.clone());
    Fused {
        fusion,
        end: End::Client,
    }
}

/// A connection is accepted as `sock`.
pub fn accept(sock: Weak<TcpSock>, client: Endpoint, server: Endpoint) -> Option<Fused> {
    let fusion = PENDING.lock().remove(&key(client, server))?;
    *fusion.server.lock() = sock;
    Some(Fused {
        fusion,
        end: End::Server,
    })
}

/// A connection will not be accepted any more.
pub fn give_up(client: Endpoint, server: Endpoint) {
    let fusion = PENDING.lock().remove(&key(client, server));
    if let Some(fusion) = fusion {
        fusion.to_server.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::core::sock::SockCommon;

    fn push(channel: &Channel, mem: &Arc<WriteMem>, bytes: &[u8]) -> Result<usize> {
        channel.push(mem, &mut IovIter::kernel_src(bytes), bytes.len())
    }

    fn take(channel: &Channel, room: usize, peeks: bool) -> Vec<u8> {
        let mut bytes = vec![0; room];
        let count = channel
            .take(&mut IovIter::kernel_dst(&mut bytes), peeks)
            .unwrap();
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn bytes_are_merged_peeked_at_and_taken() {
        let sk = SockCommon::new(2, 1, 6, 0);
        let channel = Channel::default();
        assert_eq!(push(&channel, &sk.wmem, b"abc"), Ok(3));
        assert_eq!(push(&channel, &sk.wmem, b"def"), Ok(3));
        assert_eq!(push(&channel, &sk.wmem, &[7; 5000]), Ok(4096));
        assert_eq!(push(&channel, &sk.wmem, &[8; 20_000]), Ok(16384));
        assert_eq!(channel.queue.lock().blocks.len(), 3);
        assert_eq!(take(&channel, 8, true), b"abcdef\x07\x07");
        assert_eq!(take(&channel, 4, false), b"abcd");
        assert_eq!(take(&channel, 30_000, true).len(), 2 + 4096 + 16384);
        assert_eq!(take(&channel, 30_000, false).len(), 2 + 4096 + 16384);
        assert!(channel.is_empty());
        assert_eq!(sk.wmem.used(), 0);
    }

    #[test]
    fn a_closed_channel_takes_nothing() {
        let sk = SockCommon::new(2, 1, 6, 0);
        let channel = Channel::default();
        push(&channel, &sk.wmem, b"left").unwrap();
        assert!(channel.close());
        assert_eq!(sk.wmem.used(), 0);
        assert_eq!(push(&channel, &sk.wmem, b"x"), Err(Errno::EPIPE));
        assert_eq!(sk.wmem.used(), 0);
    }
}
