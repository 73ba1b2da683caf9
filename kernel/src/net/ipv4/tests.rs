//! What programs see of TCP and UDP over the loopback interface, without blocking.

use core::net::Ipv4Addr;
use core::sync::atomic::Ordering;

use uapi::poll::*;
use uapi::socket::*;

use crate::mm::uaccess::IovIter;
use crate::net::core::dev::LOOPBACK;
use crate::net::core::scm::{ScmIn, ScmOut};
use crate::net::core::sock::*;
use crate::net::ipv4::af_inet::Endpoint;
use crate::net::ipv4::devinet;
use crate::net::ipv4::raw::RawSock;
use crate::net::ipv4::tcp::TcpSock;
use crate::net::ipv4::tcp_stack::PACKETS_ONLY;
use crate::net::ipv4::udp::UdpSock;
use crate::prelude::*;

/// One test at a time: the stack's lock sleeps, which takes a task that tests do not have.
fn lo_up() -> std::sync::MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poison| poison.into_inner());
    devinet::change_flags(&LOOPBACK, "lo", IFF_UP);
    guard
}

/// Runs a test of TCP with bytes that go the short way, and with bytes in packets.
fn each_way(test: impl Fn()) {
    let _one = lo_up();
    for packets in [false, true] {
        PACKETS_ONLY.store(packets, Ordering::Relaxed);
        test();
    }
    PACKETS_ONLY.store(false, Ordering::Relaxed);
}

fn local(port: u16) -> SockAddr {
    let addr = Ipv4Addr::LOCALHOST;
    Endpoint { addr, port }.to_sockaddr()
}

fn send_to(sock: &dyn Sock, name: Option<&SockAddr>, bytes: &[u8]) -> Result<usize> {
    let mut data = IovIter::kernel_src(bytes);
    sock.sendmsg(&mut SendMsg {
        name,
        data: &mut data,
        flags: MSG_DONTWAIT,
        scm: ScmIn::default(),
    })
}

fn receive(sock: &dyn Sock, room: usize, flags: u32) -> Result<(Vec<u8>, Option<SockAddr>)> {
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
    let count = sock.recvmsg(&mut msg)?;
    let name = msg.name;
    drop(msg);
    bytes.truncate(count);
    Ok((bytes, name))
}

fn read(sock: &dyn Sock, room: usize) -> Result<Vec<u8>> {
    receive(sock, room, 0).map(|(bytes, _)| bytes)
}

/// A listening socket and its address.
fn listener(backlog: u32) -> (Arc<TcpSock>, SockAddr) {
    let sock = TcpSock::new(0);
    sock.bind(&local(0)).unwrap();
    sock.listen(backlog).unwrap();
    let name = sock.getname(Side::Local).unwrap();
    (sock, name)
}

fn connect(name: &SockAddr) -> Arc<TcpSock> {
    let sock = TcpSock::new(0);
    assert_eq!(sock.connect(name, MSG_DONTWAIT), Err(Errno::EINPROGRESS));
    assert_eq!(sock.connect(name, MSG_DONTWAIT), Ok(()));
    assert_eq!(sock.connect(name, MSG_DONTWAIT), Err(Errno::EISCONN));
    sock
}

fn pair() -> (Arc<TcpSock>, Arc<dyn Sock>) {
    let (listener, name) = listener(1);
    let client = connect(&name);
    let server = listener.accept(MSG_DONTWAIT).unwrap();
    listener.release();
    (client, server)
}

#[test]
fn tcp_carries_bytes_both_ways_and_ends_in_order() {
    each_way(|| {
        let (client, server) = pair();
        let peer = server.getname(Side::Peer).unwrap();
        assert_eq!(
            peer.as_bytes(),
            client.getname(Side::Local).unwrap().as_bytes()
        );
        assert_eq!(read(&*server, 10), Err(Errno::EAGAIN));
        assert_eq!(send_to(&*client, None, b"hello"), Ok(5));
        assert_ne!(server.poll(None) & POLLIN, 0);
        assert_eq!(receive(&*server, 10, MSG_PEEK).unwrap().0, b"hello");
        assert_eq!(read(&*server, 10), Ok(b"hello".to_vec()));
        assert_eq!(send_to(&*server, None, b"world"), Ok(5));
        client.shutdown(SEND_SHUTDOWN).unwrap();
        assert_eq!(read(&*server, 10), Ok(vec![]));
        assert_eq!(send_to(&*server, None, b"!"), Ok(1));
        assert_eq!(read(&*client, 10), Ok(b"world!".to_vec()));
        server.release();
        assert_eq!(read(&*client, 10), Ok(vec![]));
        assert_eq!(send_to(&*client, None, b"x"), Err(Errno::EPIPE));
        client.release();
    });
}

