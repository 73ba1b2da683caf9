//! Terminals. Linux: asm-generic/termbits.h, asm-generic/termios.h, linux/tty.h.

/// Control characters in the kernel's `struct termios`.
pub const NCCS: usize = 19;

// Indexes of `c_cc`.
pub const VINTR: usize = 0;
pub const VQUIT: usize = 1;
pub const VERASE: usize = 2;
pub const VKILL: usize = 3;
pub const VEOF: usize = 4;
pub const VTIME: usize = 5;
pub const VMIN: usize = 6;
pub const VSWTC: usize = 7;
pub const VSTART: usize = 8;
pub const VSTOP: usize = 9;
pub const VSUSP: usize = 10;
pub const VEOL: usize = 11;
pub const VREPRINT: usize = 12;
pub const VDISCARD: usize = 13;
pub const VWERASE: usize = 14;
pub const VLNEXT: usize = 15;
pub const VEOL2: usize = 16;

// `c_iflag`.
pub const IGNBRK: u32 = 0o1;
pub const BRKINT: u32 = 0o2;
pub const IGNPAR: u32 = 0o4;
pub const PARMRK: u32 = 0o10;
pub const INPCK: u32 = 0o20;
pub const ISTRIP: u32 = 0o40;
pub const INLCR: u32 = 0o100;
pub const IGNCR: u32 = 0o200;
pub const ICRNL: u32 = 0o400;
pub const IUCLC: u32 = 0o1000;
pub const IXON: u32 = 0o2000;
pub const IXANY: u32 = 0o4000;
pub const IXOFF: u32 = 0o10000;
pub const IMAXBEL: u32 = 0o20000;
pub const IUTF8: u32 = 0o40000;

// `c_oflag`.
pub const OPOST: u32 = 0o1;
pub const OLCUC: u32 = 0o2;
pub const ONLCR: u32 = 0o4;
pub const OCRNL: u32 = 0o10;
pub const ONOCR: u32 = 0o20;
pub const ONLRET: u32 = 0o40;
pub const OFILL: u32 = 0o100;
pub const OFDEL: u32 = 0o200;
pub const NLDLY: u32 = 0o400;
pub const NL0: u32 = 0;
pub const NL1: u32 = 0o400;
pub const CRDLY: u32 = 0o3000;
pub const CR0: u32 = 0;
pub const CR1: u32 = 0o1000;
pub const CR2: u32 = 0o2000;
pub const CR3: u32 = 0o3000;
pub const TABDLY: u32 = 0o14000;
pub const TAB0: u32 = 0;
pub const TAB1: u32 = 0o4000;
pub const TAB2: u32 = 0o10000;
pub const TAB3: u32 = 0o14000;
pub const XTABS: u32 = 0o14000;
pub const BSDLY: u32 = 0o20000;
pub const BS0: u32 = 0;
pub const BS1: u32 = 0o20000;
pub const VTDLY: u32 = 0o40000;
pub const VT0: u32 = 0;
pub const VT1: u32 = 0o40000;
pub const FFDLY: u32 = 0o100000;
pub const FF0: u32 = 0;
pub const FF1: u32 = 0o100000;

