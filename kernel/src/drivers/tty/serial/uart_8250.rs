//! 8250-compatible UARTs at the PC's addresses (Linux: drivers/tty/serial/8250/).
//!
//! Output of terminals goes through a ring that the transmit interrupt empties; the console
//! writes straight to the chip, with bounded waits, because it must work in any context.

use alloc::collections::VecDeque;

use uapi::ioctls::{TIOCGSERIAL, TIOCMBIC, TIOCMBIS, TIOCMGET, TIOCMSET};
use uapi::major::TTY_MAJOR;
use uapi::termios::*;

use crate::arch::IoRegion;
use crate::drivers::tty::{Tty, TtyDriver, tty_register_device};
use crate::fs::char_dev::DevT;
use crate::kernel::irq::{IrqReturn, request_irq};
use crate::kernel::printk::{self, Console, Replay};
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_to_user, get_user, put_user};
use crate::prelude::*;

/// Port and interrupt line of COM1 to COM4.
const PORTS: [(u16, u32); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];
const UART_CLOCK_BAUD: u32 = 115_200;
const TX_BUFFER: usize = 4096;
const TX_FIFO: usize = 16;
/// Polls of the line status before a byte is given up: about 100 ms on real hardware.
const MAX_POLLS: u32 = 100_000;

// Register offsets.
const DATA: u16 = 0;
const IER: u16 = 1;
const IIR_FCR: u16 = 2;
const LCR: u16 = 3;
const MCR: u16 = 4;
const LSR: u16 = 5;
const MSR: u16 = 6;
const SCR: u16 = 7;

const IER_RDI: u8 = 1;
const IER_THRI: u8 = 2;
const LCR_DLAB: u8 = 0x80;
const LCR_8N1: u8 = 3;
const MCR_DTR: u8 = 1;
const MCR_RTS: u8 = 2;
const MCR_OUT2: u8 = 8;
const MCR_LOOP: u8 = 0x10;
const LSR_DR: u8 = 1;
const LSR_THRE: u8 = 0x20;
const LSR_TEMT: u8 = 0x40;

struct Chip {
    io: IoRegion,
    tx: VecDeque<u8>,
    ier: u8,
    mcr: u8,
    stopped: bool,
    /// Polls ran out: the line is dead, do not wait for it again.
    dead: bool,
}

/// One port.
struct Uart {
    index: usize,
    name: String,
    chip: IrqSpinLock<Chip>,
    tty: spin::Once<Arc<Tty>>,
}

impl Chip {
    fn set_baud(&self, baud: u32) {
        let divisor = (UART_CLOCK_BAUD / baud.max(1)).max(1) as u16;
        self.io.outb(LCR, LCR_8N1 | LCR_DLAB);
        self.io.outb(DATA, divisor as u8);
        self.io.outb(IER, (divisor >> 8) as u8);
        self.io.outb(LCR, LCR_8N1);
    }

    fn init(&mut self) {
        self.io.outb(IER, 0);
        self.set_baud(115_200);
        self.io.outb(IIR_FCR, 0x07); // FIFOs on and empty
        self.mcr = MCR_DTR | MCR_RTS | MCR_OUT2;
        self.io.outb(MCR, self.mcr);
    }

    /// Fills the transmit FIFO; the interrupt is on while bytes wait.
    fn transmit(&mut self) {
        if !self.stopped && self.io.inb(LSR) & LSR_THRE != 0 {
            for _ in 0..TX_FIFO {
                let Some(byte) = self.tx.pop_front() else {
                    break;
                };
                self.io.outb(DATA, byte);
            }
        }
        let wanted = !self.tx.is_empty() && !self.stopped;
        let ier = if wanted {
            self.ier | IER_THRI
        } else {
            self.ier & !IER_THRI
        };
        if ier != self.ier {
            self.ier = ier;
            self.io.outb(IER, ier);
        }
    }

    /// A byte by polling; false when the chip does not take it.
    fn put(&mut self, byte: u8) -> bool {
        if self.dead {
            return false;
        }
        for _ in 0..MAX_POLLS {
            if self.io.inb(LSR) & LSR_THRE != 0 {
                self.io.outb(DATA, byte);
                return true;
            }
            crate::arch::cpu_relax();
        }
        self.dead = true;
        false
    }

    /// What the terminal layer queued goes first, so that the two do not mix in a line.
    fn drain(&mut self) {
        while let Some(byte) = self.tx.pop_front() {
            if !self.put(byte) {
                return;
            }
        }
    }

