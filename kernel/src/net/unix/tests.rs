//! What programs see of local sockets, without blocking: the calls are made with MSG_DONTWAIT.

use core::sync::atomic::Ordering;

use uapi::Pod;
use uapi::poll::*;
use uapi::socket::*;

use crate::mm::uaccess::IovIter;
use crate::net::core::scm::{ScmIn, ScmOut};
use crate::net::core::sock::*;
use crate::net::unix::{UnixSock, socketpair};
use crate::prelude::*;

fn pair(kind: u32) -> (Arc<UnixSock>, Arc<UnixSock>) {
    let (one, two) = (UnixSock::new(kind, 0), UnixSock::new(kind, 0));
    let (dyn_one, dyn_two): (Arc<dyn Sock>, Arc<dyn Sock>) = (one.clone(), two.clone());
    socketpair(&dyn_one, &dyn_two).unwrap();
    (one, two)
}

fn send_to(sock: &UnixSock, name: Option<&SockAddr>, bytes: &[u8]) -> Result<usize> {
    let mut data = IovIter::kernel_src(bytes);
    sock.sendmsg(&mut SendMsg {
        name,
        data: &mut data,
        flags: MSG_DONTWAIT,
        scm: ScmIn::default(),
    })
}

fn send(sock: &UnixSock, bytes: &[u8]) -> Result<usize> {
    send_to(sock, None, bytes)
}

/// Bytes, what the call returned, flags, credentials, sender.
struct Received {
    bytes: Vec<u8>,
    returned: usize,
    flags: u32,
    cred: Option<Ucred>,
    name: Option<Vec<u8>>,
}

fn receive(sock: &UnixSock, room: usize, flags: u32) -> Result<Received> {
    let mut bytes = vec![0; room];
    let mut data = IovIter::kernel_dst(&mut bytes);
    let mut msg = RecvMsg {
        data: &mut data,
        flags: flags | MSG_DONTWAIT,
        wants_name: true,
        out_flags: 0,
        name: None,
        scm: ScmOut::default(),
    };
    let returned = sock.recvmsg(&mut msg)?;
    let (flags, cred) = (msg.out_flags, msg.scm.cred);
    let name = msg.name.map(|name| name.as_bytes().to_vec());
    drop(msg);
    bytes.truncate(returned);
    Ok(Received {
        bytes,
        returned,
        flags,
        cred,
        name,
    })
}

fn read(sock: &UnixSock, room: usize) -> Result<Vec<u8>> {
    receive(sock, room, 0).map(|received| received.bytes)
}

fn abstract_name(name: &str) -> SockAddr {
    let mut bytes = AF_UNIX.to_le_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    SockAddr::new(&bytes)
}

#[test]
fn a_stream_has_no_message_bounds() {
    let (a, b) = pair(SOCK_STREAM);
    assert_eq!(send(&a, b"hello "), Ok(6));
    assert_eq!(send(&a, b"world"), Ok(5));
    assert_eq!(read(&b, 8), Ok(b"hello wo".to_vec()));
    assert_eq!(read(&b, 100), Ok(b"rld".to_vec()));
    assert_eq!(read(&b, 100), Err(Errno::EAGAIN));
}

#[test]
fn a_large_write_is_cut_at_the_send_buffer_and_comes_back_whole() {
    let (a, b) = pair(SOCK_STREAM);
    let bytes: Vec<u8> = (0..400_000u32).map(|i| (i / 7) as u8).collect();
    let sent = send(&a, &bytes).unwrap();
    assert!((190_000..230_000).contains(&sent), "{sent}");
    assert_eq!(send(&a, b"x"), Err(Errno::EAGAIN));
    assert_eq!(a.poll(None) & POLLOUT, 0);
    let mut back = Vec::new();
    while let Ok(part) = read(&b, 10_000) {
        back.extend(part);
    }
    assert!(back == bytes[..sent]);
    assert_ne!(a.poll(None) & POLLOUT, 0);
    assert_eq!(a.common().wmem.used(), 0);
}