// `c_cflag`.
pub const CBAUD: u32 = 0o10017;
/// Hang up.
pub const B0: u32 = 0;
pub const B50: u32 = 0o1;
pub const B75: u32 = 0o2;
pub const B110: u32 = 0o3;
pub const B134: u32 = 0o4;
pub const B150: u32 = 0o5;
pub const B200: u32 = 0o6;
pub const B300: u32 = 0o7;
pub const B600: u32 = 0o10;
pub const B1200: u32 = 0o11;
pub const B1800: u32 = 0o12;
pub const B2400: u32 = 0o13;
pub const B4800: u32 = 0o14;
pub const B9600: u32 = 0o15;
pub const B19200: u32 = 0o16;
pub const B38400: u32 = 0o17;
pub const EXTA: u32 = B19200;
pub const EXTB: u32 = B38400;
pub const CSIZE: u32 = 0o60;
pub const CS5: u32 = 0;
pub const CS6: u32 = 0o20;
pub const CS7: u32 = 0o40;
pub const CS8: u32 = 0o60;
pub const CSTOPB: u32 = 0o100;
pub const CREAD: u32 = 0o200;
pub const PARENB: u32 = 0o400;
pub const PARODD: u32 = 0o1000;
pub const HUPCL: u32 = 0o2000;
pub const CLOCAL: u32 = 0o4000;
pub const CBAUDEX: u32 = 0o10000;
/// The speed is in `c_ospeed` of `Termios2`.
pub const BOTHER: u32 = 0o10000;
pub const B57600: u32 = 0o10001;
pub const B115200: u32 = 0o10002;
pub const B230400: u32 = 0o10003;
pub const B460800: u32 = 0o10004;
pub const B500000: u32 = 0o10005;
pub const B576000: u32 = 0o10006;
pub const B921600: u32 = 0o10007;
pub const B1000000: u32 = 0o10010;
pub const B1152000: u32 = 0o10011;
pub const B1500000: u32 = 0o10012;
pub const B2000000: u32 = 0o10013;
pub const B2500000: u32 = 0o10014;
pub const B3000000: u32 = 0o10015;
pub const B3500000: u32 = 0o10016;
pub const B4000000: u32 = 0o10017;
pub const CIBAUD: u32 = 0o2003600000;
pub const ADDRB: u32 = 0o4000000000;
pub const CMSPAR: u32 = 0o10000000000;
pub const CRTSCTS: u32 = 0o20000000000;
pub const IBSHIFT: u32 = 16;

// `c_lflag`.
pub const ISIG: u32 = 0o1;
pub const ICANON: u32 = 0o2;
pub const XCASE: u32 = 0o4;
pub const ECHO: u32 = 0o10;
pub const ECHOE: u32 = 0o20;
pub const ECHOK: u32 = 0o40;
pub const ECHONL: u32 = 0o100;
pub const NOFLSH: u32 = 0o200;
pub const TOSTOP: u32 = 0o400;
pub const ECHOCTL: u32 = 0o1000;
pub const ECHOPRT: u32 = 0o2000;
pub const ECHOKE: u32 = 0o4000;
pub const FLUSHO: u32 = 0o10000;
pub const PENDIN: u32 = 0o40000;
pub const IEXTEN: u32 = 0o100000;
pub const EXTPROC: u32 = 0o200000;

// Arguments of tcflow(3).
pub const TCOOFF: u32 = 0;
pub const TCOON: u32 = 1;
pub const TCIOFF: u32 = 2;
pub const TCION: u32 = 3;

// Arguments of tcflush(3).
pub const TCIFLUSH: u32 = 0;
pub const TCOFLUSH: u32 = 1;
pub const TCIOFLUSH: u32 = 2;

// Modem lines of TIOCMGET.
pub const TIOCM_LE: u32 = 0x001;
pub const TIOCM_DTR: u32 = 0x002;
pub const TIOCM_RTS: u32 = 0x004;
pub const TIOCM_ST: u32 = 0x008;
pub const TIOCM_SR: u32 = 0x010;
pub const TIOCM_CTS: u32 = 0x020;
pub const TIOCM_CAR: u32 = 0x040;
pub const TIOCM_RNG: u32 = 0x080;
pub const TIOCM_DSR: u32 = 0x100;
pub const TIOCM_OUT1: u32 = 0x2000;
pub const TIOCM_OUT2: u32 = 0x4000;
pub const TIOCM_LOOP: u32 = 0x8000;

// Packet mode of pseudo terminals.
pub const TIOCPKT_DATA: u32 = 0;
pub const TIOCPKT_FLUSHREAD: u32 = 1;
pub const TIOCPKT_FLUSHWRITE: u32 = 2;
pub const TIOCPKT_STOP: u32 = 4;
pub const TIOCPKT_START: u32 = 8;
pub const TIOCPKT_NOSTOP: u32 = 16;
pub const TIOCPKT_DOSTOP: u32 = 32;
pub const TIOCPKT_IOCTL: u32 = 64;

// Line disciplines.
pub const N_TTY: i32 = 0;
pub const N_SLIP: i32 = 1;
pub const N_PPP: i32 = 3;
pub const N_NULL: i32 = 27;

