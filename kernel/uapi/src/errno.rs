//! Error numbers. Linux: asm-generic/errno-base.h, asm-generic/errno.h, linux/errno.h.

use core::fmt;

/// One Linux error number, held positive; only the system call exit makes it negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

macro_rules! errnos {
    ($( $(#[$doc:meta])* $name:ident = $code:literal; )*) => {
        impl Errno {
            $( $(#[$doc])* pub const $name: Self = Self($code); )*

            /// The symbol, such as `"ENOENT"`; `"E?"` for a number that Linux does not define.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $( $code => stringify!($name), )*
                    _ => "E?",
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Errno] = &[$( Errno::$name ),*];
    };
}

impl Errno {
    /// The greatest value that a system call can return as an error. Linux: include/linux/err.h.
    pub const MAX_ERRNO: i32 = 4095;

    /// Another name of [`Errno::EAGAIN`].
    pub const EWOULDBLOCK: Self = Self::EAGAIN;
    /// Another name of [`Errno::EDEADLK`].
    pub const EDEADLOCK: Self = Self::EDEADLK;
    /// Another name of [`Errno::EOPNOTSUPP`], as glibc defines it.
    pub const ENOTSUP: Self = Self::EOPNOTSUPP;

    /// The positive number, such as 2 for `ENOENT`.
    #[inline]
    pub const fn code(self) -> i32 {
        self.0
    }

    /// What the system call returns in `rax`: the negated number.
    #[inline]
    pub const fn to_ret(self) -> i64 {
        -(self.0 as i64)
    }

    /// The error of a positive number in 1..=4095, `None` for every other number.
    #[inline]
    pub const fn from_code(code: i32) -> Option<Self> {
        if code >= 1 && code <= Self::MAX_ERRNO {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The error in a system call's return value (-4095..=-1), `None` for a success.
    #[inline]
    pub const fn from_ret(ret: i64) -> Option<Self> {
        if ret < 0 && ret >= -(Self::MAX_ERRNO as i64) {
            Some(Self(-ret as i32))
        } else {
            None
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "E?" => write!(f, "errno {}", self.0),
            name => f.write_str(name),
        }
    }
}

/// Prints the negative number, as Linux's messages do: "failed with error -2".
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}", self.0)
    }
}

impl core::error::Error for Errno {}

errnos! {
    /// Operation not permitted.
    EPERM = 1;
    /// No such file or directory.
    ENOENT = 2;
    /// No such process.
    ESRCH = 3;
    /// Interrupted system call.
    EINTR = 4;
    /// Input/output error.
    EIO = 5;
    /// No such device or address.
    ENXIO = 6;
    /// Argument list too long.
    E2BIG = 7;
    /// Exec format error.
    ENOEXEC = 8;
    /// Bad file descriptor.
    EBADF = 9;
    /// No child processes.
    ECHILD = 10;
    /// Resource temporarily unavailable.
    EAGAIN = 11;
    /// Cannot allocate memory.
    ENOMEM = 12;
    /// Permission denied.
    EACCES = 13;
    /// Bad address.
    EFAULT = 14;
    /// Block device required.
    ENOTBLK = 15;
    /// Device or resource busy.
    EBUSY = 16;
    /// File exists.
    EEXIST = 17;
    /// Invalid cross-device link.
    EXDEV = 18;
    /// No such device.
    ENODEV = 19;
    /// Not a directory.
    ENOTDIR = 20;
    /// Is a directory.
    EISDIR = 21;
    /// Invalid argument.
    EINVAL = 22;
    /// Too many open files in system.
    ENFILE = 23;
    /// Too many open files.
    EMFILE = 24;
    /// Inappropriate ioctl for device.
    ENOTTY = 25;
    /// Text file busy.
    ETXTBSY = 26;
    /// File too large.
    EFBIG = 27;
    /// No space left on device.
    ENOSPC = 28;
    /// Illegal seek.
    ESPIPE = 29;
    /// Read-only file system.
    EROFS = 30;
    /// Too many links.
    EMLINK = 31;
    /// Broken pipe.
    EPIPE = 32;
    /// Numerical argument out of domain.
    EDOM = 33;
    /// Numerical result out of range.
    ERANGE = 34;
    /// Resource deadlock avoided.
    EDEADLK = 35;
    /// File name too long.
    ENAMETOOLONG = 36;
    /// No locks available.
    ENOLCK = 37;
    /// Function not implemented.
    ENOSYS = 38;
    /// Directory not empty.
    ENOTEMPTY = 39;
    /// Too many levels of symbolic links.
    ELOOP = 40;
    /// No message of desired type.
    ENOMSG = 42;
    /// Identifier removed.
    EIDRM = 43;
    /// Channel number out of range.
    ECHRNG = 44;
    /// Level 2 not synchronized.
    EL2NSYNC = 45;
    /// Level 3 halted.
    EL3HLT = 46;
    /// Level 3 reset.
    EL3RST = 47;
    /// Link number out of range.
    ELNRNG = 48;
    /// Protocol driver not attached.
    EUNATCH = 49;
    /// No CSI structure available.
    ENOCSI = 50;
    /// Level 2 halted.
    EL2HLT = 51;
    /// Invalid exchange.
    EBADE = 52;
    /// Invalid request descriptor.
    EBADR = 53;
    /// Exchange full.
    EXFULL = 54;
    /// No anode.
    ENOANO = 55;
    /// Invalid request code.
    EBADRQC = 56;
    /// Invalid slot.
    EBADSLT = 57;
    /// Bad font file format.
    EBFONT = 59;
    /// Device not a stream.
    ENOSTR = 60;
    /// No data available.
    ENODATA = 61;
    /// Timer expired.
    ETIME = 62;
    /// Out of streams resources.
    ENOSR = 63;
    /// Machine is not on the network.
    ENONET = 64;
    /// Package not installed.
    ENOPKG = 65;
    /// Object is remote.
    EREMOTE = 66;
    /// Link has been severed.
    ENOLINK = 67;
    /// Advertise error.
    EADV = 68;
    /// Srmount error.
    ESRMNT = 69;
    /// Communication error on send.
    ECOMM = 70;
    /// Protocol error.
    EPROTO = 71;
    /// Multihop attempted.
    EMULTIHOP = 72;
    /// RFS specific error.
    EDOTDOT = 73;
    /// Bad message.
    EBADMSG = 74;
    /// Value too large for defined data type.
    EOVERFLOW = 75;
    /// Name not unique on network.
    ENOTUNIQ = 76;
    /// File descriptor in bad state.
    EBADFD = 77;
    /// Remote address changed.
    EREMCHG = 78;
    /// Can not access a needed shared library.
    ELIBACC = 79;
    /// Accessing a corrupted shared library.
    ELIBBAD = 80;
    /// .lib section in a.out corrupted.
    ELIBSCN = 81;
    /// Attempting to link in too many shared libraries.
    ELIBMAX = 82;
    /// Cannot exec a shared library directly.
    ELIBEXEC = 83;
    /// Invalid or incomplete multibyte or wide character.
    EILSEQ = 84;
    /// Interrupted system call should be restarted.
    ERESTART = 85;
    /// Streams pipe error.
    ESTRPIPE = 86;
    /// Too many users.
    EUSERS = 87;
    /// Socket operation on non-socket.
    ENOTSOCK = 88;
    /// Destination address required.
    EDESTADDRREQ = 89;
    /// Message too long.
    EMSGSIZE = 90;
    /// Protocol wrong type for socket.
    EPROTOTYPE = 91;
    /// Protocol not available.
    ENOPROTOOPT = 92;
    /// Protocol not supported.
    EPROTONOSUPPORT = 93;
    /// Socket type not supported.
    ESOCKTNOSUPPORT = 94;
    /// Operation not supported.
    EOPNOTSUPP = 95;
    /// Protocol family not supported.
    EPFNOSUPPORT = 96;
    /// Address family not supported by protocol.
    EAFNOSUPPORT = 97;
    /// Address already in use.
    EADDRINUSE = 98;
    /// Cannot assign requested address.
    EADDRNOTAVAIL = 99;
    /// Network is down.
    ENETDOWN = 100;
    /// Network is unreachable.
    ENETUNREACH = 101;
    /// Network dropped connection on reset.
    ENETRESET = 102;
    /// Software caused connection abort.
    ECONNABORTED = 103;
    /// Connection reset by peer.
    ECONNRESET = 104;
    /// No buffer space available.
    ENOBUFS = 105;
    /// Transport endpoint is already connected.
    EISCONN = 106;
    /// Transport endpoint is not connected.
    ENOTCONN = 107;
    /// Cannot send after transport endpoint shutdown.
    ESHUTDOWN = 108;
    /// Too many references: cannot splice.
    ETOOMANYREFS = 109;
    /// Connection timed out.
    ETIMEDOUT = 110;
    /// Connection refused.
    ECONNREFUSED = 111;
    /// Host is down.
    EHOSTDOWN = 112;
    /// No route to host.
    EHOSTUNREACH = 113;
    /// Operation already in progress.
    EALREADY = 114;
    /// Operation now in progress.
    EINPROGRESS = 115;
    /// Stale file handle.
    ESTALE = 116;
    /// Structure needs cleaning.
    EUCLEAN = 117;
    /// Not a XENIX named type file.
    ENOTNAM = 118;
    /// No XENIX semaphores available.
    ENAVAIL = 119;
    /// Is a named type file.
    EISNAM = 120;
    /// Remote I/O error.
    EREMOTEIO = 121;
    /// Disk quota exceeded.
    EDQUOT = 122;
    /// No medium found.
    ENOMEDIUM = 123;
    /// Wrong medium type.
    EMEDIUMTYPE = 124;
    /// Operation canceled.
    ECANCELED = 125;
    /// Required key not available.
    ENOKEY = 126;
    /// Key has expired.
    EKEYEXPIRED = 127;
    /// Key has been revoked.
    EKEYREVOKED = 128;
    /// Key was rejected by service.
    EKEYREJECTED = 129;
    /// Owner died.
    EOWNERDEAD = 130;
    /// State not recoverable.
    ENOTRECOVERABLE = 131;
    /// Operation not possible due to RF-kill.
    ERFKILL = 132;
    /// Memory page has hardware error.
    EHWPOISON = 133;
    // Numbers that never reach a program.
    /// Restart the call if the handler has SA_RESTART, else EINTR.
    ERESTARTSYS = 512;
    /// Always restart the call after the handler.
    ERESTARTNOINTR = 513;
    /// Restart the call only if no handler ran, else EINTR.
    ERESTARTNOHAND = 514;
    /// No such ioctl command here; becomes ENOTTY.
    ENOIOCTLCMD = 515;
    /// Restart through restart_syscall(2).
    ERESTART_RESTARTBLOCK = 516;
    /// The driver asks to be probed again later.
    EPROBE_DEFER = 517;
    /// Open found a stale dentry.
    EOPENSTALE = 518;
    /// Parameter not supported.
    ENOPARAM = 519;
    /// Illegal NFS file handle.
    EBADHANDLE = 521;
    /// Update synchronization mismatch.
    ENOTSYNC = 522;
    /// Cookie is stale.
    EBADCOOKIE = 523;
    /// Operation is not supported (kernel-internal).
    ENOTSUPP = 524;
    /// Buffer or request is too small.
    ETOOSMALL = 525;
    /// An untranslatable error occurred.
    ESERVERFAULT = 526;
    /// Type not supported by server.
    EBADTYPE = 527;
    /// Request started, but will not complete before the timeout.
    EJUKEBOX = 528;
    /// Request queued, completion will follow.
    EIOCBQUEUED = 529;
    /// Conflict with recalled state.
    ERECALLCONFLICT = 530;
    /// No grace period is in force.
    ENOGRACE = 531;
}

/// Text that does not fit into the memory there is.
impl From<core::fmt::Error> for Errno {
    fn from(_: core::fmt::Error) -> Self {
        Errno::ENOMEM
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{ALL, Errno};

    #[test]
    fn numbers_are_linux_numbers() {
        assert_eq!(Errno::ENOENT.code(), 2);
        assert_eq!(Errno::EAGAIN, Errno::EWOULDBLOCK);
        assert_eq!(Errno::ENOSYS.code(), 38);
        assert_eq!(Errno::EHWPOISON.code(), 133);
        assert_eq!(Errno::ERESTART_RESTARTBLOCK.code(), 516);
        assert_eq!(ALL.len(), 131 + 19);
    }

    #[test]
    fn debug_shows_the_symbol_and_display_the_negative_number() {
        assert_eq!(
            std::format!("{:?} {}", Errno::EINVAL, Errno::EINVAL),
            "EINVAL -22"
        );
        assert_eq!(
            std::format!("{:?}", Errno::from_code(1000).unwrap()),
            "errno 1000"
        );
    }

    #[test]
    fn every_number_converts_to_a_return_value_and_back() {
        for &errno in ALL {
            assert_eq!(Errno::from_code(errno.code()), Some(errno));
            assert_eq!(Errno::from_ret(errno.to_ret()), Some(errno));
        }
        assert_eq!(Errno::from_code(0), None);
        assert_eq!(Errno::from_code(4096), None);
        assert_eq!(Errno::from_ret(0), None);
        assert_eq!(Errno::from_ret(-4096), None);
        assert_eq!(Errno::from_ret(i64::MIN), None);
    }
}