#[test]
fn many_small_writes_share_pages() {
    let (a, b) = pair(SOCK_STREAM);
    for i in 0..5000u32 {
        assert_eq!(send(&a, &[i as u8]), Ok(1), "{i}");
    }
    assert!(b.queue.lock().skbs.len() <= 2);
    let back = read(&b, 6000).unwrap();
    assert!(back.iter().enumerate().all(|(i, &byte)| byte == i as u8) && back.len() == 5000);
}

#[test]
fn peeking_leaves_the_bytes() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, &[1; 5000]).unwrap();
    send(&a, &[2; 5000]).unwrap();
    let peeked = receive(&b, 9000, MSG_PEEK).unwrap();
    assert_eq!(
        (peeked.bytes[0], peeked.bytes[8999], peeked.returned),
        (1, 2, 9000)
    );
    assert_eq!(read(&b, 20_000).unwrap().len(), 10_000);
}

#[test]
fn a_closed_end_reads_as_end_of_file_and_breaks_the_pipe() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"last").unwrap();
    a.release();
    assert_eq!(
        b.poll(None) & (POLLIN | POLLHUP | POLLRDHUP),
        POLLIN | POLLHUP | POLLRDHUP
    );
    assert_eq!(read(&b, 10), Ok(b"last".to_vec()));
    assert_eq!(read(&b, 10), Ok(vec![]));
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
}

#[test]
fn unread_bytes_at_close_reset_the_connection() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"unread").unwrap();
    b.release();
    assert_ne!(a.poll(None) & POLLERR, 0);
    assert_eq!(read(&a, 10), Err(Errno::ECONNRESET));
    assert_eq!(read(&a, 10), Ok(vec![]));
}

#[test]
fn half_a_connection_can_be_shut() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"before").unwrap();
    a.shutdown(SEND_SHUTDOWN).unwrap();
    assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
    assert_eq!(read(&b, 10), Ok(b"before".to_vec()));
    assert_eq!(read(&b, 10), Ok(vec![]));
    assert_eq!(send(&b, b"back"), Ok(4));
    assert_eq!(read(&a, 10), Ok(b"back".to_vec()));
}

#[test]
fn a_connection_waits_in_the_backlog_and_works_before_it_is_accepted() {
    let (listener, client) = (UnixSock::new(SOCK_STREAM, 0), UnixSock::new(SOCK_STREAM, 0));
    let name = abstract_name("backlog-test");
    assert_eq!(listener.listen(1), Err(Errno::EINVAL));
    listener.bind(&name).unwrap();
    assert_eq!(
        client.connect(&name, MSG_DONTWAIT),
        Err(Errno::ECONNREFUSED)
    );
    listener.listen(0).unwrap();
    assert_eq!(listener.accept(MSG_DONTWAIT).err(), Some(Errno::EAGAIN));
    client.connect(&name, MSG_DONTWAIT).unwrap();
    assert_eq!(client.connect(&name, MSG_DONTWAIT), Err(Errno::EISCONN));
    assert_eq!(send(&client, b"early"), Ok(5));
    let second = UnixSock::new(SOCK_STREAM, 0);
    assert_eq!(second.connect(&name, MSG_DONTWAIT), Err(Errno::EAGAIN));
    assert_ne!(listener.poll(None) & POLLIN, 0);
    let server = listener.accept(MSG_DONTWAIT).unwrap();
    assert_eq!(
        server.getname(Side::Local).unwrap().as_bytes(),
        name.as_bytes()
    );
    assert_eq!(
        client.getname(Side::Peer).unwrap().as_bytes(),
        name.as_bytes()
    );
    assert_eq!(
        server.getname(Side::Peer).unwrap().as_bytes(),
        AF_UNIX.to_le_bytes()
    );
    let server = server.as_any().downcast_ref::<UnixSock>().unwrap();
    assert_eq!(read(server, 10), Ok(b"early".to_vec()));
    second.connect(&name, MSG_DONTWAIT).unwrap();
    listener.release();
    assert_eq!(read(&second, 1), Err(Errno::ECONNRESET));
    assert_eq!(
        UnixSock::new(SOCK_STREAM, 0).connect(&name, 0),
        Err(Errno::ECONNREFUSED)
    );
}

