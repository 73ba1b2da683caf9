//! /proc/net/{tcp,udp,udplite,raw,route,arp,sockstat} (Linux: net/ipv4/tcp_ipv4.c, udp.c, raw.c,
//! fib_trie.c, arp.c, proc.c).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::Ordering;

use crate::fs::proc::proc_create_single;
use crate::net::ipv4::af_inet::{Endpoint, InetSock};
use crate::net::ipv4::fib::{self, hex};
use crate::net::ipv4::tcp_stack::with_stack;
use crate::net::ipv4::{raw, tcp, udp};
use crate::net::socket::sockets_in_use;
use crate::prelude::*;

/// State of an unconnected socket, and of a connected one.
const CLOSE: u8 = 7;
const ESTABLISHED: u8 = 1;

/// Registers the files (Linux: `ip_proc_init` and its neighbours).
pub(super) fn ip_proc_init() -> Result {
    proc_create_single("net/tcp", 0o444, tcp_show)?;
    proc_create_single("net/udp", 0o444, udp_show)?;
    proc_create_single("net/udplite", 0o444, udplite_show)?;
    proc_create_single("net/raw", 0o444, raw_show)?;
    proc_create_single("net/route", 0o444, fib::route_show)?;
    proc_create_single("net/arp", 0o444, arp_show)?;
    proc_create_single("net/sockstat", 0o444, sockstat_show)
}

fn ends(local: Endpoint, remote: Endpoint) -> String {
    format!(
        "{:08X}:{:04X} {:08X}:{:04X}",
        hex(local.addr),
        local.port,
        hex(remote.addr),
        remote.port
    )
}

/// Linux: `tcp4_seq_show`.
fn tcp_show(text: &mut String) -> Result {
    let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                  uid  timeout inode";
    writeln!(text, "{header:<149}")?;
    for (slot, sock) in tcp::all().iter().enumerate() {
        let row = sock.row();
        let (local, remote) = sock.inet.names();
        if row.state == CLOSE && local.port == 0 {
            continue;
        }
        let common = &sock.inet.common;
        let line = format!(
            "{slot:4}: {} {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5} {:8} {} {} {:016x} 20 4 30 10 -1",
            ends(local, remote.unwrap_or(Endpoint::NONE)),
            row.state,
            row.tx_queue,
            row.rx_queue,
            common.uid,
            0,
            common.ino.load(Ordering::Relaxed),
            Arc::strong_count(sock),
            0,
        );
        writeln!(text, "{line:<149}")?;
    }
    Ok(())
}

/// A line of /proc/net/udp and /proc/net/raw.
fn datagram_line(
    slot: usize,
    width: usize,
    inet: &InetSock,
    usage: (usize, u64),
    users: usize,
) -> String {
    let (local, remote) = inet.names();
    let state = if remote.is_some() { ESTABLISHED } else { CLOSE };
    let remote = remote.unwrap_or(Endpoint::NONE);
    let (memory, dropped) = usage;
    format!(
        "{slot:width$}: {} {state:02X} {:08X}:{memory:08X} 00:00000000 00000000 {:5} {:8} {} {users} {:016x} {dropped}",
        ends(local, remote),
        0,
        inet.common.uid,
        0,
        inet.common.ino.load(Ordering::Relaxed),
        0,
    )
}

const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when \
                          retrnsmt   uid  timeout inode ref pointer drops";

/// Linux: `udp4_seq_show`.
fn udp_show(text: &mut String) -> Result {
    writeln!(text, "{UDP_HEADER:<127}")?;
    for (slot, sock) in udp::all().iter().enumerate() {
        let line = datagram_line(slot, 5, &sock.inet, sock.usage(), Arc::strong_count(sock));
        writeln!(text, "{line:<127}")?;
    }
    Ok(())
}

fn udplite_show(text: &mut String) -> Result {
    writeln!(text, "{UDP_HEADER:<127}")?;
    Ok(())
}

/// Linux: `raw_seq_show`. The local port is the protocol.
fn raw_show(text: &mut String) -> Result {
    text.push_str(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
         uid  timeout inode ref pointer drops\n",
    );
    for (slot, sock) in raw::all().iter().enumerate() {
        let line = datagram_line(slot, 4, &sock.inet, sock.usage(), Arc::strong_count(sock));
        writeln!(text, "{line}")?;
    }
    Ok(())
}

fn arp_show(text: &mut String) -> Result {
    text.push_str(
        "IP address       HW type     Flags       HW address            Mask     Device\n",
    );
    Ok(())
}

/// Linux: `sockstat_seq_show`.
fn sockstat_show(text: &mut String) -> Result {
    let orphans = with_stack(|stack| stack.orphans());
    let tcp = tcp::all().len();
    writeln!(text, "sockets: used {}", sockets_in_use())?;
    writeln!(
        text,
        "TCP: inuse {tcp} orphan {orphans} tw 0 alloc {} mem 0",
        tcp + orphans
    )?;
    writeln!(text, "UDP: inuse {} mem 0", udp::all().len())?;
    writeln!(text, "UDPLITE: inuse 0\nRAW: inuse {}", raw::all().len())?;
    writeln!(text, "FRAG: inuse 0 memory 0")?;
    Ok(())
}
