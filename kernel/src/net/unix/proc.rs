//! /proc/net/unix (Linux: net/unix/af_unix.c, `unix_seq_show`).
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::sync::atomic::Ordering;

use crate::fs::proc::proc_create_single;
use crate::net::unix::UnixSock;
use crate::net::unix::address::all_sockets;
use crate::net::unix::af_unix::{ESTABLISHED, LISTEN};
use crate::prelude::*;

/// Flag of a listening socket (Linux: `__SO_ACCEPTCON`).
const ACCEPTCON: u32 = 1 << 16;
// States of a socket (Linux: `SS_*`): not connected, being connected, connected, going.
const SS_UNCONNECTED: u32 = 1;
const SS_CONNECTING: u32 = 2;
const SS_CONNECTED: u32 = 3;
const SS_DISCONNECTING: u32 = 4;

pub(super) fn unix_proc_init() -> Result {
    proc_create_single("net/unix", 0o444, show)
}

fn show(text: &mut String) -> Result {
    text.push_str("Num       RefCount Protocol Flags    Type St Inode Path\n");
    all_sockets()
        .iter()
        .try_for_each(|sock| show_one(sock, text))
}

fn show_one(sock: &Arc<UnixSock>, text: &mut String) -> Result {
    let ino = sock.common.ino.load(Ordering::Relaxed);
    let flags = if sock.phase() == LISTEN { ACCEPTCON } else { 0 };
    let connected = sock.phase() == ESTABLISHED;
    let state = match (ino != 0 && !sock.is_dead(), connected) {
        (true, true) => SS_CONNECTED,
        (true, false) => SS_UNCONNECTED,
        (false, true) => SS_CONNECTING,
        (false, false) => SS_DISCONNECTING,
    };
    let users = Arc::strong_count(sock);
    let kind = sock.common.kind;
    write!(
        text,
        "{:016x}: {users:08X} {:08X} {flags:08X} {kind:04X} {state:02X} {ino:5}",
        0, 0
    )?;
    if let Some(addr) = sock.addr() {
        write!(text, " {}", String::from_utf8_lossy(&addr.display()))?;
    }
    text.push('\n');
    Ok(())
}