#[test]
fn an_abstract_name_is_free_again_after_close() {
    let name = abstract_name("reuse-test");
    let (one, two) = (UnixSock::new(SOCK_DGRAM, 0), UnixSock::new(SOCK_DGRAM, 0));
    one.bind(&name).unwrap();
    assert_eq!(one.bind(&name), Err(Errno::EINVAL));
    assert_eq!(two.bind(&name), Err(Errno::EADDRINUSE));
    one.release();
    two.bind(&name).unwrap();
    two.release();
}

#[test]
fn autobind_finds_a_name_of_five_digits() {
    let sock = UnixSock::new(SOCK_DGRAM, 0);
    sock.bind(&SockAddr::new(&AF_UNIX.to_le_bytes())).unwrap();
    let name = sock.getname(Side::Local).unwrap();
    let bytes = name.as_bytes();
    assert_eq!((bytes.len(), bytes[2]), (8, 0));
    assert!(bytes[3..].iter().all(u8::is_ascii_hexdigit));
    sock.release();
}

#[test]
fn datagrams_keep_their_bounds_and_say_who_sent_them() {
    let (to, from) = (UnixSock::new(SOCK_DGRAM, 0), UnixSock::new(SOCK_DGRAM, 0));
    let (to_name, from_name) = (abstract_name("dgram-to"), abstract_name("dgram-from"));
    to.bind(&to_name).unwrap();
    from.bind(&from_name).unwrap();
    assert_eq!(send(&from, b"x"), Err(Errno::ENOTCONN));
    assert_eq!(send_to(&from, Some(&to_name), b"one"), Ok(3));
    assert_eq!(send_to(&from, Some(&to_name), b""), Ok(0));
    assert_eq!(send_to(&from, Some(&to_name), b"three"), Ok(5));
    let first = receive(&to, 2, 0).unwrap();
    assert_eq!((first.bytes, first.flags), (b"on".to_vec(), MSG_TRUNC));
    assert_eq!(first.name.as_deref(), Some(from_name.as_bytes()));
    assert_eq!(read(&to, 10), Ok(vec![]));
    assert_eq!(receive(&to, 2, MSG_PEEK | MSG_TRUNC).unwrap().returned, 5);
    assert_eq!(receive(&to, 2, MSG_TRUNC).unwrap().returned, 5);
    assert_eq!(read(&to, 10), Err(Errno::EAGAIN));
    to.release();
    from.release();
}

#[test]
fn a_full_queue_stops_senders_of_datagrams() {
    let (to, from) = (UnixSock::new(SOCK_DGRAM, 0), UnixSock::new(SOCK_DGRAM, 0));
    let name = abstract_name("queue-test");
    to.bind(&name).unwrap();
    from.connect(&name, 0).unwrap();
    for _ in 0..11 {
        assert_eq!(send(&from, b"m"), Ok(1));
    }
    assert_eq!(send(&from, b"m"), Err(Errno::EAGAIN));
    assert_eq!(from.poll(None) & POLLOUT, 0);
    read(&to, 1).unwrap();
    assert_ne!(from.poll(None) & POLLOUT, 0);
    assert_eq!(send(&from, b"m"), Ok(1));
    to.release();
    assert_eq!(send(&from, b"m"), Err(Errno::ECONNREFUSED));
    assert_eq!(send(&from, b"m"), Err(Errno::ENOTCONN));
}