    fn console_write(&mut self, text: &[u8]) {
        if !self.stopped {
            self.drain();
        }
        for byte in text {
            if *byte == b'\n' {
                self.put(b'\r');
            }
            self.put(*byte);
        }
    }
}

impl Uart {
    /// Hard interrupt: receive, then transmit.
    fn interrupt(&self) -> IrqReturn {
        let mut input = [0; 64];
        let mut n = 0;
        {
            let mut chip = self.chip.lock();
            if chip.io.inb(IIR_FCR) & 1 != 0 {
                return IrqReturn::None;
            }
            while n < input.len() && chip.io.inb(LSR) & LSR_DR != 0 {
                input[n] = chip.io.inb(DATA);
                n += 1;
            }
            chip.transmit();
        }
        if let Some(tty) = self.tty.get() {
            if n > 0 {
                tty.receive(&input[..n]);
            }
            if self.write_room() >= 256 {
                tty.wakeup();
            }
        }
        IrqReturn::Handled
    }
}

impl TtyDriver for Uart {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut chip = self.chip.lock();
        let n = bytes.len().min(TX_BUFFER - chip.tx.len());
        chip.tx.extend(&bytes[..n]);
        chip.transmit();
        n
    }

    fn write_room(&self) -> usize {
        TX_BUFFER - self.chip.lock().tx.len()
    }

    fn chars_in_buffer(&self) -> usize {
        let chip = self.chip.lock();
        let busy = usize::from(!chip.dead && chip.io.inb(LSR) & LSR_TEMT == 0);
        chip.tx.len() + busy
    }

    fn flush_buffer(&self) {
        self.chip.lock().tx.clear();
    }

    fn set_stopped(&self, stopped: bool) {
        let mut chip = self.chip.lock();
        chip.stopped = stopped;
        chip.transmit();
    }

    fn set_termios(&self, new: &Termios) {
        if let Some(baud) = baud_rate(new.c_cflag)
            && baud <= UART_CLOCK_BAUD
        {
            self.chip.lock().set_baud(baud);
        }
    }

    fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<i64> {
        match cmd {
            TIOCGSERIAL => self.get_serial(arg)?,
            TIOCMGET => put_user(arg, &(self.modem_lines() as i32))?,
            TIOCMBIS | TIOCMBIC | TIOCMSET => {
                self.set_modem_lines(cmd, get_user::<i32>(arg)? as u32)
            }
            _ => return Err(Errno::ENOIOCTLCMD),
        }
        Ok(0)
    }

    /// The interrupt line is taken with the first open, as COM1 and COM3 share one.
    fn open(&self) -> Result {
        let mut chip = self.chip.lock();
        if chip.ier & IER_RDI == 0 {
            while chip.io.inb(LSR) & LSR_DR != 0 {
                chip.io.inb(DATA); // typed before anybody listened
            }
            chip.ier |= IER_RDI;
            let ier = chip.ier;
            chip.io.outb(IER, ier);
        }
        Ok(())
    }
}

impl Uart {
    fn modem_lines(&self) -> u32 {
        let chip = self.chip.lock();
        let msr = chip.io.inb(MSR);
        let pairs = [
            (chip.mcr & MCR_DTR, TIOCM_DTR),
            (chip.mcr & MCR_RTS, TIOCM_RTS),
            (msr & 0x10, TIOCM_CTS),
            (msr & 0x20, TIOCM_DSR),
            (msr & 0x40, TIOCM_RNG),
            (msr & 0x80, TIOCM_CAR),
        ];
        pairs
            .into_iter()
            .filter(|(bit, _)| *bit != 0)
            .fold(0, |lines, (_, line)| lines | line)
    }

    fn set_modem_lines(&self, cmd: u32, lines: u32) {
        let mut chip = self.chip.lock();
        let mut bits = 0;
        if lines & TIOCM_DTR != 0 {
            bits |= MCR_DTR;
        }
        if lines & TIOCM_RTS != 0 {
            bits |= MCR_RTS;
        }
        chip.mcr = match cmd {
            TIOCMBIS => chip.mcr | bits,
            TIOCMBIC => chip.mcr & !bits,
            _ => chip.mcr & !(MCR_DTR | MCR_RTS) | bits,
        };
        let mcr = chip.mcr;
        chip.io.outb(MCR, mcr);
    }

    /// `struct serial_struct`: 72 bytes; type 16550A, line, port, irq, baud base.
    fn get_serial(&self, arg: UserAddr) -> Result {
        let (port, irq) = PORTS[self.index];
        let mut out = [0u8; 72];
        out[0..4].copy_from_slice(&4i32.to_le_bytes());
        out[4..8].copy_from_slice(&(self.index as i32).to_le_bytes());
        out[8..12].copy_from_slice(&u32::from(port).to_le_bytes());
        out[12..16].copy_from_slice(&irq.to_le_bytes());
        out[24..28].copy_from_slice(&16i32.to_le_bytes());
        out[28..32].copy_from_slice(&UART_CLOCK_BAUD.to_le_bytes());
        copy_to_user(arg, &out)
    }
}