#[test]
fn tcp_stops_a_sender_whose_bytes_nobody_reads() {
    each_way(|| {
        let (client, server) = pair();
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i / 3) as u8).collect();
        let mut sent = send_to(&*client, None, &bytes).unwrap();
        assert!((65_536..=250_000).contains(&sent), "{sent}");
        assert_eq!(send_to(&*client, None, b"x"), Err(Errno::EAGAIN));
        assert_eq!(client.poll(None) & POLLOUT, 0);
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            match read(&*server, 20_000) {
                Ok(part) => back.extend(part),
                Err(error) => panic!("{error:?} after {} of {sent}", back.len()),
            }
            if sent < bytes.len()
                && let Ok(more) = send_to(&*client, None, &bytes[sent..])
            {
                sent += more;
            }
        }
        assert!(back == bytes);
        client.release();
        server.release();
    });
}

#[test]
fn a_port_without_a_listener_refuses() {
    each_way(|| {
        let sock = TcpSock::new(0);
        assert_eq!(
            sock.connect(&local(1), MSG_DONTWAIT),
            Err(Errno::EINPROGRESS)
        );
        assert_ne!(sock.poll(None) & POLLERR, 0);
        assert_eq!(sock.common().take_error(), Errno::ECONNREFUSED.code());
        sock.release();
    });
}

#[test]
fn a_reset_is_reported_once() {
    each_way(|| {
        let (client, server) = pair();
        send_to(&*client, None, b"unread").unwrap();
        server.release();
        assert_eq!(read(&*client, 10), Err(Errno::ECONNRESET));
        assert_eq!(read(&*client, 10), Ok(vec![]));
        assert_eq!(send_to(&*client, None, b"x"), Err(Errno::EPIPE));
        client.release();
    });
}

#[test]
fn connections_wait_in_the_backlog() {
    each_way(|| {
        let (listener, name) = listener(4);
        let clients: Vec<_> = (0..4).map(|_| connect(&name)).collect();
        assert_ne!(listener.poll(None) & POLLIN, 0);
        for client in &clients {
            let server = listener.accept(MSG_DONTWAIT).unwrap();
            let peer = server.getname(Side::Peer).unwrap();
            assert_eq!(
                peer.as_bytes(),
                client.getname(Side::Local).unwrap().as_bytes()
            );
            server.release();
        }
        assert_eq!(listener.accept(MSG_DONTWAIT).err(), Some(Errno::EAGAIN));
        clients.iter().for_each(|client| client.release());
        listener.release();
        assert_eq!(listener.accept(MSG_DONTWAIT).err(), Some(Errno::EINVAL));
    });
}

#[test]
fn a_full_backlog_does_not_refuse() {
    each_way(|| {
        let (listener, name) = listener(0);
        let first = connect(&name);
        let second = TcpSock::new(0);
        assert_eq!(second.connect(&name, MSG_DONTWAIT), Err(Errno::EINPROGRESS));
        assert_eq!(second.poll(None) & (POLLERR | POLLOUT), 0);
        second.release();
        listener.release();
        assert_eq!(read(&*first, 1), Err(Errno::ECONNRESET));
        first.release();
    });
}

#[test]
fn bytes_sent_before_the_accept_and_the_close_arrive() {
    each_way(|| {
        let (listener, name) = listener(1);
        let client = connect(&name);
        assert_eq!(send_to(&*client, None, b"early"), Ok(5));
        client.release();
        let server = listener.accept(MSG_DONTWAIT).unwrap();
        assert_eq!(read(&*server, 10), Ok(b"early".to_vec()));
        assert_eq!(read(&*server, 10), Ok(vec![]));
        // The first bytes to a closed end are lost, the next ones fail.
        assert_eq!(send_to(&*server, None, b"lost"), Ok(4));
        assert!(send_to(&*server, None, b"x").is_err());
        server.release();
        listener.release();
    });
}

