//! Sockets that only messages hold, messages that only such sockets hold (Linux:
//! net/unix/garbage.c).
//!
//! A descriptor that is sent keeps its file open while it is under way. Two sockets whose queues
//! hold each other, and that nobody has open, would stay for ever; they are found here. A socket
//! whose file is held by nothing but messages is a candidate. Candidates that some message
//! outside of the candidates' queues holds can still be received, and so can everything that
//! waits in their queues. The rest is unreachable, and its queues are emptied.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::fs::file::File;
use crate::net::core::scm::InFlight;
use crate::net::socket::sock_from_file;
use crate::net::unix::UnixSock;
use crate::prelude::*;

/// A local socket whose file is in some message.
struct Entry {
    sock: Weak<UnixSock>,
    file: Weak<File>,
    /// In how many messages.
    count: usize,
}

/// By the address of the socket. Taken before a socket's `state` and `queue`.
static INFLIGHT: SpinLock<BTreeMap<usize, Entry>> = SpinLock::new(BTreeMap::new());
/// Entries in the table, so that a close need not look.
static TOTAL: AtomicUsize = AtomicUsize::new(0);

fn unix_sock(file: &File) -> Option<&UnixSock> {
    sock_from_file(file).ok()?.as_any().downcast_ref()
}

fn key_of(sock: &UnixSock) -> usize {
    core::ptr::from_ref(sock).addr()
}

/// A file goes into a message (Linux: `unix_inflight`).
pub fn inflight(file: &Arc<File>) {
    let Some(sock) = unix_sock(file) else {
        return;
    };
    let mut table = INFLIGHT.lock();
    let entry = table.entry(key_of(sock)).or_insert_with(|| Entry {
        sock: sock.me.clone(),
        file: Arc::downgrade(file),
        count: 0,
    });
    entry.count += 1;
    TOTAL.store(table.len(), Ordering::Relaxed);
}

/// The message is received or thrown away (Linux: `unix_notinflight`).
pub fn notinflight(file: &Arc<File>) {
    let Some(sock) = unix_sock(file) else {
        return;
    };
    let mut table = INFLIGHT.lock();
    let key = key_of(sock);
    if let Some(entry) = table.get_mut(&key) {
        entry.count -= 1;
        if entry.count == 0 {
            table.remove(&key);
        }
    }
    TOTAL.store(table.len(), Ordering::Relaxed);
}

/// Calls `each` with every local socket in a message in the socket's queue, and in the queues of
/// connections that wait to be accepted.
fn for_each_queued(sock: &UnixSock, each: &mut dyn FnMut(usize)) {
    {
        let queue = sock.queue.lock();
        let messages = queue.skbs.iter().filter_map(|skb| skb.fds.as_deref());
        let files = messages.flat_map(InFlight::files);
        files
            .filter_map(|file| unix_sock(file))
            .for_each(|queued| each(key_of(queued)));
    }
    let pending: Vec<_> = sock.state.lock().pending.iter().cloned().collect();
    for embryo in pending {
        for_each_queued(&embryo, each);
    }
}

/// Takes the messages with files out of the socket's queues.
#[expect(clippy::vec_box, reason = "the boxes come from the messages")]
fn strip(sock: &UnixSock, stripped: &mut Vec<Box<InFlight>>) {
    for skb in &mut sock.queue.lock().skbs {
        stripped.extend(skb.fds.take());
    }
    let pending: Vec<_> = sock.state.lock().pending.iter().cloned().collect();
    pending.iter().for_each(|embryo| strip(embryo, stripped));
}

/// The sockets that nobody can receive any more.
fn find_garbage(table: &BTreeMap<usize, Entry>) -> Vec<Arc<UnixSock>> {
    // Candidates, with the number of messages outside of the candidates' queues that hold them.
    let mut outside: BTreeMap<usize, (Arc<UnixSock>, usize)> = BTreeMap::new();
    for (&key, entry) in table {
        if entry.file.strong_count() == entry.count
            && let Some(sock) = entry.sock.upgrade()
        {
            outside.insert(key, (sock, entry.count));
        }
    }
    let candidates: Vec<_> = outside.values().map(|(sock, _)| sock.clone()).collect();
    for sock in &candidates {
        for_each_queued(sock, &mut |key| {
            if let Some((_, count)) = outside.get_mut(&key) {
                *count = count.saturating_sub(1);
            }
        });
    }
    let mut reachable: Vec<usize> = Vec::new();
    reachable.extend(
        outside
            .iter()
            .filter(|(_, (_, count))| *count > 0)
            .map(|(key, _)| *key),
    );
    while let Some(key) = reachable.pop() {
        if let Some((sock, _)) = outside.remove(&key) {
            for_each_queued(&sock, &mut |queued| reachable.push(queued));
        }
    }
    outside.into_values().map(|(sock, _)| sock).collect()
}

/// Closes sockets that nobody can reach (Linux: `unix_gc`). May sleep.
pub fn unix_gc() {
    if TOTAL.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut stripped = Vec::new();
    {
        let table = INFLIGHT.lock();
        for sock in find_garbage(&table) {
            strip(&sock, &mut stripped);
        }
    }
    drop(stripped);
}
