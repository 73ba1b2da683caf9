//! System calls that make, name, connect and set up sockets.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use uapi::fcntl::{O_CLOEXEC, O_NONBLOCK};
use uapi::resource::RLIMIT_NOFILE;
use uapi::socket::*;

use crate::fs::fdtable::OnExec;
use crate::fs::file::current_files;
use crate::fs::rlimit::rlimit;
use crate::kernel::sched::current;
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, copy_to_user, get_user, put_user};
use crate::net::core::sock::{RCV_SHUTDOWN, SEND_SHUTDOWN, Side, Sock, SockAddr};
use crate::net::core::sockopt;
use crate::net::socket::sockfs::*;
use crate::prelude::*;

/// Most bytes of an option's value.
const OPTION_MAX: usize = 4096;

/// /proc/sys/net/core/somaxconn: greatest backlog of listen(2).
static SYSCTL_SOMAXCONN: AtomicU32 = AtomicU32::new(SOMAXCONN);

static NET_CORE_TABLE: [CtlTable; 1] = [CtlTable {
    path: "net/core/somaxconn",
    get: || format!("{}", SYSCTL_SOMAXCONN.load(Ordering::Relaxed)),
    set: Some(|text| {
        SYSCTL_SOMAXCONN.store(parse_number(text, 0, i32::MAX as u32)?, Ordering::Relaxed);
        Ok(())
    }),
}];

#[__init]
fn sysctl_core_init() -> Result {
    register_sysctl(&NET_CORE_TABLE);
    Ok(())
}
fs_initcall!(sysctl_core_init);

/// Splits a socket type from its flags. Errors: EINVAL for unknown flags.
fn split_type(kind: u32) -> Result<(u32, u32)> {
    let flags = kind & !SOCK_TYPE_MASK;
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((kind & SOCK_TYPE_MASK, flags))
}

/// Gives a socket a file and the file a descriptor (Linux: `sock_map_fd`).
fn sock_map_fd(sock: Arc<dyn Sock>, flags: u32) -> Result<u32> {
    let file = sock_alloc_file(sock, flags & O_NONBLOCK)?;
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    current_files()?.install(file, rlimit(RLIMIT_NOFILE), on_exec)
}

/// socket(2). Errors: EAFNOSUPPORT, EINVAL, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM, EMFILE, ENFILE.
pub fn sys_socket(family: i32, kind: u32, protocol: i32) -> Result<u32> {
    let (kind, flags) = split_type(kind)?;
    sock_map_fd(sock_create(family, kind, protocol)?, flags)
}

/// socketpair(2). Errors: EOPNOTSUPP but for AF_UNIX, and those of socket(2).
pub fn sys_socketpair(family: i32, kind: u32, protocol: i32, usockvec: UserAddr) -> Result {
    let (kind, flags) = split_type(kind)?;
    let one = sock_create(family, kind, protocol)?;
    let two = match sock_create(family, kind, protocol) {
        Ok(two) => two,
        Err(error) => {
            one.release();
            return Err(error);
        }
    };
    let paired = crate::net::unix::socketpair(&one, &two);
    let one = sock_alloc_file(one, flags & O_NONBLOCK);
    let two = sock_alloc_file(two, flags & O_NONBLOCK);
    paired?;
    let (one, two) = (one?, two?);
    let files = current_files()?;
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    let limit = rlimit(RLIMIT_NOFILE);
    let fd_one = files.alloc(0, limit, on_exec)?;
    let fd_two = files.alloc(0, limit, on_exec)?;
    put_user(usockvec, &[fd_one.number(), fd_two.number()])?;
    fd_one.install(one);
    fd_two.install(two);
    Ok(())
}

/// bind(2). Errors: EBADF, ENOTSOCK, EINVAL, EADDRINUSE, EADDRNOTAVAIL, EACCES.
pub fn sys_bind(fd: i32, addr: UserAddr, len: i32) -> Result {
    let file = sockfd_lookup(fd)?;
    let addr = SockAddr::from_user(addr, len)?;
    sock_from_file(&file)?.bind(&addr)
}

/// listen(2). Errors: EBADF, ENOTSOCK, EOPNOTSUPP, EINVAL.
pub fn sys_listen(fd: i32, backlog: i32) -> Result {
    let file = sockfd_lookup(fd)?;
    let most = SYSCTL_SOMAXCONN.load(Ordering::Relaxed);
    // A negative backlog is a very large one.
    let backlog = (backlog as u32).min(most);
    sock_from_file(&file)?.listen(backlog)
}

