//! System calls that send and receive.
#![forbid(unsafe_code)]

use uapi::Pod;
use uapi::socket::*;
use uapi::time::Timespec;
use uapi::uio::UIO_MAXIOV;

use crate::fs::file::File;
use crate::kernel::time::{ktime_get, ns_to_timespec, timespec_to_ns};
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, import_iovec, import_ubuf, put_user};
use crate::net::core::scm::{ControlBuffer, ScmIn, ScmOut, scm_send};
use crate::net::core::sock::{RecvMsg, SendMsg, SockAddr};
use crate::net::socket::sockfs::*;
use crate::prelude::*;

/// Flags that only the kernel sets.
const INTERNAL_FLAGS: u32 = 0x000f_0000 & !MSG_WAITFORONE;

/// Offsets in `struct user_msghdr` of what recvmsg(2) writes.
const NAMELEN_OFFSET: u64 = 8;
const CONTROLLEN_OFFSET: u64 = 40;
const FLAGS_OFFSET: u64 = 48;

/// sendto(2). Errors: EBADF, ENOTSOCK, EFAULT, EAGAIN, EPIPE, EMSGSIZE and more.
pub fn sys_sendto(
    fd: i32,
    buf: UserAddr,
    len: usize,
    flags: u32,
    addr: UserAddr,
    addr_len: i32,
) -> Result<usize> {
    let mut data = import_ubuf(buf, len)?;
    let file = sockfd_lookup(fd)?;
    let name;
    let name = if addr.as_u64() == 0 {
        None
    } else {
        name = SockAddr::from_user(addr, addr_len)?;
        Some(&name)
    };
    let mut msg = SendMsg {
        name,
        data: &mut data,
        flags: flags & !INTERNAL_FLAGS | wait_flag(&file),
        scm: ScmIn::default(),
    };
    sock_sendmsg(&**sock_from_file(&file)?, &mut msg)
}

/// recvfrom(2). Errors: EBADF, ENOTSOCK, EFAULT, EAGAIN, ENOTCONN and more.
pub fn sys_recvfrom(
    fd: i32,
    buf: UserAddr,
    len: usize,
    flags: u32,
    addr: UserAddr,
    addr_len: UserAddr,
) -> Result<usize> {
    let mut data = import_ubuf(buf, len)?;
    let file = sockfd_lookup(fd)?;
    let mut msg = RecvMsg {
        data: &mut data,
        flags: flags | wait_flag(&file),
        wants_name: addr.as_u64() != 0,
        out_flags: 0,
        name: None,
        scm: ScmOut::default(),
    };
    let received = sock_from_file(&file)?.recvmsg(&mut msg)?;
    if addr.as_u64() != 0 {
        let name = msg.name.unwrap_or(SockAddr::new(&[]));
        name.to_user(addr, addr_len)?;
    }
    Ok(received)
}

/// Checks a header (Linux: `__copy_msghdr`). Errors: EFAULT, EINVAL, EMSGSIZE, ENOBUFS.
fn copy_msghdr(addr: UserAddr) -> Result<Msghdr> {
    let mut header: Msghdr = get_user(addr)?;
    if header.msg_name == 0 {
        header.msg_namelen = 0;
    }
    if header.msg_namelen < 0 {
        return Err(Errno::EINVAL);
    }
    header.msg_namelen = header.msg_namelen.min(SOCKADDR_STORAGE_SIZE as i32);
    if header.msg_iovlen > UIO_MAXIOV as u64 {
        return Err(Errno::EMSGSIZE);
    }
    if header.msg_controllen > i32::MAX as u64 {
        return Err(Errno::ENOBUFS);
    }
    Ok(header)
}

/// Linux: `___sys_sendmsg`.
fn send_one(file: &File, addr: UserAddr, flags: u32) -> Result<usize> {
    let header = copy_msghdr(addr)?;
    let iov = import_iovec(UserAddr::new(header.msg_iov), header.msg_iovlen as usize)?;
    let sock = sock_from_file(file)?;
    let name;
    let name = if header.msg_namelen == 0 {
        None
    } else {
        name = SockAddr::from_user(UserAddr::new(header.msg_name), header.msg_namelen)?;
        Some(&name)
    };
    let control = UserAddr::new(header.msg_control);
    let takes_fds = sock.common().family == AF_UNIX;
    let scm = scm_send(control, header.msg_controllen as usize, takes_fds)?;
    let mut msg = SendMsg {
        name,
        data: &mut iov.iter(),
        flags: flags & !INTERNAL_FLAGS | wait_flag(file),
        scm,
    };
    sock_sendmsg(&**sock, &mut msg)
}

