//! The options of SOL_SOCKET (Linux: net/core/sock.c, `sk_setsockopt`, `sk_getsockopt`).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::Pod;
use uapi::capability::CAP_NET_ADMIN;
use uapi::socket::*;
use uapi::time::Timeval;

use crate::kernel::cred::Cred;
use crate::net::core::sock::{FOREVER, MEM_DEFAULT, MIN_RCVBUF, MIN_SNDBUF, Sock, SockCommon};
use crate::prelude::*;

/// The int that most options take. Errors: EINVAL when there are too few bytes.
pub fn int_option(value: &[u8]) -> Result<i32> {
    if value.len() < 4 {
        return Err(Errno::EINVAL);
    }
    Ok(i32::read_from(value))
}

/// setsockopt(2) with SOL_SOCKET. Errors: EINVAL, EPERM, EDOM, ENODEV, ENOPROTOOPT.
pub fn set(sk: &SockCommon, name: i32, value: &[u8], cred: &Cred) -> Result {
    if name == SO_BINDTODEVICE {
        return bind_to_device(value);
    }
    let int = int_option(value)?;
    let privileged = || {
        if cred.has_cap(CAP_NET_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    };
    match name {
        SO_DEBUG if int != 0 => {
            cred.has_cap(CAP_NET_ADMIN)
                .then_some(())
                .ok_or(Errno::EACCES)?;
            sk.set_option(name, true);
        }
        SO_DEBUG | SO_REUSEADDR | SO_REUSEPORT | SO_DONTROUTE | SO_BROADCAST | SO_KEEPALIVE
        | SO_OOBINLINE | SO_NO_CHECK | SO_PASSCRED | SO_PASSSEC | SO_RXQ_OVFL => {
            sk.set_option(name, int != 0);
        }
        SO_TIMESTAMP | SO_TIMESTAMPNS => {
            sk.set_option(SO_TIMESTAMP, false);
            sk.set_option(SO_TIMESTAMPNS, false);
            sk.set_option(name, int != 0);
        }
        SO_SNDBUF => sk.set_sndbuf(buffer_size(int, MEM_DEFAULT, MIN_SNDBUF)),
        SO_RCVBUF => {
            let size = buffer_size(int, MEM_DEFAULT, MIN_RCVBUF);
            sk.rcvbuf.store(size, Ordering::Relaxed);
        }
        SO_SNDBUFFORCE => {
            privileged()?;
            sk.set_sndbuf(buffer_size(int.max(0), i32::MAX, MIN_SNDBUF));
        }
        SO_RCVBUFFORCE => {
            privileged()?;
            let size = buffer_size(int.max(0), i32::MAX, MIN_RCVBUF);
            sk.rcvbuf.store(size, Ordering::Relaxed);
        }
        SO_PRIORITY => {
            if !(0..=6).contains(&int) {
                privileged()?;
            }
            sk.priority.store(int, Ordering::Relaxed);
        }
        SO_MARK => {
            privileged()?;
            sk.mark.store(int as u32, Ordering::Relaxed);
        }
        SO_LINGER => set_linger(sk, value)?,
        SO_RCVLOWAT => {
            let low = if int < 0 { i32::MAX } else { int.max(1) };
            sk.rcvlowat.store(low, Ordering::Relaxed);
        }
        SO_RCVTIMEO => sk.rcvtimeo.store(timeout(value)?, Ordering::Relaxed),
        SO_SNDTIMEO => sk.sndtimeo.store(timeout(value)?, Ordering::Relaxed),
        SO_INCOMING_CPU => {}
        SO_DETACH_FILTER => return Err(Errno::ENOENT),
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}

/// What Linux makes of a wish for a buffer: twice as much, within bounds.
fn buffer_size(wish: i32, max: i32, min: i32) -> i32 {
    // A negative wish is a very large one to Linux's unsigned comparison.
    let wish = if wish < 0 { max } else { wish.min(max) };
    wish.min(i32::MAX / 2).saturating_mul(2).max(min)
}

fn set_linger(sk: &SockCommon, value: &[u8]) -> Result {
    if value.len() < Linger::SIZE {
        return Err(Errno::EINVAL);
    }
    let linger = Linger::read_from(value);
    sk.linger.store(linger.l_linger.max(0), Ordering::Relaxed);
    sk.set_option(SO_LINGER, linger.l_onoff != 0);
    Ok(())
}

/// The time-out in ns; zero means none (Linux: `sock_set_timeout`). Errors: EINVAL, EDOM.
fn timeout(value: &[u8]) -> Result<u64> {
    if value.len() < Timeval::SIZE {
        return Err(Errno::EINVAL);
    }
    let time = Timeval::read_from(value);
    if !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EDOM);
    }
    let Ok(seconds) = u64::try_from(time.tv_sec) else {
        return Ok(0);
    };
    let ns = seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_usec as u64 * 1000);
    Ok(if ns == 0 { FOREVER } else { ns })
}

fn timeval_of(timeout: u64) -> Timeval {
    let timeout = if timeout == FOREVER { 0 } else { timeout };
    crate::kernel::time::ns_to_timeval(timeout)
}

