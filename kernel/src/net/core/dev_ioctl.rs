//! The ioctls of interfaces and their addresses (Linux: net/core/dev_ioctl.c,
//! net/ipv4/devinet.c, net/ipv4/fib_frontend.c).
#![forbid(unsafe_code)]

use core::net::Ipv4Addr;
use core::sync::atomic::Ordering;

use uapi::Pod;
use uapi::ioctls::*;
use uapi::socket::*;

use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::net::core::dev::{NetDevice, dev_by_index, dev_by_name};
use crate::net::core::sock::may_administrate;
use crate::net::ipv4::{devinet, fib};
use crate::prelude::*;

/// What every socket understands. Errors: ENOTTY for what is no such command, ENODEV, EPERM,
/// EADDRNOTAVAIL, EINVAL, EFAULT.
pub fn dev_ioctl(cmd: u32, arg: UserAddr) -> Result<i64> {
    match cmd {
        SIOCGIFCONF => ifconf(arg)?,
        SIOCADDRT | SIOCDELRT => {
            privileged()?;
            fib::ioctl_route(cmd == SIOCADDRT, &get_user(arg)?)?;
        }
        SIOCGARP => return Err(Errno::ENXIO),
        SIOCGIFNAME => {
            let mut request: Ifreq = get_user(arg)?;
            let dev = dev_by_index(i32::read_from(&request.ifr_data)).ok_or(Errno::ENODEV)?;
            request.ifr_name = [0; IFNAMSIZ];
            request.ifr_name[..dev.name.len()].copy_from_slice(dev.name.as_bytes());
            put_user(arg, &request)?;
        }
        SIOCGIFFLAGS..=SIOCSIFMTU
        | SIOCSIFHWADDR..=SIOCGIFHWADDR
        | SIOCGIFINDEX
        | SIOCGIFTXQLEN
        | SIOCSIFTXQLEN
        | SIOCETHTOOL
        | SIOCGIFMAP
        | SIOCSIFMAP => {
            interface(cmd, arg)?;
        }
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}

fn privileged() -> Result {
    if may_administrate() {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The name up to its NUL. Errors: EINVAL when it is no text.
fn name_of(request: &Ifreq) -> Result<&str> {
    let bytes = &request.ifr_name[..IFNAMSIZ - 1];
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..end]).map_err(|_| Errno::EINVAL)
}

/// Puts an IPv4 address into the union.
fn set_sockaddr(request: &mut Ifreq, addr: Ipv4Addr) {
    request.ifr_data = [0; 24];
    request.ifr_data[..2].copy_from_slice(&AF_INET.to_le_bytes());
    request.ifr_data[4..8].copy_from_slice(&addr.octets());
}

/// The IPv4 address in the union. Errors: EINVAL for another family.
fn sockaddr(request: &Ifreq) -> Result<Ipv4Addr> {
    let data = &request.ifr_data;
    if u16::read_from(data) != AF_INET {
        return Err(Errno::EINVAL);
    }
    Ok(Ipv4Addr::new(data[4], data[5], data[6], data[7]))
}

fn interface(cmd: u32, arg: UserAddr) -> Result {
    let mut request: Ifreq = get_user(arg)?;
    let name = String::from(name_of(&request)?);
    let dev = dev_by_name(&name).ok_or(Errno::ENODEV)?;
    match cmd {
        SIOCGIFADDR | SIOCGIFDSTADDR | SIOCGIFBRDADDR | SIOCGIFNETMASK => {
            let ifa = devinet::by_label(&name).ok_or(Errno::EADDRNOTAVAIL)?;
            let value = match cmd {
                SIOCGIFBRDADDR => ifa.broadcast,
                SIOCGIFNETMASK => ifa.mask(),
                _ => ifa.addr,
            };
            set_sockaddr(&mut request, value);
            put_user(arg, &request)
        }
        SIOCSIFADDR => {
            privileged()?;
            devinet::set_address(&name, sockaddr(&request)?)
        }
        SIOCSIFNETMASK => {
            privileged()?;
            devinet::set_netmask(&name, sockaddr(&request)?)
        }
        SIOCSIFBRDADDR => {
            privileged()?;
            devinet::set_broadcast(&name, sockaddr(&request)?)
        }
        SIOCSIFDSTADDR => privileged(),
        SIOCSIFFLAGS => {
            privileged()?;
            devinet::change_flags(dev, &name, u32::from(u16::read_from(&request.ifr_data)));
            Ok(())
        }
        SIOCSIFMTU | SIOCSIFTXQLEN => {
            privileged()?;
            set_number(dev, cmd, i32::read_from(&request.ifr_data))
        }
        SIOCSIFHWADDR | SIOCSIFMAP | SIOCETHTOOL | SIOCSIFMETRIC => Err(Errno::EOPNOTSUPP),
        _ => {
            request.ifr_data = [0; 24];
            get_number(dev, cmd, &mut request)?;
            put_user(arg, &request)
        }
    }
}

fn set_number(dev: &NetDevice, cmd: u32, value: i32) -> Result {
    let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
    if cmd == SIOCSIFMTU {
        dev.mtu.store(value, Ordering::Relaxed);
        crate::net::ipv4::tcp_stack::mtu_changed(value as usize);
    } else {
        dev.txqlen.store(value, Ordering::Relaxed);
    }
    Ok(())
}

fn get_number(dev: &NetDevice, cmd: u32, request: &mut Ifreq) -> Result {
    let value = match cmd {
        SIOCGIFFLAGS => dev.flags() & 0xffff,
        SIOCGIFMETRIC => 0,
        SIOCGIFMTU => dev.mtu.load(Ordering::Relaxed),
        SIOCGIFHWADDR => u32::from(dev.kind),
        SIOCGIFINDEX => dev.ifindex as u32,
        SIOCGIFTXQLEN => dev.txqlen.load(Ordering::Relaxed),
        SIOCGIFMAP => 0,
        _ => return Err(Errno::EINVAL),
    };
    value.write_to(&mut request.ifr_data);
    Ok(())
}

/// SIOCGIFCONF: the interfaces with addresses; without a buffer, how much room they take.
fn ifconf(arg: UserAddr) -> Result {
    let mut conf: Ifconf = get_user(arg)?;
    let room = usize::try_from(conf.ifc_len).map_err(|_| Errno::EINVAL)?;
    let mut used = 0;
    for ifa in devinet::addresses() {
        if conf.ifc_buf != 0 {
            if used + Ifreq::SIZE > room {
                break;
            }
            let mut request = Ifreq::default();
            let len = ifa.label.len().min(IFNAMSIZ - 1);
            request.ifr_name[..len].copy_from_slice(&ifa.label.as_bytes()[..len]);
            set_sockaddr(&mut request, ifa.addr);
            let at = UserAddr::new(conf.ifc_buf).checked_add(used as u64);
            put_user(at.ok_or(Errno::EFAULT)?, &request)?;
        }
        used += Ifreq::SIZE;
    }
    conf.ifc_len = used as i32;
    put_user(arg, &conf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_taken_out_of_requests() {
        let mut request = Ifreq::default();
        request.ifr_name[..4].copy_from_slice(b"lo:0");
        assert_eq!(name_of(&request), Ok("lo:0"));
        set_sockaddr(&mut request, Ipv4Addr::new(127, 0, 0, 1));
        assert_eq!(sockaddr(&request), Ok(Ipv4Addr::LOCALHOST));
        request.ifr_data[0] = 10;
        assert_eq!(sockaddr(&request), Err(Errno::EINVAL));
        request.ifr_name = [b'x'; 16];
        assert_eq!(name_of(&request).map(str::len), Ok(15));
        request.ifr_name[0] = 0xff;
        assert_eq!(name_of(&request), Err(Errno::EINVAL));
    }
}