/// `c_cc` that marks a character as switched off.
pub const VDISABLE: u8 = 0;

/// The control characters of a fresh terminal: ^C ^\ DEL ^U ^D, time 0, min 1, ^Q ^S ^Z, ^R ^O ^W
/// ^V. Linux: `INIT_C_CC`.
pub const INIT_C_CC: [u8; NCCS] = [
    3, 0o34, 0o177, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
];

pod_struct! {
    /// Settings of a terminal, of TCGETS and TCSETS (the kernel's 36-byte `struct termios`).
    pub struct Termios {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; 19],
    }

    /// Settings with speeds in baud, of TCGETS2 and TCSETS2.
    pub struct Termios2 {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; 19],
        pub c_ispeed: u32,
        pub c_ospeed: u32,
    }

    /// The System V form, of TCGETA and TCSETA.
    pub struct Termio {
        pub c_iflag: u16,
        pub c_oflag: u16,
        pub c_cflag: u16,
        pub c_lflag: u16,
        pub c_line: u8,
        pub c_cc: [u8; 8],
    }

    /// Size of the window, in characters and pixels.
    pub struct Winsize {
        pub ws_row: u16,
        pub ws_col: u16,
        pub ws_xpixel: u16,
        pub ws_ypixel: u16,
    }

    /// Settings of a serial line, of TIOCGSERIAL.
    pub struct SerialStruct {
        pub kind: i32,
        pub line: i32,
        pub port: u32,
        pub irq: i32,
        pub flags: i32,
        pub xmit_fifo_size: i32,
        pub custom_divisor: i32,
        pub baud_base: i32,
        pub close_delay: u16,
        pub io_type: u8,
        pub reserved_char: [u8; 1],
        pub hub6: i32,
        pub closing_wait: u16,
        pub closing_wait2: u16,
        pub iomem_base: u64,
        pub iomem_reg_shift: u16,
        pub port_high: u32,
        pub iomap_base: u64,
    }
}

impl Termios {
    /// The settings of a fresh terminal. Linux: drivers/tty/tty_io.c, `tty_std_termios`.
    pub const STD: Self = Self {
        c_iflag: ICRNL | IXON,
        c_oflag: OPOST | ONLCR,
        c_cflag: B38400 | CS8 | CREAD | HUPCL,
        c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        c_line: N_TTY as u8,
        c_cc: INIT_C_CC,
    };
}

/// Speed in baud of the code in `c_cflag`; `None` for `BOTHER`. Linux: drivers/tty/tty_baudrate.c.
pub const fn baud_rate(c_cflag: u32) -> Option<u32> {
    let rates: [u32; 31] = [
        0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600,
        115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000,
        2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ];
    let code = c_cflag & CBAUD;
    match code {
        BOTHER => None,
        0..=0o17 => Some(rates[code as usize]),
        _ => Some(rates[(code - CBAUDEX + 15) as usize]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((Termios::SIZE, Termios2::SIZE, Winsize::SIZE), (36, 44, 8));
        assert_eq!((Termio::SIZE, SerialStruct::SIZE), (18, 72));
        assert_eq!(core::mem::offset_of!(Termios, c_cc), 17);
    }

    #[test]
    fn a_fresh_terminal_interrupts_on_control_c() {
        assert_eq!(Termios::STD.c_cc[VINTR], 3);
        assert_eq!(Termios::STD.c_cc[VMIN], 1);
        assert_eq!(Termios::STD.c_cc[VSUSP], 26);
        assert_eq!(Termios::STD.c_cc[VLNEXT], 22);
        assert_eq!(Termios::STD.c_lflag, 0o105073);
    }

    #[test]
    fn speed_codes_have_rates_below_and_above_38400() {
        assert_eq!(baud_rate(B0), Some(0));
        assert_eq!(baud_rate(B38400 | CS8), Some(38400));
        assert_eq!(baud_rate(B57600), Some(57600));
        assert_eq!(baud_rate(B115200 | CREAD), Some(115_200));
        assert_eq!(baud_rate(B4000000), Some(4_000_000));
        assert_eq!(baud_rate(BOTHER), None);
    }
}