/// The one interface there is can be named. Errors: ENODEV.
fn bind_to_device(value: &[u8]) -> Result {
    let end = value
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(value.len());
    match &value[..end.min(IFNAMSIZ - 1)] {
        b"" | b"lo" => Ok(()),
        _ => Err(Errno::ENODEV),
    }
}

fn pod<T: Pod>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    value.write_to(&mut bytes);
    bytes
}

/// getsockopt(2) with SOL_SOCKET. Errors: ENOPROTOOPT, and what the protocol answers.
pub fn get(sock: &dyn Sock, name: i32) -> Result<Vec<u8>> {
    let sk = sock.common();
    let int = match name {
        SO_DEBUG | SO_REUSEADDR | SO_REUSEPORT | SO_DONTROUTE | SO_BROADCAST | SO_KEEPALIVE
        | SO_OOBINLINE | SO_NO_CHECK | SO_PASSCRED | SO_PASSSEC | SO_TIMESTAMP | SO_TIMESTAMPNS
        | SO_RXQ_OVFL => i32::from(sk.option(name)),
        SO_TYPE => sk.kind as i32,
        SO_PROTOCOL => sk.protocol,
        SO_DOMAIN => i32::from(sk.family),
        SO_ERROR => {
            sock.refresh();
            sk.take_error()
        }
        SO_SNDBUF => sk.sndbuf(),
        SO_RCVBUF => sk.rcvbuf.load(Ordering::Relaxed),
        SO_PRIORITY => sk.priority.load(Ordering::Relaxed),
        SO_MARK => sk.mark.load(Ordering::Relaxed) as i32,
        SO_RCVLOWAT => sk.rcvlowat.load(Ordering::Relaxed),
        SO_SNDLOWAT => 1,
        SO_ACCEPTCONN => i32::from(sock.is_listening()),
        SO_BSDCOMPAT => 0,
        SO_INCOMING_CPU => crate::arch::smp_processor_id() as i32,
        SO_LINGER => {
            return Ok(pod(&Linger {
                l_onoff: i32::from(sk.option(SO_LINGER)),
                l_linger: sk.linger.load(Ordering::Relaxed),
            }));
        }
        SO_RCVTIMEO => return Ok(pod(&timeval_of(sk.rcvtimeo.load(Ordering::Relaxed)))),
        SO_SNDTIMEO => return Ok(pod(&timeval_of(sk.sndtimeo.load(Ordering::Relaxed)))),
        SO_BINDTODEVICE => return Ok(Vec::new()),
        SO_COOKIE => return Ok(pod(&sk.ino.load(Ordering::Relaxed))),
        _ => return sock.getsockopt(SOL_SOCKET, name),
    };
    Ok(pod(&int))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_doubled_within_bounds() {
        assert_eq!(buffer_size(10_000, MEM_DEFAULT, MIN_SNDBUF), 20_000);
        assert_eq!(buffer_size(1, MEM_DEFAULT, MIN_SNDBUF), MIN_SNDBUF);
        assert_eq!(buffer_size(i32::MAX, MEM_DEFAULT, MIN_SNDBUF), 425_984);
        assert_eq!(buffer_size(-1, MEM_DEFAULT, MIN_SNDBUF), 425_984);
        assert_eq!(buffer_size(i32::MAX, i32::MAX, MIN_SNDBUF), i32::MAX - 1);
    }

    #[test]
    fn a_zero_timeout_waits_for_ever_and_odd_ones_are_refused() {
        let value = |tv_sec, tv_usec| pod(&Timeval { tv_sec, tv_usec });
        assert_eq!(timeout(&value(0, 0)), Ok(FOREVER));
        assert_eq!(timeout(&value(2, 500_000)), Ok(2_500_000_000));
        assert_eq!(timeout(&value(1, 1_000_000)), Err(Errno::EDOM));
        assert_eq!(timeout(&value(-1, 0)), Ok(0));
        assert_eq!(timeout(&[0; 8]), Err(Errno::EINVAL));
        assert_eq!(
            timeval_of(FOREVER),
            Timeval {
                tv_sec: 0,
                tv_usec: 0
            }
        );
    }

    #[test]
    fn options_are_remembered() {
        let sk = SockCommon::new(AF_UNIX, SOCK_STREAM, 0, 0);
        let root = Cred::root();
        set(&sk, SO_PASSCRED, &[1, 0, 0, 0], &root).unwrap();
        assert!(sk.option(SO_PASSCRED) && !sk.option(SO_KEEPALIVE));
        assert_eq!(
            set(&sk, SO_TYPE, &[1, 0, 0, 0], &root),
            Err(Errno::ENOPROTOOPT)
        );
        assert_eq!(set(&sk, SO_PASSCRED, &[1, 0], &root), Err(Errno::EINVAL));
        assert_eq!(
            set(&sk, SO_BINDTODEVICE, b"eth0\0", &root),
            Err(Errno::ENODEV)
        );
    }
}