#[test]
fn sockets_leave_the_stack_when_both_ends_are_closed() {
    each_way(|| {
        let (client, server) = pair();
        let (weak_client, weak_server) = (Arc::downgrade(&client), Arc::downgrade(&server));
        client.release();
        server.release();
        drop((client, server));
        assert!(weak_client.upgrade().is_none() && weak_server.upgrade().is_none());
    });
}

#[test]
fn udp_keeps_bounds_and_names_the_sender() {
    let _one = lo_up();
    let (one, two) = (UdpSock::new(0), UdpSock::new(0));
    one.bind(&local(0)).unwrap();
    let name = one.getname(Side::Local).unwrap();
    assert_eq!(send_to(&*two, None, b"x"), Err(Errno::EDESTADDRREQ));
    assert_eq!(send_to(&*two, Some(&name), b"first"), Ok(5));
    assert_eq!(send_to(&*two, Some(&name), b""), Ok(0));
    let (bytes, from) = receive(&*one, 3, 0).unwrap();
    assert_eq!(bytes, b"fir");
    let from = Endpoint::parse(&from.unwrap()).unwrap();
    assert_eq!(from.addr, Ipv4Addr::LOCALHOST);
    assert_eq!(
        from.port,
        Endpoint::parse(&two.getname(Side::Local).unwrap())
            .unwrap()
            .port
    );
    assert_eq!(read(&*one, 3), Ok(vec![]));
    assert_eq!(read(&*one, 3), Err(Errno::EAGAIN));
    assert_eq!(
        send_to(&*two, Some(&name), &[0; 65508]),
        Err(Errno::EMSGSIZE)
    );
    one.release();
    two.release();
}

#[test]
fn a_connected_udp_socket_hears_that_nobody_listens() {
    let _one = lo_up();
    let sock = UdpSock::new(0);
    sock.connect(&local(9), 0).unwrap();
    assert_eq!(send_to(&*sock, None, b"x"), Ok(1));
    assert_eq!(read(&*sock, 1), Err(Errno::ECONNREFUSED));
    assert_eq!(read(&*sock, 1), Err(Errno::EAGAIN));
    sock.release();
}

#[test]
fn an_echo_request_comes_back_as_a_reply() {
    let _one = lo_up();
    let sock = RawSock::new(IPPROTO_ICMP, 0);
    let mut request = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'];
    smoltcp::wire::Icmpv4Packet::new_unchecked(&mut request[..]).fill_checksum();
    // The request's own type is filtered, as ping does.
    sock.setsockopt(SOL_RAW, ICMP_FILTER, &(1u32 << 8).to_le_bytes())
        .unwrap();
    assert_eq!(send_to(&*sock, Some(&local(0)), &request), Ok(12));
    let (reply, from) = receive(&*sock, 100, 0).unwrap();
    assert_eq!(
        Endpoint::parse(&from.unwrap()).unwrap().addr,
        Ipv4Addr::LOCALHOST
    );
    assert_eq!((reply.len(), reply[0], reply[20]), (32, 0x45, 0));
    assert_eq!(reply[24..32], request[4..]);
    sock.release();
}

#[test]
fn addresses_of_other_machines_are_unreachable() {
    let _one = lo_up();
    let there = Endpoint {
        addr: Ipv4Addr::new(192, 0, 2, 1),
        port: 80,
    };
    let name = there.to_sockaddr();
    let (tcp, udp) = (TcpSock::new(0), UdpSock::new(0));
    assert_eq!(tcp.connect(&name, MSG_DONTWAIT), Err(Errno::ENETUNREACH));
    assert_eq!(send_to(&*udp, Some(&name), b"x"), Err(Errno::ENETUNREACH));
    assert_eq!(udp.bind(&name), Err(Errno::EADDRNOTAVAIL));
}