/// sendmsg(2).
pub fn sys_sendmsg(fd: i32, msg: UserAddr, flags: u32) -> Result<usize> {
    send_one(&*sockfd_lookup(fd)?, msg, flags)
}

/// sendmmsg(2): messages sent before the first failure.
pub fn sys_sendmmsg(fd: i32, vec: UserAddr, len: u32, flags: u32) -> Result<usize> {
    let file = sockfd_lookup(fd)?;
    let len = (len as usize).min(UIO_MAXIOV);
    for done in 0..len {
        let entry = vec
            .checked_add((done * Mmsghdr::SIZE) as u64)
            .ok_or(Errno::EFAULT)?;
        let result = send_one(&file, entry, flags).and_then(|sent| {
            let count_at = entry
                .checked_add(Msghdr::SIZE as u64)
                .ok_or(Errno::EFAULT)?;
            put_user(count_at, &(sent as u32))
        });
        match result {
            Ok(()) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => return Ok(done),
        }
    }
    Ok(len)
}

/// Linux: `___sys_recvmsg`.
fn receive_one(file: &File, addr: UserAddr, flags: u32) -> Result<(usize, u32)> {
    let header = copy_msghdr(addr)?;
    let iov = import_iovec(UserAddr::new(header.msg_iov), header.msg_iovlen as usize)?;
    let mut data = iov.iter();
    let mut msg = RecvMsg {
        data: &mut data,
        flags: flags | wait_flag(file),
        wants_name: header.msg_name != 0,
        out_flags: flags & MSG_CMSG_CLOEXEC,
        name: None,
        scm: ScmOut::default(),
    };
    let received = sock_from_file(file)?.recvmsg(&mut msg)?;
    if header.msg_name != 0 {
        let name = msg.name.unwrap_or(SockAddr::new(&[]));
        // The room is what the checked copy says, not what the user may have put there since.
        put_user(addr + NAMELEN_OFFSET, &header.msg_namelen)?;
        name.to_user(UserAddr::new(header.msg_name), addr + NAMELEN_OFFSET)?;
    }
    let room = header.msg_controllen as usize;
    let mut control = ControlBuffer::new(UserAddr::new(header.msg_control), room);
    control.put_all(&mut msg.scm, flags)?;
    if control.is_truncated() {
        msg.out_flags |= MSG_CTRUNC;
    }
    put_user(addr + FLAGS_OFFSET, &msg.out_flags)?;
    put_user(addr + CONTROLLEN_OFFSET, &(control.used() as u64))?;
    Ok((received, msg.out_flags))
}

/// recvmsg(2).
pub fn sys_recvmsg(fd: i32, msg: UserAddr, flags: u32) -> Result<usize> {
    let (received, _) = receive_one(&*sockfd_lookup(fd)?, msg, flags)?;
    Ok(received)
}

/// recvmmsg(2): messages received. The time-out is looked at between messages only, and what is
/// left of it is written back.
pub fn sys_recvmmsg(
    fd: i32,
    vec: UserAddr,
    len: u32,
    flags: u32,
    timeout: UserAddr,
) -> Result<usize> {
    let deadline = match timeout.as_u64() {
        0 => None,
        _ => {
            let time: Timespec = get_user(timeout)?;
            Some(ktime_get().saturating_add(timespec_to_ns(&time)?))
        }
    };
    let file = sockfd_lookup(fd)?;
    sock_from_file(&file)?.common().check_error()?;
    let received = receive_many(&file, vec, len as usize, flags, deadline)?;
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(ktime_get());
        put_user(timeout, &ns_to_timespec(left))?;
    }
    Ok(received)
}

fn receive_many(
    file: &File,
    vec: UserAddr,
    len: usize,
    mut flags: u32,
    deadline: Option<u64>,
) -> Result<usize> {
    let len = len.min(UIO_MAXIOV);
    for done in 0..len {
        let entry = vec
            .checked_add((done * Mmsghdr::SIZE) as u64)
            .ok_or(Errno::EFAULT)?;
        let result = receive_one(file, entry, flags & !MSG_WAITFORONE);
        let (received, out_flags) = match result {
            Ok(result) => result,
            Err(error) if done == 0 => return Err(error),
            Err(Errno::EAGAIN) => return Ok(done),
            Err(error) => {
                // Reported by the next call: messages were received.
                sock_from_file(file)?.common().set_error(error);
                return Ok(done);
            }
        };
        put_user(entry + Msghdr::SIZE as u64, &(received as u32))?;
        if flags & MSG_WAITFORONE != 0 {
            flags |= MSG_DONTWAIT;
        }
        let late = deadline.is_some_and(|deadline| ktime_get() >= deadline);
        if late || out_flags & MSG_OOB != 0 {
            return Ok(done + 1);
        }
    }
    Ok(len)
}
