//! ioctl numbers by device. Linux: asm-generic/ioctl.h, asm-generic/ioctls.h, linux/fs.h,
//! linux/sockios.h, linux/fb.h, linux/hdreg.h. Those of keyboards and virtual consoles are in
//! [`crate::kd`] and [`crate::vt`].

/// Direction bits of an encoded number: no argument.
pub const IOC_NONE: u32 = 0;
/// Direction bits of an encoded number: the kernel reads the argument.
pub const IOC_WRITE: u32 = 1;
/// Direction bits of an encoded number: the kernel writes the argument.
pub const IOC_READ: u32 = 2;

/// Encodes a number from direction, type, number and argument size in bytes. Linux: `_IOC`.
pub const fn ioc(dir: u32, kind: u8, nr: u8, size: usize) -> u32 {
    dir << 30 | (size as u32) << 16 | (kind as u32) << 8 | nr as u32
}

/// Direction of an encoded number (`IOC_*`).
pub const fn ioc_dir(cmd: u32) -> u32 {
    cmd >> 30
}

/// Type letter of an encoded number.
pub const fn ioc_type(cmd: u32) -> u8 {
    (cmd >> 8) as u8
}

/// Number within its type.
pub const fn ioc_nr(cmd: u32) -> u8 {
    cmd as u8
}

/// Size of the argument in bytes.
pub const fn ioc_size(cmd: u32) -> usize {
    (cmd >> 16 & 0x3fff) as usize
}

// Terminals.
pub const TCGETS: u32 = 0x5401;
pub const TCSETS: u32 = 0x5402;
pub const TCSETSW: u32 = 0x5403;
pub const TCSETSF: u32 = 0x5404;
pub const TCGETA: u32 = 0x5405;
pub const TCSETA: u32 = 0x5406;
pub const TCSETAW: u32 = 0x5407;
pub const TCSETAF: u32 = 0x5408;
pub const TCSBRK: u32 = 0x5409;
pub const TCXONC: u32 = 0x540a;
pub const TCFLSH: u32 = 0x540b;
pub const TIOCEXCL: u32 = 0x540c;
pub const TIOCNXCL: u32 = 0x540d;
pub const TIOCSCTTY: u32 = 0x540e;
pub const TIOCGPGRP: u32 = 0x540f;
pub const TIOCSPGRP: u32 = 0x5410;
pub const TIOCOUTQ: u32 = 0x5411;
pub const TIOCSTI: u32 = 0x5412;
pub const TIOCGWINSZ: u32 = 0x5413;
pub const TIOCSWINSZ: u32 = 0x5414;
pub const TIOCMGET: u32 = 0x5415;
pub const TIOCMBIS: u32 = 0x5416;
pub const TIOCMBIC: u32 = 0x5417;
pub const TIOCMSET: u32 = 0x5418;
pub const TIOCGSOFTCAR: u32 = 0x5419;
pub const TIOCSSOFTCAR: u32 = 0x541a;
pub const FIONREAD: u32 = 0x541b;
pub const TIOCINQ: u32 = FIONREAD;
pub const TIOCLINUX: u32 = 0x541c;
pub const TIOCCONS: u32 = 0x541d;
pub const TIOCGSERIAL: u32 = 0x541e;
pub const TIOCSSERIAL: u32 = 0x541f;
pub const TIOCPKT: u32 = 0x5420;
pub const FIONBIO: u32 = 0x5421;
pub const TIOCNOTTY: u32 = 0x5422;
pub const TIOCSETD: u32 = 0x5423;
pub const TIOCGETD: u32 = 0x5424;
pub const TCSBRKP: u32 = 0x5425;
pub const TIOCSBRK: u32 = 0x5427;
pub const TIOCCBRK: u32 = 0x5428;
pub const TIOCGSID: u32 = 0x5429;
pub const TCGETS2: u32 = 0x802c_542a;
pub const TCSETS2: u32 = 0x402c_542b;
pub const TCSETSW2: u32 = 0x402c_542c;
pub const TCSETSF2: u32 = 0x402c_542d;
pub const TIOCGRS485: u32 = 0x542e;
pub const TIOCSRS485: u32 = 0x542f;
pub const TIOCGPTN: u32 = 0x8004_5430;
pub const TIOCSPTLCK: u32 = 0x4004_5431;
pub const TIOCGDEV: u32 = 0x8004_5432;
pub const TCGETX: u32 = 0x5432;
pub const TCSETX: u32 = 0x5433;
pub const TIOCSIG: u32 = 0x4004_5436;
pub const TIOCVHANGUP: u32 = 0x5437;
pub const TIOCGPKT: u32 = 0x8004_5438;
pub const TIOCGPTLCK: u32 = 0x8004_5439;
pub const TIOCGEXCL: u32 = 0x8004_5440;
pub const TIOCGPTPEER: u32 = 0x5441;
pub const FIONCLEX: u32 = 0x5450;
pub const FIOCLEX: u32 = 0x5451;
pub const FIOASYNC: u32 = 0x5452;
pub const TIOCSERCONFIG: u32 = 0x5453;
pub const TIOCSERGWILD: u32 = 0x5454;
pub const TIOCSERSWILD: u32 = 0x5455;
pub const TIOCGLCKTRMIOS: u32 = 0x5456;
pub const TIOCSLCKTRMIOS: u32 = 0x5457;
pub const TIOCSERGSTRUCT: u32 = 0x5458;
pub const TIOCSERGETLSR: u32 = 0x5459;
pub const TIOCMIWAIT: u32 = 0x545c;
pub const TIOCGICOUNT: u32 = 0x545d;
pub const FIOQSIZE: u32 = 0x5460;