#[test]
fn a_connected_datagram_socket_hears_its_peer_only() {
    let (one, two) = (UnixSock::new(SOCK_DGRAM, 0), UnixSock::new(SOCK_DGRAM, 0));
    let (one_name, two_name) = (abstract_name("one-peer"), abstract_name("two-peer"));
    one.bind(&one_name).unwrap();
    two.bind(&two_name).unwrap();
    one.connect(&two_name, 0).unwrap();
    let third = UnixSock::new(SOCK_DGRAM, 0);
    assert_eq!(send_to(&third, Some(&one_name), b"x"), Err(Errno::EPERM));
    assert_eq!(third.connect(&one_name, 0), Err(Errno::EPERM));
    assert_eq!(send_to(&two, Some(&one_name), b"x"), Ok(1));
    one.connect(&SockAddr::new(&AF_UNSPEC.to_le_bytes()), 0)
        .unwrap();
    assert_eq!(send(&one, b"x"), Err(Errno::ENOTCONN));
    one.release();
    two.release();
}

#[test]
fn packets_keep_bounds_on_a_connection() {
    let (a, b) = pair(SOCK_SEQPACKET);
    send(&a, b"first").unwrap();
    send(&a, b"second").unwrap();
    assert_eq!(receive(&b, 3, 0).unwrap().flags, MSG_TRUNC);
    assert_eq!(read(&b, 10), Ok(b"second".to_vec()));
    let name = abstract_name("x");
    assert_eq!(send_to(&a, Some(&name), b"x"), Err(Errno::EISCONN));
    a.release();
    assert_eq!(read(&b, 10), Ok(vec![]));
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
}

#[test]
fn credentials_come_when_asked_for_and_divide_a_stream() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"before").unwrap();
    b.common().set_option(SO_PASSCRED, true);
    send(&a, b"after").unwrap();
    let first = receive(&b, 100, 0).unwrap();
    assert_eq!(first.bytes, b"before");
    assert_eq!(
        first.cred.unwrap(),
        Ucred {
            pid: 0,
            uid: 65534,
            gid: 65534
        }
    );
    let second = receive(&b, 100, 0).unwrap();
    assert_eq!(
        (second.bytes, second.cred.unwrap()),
        (b"after".to_vec(), Ucred::default())
    );
}

#[test]
fn the_peer_of_a_pair_is_known() {
    let (a, _b) = pair(SOCK_STREAM);
    let bytes = a.getsockopt(SOL_SOCKET, SO_PEERCRED).unwrap();
    assert_eq!(Ucred::read_from(&bytes), Ucred::default());
    let lonely = UnixSock::new(SOCK_STREAM, 0);
    let bytes = lonely.getsockopt(SOL_SOCKET, SO_PEERCRED).unwrap();
    assert_eq!(Ucred::read_from(&bytes).uid, u32::MAX);
    assert_eq!(lonely.getname(Side::Peer).err(), Some(Errno::ENOTCONN));
    assert_eq!(read(&lonely, 1), Err(Errno::EINVAL));
    assert_eq!(lonely.poll(None) & POLLHUP, POLLHUP);
}

#[test]
fn a_message_larger_than_the_buffer_is_refused() {
    let (a, _b) = pair(SOCK_DGRAM);
    a.common().set_sndbuf(4608);
    assert_eq!(send(&a, &[0; 4600]), Err(Errno::EMSGSIZE));
    assert_eq!(send(&a, &[0; 4500]), Ok(4500));
    assert!(!a.common().has_error());
}

#[test]
fn released_sockets_leave_no_memory_behind() {
    let (a, b) = pair(SOCK_STREAM);
    send(&a, b"x").unwrap();
    let (weak_a, weak_b) = (Arc::downgrade(&a), Arc::downgrade(&b));
    a.release();
    b.release();
    drop((a, b));
    assert!(weak_a.upgrade().is_none() && weak_b.upgrade().is_none());
}

#[test]
fn shutdown_bits_are_kept_apart() {
    let (a, b) = pair(SOCK_STREAM);
    b.shutdown(RCV_SHUTDOWN).unwrap();
    assert_eq!(a.common().shutdown.load(Ordering::Relaxed), SEND_SHUTDOWN);
    assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
}