/// accept4(2). Errors: EBADF, ENOTSOCK, EINVAL, EOPNOTSUPP, EAGAIN, ECONNABORTED, EMFILE, EFAULT.
pub fn sys_accept4(fd: i32, addr: UserAddr, len: UserAddr, flags: u32) -> Result<u32> {
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = sockfd_lookup(fd)?;
    let files = current_files()?;
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    let new_fd = files.alloc(0, rlimit(RLIMIT_NOFILE), on_exec)?;
    let sock = sock_from_file(&file)?.accept(wait_flag(&file))?;
    let new_file = sock_alloc_file(sock.clone(), flags & O_NONBLOCK)?;
    if addr.as_u64() != 0 {
        let peer = sock.getname(Side::Peer).map_err(|_| Errno::ECONNABORTED)?;
        peer.to_user(addr, len)?;
    }
    Ok(new_fd.install(new_file))
}

/// accept(2).
pub fn sys_accept(fd: i32, addr: UserAddr, len: UserAddr) -> Result<u32> {
    sys_accept4(fd, addr, len, 0)
}

/// connect(2). Errors: EBADF, ENOTSOCK, ECONNREFUSED, EINPROGRESS, EISCONN, EAGAIN and more.
pub fn sys_connect(fd: i32, addr: UserAddr, len: i32) -> Result {
    let file = sockfd_lookup(fd)?;
    let addr = SockAddr::from_user(addr, len)?;
    sock_from_file(&file)?.connect(&addr, wait_flag(&file))
}

fn getname(fd: i32, addr: UserAddr, len: UserAddr, side: Side) -> Result {
    let file = sockfd_lookup(fd)?;
    sock_from_file(&file)?.getname(side)?.to_user(addr, len)
}

/// getsockname(2).
pub fn sys_getsockname(fd: i32, addr: UserAddr, len: UserAddr) -> Result {
    getname(fd, addr, len, Side::Local)
}

/// getpeername(2). Errors: ENOTCONN.
pub fn sys_getpeername(fd: i32, addr: UserAddr, len: UserAddr) -> Result {
    getname(fd, addr, len, Side::Peer)
}

/// shutdown(2). Errors: EINVAL, ENOTCONN.
pub fn sys_shutdown(fd: i32, how: u32) -> Result {
    let file = sockfd_lookup(fd)?;
    let directions = match how {
        SHUT_RD => RCV_SHUTDOWN,
        SHUT_WR => SEND_SHUTDOWN,
        SHUT_RDWR => RCV_SHUTDOWN | SEND_SHUTDOWN,
        _ => return Err(Errno::EINVAL),
    };
    sock_from_file(&file)?.shutdown(directions)
}

/// setsockopt(2). Errors: EINVAL, ENOPROTOOPT, EFAULT, EDOM, EPERM.
pub fn sys_setsockopt(fd: i32, level: i32, name: i32, value: UserAddr, len: i32) -> Result {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    let file = sockfd_lookup(fd)?;
    let sock = sock_from_file(&file)?;
    let mut bytes = vec![0; len.min(OPTION_MAX)];
    copy_from_user(&mut bytes, value)?;
    if level == SOL_SOCKET {
        let set = sockopt::set(sock.common(), name, &bytes, &current().cred());
        // Protocols hear of the common options too: some of them change how they work.
        if set.is_ok() {
            let _ = sock.setsockopt(level, name, &bytes);
        }
        return set;
    }
    sock.setsockopt(level, name, &bytes)
}

/// getsockopt(2). Errors: EINVAL, ENOPROTOOPT, EFAULT, ERANGE for SO_PEERGROUPS.
pub fn sys_getsockopt(fd: i32, level: i32, name: i32, value: UserAddr, len: UserAddr) -> Result {
    let file = sockfd_lookup(fd)?;
    let sock = sock_from_file(&file)?;
    let room: i32 = get_user(len)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let bytes = if level == SOL_SOCKET {
        sockopt::get(&**sock, name)?
    } else {
        sock.getsockopt(level, name)?
    };
    if (level, name) == (SOL_SOCKET, SO_PEERGROUPS) && room < bytes.len() {
        put_user(len, &(bytes.len() as i32))?;
        return Err(Errno::ERANGE);
    }
    let bytes = bytes.get(..room).unwrap_or(&bytes);
    copy_to_user(value, bytes)?;
    put_user(len, &(bytes.len() as i32))
}