// Block devices.
pub const BLKROSET: u32 = 0x125d;
pub const BLKROGET: u32 = 0x125e;
pub const BLKRRPART: u32 = 0x125f;
/// Size in 512-byte sectors, as an unsigned long.
pub const BLKGETSIZE: u32 = 0x1260;
pub const BLKFLSBUF: u32 = 0x1261;
pub const BLKRASET: u32 = 0x1262;
pub const BLKRAGET: u32 = 0x1263;
pub const BLKFRASET: u32 = 0x1264;
pub const BLKFRAGET: u32 = 0x1265;
pub const BLKSECTGET: u32 = 0x1267;
pub const BLKSSZGET: u32 = 0x1268;
pub const BLKPG: u32 = 0x1269;
pub const BLKBSZGET: u32 = 0x8008_1270;
pub const BLKBSZSET: u32 = 0x4008_1271;
/// Size in bytes.
pub const BLKGETSIZE64: u32 = 0x8008_1272;
pub const BLKDISCARD: u32 = 0x1277;
pub const BLKIOMIN: u32 = 0x1278;
pub const BLKIOOPT: u32 = 0x1279;
pub const BLKALIGNOFF: u32 = 0x127a;
pub const BLKPBSZGET: u32 = 0x127b;
pub const BLKDISCARDZEROES: u32 = 0x127c;
pub const BLKSECDISCARD: u32 = 0x127d;
pub const BLKROTATIONAL: u32 = 0x127e;
pub const BLKZEROOUT: u32 = 0x127f;
pub const BLKGETDISKSEQ: u32 = 0x8008_1280;
pub const HDIO_GETGEO: u32 = 0x0301;
pub const HDIO_GET_IDENTITY: u32 = 0x030d;
pub const CDROM_GET_CAPABILITY: u32 = 0x5331;
pub const FDGETPRM: u32 = 0x8020_0204;

// Files.
pub const FIBMAP: u32 = 1;
pub const FIGETBSZ: u32 = 2;
pub const FICLONE: u32 = 0x4004_9409;
pub const FICLONERANGE: u32 = 0x4020_940d;
pub const FIFREEZE: u32 = 0xc004_5877;
pub const FITHAW: u32 = 0xc004_5878;
pub const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
pub const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
pub const FS_IOC_GETVERSION: u32 = 0x8008_7601;
pub const FS_IOC_FIEMAP: u32 = 0xc020_660b;
pub const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;

// Name spaces.
pub const NS_GET_USERNS: u32 = 0xb701;
pub const NS_GET_PARENT: u32 = 0xb702;
pub const NS_GET_NSTYPE: u32 = 0xb703;
pub const NS_GET_OWNER_UID: u32 = 0xb704;

