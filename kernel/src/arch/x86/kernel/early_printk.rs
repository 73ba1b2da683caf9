//! Output before any driver (Linux: arch/x86/kernel/early_printk.c).
//!
//! The crate `uart_16550` knows the registers. Its own set-up waits for the chip without a bound,
//! so that part is done here.

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use uart_16550::Uart16550;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FCR, LCR, LSR, MCR, offsets};

use crate::arch::x86::asm::io::{inb, outb};

/// The first serial port.
const COM1: u16 = 0x3f8;
/// Divisor for 115200 baud.
const DIVISOR: u16 = 1;
/// How often to look whether the chip is ready: longer than 16 bytes take at 9600 baud.
const SPIN_LIMIT: u32 = 200_000;

const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const ABSENT: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

fn com1() -> Uart16550<PioBackend> {
    // SAFETY: port 0x3f8 belongs to the first serial port or to nobody. Until the driver takes
    // over, the worst that two writers can do is to mix their characters.
    unsafe { Uart16550::new_port(COM1) }.expect("0x3f8 is a valid port")
}

fn read(register: usize) -> u8 {
    // SAFETY: a register of the serial port, or nothing at all, which reads as ones.
    unsafe { inb(COM1 + register as u16) }
}

fn write(register: usize, value: u8) {
    // SAFETY: the chip does no DMA.
    unsafe { outb(COM1 + register as u16, value) };
}

/// Looks for the port and sets it to 115200 baud, 8N1, no interrupts. A machine without it
/// reads as ones or keeps nothing in the scratch register; a dead chip fails the loopback.
pub fn setup_early_serial() {
    let found = com1().check_present() && {
        configure();
        loopback_works()
    };
    STATE.store(if found { PRESENT } else { ABSENT }, Ordering::Relaxed);
}

fn configure() {
    wait_for(LSR::TRANSMITTER_EMPTY); // the loader's last words
    write(offsets::IER, 0);
    write(offsets::LCR, LCR::DLAB.bits());
    write(offsets::DLL, DIVISOR as u8);
    write(offsets::DLM, (DIVISOR >> 8) as u8);
    write(offsets::LCR, 0b11); // eight bits, no parity, one stop bit
    let clear = FCR::RX_FIFO_RESET | FCR::TX_FIFO_RESET;
    write(offsets::FCR, (FCR::FIFO_ENABLE | clear).bits());
}

/// Sends one byte to itself.
fn loopback_works() -> bool {
    const PROBE: u8 = 0x5a;
    write(offsets::MCR, MCR::LOOP_BACK.bits());
    write(offsets::DATA, PROBE);
    let echoed = wait_for(LSR::DATA_READY) && read(offsets::DATA) == PROBE;
    write(
        offsets::MCR,
        (MCR::DTR | MCR::RTS | MCR::OUT_2_INT_ENABLE).bits(),
    );
    echoed
}

/// Waits, for a bounded time, until the line status has `bit`.
fn wait_for(bit: LSR) -> bool {
    (0..SPIN_LIMIT).any(|_| {
        core::hint::spin_loop();
        LSR::from_bits_retain(read(offsets::LSR)).contains(bit)
    })
}

/// Whether the first serial port is there and works.
pub fn early_serial_present() -> bool {
    STATE.load(Ordering::Relaxed) == PRESENT
}

/// Writes to the first serial port, if there is one; "\n" is a newline. Any context; waits for a
/// bounded time only: a port that stays busy is given up for good.
pub fn early_console_write(bytes: &[u8]) {
    if !early_serial_present() {
        return;
    }
    let mut port = com1();
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let (text, newline) = match line {
            [text @ .., b'\n'] => (text, b"\r\n".as_slice()),
            text => (text, b"".as_slice()),
        };
        if !(send(&mut port, text) && send(&mut port, newline)) {
            STATE.store(ABSENT, Ordering::Relaxed);
            return;
        }
    }
}

fn send(port: &mut Uart16550<PioBackend>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if !wait_for(LSR::THR_EMPTY) {
            return false;
        }
        let sent = port.send_bytes(bytes);
        bytes = &bytes[sent..];
    }
    true
}

/// [`early_console_write`] for `write!`.
pub struct EarlyConsole;

impl fmt::Write for EarlyConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        early_console_write(text.as_bytes());
        Ok(())
    }
}