/// The console on a port.
struct UartConsole(Arc<Uart>);

impl Console for UartConsole {
    fn name(&self) -> &str {
        &self.0.name
    }
    fn write(&self, text: &[u8]) {
        // A CPU that a panic stopped may hold the chip for ever: give up after a while.
        for _ in 0..MAX_POLLS {
            if let Some(mut chip) = self.0.chip.try_lock() {
                chip.console_write(text);
                return;
            }
            crate::arch::cpu_relax();
        }
    }
    fn device(&self) -> Option<DevT> {
        Some(DevT::new(TTY_MAJOR, 64 + self.0.index as u32))
    }
}

/// Baud rate of `c_cflag`; `None` for B0 and what this chip cannot do.
fn baud_rate(cflag: u32) -> Option<u32> {
    const TABLE: [(u32, u32); 13] = [
        (B50, 50),
        (B75, 75),
        (B110, 110),
        (B150, 150),
        (B300, 300),
        (B600, 600),
        (B1200, 1200),
        (B2400, 2400),
        (B4800, 4800),
        (B9600, 9600),
        (B19200, 19200),
        (B38400, 38400),
        (B57600, 57600),
    ];
    let code = cflag & CBAUD;
    if code == B115200 {
        return Some(115_200);
    }
    TABLE
        .iter()
        .find(|(bits, _)| *bits == code)
        .map(|(_, rate)| *rate)
}

/// Whether a chip answers: the scratch register keeps values, and the loop-back of the modem
/// lines works (a missing port reads 0xff everywhere).
fn is_present(io: &IoRegion) -> bool {
    for probe in [0x5a, 0xa5] {
        io.outb(SCR, probe);
        if io.inb(SCR) != probe {
            return false;
        }
    }
    let before = io.inb(MCR);
    io.outb(MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
    let looped = io.inb(MSR) & 0xf0 == 0x90;
    io.outb(MCR, before);
    looped
}

static UARTS: SpinLock<Vec<Arc<Uart>>> = SpinLock::new(Vec::new());

fn probe(index: usize) -> Option<Arc<Uart>> {
    let io = IoRegion::request(PORTS[index].0, 8, "serial")?;
    if !is_present(&io) {
        return None;
    }
    let mut chip = Chip {
        io,
        tx: VecDeque::new(),
        ier: 0,
        mcr: 0,
        stopped: false,
        dead: false,
    };
    chip.tx.try_reserve(TX_BUFFER).ok()?;
    chip.init();
    Some(Arc::new(Uart {
        index,
        name: format!("ttyS{index}"),
        chip: SpinLock::new(chip),
        tty: spin::Once::new(),
    }))
}

/// Finds the ports and makes the wanted ones consoles; the early console used the first.
#[__init]
fn serial8250_console_init() -> Result {
    for index in 0..PORTS.len() {
        let Some(uart) = probe(index) else {
            continue;
        };
        UARTS.lock().push(uart.clone());
        if printk::console_wanted(&uart.name)
            && (index == 0 || printk::console_requested(&uart.name))
        {
            let replay = if index == 0 {
                Replay::AfterEarly
            } else {
                Replay::All
            };
            printk::register_console(Arc::new(UartConsole(uart)), replay);
        }
    }
    Ok(())
}
console_initcall!(serial8250_console_init);

/// Makes terminals of the ports and takes their interrupts (Linux: `serial8250_init`).
#[__init]
fn serial8250_init() -> Result {
    pr_info!(
        "Serial: 8250/16550 driver, {} ports, IRQ sharing enabled",
        PORTS.len()
    );
    let uarts = UARTS.lock().clone();
    for uart in uarts {
        let dev = DevT::new(TTY_MAJOR, 64 + uart.index as u32);
        let (port, irq) = PORTS[uart.index];
        let tty = tty_register_device(&uart.name, dev, uart.clone())?;
        uart.tty.call_once(|| tty);
        let handler = uart.clone();
        request_irq(irq, Arc::new(move || handler.interrupt()), "ttyS")?;
        pr_info!(
            "{} at I/O {port:#x} (irq = {irq}, base_baud = {UART_CLOCK_BAUD}) is a 16550A",
            uart.name
        );
    }
    Ok(())
}
device_initcall!(serial8250_init);