// Sockets and network interfaces.
pub const FIOSETOWN: u32 = 0x8901;
pub const SIOCSPGRP: u32 = 0x8902;
pub const FIOGETOWN: u32 = 0x8903;
pub const SIOCGPGRP: u32 = 0x8904;
pub const SIOCATMARK: u32 = 0x8905;
pub const SIOCGSTAMP_OLD: u32 = 0x8906;
pub const SIOCINQ: u32 = FIONREAD;
pub const SIOCOUTQ: u32 = TIOCOUTQ;
pub const SIOCADDRT: u32 = 0x890b;
pub const SIOCDELRT: u32 = 0x890c;
pub const SIOCGIFNAME: u32 = 0x8910;
pub const SIOCGIFCONF: u32 = 0x8912;
pub const SIOCGIFFLAGS: u32 = 0x8913;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const SIOCGIFADDR: u32 = 0x8915;
pub const SIOCSIFADDR: u32 = 0x8916;
pub const SIOCGIFDSTADDR: u32 = 0x8917;
pub const SIOCSIFDSTADDR: u32 = 0x8918;
pub const SIOCGIFBRDADDR: u32 = 0x8919;
pub const SIOCSIFBRDADDR: u32 = 0x891a;
pub const SIOCGIFNETMASK: u32 = 0x891b;
pub const SIOCSIFNETMASK: u32 = 0x891c;
pub const SIOCGIFMETRIC: u32 = 0x891d;
pub const SIOCSIFMETRIC: u32 = 0x891e;
pub const SIOCGIFMTU: u32 = 0x8921;
pub const SIOCSIFMTU: u32 = 0x8922;
pub const SIOCGIFPFLAGS: u32 = 0x8935;
pub const SIOCSIFHWADDR: u32 = 0x8924;
pub const SIOCGIFHWADDR: u32 = 0x8927;
pub const SIOCGIFINDEX: u32 = 0x8933;
pub const SIOCGIFTXQLEN: u32 = 0x8942;
pub const SIOCSIFTXQLEN: u32 = 0x8943;
pub const SIOCETHTOOL: u32 = 0x8946;
pub const SIOCGARP: u32 = 0x8954;
pub const SIOCGIFMAP: u32 = 0x8970;
pub const SIOCSIFMAP: u32 = 0x8971;

// Frame buffers.
pub const FBIOGET_VSCREENINFO: u32 = 0x4600;
pub const FBIOPUT_VSCREENINFO: u32 = 0x4601;
pub const FBIOGET_FSCREENINFO: u32 = 0x4602;
pub const FBIOGETCMAP: u32 = 0x4604;
pub const FBIOPUTCMAP: u32 = 0x4605;
pub const FBIOPAN_DISPLAY: u32 = 0x4606;
pub const FBIOBLANK: u32 = 0x4611;

// The real-time clock.
pub const RTC_RD_TIME: u32 = 0x8024_7009;
pub const RTC_SET_TIME: u32 = 0x4024_700a;

// Loop devices.
pub const LOOP_SET_FD: u32 = 0x4c00;
pub const LOOP_CLR_FD: u32 = 0x4c01;
pub const LOOP_SET_STATUS64: u32 = 0x4c04;
pub const LOOP_GET_STATUS64: u32 = 0x4c05;
pub const LOOP_CONFIGURE: u32 = 0x4c0a;
pub const LOOP_CTL_GET_FREE: u32 = 0x4c82;

// Event devices with a fixed size.
pub const EVIOCGVERSION: u32 = 0x8004_4501;
pub const EVIOCGID: u32 = 0x8008_4502;
pub const EVIOCGREP: u32 = 0x8008_4503;
pub const EVIOCSREP: u32 = 0x4008_4503;
pub const EVIOCGRAB: u32 = 0x4004_4590;
pub const EVIOCREVOKE: u32 = 0x4004_4591;
pub const EVIOCSCLOCKID: u32 = 0x4004_45a0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_numbers_come_apart_again() {
        assert_eq!(ioc(IOC_READ, b'T', 0x30, 4), TIOCGPTN);
        assert_eq!(ioc(IOC_WRITE, b'T', 0x31, 4), TIOCSPTLCK);
        assert_eq!(ioc(IOC_READ, 0x12, 114, 8), BLKGETSIZE64);
        assert_eq!(ioc_dir(TCGETS2), IOC_READ);
        assert_eq!(
            (ioc_type(TCGETS2), ioc_nr(TCGETS2), ioc_size(TCGETS2)),
            (b'T', 0x2a, 44)
        );
    }
}
